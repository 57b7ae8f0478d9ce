//! A snapshot, and everything that happens after it.

use std::fmt;
use std::sync::Arc;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use super::change::Batch;
use super::publish::{Message, Published};
use super::snapshot::Snapshot;

/// What comes next for a subscriber.
#[derive(Debug)]
pub enum Next<T> {
    /// Changes that follow what the subscriber has.
    Batch(Arc<Batch<T>>),
    /// Everything anew, instead of changes: the subscriber was too slow, or the collection was read again.
    Reset(Snapshot<T>),
}

/// The changes behind a snapshot, without a gap.
///
/// Whoever applies them to the snapshot holds what the collection holds. A subscriber that is too slow costs no memory and holds nobody
/// up: it gets [`Next::Reset`].
pub struct Changes<T> {
    messages: broadcast::Receiver<Message<T>>,
    published: Arc<Published<T>>,
    /// The number of the last batch that the subscriber has.
    seen: u64,
}

impl<T> fmt::Debug for Changes<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").field("seen", &self.seen).finish_non_exhaustive()
    }
}

impl<T> Changes<T> {
    /// A state is stored before its batches are sent: so whoever listens first and looks then misses nothing.
    pub(super) fn begin(published: &Arc<Published<T>>) -> (Snapshot<T>, Self) {
        let messages = published.subscribe();
        let snapshot = published.snapshot();
        let seen = snapshot.sequence();
        (snapshot, Self { messages, published: Arc::clone(published), seen })
    }

    /// The next batch, or a new beginning; none when the collection has ended. Cancel safe.
    pub async fn next(&mut self) -> Option<Next<T>> {
        loop {
            let message = match self.messages.recv().await {
                Ok(message) => Some(message),
                Err(RecvError::Lagged(_)) => None,
                Err(RecvError::Closed) => return None,
            };
            if let Some(next) = self.take(message) {
                return Some(next);
            }
        }
    }

    /// The next one, if it is there already.
    pub fn try_next(&mut self) -> Option<Next<T>> {
        loop {
            let message = match self.messages.try_recv() {
                Ok(message) => Some(message),
                Err(TryRecvError::Lagged(_)) => None,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return None,
            };
            if let Some(next) = self.take(message) {
                return Some(next);
            }
        }
    }

    /// What a message means for the subscriber; nothing if it has that batch. None stands for messages that were lost.
    fn take(&mut self, message: Option<Message<T>>) -> Option<Next<T>> {
        match message {
            Some(message) if message.sequence <= self.seen => None,
            Some(Message { sequence, batch: Some(batch) }) if sequence == self.seen + 1 => {
                self.seen = sequence;
                Some(Next::Batch(batch))
            }
            _ => Some(Next::Reset(self.anew())),
        }
    }

    fn anew(&mut self) -> Snapshot<T> {
        let snapshot = self.published.snapshot();
        self.seen = snapshot.sequence();
        snapshot
    }
}
