//! Events that the sink has no room or no place for.

use mongo_observer::event::Position;
use mongodb::Client;
use mongodb::bson::{Document, doc};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use serde_json::{Value, json};

use super::harness::{
    Connector, History, Installation, Lanes, PATIENCE, Seen, client, kafka, kafka_sink, majority_point,
    mongo, nats, nats_sink, read_kafka, read_nats, source,
};

/// Inserts documents with these `_id`s and so many bytes.
async fn insert(client: &Client, ns: (&str, &str), ids: std::ops::Range<i32>, bytes: usize) {
    let coll = client.database(ns.0).collection::<Document>(ns.1);
    let text = "x".repeat(bytes);
    for id in ids {
        coll.insert_one(doc! { "_id": id, "text": &text }).await.unwrap();
    }
}

async fn caught_up(connector: &Connector, client: &Client, start: Position, db: &str) {
    connector.done(0, History::read(client, start, db).await.end()).await;
}

/// What there is of each document, in the order of the positions: `op` and `_id`.
fn told(lanes: &Lanes) -> Vec<(String, i64)> {
    let mut seen: Vec<&Seen> = lanes.events().filter(|seen| seen.event["key"].is_object()).collect();
    seen.sort_by_key(|seen| seen.at);
    let id = |id: &Value| id.as_i64().or_else(|| id["$numberInt"].as_str()?.parse().ok()).unwrap();
    seen.iter().map(|seen| (seen.op.clone(), id(&seen.event["key"]["_id"]))).collect()
}

fn expected(parts: &[(&str, std::ops::Range<i64>)]) -> Vec<(String, i64)> {
    parts.iter().flat_map(|(op, ids)| ids.clone().map(|id| ((*op).to_owned(), id))).collect()
}

async fn assert_metric(connector: &Connector, line: &str) {
    let metrics = connector.get("/metrics").await.unwrap();
    assert!(metrics.lines().any(|found| found == format!("mongo_observer_{line}")), "{line}\n{metrics}");
}

async fn limit(bootstrap: &str, topic: &str, bytes: &str) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", bootstrap).create().unwrap();
    let topic = AlterConfig::new(ResourceSpecifier::Topic(topic)).set("max.message.bytes", bytes);
    for altered in admin.alter_configs([&topic], &AdminOptions::new()).await.unwrap() {
        altered.unwrap();
    }
}

#[tokio::test]
async fn a_limit_that_is_lowered_while_it_runs_is_asked_for_again_and_the_policy_followed() {
    // GIVEN a connector that sends documents which fit
    let (mongo, kafka, db) = (mongo().await, kafka().await, "lowered");
    let client = client(mongo).await;
    let start = majority_point(&client).await;
    let config = source(mongo, db) + "on.too_large = \"dead_letter\"\n" + &kafka_sink(kafka, db, 1);
    let connector = Installation::new(&config);
    let connector = connector.run().await;
    connector.anchored().await;
    insert(&client, (db, "c"), 0..10, 200_000).await;
    caught_up(&connector, &client, start, db).await;
    // WHEN the topic takes less from now on
    limit(kafka.bootstrap(), "lowered.lowered.c", "50000").await;
    insert(&client, (db, "c"), 10..20, 30_000).await;
    insert(&client, (db, "c"), 20..23, 200_000).await;
    insert(&client, (db, "c"), 23..30, 1000).await;
    // THEN what does not fit any more is a dead letter, and nothing else is missing or repeated
    caught_up(&connector, &client, start, db).await;
    let lanes = read_kafka(kafka.bootstrap(), db).await;
    let events = expected(&[("insert", 0..20), ("deadLetter", 20..23), ("insert", 23..30)]);
    let mut found = told(&lanes);
    found.dedup();
    assert_eq!(found, events);
    let letter = lanes.events().find(|seen| seen.op == "deadLetter").unwrap();
    assert_eq!(
        (&letter.event["reason"], letter.place.as_str()),
        (&json!("too_large"), "lowered._dead_letters")
    );
    assert_metric(&connector, r#"dead_letters_published_total{reason="too_large",sink="kafka"} 3"#).await;
    let report = connector.status().await.unwrap();
    assert_eq!(report["pipelines"][0]["restarts"], 1, "{report}");
}

/// A document that no broker takes as it is, between two small ones, is told without its contents.
async fn goes_without_its_document(db: &'static str, sink: &str, read: impl AsyncFn() -> Lanes) {
    let mongo = mongo().await;
    let client = client(mongo).await;
    let start = majority_point(&client).await;
    let installation = Installation::new(&(source(mongo, db) + "on.too_large = \"header_only\"\n" + sink));
    let connector = installation.run().await;
    for (ids, bytes) in [(0..1, 10), (1..2, 3_000_000), (2..3, 10)] {
        insert(&client, (db, "c"), ids, bytes).await;
    }
    caught_up(&connector, &client, start, db).await;
    let lanes = read().await;
    assert_eq!(told(&lanes), expected(&[("insert", 0..3)]));
    lanes.assert_complete(&History::read(&client, start, db).await);
    let header = lanes.events().find(|seen| seen.about.ends_with("/1")).unwrap();
    assert!(header.event["after"].is_null(), "{:?}", header.about);
    let missing = &header.event["tooLarge"];
    assert!(
        missing["bytes"].as_u64() > Some(3_000_000) && missing["limit"].as_u64() < Some(1_100_000),
        "{missing}"
    );
    let kind = if sink.contains("kafka") { "kafka" } else { "nats" };
    assert_metric(&connector, &format!("events_header_only_total{{sink=\"{kind}\"}} 1")).await;
    assert!(connector.stderr().contains("published without its document"), "{}", connector.stderr());
}

#[tokio::test]
async fn a_document_that_is_too_large_for_kafka_is_told_without_its_contents() {
    let kafka = kafka().await;
    let read = async || read_kafka(kafka.bootstrap(), "header_kafka").await;
    goes_without_its_document("header_kafka", &kafka_sink(kafka, "header_kafka", 1), read).await;
}

#[tokio::test]
async fn a_document_that_is_too_large_for_nats_is_told_without_its_contents() {
    let nats = nats().await;
    let read = async || read_nats(nats.url(), "header_nats").await;
    goes_without_its_document("header_nats", &nats_sink(nats, "header_nats"), read).await;
}

#[tokio::test]
async fn by_default_a_document_that_is_too_large_stops_it_with_the_choice() {
    let (mongo, kafka, db) = (mongo().await, kafka().await, "too_large");
    let client = client(mongo).await;
    let installation = Installation::new(&(source(mongo, db) + &kafka_sink(kafka, db, 1)));
    let connector = installation.run().await;
    insert(&client, (db, "c"), 0..1, 3_000_000).await;
    let ended = connector.ended_within(PATIENCE).await;
    let line = ended.failed_with(1);
    for words in
        ["too_large.c", "too_large.too_large.c takes", "[on] too_large = \"dead_letter\" or \"header_only\""]
    {
        assert!(line.contains(words), "{words} is not in: {line}");
    }
}

#[tokio::test]
async fn events_of_a_namespace_without_a_topic_of_its_own_become_dead_letters() {
    // GIVEN two collections whose topics would be one to the brokers
    let (mongo, kafka, db) = (mongo().await, kafka().await, "placeless");
    let client = client(mongo).await;
    let start = majority_point(&client).await;
    let config = source(mongo, db) + "on.unroutable = \"dead_letter\"\n" + &kafka_sink(kafka, db, 1);
    let installation = Installation::new(&config);
    let connector = installation.run().await;
    // WHEN both are written to
    insert(&client, (db, "a.b"), 0..2, 10).await;
    insert(&client, (db, "a_b"), 2..4, 10).await;
    insert(&client, (db, "a.b"), 4..5, 10).await;
    caught_up(&connector, &client, start, db).await;
    // THEN the first one has the topic, and the other one's events say why they are elsewhere
    let lanes = read_kafka(kafka.bootstrap(), db).await;
    assert_eq!(told(&lanes), expected(&[("insert", 0..2), ("deadLetter", 2..4), ("insert", 4..5)]));
    let letters: Vec<&Seen> = lanes.events().filter(|seen| seen.op == "deadLetter").collect();
    assert_eq!(letters.len(), 3, "the collection's creation among them");
    for letter in letters {
        assert_eq!(letter.event["reason"], "unroutable");
        assert!(letter.event["what"].as_str().unwrap().contains("placeless.a_b"), "{}", letter.event["what"]);
    }
    assert_metric(&connector, r#"dead_letters_published_total{reason="unroutable",sink="kafka"} 3"#).await;
}

#[tokio::test]
async fn events_without_a_topic_may_be_skipped_and_are_counted() {
    let (mongo, kafka, db) = (mongo().await, kafka().await, "topicless");
    let client = client(mongo).await;
    let start = majority_point(&client).await;
    let config = source(mongo, db) + "on.unroutable = \"skip\"\n" + &kafka_sink(kafka, db, 1);
    let installation = Installation::new(&(config + "create_topics = false\n"));
    let connector = installation.run().await;
    insert(&client, (db, "c"), 0..3, 10).await;
    caught_up(&connector, &client, start, db).await;
    assert_eq!(told(&read_kafka(kafka.bootstrap(), db).await), []);
    assert_metric(&connector, r#"events_skipped_total{reason="unroutable",sink="kafka"} 4"#).await;
    assert!(connector.stderr().contains("topicless.topicless.c does not exist"), "{}", connector.stderr());
}
