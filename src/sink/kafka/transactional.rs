//! Exactly once: records and the checkpoint behind them in one transaction.
//!
//! A task of its own takes batches from the sink and sends them as the sink of at-least-once delivery does. Reports give back the budget,
//! so a transaction may be larger than it; but a batch is delivered only when its transaction is committed. Whatever goes wrong ends
//! all: the next attempt's producer, of the same id, settles what this one has left, and its checkpoint says what that is.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::claim::Claim;
use super::deliver::{Failure, KafkaSink};
use super::lanes::Data;
use super::progress::{Limits, Progress, Split};
use crate::checkpoint::kafka::{KafkaStore, KeyValue};
use crate::error::{Error, ErrorKind};
use crate::event::Mark;
use crate::format::{Addressing, Header, Record, Route, To};
use crate::kafka::{code_of, transactions, verdict};
use crate::pipeline::{BATCHES_MAX, Checkpoint, Delivery, RecordBatch, Sink, Stored};

/// How long a newer claim may take to be seen, when the brokers have refused this producer.
const CLAIM_SEEN: Duration = Duration::from_secs(3);
const CLAIM_POLL: Duration = Duration::from_millis(50);

/// Publishes records in transactions.
pub(super) struct TransactionalSink {
    inbox: mpsc::Sender<Waiting>,
    closed: CancellationToken,
}

/// A batch, and who hears of it.
struct Waiting {
    batch: RecordBatch,
    done: oneshot::Sender<Result<(), Error>>,
}

impl TransactionalSink {
    /// Sends as the claim's holder.
    pub(super) fn start(claim: Claim, limits: Limits) -> Self {
        let (inbox, waiting) = mpsc::channel(BATCHES_MAX + 1);
        let Claim { store, sink, split } = claim;
        let addressing = Addressing::Partitions(1);
        let checkpoints = Arc::new(Route::new(store.topic(), addressing));
        let writer = Writer { sink, store, checkpoints, limits, split, open: None };
        let closed = CancellationToken::new();
        tokio::spawn(writer.run(waiting, closed.clone()));
        Self { inbox, closed }
    }
}

impl Sink for TransactionalSink {
    fn send(&mut self, batch: RecordBatch) -> Delivery {
        let (done, delivery) = oneshot::channel();
        // It is never full: what waits has a part of the budget. If the task has ended, the delivery says so.
        let _ = self.inbox.try_send(Waiting { batch, done });
        delivery
    }
}

impl Drop for TransactionalSink {
    /// What is not committed never happened.
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

impl fmt::Debug for TransactionalSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactionalSink").finish_non_exhaustive()
    }
}

/// Writes transactions, one after the other.
struct Writer {
    sink: KafkaSink,
    store: KafkaStore,
    checkpoints: Arc<Route>,
    limits: Limits,
    /// The MongoDB transaction that goes on in this transaction of Kafka.
    split: Option<Split>,
    open: Option<Open>,
}

/// An open transaction.
struct Open {
    progress: Progress,
    end: Mark,
    ends_unit: bool,
    source: Arc<str>,
    /// What says that records are stored.
    stored: Vec<Delivery>,
    /// Who hears of the commit.
    done: Vec<oneshot::Sender<Result<(), Error>>>,
}

impl Writer {
    async fn run(mut self, mut inbox: mpsc::Receiver<Waiting>, closed: CancellationToken) {
        let failure = tokio::select! { biased;
            () = closed.cancelled() => Failure::new(ErrorKind::SinkUnavailable, "the sink was closed"),
            failure = self.write(&mut inbox) => failure,
        };
        inbox.close();
        let mut waiting = Vec::new();
        while let Some(Waiting { done, .. }) = inbox.recv().await {
            waiting.push(done);
        }
        if let Some(open) = self.open.take() {
            // Consumers need not wait until the brokers do it.
            transactions::abort(self.sink.producer()).await;
            waiting.extend(open.done);
        }
        for done in waiting {
            let _ = done.send(Err(failure.error()));
        }
    }

    /// Writes until something fails.
    async fn write(&mut self, inbox: &mut mpsc::Receiver<Waiting>) -> Failure {
        loop {
            if let Err(failure) = self.step(inbox).await {
                return failure;
            }
        }
    }

    /// Takes the next batch, or commits if that is due first.
    async fn step(&mut self, inbox: &mut mpsc::Receiver<Waiting>) -> Result<(), Failure> {
        let next = match &self.open {
            None => inbox.recv().await,
            Some(open) => {
                let due = open.progress.due(&self.limits);
                let next = timeout_at(due, inbox.recv());
                match if Instant::now() < due { next.await.ok() } else { None } {
                    Some(next) => next,
                    None => return self.commit().await,
                }
            }
        };
        let closed = || Failure::new(ErrorKind::SinkUnavailable, "the sink was closed");
        self.add(next.ok_or_else(closed)?).await
    }

    async fn add(&mut self, Waiting { batch, done }: Waiting) -> Result<(), Failure> {
        let RecordBatch { bytes, mut records, end, ends_unit, source, hold, .. } = batch;
        if self.open.is_none()
            && let Err(error) = transactions::begin(self.sink.producer())
        {
            let failure = self.explain("begin a transaction", &error).await;
            let _ = done.send(Err(failure.error()));
            return Err(failure);
        }
        let open = self.open.get_or_insert_with(|| Open {
            progress: Progress::new(Instant::now()),
            end,
            ends_unit,
            source: Arc::clone(&source),
            stored: Vec::new(),
            done: Vec::new(),
        });
        open.progress.add(bytes.len(), ends_unit);
        (open.end, open.ends_unit) = (end, ends_unit);
        self.sink.prepare(&bytes, &mut records);
        open.stored.push(self.sink.submit(Data { bytes, records, split: self.split }, hold));
        open.done.push(done);
        Ok(())
    }

    /// Adds the checkpoint, and commits when everything is stored.
    async fn commit(&mut self) -> Result<(), Failure> {
        self.store.still_held()?;
        let Some(open) = &mut self.open else { return Ok(()) };
        let next = (!open.ends_unit).then(|| Split::again(self.split, open.end.position()));
        let stored = Stored::Checkpoint(Checkpoint::of(open.end, &open.source));
        let records = self.store.records(&stored, next.map_or(0, |next| next.parts))?;
        let data = checkpoint(&self.checkpoints, open.end, &open.source, &records);
        open.stored.push(self.sink.submit(data, None));
        let expires = open.progress.expires(&self.limits);
        for delivery in std::mem::take(&mut open.stored) {
            let result = match timeout_at(expires, delivery).await {
                Ok(Ok(result)) => result.map_err(Failure::from),
                Ok(Err(_)) => Err(Failure::new(ErrorKind::SinkUnavailable, "the sink was closed")),
                Err(_) => Err(overdue(&self.limits)),
            };
            if let Err(failure) = result {
                return Err(self.reason(failure).await);
            }
        }
        let left = expires.saturating_duration_since(Instant::now());
        if let Err(error) = transactions::commit(self.sink.producer(), left).await? {
            return Err(self.explain("commit a transaction", &error).await);
        }
        let done = self.open.take().map(|open| open.done).unwrap_or_default();
        self.split = next;
        for done in done {
            let _ = done.send(Ok(()));
        }
        Ok(())
    }

    /// Why a record was not stored. Where librdkafka has only taken it back, the transaction knows more.
    async fn reason(&mut self, failure: Failure) -> Failure {
        match transactions::trouble(self.sink.producer()) {
            // Here the record knows more: whether its topic's limit is asked for again.
            Some(error) if code_of(&error) == Some(RDKafkaErrorCode::MessageSizeTooLarge) => failure,
            Some(error) if failure.kind == ErrorKind::SinkUnavailable => {
                self.explain("store a transaction", &error).await
            }
            _ => self.perhaps_fenced(failure).await,
        }
    }

    /// Why a call failed.
    async fn explain(&mut self, what: &str, error: &KafkaError) -> Failure {
        let code = code_of(error).unwrap_or(RDKafkaErrorCode::Unknown);
        let (kind, next) = verdict(code);
        let failure = Failure { kind, what: format!("Kafka did not {what}: {code}; {next}") };
        if code == RDKafkaErrorCode::Unknown {
            // A commit that meets a newer producer's start may be answered so.
            return self.newer_claim().await.unwrap_or(failure);
        }
        self.perhaps_fenced(failure).await
    }

    /// Brokers refuse the producer of a transaction that took too long just as they refuse one that another instance has replaced. That
    /// one has left a claim.
    async fn perhaps_fenced(&mut self, failure: Failure) -> Failure {
        if failure.kind != ErrorKind::Fenced && !self.sink.is_beyond_repair() {
            return failure;
        }
        if let Some(fenced) = self.newer_claim().await {
            return fenced;
        }
        let Failure { kind, what } = failure;
        let kind = if kind == ErrorKind::Fenced { ErrorKind::SinkUnavailable } else { kind };
        Failure {
            kind,
            what: format!(
                "{what}; no other instance has claimed the checkpoint: the transaction took too long, or another program has its \
                 transactional.id"
            ),
        }
    }

    /// What a newer claim means, if there is one soon.
    async fn newer_claim(&mut self) -> Option<Failure> {
        let deadline = Instant::now() + CLAIM_SEEN;
        while Instant::now() < deadline {
            if let Err(fenced) = self.store.still_held() {
                return Some(fenced.into());
            }
            sleep(CLAIM_POLL).await;
        }
        None
    }
}

fn overdue(limits: &Limits) -> Failure {
    let what = format!(
        "a transaction was not stored within {} s, the brokers' limit for it; it is sent again",
        limits.timeout.as_secs()
    );
    Failure { kind: ErrorKind::SinkUnavailable, what }
}

/// The records of the checkpoint, of which the first is the checkpoint itself.
fn checkpoint(route: &Arc<Route>, end: Mark, source: &str, records: &[KeyValue]) -> Data {
    let Mark::Tail { at, term } = end;
    let mut bytes = Vec::new();
    let mut add = |write: &dyn Fn(&mut Vec<u8>)| {
        let start = bytes.len();
        write(&mut bytes);
        let bound = |offset| u32::try_from(offset).expect("checkpoints are small");
        bound(start)..bound(bytes.len())
    };
    let records = records.iter().map(|(key, value)| Record {
        route: Arc::clone(route),
        to: To::Partition(0),
        header: add(&|out| Header::write(out, at, term, source)),
        key: add(&|out| out.extend_from_slice(key.as_bytes())),
        value: value.as_ref().map(|value| add(&|out| out.extend_from_slice(value))),
        at,
        deletes: false,
        is_manifest: false,
    });
    let records = records.collect();
    Data { bytes: Bytes::from(bytes), records, split: None }
}
