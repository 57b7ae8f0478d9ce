//! The Kafka sink and its checkpoint store, against real brokers.

mod deliver;
mod fatal;
mod faults;
mod security;
mod statistics;
mod store;
mod topics;
mod transactions;
mod weaknesses;

use std::sync::Arc;
use std::time::Duration;

use mongo_observer::error::Error;
use mongo_observer::event::{Mark, Namespace, Position};
use mongo_observer::format::{Addressing, Header, Record, Route, To, murmur2};
use mongo_observer::pipeline::{
    Checkpoint, CheckpointStore, Counts, Delivery, OpenSink, Opened, OwnStore, RecordBatch, Stored,
};
use mongo_observer::servers::Kafka as Server;
use mongo_observer::sink::kafka::{Kafka, Settings};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::time::timeout;

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
            deletes: false,
            is_manifest: false,
        };
        self.records.push(record);
        self
    }

    /// To the partition that a key belongs to.
    fn keyed(self, route: &Arc<Route>, t: u32, key: &str, value: Option<&str>) -> Self {
        let partition = (murmur2(key.as_bytes()) & 0x7fff_ffff) % partition_count(route);
        self.add(route, Some(i32::try_from(partition).unwrap()), t, key, value)
    }

    fn finish(self) -> RecordBatch {
        RecordBatch {
            end: Mark::Tail { at: self.records.last().map_or(at(1), |record| record.at), term: Some(1) },
            bytes: self.bytes.into(),
            records: self.records,
            ends_unit: true,
            wall_ms: None,
            counts: Counts::default(),
            source: "rs0/abc".into(),
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
pub(crate) struct Seen {
    pub(crate) partition: i32,
    pub(crate) key: String,
    pub(crate) value: Option<String>,
    pub(crate) at: Option<Position>,
}

/// Everything that a topic holds, partition after partition.
pub(crate) async fn read(servers: &str, topic: &str) -> Vec<Seen> {
    let seen = |message: &BorrowedMessage<'_>| Seen {
        partition: message.partition(),
        key: text(message.key()).unwrap_or_default(),
        value: text(message.payload()),
        at: message.headers().map(|headers| {
            assert_eq!((headers.count(), headers.get(0).key), (1, Header::NAME));
            text(headers.get(0).value).unwrap().parse::<Header>().unwrap().at
        }),
    };
    let mut all = read_with(servers, topic, seen).await;
    all.sort_by_key(|seen| seen.partition);
    all
}

/// The times of a topic's records.
async fn times(servers: &str, topic: &str) -> Vec<u32> {
    read(servers, topic).await.iter().map(|seen| seen.at.unwrap().t).collect()
}

/// The same in order of arrival, with what is made of each message.
async fn read_with<T: Send + 'static>(
    servers: &str,
    topic: &str,
    each: impl Fn(&BorrowedMessage<'_>) -> T + Send + 'static,
) -> Vec<T> {
    let (servers, topic) = (servers.to_owned(), topic.to_owned());
    tokio::task::spawn_blocking(move || read_blocking(&servers, &topic, each)).await.unwrap()
}

fn read_blocking<T>(servers: &str, topic: &str, each: impl Fn(&BorrowedMessage<'_>) -> T) -> Vec<T> {
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
    for partition in metadata.topics()[0].partitions() {
        assignment.add_partition_offset(topic, partition.id(), Offset::Beginning).unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let mut seen = Vec::new();
    let mut ended = 0;
    while ended < partitions {
        match consumer.poll(PATIENCE).expect("the end of every partition") {
            Ok(message) => seen.push(each(&message)),
            Err(rdkafka::error::KafkaError::PartitionEOF(_)) => ended += 1,
            Err(error) => panic!("{error}"),
        }
    }
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
