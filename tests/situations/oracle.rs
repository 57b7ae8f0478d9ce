//! What the server itself says of the same writes: its change stream.

use futures::StreamExt as _;
use mongodb::Client;
use mongodb::bson::raw::RawBsonRef;
use mongodb::bson::{RawDocument, RawDocumentBuf, Timestamp, Uuid};
use mongodb::options::ChangeStreamOptions;
use tokio::task::JoinHandle;

use crate::compare::{Event, Namespace};
use crate::table::{ALL, Note, OLD, Side, Version};
use crate::values::Value;

/// What change streams don't show on a whole version.
pub(crate) const NOTES: &[Note] = &[
    older("create"),
    older("createIndexes"),
    older("dropIndexes"),
    older("modify"),
    internal("create *tmp.agg_out.*"),
    internal("insert *tmp.agg_out.*"),
    internal("create *tmp*.renameCollection"),
    internal("createIndexes *tmp*.renameCollection"),
    internal("insert *tmp*.renameCollection"),
    internal("create *tmp*.convertToCapped.*"),
];

const fn internal(about: &'static str) -> Note {
    Note {
        versions: ALL,
        about,
        side: Side::Theirs,
        why: "the server's temporary collections are not published",
    }
}

const fn older(about: &'static str) -> Note {
    Note {
        versions: OLD,
        about,
        side: Side::Ours,
        why: "change streams show it since 6.0, as an expanded event",
    }
}

/// A change stream of all databases that is being read.
pub(crate) struct Oracle {
    task: JoinHandle<Result<Vec<RawDocumentBuf>, mongodb::error::Error>>,
}

impl Oracle {
    /// Reads from `start` on, to the first event that `is_last`.
    pub(crate) fn start(
        client: &Client,
        version: Version,
        start: Timestamp,
        is_last: impl Fn(&Event) -> bool + Send + 'static,
    ) -> Self {
        let client = client.clone();
        let task = tokio::spawn(async move {
            let options = ChangeStreamOptions::builder()
                .start_at_operation_time(start)
                .show_expanded_events((version == Version::V60).then_some(true))
                .build();
            let stream = client.watch().with_options(options).await?;
            let mut stream = stream.with_type::<RawDocumentBuf>();
            let mut events = Vec::new();
            while let Some(next) = stream.next().await {
                events.push(next?);
                if is_last(&event(&events[events.len() - 1])) {
                    break;
                }
            }
            Ok(events)
        });
        Self { task }
    }

    /// All its events.
    pub(crate) async fn events(self) -> Result<Vec<Event>, mongodb::error::Error> {
        let events = self.task.await.unwrap()?;
        Ok(events.iter().map(|found| event(found)).collect())
    }
}

/// Reads one change event.
pub(crate) fn event(document: &RawDocument) -> Event {
    let mut event = Event { document: Some(Value::of_document(document)), ..Event::default() };
    let mut session = None;
    let mut number = None;
    for element in document {
        let (name, value) = element.unwrap();
        match name.as_str() {
            "_id" => {}
            "operationType" => value.as_str().unwrap().clone_into(&mut event.op),
            "ns" => event.ns = namespace(value.as_document().unwrap()),
            "to" => event.to = value.as_document().map(namespace),
            "lsid" => session = value.as_document().map(|lsid| uuid(lsid.get("id").unwrap().unwrap())),
            "txnNumber" => number = value.as_i64(),
            "collectionUUID" => {
                event.fields.insert("collectionUUID", Value::of(uuid(value)));
            }
            "updateDescription" => {
                for element in value.as_document().unwrap() {
                    let (name, value) = element.unwrap();
                    event.fields.insert(known(name.as_str()), Value::of_raw(value));
                }
            }
            name => {
                event.fields.insert(known(name), Value::of_raw(value));
            }
        }
    }
    let at = event.fields.get("clusterTime").expect("every event has one");
    event.at = timestamp(&at.bytes);
    if let (Some(session), Some(number)) = (session, number) {
        event.fields.insert("txn", Value::of(format!("{session}:{number}")));
    }
    event
}

/// The fields that are compared.
fn known(name: &str) -> &'static str {
    const NAMES: [&str; 10] = [
        "documentKey",
        "fullDocument",
        "updatedFields",
        "removedFields",
        "truncatedArrays",
        "clusterTime",
        "wallTime",
        "operationDescription",
        "stateBeforeChange",
        "disambiguatedPaths",
    ];
    NAMES
        .into_iter()
        .find(|known| *known == name)
        .unwrap_or_else(|| panic!("a new field of change events: {name}"))
}

fn namespace(ns: &RawDocument) -> Namespace {
    let part = |name| ns.get(name).unwrap().and_then(RawBsonRef::as_str).unwrap_or_default().to_owned();
    Namespace { db: part("db"), coll: part("coll") }
}

fn uuid(value: RawBsonRef<'_>) -> String {
    let binary = value.as_binary().unwrap();
    Uuid::from_bytes(binary.bytes.try_into().unwrap()).to_string()
}

fn timestamp(bytes: &[u8]) -> (u32, u32) {
    let part = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    (part(4), part(0))
}
