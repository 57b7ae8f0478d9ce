//! What the tests share: servers, the connector, a writer, and readers for both ends.

mod connector;
mod history;
mod kafka;
mod lanes;
mod nats;
mod workload;

use std::time::Duration;

use mongo_observer::servers::{Kafka, Mongo, Nats};
use mongodb::Client;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};

pub(super) use connector::{Connector, Ended, Installation};
pub(super) use history::{History, commit_everything, majority_point};
pub(super) use kafka::{delete_topics, read_kafka, sent_to, topics};
pub(super) use lanes::{Lanes, Seen, read_file, read_lines};
pub(super) use nats::{read_nats, read_nats_with};
pub(super) use workload::{Load, Random, Workload};

/// Far more than anything here takes on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Looks again and again until `look` finds something.
pub(super) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        sleep(Duration::from_millis(25)).await;
    }
}

/// A replica set for all tests that don't harm it; they differ in their databases.
pub(super) async fn mongo() -> &'static Mongo {
    static MONGO: OnceCell<Mongo> = OnceCell::const_new();
    MONGO.get_or_init(async || Mongo::builder().oplog_mb(512).start().await.unwrap()).await
}

/// Another replica set of the same name, for the same.
pub(super) async fn other_mongo() -> &'static Mongo {
    static MONGO: OnceCell<Mongo> = OnceCell::const_new();
    MONGO.get_or_init(async || Mongo::builder().start().await.unwrap()).await
}

/// A broker for all tests that don't harm it; they differ in their prefixes.
pub(super) async fn kafka() -> &'static Kafka {
    static KAFKA: OnceCell<Kafka> = OnceCell::const_new();
    KAFKA.get_or_init(async || Kafka::builder().heap_mb(384).start().await.unwrap()).await
}

/// A NATS server for all tests that don't harm it; they differ in their streams.
pub(super) async fn nats() -> &'static Nats {
    static NATS: OnceCell<Nats> = OnceCell::const_new();
    NATS.get_or_init(async || Nats::builder().start().await.unwrap()).await
}

/// A client of this test's own: clients belong to one runtime.
pub(super) async fn client(mongo: &Mongo) -> Client {
    mongo.client().await.unwrap()
}

/// The tables of a configuration that reads the database `db`, and retries fast.
pub(super) fn source(mongo: &Mongo, db: &str) -> String {
    source_of(&mongo.uri(), db)
}

/// The same, with that connection string.
pub(super) fn source_of(uri: &str, db: &str) -> String {
    format!(
        "mongodb.uri = {uri:?}\nsource.include = [\"{db}.*\"]\nretry.max_ms = 1000\ncheckpoint.interval_ms = 100\n"
    )
}

/// The tables of a Kafka sink named `kafka`.
pub(super) fn kafka_sink(kafka: &Kafka, prefix: &str, partitions: u32) -> String {
    format!(
        "[sinks.kafka]\ntype = \"kafka\"\nbootstrap_servers = {:?}\nprefix = \"{prefix}\"\npartitions = {partitions}\n",
        kafka.bootstrap()
    )
}

/// The same, with everything exactly once.
pub(super) fn exactly_once_sink(bootstrap: &str, prefix: &str, partitions: u32) -> String {
    format!(
        "[sinks.kafka]\ntype = \"kafka\"\nbootstrap_servers = {bootstrap:?}\nprefix = \"{prefix}\"\n\
         partitions = {partitions}\ndelivery = \"exactly_once\"\n"
    )
}

/// The table of a NATS sink named `nats`; the stream has the name of the prefix.
pub(super) fn nats_sink(nats: &Nats, prefix: &str) -> String {
    format!(
        "[sinks.nats]\ntype = \"nats\"\nservers = {:?}\nprefix = \"{prefix}\"\nstream = \"{prefix}\"\n\
         ack_timeout_ms = 3000\n",
        nats.url()
    )
}

/// The table of a file sink named `file`, which writes `events.jsonl` in the connector's folder.
pub(super) fn file_sink() -> String {
    "[sinks.file]\ntype = \"file\"\npath = \"events.jsonl\"\n".to_owned()
}
