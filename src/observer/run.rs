//! Attempt after attempt: open the tail behind what was handled, hand over, until it ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Handled, Observer, OnError, Operation, OperationHandler, Start};
use crate::error::{Disposition, Error, ErrorKind};
use crate::event::{Change, Mark, Position};
use crate::retry::jitter;
use crate::source::client::Deployment;
use crate::source::oplog::{OplogSource, translate};
use crate::source::{Chunk, Namespaces, Op, Resume, Source as _};

/// How far an observer has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Whether the tail has been open.
    pub(super) is_open: bool,
    /// The last operation that was taken, or the last place that was passed.
    pub(super) done: Option<Position>,
}

impl Observer {
    /// Hands operations to `handler` until `stop`, which lets it finish the one that it has. Says how far it came: give that to
    /// [`Start::After`] to go on. Ends by itself only with an error that waiting can't mend.
    pub async fn run(
        &self,
        handler: &mut impl OperationHandler,
        stop: &CancellationToken,
    ) -> Result<Option<Position>, Error> {
        self.run_telling(handler, stop, &watch::Sender::default()).await
    }

    pub(super) async fn run_telling(
        &self,
        handler: &mut impl OperationHandler,
        stop: &CancellationToken,
        progress: &watch::Sender<Progress>,
    ) -> Result<Option<Position>, Error> {
        let from = match self.start {
            Start::Now => Resume::Now,
            Start::Earliest => Resume::Earliest,
            Start::After(at) => Resume::After(Mark::Tail { at, term: None }),
        };
        let mut run = Run { observer: self, handler, stop, progress, from, failures: 0 };
        let ended = run.attempts().await;
        ended.map(|()| progress.borrow().done)
    }
}

struct Run<'a, H> {
    observer: &'a Observer,
    handler: &'a mut H,
    stop: &'a CancellationToken,
    progress: &'a watch::Sender<Progress>,
    from: Resume,
    failures: u32,
}

impl<H: OperationHandler> Run<'_, H> {
    async fn attempts(&mut self) -> Result<(), Error> {
        let started = Instant::now();
        loop {
            let attempt = self.attempt().await;
            match attempt {
                Ok(()) => return Ok(()),
                Err(error) if error.kind().disposition() == Disposition::Halt => return Err(error),
                Err(error) => {
                    self.failures += 1;
                    let pause = self.observer.pauses.behind(self.failures, jitter(started));
                    tracing::warn!(%error, ?pause, "the observer tries again");
                    if rest(self.stop, pause).await.is_stopped() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Opens the tail and hands over what it brings, until it breaks or `stop`.
    async fn attempt(&mut self) -> Result<(), Error> {
        let Observer { client, namespaces, tail, .. } = self.observer;
        let opening = async {
            let deployment = Deployment::of(client.clone()).await?;
            let namespaces = Arc::new(namespaces.clone().on_shard(deployment.is_shard));
            let name = deployment.source.clone();
            let source = OplogSource::new(deployment, Arc::clone(&namespaces), *tail);
            Ok::<_, Error>((name, namespaces, source.open(self.from).await?))
        };
        let (source, namespaces, mut chunks) = tokio::select! { biased;
            () = self.stop.cancelled() => return Ok(()),
            opened = opening => opened?,
        };
        if self.from != Resume::Earliest {
            // The first chunk says only where the tail begins.
            self.passed(chunks.next().await.transpose()?.map(|chunk| chunk.end));
        }
        self.progress.send_modify(|progress| progress.is_open = true);
        loop {
            let chunk = tokio::select! { biased;
                () = self.stop.cancelled() => return Ok(()),
                chunk = chunks.next() => chunk,
            };
            let ended = || Error::new(ErrorKind::SourceUnavailable, "the tail of the oplog ended");
            let chunk = chunk.ok_or_else(ended)??;
            self.failures = 0;
            if self.chunk(&chunk, &namespaces, &source).await?.is_stopped() {
                return Ok(());
            }
        }
    }

    async fn chunk(&mut self, chunk: &Chunk, namespaces: &Namespaces, source: &str) -> Result<Flow, Error> {
        for op in &chunk.ops {
            if self.stop.is_cancelled() || self.operation(chunk, op, namespaces, source).await?.is_stopped() {
                return Ok(Flow::Stopped);
            }
            self.passed(Some(Mark::Tail { at: op.at, term: op.term }));
        }
        self.passed(Some(chunk.end));
        Ok(Flow::On)
    }

    /// Hands over one operation, again and again where that is asked for.
    async fn operation(
        &mut self,
        chunk: &Chunk,
        op: &Op,
        namespaces: &Namespaces,
        source: &str,
    ) -> Result<Flow, Error> {
        let started = Instant::now();
        let event = match translate(chunk, op, namespaces, source) {
            Ok(Some(event)) => event,
            Ok(None) => return Ok(Flow::On),
            Err(fault) => {
                let taken = self.handler.on_fault(&fault).await;
                return taken
                    .map(|()| Flow::On)
                    .map_err(|_| Error::new(ErrorKind::Unknown, fault.to_string()));
            }
        };
        let operation = Operation::new(chunk, op, &event);
        for failures in 1.. {
            let Err(refusal) = self.hand_over(&operation).await else { break };
            let what = format!("the handler failed with the operation at position {} of {}", op.at, event.ns);
            let error = Error::caused(ErrorKind::Handler, what, refusal);
            if self.observer.on_error == OnError::Stop {
                return Err(error);
            }
            let pause = self.observer.pauses.behind(failures, jitter(started));
            tracing::warn!(%error, ?pause, "the operation is handed over again");
            if rest(self.stop, pause).await.is_stopped() {
                return Ok(Flow::Stopped);
            }
        }
        Ok(Flow::On)
    }

    async fn hand_over(&mut self, op: &Operation<'_>) -> Handled {
        match op.event.change {
            Change::Insert { .. } => self.handler.on_insert(op).await,
            Change::Update { .. } | Change::Replace { .. } => self.handler.on_update(op).await,
            Change::Delete { .. } => self.handler.on_delete(op).await,
            Change::Command(_) => self.handler.on_command(op).await,
            // Made for sinks alone; the oplog has neither.
            Change::HeaderOnly(_) | Change::Watermark => Ok(()),
        }
    }

    fn passed(&mut self, mark: Option<Mark>) {
        let Some(mark) = mark else { return };
        self.from = Resume::After(mark);
        self.progress.send_modify(|progress| progress.done = Some(mark.position()));
    }
}

/// Waits, unless it is to stop.
async fn rest(stop: &CancellationToken, pause: Duration) -> Flow {
    tokio::select! { biased;
        () = stop.cancelled() => Flow::Stopped,
        () = tokio::time::sleep(pause) => Flow::On,
    }
}

/// Whether to go on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Stopped,
}

impl Flow {
    fn is_stopped(self) -> bool {
        self == Self::Stopped
    }
}
