//! What the keys of Kafka's records are good for: every operation on a document has the same one, byte for byte, and a tombstone with that
//! key lets a topic forget the document.

use std::collections::{BTreeMap, BTreeSet};

use mongo_observer::servers::{Kafka, Mongo, MongoVersion};
use mongodb::Client;
use mongodb::bson::{Bson, Document, doc};
use serde_json::{Value, json};

use super::harness::{
    History, Installation, PATIENCE, Workload, client, eventually, kafka, kafka_sink, majority_point, mongo,
    source,
};
use crate::kafka_sink::{Seen, read};

/// Numbers that a server takes for the same as the first one of each row.
fn aliases() -> [(Bson, [Bson; 3]); 3] {
    let decimal = |text: &str| Bson::Decimal128(text.parse().unwrap());
    [
        (Bson::Int32(1), [Bson::Double(1.0), Bson::Int64(1), decimal("1.0")]),
        (Bson::Double(2.0), [Bson::Int32(2), Bson::Int64(2), decimal("2")]),
        (decimal("3.00"), [Bson::Int32(3), Bson::Double(3.0), Bson::Int64(3)]),
    ]
}

/// Does to each document whatever can be done to one, and names it differently each time.
async fn write_by_other_names(client: &Client, db: &str) {
    let coll = client.database(db).collection::<Document>("c");
    for (id, [one, other, third]) in aliases() {
        coll.insert_one(doc! { "_id": &id, "n": 0 }).await.unwrap();
        coll.update_one(doc! { "_id": &one }, doc! { "$set": { "n": 1 } }).await.unwrap();
        coll.replace_one(doc! { "_id": &other }, doc! { "n": 2 }).await.unwrap();
        coll.replace_one(doc! { "_id": &third }, doc! { "_id": &one, "n": 3 }).await.unwrap();
        coll.find_one_and_update(doc! { "_id": &other }, vec![doc! { "$set": { "n": 4 } }]).await.unwrap();
        coll.find_one_and_replace(doc! { "_id": &one }, doc! { "_id": &third, "n": 5 })
            .upsert(true)
            .await
            .unwrap();
        let mut session = client.start_session().await.unwrap();
        session.start_transaction().await.unwrap();
        let set = doc! { "$set": { "n": 6 } };
        coll.update_one(doc! { "_id": &third }, set).session(&mut session).await.unwrap();
        session.commit_transaction().await.unwrap();
        coll.delete_one(doc! { "_id": &other }).await.unwrap();
    }
    coll.insert_one(doc! { "_id": "last" }).await.unwrap();
}

async fn every_operation_has_the_documents_key(version: MongoVersion, db: &str) {
    // GIVEN a server of that version, and a format that tells numbers apart
    let (mongo, kafka) = (Mongo::builder().version(version).start().await.unwrap(), kafka().await);
    let client = client(&mongo).await;
    let start = majority_point(&client).await;
    let sink = kafka_sink(kafka, db, 3) + "format = \"json-canonical\"\n";
    let connector = Installation::new(&(source(&mongo, db) + &sink));
    let connector = connector.run().await;
    // WHEN documents are named by numbers that are the same to the server
    write_by_other_names(&client, db).await;
    connector.done(0, History::read(&client, start, db).await.end()).await;
    // THEN all that happened to one has one key, in one partition, though a replacement has changed the type of its `_id`
    let seen = read(kafka.bootstrap(), &format!("{db}.{db}.c")).await;
    let mut operations: BTreeMap<&str, (u32, BTreeSet<i32>)> = BTreeMap::new();
    for seen in seen.iter().filter(|seen| !seen.key.contains("command")) {
        let (count, partitions) = operations.entry(&seen.key).or_default();
        *count += 1;
        partitions.insert(seen.partition);
    }
    let counts: Vec<_> = operations.iter().map(|(key, (count, on))| (*key, *count, on.len())).collect();
    let expected = [
        (r#"{"_id":"last"}"#, 1, 1),
        (r#"{"_id":{"$numberInt":"1"}}"#, 8, 1),
        (r#"{"_id":{"$numberInt":"2"}}"#, 8, 1),
        (r#"{"_id":{"$numberInt":"3"}}"#, 8, 1),
    ];
    assert_eq!(counts, expected);
}

#[tokio::test]
async fn every_operation_has_the_documents_key_on_4_4() {
    every_operation_has_the_documents_key(MongoVersion::V4_4, "keys_4_4").await;
}

#[tokio::test]
async fn every_operation_has_the_documents_key_on_5_0() {
    every_operation_has_the_documents_key(MongoVersion::V5_0, "keys_5_0").await;
}

#[tokio::test]
async fn every_operation_has_the_documents_key_on_6_0() {
    every_operation_has_the_documents_key(MongoVersion::V6_0, "keys_6_0").await;
}

#[tokio::test]
async fn every_delete_is_followed_by_a_tombstone_where_they_are_asked_for() {
    let (mongo, kafka, db) = (mongo().await, kafka().await, "tombstones");
    let client = client(mongo).await;
    let start = majority_point(&client).await;
    let sink = kafka_sink(kafka, db, 2) + "tombstones = \"always\"\n";
    let installation = Installation::new(&(source(mongo, db) + &sink));
    let connector = installation.run().await;
    Workload::new(&client, db, 5).write(200).await;
    let history = History::read(&client, start, db).await;
    connector.done(0, history.end()).await;
    let topics: BTreeSet<String> =
        super::harness::topics(kafka.bootstrap(), &format!("{db}.{db}.")).await.into_iter().collect();
    let mut deletes = 0;
    for topic in topics {
        let seen = read(kafka.bootstrap(), &topic).await;
        for (one, next) in seen.iter().zip(seen.iter().skip(1).map(Some).chain([None])) {
            let is_delete = one.value.as_ref().is_some_and(|value| value.starts_with(r#"{"op":"delete""#));
            let followed =
                next.is_some_and(|next| *next == Seen { value: None, ..one.clone() } && one.value.is_some());
            assert_eq!(is_delete, followed, "{one:?} {next:?}");
            deletes += u32::from(is_delete);
        }
    }
    assert!(deletes > 5, "{deletes}");
    let metrics = connector.get("/metrics").await.unwrap();
    let counted = format!("mongo_observer_events_published_total{{op=\"delete\",sink=\"kafka\"}} {deletes}");
    assert!(metrics.lines().any(|line| line == counted), "{counted}\n{metrics}");
}

/// The collection as a consumer has it that comes when everything is over: the last record of each key, as compaction leaves it.
fn table(records: &[Seen]) -> BTreeMap<String, Value> {
    let mut table = BTreeMap::new();
    for seen in records.iter().filter(|seen| !seen.key.contains("command")) {
        match &seen.value {
            Some(value) => table.insert(seen.key.clone(), serde_json::from_str(value).unwrap()),
            None => table.remove(&seen.key),
        };
    }
    table
}

#[tokio::test]
async fn a_compacted_topic_holds_the_collection_and_nothing_else() {
    // GIVEN a broker that compacts as soon as it can, and a sink whose topics are compacted and whose events have whole documents
    let kafka = Kafka::builder()
        .heap_mb(384)
        .property("log.cleaner.backoff.ms", "100")
        .property("log.cleaner.delete.retention.ms", "0")
        .start()
        .await
        .unwrap();
    let (mongo, db) = (mongo().await, "compacted");
    let client = client(mongo).await;
    let start = majority_point(&client).await;
    let sink = kafka_sink(&kafka, db, 1)
        + "cleanup_policy = \"compact\"\nimages.after = \"lookup\"\n"
        + "[sinks.kafka.topic_config]\nmin.cleanable.dirty.ratio = 0.001\nsegment.ms = 200\nmax.compaction.lag.ms = 200\n\
           delete.retention.ms = 0\n";
    let installation = Installation::new(&(source(mongo, db) + &sink));
    let connector = installation.run().await;
    connector.anchored().await;
    // WHEN documents come, change and go
    let coll = client.database(db).collection::<Document>("c");
    for round in 0..20 {
        for id in 0..10 {
            let key = doc! { "_id": id };
            coll.update_one(key, doc! { "$set": { "round": round } }).upsert(true).await.unwrap();
        }
        coll.delete_one(doc! { "_id": round % 7 }).await.unwrap();
    }
    connector.done(0, History::read(&client, start, db).await.end()).await;
    let topic = format!("{db}.{db}.c");
    let before = read(kafka.bootstrap(), &topic).await;
    assert!(before.iter().any(|seen| seen.value.is_none()), "deletes are followed by tombstones");
    // and the broker has compacted; what it writes to is not compacted, so something is written to make it begin anew
    let mut number = 0;
    let after = eventually("the broker has compacted", async || {
        number += 1;
        coll.insert_one(doc! { "_id": format!("more {number}") }).await.unwrap();
        let seen = read(kafka.bootstrap(), &topic).await;
        let is_gone = seen.iter().all(|seen| seen.value.is_some() || !seen.key.contains(":0}"));
        (is_gone && seen.len() < 40 + number).then_some(seen)
    })
    .await;
    // THEN each document that there is has its last state there, and no other one is there
    let table: BTreeMap<String, Value> =
        table(&after).into_iter().filter(|(key, _)| !key.contains("more")).collect();
    let mut expected = BTreeMap::new();
    let mut cursor = coll.find(doc! { "_id": { "$type": "int" } }).await.unwrap();
    while cursor.advance().await.unwrap() {
        let found = cursor.deserialize_current().unwrap();
        let id = found.get_i32("_id").unwrap();
        expected.insert(format!("{{\"_id\":{id}}}"), found.get_i32("round").unwrap());
    }
    let rounds: BTreeMap<String, i32> = table
        .iter()
        .map(|(key, event)| (key.clone(), i32::try_from(event["after"]["round"].as_i64().unwrap()).unwrap()))
        .collect();
    assert_eq!(rounds, expected);
    assert_eq!(expected.len(), 9, "one was deleted at last");
    // and the manifest says so
    let told = read(kafka.bootstrap(), &format!("{db}._namespaces")).await;
    let told: Value = serde_json::from_str(told[0].value.as_ref().unwrap()).unwrap();
    assert_eq!((&told["compacted"], &told["tombstones"]), (&json!(true), &json!(true)));
    assert_eq!(told["images"], json!({ "before": "none", "after": "lookup" }));
}

#[tokio::test]
async fn an_update_without_its_document_stops_before_a_compacted_topic() {
    // GIVEN a collection of which nothing is recorded
    let (mongo, kafka, db) = (mongo().await, kafka().await, "compacted_bare");
    let client = client(mongo).await;
    let start = majority_point(&client).await;
    let sink = kafka_sink(kafka, db, 1) + "cleanup_policy = \"compact\"\nimages.after = \"stored\"\n";
    let installation = Installation::new(&(source(mongo, db) + &sink));
    let connector = installation.run().await;
    connector.anchored().await;
    // WHEN a document is updated
    let docs = client.database(db).collection::<Document>("a");
    docs.insert_one(doc! { "_id": "x", "n": 1 }).await.unwrap();
    connector.done(0, History::read(&client, start, db).await.end()).await;
    docs.update_one(doc! { "_id": "x" }, doc! { "$set": { "n": 2 } }).await.unwrap();
    // THEN it stops before it, as compaction would take the document
    let ended = connector.ended_within(PATIENCE).await;
    let line = ended.failed_with(1);
    assert!(line.contains("an update without its document (after: notFound)"), "{line}");
    let records = read(kafka.bootstrap(), &format!("{db}.{db}.a")).await;
    let last: Value = serde_json::from_str(records.last().unwrap().value.as_ref().unwrap()).unwrap();
    assert_eq!(last["op"], "insert", "{last}");
}
