//! What MongoDB says has happened: its oplog, read by the driver.

use std::collections::HashMap;

use futures::TryStreamExt as _;
use mongo_observer::event::Position;
use mongodb::Client;
use mongodb::bson::{Bson, Document, Timestamp, doc};
use mongodb::options::{Acknowledgment, ReadConcern, WriteConcern};

/// Operations on one database, in order: positions, and what they are about.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) operations: Vec<(Position, String)>,
    /// The parts of transactions whose end is still to come, by their timestamps.
    parts: HashMap<Timestamp, Document>,
}

impl History {
    /// What has happened in the database `db` behind `start`.
    pub(crate) async fn read(client: &Client, start: Position, db: &str) -> Self {
        commit_everything(client).await;
        let entries = client.database("local").collection::<Document>("oplog.rs");
        let behind = doc! { "ts": { "$gt": Timestamp { time: start.t, increment: start.i } } };
        let found = entries.find(behind).read_concern(ReadConcern::majority()).await.unwrap();
        let mut history = Self::default();
        for entry in found.try_collect::<Vec<_>>().await.unwrap() {
            let ts = entry.get_timestamp("ts").unwrap();
            history.entry(entry, Position::of_entry(ts.time, ts.increment), db);
        }
        history
    }

    /// The last operation's position.
    pub(crate) fn end(&self) -> Position {
        self.operations.last().expect("something happened").0
    }

    /// Those of them that are picked.
    pub(crate) fn only(&self, keep: impl Fn(Position, &str) -> bool) -> Self {
        let kept = self.operations.iter().filter(|(at, about)| keep(*at, about));
        Self { operations: kept.cloned().collect(), parts: HashMap::new() }
    }

    /// A transaction of several entries happens at the last of them.
    fn entry(&mut self, entry: Document, at: Position, db: &str) {
        let o = entry.get_document("o").unwrap();
        if ["partialTxn", "prepare"].iter().any(|part| o.get_bool(part).unwrap_or_default()) {
            self.parts.insert(entry.get_timestamp("ts").unwrap(), entry);
            return;
        }
        let link = |entry: &Document| entry.get_document("prevOpTime").ok()?.get_timestamp("ts").ok();
        let mut parts = Vec::new();
        let mut previous = link(&entry).filter(|_| !o.contains_key("abortTransaction"));
        while let Some(part) = previous.and_then(|ts| self.parts.remove(&ts)) {
            previous = link(&part);
            parts.push(part);
        }
        let mut elements: Vec<Bson> = Vec::new();
        for part in parts.iter().rev().chain([&entry]) {
            let array = part.get_document("o").unwrap().get_array("applyOps");
            elements.extend(array.into_iter().flatten().cloned());
        }
        if parts.is_empty() && elements.is_empty() {
            return self.add(&entry, at, db);
        }
        for (ordinal, element) in (0..).zip(&elements) {
            self.add(element.as_document().unwrap(), Position { ordinal, ..at }, db);
        }
    }

    fn add(&mut self, entry: &Document, at: Position, db: &str) {
        let o = entry.get_document("o").unwrap();
        let (of, coll) = entry.get_str("ns").unwrap().split_once('.').unwrap_or_default();
        match entry.get_str("op").unwrap() {
            "n" => {}
            "c" => self.operations.extend(command(of, o).filter(|_| of == db).map(|what| (at, what))),
            op if of == db => {
                let key = if op == "u" { entry.get_document("o2").unwrap() } else { o };
                self.operations.push((at, about(of, coll, key.get("_id").unwrap())));
            }
            _ => {}
        }
    }
}

/// With this write, everything before it is majority-committed.
pub(crate) async fn commit_everything(client: &Client) {
    let fence = client.database("fence").collection::<Document>("fence");
    let majority = WriteConcern::builder().w(Acknowledgment::Majority).build();
    fence.insert_one(doc! {}).write_concern(majority).await.unwrap();
}

/// What an operation on one document is about. The tests' identifiers are texts and small numbers, alike in BSON's and JSON's notation.
fn about(db: &str, coll: &str, id: &Bson) -> String {
    format!("{db}.{coll}/{id}")
}

/// What a command is about: its namespace and its word; none for those that say nothing to a consumer.
fn command(db: &str, o: &Document) -> Option<String> {
    let (name, value) = o.iter().next().unwrap();
    let word = match name.as_str() {
        "renameCollection" => return Some(format!("{}!rename", value.as_str().unwrap())),
        "dropDatabase" => return Some(format!("{db}.!dropDatabase")),
        "startIndexBuild" | "abortIndexBuild" | "abortTransaction" | "applyOps" => return None,
        "commitIndexBuild" => "createIndexes",
        "collMod" => "modify",
        other => other,
    };
    Some(format!("{db}.{}!{word}", value.as_str().unwrap()))
}

/// What is majority-committed now.
pub(crate) async fn majority_point(client: &Client) -> Position {
    let hello = client.database("admin").run_command(doc! { "hello": 1 }).await.unwrap();
    let optime = hello.get_document("lastWrite").unwrap().get_document("majorityOpTime").unwrap();
    let ts = optime.get_timestamp("ts").unwrap();
    Position::of_entry(ts.time, ts.increment)
}
