//! The `mongodb` formats against the server's own change streams: the same documents, byte for byte, on every version.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::TryStreamExt as _;
use mongo_observer::bson::RawDoc;
use mongo_observer::bson::extjson::java::{Style, write_doc};
use mongo_observer::event::Position;
use mongo_observer::servers::{Mongo, MongoVersion};
use mongodb::bson::{Bson, Document, RawDocumentBuf, Timestamp, doc, rawdoc};
use mongodb::{Client, Collection};
use serde_json::Value;

use super::delivery::one_of_everything;
use super::harness::{Installation, Random, Workload, client, majority_point, source};

const DB: &str = "streams";
const FORMATS: [(&str, Style); 3] = [
    ("mongodb", Style::Strict),
    ("mongodb-simplified", Style::Simplified),
    ("mongodb-extended", Style::Extended),
];

/// Documents with everything that BSON has, wrong UTF-8 too. Servers refuse a few of them, for their fields' names.
async fn odd_documents(client: &Client) {
    let coll = client.database(DB).collection::<RawDocumentBuf>("odd");
    let documents = include_str!("../golden/java.jsonl").lines().enumerate().map(|(number, line)| {
        let row: Value = serde_json::from_str(line).unwrap();
        let bytes = BASE64_STANDARD.decode(row["bson"].as_str().unwrap()).unwrap();
        let mut document = rawdoc! { "_id": i32::try_from(number).unwrap() };
        document.append(mongodb::bson::cstr!("d"), RawDocumentBuf::from_bytes(bytes).unwrap());
        document
    });
    for document in documents {
        let _ = coll.insert_one(document).await;
    }
    assert!(coll.count_documents(doc! {}).await.unwrap() > 200);
}

/// Updates of every form that the server logs.
async fn odd_updates(client: &Client, random: &mut Random) {
    let coll = client.database(DB).collection::<Document>("updates");
    let list: Vec<Document> = (0..12).map(|number| doc! { "x": number, "y": [number, { "z": 1 }] }).collect();
    let pad = "x".repeat(2000);
    for id in [
        Bson::Int32(1),
        Bson::Int64(1 << 40),
        Bson::Double(1.5),
        "é".into(),
        doc! { "a": 1, "b": [2] }.into(),
    ] {
        let document =
            doc! { "_id": id.clone(), "list": list.clone(), "o": { "0": 1, "a": { "1": 2 } }, "pad": &pad };
        coll.insert_one(document).await.unwrap();
        for _ in 0..25 {
            let filter = doc! { "_id": id.clone() };
            let number = i32::try_from(random.below(12)).unwrap();
            let _ = match random.below(9) {
                0 => {
                    coll.update_one(
                        filter,
                        doc! { "$set": { format!("list.{number}.x"): 1.0e10, "new": number } },
                    )
                    .await
                }
                1 => {
                    coll.update_one(filter, doc! { "$unset": { format!("list.{number}.x"): 1, "new": 1 } })
                        .await
                }
                2 => coll.update_one(filter, doc! { "$push": { "list": { "x": number } } }).await,
                3 => coll.update_one(filter, doc! { "$pop": { "list": 1 } }).await,
                4 => {
                    coll.update_one(
                        filter,
                        doc! { "$set": { format!("o.{number}"): Bson::Null, "o.a.1": number } },
                    )
                    .await
                }
                5 => {
                    coll.update_one(
                        filter,
                        vec![doc! { "$set": { "list": { "$slice": ["$list", 8] }, "n": number } }],
                    )
                    .await
                }
                6 => {
                    coll.update_one(filter, vec![doc! { "$set": { "o": { "a": { "b": { "c": number } } } } }])
                        .await
                }
                7 => {
                    coll.update_one(filter, doc! { "$set": { "o.a.q.r": [number], "list.0.y.1.z": 5 } }).await
                }
                _ => {
                    coll.replace_one(filter, doc! { "list": list.clone(), "o": {}, "pad": &pad, "n": number })
                        .await
                }
            };
        }
        coll.delete_one(doc! { "_id": id }).await.unwrap();
    }
}

/// Commands of every kind that change streams show.
async fn commands(client: &Client) {
    let database = client.database(DB);
    let run = async |command: Document| database.run_command(command).await.unwrap();
    run(doc! { "create": "made", "capped": true, "size": 4096, "collation": { "locale": "de" } }).await;
    let coll: Collection<Document> = database.collection("indexed");
    run(doc! { "createIndexes": "indexed", "indexes": [{ "key": { "e": 1 }, "name": "empty" }] }).await;
    coll.insert_one(doc! { "_id": 1, "a": 1 }).await.unwrap();
    let indexes = vec![
        doc! { "key": { "a": 1 }, "name": "a" },
        doc! { "key": { "b": -1 }, "name": "b", "sparse": true },
    ];
    run(doc! { "createIndexes": "indexed", "indexes": indexes }).await;
    run(doc! { "collMod": "indexed", "index": { "name": "a", "hidden": true } }).await;
    run(doc! { "collMod": "indexed", "validator": { "a": { "$gt": 0 } } }).await;
    run(doc! { "dropIndexes": "indexed", "index": "a" }).await;
    run(doc! { "dropIndexes": "indexed", "index": "*" }).await;
    run(doc! { "create": "view", "viewOn": "indexed", "pipeline": [{ "$match": {} }] }).await;
    run(doc! { "collMod": "view", "viewOn": "made", "pipeline": [] }).await;
    run(doc! { "drop": "view" }).await;
    // Servers from 5.0 on have time series.
    let made = database.run_command(doc! { "create": "series", "timeseries": { "timeField": "t" } }).await;
    if made.is_ok() {
        let series: Collection<Document> = database.collection("series");
        series.insert_one(doc! { "t": mongodb::bson::DateTime::from_millis(1000), "n": 1 }).await.unwrap();
        run(doc! { "drop": "series" }).await;
    }
    let admin = client.database("admin");
    for (from, to, drop) in [("indexed", "moved", false), ("moved", "made", true)] {
        let rename = doc! { "renameCollection": format!("{DB}.{from}"), "to": format!("{DB}.{to}"), "dropTarget": drop };
        admin.run_command(rename).await.unwrap();
    }
    run(doc! { "drop": "made" }).await;
}

async fn write(client: &Client) {
    odd_documents(client).await;
    odd_updates(client, &mut Random::new(5)).await;
    Workload::new(client, DB, 23).write(200).await;
    commands(client).await;
    // Ends with the database.
    one_of_everything(client, DB).await;
}

/// The change events of the database, until it is gone.
async fn of_the_server(client: &Client, start: Position, expanded: bool) -> Vec<RawDocumentBuf> {
    let mut options = doc! {
        "allChangesForCluster": true,
        "startAtOperationTime": Timestamp { time: start.t, increment: start.i + 1 },
    };
    if expanded {
        options.insert("showExpandedEvents", true);
    }
    let aggregate = doc! {
        "aggregate": 1, "cursor": {}, "readConcern": { "level": "majority" },
        "pipeline": [{ "$changeStream": options }, { "$match": { "ns.db": DB } }],
    };
    let cursor = client.database("admin").run_cursor_command(aggregate).await.unwrap();
    let mut cursor = cursor.with_type::<RawDocumentBuf>();
    let mut events = Vec::new();
    while let Some(event) = cursor.try_next().await.unwrap() {
        let is_last = event.get_str("operationType").unwrap() == "dropDatabase";
        events.push(event);
        if is_last {
            break;
        }
    }
    events
}

/// One file for each format.
fn config(mongo: &Mongo, expanded: bool) -> String {
    let mut config =
        source(mongo, DB) + "checkpoint.store = \"file\"\ncheckpoint.path = \"{sink}.checkpoint\"\n";
    for (format, _) in FORMATS {
        let path = format!("{format}.jsonl");
        let sink = format!(
            "[sinks.{format}]\ntype = \"file\"\npath = {path:?}\nformat = \"{format}\"\nexpanded_events = {expanded}\n"
        );
        config.push_str(&sink);
    }
    config
}

async fn events_are_the_servers_own(version: MongoVersion, expanded: bool) {
    // GIVEN a connector that writes the formats of MongoDB's own
    let mongo = Mongo::builder().version(version).start().await.unwrap();
    let client = client(&mongo).await;
    let start = majority_point(&client).await;
    let installation = Installation::new(&config(&mongo, expanded));
    let connector = installation.run().await;
    // WHEN all sorts of things are written
    write(&client).await;
    let theirs = of_the_server(&client, start, expanded).await;
    assert!(theirs.len() > 500, "{}", theirs.len());
    let end = theirs[theirs.len() - 1].get_timestamp("clusterTime").unwrap();
    for (index, (format, style)) in FORMATS.into_iter().enumerate() {
        connector.done(index, Position::of_entry(end.time, end.increment)).await;
        // THEN its lines are the server's documents, as the Java driver would print them
        let ours = std::fs::read_to_string(installation.path(&format!("{format}.jsonl"))).unwrap();
        for (ours, theirs) in ours.lines().zip(&theirs) {
            let mut text = Vec::new();
            write_doc(&mut text, RawDoc::new(theirs.as_bytes()).unwrap(), style).unwrap();
            assert_eq!(ours, String::from_utf8(text).unwrap(), "{format}");
        }
        assert_eq!(ours.lines().count(), theirs.len(), "{format}");
    }
}

#[tokio::test]
async fn events_are_those_of_4_4() {
    events_are_the_servers_own(MongoVersion::V4_4, false).await;
}

#[tokio::test]
async fn events_are_those_of_5_0() {
    events_are_the_servers_own(MongoVersion::V5_0, false).await;
}

#[tokio::test]
async fn events_are_those_of_6_0() {
    events_are_the_servers_own(MongoVersion::V6_0_27, false).await;
}

#[tokio::test]
async fn expanded_events_are_those_of_6_0() {
    events_are_the_servers_own(MongoVersion::V6_0_27, true).await;
}
