//! What a Kafka cluster may do to a connector: a broker of three dies, a topic is deleted, confirmed records are lost.

use std::fs::OpenOptions;
use std::time::Duration;

use mongo_observer::servers::Kafka;

use super::harness::{
    History, Installation, PATIENCE, Workload, client, delete_topics, exactly_once_sink, kafka, kafka_sink,
    majority_point, mongo, read_kafka, source,
};

#[tokio::test]
async fn one_of_three_brokers_may_die_and_another_one_after_it() {
    // GIVEN three brokers, each the leader of something, and both ways to deliver
    let three = Kafka::builder().brokers(3).heap_mb(256).property("min.insync.replicas", "2");
    let (mongo, kafka, db) = (mongo().await, three.start().await.unwrap(), "three");
    let client = client(mongo).await;
    let start = majority_point(&client).await;
    let replicas = "replication_factor = 3\n";
    let once = exactly_once_sink(kafka.bootstrap(), "once", 3).replace("[sinks.kafka]", "[sinks.once]");
    let sinks = kafka_sink(&kafka, "three", 3) + replicas + &once + replicas;
    let installation = Installation::new(&(source(mongo, db) + &sinks));
    let connector = installation.run().await;
    connector.anchored().await;
    let load = Workload::new(&client, db, 21).start(Duration::from_millis(2)).await;
    let caught_up = async || {
        let end = History::read(&client, start, db).await.end();
        for sink in 0..2 {
            connector.done(sink, end).await;
        }
    };
    caught_up().await;
    // WHEN one after the other dies, and the rest has to do without
    for broker in 0..3 {
        kafka.kill(broker).await;
        caught_up().await;
        kafka.restart(broker).await.unwrap();
        caught_up().await;
    }
    load.stop().await;
    caught_up().await;
    // THEN nothing is missing, and in transactions nothing came twice
    let history = History::read(&client, start, db).await;
    assert_eq!(connector.terminate().await.code, Some(0));
    assert!(history.operations.len() > 200, "{} operations are no load", history.operations.len());
    read_kafka(kafka.bootstrap(), "three").await.assert_complete(&history);
    let lanes = read_kafka(kafka.bootstrap(), "once").await;
    lanes.assert_complete(&history);
    assert_eq!(lanes.repeats(), 0);
}

#[tokio::test]
async fn a_topic_that_is_deleted_under_load_stops_the_connector_and_leaves_no_hole() {
    for (db, sink) in [
        ("gone", kafka_sink(kafka().await, "gone", 1)),
        ("gone_once", exactly_once_sink(kafka().await.bootstrap(), "gone_once", 1)),
    ] {
        // GIVEN a connector under load, whose client soon believes that a topic is gone
        let (mongo, kafka) = (mongo().await, kafka().await);
        let client = client(mongo).await;
        let start = majority_point(&client).await;
        let soon = "librdkafka.\"topic.metadata.propagation.max.ms\" = 500\n";
        let installation = Installation::new(&(source(mongo, db) + &sink + soon));
        let connector = installation.run().await;
        connector.anchored().await;
        let load = Workload::new(&client, db, 22).start(Duration::from_millis(1)).await;
        connector.done(0, History::read(&client, start, db).await.end()).await;
        // WHEN a topic is deleted
        let topic = format!("{db}.{db}.a");
        delete_topics(kafka.bootstrap(), &[&topic]).await;
        // THEN it stops, and says why
        let ended = connector.ended_within(PATIENCE).await;
        let why = ended.failed_with(1);
        assert!(why.contains("the topic or its partition is gone: create it"), "{why}");
        // A transaction fails as a whole; which topic it was is in the log.
        assert!(ended.stderr.contains(&topic), "{ended:?}");
        // and WHEN it is started again, the topic is made anew
        let connector = installation.run().await;
        load.stop().await;
        let history = History::read(&client, start, db).await;
        connector.done(0, history.end()).await;
        connector.kill().await;
        // THEN the other topics have everything, and that one everything from some point on
        let lanes = read_kafka(kafka.bootstrap(), db).await;
        for other in ["b", "c"] {
            let about = |about: &str| about.starts_with(&format!("{db}.{other}"));
            lanes.of(&format!("{db}.{db}.{other}")).assert_complete(&history.only(|_, what| about(what)));
        }
        let anew = lanes.of(&topic);
        let from = anew.events().map(|seen| seen.at).min().expect("the load went on");
        let about = format!("{db}.a");
        anew.assert_complete(&history.only(|at, what| at >= from && what.starts_with(&about)));
        if db == "gone_once" {
            assert_eq!(lanes.repeats(), 0);
        }
    }
}

/// Cuts off the second half of a topic's log, as if it had never reached the disk.
fn shorten(kafka: &Kafka, topic: &str) {
    let path = kafka.folder().join(format!("broker-1/{topic}-0/00000000000000000000.log"));
    let log = OpenOptions::new().write(true).open(path).unwrap();
    let length = log.metadata().unwrap().len();
    assert!(length > 1000, "{length} bytes of {topic}");
    log.set_len(length / 2).unwrap();
}

#[tokio::test]
async fn a_broker_that_lost_what_it_had_confirmed_gets_it_again() {
    let kafka = Kafka::builder().heap_mb(384).start().await.unwrap();
    for (db, sink) in [
        ("lost", kafka_sink(&kafka, "lost", 1)),
        ("lost_once", exactly_once_sink(kafka.bootstrap(), "lost_once", 1)),
    ] {
        let mongo = mongo().await;
        let client = client(mongo).await;
        let start = majority_point(&client).await;
        let installation = Installation::new(&(source(mongo, db) + &sink));
        let connector = installation.run().await;
        connector.anchored().await;
        let mut workload = Workload::new(&client, db, 23);
        workload.write(200).await;
        connector.done(0, History::read(&client, start, db).await.end()).await;
        // WHEN the broker comes back without some of it, while the connector runs
        kafka.kill(0).await;
        shorten(&kafka, &format!("{db}.{db}.a"));
        kafka.restart(0).await.unwrap();
        workload.write(100).await;
        // THEN that is noticed with the next record there, and what is missing comes again
        connector.said("the brokers have lost records that they had confirmed").await;
        let end = History::read(&client, start, db).await.end();
        connector.done(0, end).await;
        connector.checkpointed(0, end).await;
        assert_eq!(connector.terminate().await.code, Some(0));
        let history = History::read(&client, start, db).await;
        read_kafka(kafka.bootstrap(), db).await.assert_complete(&history);
        // and WHEN it loses some of two topics while the connector is down
        kafka.kill(0).await;
        shorten(&kafka, &format!("{db}.{db}.a"));
        shorten(&kafka, &format!("{db}.{db}.b"));
        kafka.restart(0).await.unwrap();
        let connector = installation.run().await;
        // THEN the connector sees it at once
        connector.said("the sink ends before the checkpoint: going back").await;
        connector.done(0, end).await;
        connector.kill().await;
        read_kafka(kafka.bootstrap(), db).await.assert_complete(&history);
    }
}
