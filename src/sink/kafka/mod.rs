//! Apache Kafka: an idempotent producer that waits for all replicas and leaves no hole behind a record that was refused.
//!
//! - `settings`, `security` and `rules`: what can be configured, and what can't;
//! - `router`: the topic of a namespace; `topic`: what can be lost there;
//! - `deliver`: records out, delivery reports back;
//! - `lanes`: how much of it librdkafka has at a time;
//! - `touched`: where watermarks go;
//! - `stats` and `listeners`: what librdkafka tells of itself, and whom;
//! - `transactional`, `progress` and `claim`: exactly once, by transactions;
//! - `tail`: the last record, where the checkpoint is missing;
//! - `loss`: whether the brokers still have what they had confirmed.

mod claim;
mod deliver;
mod lanes;
mod listeners;
mod loss;
mod progress;
mod property;
mod router;
mod rules;
mod security;
mod settings;
mod stats;
mod tail;
mod topic;
mod touched;
mod transactional;

use std::collections::HashSet;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use rdkafka::metadata::Metadata;

use crate::checkpoint::kafka::{Acknowledged, KafkaStore, Partition};
use crate::error::{Error, ErrorKind};
use crate::kafka::{Cluster, Topics, blocking};
use crate::pipeline::{Checkpoint, ClientMonitor, OpenSink, Opened, OwnStore, Sink, SinkTail, Stored};

use claim::{Claimant, ClaimedStore, Slot};
use deliver::{KafkaSink, Parts};
use listeners::Listeners;
use router::KafkaRouter;
use touched::Touched;
use transactional::TransactionalSink;

pub use property::Property;
pub use security::{Mechanism, Tls};
pub use settings::{DeliveryMode, Settings};
pub use topic::{CleanupPolicy, Tombstones};

/// A Kafka sink that can be opened: `[sinks.NAME]` with `type = "kafka"`.
#[derive(Debug)]
pub struct Kafka {
    name: String,
    settings: Settings,
    budget_bytes: usize,
    listeners: Listeners,
    /// The claim that the store has taken, for the sink.
    claimed: Slot,
    /// What brokers have confirmed, over all attempts.
    acknowledged: Acknowledged,
}

impl Kafka {
    /// The sink of that name, for a pipeline with that budget. Fails, with the key, if the settings can't be used; connects to nothing
    /// yet.
    pub fn new(name: &str, settings: Settings, budget_bytes: usize) -> Result<Self, Error> {
        let kafka = Self {
            name: name.to_owned(),
            settings,
            budget_bytes,
            listeners: Listeners::default(),
            claimed: Slot::default(),
            acknowledged: Acknowledged::default(),
        };
        kafka.cluster().map(|_| kafka)
    }

    /// The cluster, with what the files that hold secrets say now.
    fn cluster(&self) -> Result<Cluster, Error> {
        self.settings.cluster(&self.name, self.budget_bytes)
    }

    async fn open(&self, stored: Option<&Stored>) -> Result<Opened, Error> {
        let cluster = self.cluster()?;
        match self.settings.delivery {
            DeliveryMode::AtLeastOnce => {
                let sink = KafkaSink::new(&cluster, self.parts())?;
                let metadata = cluster.reach(sink.producer(), sink.context(), None).await?;
                let touched = Arc::clone(sink.touched());
                self.opened(&cluster, stored, &metadata, touched, Box::new(sink)).await
            }
            DeliveryMode::ExactlyOnce => {
                let claim = match self.claimed.take() {
                    Some(claim) => claim,
                    None => self.claimant(&self.name)?.claim().await?.0,
                };
                let sink = &claim.sink;
                let metadata = cluster.reach(sink.producer(), sink.context(), None).await?;
                let touched = Arc::clone(sink.touched());
                let sink = TransactionalSink::start(claim, self.settings.transaction_limits());
                self.opened(&cluster, stored, &metadata, touched, Box::new(sink)).await
            }
        }
    }

    async fn opened(
        &self,
        cluster: &Cluster,
        stored: Option<&Stored>,
        metadata: &Metadata,
        touched: Arc<Touched>,
        sink: Box<dyn Sink>,
    ) -> Result<Opened, Error> {
        let tail = match stored {
            None => self.tail(cluster, metadata).await?,
            Some(Stored::Cleared) => SinkTail::Unknown,
            Some(Stored::Checkpoint(checkpoint)) => self.loss(cluster, checkpoint, metadata).await?,
        };
        let router = KafkaRouter::new(&self.name, &self.settings, cluster, touched)?;
        router.look_over(metadata, &self.ours()?).await?;
        Ok(Opened { sink, router: Arc::new(router), tail })
    }

    /// The place to go back to, if the brokers have lost what they had confirmed.
    async fn loss(
        &self,
        cluster: &Cluster,
        checkpoint: &Checkpoint,
        metadata: &Metadata,
    ) -> Result<SinkTail, Error> {
        let there: HashSet<Partition> = tail::partitions(metadata, |_| true).into_iter().collect();
        let (cluster, acknowledged) = (cluster.clone(), self.acknowledged.clone());
        // Where the checkpoints end, the checkpoint itself tells: it is the last one that is left.
        let (checkpoint, own) = (checkpoint.clone(), self.settings.checkpoint_topic());
        blocking(move || {
            let mut expected = acknowledged.expected();
            expected.retain(|((topic, _), _)| *topic != own);
            let expected = loss::still_there(expected, &there, &acknowledged);
            loss::find(&cluster, &acknowledged, &checkpoint, expected)
        })
        .await
    }

    /// What its sinks are made of.
    fn parts(&self) -> Parts {
        Parts {
            batch_bytes: self.settings.batch_bytes(),
            acknowledged: self.acknowledged.clone(),
            listeners: self.listeners.clone(),
        }
    }

    fn store(&self, pipeline: &str) -> Result<KafkaStore, Error> {
        let topic = self.settings.checkpoint_topic();
        let (replicas, acknowledged) = (self.settings.replication_factor, self.acknowledged.clone());
        Ok(KafkaStore::new(self.cluster()?, topic, pipeline, replicas, acknowledged))
    }

    /// Who claims the checkpoint of that pipeline has its transactional id.
    fn claimant(&self, pipeline: &str) -> Result<Claimant, Error> {
        let id = format!("mongo-observer.{}.{pipeline}", self.settings.prefix);
        let cluster = self.cluster()?.with("transactional.id", &id);
        Ok(Claimant { cluster, parts: self.parts(), store: self.store(pipeline)? })
    }

    async fn tail(&self, cluster: &Cluster, metadata: &Metadata) -> Result<SinkTail, Error> {
        let partitions = self.partitions(metadata)?;
        let cluster = cluster.clone();
        blocking(move || tail::find(&cluster, &partitions)).await
    }

    /// The partitions that hold this connector's records, or could.
    fn partitions(&self, metadata: &Metadata) -> Result<Vec<Partition>, Error> {
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
        let sink = KafkaSink::new(&cluster, self.parts())?;
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
        Ok(OwnStore::Beside(match self.settings.delivery {
            DeliveryMode::AtLeastOnce => Box::new(self.store(pipeline)?),
            DeliveryMode::ExactlyOnce => {
                let (claimant, slot) = (self.claimant(pipeline)?, self.claimed.clone());
                Box::new(ClaimedStore { claimant, slot })
            }
        }))
    }

    fn watched_by(&mut self, monitor: Arc<dyn ClientMonitor>) {
        self.listeners.monitor = Some(monitor);
    }

    fn check(&self) -> BoxFuture<'_, Result<String, Error>> {
        self.check().boxed()
    }
}
