//! What a collection holds at a point in time: maps that share with earlier versions of themselves what has not changed.

use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;
use serde::de::DeserializeOwned;

use super::document::Doc;
use super::index::Index;
use super::key::Key;
use crate::event::Position;

/// The documents by key, and by the keys of each index.
pub(super) struct State<T> {
    docs: OrdMap<Key, Doc<T>>,
    indexes: Vec<OrdMap<Key, Doc<T>>>,
    specs: Arc<[Index<T>]>,
    /// Everything up to here is in it.
    pub(super) at: Position,
    /// The number of the last batch that is in it.
    pub(super) sequence: u64,
}

impl<T> Clone for State<T> {
    fn clone(&self) -> Self {
        Self {
            docs: self.docs.clone(),
            indexes: self.indexes.clone(),
            specs: Arc::clone(&self.specs),
            at: self.at,
            sequence: self.sequence,
        }
    }
}

impl<T> fmt::Debug for State<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("documents", &self.docs.len())
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl<T> State<T> {
    pub(super) fn new(specs: Arc<[Index<T>]>) -> Self {
        let indexes = specs.iter().map(|_| OrdMap::new()).collect();
        Self { docs: OrdMap::new(), indexes, specs, at: Position::default(), sequence: 0 }
    }

    /// The same collection without documents.
    pub(super) fn emptied(&self) -> Self {
        Self { at: self.at, sequence: self.sequence, ..Self::new(Arc::clone(&self.specs)) }
    }

    pub(super) fn len(&self) -> usize {
        self.docs.len()
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Doc<T>> {
        self.docs.get(key)
    }

    /// All documents, in the order of their keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Doc<T>> {
        self.docs.values()
    }

    /// The place of the index of that name.
    pub(super) fn index(&self, name: &str) -> Option<usize> {
        self.specs.iter().position(|index| index.name == name)
    }

    /// The documents of an index whose entries lie within these bounds, in order.
    pub(super) fn range(
        &self,
        index: usize,
        from: Bound<&Key>,
        to: Bound<&Key>,
    ) -> impl Iterator<Item = &Doc<T>> {
        self.indexes[index].range::<_, Key>((from, to)).map(|(_, doc)| doc)
    }
}

impl<T: DeserializeOwned> State<T> {
    /// Puts a document there; gives the one that was there.
    pub(super) fn put(&mut self, key: &Key, doc: Doc<T>) -> Option<Doc<T>> {
        if self.specs.is_empty() {
            return self.docs.insert(key.clone(), doc);
        }
        let old = self.docs.insert(key.clone(), doc.clone());
        for (index, map) in self.specs.iter().zip(&mut self.indexes) {
            let entries = index.entries(key, &doc);
            for gone in old.iter().flat_map(|old| index.entries(key, old)) {
                if entries.binary_search(&gone).is_err() {
                    map.remove(&gone);
                }
            }
            for entry in entries {
                map.insert(entry, doc.clone());
            }
        }
        old
    }

    /// Takes a document out.
    pub(super) fn remove(&mut self, key: &Key) -> Option<Doc<T>> {
        let old = self.docs.remove(key)?;
        for (index, map) in self.specs.iter().zip(&mut self.indexes) {
            for gone in index.entries(key, &old) {
                map.remove(&gone);
            }
        }
        Some(old)
    }

    /// The same without documents; gives those that were there.
    pub(super) fn clear(&mut self) -> OrdMap<Key, Doc<T>> {
        self.indexes.iter_mut().for_each(OrdMap::clear);
        std::mem::take(&mut self.docs)
    }
}
