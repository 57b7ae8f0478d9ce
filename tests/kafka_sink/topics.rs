//! Finding topics, and what is in them.

use std::sync::Arc;

use mongo_observer::error::ErrorKind;
use mongo_observer::format::{Addressing, Format};
use mongo_observer::pipeline::SinkTail;
use tokio::time::Instant;

use super::*;

#[tokio::test]
async fn a_missing_topic_stops_the_connector_where_it_may_not_create_it() {
    let servers = broker().await;
    let opened = open(Settings { create_topics: false, ..settings(servers, "missing") }).await;
    let error = opened.router.route(ns("shop.orders")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    for part in ["missing.shop.orders", "sinks.events.create_topics = true"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    let opened = open(Settings { replication_factor: 3, ..settings(servers, "missing") }).await;
    let error = opened.router.route(ns("shop.orders")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    assert!(error.to_string().contains("replication_factor"), "{error}");
}

#[tokio::test]
async fn topics_are_created_as_configured() {
    let servers = broker().await;
    let opened = open(Settings { partitions: 7, ..settings(servers, "made") }).await;
    let (one, other) = tokio::join!(opened.router.route(ns("a.b")), opened.router.route(ns("a.b")));
    assert!(Arc::ptr_eq(&one.unwrap(), &other.unwrap()), "a topic has one route");
    let again = open(settings(servers, "made")).await;
    assert_eq!(partition_count(&again.router.route(ns("a.b")).await.unwrap()), 7);
}

#[tokio::test]
async fn namespaces_never_meet_by_accident() {
    let servers = broker().await;
    let opened = open(settings(servers, "meet")).await;
    opened.router.route(ns("shop.a.b")).await.unwrap();
    for (second, clash) in [("shop.a_b", "meet.shop.a.b"), ("shop_a.b", "meet.shop.a.b")] {
        let error = opened.router.route(ns(second)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Collision, "{error}");
        assert!(error.to_string().contains(second) && error.to_string().contains("shop.a.b"), "{error}");
        assert!(error.to_string().contains(clash), "{error}");
    }
    // Names that Kafka can't hold are told apart.
    let (one, other) = (opened.router.route(ns("shop.a b")).await, opened.router.route(ns("shop.a$b")).await);
    assert_ne!(one.unwrap().name, other.unwrap().name);

    let shared = open(Settings { topic: "{prefix}.{coll}".to_owned(), ..settings(servers, "share") }).await;
    let one = shared.router.route(ns("a.orders")).await.unwrap();
    assert!(Arc::ptr_eq(&one, &shared.router.route(ns("b.orders")).await.unwrap()), "as the user said");
    for own in ["a._checkpoints", "a._dead_letters", "a._commands"] {
        shared.router.route(Namespace { db: "a", coll: "" }).await.unwrap();
        let error = shared.router.route(ns(own)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Collision, "{error}");
    }
}

#[tokio::test]
async fn databases_have_topics_where_mongodbs_connector_gives_them_some() {
    let servers = broker().await;
    let mongodb = |prefix| Settings { format: Format::Mongodb, ..settings(servers, prefix) };
    let database = Namespace { db: "shop", coll: "" };
    let opened = open(mongodb("peer")).await;
    for (ns, topic) in
        [(database, "peer.shop"), (ns("shop.orders"), "peer.shop.orders"), (ns("a.b"), "peer.a.b")]
    {
        assert_eq!(opened.router.route(ns).await.unwrap().name, topic);
    }
    let error = opened.router.route(Namespace { db: "a_b", coll: "" }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Collision, "{error}");
    let all_in_one = open(Settings { topic: "{prefix}-all".to_owned(), ..mongodb("peer") }).await;
    let one = all_in_one.router.route(ns("shop.orders")).await.unwrap();
    assert!(Arc::ptr_eq(&one, &all_in_one.router.route(database).await.unwrap()));
}

#[tokio::test]
async fn dead_letters_have_a_topic_of_their_own_where_no_watermark_comes() {
    // GIVEN a sink with a namespace's topic
    let servers = broker().await;
    let sink = kafka(settings(servers, "letters"));
    let mut opened = sink.open(None).await.unwrap();
    let orders = opened.router.route(ns("shop.orders")).await.unwrap();
    // WHEN a dead letter goes out beside an event
    let dead = opened.router.dead_letters().await.unwrap();
    assert_eq!(dead.name, "letters._dead_letters");
    assert!(matches!(dead.addressing, Addressing::Partitions(3)), "made like others: {dead:?}");
    assert!(Arc::ptr_eq(&dead, &opened.router.dead_letters().await.unwrap()), "found once");
    let batch =
        Batch::default().add(&orders, Some(0), 1, "a", Some("1")).add(&dead, Some(2), 7, "b", Some("2"));
    delivered(opened.sink.send(batch.finish())).await.unwrap();
    // THEN it is the sink's end, and only the event's topic waits for a watermark
    let Stored::Checkpoint(expected) = checkpoint(7) else { unreachable!() };
    assert_eq!(sink.open(None).await.unwrap().tail, SinkTail::At(expected));
    for _ in 0..120 {
        let names =
            opened.router.watermark_routes().iter().map(|route| route.name.clone()).collect::<Vec<_>>();
        assert_eq!(names, ["letters.shop.orders"]);
    }
    // Where topics are not made by us, it has to be there.
    let strict = open(Settings { create_topics: false, ..settings(servers, "strict") }).await;
    let error = strict.router.dead_letters().await.unwrap_err();
    assert!(error.to_string().contains("strict._dead_letters does not exist"), "{error}");
}

#[tokio::test]
async fn the_last_record_is_found_when_the_checkpoint_is_lost() {
    let servers = broker().await;
    let sink = kafka(settings(servers, "tail"));
    let mut opened = sink.open(None).await.unwrap();
    assert_eq!(opened.tail, SinkTail::Empty);
    store(settings(servers, "tail")).take().await.unwrap();

    let (orders, items) =
        (opened.router.route(ns("shop.orders")).await, opened.router.route(ns("shop.items")).await);
    let (orders, items) = (orders.unwrap(), items.unwrap());
    assert_eq!(sink.open(None).await.unwrap().tail, SinkTail::Empty, "topics without records");
    let batch = Batch::default()
        .add(&orders, Some(0), 1, "a", Some("1"))
        .add(&orders, Some(2), 7, "b", None)
        .add(&items, Some(1), 9, "c", Some("3"))
        .add(&orders, Some(0), 8, "a", Some("4"));
    delivered(opened.sink.send(batch.finish())).await.unwrap();
    produce(servers, "tail.shop.items", 1, "d", "foreign").await;

    let started = Instant::now();
    let Stored::Checkpoint(mut expected) = checkpoint(9) else { unreachable!() };
    // Behind it lies a record of somebody else, so a step back is needed.
    assert_eq!(sink.open(None).await.unwrap().tail, SinkTail::At(expected.clone()));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(sink.open(Some(&checkpoint(1))).await.unwrap().tail, SinkTail::Unknown);
    expected.at = at(11);
    delivered(opened.sink.send(Batch::default().add(&orders, None, 11, "x", Some("5")).finish()))
        .await
        .unwrap();
    assert_eq!(sink.open(None).await.unwrap().tail, SinkTail::At(expected));
}

#[tokio::test]
async fn check_says_what_it_found_and_changes_nothing() {
    let servers = broker().await;
    let line = kafka(settings(servers, "looked-at")).check().await.unwrap();
    assert!(line.contains(servers) && line.contains("1 broker, 0 topics of `looked-at`"), "{line}");
    let many = kafka(Settings { replication_factor: 2, ..settings(servers, "looked-at") });
    assert!(many.check().await.unwrap_err().to_string().contains("sinks.events.replication_factor"));
}
