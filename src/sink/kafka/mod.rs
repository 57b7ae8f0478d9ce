//! Apache Kafka: an idempotent producer that waits for all replicas and leaves no hole behind a record that was refused.
//!
//! - `settings` and `rules`: what can be configured, and what can't;
//! - `router`: the topic of a namespace;
//! - `deliver`: records out, delivery reports back;
//! - `lanes`: how much of it librdkafka has at a time;
//! - `touched`: where watermarks go;
//! - `transactional`, `progress` and `claim`: exactly once, by transactions;
//! - `tail`: the last record, where the checkpoint is missing;
//! - `loss`: whether the brokers still have what they had confirmed.

mod claim;
mod deliver;
mod lanes;
mod loss;
mod progress;
mod router;
mod rules;
mod settings;
mod tail;
mod touched;
mod transactional;

use std::collections::HashSet;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use rdkafka::metadata::Metadata;

use crate::checkpoint::kafka::{Acknowledged, KafkaStore, Partition};
use crate::error::{Error, ErrorKind};
use crate::kafka::{Cluster, blocking};
use crate::pipeline::{Checkpoint, OpenSink, Opened, OwnStore, Sink, SinkTail, Stored};

use claim::{Claimant, ClaimedStore, Slot};
use deliver::KafkaSink;
use router::KafkaRouter;
use touched::Touched;
use transactional::TransactionalSink;

pub use settings::{DeliveryMode, Property, Settings};

/// A Kafka sink that can be opened: `[sinks.NAME]` with `type = "kafka"`.
#[derive(Debug)]
pub struct Kafka {
    name: String,
    settings: Settings,
    cluster: Cluster,
    /// The claim that the store has taken, for the sink.
    claimed: Slot,
    /// What brokers have confirmed, over all attempts.
    acknowledged: Acknowledged,
}

impl Kafka {
    /// The sink of that name, for a pipeline with that budget. Fails, with the key, if the settings can't be used; connects to nothing
    /// yet.
    pub fn new(name: &str, settings: Settings, budget_bytes: usize) -> Result<Self, Error> {
        let cluster = settings.cluster(name, budget_bytes)?;
        Ok(Self {
            name: name.to_owned(),
            settings,
            cluster,
            claimed: Slot::default(),
            acknowledged: Acknowledged::default(),
        })
    }

    async fn open(&self, stored: Option<&Stored>) -> Result<Opened, Error> {
        match self.settings.delivery {
            DeliveryMode::AtLeastOnce => {
                let sink = self.sink()?;
                let metadata = self.cluster.reach(sink.producer(), sink.context(), None).await?;
                let touched = Arc::clone(sink.touched());
                self.opened(stored, &metadata, touched, Box::new(sink)).await
            }
            DeliveryMode::ExactlyOnce => {
                let claim = match self.claimed.take() {
                    Some(claim) => claim,
                    None => self.claimant(&self.name).claim().await?.0,
                };
                let sink = &claim.sink;
                let metadata = self.cluster.reach(sink.producer(), sink.context(), None).await?;
                let touched = Arc::clone(sink.touched());
                let sink = TransactionalSink::start(claim, self.settings.transaction_limits());
                self.opened(stored, &metadata, touched, Box::new(sink)).await
            }
        }
    }

    async fn opened(
        &self,
        stored: Option<&Stored>,
        metadata: &Metadata,
        touched: Arc<Touched>,
        sink: Box<dyn Sink>,
    ) -> Result<Opened, Error> {
        let tail = match stored {
            None => self.tail(metadata).await?,
            Some(Stored::Cleared) => SinkTail::Unknown,
            Some(Stored::Checkpoint(checkpoint)) => self.loss(checkpoint, metadata).await?,
        };
        let router = KafkaRouter::new(&self.name, &self.settings, &self.cluster, touched)?;
        Ok(Opened { sink, router: Arc::new(router), tail })
    }

    /// The place to go back to, if the brokers have lost what they had confirmed.
    async fn loss(&self, checkpoint: &Checkpoint, metadata: &Metadata) -> Result<SinkTail, Error> {
        let there: HashSet<Partition> = tail::partitions(metadata, |_| true).into_iter().collect();
        let (cluster, acknowledged) = (self.cluster.clone(), self.acknowledged.clone());
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

    fn sink(&self) -> Result<KafkaSink, Error> {
        KafkaSink::new(&self.cluster, self.settings.batch_bytes(), self.acknowledged.clone())
    }

    fn store(&self, pipeline: &str) -> KafkaStore {
        let topic = self.settings.checkpoint_topic();
        let replication_factor = self.settings.replication_factor;
        KafkaStore::new(self.cluster.clone(), topic, pipeline, replication_factor, self.acknowledged.clone())
    }

    /// Who claims the checkpoint of that pipeline has its transactional id.
    fn claimant(&self, pipeline: &str) -> Claimant {
        let id = format!("mongo-observer.{}.{pipeline}", self.settings.prefix);
        Claimant {
            cluster: self.cluster.with("transactional.id", &id),
            batch_bytes: self.settings.batch_bytes(),
            acknowledged: self.acknowledged.clone(),
            store: self.store(pipeline),
        }
    }

    async fn tail(&self, metadata: &Metadata) -> Result<SinkTail, Error> {
        let partitions = self.partitions(metadata)?;
        let cluster = self.cluster.clone();
        blocking(move || tail::find(&cluster, &partitions)).await
    }

    /// The partitions that hold this connector's records, or could.
    fn partitions(&self, metadata: &Metadata) -> Result<Vec<Partition>, Error> {
        let template = self.settings.template().map_err(|why| Error::new(ErrorKind::Config, why))?;
        let prefix = template.literal_prefix(&self.settings.prefix);
        let own = self.settings.own_topics();
        let ours = |topic: &str| {
            topic.starts_with(&prefix) && !topic.starts_with("__") && own.iter().all(|own| own != topic)
        };
        Ok(tail::partitions(metadata, ours))
    }

    async fn check(&self) -> Result<String, Error> {
        let sink = self.sink()?;
        let metadata = self.cluster.reach(sink.producer(), sink.context(), None).await?;
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
        Ok(format!(
            "Kafka at {}: {brokers} {}, {} topics of `{}`; missing topics {}",
            self.cluster.servers(),
            if brokers == 1 { "broker" } else { "brokers" },
            topics.len(),
            self.settings.prefix,
            if self.settings.create_topics { "are created" } else { "stop the connector" },
        ))
    }
}

impl OpenSink for Kafka {
    fn open<'a>(&'a self, stored: Option<&'a Stored>) -> BoxFuture<'a, Result<Opened, Error>> {
        self.open(stored).boxed()
    }

    fn own_store(&self, pipeline: &str) -> Result<OwnStore, Error> {
        Ok(OwnStore::Beside(match self.settings.delivery {
            DeliveryMode::AtLeastOnce => Box::new(self.store(pipeline)),
            DeliveryMode::ExactlyOnce => {
                let (claimant, slot) = (self.claimant(pipeline), self.claimed.clone());
                Box::new(ClaimedStore { claimant, slot })
            }
        }))
    }

    fn check(&self) -> BoxFuture<'_, Result<String, Error>> {
        self.check().boxed()
    }
}
