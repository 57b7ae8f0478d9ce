//! The Kafka sink and its checkpoint store, against real brokers.

use std::sync::Arc;
use std::time::Duration;

use mongo_observer::error::{Error, ErrorKind};
use mongo_observer::event::{Mark, Namespace, Position};
use mongo_observer::format::{Addressing, Header, Record, Route, To, murmur2};
use mongo_observer::pipeline::{
    Checkpoint, CheckpointStore, Counts, Delivery, OpenSink, Opened, OwnStore, RecordBatch, SinkTail, Stored,
};
use mongo_observer::servers::Kafka as Server;
use mongo_observer::sink::kafka::{Kafka, Property, Settings};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

/// Far more than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const BUDGET: usize = 8 << 20;

/// One broker for all tests that do not harm it; they differ in their prefix.
async fn broker() -> &'static str {
    static BROKER: tokio::sync::OnceCell<Server> = tokio::sync::OnceCell::const_new();
    BROKER
        .get_or_init(async || Server::builder().property("num.partitions", "3").start().await.unwrap())
        .await
        .bootstrap()
}

fn settings(servers: &str, prefix: &str) -> Settings {
    Settings { bootstrap_servers: servers.to_owned(), prefix: prefix.to_owned(), ..Settings::default() }
}

fn kafka(settings: Settings) -> Kafka {
    Kafka::new("events", settings, BUDGET).unwrap()
}

fn ns(full: &str) -> Namespace<'_> {
    Namespace::split(full)
}

fn at(t: u32) -> Position {
    Position::of_entry(t, 1)
}

/// Records, one after the other, as an encoder would leave them.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    records: Vec<Record>,
}

impl Batch {
    fn add(mut self, route: &Arc<Route>, to: Option<i32>, t: u32, key: &str, value: Option<&str>) -> Self {
        let mut range = |text: &[u8]| {
            let start = self.bytes.len() as u32;
            self.bytes.extend_from_slice(text);
            start..self.bytes.len() as u32
        };
        let header = Header { at: at(t), term: Some(1), source: "rs0/abc".to_owned() };
        let record = Record {
            route: Arc::clone(route),
            to: to.map_or(To::Every, To::Partition),
            header: range(header.to_string().as_bytes()),
            key: range(key.as_bytes()),
            value: value.map(|value| range(value.as_bytes())),
            at: at(t),
        };
        self.records.push(record);
        self
    }

    /// To the partition that a key belongs to.
    fn keyed(self, route: &Arc<Route>, t: u32, key: &str, value: Option<&str>) -> Self {
        let partition = (murmur2(key.as_bytes()) & 0x7fff_ffff) % partition_count(route);
        self.add(route, Some(partition as i32), t, key, value)
    }

    fn finish(self) -> RecordBatch {
        RecordBatch {
            end: Mark::Tail { at: self.records.last().map_or(at(1), |record| record.at), term: Some(1) },
            bytes: self.bytes.into(),
            records: self.records,
            ends_unit: true,
            wall_ms: None,
            counts: Counts::default(),
            hold: None,
        }
    }
}

fn partition_count(route: &Route) -> u32 {
    let Addressing::Partitions(count) = route.addressing else { panic!("{route:?}") };
    count
}

async fn delivered(delivery: Delivery) -> Result<(), Error> {
    timeout(PATIENCE, delivery).await.expect("a delivery in time").expect("an answer")
}

/// One record as a consumer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    partition: i32,
    key: String,
    value: Option<String>,
    at: Option<Position>,
}

/// Everything that a topic holds, partition after partition.
async fn read(servers: &str, topic: &str) -> Vec<Seen> {
    let (servers, topic) = (servers.to_owned(), topic.to_owned());
    tokio::task::spawn_blocking(move || read_blocking(&servers, &topic)).await.unwrap()
}

fn read_blocking(servers: &str, topic: &str) -> Vec<Seen> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", "test")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "10")
        .create()
        .unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
    let partitions = metadata.topics()[0].partitions().len();
    let mut assignment = TopicPartitionList::new();
    for partition in 0..partitions {
        assignment.add_partition_offset(topic, partition as i32, Offset::Beginning).unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let mut seen = Vec::new();
    let mut ended = 0;
    while ended < partitions {
        match consumer.poll(PATIENCE).expect("the end of every partition") {
            Ok(message) => seen.push(Seen {
                partition: message.partition(),
                key: text(message.key()).unwrap_or_default(),
                value: text(message.payload()),
                at: message.headers().map(|headers| {
                    assert_eq!((headers.count(), headers.get(0).key), (1, Header::NAME));
                    text(headers.get(0).value).unwrap().parse::<Header>().unwrap().at
                }),
            }),
            Err(rdkafka::error::KafkaError::PartitionEOF(_)) => ended += 1,
            Err(error) => panic!("{error}"),
        }
    }
    seen.sort_by_key(|seen| seen.partition);
    seen
}

fn text(bytes: Option<&[u8]>) -> Option<String> {
    bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
}

async fn open(settings: Settings) -> Opened {
    kafka(settings).open(Some(&Stored::Cleared)).await.unwrap()
}

fn store(settings: Settings) -> Box<dyn CheckpointStore> {
    match kafka(settings).own_store("events").unwrap() {
        OwnStore::Beside(store) => store,
        other => panic!("{other:?}"),
    }
}

fn checkpoint(t: u32) -> Stored {
    Stored::Checkpoint(Checkpoint { at: at(t), term: Some(1), source: "rs0/abc".to_owned() })
}

#[tokio::test]
async fn records_arrive_in_order_where_the_java_client_would_put_them() {
    let servers = broker().await;
    let mut opened = open(settings(servers, "order")).await;
    let route = opened.router.route(ns("shop.orders")).await.unwrap();
    assert_eq!((route.name.as_str(), partition_count(&route)), ("order.shop.orders", 3));

    let keys = ["21", "foobar", "a-little-bit-long-string"];
    // The hashes that Kafka's own tests state: -973932308, -790332482, -985981536.
    let expected = [-973_932_308_i32, -790_332_482, -985_981_536].map(|hash| (hash & 0x7fff_ffff) % 3);
    let mut deliveries = Vec::new();
    for t in 1..=300 {
        let batch = keys.iter().fold(Batch::default(), |batch, key| {
            let value = t.to_string();
            batch.keyed(&route, t, key, (t != 300).then_some(&value))
        });
        deliveries.push(opened.sink.send(batch.finish()));
    }
    for delivery in deliveries {
        delivered(delivery).await.unwrap();
    }

    let seen = read(servers, "order.shop.orders").await;
    for (key, partition) in keys.iter().zip(expected) {
        let of_key: Vec<&Seen> = seen.iter().filter(|seen| seen.key == *key).collect();
        assert_eq!(of_key.len(), 300);
        for (seen, t) in of_key.iter().zip(1..) {
            let value = (t != 300).then(|| t.to_string());
            assert_eq!((seen.partition, seen.at, &seen.value), (partition, Some(at(t)), &value), "{key}");
        }
    }
}

#[tokio::test]
async fn commands_reach_every_partition_and_watermarks_only_topics_that_need_one() {
    let servers = broker().await;
    let mut opened = open(settings(servers, "every")).await;
    let route = opened.router.route(ns("shop.orders")).await.unwrap();
    let commands = opened.router.route(Namespace { db: "shop", coll: "" }).await.unwrap();
    assert_eq!(commands.name, "every._commands");
    assert!(opened.router.watermark_routes().is_empty());

    let batch = Batch::default().keyed(&route, 1, "a", Some("1")).add(&commands, None, 2, "c", Some("2"));
    delivered(opened.sink.send(batch.finish())).await.unwrap();
    let routes = opened.router.watermark_routes();
    assert_eq!(routes.iter().map(|route| route.name.as_str()).collect::<Vec<_>>(), ["every.shop.orders"]);
    let watermark = Batch::default().add(&routes[0], None, 3, "w", Some("3"));
    delivered(opened.sink.send(watermark.finish())).await.unwrap();
    assert!(opened.router.watermark_routes().is_empty());

    for (topic, key) in [("every._commands", "c"), ("every.shop.orders", "w")] {
        let seen = read(servers, topic).await;
        let partitions: Vec<i32> =
            seen.iter().filter(|seen| seen.key == key).map(|seen| seen.partition).collect();
        assert_eq!(partitions, [0, 1, 2], "{topic}");
    }
}

#[tokio::test]
async fn an_empty_batch_is_done_at_once_and_the_budget_comes_back_with_the_last_report() {
    let servers = broker().await;
    let mut opened = open(settings(servers, "budget")).await;
    delivered(opened.sink.send(Batch::default().finish())).await.unwrap();

    let route = opened.router.route(ns("a.b")).await.unwrap();
    let budget = Arc::new(Semaphore::new(1));
    let mut batch = Batch::default().keyed(&route, 1, "a", Some("1")).finish();
    batch.hold = Some(Arc::clone(&budget).acquire_owned().await.unwrap());
    let delivery = opened.sink.send(batch);
    delivered(delivery).await.unwrap();
    drop(timeout(PATIENCE, budget.acquire()).await.expect("the hold is released").unwrap());
}

#[tokio::test]
async fn a_record_that_the_topic_refuses_halts_and_nothing_is_stored_behind_it() {
    let servers = broker().await;
    let mut opened = open(Settings { partitions: 1, ..settings(servers, "large") }).await;
    let route = opened.router.route(ns("shop.orders")).await.unwrap();
    assert!((900_000..1_048_588).contains(&route.bytes_max), "{}", route.bytes_max);

    let fits = "x".repeat(route.bytes_max - 200);
    delivered(opened.sink.send(Batch::default().keyed(&route, 1, "a", Some(&fits)).finish())).await.unwrap();

    // As if the limit had been lowered meanwhile: the broker is the one that refuses.
    let large = "x".repeat(2_000_000);
    let bad = opened
        .sink
        .send(Batch::default().keyed(&route, 2, "a", Some("2")).keyed(&route, 3, "a", Some(&large)).finish());
    let behind: Vec<Delivery> = (4..200)
        .map(|t| opened.sink.send(Batch::default().keyed(&route, t, "a", Some("x")).finish()))
        .collect();
    let error = delivered(bad).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    assert!(error.to_string().contains("large.shop.orders"), "{error}");
    assert!(error.to_string().contains(&at(3).to_string()), "{error}");
    for delivery in behind {
        let error = delivered(delivery).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    }
    let late = opened.sink.send(Batch::default().keyed(&route, 200, "a", Some("x")).finish());
    assert_eq!(delivered(late).await.unwrap_err().kind(), ErrorKind::Refused);
    assert_eq!(
        delivered(opened.sink.send(Batch::default().finish())).await.unwrap_err().kind(),
        ErrorKind::Refused
    );

    let seen = read(servers, "large.shop.orders").await;
    assert_eq!(seen.iter().map(|seen| seen.at.unwrap().t).collect::<Vec<_>>(), [1, 2]);
}

#[tokio::test]
async fn a_dead_broker_is_named_within_seconds() {
    let started = Instant::now();
    let kafka = kafka(settings("127.0.0.1:9", "dead"));
    let error = kafka.open(None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SinkUnavailable);
    assert!(error.what().starts_with("no Kafka broker answers at 127.0.0.1:9: "), "{error}");
    assert!(error.what().contains("refused"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    let error = store(settings("127.0.0.1:9", "dead")).take().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StoreUnavailable, "{error}");
}

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

    let batch = [("batch.size".to_owned(), Property::new(2_000_000))].into();
    let opened = open(Settings { librdkafka: batch, ..settings(servers, "made") }).await;
    let error = opened.router.route(ns("a.b")).await.unwrap_err();
    assert!(error.to_string().contains("sinks.events.librdkafka.\"batch.size\" = "), "{error}");
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
    for own in ["a._checkpoints", "a._commands"] {
        shared.router.route(Namespace { db: "a", coll: "" }).await.unwrap();
        let error = shared.router.route(ns(own)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Collision, "{error}");
    }
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

async fn produce(servers: &str, topic: &str, partition: i32, key: &str, value: &str) {
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
    let config = ClientConfig::new().set("bootstrap.servers", servers).clone();
    let (topic, key, value) = (topic.to_owned(), key.to_owned(), value.to_owned());
    let send = move || {
        let producer: BaseProducer = config.create().unwrap();
        let record = BaseRecord::to(&topic).partition(partition).key(&key).payload(&value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.flush(PATIENCE).unwrap();
    };
    tokio::task::spawn_blocking(send).await.unwrap();
}

#[tokio::test]
async fn checkpoints_are_kept_cleared_and_shown() {
    let servers = broker().await;
    let mut first = store(settings(servers, "store"));
    assert_eq!(first.peek().await.unwrap(), None, "no topic yet");
    assert_eq!(first.take().await.unwrap(), None);
    for t in 1..=50 {
        first.save(&checkpoint(t)).await.unwrap();
    }
    assert_eq!(store(settings(servers, "store")).peek().await.unwrap(), Some(checkpoint(50)));
    first.save(&checkpoint(51)).await.unwrap();

    let mut second = store(settings(servers, "store"));
    assert_eq!(second.take().await.unwrap(), Some(checkpoint(51)));
    second.save(&Stored::Cleared).await.unwrap();
    assert_eq!(second.take().await.unwrap(), Some(Stored::Cleared), "one may claim again");
    second.save(&checkpoint(60)).await.unwrap();
    let values = read(servers, "store._checkpoints").await;
    let last_of =
        |key: &str| values.iter().rev().find(|seen| seen.key == key).map(|seen| seen.value.is_some());
    assert_eq!(last_of("events/0"), Some(false), "replaced epochs are removed: {values:?}");
    assert_eq!(first.peek().await.unwrap(), Some(checkpoint(60)));
}

#[tokio::test]
async fn an_older_claimant_can_not_move_the_checkpoint() {
    let servers = broker().await;
    let (mut old, mut new) = (store(settings(servers, "fence")), store(settings(servers, "fence")));
    old.take().await.unwrap();
    old.save(&checkpoint(1)).await.unwrap();
    assert_eq!(new.take().await.unwrap(), Some(checkpoint(1)));
    // Until it hears of the new claim an old one may still write, which then counts for nothing once the new one has.
    new.save(&checkpoint(2)).await.unwrap();
    let fenced = timeout(PATIENCE, async {
        loop {
            if let Err(error) = old.save(&checkpoint(9)).await {
                return error;
            }
        }
    });
    let error = fenced.await.unwrap();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    assert_eq!(old.save(&checkpoint(9)).await.unwrap_err().kind(), ErrorKind::Fenced, "for good");
    assert_eq!(new.peek().await.unwrap(), Some(checkpoint(2)));
    new.save(&checkpoint(3)).await.unwrap();
}

#[tokio::test]
async fn a_checkpoint_that_can_not_be_read_is_named_and_can_be_replaced() {
    let servers = broker().await;
    let mut first = store(settings(servers, "damaged"));
    first.take().await.unwrap();
    first.save(&checkpoint(1)).await.unwrap();
    produce(servers, "damaged._checkpoints", 0, "events/0", r#"{"version":2}"#).await;

    let mut second = store(settings(servers, "damaged"));
    for error in [second.peek().await.unwrap_err(), second.take().await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::CheckpointUnreadable, "{error}");
        for part in ["offset 2", "damaged._checkpoints", "version 2", "checkpoint set"] {
            assert!(error.to_string().contains(part), "{error}");
        }
    }
    second.save(&checkpoint(5)).await.unwrap();
    assert_eq!(second.peek().await.unwrap(), Some(checkpoint(5)));
}

#[tokio::test]
async fn a_topic_that_forgets_is_no_checkpoint_store() {
    let servers = broker().await;
    let opened = open(Settings { partitions: 1, ..settings(servers, "forgets") }).await;
    // A topic for events, as brokers make them: records are deleted after a week.
    let template = Settings { topic: "forgets2.{coll}".to_owned(), partitions: 1, ..settings(servers, "x") };
    open(template).await.router.route(ns("a._checkpoints")).await.unwrap();
    drop(opened);
    let error = store(settings(servers, "forgets2")).take().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    assert!(error.to_string().contains("cleanup.policy"), "{error}");
}

#[tokio::test]
async fn check_says_what_it_found_and_changes_nothing() {
    let servers = broker().await;
    let line = kafka(settings(servers, "looked-at")).check().await.unwrap();
    assert!(line.contains(servers) && line.contains("1 broker, 0 topics of `looked-at`"), "{line}");
    let many = kafka(Settings { replication_factor: 2, ..settings(servers, "looked-at") });
    assert!(many.check().await.unwrap_err().to_string().contains("sinks.events.replication_factor"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_dies_under_load_leaves_no_hole() {
    let server = Server::builder().start().await.unwrap();
    let mut opened = open(settings(server.bootstrap(), "killed")).await;
    let route = opened.router.route(ns("shop.orders")).await.unwrap();
    let value = "x".repeat(1000);
    let mut deliveries = Vec::new();
    let mut send = |from: u32| {
        for t in from..from + 3000 {
            deliveries.push(opened.sink.send(Batch::default().keyed(&route, t, "a", Some(&value)).finish()));
        }
    };
    send(1);
    server.kill(0).await;
    send(3001);
    server.restart(0).await.unwrap();
    send(6001);
    let mut stored = 0;
    for delivery in deliveries {
        match delivered(delivery).await {
            Ok(()) => stored += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::SinkUnavailable, "{error}");
                break;
            }
        }
    }
    // What was acknowledged is there, nothing is out of order, and nothing is missing in between.
    let seen = read(server.bootstrap(), "killed.shop.orders").await;
    let times: Vec<u32> = seen.iter().map(|seen| seen.at.unwrap().t).collect();
    assert!(times.len() >= stored, "{} of {stored}", times.len());
    assert!(times.iter().zip(1..).all(|(seen, t)| *seen == t), "a hole or a repeat among {}", times.len());
    assert_eq!(stored, 9000, "the broker came back in time");
}

#[tokio::test]
async fn wrong_credentials_are_told_at_once() {
    let jaas = "org.apache.kafka.common.security.plain.PlainLoginModule required user_me=\"right\";";
    let server = Server::builder()
        .listener("SECURE", "SASL_PLAINTEXT")
        .property("sasl.enabled.mechanisms", "PLAIN")
        .property("listener.name.secure.plain.sasl.jaas.config", jaas)
        .start()
        .await
        .unwrap();
    let with = |password: &str| {
        let librdkafka = [
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", "me"),
            ("sasl.password", password),
        ];
        let librdkafka = librdkafka.map(|(key, value)| (key.to_owned(), Property::new(value))).into();
        kafka(Settings { librdkafka, ..settings(server.bootstrap_of("SECURE"), "sasl") })
    };
    let mut opened = with("right").open(None).await.unwrap();
    let route = opened.router.route(ns("a.b")).await.unwrap();
    delivered(opened.sink.send(Batch::default().keyed(&route, 1, "a", None).finish())).await.unwrap();
    let started = Instant::now();
    let error = with("wrong").open(None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(!error.to_string().contains("wrong"), "{error}");
}
