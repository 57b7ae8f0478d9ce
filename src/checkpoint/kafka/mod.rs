//! Checkpoints in a compacted Kafka topic of one partition.
//!
//! A claimant first writes a claim, `NAME/claim`, whose offset is its epoch. It keeps its checkpoint under a key of its own, `NAME/EPOCH`,
//! so that compaction never replaces one by what an earlier claimant writes late. The checkpoint of the greatest epoch counts; what
//! earlier claimants write after it counts for nothing. A claimant looks for newer claims before each save, and removes the records of
//! those before it with its first one.

mod acknowledged;
mod log;

use std::error::Error as StdError;
use std::fmt;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, ProducerContext};
use tokio::sync::oneshot;

use crate::error::{Error, ErrorKind};
use crate::kafka::{
    ANSWER_TIMEOUT, Background, Cluster, Context, NewTopicSpec, Poller, Topics, blocking, kafka_error,
    partition_count,
};
use crate::pipeline::{CheckpointStore, Stored};
pub(crate) use acknowledged::{Acknowledged, End, Partition};
pub(crate) use log::Kept;
use log::{Entry, Log, Until};

/// Claims and checkpoints have one order, so there is one partition.
const PARTITION: i32 = 0;

/// The settings of the topic. The segment that is being written to is never compacted, and all of it is read at each start: it should
/// not be large.
const TOPIC: &[(&str, &str)] = &[("cleanup.policy", "compact"), ("segment.bytes", "8388608")];

/// How long the broker keeps an idle request of the claimant that looks for newer claims.
const FOLLOW_WAIT: Duration = Duration::from_millis(500);

/// The end of the topic is told when a fetch comes back empty: the broker need not wait for more.
const PEEK_WAIT: Duration = Duration::from_millis(10);

/// A record of the topic; without a value it removes what was stored under that key.
pub(crate) type KeyValue = (String, Option<Vec<u8>>);

/// The checkpoints of one pipeline in a topic that many may share. The topic is made when it is first claimed.
pub struct KafkaStore {
    cluster: Cluster,
    topic: String,
    pipeline: String,
    replication_factor: i32,
    /// What the sink has heard of its records.
    acknowledged: Acknowledged,
    claim: Option<Claim>,
}

struct Claim {
    epoch: i64,
    producer: Poller<Acks>,
    follower: Background<BaseConsumer<Context>>,
    /// What the follower has seen.
    log: Log,
    /// The epochs whose checkpoints this claim replaces.
    replaced: Vec<i64>,
}

impl KafkaStore {
    /// The store of a pipeline. A replication factor below 1 is the brokers' default. Connects to nothing yet.
    pub(crate) fn new(
        cluster: Cluster,
        topic: String,
        pipeline: &str,
        replication_factor: i32,
        acknowledged: Acknowledged,
    ) -> Self {
        let (cluster, pipeline) = (cluster.quiet(), pipeline.to_owned());
        Self { cluster, topic, pipeline, replication_factor, acknowledged, claim: None }
    }

    /// A store of the same checkpoint, which has claimed nothing.
    pub(crate) fn unclaimed(&self) -> Self {
        let acknowledged = self.acknowledged.clone();
        Self::new(
            self.cluster.clone(),
            self.topic.clone(),
            &self.pipeline,
            self.replication_factor,
            acknowledged,
        )
    }

    /// Claims the store, so that earlier claimants hear of it, and reads nothing yet.
    pub(crate) async fn announce(&mut self) -> Result<(), Error> {
        self.claim().await.map(|_| ()).map_err(of_store)
    }

    /// A producer, and the offset of a new claim.
    async fn claim(&self) -> Result<(Poller<Acks>, i64), Error> {
        let (producer, partitions) = self.connect().await?;
        self.prepare_topic(partitions).await?;
        let written = self.write(&producer, &log::claim_key(&self.pipeline), Some(&log::claim_value()))?;
        let epoch = tokio::time::timeout(ANSWER_TIMEOUT, acknowledged(written)).await.map_err(|_| {
            Error::new(ErrorKind::StoreUnavailable, format!("the topic {} takes no record", self.topic))
        })??;
        Ok((producer, epoch))
    }

    async fn take(&mut self) -> Result<Option<Kept>, Error> {
        self.claim = None;
        let (producer, epoch) = self.claim().await?;
        let (cluster, topic, log) = (self.cluster.clone(), self.topic.clone(), Log::new(&self.pipeline));
        let (follower, log) = blocking(move || {
            let follower = cluster.consumer("earliest", FOLLOW_WAIT)?;
            let log = log.read(&follower, &topic, Until::Offset(epoch))?;
            Ok((follower, log))
        })
        .await?;
        let newest = log.newest();
        let kept = newest.map(|entry| self.decode(entry)).transpose();
        // A checkpoint that can't be read is still replaced by the next save.
        let replaced = log.epochs();
        self.claim = Some(Claim { epoch, producer, follower, log, replaced });
        if let Ok(Some(kept)) = &kept {
            self.acknowledged.found(kept.ends.clone());
        }
        kept
    }

    async fn save(&mut self, stored: &Stored) -> Result<(), Error> {
        self.still_held()?;
        let mut records = self.records(stored, 0)?.into_iter();
        let producer = &self.held()?.producer;
        let (key, value) = records.next().expect("the checkpoint comes first");
        acknowledged(self.write(producer, &key, value.as_deref())?).await?;
        for (key, value) in records {
            // Only tidies up: nobody waits for it.
            self.write(producer, &key, value.as_deref())?;
        }
        Ok(())
    }

    fn held(&self) -> Result<&Claim, Error> {
        self.claim.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Internal, "a checkpoint was saved before the store was claimed")
        })
    }

    /// Fails if a newer claim has come. Does not wait.
    pub(crate) fn still_held(&mut self) -> Result<(), Error> {
        self.held()?;
        let claim = self.claim.as_mut().expect("looked at above");
        claim.log.follow(&claim.follower);
        match claim.log.claimed() {
            Some(newer) if newer > claim.epoch => Err(Error::new(
                ErrorKind::Fenced,
                format!(
                    "the checkpoint of `{}` was claimed by another instance (offset {newer} of the topic {})",
                    self.pipeline, self.topic
                ),
            )),
            _ => Ok(()),
        }
    }

    /// The records that store it under this claim, by key: itself, and what it replaces. `parts` is as in [`Kept::parts`].
    pub(crate) fn records(&mut self, stored: &Stored, parts: u32) -> Result<Vec<KeyValue>, Error> {
        let epoch = self.held()?.epoch;
        let ends = stored.checkpoint().map(|checkpoint| self.acknowledged.ends(checkpoint, Instant::now()));
        let kept = Kept { stored: stored.clone(), parts, ends: ends.unwrap_or_default() };
        let replaced = self.claim.as_mut().map(|claim| std::mem::take(&mut claim.replaced));
        let mut records = vec![(log::checkpoint_key(&self.pipeline, epoch), Some(log::encode(epoch, &kept)))];
        let remove = |earlier| (log::checkpoint_key(&self.pipeline, earlier), None);
        records.extend(replaced.into_iter().flatten().map(remove));
        Ok(records)
    }

    /// Claims the store and reads all of what it holds.
    pub(crate) async fn take_all(&mut self) -> Result<Option<Kept>, Error> {
        self.take().await.map_err(of_store)
    }

    /// The topic.
    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    async fn peek(&self) -> Result<Option<Stored>, Error> {
        if self.connect().await?.1.is_none() {
            return Ok(None);
        }
        let (cluster, topic, log) = (self.cluster.clone(), self.topic.clone(), Log::new(&self.pipeline));
        let log = blocking(move || log.read(&*cluster.consumer("earliest", PEEK_WAIT)?, &topic, Until::End))
            .await?;
        Ok(log.newest().map(|entry| self.decode(entry)).transpose()?.map(|kept| kept.stored))
    }

    /// A producer, and the number of partitions of the topic if it is there.
    async fn connect(&self) -> Result<(Poller<Acks>, Option<u32>), Error> {
        let context = self.cluster.context();
        let producer = self.cluster.producer(Acks { context: context.clone() })?;
        let metadata = self.cluster.reach(&producer, &context, Some(&self.topic)).await?;
        Ok((producer, partition_count(&metadata, &self.topic)?))
    }

    /// Makes the topic, or makes sure that it keeps what is written to it.
    async fn prepare_topic(&self, partitions: Option<u32>) -> Result<(), Error> {
        let topics = Topics::new(&self.cluster)?;
        let refuse = |why: String| Error::new(ErrorKind::Refused, format!("the topic {} {why}", self.topic));
        match partitions {
            None => {
                let spec = NewTopicSpec {
                    name: &self.topic,
                    partitions: 1,
                    replication_factor: self.replication_factor,
                    config: TOPIC,
                };
                topics.create(spec).await?;
            }
            Some(1) => {}
            Some(count) => {
                return Err(refuse(format!("has {count} partitions: checkpoints need a topic with one")));
            }
        }
        match topics.setting(&self.topic, "cleanup.policy").await? {
            Some(policy) if policy != "compact" => Err(refuse(format!(
                "has cleanup.policy={policy}: checkpoints would be deleted; set it to compact"
            ))),
            _ => Ok(()),
        }
    }

    fn decode(&self, entry: &Entry) -> Result<Kept, Error> {
        log::decode(&entry.value).map_err(|why| {
            Error::new(
                ErrorKind::CheckpointUnreadable,
                format!("the checkpoint at offset {} of the topic {} {why}", entry.offset, self.topic),
            )
        })
    }

    fn write(&self, producer: &Poller<Acks>, key: &str, value: Option<&[u8]>) -> Result<Written, Error> {
        let (ack, written) = oneshot::channel();
        let record = BaseRecord {
            topic: &self.topic,
            partition: Some(PARTITION),
            payload: value,
            key: Some(key),
            timestamp: None,
            headers: None,
            delivery_opaque: Box::new(ack),
        };
        match producer.send(record) {
            Ok(()) => Ok(written),
            Err((error, _)) => {
                Err(kafka_error(format_args!("can't write to the topic {}", self.topic), &error))
            }
        }
    }
}

impl CheckpointStore for KafkaStore {
    fn take(&mut self) -> BoxFuture<'_, Result<Option<Stored>, Error>> {
        async { Ok(self.take_all().await?.map(|kept| kept.stored)) }.boxed()
    }

    fn save<'a>(&'a mut self, stored: &'a Stored) -> BoxFuture<'a, Result<(), Error>> {
        async { self.save(stored).await.map_err(of_store) }.boxed()
    }

    fn peek(&mut self) -> BoxFuture<'_, Result<Option<Stored>, Error>> {
        async { Self::peek(self).await.map_err(of_store) }.boxed()
    }
}

impl fmt::Debug for KafkaStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaStore")
            .field("topic", &self.topic)
            .field("pipeline", &self.pipeline)
            .field("epoch", &self.claim.as_ref().map(|claim| claim.epoch))
            .finish_non_exhaustive()
    }
}

/// The same trouble, said of the store.
fn of_store(error: Error) -> Error {
    match error.kind() {
        ErrorKind::SinkUnavailable => {
            Error::new(ErrorKind::StoreUnavailable, error.what()).within("the checkpoint store")
        }
        _ => error,
    }
}

/// Resolves to the offset of a record when it is durable.
type Written = oneshot::Receiver<Result<i64, Error>>;

async fn acknowledged(written: Written) -> Result<i64, Error> {
    let lost = |_| Error::new(ErrorKind::StoreUnavailable, "the producer was closed");
    let offset = written.await.map_err(lost)??;
    // After a retry of a record that was stored already the broker does not say where.
    if offset < 0 {
        return Err(Error::new(
            ErrorKind::StoreUnavailable,
            "the broker did not say where it stored a record",
        ));
    }
    Ok(offset)
}

/// Hears the delivery reports, on the producer's own thread.
struct Acks {
    context: Context,
}

impl ClientContext for Acks {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.context.log(level, facility, line);
    }

    fn stats_raw(&self, _statistics: &[u8]) {}

    fn error(&self, error: KafkaError, reason: &str) {
        self.context.error(error, reason);
    }

    fn generate_oauth_token(&self, settings: Option<&str>) -> Result<OAuthToken, Box<dyn StdError>> {
        self.context.generate_oauth_token(settings)
    }
}

impl ProducerContext for Acks {
    type DeliveryOpaque = Box<oneshot::Sender<Result<i64, Error>>>;

    fn delivery(&self, report: &DeliveryResult<'_>, ack: Self::DeliveryOpaque) {
        // Nobody waits for some of them.
        let _ = ack.send(match report {
            Ok(message) => Ok(message.offset()),
            Err((error, message)) => Err(kafka_error(
                format_args!("a record of the topic {} was not stored", message.topic()),
                error,
            )),
        });
    }
}
