//! A sink that stands still: memory stays flat, and nothing is lost.

use mongo_observer::servers::{Kafka, Mongo};
use mongodb::Client;
use mongodb::bson::{Document, doc};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::harness::{
    Connector, History, Installation, client, eventually, kafka_sink, majority_point, read_kafka, read_lines,
    source,
};

/// The budget is 8 MiB; replies, records, and the sink's own buffers come on top. Measured with 40 to 800 megabytes: 22 to 32 MB while the
/// sink stands still, 30 to 45 MB once it has caught up. What holds on to the data itself holds two hundred.
const MEMORY_MAX_KB: u64 = 56 * 1024;
const DOCUMENTS: u32 = 25_000;

/// Two hundred megabytes.
async fn write_much(client: &Client, db: &str) {
    let coll = client.database(db).collection::<Document>("large");
    let text = "x".repeat(8_000);
    for batch in 0..DOCUMENTS / 500 {
        let many = (batch * 500..(batch + 1) * 500).map(|number| doc! { "_id": number, "text": &text });
        coll.insert_many(many).await.unwrap();
    }
}

/// Waits until the budget is full and the connector reads no more.
async fn stands_still(connector: &Connector) {
    let mut before = String::new();
    eventually("the budget is full", async || {
        let status = connector.status().await?;
        let taken = status["pipelines"][0]["in_flight_bytes"].as_u64()?;
        let read = metric(&connector.get("/metrics").await?, "source_bytes_read_total");
        let still = read == before && taken > 7 << 20;
        before = read;
        still.then_some(())
    })
    .await;
}

fn metric(text: &str, name: &str) -> String {
    let line = text.lines().find(|line| line.starts_with(&format!("mongo_observer_{name}{{"))).unwrap();
    line.rsplit(' ').next().unwrap().to_owned()
}

#[track_caller]
fn assert_flat(connector: &Connector) {
    let anonymous = connector.memory_kb("RssAnon");
    assert!(anonymous < MEMORY_MAX_KB, "{anonymous} kB of memory");
}

#[tokio::test]
async fn a_reader_that_does_not_read_standard_output_costs_no_memory_and_no_event() {
    // GIVEN a connector whose standard output nobody reads
    let mongo = Mongo::builder().oplog_mb(1024).start().await.unwrap();
    let client = client(&mongo).await;
    let start = majority_point(&client).await;
    let installation = Installation::new(&(source(&mongo, "stalled") + "[sinks.out]\ntype = \"stdout\"\n"));
    let mut connector = installation.start_piped();
    connector.running().await;
    // WHEN far more is written than it may hold
    write_much(&client, "stalled").await;
    stands_still(&connector).await;
    // THEN memory stays flat, and once somebody reads, everything comes
    assert_flat(&connector);
    let mut lines = BufReader::new(connector.take_pipe()).lines();
    let mut held = Vec::new();
    while held.len() <= DOCUMENTS as usize {
        let line = lines.next_line().await.unwrap().unwrap();
        held.push(line.replace(&"x".repeat(8_000), ""));
    }
    assert_flat(&connector);
    read_lines(&held).assert_complete(&History::read(&client, start, "stalled").await);
    connector.kill().await;
}

/// Two hundred thousand documents of next to nothing: what is kept for each counts, not its bytes.
async fn write_many(client: &Client, db: &str) {
    let coll = client.database(db).collection::<Document>("large");
    for batch in 0..20 {
        coll.insert_many((batch * 10_000..(batch + 1) * 10_000).map(|number| doc! { "_id": number }))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_broker_that_stands_still_costs_no_memory_and_no_event() {
    stands_still_and_comes_back(write_much).await;
}

#[tokio::test]
async fn many_tiny_documents_behind_a_broker_that_stands_still_cost_no_memory_either() {
    stands_still_and_comes_back(write_many).await;
}

async fn stands_still_and_comes_back(write: impl AsyncFnOnce(&Client, &str)) {
    // GIVEN a broker that stops to answer
    let mongo = Mongo::builder().oplog_mb(1024).start().await.unwrap();
    let kafka = Kafka::builder().start().await.unwrap();
    let client = client(&mongo).await;
    let start = majority_point(&client).await;
    let installation = Installation::new(&(source(&mongo, "stalled") + &kafka_sink(&kafka, "stalled", 1)));
    let connector = installation.run().await;
    let first = client.database("stalled").collection("large");
    first.insert_one(doc! { "_id": "first" }).await.unwrap();
    connector.done(0, History::read(&client, start, "stalled").await.end()).await;
    kafka.pause(0).unwrap();
    // WHEN far more is written than the connector may hold
    write(&client, "stalled").await;
    stands_still(&connector).await;
    // THEN memory stays flat, and with the broker back everything comes
    assert_flat(&connector);
    kafka.resume(0).unwrap();
    let history = History::read(&client, start, "stalled").await;
    connector.done(0, history.end()).await;
    assert_flat(&connector);
    read_kafka(kafka.bootstrap(), "stalled").await.assert_complete(&history);
    connector.kill().await;
}
