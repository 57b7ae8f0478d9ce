//! What the writer shows to readers.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::{broadcast, watch};

use super::change::Batch;
use super::document::Doc;
use super::key::Key;
use super::snapshot::Snapshot;
use super::status::{State as Doing, Status};
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
    /// None when the collection has ended.
    messages: Mutex<Option<broadcast::Sender<Message<T>>>>,
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
            messages: Mutex::new(Some(broadcast::channel(capacity.max(1)).0)),
            status: watch::Sender::default(),
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot<T> {
        Snapshot::new(self.state.load_full())
    }

    /// One document, without taking the snapshot that holds it.
    pub(super) fn get(&self, key: &Key) -> Option<Doc<T>> {
        self.state.load().get(key).cloned()
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Message<T>> {
        match &*self.sender() {
            Some(messages) => messages.subscribe(),
            // Closed from the start.
            None => broadcast::channel(1).1,
        }
    }

    pub(super) fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Shows a state and sends the batches that led to it.
    pub(super) fn show(&self, state: State<T>, batches: impl Iterator<Item = Message<T>>) {
        self.state.store(Arc::new(state));
        let sender = self.sender();
        for message in batches {
            // Without subscribers nobody takes it.
            let _ = sender.as_ref().map(|sender| sender.send(message));
        }
    }

    /// Nothing more comes.
    pub(super) fn close(&self) {
        self.sender().take();
        self.tell(|status| {
            if !matches!(status.state, Doing::Failed { .. }) {
                status.state = Doing::Failed { reason: "the collection was stopped".to_owned() };
            }
        });
    }

    fn sender(&self) -> MutexGuard<'_, Option<broadcast::Sender<Message<T>>>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tell(&self, change: impl FnOnce(&mut Status)) {
        self.status.send_modify(change);
    }
}
