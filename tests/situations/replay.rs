//! The documents: what replaying our events makes of them, and what the collections hold.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;
use mongodb::bson::raw::RawBsonRef;
use mongodb::bson::{RawDocumentBuf, doc};

use crate::compare::{Event, Namespace};
use crate::consumer;
use crate::place::{Outcome, Place};
use crate::values::Value;

/// Documents by their `_id`.
type Documents = BTreeMap<Value, Value>;

/// Collections, without those that hold nothing.
pub(crate) type Collections = BTreeMap<Namespace, Documents>;

/// Contents that no event has told.
fn unknown() -> Documents {
    Documents::from([(UNKNOWN, UNKNOWN)])
}

const UNKNOWN: Value = Value { kind: 0, bytes: Vec::new() };

/// What the collections of a situation hold.
pub(crate) async fn stored(at: &Place) -> Outcome<Collections> {
    let mut collections = Collections::new();
    let of_situation = doc! { "name": { "$regex": format!("^{}", at.name) } };
    for db in at.client.list_database_names().filter(of_situation).await? {
        let database = at.client.database(&db);
        let mut names = database.list_collections().filter(doc! { "type": "collection" }).await?;
        while let Some(found) = names.try_next().await? {
            if found.name.starts_with("system.") {
                continue;
            }
            let mut documents = Documents::new();
            let mut cursor = database.collection::<RawDocumentBuf>(&found.name).find(doc! {}).await?;
            while let Some(document) = cursor.try_next().await? {
                documents.insert(id(&document), Value::of_document(&document));
            }
            if !documents.is_empty() {
                collections.insert(Namespace { db: db.clone(), coll: found.name }, documents);
            }
        }
    }
    Ok(collections)
}

fn id(document: &RawDocumentBuf) -> Value {
    Value::of_raw(document.get("_id").unwrap().unwrap_or(RawBsonRef::Undefined))
}

/// Does with the documents what our events say.
pub(crate) fn replay(collections: &mut Collections, events: &[Event]) -> Result<(), String> {
    for event in events {
        apply(collections, event).map_err(|what| format!("{}: {what}", event.about("")))?;
        collections.retain(|_, documents| !documents.is_empty());
    }
    Ok(())
}

fn apply(collections: &mut Collections, event: &Event) -> Result<(), String> {
    let documents = collections.entry(event.ns.clone()).or_default();
    let field = |name| event.fields.get(name).ok_or_else(|| format!("no {name}"));
    let key = || -> Result<Value, String> {
        let key = RawDocumentBuf::from_bytes(field("documentKey")?.bytes.clone())
            .map_err(|error| error.to_string())?;
        Ok(id(&key))
    };
    match event.op.as_str() {
        "insert" | "replace" => {
            let before = documents.insert(key()?, id_first(field("fullDocument")?));
            if before.is_some() && event.op == "insert" {
                return Err("the document was there".to_owned());
            }
        }
        "delete" => {
            documents.remove(&key()?).ok_or("the document was not there")?;
        }
        "update" => {
            let document = documents.get_mut(&key()?).ok_or("the document was not there")?;
            let update = event.json.as_ref().and_then(|json| json.get("update")).ok_or("no update")?;
            let update = Value::of_json(update).document().ok_or("an update that the driver can't hold")?;
            let mut changed = document.document().ok_or("a document that the driver can't hold")?;
            consumer::apply(&mut changed, &update)?;
            *document = Value::of(changed);
        }
        "drop" | "truncate" => documents.clear(),
        "dropDatabase" => collections.retain(|ns, _| ns.db != event.ns.db),
        "rename" => {
            let moved = collections.remove(&event.ns).unwrap_or_default();
            let to = event.to.clone().ok_or("no target")?;
            let contents = if moved.is_empty() && event.replaced { unknown() } else { moved };
            collections.insert(to, contents);
        }
        _ => {}
    }
    Ok(())
}

/// The document as it is stored. Updates and replacements leave `_id` where the client put it in the oplog; whoever applies that puts it first.
fn id_first(document: &Value) -> Value {
    let raw = RawDocumentBuf::from_bytes(document.bytes.clone()).unwrap();
    let mut ordered = RawDocumentBuf::new();
    let elements: Vec<_> = raw.iter().map(Result::unwrap).collect();
    let (ids, others): (Vec<_>, Vec<_>) = elements.into_iter().partition(|(name, _)| *name == "_id");
    for (name, value) in ids.into_iter().chain(others) {
        ordered.append(name, value);
    }
    Value::of_document(&ordered)
}

/// In what two states differ.
pub(crate) fn differences(replayed: &Collections, stored: &Collections) -> Vec<String> {
    let mut found = Vec::new();
    let all = replayed.keys().chain(stored.keys().filter(|ns| !replayed.contains_key(*ns)));
    let none = Documents::new();
    for ns in all {
        let [replayed, stored] = [replayed, stored].map(|state| state.get(ns).unwrap_or(&none));
        if replayed.contains_key(&UNKNOWN) {
            continue;
        }
        for id in replayed.keys().chain(stored.keys().filter(|id| !replayed.contains_key(*id))) {
            let [replayed, stored] = [replayed, stored].map(|documents| documents.get(id));
            if replayed != stored {
                let text = |value: Option<&Value>| value.map_or("nothing".to_owned(), ToString::to_string);
                found.push(format!(
                    "the document {id} of {}\n          replayed: {}\n          stored:   {}",
                    ns.coll,
                    text(replayed),
                    text(stored)
                ));
            }
        }
    }
    found
}
