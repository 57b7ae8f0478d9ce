//! Apache Kafka: an idempotent producer that waits for all replicas and leaves no hole behind a record that was refused.
//!
//! - `settings`, `security` and `rules`: what can be configured, and what can't;
//! - `router`: the topic of a namespace; `topic`: what can be lost there;
//! - `deliver`: records out, delivery reports back;
//! - `lanes`: how much of it librdkafka has at a time;
//! - `touched`: where watermarks go; `manifests`: which of them say something new;
//! - `stats` and `listeners`: what librdkafka tells of itself, and whom;
//! - `tail`: the last record, where the checkpoint is missing.

mod deliver;
mod lanes;
mod listeners;
mod manifests;
mod property;
mod router;
mod rules;
mod security;
mod settings;
mod stats;
mod tail;
mod topic;
mod touched;

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use rdkafka::metadata::Metadata;

use crate::checkpoint::kafka::KafkaStore;
use crate::error::{Error, ErrorKind};
use crate::kafka::{Cluster, Topics, blocking};
use crate::pipeline::{ClientMonitor, OpenSink, Opened, OwnStore, SinkTail, Stored};

use deliver::KafkaSink;
use listeners::Listeners;
use router::KafkaRouter;
use touched::Touched;

pub use property::Property;
pub use security::{Mechanism, Tls};
pub use settings::Settings;
pub use topic::{CleanupPolicy, Tombstones};

/// A Kafka sink that can be opened: `[sinks.NAME]` with `type = "kafka"`.
#[derive(Debug)]
pub struct Kafka {
    name: String,
    settings: Settings,
    budget_bytes: usize,
    listeners: Listeners,
}

impl Kafka {
    /// The sink of that name, for a pipeline with that budget. Fails, with the key, if the settings can't be used; connects to nothing
    /// yet.
    pub fn new(name: &str, settings: Settings, budget_bytes: usize) -> Result<Self, Error> {
        let kafka = Self { name: name.to_owned(), settings, budget_bytes, listeners: Listeners::default() };
        kafka.cluster().map(|_| kafka)
    }

    /// The cluster, with what the files that hold secrets say now.
    fn cluster(&self) -> Result<Cluster, Error> {
        self.settings.cluster(&self.name, self.budget_bytes)
    }

    async fn open(&self, stored: Option<&Stored>) -> Result<Opened, Error> {
        let (cluster, touched) = (self.cluster()?, Arc::new(Touched::default()));
        let sink = self.sink(&cluster, &touched)?;
        let metadata = cluster.reach(sink.producer(), sink.context(), None).await?;
        let tail = if stored.is_some() { SinkTail::Unknown } else { self.tail(&cluster, &metadata).await? };
        let router = KafkaRouter::new(&self.name, &self.settings, &cluster, touched)?;
        router.look_over(&metadata, &self.ours()?).await?;
        Ok(Opened { sink: Box::new(sink), router: Arc::new(router), tail })
    }

    fn sink(&self, cluster: &Cluster, touched: &Arc<Touched>) -> Result<KafkaSink, Error> {
        KafkaSink::new(
            cluster,
            self.settings.batch_bytes(),
            self.settings.manifest_topic(),
            Arc::clone(touched),
            self.listeners.clone(),
        )
    }

    async fn tail(&self, cluster: &Cluster, metadata: &Metadata) -> Result<SinkTail, Error> {
        let partitions = self.partitions(metadata)?;
        let cluster = cluster.clone();
        blocking(move || tail::find(&cluster, &partitions)).await
    }

    /// The partitions that hold this connector's records, or could.
    fn partitions(&self, metadata: &Metadata) -> Result<Vec<tail::Partition>, Error> {
        Ok(tail::partitions(metadata, self.ours()?))
    }

    /// Which topics may be this connector's, by their names.
    fn ours(&self) -> Result<impl Fn(&str) -> bool, Error> {
        let template = self.settings.template().map_err(|why| Error::new(ErrorKind::Config, why))?;
        let prefix = template.literal_prefix(&self.settings.prefix);
        let own = self.settings.own_topics();
        Ok(move |topic: &str| {
            topic.starts_with(&prefix) && !topic.starts_with("__") && own.iter().all(|own| own != topic)
        })
    }

    async fn check(&self) -> Result<String, Error> {
        let cluster = self.cluster()?;
        let sink = self.sink(&cluster, &Arc::default())?;
        let metadata = cluster.reach(sink.producer(), sink.context(), None).await?;
        let brokers = metadata.brokers().len();
        let replicas = self.settings.replication_factor;
        if usize::try_from(replicas).is_ok_and(|replicas| replicas > brokers) {
            return Err(Error::new(
                ErrorKind::Refused,
                format!(
                    "sinks.{}.replication_factor is {replicas}, and there are {brokers} brokers",
                    self.name
                ),
            ));
        }
        let mut topics = self.partitions(&metadata)?;
        topics.dedup_by(|one, other| one.0 == other.0);
        let found = Topics::new(&cluster)?.describe_all(&metadata, self.ours()?).await?;
        let mut lines = vec![format!(
            "Kafka at {}: {brokers} {}, {} topics of `{}`; missing topics {}",
            cluster.servers(),
            if brokers == 1 { "broker" } else { "brokers" },
            topics.len(),
            self.settings.prefix,
            if self.settings.create_topics { "are created" } else { "stop the connector" },
        )];
        lines.extend(topic::warnings(&found).iter().map(ToString::to_string));
        let limits = found.iter().filter_map(|topic| topic.number::<usize>("max.message.bytes"));
        lines.extend(
            limits
                .min()
                .map(|limit| format!("the smallest of these topics' limits for an event is {limit} bytes")),
        );
        Ok(lines.join("\n"))
    }
}

impl OpenSink for Kafka {
    fn open<'a>(&'a self, stored: Option<&'a Stored>) -> BoxFuture<'a, Result<Opened, Error>> {
        self.open(stored).boxed()
    }

    fn own_store(&self, pipeline: &str) -> Result<OwnStore, Error> {
        let topic = self.settings.checkpoint_topic();
        let store = KafkaStore::new(self.cluster()?, topic, pipeline, self.settings.replication_factor);
        Ok(OwnStore::Beside(Box::new(store)))
    }

    fn watched_by(&mut self, monitor: Arc<dyn ClientMonitor>) {
        self.listeners.monitor = Some(monitor);
    }

    fn check(&self) -> BoxFuture<'_, Result<String, Error>> {
        self.check().boxed()
    }
}
