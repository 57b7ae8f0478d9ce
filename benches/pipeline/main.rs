//! A backlog, drained: the connector beside what it is made of, in one run, the variants in turn.
//!
//! `make bench`, or `cargo bench --bench pipeline`. `BENCH_EVENTS` (500000), `BENCH_ROUNDS` (3), `BENCH_ONLY` (some variants' names, by commas;
//! `Latency` is one). Every variant is a process of its own, so that its memory can be told. On a shared machine the ratios say more than the
//! rates.
#![allow(clippy::unwrap_used)]

mod bare;
mod chain;
mod connector;
mod latency;
mod table;

use std::process::{Command, Stdio};

use mongo_observer::servers::{Kafka, Mongo, Nats};
use mongodb::bson::{Binary, doc, spec::BinarySubtype};

use self::table::{Measure, Table};

/// What is measured, in the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    /// The raw cursor alone, bytes counted.
    Cursor,
    /// The producer alone, with the connector's settings and records of about the same size.
    Producer,
    /// The cursor's entries straight into that producer: what any connector to Kafka has to do.
    Pipe,
    /// The same, into twelve partitions.
    Pipe12,
    /// A bare publisher to NATS, with the connector's chain and headers.
    Chain,
    /// The cursor's entries straight into that.
    ChainPipe,
    /// The connector, with the null device as standard output.
    ToNull,
    /// The connector to Kafka.
    ToKafka,
    /// The same, into twelve partitions.
    ToKafka12,
    /// The connector to Kafka, exactly once.
    OnceToKafka,
    /// The same, into twelve partitions.
    OnceToKafka12,
    /// The connector to NATS.
    ToNats,
}

impl Variant {
    /// Of the topic in Kafka.
    fn partitions(self) -> i32 {
        if matches!(self, Self::Pipe12 | Self::ToKafka12 | Self::OnceToKafka12) { 12 } else { 1 }
    }
}

const VARIANTS: [Variant; 12] = [
    Variant::Cursor,
    Variant::Producer,
    Variant::Pipe,
    Variant::Pipe12,
    Variant::ToNull,
    Variant::ToKafka,
    Variant::ToKafka12,
    Variant::OnceToKafka,
    Variant::OnceToKafka12,
    Variant::Chain,
    Variant::ChainPipe,
    Variant::ToNats,
];

fn main() {
    // A variant's process: the same program, told so by the environment.
    if let Ok(role) = std::env::var("BENCH_ROLE") {
        return bare::run(&role);
    }
    // `cargo test --benches` only wants to know that it builds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(bench());
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Whether `BENCH_ONLY`, if there is one, names it.
fn wanted(name: &str) -> bool {
    std::env::var("BENCH_ONLY").map_or(true, |only| only.split(',').any(|only| only.trim() == name))
}

async fn bench() {
    let (events, rounds) = (number("BENCH_EVENTS", 500_000), number("BENCH_ROUNDS", 3));
    eprintln!("starting MongoDB, Kafka and NATS");
    let mongo = Mongo::builder().oplog_mb(4096).cache_mb(1024).start().await.unwrap();
    let kafka = Kafka::builder().full_compiler(true).heap_mb(1024).start().await.unwrap();
    let nats = Nats::builder().start().await.unwrap();
    eprintln!("writing {events} documents of 1 KB");
    let (start, end) = write(&mongo, events).await;
    let place = Place {
        mongo: mongo.uri(),
        kafka: kafka.bootstrap().into(),
        nats: nats.url().into(),
        start,
        end,
        events,
    };

    let mut table = Table::default();
    for round in 1..=rounds {
        for variant in VARIANTS.into_iter().filter(|variant| wanted(&format!("{variant:?}"))) {
            let measure = place.measure(variant, round).await;
            eprintln!("round {round}: {variant:?}: {measure}");
            table.add(variant, measure);
        }
    }
    println!("{}", table.render(events));
    if wanted("Latency") {
        println!("{}", latency::measure(&place, 10_000).await);
    }
    nats.stop().await;
    kafka.stop().await;
    mongo.stop().await;
}

/// Where the servers are, and which part of the oplog is read.
struct Place {
    mongo: String,
    kafka: String,
    nats: String,
    start: String,
    end: String,
    events: u64,
}

impl Place {
    async fn measure(&self, variant: Variant, round: u64) -> Measure {
        match variant {
            Variant::Cursor
            | Variant::Producer
            | Variant::Pipe
            | Variant::Pipe12
            | Variant::Chain
            | Variant::ChainPipe => self.bare(variant, round),
            _ => connector::measure(self, variant, round).await,
        }
    }

    fn bare(&self, variant: Variant, round: u64) -> Measure {
        let output = Command::new(std::env::current_exe().unwrap())
            .env("BENCH_ROLE", format!("{variant:?}"))
            .env("BENCH_MONGO", &self.mongo)
            .env("BENCH_KAFKA", &self.kafka)
            .env("BENCH_NATS", &self.nats)
            .env("BENCH_START", &self.start)
            .env("BENCH_PARTITIONS", variant.partitions().to_string())
            .env("BENCH_COUNT", self.events.to_string())
            .env("BENCH_TOPIC", format!("bare.{variant:?}.{round}"))
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(output.status.success(), "{variant:?} failed");
        String::from_utf8(output.stdout).unwrap().parse().unwrap()
    }
}

/// Inserts documents of about 1 KB; gives the positions before the first and of the last.
async fn write(mongo: &Mongo, events: u64) -> (String, String) {
    let client = mongo.client().await.unwrap();
    let documents = client.database("bench").collection("docs");
    client.database("bench").create_collection("docs").await.unwrap();
    let start = newest(&client).await;
    // Neither compressible to nothing nor slow to make.
    let filler = |seed: u64| {
        let words = (0..14).map(|word| [seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ word, word * seed]);
        words.fold(String::new(), |text, [one, other]| text + &format!("{one:016x}{other:016x} "))
    };
    for batch in 0..events / 1000 {
        let many = (batch * 1000..(batch + 1) * 1000).map(|number| {
            doc! {
                "_id": i64::try_from(number).unwrap(),
                "name": format!("customer {number}"),
                "state": "new",
                "total": f64::from(u32::try_from(number % 10_000).unwrap()) / 8.0,
                "count": i32::try_from(number % 100).unwrap(),
                "tags": ["a", "b", "c"],
                "address": { "street": "Main Street 1", "city": "Springfield", "zip": 12345 },
                "token": Binary { subtype: BinarySubtype::Generic, bytes: number.to_be_bytes().repeat(8) },
                "active": number % 2 == 0,
                "text": filler(number),
            }
        });
        documents.insert_many(many).ordered(false).await.unwrap();
    }
    let end = newest(&client).await;
    client.shutdown().await;
    (start, end)
}

/// The newest position; nobody else writes.
async fn newest(client: &mongodb::Client) -> String {
    let hello = client.database("admin").run_command(doc! { "hello": 1 }).await.unwrap();
    let ts =
        hello.get_document("lastWrite").unwrap().get_document("opTime").unwrap().get_timestamp("ts").unwrap();
    format!("{}-{}", ts.time, ts.increment)
}
