//! The run loop.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinError, JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::in_flight::{Durable, InFlight, Sent};
use super::keeper::keep;
use super::pulse::Pulse;
use super::{Budget, CheckpointStore, Monitor, RecordBatch, Sink, Stage};
use crate::error::{Error, ErrorKind};
use crate::event::Mark;
use crate::source::ChunkStream;

/// Chunks that are being prepared ahead of the one that is sent next.
const PREPARED_MAX: usize = 8;
/// What an operation takes at least, however small it is: its event's fields, and what a sink keeps for each record until it is
/// acknowledged.
const OP_BYTES: usize = 512;
/// How long an attempt that has failed may take to store what it had achieved.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What a pipeline is made of.
pub struct Parts {
    /// The open source.
    pub chunks: ChunkStream,
    /// Prepares chunks.
    pub stage: Arc<Stage>,
    /// The open sink.
    pub sink: Box<dyn Sink>,
    /// Where checkpoints are kept, if not by the sink itself.
    pub store: Option<Box<dyn CheckpointStore>>,
    /// The replica set, for the checkpoints.
    pub source: String,
    /// Bounds what is under way.
    pub budget: Budget,
    /// The least time between two checkpoints.
    pub checkpoint_interval: Duration,
    /// Without a record for so long, a watermark is published.
    pub heartbeat: Duration,
    /// Nothing says yet where reading begins: the first watermark does not wait. Else a crash before the first record would make the
    /// next attempt begin later, and what was written meanwhile would be missing.
    pub is_first: bool,
    /// Is told what happens.
    pub monitor: Arc<dyn Monitor>,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("source", &self.source).finish_non_exhaustive()
    }
}

/// A running attempt: an open source, an open sink, and what is under way between them.
pub struct Pipeline {
    tasks: JoinSet<Result<(), Error>>,
    reader: AbortHandle,
    batches: BoxStream<'static, Result<RecordBatch, Error>>,
    sink: Box<dyn Sink>,
    in_flight: InFlight,
    progress: watch::Sender<Option<Mark>>,
    monitor: Arc<dyn Monitor>,
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipeline").field("in_flight", &self.in_flight).finish_non_exhaustive()
    }
}

enum Step {
    Drain,
    TaskEnded(Result<(), Error>),
    Durable(Durable),
    Batch(Option<RecordBatch>),
}

impl Pipeline {
    /// Starts the reader and the keeper.
    pub fn start(parts: Parts) -> Self {
        let mut tasks = JoinSet::new();
        let (out, prepared) = mpsc::channel(PREPARED_MAX);
        let monitor = Arc::clone(&parts.monitor);
        let reader = tasks.spawn(read(
            parts.chunks,
            Arc::clone(&parts.stage),
            parts.budget,
            out,
            Arc::clone(&monitor),
        ));
        let (progress, done) = watch::channel(None);
        if let Some(store) = parts.store {
            tasks.spawn(keep(store, done, parts.source, parts.checkpoint_interval, Arc::clone(&monitor)));
        }
        let pulse = Pulse::new(parts.heartbeat, Instant::now());
        let pulse = if parts.is_first { pulse.at_once() } else { pulse };
        let batches = batches(prepared, parts.stage, pulse);
        Self { tasks, reader, batches, sink: parts.sink, in_flight: InFlight::default(), progress, monitor }
    }

    /// Runs until `stop`, or until something fails. On `stop` it reads no more, waits for what is under way, stores the checkpoint, and
    /// says how far it came; after a failure it still tries to store what was achieved. Dropped half-way it is like a crash: what was not
    /// acknowledged is read again.
    pub async fn run(mut self, stop: &CancellationToken) -> Result<Option<Mark>, Error> {
        match self.pump(stop).await {
            Ok(()) => self.close().await,
            Err(error) => {
                let _ = tokio::time::timeout(LAST_WORDS, self.close()).await;
                Err(error)
            }
        }
    }

    async fn pump(&mut self, stop: &CancellationToken) -> Result<(), Error> {
        let mut reading = true;
        while reading || !self.in_flight.is_empty() {
            let next = tokio::select! { biased;
                () = stop.cancelled(), if reading => Step::Drain,
                // The reader or the keeper has failed.
                Some(ended) = self.tasks.join_next(), if reading => Step::TaskEnded(joined(ended)),
                // Acknowledgements before intake: what is done makes room.
                Some(durable) = self.in_flight.next() => Step::Durable(durable?),
                batch = self.batches.try_next(), if reading => Step::Batch(batch?),
            };
            match next {
                Step::Drain | Step::Batch(None) => reading = false,
                Step::TaskEnded(result) => result?,
                Step::Durable(durable) => {
                    self.progress.send_replace(Some(durable.end));
                    self.monitor.durable(&durable);
                }
                Step::Batch(Some(batch)) => {
                    self.monitor.sent(&batch);
                    self.in_flight.push(Sent::of(&batch), self.sink.send(batch));
                }
            }
        }
        Ok(())
    }

    /// Ends the reader, which may sleep in a wait for new entries, and waits for the last checkpoint.
    async fn close(mut self) -> Result<Option<Mark>, Error> {
        self.reader.abort();
        let done = *self.progress.borrow();
        drop(self.progress);
        while let Some(ended) = self.tasks.join_next().await {
            joined(ended)?;
        }
        Ok(done)
    }
}

type Prepared = JoinHandle<Result<RecordBatch, Error>>;

/// Reads ahead and starts one task for each chunk; the channel keeps their order.
async fn read(
    mut chunks: ChunkStream,
    stage: Arc<Stage>,
    budget: Budget,
    out: mpsc::Sender<Prepared>,
    monitor: Arc<dyn Monitor>,
) -> Result<(), Error> {
    while let Some(chunk) = chunks.try_next().await? {
        monitor.read(&chunk);
        let hold = budget.take(chunk.weight().max(OP_BYTES * chunk.ops.len())).await;
        let stage = Arc::clone(&stage);
        let task =
            tokio::spawn(async move { Ok(RecordBatch { hold: Some(hold), ..stage.prepare(chunk).await? }) });
        if out.send(task).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// The prepared batches in order, with a watermark where one is due.
fn batches(
    prepared: mpsc::Receiver<Prepared>,
    stage: Arc<Stage>,
    mut pulse: Pulse,
) -> BoxStream<'static, Result<RecordBatch, Error>> {
    let prepared = futures::stream::unfold(prepared, |mut prepared| async move {
        let task = prepared.recv().await?;
        Some((task, prepared))
    });
    prepared
        .then(|task| async move { task.await.map_err(broken)? })
        .map(move |batch| {
            let batch: RecordBatch = batch?;
            let due = pulse.due(batch.end.position(), !batch.records.is_empty(), Instant::now());
            if due { stage.watermark(batch) } else { Ok(batch) }
        })
        .boxed()
}

/// A task's result. An aborted task has done what it should.
fn joined(ended: Result<Result<(), Error>, JoinError>) -> Result<(), Error> {
    match ended {
        Ok(result) => result,
        Err(error) if error.is_cancelled() => Ok(()),
        Err(error) => Err(broken(error)),
    }
}

fn broken(error: JoinError) -> Error {
    Error::caused(ErrorKind::Internal, "a task of the pipeline broke off", error)
}
