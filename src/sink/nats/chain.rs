//! The chain: every record names the sequence number that must stand before it.
//!
//! All records are under way at once, yet none can be stored behind a gap, twice or out of order: the server refuses a record whose
//! predecessor is not the stream's last message, and with it all that follow. That holds across broken connections and against a
//! second writer; `behind` has the one exception. Whatever is odd ends the chain: the oldest delivery says why, the sink is opened again and reads where it stands.
//! Records of a chain that was given up may still come through: they are what the next one would write in their place.

use std::collections::{BTreeSet, VecDeque};
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::stream::Stream;
use async_nats::jetstream::{self, ErrorCode};
use async_nats::{HeaderMap, HeaderName, HeaderValue, Message, Subject, Subscriber, header};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::ack::Answer;
use super::behind;
use super::connection::Connection;
use super::errors;
use super::manifests::Manifests;
use super::memory::Memory;
use super::stream::{BEFORE, UNKNOWN};
use super::window::{Named, Window};
use crate::error::{Error, ErrorKind};
use crate::format::{Header, Record, To};
use crate::pipeline::{BATCHES_MAX, Checkpoint, Delivery, Hold, RecordBatch, Sink};

/// As many batches as the budget lets through, so there is always room.
const QUEUE_MAX: usize = BATCHES_MAX + 1;

/// How many records are published before acknowledgements are looked at again.
const BURST: usize = 64;

/// The sink: hands batches to the task that owns the connection. Dropping it gives the connection up.
#[derive(Debug)]
pub(super) struct Chain {
    queue: mpsc::Sender<Outgoing>,
    manifests: Arc<Manifests>,
    _task: AbortOnDropHandle<()>,
}

/// What a chain needs to know.
pub(super) struct Start {
    pub(super) connection: Connection,
    /// The stream's name.
    pub(super) stream: String,
    /// The stream itself, for reading; manifests are read from it as long as the chain lives.
    pub(super) reader: Arc<Stream>,
    /// The sequence number of the stream's last message.
    pub(super) sequence: u64,
    /// What the header of the last message says before the first one of this chain, if it is known.
    pub(super) before: Option<String>,
    /// For how long nothing may be acknowledged while something is under way.
    pub(super) ack_timeout: Duration,
    /// How deletes are marked, if they are.
    pub(super) markers: Option<Markers>,
    pub(super) memory: Arc<Memory>,
    pub(super) manifests: Arc<Manifests>,
}

impl Chain {
    /// Starts the task. Fails if the connection breaks meanwhile.
    pub(super) async fn start(start: Start) -> Result<Self, Error> {
        let inbox = Subject::from(start.connection.client.new_inbox());
        let acks = start.connection.client.subscribe(inbox.clone()).await.map_err(|error| {
            Error::caused(ErrorKind::SinkUnavailable, "can't subscribe to acknowledgements", error)
        })?;
        start.memory.begin();
        let (queue, batches) = mpsc::channel(QUEUE_MAX);
        let manifests = Arc::clone(&start.manifests);
        let publisher = Publisher {
            acks,
            inbox,
            batches,
            publishing: None,
            in_flight: VecDeque::new(),
            window: Window::new(start.sequence),
            deadline: Instant::now(),
            position: HeaderName::from_static(Header::NAME),
            before: start.before.clone().map_or(Bytes::from_static(UNKNOWN.as_bytes()), Bytes::from),
            conflict: false,
            start,
        };
        Ok(Self { queue, manifests, _task: AbortOnDropHandle::new(tokio::spawn(publisher.run())) })
    }
}

impl Sink for Chain {
    fn send(&mut self, mut batch: RecordBatch) -> Delivery {
        self.manifests.keep_news(&batch.bytes, &mut batch.records);
        let (delivered, delivery) = oneshot::channel();
        if let Err(error) = self.queue.try_send(Outgoing { batch, delivered }) {
            let what = format!("a batch for NATS was not taken: {error}");
            // The receiver is below.
            let _ = error.into_inner().delivered.send(Err(Error::new(ErrorKind::Internal, what)));
        }
        delivery
    }
}

/// What the message of a delete has in addition, where a stream is a table: readers of NATS's key-value buckets know it, too.
#[derive(Debug)]
pub(super) struct Markers {
    lifetime: Option<HeaderValue>,
}

impl Markers {
    /// The server forgets markers after so many seconds; after 0 never.
    pub(super) fn new(seconds: u64) -> Self {
        let lifetime = (seconds > 0).then(|| HeaderValue::from(format!("{seconds}s")));
        Self { lifetime }
    }

    fn mark(&self, headers: &mut HeaderMap) {
        headers.insert(HeaderName::from_static("KV-Operation"), HeaderValue::from("DEL"));
        if let Some(lifetime) = &self.lifetime {
            headers.insert(header::NATS_MESSAGE_TTL, lifetime.clone());
        }
    }
}

/// A batch, and whom to tell.
struct Outgoing {
    batch: RecordBatch,
    delivered: Delivered,
}

type Delivered = oneshot::Sender<Result<(), Error>>;

/// A batch of which some records are published.
struct Publishing {
    outgoing: Outgoing,
    next: usize,
}

/// A batch of which all records are published.
struct InFlight {
    /// The sequence number of its last record, or of the one before it if it has none.
    last: u64,
    /// The header of its last record.
    header: Option<Bytes>,
    delivered: Delivered,
    /// Given back with the acknowledgement.
    _hold: Option<Hold>,
}

/// The task that owns the connection.
struct Publisher {
    start: Start,
    acks: Subscriber,
    inbox: Subject,
    batches: mpsc::Receiver<Outgoing>,
    publishing: Option<Publishing>,
    in_flight: VecDeque<InFlight>,
    window: Window,
    /// When the next acknowledgement must have come, if any is due.
    deadline: Instant,
    position: HeaderName,
    /// The position's header of the last record before this batch.
    before: Bytes,
    /// Whether a record was refused because another message has its number.
    conflict: bool,
}

impl Publisher {
    async fn run(mut self) {
        if let Err(mut error) = self.publish_all().await {
            tracing::debug!(%error, "the chain ends");
            if self.conflict {
                error = self.end_with_conflict().await.err().unwrap_or(error);
            }
            self.fail(error).await;
        }
    }

    /// Runs until the sink is dropped, or something is odd.
    async fn publish_all(&mut self) -> Result<(), Error> {
        loop {
            // The window is the only reason to wait: the client's queue has room for all of it.
            let may_publish = self.window.has_room();
            tokio::select! {
                biased;
                ack = self.acks.next() => self.acknowledged(ack)?,
                error = self.start.connection.trouble() => return Err(error),
                () = sleep_until(self.deadline), if !self.window.is_empty() => return Err(self.silence()),
                () = ready(()), if may_publish && self.publishing.is_some() => self.publish_some().await?,
                outgoing = self.batches.recv(), if may_publish && self.publishing.is_none() => match outgoing {
                    Some(outgoing) => self.publishing = Some(Publishing { outgoing, next: 0 }),
                    None => return Ok(()),
                },
            }
        }
    }

    /// Waits for the answers that are still to come; takes away what was stored behind a record that was refused.
    async fn end_with_conflict(&mut self) -> Result<(), Error> {
        let mut stored = BTreeSet::new();
        // One was the refusal.
        for _ in 1..self.window.len() {
            let answer = tokio::select! {
                biased;
                answer = self.acks.next() => answer,
                _ = self.start.connection.trouble() => None,
                () = sleep_until(self.deadline) => None,
            };
            let Some(answer) = answer else { return Ok(()) };
            if let Answer::Stored(sequence) = Answer::of(&answer) {
                stored.insert(sequence);
            }
        }
        while stored.remove(&(self.window.acknowledged() + 1)) {
            let _ = self.window.acknowledge(self.window.acknowledged() + 1);
        }
        self.deliver();
        let Some(refused) = self.window.first().filter(|_| !stored.is_empty()) else { return Ok(()) };
        behind::take_away(&mut self.start.connection, &self.start.reader, refused, &stored).await
    }

    /// Publishes the next records of the batch.
    async fn publish_some(&mut self) -> Result<(), Error> {
        let Some(mut publishing) = self.publishing.take() else { return Ok(()) };
        let result = self.publish_burst(&mut publishing).await;
        if result.is_err() || publishing.next < publishing.outgoing.batch.records.len() {
            self.publishing = Some(publishing);
            return result;
        }
        let Outgoing { batch, delivered } = publishing.outgoing;
        let header = batch.records.last().map(|record| slice(&batch.bytes, &record.header));
        if let Some(header) = &header {
            // Not a part of the batch, whose bytes may be many.
            self.before = Bytes::copy_from_slice(header);
        }
        self.in_flight.push_back(InFlight { last: self.window.last(), header, delivered, _hold: batch.hold });
        self.deliver();
        Ok(())
    }

    /// As many records as the window takes, but no more than a burst.
    async fn publish_burst(&mut self, publishing: &mut Publishing) -> Result<(), Error> {
        let batch = &publishing.outgoing.batch;
        let end = batch.records.len().min(publishing.next + BURST);
        while publishing.next < end && self.window.has_room() {
            let before = self.before(batch, publishing.next);
            self.publish(&batch.bytes, &batch.records[publishing.next], before).await?;
            publishing.next += 1;
        }
        Ok(())
    }

    /// The position's header of the event before, where another record of the same event follows the one at that index.
    fn before(&self, batch: &RecordBatch, index: usize) -> Option<Bytes> {
        let at = batch.records[index].at;
        batch.records.get(index + 1).filter(|next| next.at == at)?;
        let earlier = batch.records[..index].iter().rfind(|earlier| earlier.at != at);
        Some(earlier.map_or_else(|| self.before.clone(), |earlier| slice(&batch.bytes, &earlier.header)))
    }

    /// Publishes one record, without copying its subject and value.
    async fn publish(&mut self, bytes: &Bytes, record: &Record, before: Option<Bytes>) -> Result<(), Error> {
        let defect = |what| Error::new(ErrorKind::Internal, format!("a record at {} {what}", record.at));
        let To::Subject(subject) = &record.to else { return Err(defect("has no subject")) };
        let subject =
            Subject::from_utf8(slice(bytes, subject)).map_err(|_| defect("has a damaged subject"))?;
        let value_of =
            |bytes: &[u8]| std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<HeaderValue>().ok());
        let position =
            value_of(&bytes[bounds(&record.header)]).ok_or_else(|| defect("has a damaged header"))?;
        let value = record.value.as_ref().map_or_else(Bytes::new, |range| slice(bytes, range));

        let mut headers = HeaderMap::new();
        headers.insert(header::NATS_EXPECTED_LAST_SEQUENCE, HeaderValue::from(self.window.last()));
        if let Some(before) = before.as_deref().and_then(value_of) {
            headers.insert(BEFORE, before);
        }
        headers.insert(self.position.clone(), position);
        if record.deletes
            && let Some(markers) = &self.start.markers
        {
            markers.mark(&mut headers);
        }
        if self.window.is_empty() {
            self.deadline = Instant::now() + self.start.ack_timeout;
        }
        let named = Named { at: record.at, subject: subject.clone() };
        self.window.push(subject.len() + record.header.len() + value.len(), named);
        let client = &self.start.connection.client;
        let sent =
            client.publish_with_reply_and_headers(subject.clone(), self.inbox.clone(), headers, value).await;
        sent.map_err(|error| errors::publishing(&subject, error))
    }

    /// Takes an answer, and all others that are there already.
    fn acknowledged(&mut self, first: Option<Message>) -> Result<(), Error> {
        let mut next = Some(first);
        while let Some(message) = next {
            let message = message.ok_or_else(|| self.start.connection.broken())?;
            match Answer::of(&message) {
                Answer::Stored(sequence) if self.window.acknowledge(sequence) => {}
                answer => return Err(self.odd(answer)),
            }
            next = self.acks.next().now_or_never();
        }
        self.deadline = Instant::now() + self.start.ack_timeout;
        self.deliver();
        Ok(())
    }

    /// Resolves the deliveries of the batches that are acknowledged, in order.
    fn deliver(&mut self) {
        while let Some(front) = self.in_flight.front()
            && front.last <= self.window.acknowledged()
            && let Some(done) = self.in_flight.pop_front()
        {
            if let Some(upto) = done.header.as_deref().and_then(checkpoint) {
                self.start.memory.acknowledge(upto);
            }
            // Nobody waits any more when the attempt has ended.
            let _ = done.delivered.send(Ok(()));
        }
    }

    /// What an answer means that is not the next acknowledgement.
    fn odd(&mut self, answer: Answer) -> Error {
        let stream = &self.start.stream;
        match answer {
            Answer::Refused(error) if error.error_code() == ErrorCode::STREAM_WRONG_LAST_SEQUENCE => {
                self.conflict = true;
                let kind =
                    if self.start.memory.conflict() { ErrorKind::Fenced } else { ErrorKind::SinkUnavailable };
                errors::second_writer(kind, stream)
            }
            Answer::Refused(error) if is_full(&error) => {
                let what = format!("the stream {stream} is full: let it hold more, or discard old messages");
                Error::caused(ErrorKind::SinkUnavailable, what, error)
            }
            Answer::Refused(error) => errors::refusal(format!("the stream {stream} refused a record"), error),
            Answer::Nobody => {
                let what = format!("the stream {stream} takes no messages: it is deleted, or has no leader");
                Error::new(ErrorKind::SinkUnavailable, what)
            }
            Answer::Stored(sequence) => {
                let wanted = self.window.acknowledged() + 1;
                let what = format!("the stream {stream} stored a record as {sequence} instead of {wanted}");
                Error::new(ErrorKind::SinkUnavailable, what)
            }
            Answer::Strange(text) => {
                Error::new(ErrorKind::SinkUnavailable, format!("the stream {stream} answered `{text}`"))
            }
        }
    }

    fn silence(&self) -> Error {
        let (stream, timeout) = (&self.start.stream, self.start.ack_timeout);
        let what = format!("the stream {stream} has acknowledged nothing for {timeout:?}");
        Error::new(ErrorKind::SinkUnavailable, what)
    }

    /// Lets the connection go, and fails what is under way and whatever may still come. The oldest delivery gets the reason.
    async fn fail(self, reason: Error) {
        let Self { start, acks, mut batches, publishing, in_flight, .. } = self;
        drop((start, acks));
        let mut reason = Some(reason);
        let mut fail = |delivered: Delivered| {
            let later =
                || Error::new(ErrorKind::SinkUnavailable, "the connection to NATS was given up before");
            let _ = delivered.send(Err(reason.take().unwrap_or_else(later)));
        };
        let under_way = in_flight.into_iter().map(|batch| batch.delivered);
        under_way.chain(publishing.map(|batch| batch.outgoing.delivered)).for_each(&mut fail);
        while let Some(outgoing) = batches.recv().await {
            fail(outgoing.delivered);
        }
    }
}

/// Whether the stream's limits are the reason. There is one code for all that can prevent storing.
fn is_full(error: &jetstream::Error) -> bool {
    error.error_code() == ErrorCode::STREAM_STORE_FAILED && error.to_string().contains("maximum")
}

fn checkpoint(header: &[u8]) -> Option<Checkpoint> {
    let Header { at, term, source } = std::str::from_utf8(header).ok()?.parse().ok()?;
    Some(Checkpoint { at, term, source })
}

fn slice(bytes: &Bytes, range: &std::ops::Range<u32>) -> Bytes {
    bytes.slice(bounds(range))
}

fn bounds(range: &std::ops::Range<u32>) -> std::ops::Range<usize> {
    range.start as usize..range.end as usize
}
