//! Sending records, and hearing of each what became of it.

use std::error::Error as StdError;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header as KafkaHeader, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext, PurgeConfig};
use tokio::sync::oneshot;

use super::lanes::{Data, Lane, Lanes, Waiting};
use super::listeners::Listeners;
use super::progress::Split;
use super::stats;
use super::touched::Touched;
use crate::checkpoint::kafka::Acknowledged;
use crate::error::{Error, ErrorKind};
use crate::format::{Addressing, Header, Record, To};
use crate::kafka::{Cluster, Context, Poller, code_of, verdict};
use crate::pipeline::{Delivery, Hold, RecordBatch, Said, Sink};

/// Publishes records. The first failure is the last word: everything sent after it fails too, so that no record is stored behind a hole.
pub(super) struct KafkaSink {
    producer: Poller<Reports>,
    lanes: Lanes,
    touched: Arc<Touched>,
    manifests: Said,
}

/// What a sink needs beside its cluster.
#[derive(Clone)]
pub(super) struct Parts {
    /// How large a batch is.
    pub(super) batch_bytes: usize,
    pub(super) acknowledged: Acknowledged,
    pub(super) listeners: Listeners,
}

impl KafkaSink {
    /// A sink with a producer of its own. Connects in the background.
    pub(super) fn new(cluster: &Cluster, parts: Parts) -> Result<Self, Error> {
        let Parts { batch_bytes, acknowledged, listeners } = parts;
        let reports = Reports { context: cluster.context(), listeners, ..Reports::default() };
        let producer = cluster.producer(reports)?;
        // Set once, here: nobody else has it yet.
        let _ = producer.client().context().producer.set(Arc::downgrade(&producer));
        Ok(Self {
            producer,
            lanes: Lanes::new(batch_bytes, acknowledged),
            touched: Arc::default(),
            manifests: Said::default(),
        })
    }

    /// Notes where records were sent.
    pub(super) fn touched(&self) -> &Arc<Touched> {
        &self.touched
    }

    /// The producer, for looking at the cluster.
    pub(super) fn producer(&self) -> &Poller<Reports> {
        &self.producer
    }

    /// Whether librdkafka has given this producer up.
    pub(super) fn is_beyond_repair(&self) -> bool {
        self.producer.client().fatal_error().is_some()
    }

    /// What the connection has to say of itself.
    pub(super) fn context(&self) -> &Context {
        &self.reports().context
    }

    fn reports(&self) -> &Reports {
        self.producer.client().context()
    }

    fn produce(&mut self, data: &Arc<Data>, ack: &Arc<Ack>) -> Result<(), Failure> {
        self.reports().still_good()?;
        let mut first_in = Vec::new();
        for (index, record) in data.records.iter().enumerate() {
            for partition in partitions(record)? {
                let reports = self.producer.client().context();
                let lane = self.lanes.lane(&record.route, partition, |lane| reports.opened(lane));
                if lane.push(Waiting { data: Arc::clone(data), index, ack: Arc::clone(ack) }) {
                    first_in.push(lane);
                }
            }
        }
        // Not before the whole batch is there: what comes while a request is under way waits for its answer.
        for lane in first_in {
            lane.fill(|waiting| hand_over(&self.producer, &lane, waiting))?;
        }
        // A failure in the meantime may have come too early to find what waits now.
        self.reports().still_good()
    }
}

impl KafkaSink {
    /// Leaves out the manifests that are no news, and notes where the records go. Comes before [`Self::submit`].
    pub(super) fn prepare(&mut self, bytes: &[u8], records: &mut Vec<Record>) {
        self.manifests.keep_news(bytes, records);
        self.touched.note(records);
    }

    /// Sends records; the delivery says that all of them are stored. `hold` is given back with the last report.
    pub(super) fn submit(&mut self, data: Data, hold: Option<Hold>) -> Delivery {
        let (ack, delivery) = Ack::new(message_count(&data.records), hold);
        let data = Arc::new(data);
        match self.produce(&data, &ack) {
            Err(failure) => ack.fail(&failure),
            Ok(()) if data.records.is_empty() => ack.resolve(Ok(())),
            Ok(()) => {}
        }
        delivery
    }
}

impl Sink for KafkaSink {
    fn send(&mut self, batch: RecordBatch) -> Delivery {
        let RecordBatch { bytes, mut records, hold, .. } = batch;
        self.prepare(&bytes, &mut records);
        self.submit(Data { bytes, records, split: None }, hold)
    }
}

/// Gives a record to librdkafka, which copies it and never blocks.
fn hand_over(producer: &BaseProducer<Reports>, lane: &Arc<Lane>, waiting: &Waiting) -> Result<(), Failure> {
    let reports = producer.client().context();
    reports.still_good()?;
    let (data, record) = (&waiting.data, waiting.record());
    let position = KafkaHeader { key: Header::NAME, value: Some(data.slice(&record.header)) };
    let mut headers = OwnedHeaders::new_with_capacity(1).insert(position);
    if let Some(part) = data.split.and_then(|split| split.part_of(record.at)) {
        headers = headers.insert(KafkaHeader { key: Split::HEADER, value: Some(&part.to_string()) });
    }
    let message = BaseRecord {
        topic: &lane.route.name,
        partition: Some(lane.partition),
        payload: record.value.as_ref().map(|value| data.slice(value)),
        key: Some(data.slice(&record.key)),
        timestamp: None,
        headers: Some(headers),
        delivery_opaque: Box::new(Sent { ack: Arc::clone(&waiting.ack), lane: Arc::clone(lane) }),
    };
    producer
        .send(message)
        .map_err(|(error, _)| reports.failed(&error, &lane.route.name, Some(&record.at.to_string())))
}

impl Drop for KafkaSink {
    /// What waits is not sent by a producer that is being closed.
    fn drop(&mut self) {
        self.reports().fail_waiting(&Failure::new(ErrorKind::SinkUnavailable, "the sink was closed"));
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

/// A message that librdkafka has.
#[derive(Debug)]
pub(super) struct Sent {
    ack: Arc<Ack>,
    lane: Arc<Lane>,
}

/// What a batch waits for.
pub(super) struct Ack {
    remaining: AtomicU32,
    done: Mutex<Option<oneshot::Sender<Result<(), Error>>>>,
    /// Given back with the last report: each message that waits or is under way keeps this object.
    _hold: Option<Hold>,
}

impl fmt::Debug for Ack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ack").field("remaining", &self.remaining).finish_non_exhaustive()
    }
}

impl Ack {
    /// For that many messages; and what is heard of them.
    pub(super) fn new(messages: u32, hold: Option<Hold>) -> (Arc<Self>, Delivery) {
        let (done, delivery) = oneshot::channel();
        let ack = Self { remaining: AtomicU32::new(messages), done: Mutex::new(Some(done)), _hold: hold };
        (Arc::new(ack), delivery)
    }

    fn stored(&self) {
        // AcqRel: whoever counts the last one has seen what the others did.
        if self.remaining.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.resolve(Ok(()));
        }
    }

    fn fail(&self, failure: &Failure) {
        self.resolve(Err(failure.error()));
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
    pub(super) kind: ErrorKind,
    pub(super) what: String,
}

impl Failure {
    pub(super) fn new(kind: ErrorKind, what: &str) -> Self {
        Self { kind, what: what.to_owned() }
    }

    pub(super) fn error(&self) -> Error {
        Error::new(self.kind, self.what.clone())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(error.kind(), error.what())
    }
}

/// Hears the delivery reports, on the producer's own thread.
#[derive(Default)]
pub(super) struct Reports {
    context: Context,
    producer: OnceLock<Weak<BaseProducer<Reports>>>,
    /// The first failure, which all others follow from.
    failure: OnceLock<Failure>,
    /// Where records may wait that have to hear of it.
    lanes: Mutex<Vec<Arc<Lane>>>,
    listeners: Listeners,
}

impl Reports {
    fn opened(&self, lane: &Arc<Lane>) {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(lane));
    }

    fn still_good(&self) -> Result<(), Failure> {
        self.failure.get().map_or(Ok(()), |failure| Err(failure.clone()))
    }

    /// A record of a lane is stored: the next ones may follow.
    fn go_on(&self, lane: &Arc<Lane>) {
        let next = |waiting: &Waiting| {
            let producer = self.producer.get().and_then(Weak::upgrade);
            let producer =
                producer.ok_or_else(|| Failure::new(ErrorKind::SinkUnavailable, "the sink was closed"))?;
            hand_over(&producer, lane, waiting)
        };
        if let Err(failure) = lane.reported(next) {
            self.fail_waiting(&failure);
        }
    }

    /// What waits hears that nothing is sent any more.
    fn fail_waiting(&self, failure: &Failure) {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for waiting in lanes.iter().flat_map(|lane| lane.clear()) {
            waiting.ack.fail(failure);
        }
    }

    /// The reason for a failure: this one, if it is the first.
    fn failed(&self, error: &KafkaError, topic: &str, position: Option<&str>) -> Failure {
        self.failure.get_or_init(|| self.explain(error, topic, position)).clone()
    }

    /// A record is not where it should be: the reason, if it is the first, is the end of all.
    fn end(&self, sent: &Sent, why: impl FnOnce(&Self) -> Failure) {
        let first = self.failure.get().is_none();
        let failure = self.failure.get_or_init(|| why(self)).clone();
        sent.ack.fail(&failure);
        if first {
            self.fail_waiting(&failure);
            self.give_up();
        }
    }

    fn explain(&self, error: &KafkaError, topic: &str, position: Option<&str>) -> Failure {
        use RDKafkaErrorCode::{
            Fatal, GaplessGuarantee, MessageBatchTooLarge, MessageSizeTooLarge, PurgeInflight, PurgeQueue,
        };
        let code = code_of(error).unwrap_or(RDKafkaErrorCode::Unknown);
        // These follow from a fatal error, whose cause the client knows.
        if let (PurgeQueue | PurgeInflight | Fatal | GaplessGuarantee, Some((code, reason))) =
            (code, self.fatal())
        {
            let (kind, next) = verdict(code);
            return Failure { kind, what: format!("Kafka gave up sending: {reason}; {next}") };
        }
        let (mut kind, mut next) = verdict(code);
        if let (MessageSizeTooLarge | MessageBatchTooLarge, Some(position)) = (code, position) {
            kind = self.listeners.refusals.note(position);
            if kind == ErrorKind::SinkUnavailable {
                next = "the topic's limit is lower than it was: it is asked for again";
            }
        }
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
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.context.log(level, facility, line);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        if let (Some(monitor), Some(statistics)) = (&self.listeners.monitor, stats::read(statistics)) {
            monitor.client(&statistics);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.context.error(error, reason);
        if self.fatal().is_some() {
            self.give_up();
        }
    }

    fn generate_oauth_token(&self, settings: Option<&str>) -> Result<OAuthToken, Box<dyn StdError>> {
        self.context.generate_oauth_token(settings)
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Sent>;

    fn delivery(&self, report: &DeliveryResult<'_>, sent: Box<Sent>) {
        match report {
            Ok(message) if sent.lane.end.confirmed(message.offset()) => {
                sent.ack.stored();
                self.go_on(&sent.lane);
            }
            Ok(message) => {
                self.end(&sent, |_| shrunk(message.topic(), message.partition(), message.offset()));
            }
            Err((error, message)) => {
                let position = position(message.headers());
                self.end(&sent, |reports| reports.explain(error, message.topic(), position.as_deref()));
            }
        }
    }
}

/// A record stands where another one was confirmed.
fn shrunk(topic: &str, partition: i32, offset: i64) -> Failure {
    let what = format!(
        "partition {partition} of the topic {topic} has lost records that were confirmed: offset {offset} was given twice; \
         they are sent again"
    );
    Failure { kind: ErrorKind::SinkUnavailable, what }
}

/// The position that a record's header says, as text.
fn position<H: Headers>(headers: Option<&H>) -> Option<String> {
    let header = headers?.iter().find(|header| header.key == Header::NAME)?;
    let header: Header = str::from_utf8(header.value?).ok()?.parse().ok()?;
    Some(header.at.to_string())
}
