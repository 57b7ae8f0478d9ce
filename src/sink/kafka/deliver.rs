//! Sending records, and hearing of each what became of it.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header as KafkaHeader, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext, PurgeConfig};
use tokio::sync::oneshot;

use super::touched::Touched;
use crate::error::{Error, ErrorKind};
use crate::format::{Addressing, Header, Record, To};
use crate::kafka::{Cluster, Context, Poller, code_of, verdict};
use crate::pipeline::{Delivery, Hold, RecordBatch, Sink};

/// Publishes records. The first failure is the last word: everything sent after it fails too, so that no record is stored behind a hole.
pub(super) struct KafkaSink {
    producer: Poller<Reports>,
    touched: Arc<Touched>,
}

impl KafkaSink {
    /// A sink with a producer of its own. Connects in the background.
    pub(super) fn new(cluster: &Cluster, touched: Arc<Touched>) -> Result<Self, Error> {
        let producer = cluster.producer(Reports::default())?;
        // Set once, here: nobody else has it yet.
        let _ = producer.client().context().producer.set(Arc::downgrade(&producer));
        Ok(Self { producer, touched })
    }

    /// The producer, for looking at the cluster.
    pub(super) fn producer(&self) -> &Poller<Reports> {
        &self.producer
    }

    /// What the connection has to say of itself.
    pub(super) fn context(&self) -> &Context {
        &self.reports().context
    }

    fn reports(&self) -> &Reports {
        self.producer.client().context()
    }

    fn produce(&self, bytes: &[u8], records: &[Record], ack: &Arc<Ack>) -> Result<(), Failure> {
        if let Some(failure) = self.reports().failure.get() {
            return Err(failure.clone());
        }
        for record in records {
            for partition in partitions(record)? {
                self.produce_to(partition, bytes, record, ack)?;
            }
        }
        Ok(())
    }

    fn produce_to(
        &self,
        partition: i32,
        bytes: &[u8],
        record: &Record,
        ack: &Arc<Ack>,
    ) -> Result<(), Failure> {
        let slice = |range: &std::ops::Range<u32>| &bytes[range.start as usize..range.end as usize];
        let position = KafkaHeader { key: Header::NAME, value: Some(slice(&record.header)) };
        let message = BaseRecord {
            topic: &record.route.name,
            partition: Some(partition),
            payload: record.value.as_ref().map(slice),
            key: Some(slice(&record.key)),
            timestamp: None,
            headers: Some(OwnedHeaders::new_with_capacity(1).insert(position)),
            delivery_opaque: Arc::clone(ack),
        };
        self.producer.send(message).map_err(|(error, _)| {
            self.reports().failed(&error, &record.route.name, Some(&record.at.to_string()))
        })
    }
}

impl Sink for KafkaSink {
    fn send(&mut self, batch: RecordBatch) -> Delivery {
        let (done, delivery) = oneshot::channel();
        let RecordBatch { bytes, records, hold, .. } = batch;
        let ack = Arc::new(Ack::new(message_count(&records), hold, done));
        match self.produce(&bytes, &records, &ack) {
            Err(failure) => ack.fail(&failure),
            Ok(()) if records.is_empty() => ack.resolve(Ok(())),
            Ok(()) => self.touched.note(&records),
        }
        delivery
    }
}

impl fmt::Debug for KafkaSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSink").finish_non_exhaustive()
    }
}

/// How many messages these records are: one each, or one for each partition.
fn message_count(records: &[Record]) -> u32 {
    let messages = |record: &Record| match (&record.to, &record.route.addressing) {
        (To::Every, Addressing::Partitions(count)) => *count,
        _ => 1,
    };
    records.iter().map(messages).sum()
}

/// The partitions that a record goes to.
fn partitions(record: &Record) -> Result<std::ops::Range<i32>, Failure> {
    match (&record.to, &record.route.addressing) {
        (To::Partition(partition), _) => Ok(*partition..*partition + 1),
        (To::Every, Addressing::Partitions(count)) => Ok(0..i32::try_from(*count).unwrap_or(i32::MAX)),
        _ => Err(Failure {
            kind: ErrorKind::Internal,
            what: format!("a record for {} has no partition", record.route.name),
        }),
    }
}

/// What a batch waits for.
pub(super) struct Ack {
    remaining: AtomicU32,
    done: Mutex<Option<oneshot::Sender<Result<(), Error>>>>,
    /// Given back with the last report: each message that is under way keeps this object.
    _hold: Option<Hold>,
}

impl Ack {
    fn new(messages: u32, hold: Option<Hold>, done: oneshot::Sender<Result<(), Error>>) -> Self {
        Self { remaining: AtomicU32::new(messages), done: Mutex::new(Some(done)), _hold: hold }
    }

    fn stored(&self) {
        // AcqRel: whoever counts the last one has seen what the others did.
        if self.remaining.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.resolve(Ok(()));
        }
    }

    fn fail(&self, failure: &Failure) {
        self.resolve(Err(Error::new(failure.kind, failure.what.clone())));
    }

    /// The first result counts. A receiver that is gone has lost interest.
    fn resolve(&self, result: Result<(), Error>) {
        if let Some(done) = self.done.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = done.send(result);
        }
    }
}

/// Why nothing is sent any more.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    kind: ErrorKind,
    what: String,
}

/// Hears the delivery reports, on the producer's own thread.
#[derive(Default)]
pub(super) struct Reports {
    context: Context,
    producer: OnceLock<Weak<BaseProducer<Reports>>>,
    /// The first failure, which all others follow from.
    failure: OnceLock<Failure>,
}

impl Reports {
    /// The reason for a failure: this one, if it is the first.
    fn failed(&self, error: &KafkaError, topic: &str, position: Option<&str>) -> Failure {
        self.failure.get_or_init(|| self.explain(error, topic, position)).clone()
    }

    fn explain(&self, error: &KafkaError, topic: &str, position: Option<&str>) -> Failure {
        use RDKafkaErrorCode::{Fatal, GaplessGuarantee, PurgeInflight, PurgeQueue};
        let code = code_of(error).unwrap_or(RDKafkaErrorCode::Unknown);
        // These follow from a fatal error, whose cause the client knows.
        if let (PurgeQueue | PurgeInflight | Fatal | GaplessGuarantee, Some((code, reason))) =
            (code, self.fatal())
        {
            let (kind, next) = verdict(code);
            return Failure { kind, what: format!("Kafka gave up sending: {reason}; {next}") };
        }
        let (kind, next) = verdict(code);
        let verb = if kind == ErrorKind::SinkUnavailable { "did not store" } else { "refused" };
        let position = position.unwrap_or("unknown");
        let what =
            format!("Kafka {verb} the record of position {position} for the topic {topic}: {code}; {next}");
        Failure { kind, what }
    }

    fn fatal(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.producer.get()?.upgrade()?.client().fatal_error()
    }

    /// Lets everything fail that is still under way: what librdkafka would send again after a fatal error it neither sends nor reports.
    fn give_up(&self) {
        if let Some(producer) = self.producer.get().and_then(Weak::upgrade) {
            producer.purge(PurgeConfig::default().queue().inflight());
        }
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.context.log(level, facility, line);
    }

    fn stats_raw(&self, _statistics: &[u8]) {}

    fn error(&self, error: KafkaError, reason: &str) {
        self.context.error(error, reason);
        if self.fatal().is_some() {
            self.give_up();
        }
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Arc<Ack>;

    fn delivery(&self, report: &DeliveryResult<'_>, ack: Arc<Ack>) {
        match report {
            Ok(_) => ack.stored(),
            Err((error, message)) => {
                let first = self.failure.get().is_none();
                let position = position(message.headers());
                ack.fail(&self.failed(error, message.topic(), position.as_deref()));
                if first {
                    self.give_up();
                }
            }
        }
    }
}

/// The position that a record's header says, as text.
fn position<H: Headers>(headers: Option<&H>) -> Option<String> {
    let header = headers?.iter().find(|header| header.key == Header::NAME)?;
    let header: Header = str::from_utf8(header.value?).ok()?.parse().ok()?;
    Some(header.at.to_string())
}
