//! Views, and time-series collections, which are views of their buckets: documents of `system.views`.

use super::Meaning;
use super::fault::Why;
use crate::bson::{RawDoc, RawValue};
use crate::event::{Change, CollectionType, Command, Namespace};
use crate::source::Namespaces;
use crate::source::oplog::fields::Fields;

/// The collection that holds the views of a database. What happens to it itself says nothing to a consumer.
pub(super) const COLLECTION: &str = "system.views";

/// What the views of time-series collections are on.
const BUCKETS: &[u8] = b"system.buckets.";

/// A command on the view's own namespace. Whoever captures that gets it.
pub(super) fn meaning<'a>(fields: &Fields<'a>, ns: Namespace<'a>, namespaces: &Namespaces) -> Meaning<'a> {
    if !namespaces.captures_database(ns.db) {
        return Ok(None);
    }
    let o = fields.o()?;
    let (name, key) = match fields.op {
        b"i" => ("create", o),
        b"d" => ("drop", o),
        _ => ("modify", fields.o2.unwrap_or(o)),
    };
    let id = key.get("_id").and_then(RawValue::as_str_bytes);
    let id = id.ok_or(Why::from("a view whose _id is not its name"))?;
    let id = std::str::from_utf8(id).map_err(|_| Why::unreadable("a view whose name is not UTF-8"))?;
    let view = Namespace::split(id);
    if !namespaces.captures(view) {
        return Ok(None);
    }
    Ok(Some((view, Change::Command(Command { of: sort(o), ..Command::new(name, o) }))))
}

fn sort(view: RawDoc<'_>) -> CollectionType {
    let on = view.get("viewOn").and_then(RawValue::as_str_bytes);
    if on.is_some_and(|on| on.starts_with(BUCKETS)) {
        CollectionType::TimeSeries
    } else {
        CollectionType::View
    }
}
