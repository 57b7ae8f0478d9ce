//! The filtered replica.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use bson::{Bson, Document};
use serde::de::DeserializeOwned;

use super::collection::{Builder, Origin, ReactiveCollection};
use super::feed::memory::MemorySource;
use super::projection::Projection;
use super::scope::Scope;
use crate::bson::RawDoc;
use crate::error::{Error, ErrorKind};
use crate::query::Filter;

/// A read-only copy of those documents of a collection that match a filter, in memory, which follows its source: documents move in and out
/// as they begin and cease to match. It is read as a [`ReactiveCollection`] is.
///
/// It holds what `find(filter)` would find, at every point of the source's history: a change that does not say by itself whether its
/// document matches now is resolved by a read of that document as it was at that very point, before anything behind it is shown. (MongoDB
/// 4.4 can't read the past: there such a document moves in a little later, and the collection's position waits for it.)
pub struct ReactivePartialCollection<T>(ReactiveCollection<T>);

impl<T> Clone for ReactivePartialCollection<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for ReactivePartialCollection<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReactivePartialCollection").field(&self.0).finish()
    }
}

impl<T> Deref for ReactivePartialCollection<T> {
    type Target = ReactiveCollection<T>;

    fn deref(&self) -> &ReactiveCollection<T> {
        &self.0
    }
}

impl<T: DeserializeOwned + Send + Sync + 'static> ReactivePartialCollection<T> {
    /// A part of a source in memory.
    pub fn of_memory(source: &MemorySource) -> PartialBuilder<T> {
        PartialBuilder::new(source.ns(), Origin::Memory(source.clone()))
    }

    /// A part of one of MongoDB's collections, `database.collection`.
    #[cfg(feature = "mongodb")]
    pub fn builder(client: &mongodb::Client, namespace: &str) -> PartialBuilder<T> {
        PartialBuilder::new(namespace, Origin::MongoDb(client.clone()))
    }
}

/// What a partial collection is to be.
#[derive(Debug)]
pub struct PartialBuilder<T> {
    builder: Builder<T>,
    filter: Document,
    projection: Vec<String>,
}

impl<T: DeserializeOwned + Send + Sync + 'static> PartialBuilder<T> {
    fn new(ns: &str, origin: Origin) -> Self {
        Self { builder: Builder::new(ns, origin), filter: Document::new(), projection: Vec::new() }
    }

    /// Which documents, as MongoDB's `find` takes it.
    #[must_use]
    pub fn filter(mut self, filter: Document) -> Self {
        self.filter = filter;
        self
    }

    /// Shows only these fields and the `_id`, as `find` does with an inclusion projection. A change of other fields is none here.
    #[must_use]
    pub fn project<P: Into<String>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        self.projection.extend(paths.into_iter().map(Into::into));
        self
    }

    /// As [`Builder::index_path`].
    #[must_use]
    pub fn index_path(mut self, name: &str, path: &str) -> Self {
        self.builder = self.builder.index_path(name, path);
        self
    }

    /// As [`Builder::index`].
    #[must_use]
    pub fn index<K, V>(mut self, name: &str, keys: impl Fn(&T) -> K + Send + Sync + 'static) -> Self
    where
        K: IntoIterator<Item = V>,
        V: Into<Bson>,
    {
        self.builder = self.builder.index(name, keys);
        self
    }

    /// As [`Builder::capacity`].
    #[must_use]
    pub fn capacity(mut self, batches: usize) -> Self {
        self.builder = self.builder.capacity(batches);
        self
    }

    /// As [`Builder::start`]. A filter that the server would refuse, or that can't be decided from a document alone, is an error here.
    pub async fn start(self) -> Result<ReactivePartialCollection<T>, Error> {
        let refuse = |why: String| Error::new(ErrorKind::Config, format!("filter: {why}"));
        let bytes = self.filter.to_vec().map_err(|error| refuse(error.to_string()))?;
        let filter = RawDoc::new(&bytes).map_err(|error| refuse(error.to_string()))?;
        let filter = Filter::parse(filter).map_err(|error| refuse(error.to_string()))?;
        let projection = match self.projection.as_slice() {
            [] => None,
            paths => Some(Projection::parse(paths)?),
        };
        let scope = Scope { filter: Some(Arc::new(filter)), projection };
        Ok(ReactivePartialCollection(self.builder.start_with(scope, Some(bytes)).await?))
    }
}
