//! The forms of an update.

use super::fault::Why;
use crate::bson::{RawDoc, RawValue};
use crate::event::{Change, Delta, Key};
use crate::source::oplog::fields::Fields;

/// The order of these tests matters: a document may have fields of its own named `$v` and `diff`, but then it has an `_id` too.
pub(super) fn meaning<'a>(fields: &Fields<'a>, o: RawDoc<'a>) -> Result<Change<'a>, Why> {
    let key = Key::Document(fields.o2.ok_or(Why::from("an update without the document's key"))?);
    if o.get("_id").is_some() {
        return Ok(Change::Replace { key, after: o });
    }
    let delta = match o.get("$v").map(RawValue::as_i64) {
        Some(Some(2)) => Delta::Diff(
            o.get("diff").and_then(RawValue::as_doc).ok_or(Why::from("an update of $v 2 without `diff`"))?,
        ),
        // What a user put into an `applyOps` stands there as it was given, and up to 5.0 the server took such a document as well.
        None if !fields.is_entry && is_document(o) => return Ok(Change::Replace { key, after: o }),
        None | Some(Some(1)) => modifiers(o)?,
        Some(_) => return Err(Why::from("an update of an unknown version ($v)")),
    };
    Ok(Change::Update { key, delta })
}

/// Whether the server would take it for a document and not for modifiers. An empty one changes nothing on 6.0, and everything before.
fn is_document(o: RawDoc<'_>) -> bool {
    o.iter().next().is_some_and(|first| first.is_ok_and(|first| !first.name.starts_with(b"$")))
}

fn modifiers(o: RawDoc<'_>) -> Result<Delta<'_>, Why> {
    if o.is_empty() {
        return Err(Why::from("an update that changes nothing"));
    }
    let (mut set, mut unset) = (None, None);
    for element in o {
        let element = element?;
        match element.name {
            b"$set" => set = Some(paths(element.value)?),
            b"$unset" => unset = Some(paths(element.value)?),
            b"$v" => {}
            other => {
                let name = String::from_utf8_lossy(other);
                return Err(Why::from(format!("an update with the unknown modifier `{name}`")));
            }
        }
    }
    Ok(Delta::Modifiers { set, unset })
}

fn paths(value: RawValue<'_>) -> Result<RawDoc<'_>, Why> {
    value.as_doc().ok_or(Why::from("an update whose modifier is not a document"))
}
