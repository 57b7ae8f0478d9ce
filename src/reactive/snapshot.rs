//! A collection at a point in time, as readers see it.

use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::vec;

use bson::{Bson, Timestamp};

use super::document::Doc;
use super::key::{Key, key_of_bson};
use super::store::State;
use crate::error::{Error, ErrorKind};
use crate::event::Position;
use crate::query::{Filter, MatchError};

/// A scan looks at the beginnings of so many documents before it matches the first of them. Where they lie is not foreseeable, so the
/// processor waits for the memory of each; beginnings that don't depend on each other are waited for together.
const AHEAD: usize = 32;

/// The collection as it was at one point of the source's history: between transactions, never within one. It never changes, and may be held
/// as long as one likes; what it shares with later ones is kept once.
pub struct Snapshot<T>(Arc<State<T>>);

impl<T> Clone for Snapshot<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Snapshot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Snapshot").field(&self.0).finish()
    }
}

impl<T> Snapshot<T> {
    pub(super) fn new(state: Arc<State<T>>) -> Self {
        Self(state)
    }

    pub(super) fn sequence(&self) -> u64 {
        self.0.sequence
    }

    /// The number of documents.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Everything up to this position is in it.
    pub fn position(&self) -> Position {
        self.0.at
    }

    /// The same as a cluster time.
    pub fn cluster_time(&self) -> Timestamp {
        Timestamp { time: self.0.at.t, increment: self.0.at.i }
    }

    /// The document with that `_id`. Numbers are the same whatever their type, as on the server.
    pub fn get(&self, id: impl Into<Bson>) -> Option<Doc<T>> {
        self.0.get(&key_of_bson(&id.into())?).cloned()
    }

    /// All documents, in the server's order of their `_id`s.
    pub fn iter(&self) -> impl Iterator<Item = &Doc<T>> {
        self.0.iter()
    }

    /// The documents that match, in the order of their `_id`s. Fails where the server would fail.
    pub fn find(&self, filter: &Filter) -> Result<Vec<Doc<T>>, MatchError> {
        let (mut docs, mut found) = (self.iter(), Vec::new());
        let mut ahead = Vec::with_capacity(AHEAD);
        loop {
            ahead.extend(docs.by_ref().take(AHEAD).inspect(|doc| doc.touch()));
            if ahead.is_empty() {
                return Ok(found);
            }
            for doc in ahead.drain(..) {
                if filter.matches(doc.raw())? {
                    found.push(doc.clone());
                }
            }
        }
    }

    /// The documents by one of the collection's indexes.
    pub fn by(&self, index: &str) -> Result<ByIndex<'_, T>, Error> {
        let place = self.0.index(index);
        let place = place
            .ok_or_else(|| Error::new(ErrorKind::Config, format!("there is no index named `{index}`")))?;
        Ok(ByIndex { state: &self.0, index: place })
    }
}

/// The documents of a snapshot in the order of an index.
#[derive(Debug)]
pub struct ByIndex<'a, T> {
    state: &'a State<T>,
    index: usize,
}

impl<'a, T> ByIndex<'a, T> {
    /// Those with that value.
    pub fn eq(&self, value: impl Into<Bson>) -> vec::IntoIter<&'a Doc<T>> {
        let value: Bson = value.into();
        self.range(value.clone()..=value)
    }

    /// Those with a value within that range, in order. An array's document comes once for each of its elements there.
    pub fn range<V: Into<Bson> + Clone>(&self, range: impl RangeBounds<V>) -> vec::IntoIter<&'a Doc<T>> {
        let key = |value: &V| key_of_bson(&value.clone().into());
        let from = match range.start_bound() {
            Bound::Unbounded => Some(None),
            Bound::Included(value) => key(value).map(Some),
            Bound::Excluded(value) => key(value).map(|key| Some(behind(&key))),
        };
        let to = match range.end_bound() {
            Bound::Unbounded => Some(None),
            Bound::Included(value) => key(value).map(|key| Some(behind(&key))),
            Bound::Excluded(value) => key(value).map(Some),
        };
        let is_one = |from: &Option<Key>, to: &Option<Key>| match (from, to) {
            (Some(from), Some(to)) => from <= to,
            _ => true,
        };
        let Some((from, to)) = from.zip(to).filter(|(from, to)| is_one(from, to)) else {
            return Vec::new().into_iter();
        };
        let from = from.as_ref().map_or(Bound::Unbounded, Bound::Included);
        let to = to.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let found: Vec<_> = self.state.range(self.index, from, to).collect();
        found.into_iter()
    }

    /// All, in order.
    #[allow(clippy::iter_without_into_iter)]
    pub fn iter(&self) -> vec::IntoIter<&'a Doc<T>> {
        self.range::<Bson>(..)
    }
}

/// Behind every entry that begins with these bytes: no value's bytes are the beginning of another's, and the keys behind them end in a type.
fn behind(key: &Key) -> Key {
    let mut bytes = key.as_bytes().to_vec();
    bytes.extend_from_slice(&[0xff; 4]);
    Key::from_bytes(&bytes)
}
