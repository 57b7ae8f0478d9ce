//! Images: the document before and behind a change, as the server has recorded it or as it is when looked up.

mod lookup;
mod members;
mod privileges;
mod recorded;
mod streams;

use std::path::Path;

use mongo_observer::event::Position;
use mongo_observer::servers::{Mongo, MongoVersion};
use mongodb::bson::{Document, doc};
use mongodb::{Client, Collection};
use serde_json::Value;

use super::harness::{Connector, Installation, majority_point, source};

const DB: &str = "imaged";

fn coll(client: &Client, name: &str) -> Collection<Document> {
    client.database(DB).collection(name)
}

/// Makes a collection of which the server records what was there before a change.
async fn create_recording(client: &Client, version: MongoVersion, name: &str) {
    let mut create = doc! { "create": name };
    if matches!(version, MongoVersion::V4_4 | MongoVersion::V5_0) {
        create.insert("recordPreImages", true);
    } else {
        create.insert("changeStreamPreAndPostImages", doc! { "enabled": true });
    }
    client.database(DB).run_command(create).await.unwrap();
}

/// One file sink, `events`, with such images; it begins behind `start`, if that is given.
fn config(mongo: &Mongo, start: Option<Position>, images: &str) -> String {
    let start = start.map_or(String::new(), |start| format!("source.start = \"{start}\"\n"));
    source(mongo, DB) + &start + "[sinks.file]\ntype = \"file\"\npath = \"events\"\n" + images
}

/// What the sink holds once everything up to now is in it, commands and watermarks left out.
async fn events(connector: &Connector, installation: &Installation, client: &Client) -> Vec<Value> {
    super::harness::commit_everything(client).await;
    connector.done(0, majority_point(client).await).await;
    read(&installation.path("events"))
}

fn read(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.filter(|event| event.get("key").is_some()).collect()
}
