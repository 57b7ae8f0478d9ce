//! A collection that an observer of the user's drives.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::collection::{CAPACITY, ReactiveCollection, namespace};
use super::publish::Published;
use super::replica::{Replica, Trouble};
use super::scope::Scope;
use super::writer::show;
use crate::error::Error;
use crate::observer::{Handled, Operation, OperationHandler};

/// Brings a collection forward with the operations that it is handed. See [`ReactiveCollection::driven`].
#[derive(Debug)]
pub struct Replicator<T> {
    replica: Replica<T>,
    published: Arc<Published<T>>,
}

impl<T: DeserializeOwned + Send + Sync + 'static> ReactiveCollection<T> {
    /// An empty collection, and the handler that fills it: for an [`Observer`](crate::observer::Observer) that begins where the remote
    /// collection was empty, or did not exist. Nothing is read but what the observer hands over, so an update of a document that never came
    /// is an error of the handler. A transaction is visible when its last operation was handed over, or the first one behind it.
    pub fn driven(ns: &str) -> Result<(Self, Replicator<T>), Error> {
        let (db, coll) = namespace(ns)?;
        let replica = Replica::new(db, coll, Scope::default(), Arc::new([]));
        let published = Arc::new(Published::new(replica.state.clone(), CAPACITY));
        let guard = Arc::new(CancellationToken::new().drop_guard());
        let collection = Self { published: Arc::clone(&published), running: guard };
        Ok((collection, Replicator { replica, published }))
    }
}

impl<T: DeserializeOwned + Send + Sync> Replicator<T> {
    fn take(&mut self, op: &Operation<'_>) -> Handled {
        if self.replica.now() != op.position.timestamp() {
            self.replica.ends(self.replica.last());
        }
        self.replica.apply(&op.event).map_err(|trouble| match trouble {
            Trouble::Lost(reason) | Trouble::Ended(reason) => reason,
        })?;
        if op.event.txn.is_none_or(|txn| op.position.ordinal + 1 == txn.count) {
            self.replica.ends(op.position);
        }
        show(&mut self.replica, &self.published, op.event.wall_ms, false);
        Ok(())
    }
}

impl<T: DeserializeOwned + Send + Sync> OperationHandler for Replicator<T> {
    async fn on_insert(&mut self, op: &Operation<'_>) -> Handled {
        self.take(op)
    }

    async fn on_update(&mut self, op: &Operation<'_>) -> Handled {
        self.take(op)
    }

    async fn on_delete(&mut self, op: &Operation<'_>) -> Handled {
        self.take(op)
    }

    async fn on_command(&mut self, op: &Operation<'_>) -> Handled {
        self.take(op)
    }
}

impl<T> Drop for Replicator<T> {
    fn drop(&mut self) {
        self.published.close();
    }
}
