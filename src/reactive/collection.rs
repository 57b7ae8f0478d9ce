//! The full replica.

use std::fmt;
use std::sync::Arc;

use bson::{Bson, Timestamp};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::document::Doc;
use super::feed::Feed;
use super::feed::memory::MemorySource;
use super::index::Index;
use super::key::key_of_bson;
use super::publish::Published;
use super::replica::Replica;
use super::scope::Scope;
use super::snapshot::Snapshot;
use super::status::{State as Doing, Status};
use super::subscribe::Changes;
use super::writer::Writer;
use crate::error::{Error, ErrorKind};
use crate::event::Position;
use crate::query::{Filter, MatchError};
use crate::retry::Pauses;

/// How many batches a subscriber may be behind, unless it is set.
pub(super) const CAPACITY: usize = 1024;

/// A read-only copy of a collection, in memory, that follows its source.
///
/// A handle: clones share the copy, and any number of threads may read. Reading never waits for what is being written. When the last handle
/// is gone, nothing follows the source any more, and subscribers come to an end.
pub struct ReactiveCollection<T> {
    pub(super) published: Arc<Published<T>>,
    pub(super) running: Arc<DropGuard>,
}

impl<T> Clone for ReactiveCollection<T> {
    fn clone(&self) -> Self {
        Self { published: Arc::clone(&self.published), running: Arc::clone(&self.running) }
    }
}

impl<T> fmt::Debug for ReactiveCollection<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReactiveCollection").field("published", &self.published).finish_non_exhaustive()
    }
}

impl<T: DeserializeOwned + Send + Sync + 'static> ReactiveCollection<T> {
    /// A collection that follows a source in memory.
    pub fn of_memory(source: &MemorySource) -> Builder<T> {
        Builder::new(source.ns(), Origin::Memory(source.clone()))
    }

    /// A collection that follows one of MongoDB's, `database.collection`.
    #[cfg(feature = "mongodb")]
    pub fn builder(client: &mongodb::Client, namespace: &str) -> Builder<T> {
        Builder::new(namespace, Origin::MongoDb(client.clone()))
    }
}

impl<T> ReactiveCollection<T> {
    /// Waits until the first copy is complete. Fails if it can't be.
    pub async fn ready(&self) -> Result<(), Error> {
        self.until(|status| status.is_ready).await
    }

    /// Waits until everything up to that cluster time is visible: the `operationTime` of a write of one's own, to read it. To wait not
    /// longer than some time, wrap it in `tokio::time::timeout`.
    pub async fn wait_for(&self, cluster_time: Timestamp) -> Result<(), Error> {
        let Timestamp { time, increment } = cluster_time;
        self.until(|status| status.position.is_some_and(|at| at.timestamp() >= (time, increment))).await
    }

    /// The same with a position: waits until that change is visible.
    pub async fn reached(&self, position: Position) -> Result<(), Error> {
        self.until(|status| status.position.is_some_and(|at| at >= position)).await
    }

    /// The document with that `_id`, as it is now.
    pub fn get(&self, id: impl Into<Bson>) -> Option<Doc<T>> {
        self.published.get(&key_of_bson(&id.into())?)
    }

    /// The collection as it is now, at one point of its source's history.
    pub fn snapshot(&self) -> Snapshot<T> {
        self.published.snapshot()
    }

    /// The documents that match now, in the order of their `_id`s. Fails where the server would fail. Strings are compared as bytes, also
    /// where the collection has a collation.
    pub fn find(&self, filter: &Filter) -> Result<Vec<Doc<T>>, MatchError> {
        self.snapshot().find(filter)
    }

    /// The collection as it is now, and all changes from there on.
    pub fn subscribe(&self) -> (Snapshot<T>, Changes<T>) {
        Changes::begin(&self.published)
    }

    /// What it is doing, and how far it has come.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.published.status()
    }

    async fn until(&self, there: impl Fn(&Status) -> bool) -> Result<(), Error> {
        let mut status = self.published.status();
        let ended = |status: &Status| matches!(status.state, Doing::Failed { .. });
        let found = status.wait_for(|status| there(status) || ended(status)).await;
        let closed = || Error::new(ErrorKind::Ended, "the collection has ended");
        match &*found.map_err(|_| closed())? {
            status if there(status) => Ok(()),
            Status { state: Doing::Failed { reason }, .. } => {
                Err(Error::new(ErrorKind::Ended, reason.clone()))
            }
            _ => Err(closed()),
        }
    }
}

/// Where documents and changes come from.
pub(super) enum Origin {
    Memory(MemorySource),
    #[cfg(feature = "mongodb")]
    MongoDb(mongodb::Client),
}

/// What a collection is to be.
pub struct Builder<T> {
    ns: String,
    origin: Origin,
    indexes: Vec<Result<Index<T>, Error>>,
    capacity: usize,
    pauses: Pauses,
}

impl<T> fmt::Debug for Builder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("ns", &self.ns).finish_non_exhaustive()
    }
}

impl<T: DeserializeOwned + Send + Sync + 'static> Builder<T> {
    pub(super) fn new(ns: &str, origin: Origin) -> Self {
        Self { ns: ns.to_owned(), origin, indexes: Vec::new(), capacity: CAPACITY, pauses: Pauses::default() }
    }

    /// An index by the values at a dotted path, which has them as the server's own would: every element of an array, null where nothing is.
    #[must_use]
    pub fn index_path(mut self, name: &str, path: &str) -> Self {
        self.indexes.push(Index::by_path(name, path));
        self
    }

    /// An index by what a function finds in the typed view of a document. So each document is decoded when it comes; one that is not of the
    /// type is not in the index.
    #[must_use]
    pub fn index<K, V>(mut self, name: &str, keys: impl Fn(&T) -> K + Send + Sync + 'static) -> Self
    where
        K: IntoIterator<Item = V>,
        V: Into<Bson>,
    {
        let keys = Arc::new(move |typed: &T| keys(typed).into_iter().map(Into::into).collect());
        self.indexes.push(Ok(Index::typed(name, keys)));
        self
    }

    /// How many batches a subscriber may be behind before it gets a reset instead; 1024 by default.
    #[must_use]
    pub fn capacity(mut self, batches: usize) -> Self {
        self.capacity = batches;
        self
    }

    /// How long to wait before the source is tried again.
    #[must_use]
    pub fn pauses(mut self, pauses: Pauses) -> Self {
        self.pauses = pauses;
        self
    }

    /// Starts to copy and to follow, in a task of its own. Fails at once where the collection can't be replicated exactly, and where an
    /// index or a filter is none.
    pub async fn start(self) -> Result<ReactiveCollection<T>, Error> {
        self.start_with(Scope::default(), None).await
    }

    /// `filter` is the scope's, as a document.
    #[cfg_attr(not(feature = "mongodb"), expect(clippy::unused_async, reason = "memory is opened at once"))]
    pub(super) async fn start_with(
        self,
        scope: Scope,
        filter: Option<Vec<u8>>,
    ) -> Result<ReactiveCollection<T>, Error> {
        let indexes = unique(self.indexes)?;
        let (db, coll) = namespace(&self.ns)?;
        let feed: Box<dyn Feed> = match self.origin {
            Origin::Memory(source) => Box::new(source.feed()),
            #[cfg(feature = "mongodb")]
            Origin::MongoDb(client) => {
                Box::new(super::feed::mongodb::MongoFeed::open(client, db, coll, filter.clone()).await?)
            }
        };
        let _ = filter;
        let replica = Replica::new(db, coll, scope, indexes);
        let published = Arc::new(Published::new(replica.state.clone(), self.capacity));
        let writer = Writer::new(feed, replica, Arc::clone(&published), self.pauses);
        let stop = CancellationToken::new();
        let token = stop.clone();
        let owner = Arc::clone(&published);
        tokio::spawn(async move {
            writer.run(token).await;
            owner.close();
        });
        Ok(ReactiveCollection { published, running: Arc::new(stop.drop_guard()) })
    }
}

fn unique<T>(indexes: Vec<Result<Index<T>, Error>>) -> Result<Arc<[Index<T>]>, Error> {
    let indexes = indexes.into_iter().collect::<Result<Vec<_>, Error>>()?;
    for (place, index) in indexes.iter().enumerate() {
        if indexes[..place].iter().any(|other| other.name == index.name) {
            return Err(Error::new(ErrorKind::Config, format!("two indexes are named `{}`", index.name)));
        }
    }
    Ok(indexes.into())
}

pub(super) fn namespace(ns: &str) -> Result<(&str, &str), Error> {
    let parts = ns.split_once('.').filter(|(db, coll)| !db.is_empty() && !coll.is_empty());
    parts.ok_or_else(|| {
        Error::new(ErrorKind::Config, format!("`{ns}` is not a collection: write `database.collection`"))
    })
}
