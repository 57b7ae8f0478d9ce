//! What the writer shows to readers.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{broadcast, watch};

use super::change::Batch;
use super::snapshot::Snapshot;
use super::status::Status;
use super::store::State;

/// A batch under its number; none where everything begins anew.
#[derive(Debug)]
pub(super) struct Message<T> {
    pub(super) sequence: u64,
    pub(super) batch: Option<Arc<Batch<T>>>,
}

impl<T> Clone for Message<T> {
    fn clone(&self) -> Self {
        Self { sequence: self.sequence, batch: self.batch.clone() }
    }
}

/// What is visible now. Readers never wait for the writer, nor the writer for them.
pub(super) struct Published<T> {
    state: ArcSwap<State<T>>,
    messages: broadcast::Sender<Message<T>>,
    status: watch::Sender<Status>,
}

impl<T> fmt::Debug for Published<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Published").field("state", &self.state.load()).finish_non_exhaustive()
    }
}

impl<T> Published<T> {
    pub(super) fn new(state: State<T>, capacity: usize) -> Self {
        Self {
            state: ArcSwap::from_pointee(state),
            messages: broadcast::channel(capacity.max(1)).0,
            status: watch::Sender::default(),
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot<T> {
        Snapshot::new(self.state.load_full())
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Message<T>> {
        self.messages.subscribe()
    }

    pub(super) fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Shows a state and sends the batches that led to it.
    pub(super) fn show(&self, state: State<T>, batches: impl Iterator<Item = Message<T>>) {
        self.state.store(Arc::new(state));
        for message in batches {
            // Without subscribers nobody takes it.
            let _ = self.messages.send(message);
        }
    }

    pub(super) fn tell(&self, change: impl FnOnce(&mut Status)) {
        self.status.send_modify(change);
    }
}
