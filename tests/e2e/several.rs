//! Several sinks in one process: what happens to one does not concern the others.

use mongo_observer::servers::Nats;

use super::harness::{
    History, Installation, Workload, client, file_sink, kafka, kafka_sink, majority_point, mongo, nats_sink,
    read_file, read_kafka, read_nats, source,
};

#[tokio::test]
async fn a_sink_that_dies_stops_no_other_and_catches_up() {
    // GIVEN Kafka and NATS in one process; in the order of their names
    let (mongo, kafka) = (mongo().await, kafka().await);
    let nats = Nats::builder().start().await.unwrap();
    let client = client(mongo).await;
    let start = majority_point(&client).await;
    let tables = kafka_sink(kafka, "both", 2) + &nats_sink(&nats, "both");
    let installation = Installation::new(&(source(mongo, "both") + &tables));
    let connector = installation.run().await;
    connector.anchored().await;
    let mut workload = Workload::new(&client, "both", 31);
    workload.write(50).await;
    let history = History::read(&client, start, "both").await;
    for sink in 0..2 {
        connector.done(sink, history.end()).await;
    }
    // WHEN one of them dies
    nats.kill(0).await;
    connector.until("NATS is missed", |report| report["pipelines"][1]["state"] == "retrying").await;
    workload.write(200).await;
    // THEN the other goes on, and says so; and with the dead one back, that one has everything, too
    let history = History::read(&client, start, "both").await;
    connector.done(0, history.end()).await;
    let status = connector.status().await.unwrap();
    assert_eq!((&status["ready"], &status["pipelines"][0]["state"]), (&false.into(), &"running".into()));
    nats.restart(0).await.unwrap();
    connector.done(1, history.end()).await;
    read_kafka(kafka.bootstrap(), "both").await.assert_complete(&history);
    let stream = read_nats(nats.url(), "both").await;
    stream.assert_complete(&history);
    assert_eq!(stream.repeats(), 0);
}

#[tokio::test]
async fn a_sink_that_is_dead_from_the_start_stops_no_other() {
    // GIVEN a file, and a NATS server that is not there yet
    let mongo = mongo().await;
    let nats = Nats::builder().start().await.unwrap();
    nats.kill(0).await;
    let client = client(mongo).await;
    let tables = "retry.startup_ms = 1000\n".to_owned() + &file_sink() + &nats_sink(&nats, "later");
    let installation = Installation::new(&(source(mongo, "later") + &tables));
    // WHEN the connector starts
    let connector = installation.start();
    connector.until("the file is open", |report| report["pipelines"][0]["state"] == "running").await;
    connector.anchored_at(0).await;
    let start = majority_point(&client).await;
    // THEN the file gets its events, and NATS is tried on, beyond the time that a start may take
    connector.until("NATS is tried on", |report| report["pipelines"][1]["restarts"].as_u64() > Some(3)).await;
    Workload::new(&client, "later", 32).write(50).await;
    let history = History::read(&client, start, "later").await;
    connector.done(0, history.end()).await;
    read_file(&installation.path("events.jsonl")).assert_complete(&history);
    // and once it is there, it runs
    nats.restart(0).await.unwrap();
    connector.running().await;
    assert_eq!(connector.terminate().await.code, Some(0));
}
