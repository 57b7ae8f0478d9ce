//! How topics are made, and what is said of those that are there.

use std::collections::HashMap;

use mongo_observer::error::ErrorKind;
use mongo_observer::event::{AfterImages, ImageSettings};
use mongo_observer::format::Format;
use mongo_observer::sink::kafka::{CleanupPolicy, Property, Tombstones};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;

use super::*;

fn admin(servers: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", servers).create().unwrap()
}

async fn make(servers: &str, topic: &str, replicas: i32, config: &[(&str, &str)]) {
    let mut topic = NewTopic::new(topic, 1, TopicReplication::Fixed(replicas));
    topic.config = config.to_vec();
    let made = admin(servers).create_topics([&topic], &AdminOptions::new()).await.unwrap();
    assert!(made.iter().all(Result::is_ok), "{made:?}");
}

async fn settings_of(servers: &str, topic: &str) -> HashMap<String, String> {
    let topic = [ResourceSpecifier::Topic(topic)];
    let found = admin(servers).describe_configs(&topic, &AdminOptions::new()).await.unwrap();
    let entries = found.into_iter().next().unwrap().unwrap().entries;
    entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect()
}

fn properties(pairs: &[(&str, &str)]) -> std::collections::BTreeMap<String, Property> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), Property::new(value))).collect()
}

#[tokio::test]
async fn topics_get_the_settings_that_are_configured_and_commands_are_never_compacted() {
    let servers = broker().await;
    let opened = open(Settings {
        format: Format::Mongodb,
        cleanup_policy: Some(CleanupPolicy::CompactAndDelete),
        topic_config: properties(&[("retention.ms", "3600000"), ("max_message_bytes", "5000000")]),
        ..settings(servers, "made-so")
    })
    .await;
    let route = opened.router.route(ns("shop.orders")).await.unwrap();
    assert!((4_999_000..5_000_000).contains(&route.bytes_max), "{route:?}");
    opened.router.route(Namespace { db: "shop", coll: "" }).await.unwrap();
    let events = settings_of(servers, "made-so.shop.orders").await;
    assert_eq!(
        (events["cleanup.policy"].as_str(), events["retention.ms"].as_str()),
        ("compact,delete", "3600000")
    );
    let commands = settings_of(servers, "made-so.shop").await;
    assert_eq!(
        (commands["cleanup.policy"].as_str(), commands["retention.ms"].as_str()),
        ("delete", "3600000")
    );

    let unknown =
        open(Settings { topic_config: properties(&[("no.such", "1")]), ..settings(servers, "unknown") });
    let error = unknown.await.router.route(ns("a.b")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    for config in [
        Settings { topic_config: properties(&[("cleanup.policy", "compact")]), ..settings(servers, "x") },
        Settings { cleanup_policy: Some(CleanupPolicy::Compact), ..settings(servers, "x") },
    ] {
        let error = Kafka::new("events", config, BUDGET).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains("cleanup"), "{error}");
    }
}

#[tokio::test]
async fn a_compacted_topic_is_refused_where_updates_tell_only_what_changed() {
    let servers = broker().await;
    make(servers, "compacted.shop.orders", 1, &[("cleanup.policy", "compact")]).await;
    make(servers, "compacted._commands", 1, &[("cleanup.policy", "compact")]).await;
    let opened = open(settings(servers, "compacted")).await;
    let error = opened.router.route(ns("shop.orders")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    for words in ["compacted.shop.orders is compacted", "images.after"] {
        assert!(error.to_string().contains(words), "{error}");
    }
    let error = opened.router.route(Namespace { db: "shop", coll: "" }).await.unwrap_err();
    assert!(error.to_string().contains("compacted._commands is compacted"), "{error}");
    // Where each event has a key of its own, compaction takes nothing.
    let tokens = Settings { format: Format::Mongodb, ..settings(servers, "compacted") };
    let route = open(tokens).await.router.route(ns("shop.orders")).await.unwrap();
    assert!(!route.tombstones, "there is no key of a document that could be forgotten");
    assert!(!route.whole_documents, "each update stays");
    // Where updates should have their documents, those that have none are not taken.
    let images = ImageSettings { after: AfterImages::Stored, ..ImageSettings::default() };
    let router = open(Settings { images, ..settings(servers, "compacted") }).await.router;
    assert!(router.route(ns("shop.orders")).await.unwrap().whole_documents);
    assert!(!router.route(ns("shop.others")).await.unwrap().whole_documents, "it keeps every event");
}

#[tokio::test]
async fn tombstones_follow_where_they_are_asked_for() {
    let servers = broker().await;
    for (tombstones, expected) in
        [(Tombstones::Auto, false), (Tombstones::Always, true), (Tombstones::Never, false)]
    {
        let opened = open(Settings { tombstones, ..settings(servers, "tombs") }).await;
        assert_eq!(opened.router.route(ns("shop.orders")).await.unwrap().tombstones, expected);
        assert!(!opened.router.dead_letters().await.unwrap().tombstones);
    }
}

#[tokio::test]
async fn what_can_be_lost_is_said_by_check_and_what_can_not_work_is_refused() {
    // GIVEN three brokers, and topics of all sorts
    let server = Server::builder().brokers(3).heap_mb(320).start().await.unwrap();
    let servers = server.bootstrap();
    let safe = Settings {
        partitions: 2,
        replication_factor: 3,
        topic_config: properties(&[("min.insync.replicas", "2")]),
        ..settings(servers, "safe")
    };
    open(safe.clone()).await.router.route(ns("shop.orders")).await.unwrap();
    make(servers, "weak.shop.one", 1, &[]).await;
    make(servers, "weak.shop.other", 1, &[]).await;
    make(servers, "weak.shop.lax", 3, &[("min.insync.replicas", "1")]).await;
    make(
        servers,
        "weak.shop.unclean",
        3,
        &[
            ("min.insync.replicas", "2"),
            ("unclean.leader.election.enable", "true"),
            ("max.message.bytes", "1000012"),
        ],
    )
    .await;
    make(servers, "weak.shop.stuck", 2, &[("min.insync.replicas", "3")]).await;
    // THEN a safe one has nothing to say
    let lines = kafka(safe).check().await.unwrap();
    assert_eq!(lines.lines().count(), 2, "{lines}");
    assert!(lines.contains("3 brokers, 1 topics of `safe`"), "{lines}");
    // and the others say what can be lost
    let weak = kafka(settings(servers, "weak"));
    let lines = weak.check().await.unwrap();
    for words in [
        "2 topics, such as weak.shop.one, have one replica",
        "the topic weak.shop.lax has min.insync.replicas=1",
        "the topic weak.shop.unclean has unclean.leader.election.enable=true",
        "the smallest of these topics' limits for an event is 1000012 bytes",
    ] {
        assert!(lines.lines().any(|line| line.starts_with(words)), "{words}\n{lines}");
    }
    // and one that never takes a record is refused before it is sent one
    let opened = weak.open(None).await.unwrap();
    opened.router.route(ns("shop.lax")).await.unwrap();
    let error = opened.router.route(ns("shop.stuck")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    assert!(error.to_string().contains("has 2 replicas and min.insync.replicas=3"), "{error}");
}
