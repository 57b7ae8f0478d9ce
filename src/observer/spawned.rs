//! An observer in a task of its own.

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::run::Progress;
use super::{Observer, OperationHandler};
use crate::error::{Error, ErrorKind};
use crate::event::Position;

/// A running observer. Dropping it stops the observer.
#[derive(Debug)]
pub struct Observing<H> {
    task: JoinHandle<(H, Result<Option<Position>, Error>)>,
    progress: watch::Receiver<Progress>,
    stop: DropGuard,
}

impl Observer {
    /// Runs it in a task of its own.
    pub fn spawn<H: OperationHandler + 'static>(self, mut handler: H) -> Observing<H> {
        let stop = CancellationToken::new();
        let (sender, progress) = watch::channel(Progress::default());
        let token = stop.clone();
        let task = tokio::spawn(async move {
            let ended = self.run_telling(&mut handler, &token, &sender).await;
            (handler, ended)
        });
        Observing { task, progress, stop: stop.drop_guard() }
    }
}

impl<H> Observing<H> {
    /// Waits until the tail is open: with [`super::Start::Now`] everything that is written from then on is handed over. Fails if the
    /// observer ends before; [`Observing::stop`] says why.
    pub async fn ready(&self) -> Result<(), Error> {
        self.until(|progress| progress.is_open).await
    }

    /// Waits until everything up to that position, or up to that time, was handled. Fails if the observer ends before.
    pub async fn reached(&self, at: Position) -> Result<(), Error> {
        self.until(|progress| progress.done >= Some(at)).await
    }

    /// How far it has come: to be stored, and given to [`super::Start::After`].
    pub fn position(&self) -> Option<Position> {
        self.progress.borrow().done
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Stops it, once the handler has finished what it has; gives the handler back, and how far it came.
    pub async fn stop(self) -> Result<(H, Option<Position>), Error> {
        drop(self.stop);
        let broken = |error| Error::caused(ErrorKind::Internal, "the observer broke off", error);
        let (handler, ended) = self.task.await.map_err(broken)?;
        Ok((handler, ended?))
    }

    async fn until(&self, there: impl Fn(&Progress) -> bool) -> Result<(), Error> {
        let mut progress = self.progress.clone();
        let waited = progress.wait_for(|progress| there(progress)).await.map(|_| ());
        waited.map_err(|_| Error::new(ErrorKind::Ended, "the observer has ended"))
    }
}
