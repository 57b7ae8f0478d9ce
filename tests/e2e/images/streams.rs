//! Images in the formats of MongoDB's own connector, against the server's own change streams: the same documents, byte for byte.

use futures::TryStreamExt as _;
use mongo_observer::bson::RawDoc;
use mongo_observer::bson::extjson::java::{Style, write_doc};
use mongo_observer::event::Position;
use mongo_observer::servers::{Mongo, MongoVersion};
use mongodb::Client;
use mongodb::bson::{Document, RawDocumentBuf, Timestamp, doc};

use super::super::harness::{Installation, Random, Workload, client, majority_point, source};
use super::{DB, coll, create_recording};

/// What a change stream is asked for, and what the sink is.
type Variant = (&'static str, &'static str, &'static str);

const LOOKED_UP: Variant =
    ("updateLookup", "whenAvailable", "images.before = \"stored\"\nimages.after = \"lookup\"\n");
const STORED: Variant =
    ("whenAvailable", "whenAvailable", "images.before = \"stored\"\nimages.after = \"stored\"\n");
const AFTER_ALONE: Variant = ("whenAvailable", "off", "images.after = \"stored\"\n");
const BEFORE_ALONE: Variant = ("default", "whenAvailable", "images.before = \"stored\"\n");

/// Changes of every sort in collections that record, and in one that doesn't.
async fn write(client: &Client, version: MongoVersion) {
    for name in ["a", "b", "updates", "large", "dropped", "again", "renamed"] {
        create_recording(client, version, name).await;
    }
    client.database(DB).create_collection("c").await.unwrap();
    Workload::new(client, DB, 7).write(400).await;
    updates(client, &mut Random::new(3)).await;
    retried(client).await;
    for size in [2, 7] {
        transaction(client, size).await;
    }
    large(client).await;
    // In 6.0 a change stream of several collections looks documents up by the collection's name: in a new collection of that name, too,
    // and not in one that was renamed. That is not imitated; see `other_documents_are_not_taken_for_it`.
    let by_name = !matches!(version, MongoVersion::V4_4 | MongoVersion::V5_0);
    for name in if by_name { &["dropped"][..] } else { &["dropped", "again", "renamed"] } {
        coll(client, name).insert_one(doc! { "_id": 1, "n": 0 }).await.unwrap();
        coll(client, name).update_one(doc! { "_id": 1 }, doc! { "$set": { "n": 1 } }).await.unwrap();
    }
    coll(client, "dropped").drop().await.unwrap();
    if by_name {
        return;
    }
    coll(client, "again").drop().await.unwrap();
    coll(client, "again").insert_one(doc! { "_id": 1, "n": "of another collection" }).await.unwrap();
    let rename = doc! { "renameCollection": format!("{DB}.renamed"), "to": format!("{DB}.moved") };
    client.database("admin").run_command(rename).await.unwrap();
}

/// Updates whose results are not to be seen in what they say.
async fn updates(client: &Client, random: &mut Random) {
    let list: Vec<Document> = (0..12).map(|number| doc! { "x": number, "y": [number, { "z": 1 }] }).collect();
    let all = coll(client, "updates");
    for id in 0..5 {
        let document = doc! { "_id": id, "list": list.clone(), "o": { "0": 1, "a": { "1": 2 } }, "pad": "x".repeat(1000) };
        all.insert_one(document).await.unwrap();
    }
    for _ in 0..120 {
        let id = doc! { "_id": i32::try_from(random.below(5)).unwrap() };
        let number = i32::try_from(random.below(12)).unwrap();
        let set = |path: String, value: i32| doc! { "$set": { path: value } };
        let _ = match random.below(7) {
            0 => all.update_one(id, set(format!("list.{number}.x"), number)).await,
            1 => all.update_one(id, set(format!("o.{number}"), number)).await,
            2 => all.update_one(id, doc! { "$push": { "list": number } }).await,
            3 => all.update_one(id, doc! { "$unset": { format!("list.{number}.y.0"): "" } }).await,
            4 => {
                let cut = doc! { "$set": { "list": { "$slice": ["$list", number + 1] }, "fresh": number } };
                all.update_one(id, vec![cut]).await
            }
            5 => all.update_one(id, doc! { "$set": { "fresh": number, "o.a.1": number } }).await,
            _ => all.update_one(id, doc! { "$unset": { "fresh": "" } }).await,
        };
    }
    all.delete_one(doc! { "_id": 4 }).await.unwrap();
}

/// Commands whose outcome the server keeps for a retry, in the oplog before 5.1.
async fn retried(client: &Client) {
    for name in ["updates", "c"] {
        let all = coll(client, name);
        all.insert_one(doc! { "_id": "f", "n": 0 }).await.unwrap();
        let set = |n| doc! { "$set": { "n": n } };
        all.find_one_and_update(doc! { "_id": "f" }, set(1)).await.unwrap();
        let after = mongodb::options::ReturnDocument::After;
        all.find_one_and_update(doc! { "_id": "f" }, set(2)).return_document(after).await.unwrap();
        all.find_one_and_delete(doc! { "_id": "f" }).await.unwrap();
    }
}

/// Changes a document again and again in one transaction: of several entries, where an entry holds fewer operations. Tries until no
/// other one, that is still being aborted, is in its way.
async fn transaction(client: &Client, size: i32) {
    while let Err(error) = try_transaction(client, size).await {
        assert!(error.contains_label(mongodb::error::TRANSIENT_TRANSACTION_ERROR), "{error}");
    }
}

async fn try_transaction(client: &Client, size: i32) -> mongodb::error::Result<()> {
    let mut session = client.start_session().await?;
    let all = coll(client, "updates");
    let filter = doc! { "_id": format!("t{size}") };
    session.start_transaction().await?;
    all.insert_one(doc! { "_id": format!("t{size}"), "n": 0 }).session(&mut session).await?;
    for n in 1..size {
        let change = doc! { "$set": { "n": n }, "$push": { "list": n } };
        all.update_one(filter.clone(), change).session(&mut session).await?;
        let other = doc! { "$inc": { "m": n } };
        coll(client, "a").update_many(doc! {}, other).session(&mut session).await?;
    }
    all.delete_one(filter).session(&mut session).await?;
    session.commit_transaction().await
}

/// Documents so large that a transaction needs several entries for them, whatever an entry's limit.
async fn large(client: &Client) {
    let all = coll(client, "large");
    for id in 0..3 {
        all.insert_one(doc! { "_id": id, "x": "x".repeat(6 << 20) }).await.unwrap();
    }
    let mut session = client.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    for id in 0..3 {
        let filter = doc! { "_id": id };
        all.replace_one(filter.clone(), doc! { "y": "y".repeat(6 << 20) })
            .session(&mut session)
            .await
            .unwrap();
        all.update_one(filter, doc! { "$set": { "n": id } }).session(&mut session).await.unwrap();
    }
    session.commit_transaction().await.unwrap();
}

/// The change events of the database behind `start`, up to `end`.
async fn of_the_server(
    client: &Client,
    start: Position,
    end: Position,
    (after, before, _): Variant,
) -> Vec<RawDocumentBuf> {
    let mut options = doc! {
        "allChangesForCluster": true,
        "startAtOperationTime": Timestamp { time: start.t, increment: start.i + 1 },
        "fullDocument": after,
    };
    if before != "off" {
        options.insert("fullDocumentBeforeChange", before);
    }
    let aggregate = doc! {
        "aggregate": 1, "cursor": {}, "readConcern": { "level": "majority" },
        "pipeline": [{ "$changeStream": options }, { "$match": { "ns.db": DB } }],
    };
    let cursor = client.database("admin").run_cursor_command(aggregate).await.unwrap();
    let mut cursor = cursor.with_type::<RawDocumentBuf>();
    let mut events = Vec::new();
    while let Some(event) = cursor.try_next().await.unwrap() {
        let time = event.get_timestamp("clusterTime").unwrap();
        events.push(event);
        if (time.time, time.increment) >= end.timestamp() {
            break;
        }
    }
    events
}

fn printed(document: &RawDocumentBuf) -> String {
    let mut text = Vec::new();
    write_doc(&mut text, RawDoc::new(document.as_bytes()).unwrap(), Style::Strict).unwrap();
    String::from_utf8(text).unwrap()
}

async fn events_are_the_servers_own(version: MongoVersion, variants: &[Variant], small_entries: bool) {
    // GIVEN changes, and nobody who looks yet, so that whoever looks documents up finds the same
    let mut builder = Mongo::builder().version(version);
    if small_entries {
        builder = builder.param("maxNumberOfTransactionOperationsInSingleOplogEntry=3");
    }
    let mongo = builder.start().await.unwrap();
    let client = client(&mongo).await;
    let start = majority_point(&client).await;
    write(&client, version).await;
    coll(&client, "last").insert_one(doc! {}).await.unwrap();
    super::super::harness::commit_everything(&client).await;
    let end = super::super::harness::History::read(&client, start, DB).await.end();
    // WHEN a connector writes them in the format of MongoDB's own
    let mut config =
        source(&mongo, DB) + &format!("source.start = \"{start}\"\ncheckpoint.store = \"file\"\n");
    config.push_str("checkpoint.path = \"{sink}.checkpoint\"\n");
    for (number, (.., images)) in variants.iter().enumerate() {
        let table = format!(
            "[sinks.s{number}]\ntype = \"file\"\npath = \"s{number}\"\nformat = \"mongodb\"\n{images}"
        );
        config.push_str(&table);
    }
    let installation = Installation::new(&config);
    let connector = installation.run().await;
    for (number, variant) in variants.iter().enumerate() {
        connector.done(number, end).await;
        // THEN its lines are the server's documents, images and all
        let theirs = of_the_server(&client, start, end, *variant).await;
        let ours = std::fs::read_to_string(installation.path(&format!("s{number}"))).unwrap();
        for (ours, theirs) in ours.lines().zip(theirs.iter().map(printed)) {
            assert!(ours == theirs, "{variant:?}\n{}\n{}", cut(ours), cut(&theirs));
        }
        assert_eq!(ours.lines().count(), theirs.len(), "{variant:?}");
        let with = |what: &str| ours.lines().filter(|line| line.contains(what)).count();
        let counts = (theirs.len(), with("\"fullDocument\": {"));
        assert!(counts.0 > 400 && counts.1 > 100, "{counts:?}");
        if variant.1 == "whenAvailable" {
            assert!(with("\"fullDocumentBeforeChange\": {") > 200);
        }
    }
}

/// Enough of a line to see what it is.
fn cut(line: &str) -> String {
    line.chars().take(1500).collect()
}

#[tokio::test]
async fn images_are_those_of_4_4() {
    events_are_the_servers_own(MongoVersion::V4_4, &[LOOKED_UP, BEFORE_ALONE], false).await;
}

#[tokio::test]
async fn images_are_those_of_5_0() {
    events_are_the_servers_own(MongoVersion::V5_0, &[LOOKED_UP, BEFORE_ALONE], true).await;
}

#[tokio::test]
async fn images_are_those_of_6_0() {
    let variants = [LOOKED_UP, STORED, AFTER_ALONE, BEFORE_ALONE];
    events_are_the_servers_own(MongoVersion::V6_0_27, &variants, false).await;
}

#[tokio::test]
async fn images_in_small_entries_are_those_of_6_0() {
    events_are_the_servers_own(MongoVersion::V6_0_27, &[LOOKED_UP, STORED], true).await;
}
