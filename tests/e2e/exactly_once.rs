//! Events and checkpoint in one transaction of Kafka: what a consumer of committed records sees.

use std::time::Duration;

use mongodb::bson::{Document, doc};

use super::harness::{
    History, Installation, PATIENCE, Random, Workload, client, eventually, exactly_once_sink, kafka,
    kafka_sink, majority_point, mongo, read_kafka, sent_to, source,
};

#[tokio::test]
async fn a_zombie_is_refused_and_says_why() {
    // GIVEN a connector under load
    let (mongo, kafka, db) = (mongo().await, kafka().await, "once_zombie");
    let client = client(mongo).await;
    let start = majority_point(&client).await;
    let config = source(mongo, db) + &exactly_once_sink(kafka.bootstrap(), db, 3);
    let (one, other) = (Installation::new(&config), Installation::new(&config));
    let mut running = one.run().await;
    running.anchored().await;
    let load = Workload::new(&client, db, 11).start(Duration::from_millis(1)).await;
    let mut random = Random::new(11);
    for round in 0..3 {
        // WHEN it stands still, as a machine under too much load may, and another one takes over
        tokio::time::sleep(Duration::from_millis(200 + random.below(300))).await;
        running.pause();
        let next = if round % 2 == 0 { &other } else { &one };
        let successor = next.run().await;
        tokio::time::sleep(Duration::from_millis(random.below(300))).await;
        running.resume();
        // THEN the first one ends, and says why
        let ended = running.ended_within(PATIENCE).await;
        assert!(ended.failed_with(1).contains("claimed by another instance"), "{ended:?}");
        running = successor;
    }
    load.stop().await;
    let history = History::read(&client, start, db).await;
    running.done(0, history.end()).await;
    running.kill().await;
    // and there is everything, once
    let lanes = read_kafka(kafka.bootstrap(), db).await;
    lanes.assert_complete(&history);
    assert_eq!(lanes.repeats(), 0);
}

#[tokio::test]
async fn what_an_instance_has_begun_is_undone_when_another_one_takes_over() {
    // GIVEN a connector that has sent events and commits them much later
    let (mongo, kafka, db) = (mongo().await, kafka().await, "once_begun");
    let client = client(mongo).await;
    let start = majority_point(&client).await;
    let config = source(mongo, db) + &exactly_once_sink(kafka.bootstrap(), db, 1);
    let installation = Installation::new(&config);
    let connector = installation.run().await;
    connector.anchored().await;
    assert_eq!(connector.terminate().await.code, Some(0));
    let late = "transaction_interval_ms = 600000\nlibrdkafka.\"transaction.timeout.ms\" = 900000\n";
    installation.configure(&(config.clone() + late));
    let standing = installation.run().await;
    Workload::new(&client, db, 5).write(50).await;
    let topic = format!("{db}.{db}.a");
    let has_come = async || (sent_to(kafka.bootstrap(), &topic).await > 0).then_some(());
    eventually("some of them are sent", has_come).await;
    // WHEN it stands still, and another one takes over
    standing.pause();
    installation.configure(&config);
    let successor = installation.run().await;
    let history = History::read(&client, start, db).await;
    successor.done(0, history.end()).await;
    // THEN consumers of committed records see everything once, and wait for nothing
    let lanes = read_kafka(kafka.bootstrap(), db).await;
    lanes.assert_complete(&history);
    assert_eq!(lanes.repeats(), 0);
    standing.kill().await;
    successor.kill().await;
}

#[tokio::test]
async fn a_mongodb_transaction_is_split_only_above_the_limit_and_then_marked() {
    let (mongo, kafka, db) = (mongo().await, kafka().await, "once_split");
    let client = client(mongo).await;
    let start = majority_point(&client).await;
    let sink = exactly_once_sink(kafka.bootstrap(), db, 1) + "transaction_max_bytes = 1000000\n";
    let installation = Installation::new(&(source(mongo, db) + &sink));
    let connector = installation.run().await;
    connector.anchored().await;
    // WHEN there are one below the limit and one above it, which take several chunks of the oplog each
    let documents = client.database(db).collection::<Document>("a");
    client.database(db).create_collection("a").await.unwrap();
    for count in [30, 300] {
        let mut session = client.start_session().await.unwrap();
        session.start_transaction().await.unwrap();
        let many =
            (0..count).map(|number| doc! { "count": count, "number": number, "text": "x".repeat(20_000) });
        documents.insert_many(many).session(&mut session).await.unwrap();
        session.commit_transaction().await.unwrap();
        documents.insert_one(doc! { "count": 1 }).await.unwrap();
    }
    let history = History::read(&client, start, db).await;
    connector.done(0, history.end()).await;
    connector.kill().await;
    // THEN the rest of the large one is marked, in rising numbers, and nothing else
    let lanes = read_kafka(kafka.bootstrap(), db).await;
    assert_eq!(lanes.repeats(), 0);
    let parts = |count: i32| {
        let of = lanes.events().filter(|seen| seen.event["after"]["count"] == count);
        of.map(|seen| seen.part.unwrap_or(0)).collect::<Vec<u32>>()
    };
    assert_eq!(parts(30), [0; 30]);
    assert_eq!(parts(1), [0; 2]);
    let large = parts(300);
    assert!(large.is_sorted() && large[0] == 0, "{large:?}");
    let last = *large.last().unwrap();
    assert!((4..=6).contains(&last), "6 MB of 1 MB at least: {large:?}");
    assert!((0..=last).all(|part| large.contains(&part)), "{large:?}");
}

#[tokio::test]
async fn delivery_can_be_changed_without_a_gap_and_back() {
    let (mongo, kafka, db) = (mongo().await, kafka().await, "once_changed");
    let client = client(mongo).await;
    let start = majority_point(&client).await;
    let mut workload = Workload::new(&client, db, 3);
    let at_least_once = source(mongo, db) + &kafka_sink(kafka, db, 1);
    let exactly_once = source(mongo, db) + &exactly_once_sink(kafka.bootstrap(), db, 1);
    let installation = Installation::new(&at_least_once);
    for config in [&at_least_once, &exactly_once, &at_least_once, &exactly_once] {
        installation.configure(config);
        let connector = installation.run().await;
        connector.anchored().await;
        workload.write(50).await;
        let end = History::read(&client, start, db).await.end();
        connector.done(0, end).await;
        assert_eq!(connector.terminate().await.code, Some(0));
        let shown = installation.ended(&["checkpoint", "show"]).await;
        let at = shown.succeeded().split_whitespace().nth(1).unwrap();
        assert!(at >= end.to_string().as_str(), "{shown:?}");
    }
    let lanes = read_kafka(kafka.bootstrap(), db).await;
    lanes.assert_complete(&History::read(&client, start, db).await);
    assert_eq!(lanes.repeats(), 0, "each ended cleanly");
}

#[tokio::test]
async fn the_checkpoint_can_be_moved_and_nowhere_else_be_kept() {
    let (mongo, kafka, db) = (mongo().await, kafka().await, "once_moved");
    let client = client(mongo).await;
    let config = source(mongo, db) + &exactly_once_sink(kafka.bootstrap(), db, 1);
    let installation = Installation::new(&config);
    let start = majority_point(&client).await;
    Workload::new(&client, db, 3).write(10).await;
    let set = installation.ended(&["checkpoint", "set", &start.to_string()]).await;
    assert!(set.succeeded().contains(&start.to_string()), "{set:?}");
    let connector = installation.run().await;
    let history = History::read(&client, start, db).await;
    connector.done(0, history.end()).await;
    // Who moves it under a running connector ends that.
    installation.ended(&["checkpoint", "clear"]).await.succeeded();
    Workload::new(&client, db, 4).write(10).await;
    let ended = connector.ended_within(PATIENCE).await;
    assert!(ended.failed_with(1).contains("claimed by another instance"), "{ended:?}");
    read_kafka(kafka.bootstrap(), db).await.assert_complete(&history);

    installation.configure(&("checkpoint.store = \"file\"\n".to_owned() + &config));
    let refused = installation.ended(&["check"]).await;
    assert!(refused.stderr.contains("set checkpoint.store to \"sink\""), "{refused:?}");
}
