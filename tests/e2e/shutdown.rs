//! The end: what is under way is acknowledged, the checkpoint is stored, and nothing is said on standard error but log lines.

use std::time::Duration;

use mongo_observer::event::Position;
use mongo_observer::servers::Nats;
use mongodb::bson::doc;

use super::harness::{
    History, Installation, Lanes, Workload, client, eventually, file_sink, kafka, kafka_sink, majority_point,
    mongo, nats, nats_sink, read_file, read_kafka, read_nats, source,
};

const ENTRIES_READ: &str = "source_entries_read_total{sink=\"nats\"}";

/// Ends the connector under load with SIGTERM, several times: each time cleanly, and what comes next repeats nothing.
async fn ends_cleanly(db: &str, tables: &str, read: impl AsyncFnOnce(&Installation) -> Lanes) {
    let mongo = mongo().await;
    let client = client(mongo).await;
    let start = majority_point(&client).await;
    let installation = Installation::new(&(source(mongo, db) + tables));
    let connector = installation.run().await;
    connector.anchored().await;
    let load = Workload::new(&client, db, 41).start(Duration::from_millis(1)).await;
    let mut connector = Some(connector);
    for _ in 0..3 {
        // It is under load when the signal comes: the sink has taken much, and more follows.
        let running = connector.take().expect("one runs");
        let before = History::read(&client, start, db).await.operations.len();
        let history = eventually("much was written", async || {
            let history = History::read(&client, start, db).await;
            (history.operations.len() > before + 50).then_some(history)
        })
        .await;
        running.done(0, history.end()).await;
        let ended = running.terminate().await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let last = ended.stderr.lines().last().unwrap();
        assert!(last.contains("stopped"), "{}", ended.stderr);
        connector = Some(installation.run().await);
    }
    load.stop().await;
    let history = History::read(&client, start, db).await;
    let connector = connector.expect("one runs");
    connector.done(0, history.end()).await;
    assert_eq!(connector.terminate().await.code, Some(0));
    assert!(history.operations.len() > 100, "{} operations are no load", history.operations.len());
    let lanes = read(&installation).await;
    lanes.assert_complete(&history);
    assert_eq!(lanes.repeats(), 0);
}

#[tokio::test]
async fn sigterm_repeats_nothing_in_kafka() {
    let kafka = kafka().await;
    let read = async |_: &Installation| read_kafka(kafka.bootstrap(), "end").await;
    ends_cleanly("end_kafka", &kafka_sink(kafka, "end", 2), read).await;
}

#[tokio::test]
async fn sigterm_repeats_nothing_in_nats() {
    let nats = nats().await;
    let read = async |_: &Installation| read_nats(nats.url(), "end").await;
    ends_cleanly("end_nats", &nats_sink(nats, "end"), read).await;
}

#[tokio::test]
async fn sigterm_repeats_nothing_in_a_file() {
    let read = async |installation: &Installation| read_file(&installation.path("events.jsonl"));
    ends_cleanly("end_file", &file_sink(), read).await;
}

#[tokio::test]
async fn a_sink_that_does_not_answer_holds_the_end_up_no_longer_than_the_grace() {
    // GIVEN a server that stands still with something under way
    let mongo = mongo().await;
    let nats = Nats::builder().start().await.unwrap();
    let client = client(mongo).await;
    let start = majority_point(&client).await;
    let tables = nats_sink(&nats, "grace").replace("ack_timeout_ms = 3000", "ack_timeout_ms = 60000");
    let config = |grace: u32| format!("pipeline.grace_ms = {grace}\n{}{tables}", source(mongo, "grace"));
    let installation = Installation::new(&config(1000));
    let connector = installation.run().await;
    let collection = client.database("grace").collection("a");
    // The first event of a collection makes the connector ask the server.
    collection.insert_one(doc! { "_id": "first" }).await.unwrap();
    connector.done(0, History::read(&client, start, "grace").await.end()).await;
    nats.pause(0).unwrap();
    collection.insert_one(doc! { "_id": "one" }).await.unwrap();
    under_way(&connector).await;
    // WHEN it is told to end, THEN it gives up in time, and says so
    let ended = connector.terminate_within(Duration::from_secs(8)).await;
    assert!(ended.failed_with(1).contains("grace_ms = 1000"), "{}", ended.stderr);
    nats.resume(0).unwrap();
    // GIVEN the same with a long grace
    installation.configure(&config(60_000));
    let connector = installation.run().await;
    collection.insert_one(doc! { "_id": "next" }).await.unwrap();
    let history = History::read(&client, start, "grace").await;
    connector.done(0, history.end()).await;
    nats.pause(0).unwrap();
    collection.insert_one(doc! { "_id": "two" }).await.unwrap();
    under_way(&connector).await;
    // WHEN it is told twice, THEN it ends at once
    connector.signal_end();
    connector.said("draining").await;
    let ended = connector.terminate_within(Duration::from_secs(3)).await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    nats.resume(0).unwrap();
    // and with the server back nothing is missing, and nothing is there twice
    let connector = installation.run().await;
    let history = History::read(&client, start, "grace").await;
    assert!(history.end() > Position::default());
    connector.done(0, history.end()).await;
    let lanes = read_nats(nats.url(), "grace").await;
    lanes.assert_complete(&history);
    assert_eq!(lanes.repeats(), 0);
}

#[tokio::test]
async fn a_server_that_says_nothing_of_a_new_collection_does_not_hold_the_end_up() {
    // GIVEN a server that stands still when the first event of a collection comes, for which it has to be asked
    let mongo = mongo().await;
    let nats = Nats::builder().start().await.unwrap();
    let client = client(mongo).await;
    let start = majority_point(&client).await;
    let installation = Installation::new(&(source(mongo, "grace_new") + &nats_sink(&nats, "grace_new")));
    let connector = installation.run().await;
    connector.anchored().await;
    let read = connector.metric(ENTRIES_READ).await;
    nats.pause(0).unwrap();
    client.database("grace_new").collection("a").insert_one(doc! { "_id": "one" }).await.unwrap();
    eventually("the event was read", async || {
        (connector.metric(ENTRIES_READ).await >= read + 2.0).then_some(())
    })
    .await;
    // WHEN it is told to end, THEN it does, as nothing was sent that could be repeated
    let ended = connector.terminate_within(Duration::from_secs(3)).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    nats.resume(0).unwrap();
    // and the event comes from the next one
    let connector = installation.run().await;
    let history = History::read(&client, start, "grace_new").await;
    connector.done(0, history.end()).await;
    let lanes = read_nats(nats.url(), "grace_new").await;
    lanes.assert_complete(&history);
    assert_eq!(lanes.repeats(), 0);
}

async fn under_way(connector: &super::harness::Connector) {
    let sent = |report: &serde_json::Value| report["pipelines"][0]["in_flight_events"].as_u64() > Some(0);
    connector.until("something is under way", sent).await;
}

#[tokio::test]
async fn told_to_end_while_it_tries_again_it_ends_well() {
    let mongo = mongo().await;
    let nats = Nats::builder().start().await.unwrap();
    let installation = Installation::new(&(source(mongo, "pausing") + &nats_sink(&nats, "pausing")));
    let connector = installation.run().await;
    nats.kill(0).await;
    connector.until("NATS is missed", |report| report["pipelines"][0]["state"] == "retrying").await;
    let ended = connector.terminate_within(Duration::from_secs(8)).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}
