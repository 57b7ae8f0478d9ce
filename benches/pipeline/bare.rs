//! What the connector is made of, without the connector: a raw cursor, publishers, and the one piped into the others.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use mongodb::Client;
use mongodb::bson::{RawDocumentBuf, Timestamp, doc};
use mongodb::options::CursorType;
use mongodb::raw_batch_cursor::RawBatchCursor;
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext};

use super::chain::Chain;
use super::table::Measure;

/// The connector's own limits and settings.
const SETTINGS: [(&str, &str); 10] = [
    ("max.in.flight.requests.per.connection", "1"),
    ("enable.idempotence", "true"),
    ("acks", "all"),
    ("enable.gapless.guarantee", "true"),
    ("message.timeout.ms", "0"),
    ("linger.ms", "1"),
    ("batch.num.messages", "10000"),
    ("batch.size", "1000000"),
    ("queue.buffering.max.messages", "1000000"),
    ("queue.buffering.max.kbytes", "65536"),
];
/// As much as the connector's budget lets through.
pub(crate) const UNDER_WAY_MAX: u64 = 8 << 20;
pub(crate) const HEADER: &str = "v1 1795393406-0000000001-0000000000 1 rs0/6b0574e82148b8612ab610f8";

pub(crate) fn run(role: &str) {
    let variable = |name: &str| std::env::var(format!("BENCH_{name}")).unwrap();
    let count = variable("COUNT").parse().unwrap();
    let out = async || {
        let partitions = variable("PARTITIONS").parse().unwrap();
        Out::new(&variable("KAFKA"), &variable("TOPIC"), partitions).await
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let began = Instant::now();
    runtime.block_on(async {
        match role {
            "Cursor" => {
                cursor(&variable("MONGO"), &variable("START"), count, async |_| {}).await;
            }
            "Producer" => {
                let out = out().await;
                let record = vec![b'x'; 1400];
                for _ in 0..count {
                    out.send(&record);
                }
                out.flush();
            }
            "Pipe" | "Pipe12" => {
                let out = out().await;
                cursor(&variable("MONGO"), &variable("START"), count, async |entry| out.send(entry)).await;
                out.flush();
            }
            "Chain" => {
                let mut out = Chain::new(&variable("NATS"), &variable("TOPIC")).await;
                let record = vec![b'x'; 1400];
                for _ in 0..count {
                    out.send(&record).await;
                }
                out.flush().await;
            }
            "ChainPipe" => {
                let mut out = Chain::new(&variable("NATS"), &variable("TOPIC")).await;
                cursor(&variable("MONGO"), &variable("START"), count, async |entry| out.send(entry).await)
                    .await;
                out.flush().await;
            }
            other => panic!("unknown role {other}"),
        }
    });
    println!("{}", Measure::of(std::process::id(), began.elapsed().as_secs_f64()));
}

/// Reads that many entries behind `start`.
async fn cursor(uri: &str, start: &str, count: u64, mut each: impl AsyncFnMut(&[u8])) {
    let client = Client::with_uri_str(uri).await.unwrap();
    let (time, increment) = start.split_once('-').unwrap();
    let after = Timestamp { time: time.parse().unwrap(), increment: increment.parse().unwrap() };
    let find = doc! {
        "find": "oplog.rs", "filter": { "ts": { "$gt": after } }, "tailable": true, "awaitData": true,
        "batchSize": 3000, "readConcern": { "level": "majority" },
    };
    let local = client.database("local");
    let mut cursor: RawBatchCursor = local
        .run_raw_cursor_command(RawDocumentBuf::try_from(&find).unwrap())
        .cursor_type(CursorType::TailableAwait)
        .max_time(Duration::from_secs(1))
        .batch_size(3000)
        .batch()
        .await
        .unwrap();
    let mut seen = 0;
    while seen < count {
        let batch = cursor.next().await.unwrap().unwrap();
        for entry in batch.doc_slices().unwrap() {
            each(entry.unwrap().as_document().unwrap().as_bytes()).await;
            seen += 1;
        }
    }
    drop(cursor);
    client.shutdown().await;
}

/// A producer that keeps no more under way than the connector does.
struct Out {
    producer: ThreadedProducer<Acks>,
    topic: String,
    partitions: i32,
    sent: Cell<i32>,
    under_way: Arc<AtomicU64>,
}

struct Acks(Arc<AtomicU64>);

impl ClientContext for Acks {}

impl ProducerContext for Acks {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, size: usize) {
        assert!(result.is_ok(), "a record was refused");
        self.0.fetch_sub(size as u64, Ordering::Relaxed);
    }
}

impl Out {
    async fn new(bootstrap: &str, topic: &str, partitions: i32) -> Self {
        use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
        let under_way = Arc::new(AtomicU64::new(0));
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap);
        let admin: AdminClient<_> = config.create().unwrap();
        let topics = [NewTopic::new(topic, partitions, TopicReplication::Fixed(1))];
        admin.create_topics(&topics, &AdminOptions::new()).await.unwrap();
        for (key, value) in SETTINGS {
            config.set(key, value);
        }
        let producer = config.create_with_context(Acks(Arc::clone(&under_way))).unwrap();
        Self { producer, topic: topic.to_owned(), partitions, sent: Cell::new(0), under_way }
    }

    fn send(&self, entry: &[u8]) {
        while self.under_way.load(Ordering::Relaxed) > UNDER_WAY_MAX {
            // Not a busy wait: the broker needs the processors, too.
            std::thread::park_timeout(Duration::from_millis(1));
        }
        // Keys spread as evenly.
        let next = self.sent.replace((self.sent.get() + 1) % self.partitions);
        self.under_way.fetch_add(entry.len() as u64, Ordering::Relaxed);
        let headers =
            OwnedHeaders::new_with_capacity(1).insert(Header { key: "position", value: Some(HEADER) });
        let record: BaseRecord<'_, [u8], [u8], usize> = BaseRecord::with_opaque_to(&self.topic, entry.len())
            .partition(next)
            .key(&entry[..16])
            .headers(headers)
            .payload(entry);
        self.producer.send(record).map_err(|(error, _)| error).unwrap();
    }

    fn flush(&self) {
        self.producer.flush(Duration::from_secs(60)).unwrap();
    }
}
