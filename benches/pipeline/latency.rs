//! How long a write takes until a consumer has it: the connector and the bare pipe side by side, over the same writes, 1,000 a second.

use std::fmt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use mongodb::Collection;
use mongodb::bson::{Document, RawDocument, doc};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::{Place, connector, newest};

const A_SECOND: u64 = 1000;
/// Writes that come before those that count: connections, topics, caches.
const WARM_UP: usize = 2000;
const BARE: &str = "bare.latency";
const OURS: &str = "bench-latency.bench.latency";

/// What was measured of both, in milliseconds.
pub(crate) struct Latency {
    bare: Vec<f64>,
    ours: Vec<f64>,
}

/// Lets both follow `writes` writes from now on.
pub(crate) async fn measure(place: &Place, writes: usize) -> Latency {
    let client = mongodb::Client::with_uri_str(&place.mongo).await.unwrap();
    client.database("bench").create_collection("latency").await.unwrap();
    let start = newest(&client).await;
    let mut kafka = ClientConfig::new();
    kafka.set("bootstrap.servers", &place.kafka);
    let admin: AdminClient<_> = kafka.create().unwrap();
    let topics = [BARE, OURS].map(|topic| NewTopic::new(topic, 1, TopicReplication::Fixed(1)));
    admin.create_topics(&topics, &AdminOptions::new()).await.unwrap();

    let count = writes + WARM_UP;
    let mut bare = spawn_bare(place, &start);
    let connector = connector::start(place, &start, &settings(place)).await;
    let consumer = std::thread::spawn(move || consume(&kafka, count));
    let documents = client.database("bench").collection("latency");
    let mut turn = tokio::time::interval(Duration::from_secs(1) / u32::try_from(A_SECOND).unwrap());
    turn.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut written = JoinSet::new();
    for number in 0..count {
        turn.tick().await;
        let document = doc! {
            "_id": i64::try_from(number).unwrap(), "text": format!("{number:016x}").repeat(58), "sent": micros(),
        };
        let documents: Collection<Document> = documents.clone();
        // Several at a time: each waits for its journal, and the next one is due.
        written.spawn(async move { documents.insert_one(document).await.unwrap() });
    }
    written.join_all().await;
    let latency = tokio::task::spawn_blocking(|| consumer.join().unwrap()).await.unwrap();
    connector.stop().await;
    bare.kill().unwrap();
    bare.wait().unwrap();
    client.shutdown().await;
    latency
}

fn settings(place: &Place) -> String {
    format!(
        "type = \"kafka\"\nbootstrap_servers = \"{}\"\nprefix = \"bench-latency\"\npartitions = 1\nreplication_factor = 1",
        place.kafka
    )
}

fn spawn_bare(place: &Place, start: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .env("BENCH_ROLE", "Pipe")
        .env("BENCH_MONGO", &place.mongo)
        .env("BENCH_KAFKA", &place.kafka)
        .env("BENCH_START", start)
        .env("BENCH_PARTITIONS", "1")
        .env("BENCH_COUNT", u64::MAX.to_string())
        .env("BENCH_TOPIC", BARE)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Reads both topics until each has given that many writes; notes how long each write took, but for the first ones.
fn consume(kafka: &ClientConfig, count: usize) -> Latency {
    let consumer: BaseConsumer = kafka
        .clone()
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("fetch.min.bytes", "1")
        .create()
        .unwrap();
    let mut partitions = TopicPartitionList::new();
    for topic in [BARE, OURS] {
        partitions.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
    }
    consumer.assign(&partitions).unwrap();
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    while bare.len() < count || ours.len() < count {
        let message = consumer.poll(Duration::from_secs(60)).expect("a write every millisecond").unwrap();
        let (came, payload) = (micros(), message.payload().unwrap());
        let (sent, taken) = match message.topic() {
            BARE => (sent_in_entry(payload), &mut bare),
            _ => (sent_in_event(payload), &mut ours),
        };
        #[allow(clippy::cast_precision_loss)]
        taken.extend(sent.map(|sent| (came - sent) as f64 / 1000.0));
    }
    for taken in [&mut bare, &mut ours] {
        taken.drain(..WARM_UP);
        taken.sort_by(f64::total_cmp);
    }
    Latency { bare, ours }
}

fn sent_in_entry(entry: &[u8]) -> Option<i64> {
    let entry = RawDocument::from_bytes(entry).unwrap();
    let is_ours = entry.get_str("ns").ok() == Some("bench.latency") && entry.get_str("op").ok() == Some("i");
    is_ours.then(|| entry.get_document("o").unwrap().get_i64("sent").unwrap())
}

fn sent_in_event(event: &[u8]) -> Option<i64> {
    let event: serde_json::Value = serde_json::from_slice(event).unwrap();
    event["after"]["sent"].as_i64()
}

fn micros() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_micros()).unwrap()
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |taken: &[f64], percent: usize| taken[(taken.len() - 1) * percent / 100];
        writeln!(
            f,
            "{:<44} {:>10} {:>10}",
            format!("{A_SECOND} writes a second, write to consumer"),
            "p50 ms",
            "p99 ms"
        )?;
        for (name, taken) in [("bare pipe", &self.bare), ("mongo-observer to Kafka", &self.ours)] {
            writeln!(f, "{name:<44} {:>10.2} {:>10.2}", at(taken, 50), at(taken, 99))?;
        }
        write!(f, "more than the bare pipe, p50: {:.2} ms", at(&self.ours, 50) - at(&self.bare, 50))
    }
}
