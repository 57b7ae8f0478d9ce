//! SIGKILL at any moment, under load: nothing is missing, and order holds.

use std::time::Duration;

use super::harness::{
    History, Installation, Lanes, Random, Workload, client, exactly_once_sink, file_sink, kafka, kafka_sink,
    majority_point, mongo, nats, nats_sink, read_file, read_kafka, read_nats, source,
};

const ROUNDS: usize = 5;

/// Kills the connector again and again while changes are written, then lets it catch up. `read` reads the sink.
async fn killed_again_and_again(
    seed: u64,
    db: &str,
    tables: &str,
    read: impl AsyncFnOnce(&Installation) -> Lanes,
) {
    // GIVEN a writer, and a connector that began before it
    let mongo = mongo().await;
    let client = client(mongo).await;
    let start = majority_point(&client).await;
    let installation = Installation::new(&(source(mongo, db) + tables));
    let mut random = Random::new(seed);
    let connector = installation.run().await;
    connector.anchored().await;
    let load = Workload::new(&client, db, seed).start(Duration::from_millis(1)).await;
    // WHEN it is killed at random moments
    let mut connector = Some(connector);
    for _ in 0..ROUNDS {
        let life = Duration::from_millis(300 + random.below(600));
        tokio::time::sleep(life).await;
        connector.take().expect("one runs").kill().await;
        connector = Some(installation.start());
    }
    load.stop().await;
    // THEN the last one brings everything that is missing
    let history = History::read(&client, start, db).await;
    let connector = connector.expect("one runs");
    connector.done(0, history.end()).await;
    connector.kill().await;
    let lanes = read(&installation).await;
    assert!(history.operations.len() > 200, "{} operations are no load", history.operations.len());
    lanes.assert_complete(&history);
}

#[tokio::test]
async fn kafka_gets_everything_although_the_connector_is_killed() {
    let kafka = kafka().await;
    let read = async |_: &Installation| read_kafka(kafka.bootstrap(), "crash").await;
    killed_again_and_again(1, "crash_kafka", &kafka_sink(kafka, "crash", 3), read).await;
}

#[tokio::test]
async fn kafka_gets_everything_once_in_transactions_although_the_connector_is_killed() {
    let kafka = kafka().await;
    let read = async |_: &Installation| {
        let lanes = read_kafka(kafka.bootstrap(), "crash_once").await;
        assert_eq!(lanes.repeats(), 0, "the checkpoint is committed with the events");
        lanes
    };
    // With many small transactions it is often killed while it commits one.
    let tables = exactly_once_sink(kafka.bootstrap(), "crash_once", 3) + "transaction_interval_ms = 0\n";
    killed_again_and_again(6, "crash_once", &tables, read).await;
}

#[tokio::test]
async fn nats_gets_everything_once_although_the_connector_is_killed() {
    let nats = nats().await;
    let read = async |_: &Installation| {
        let lanes = read_nats(nats.url(), "crash").await;
        assert_eq!(lanes.repeats(), 0, "the stream itself is the checkpoint");
        lanes
    };
    killed_again_and_again(2, "crash_nats", &nats_sink(nats, "crash"), read).await;
}

#[tokio::test]
async fn a_file_gets_everything_once_although_the_connector_is_killed() {
    let read = async |installation: &Installation| {
        let lanes = read_file(&installation.path("events.jsonl"));
        assert_eq!(lanes.repeats(), 0, "the file itself is the checkpoint");
        lanes
    };
    killed_again_and_again(3, "crash_file", &(file_sink() + "rotate_bytes = 50000\n"), read).await;
}

#[tokio::test]
async fn nothing_is_missing_with_checkpoints_in_a_file() {
    let kafka = kafka().await;
    let store = "checkpoint.store = \"file\"\n".to_owned();
    let read = async |_: &Installation| read_kafka(kafka.bootstrap(), "crash_fs").await;
    killed_again_and_again(4, "crash_fs", &(store + &kafka_sink(kafka, "crash_fs", 1)), read).await;
}

#[tokio::test]
async fn nothing_is_missing_with_checkpoints_in_mongodb() {
    let kafka = kafka().await;
    let store = "checkpoint.store = \"mongodb\"\n".to_owned();
    let tables = store + "checkpoint.database = \"crash_meta\"\n" + &kafka_sink(kafka, "crash_mongo", 1);
    let read = async |_: &Installation| read_kafka(kafka.bootstrap(), "crash_mongo").await;
    killed_again_and_again(5, "crash_mongo", &tables, read).await;
}
