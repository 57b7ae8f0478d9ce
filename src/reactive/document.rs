//! One document: its bytes, and the typed view of them.

use std::fmt;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use serde::de::DeserializeOwned;

use crate::bson::{RawDoc, RawValue};

/// A document of a collection at a point in time. Cheap to clone, and never changes: a later version is another one.
pub struct Doc<T>(Arc<Inner<T>>);

struct Inner<T> {
    /// What is shown.
    raw: Box<[u8]>,
    /// The whole document, where only a part of it is shown: later deltas are those of the whole one.
    whole: Option<Box<[u8]>>,
    /// The typed view, once it was asked for; none if the document is not of that type.
    typed: OnceLock<Option<Box<T>>>,
    failures: Arc<AtomicU64>,
}

/// A document that is not of the collection's type.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the document is not a {type_name}: {reason}")]
pub struct DecodeError {
    /// The type's name.
    pub type_name: &'static str,
    /// What does not fit.
    pub reason: String,
}

impl<T> Doc<T> {
    /// Documents that turn out not to be of the type are counted in `failures`, each once.
    pub(super) fn new(raw: RawDoc<'_>, whole: Option<RawDoc<'_>>, failures: &Arc<AtomicU64>) -> Self {
        let (raw, whole) = (raw.as_bytes().into(), whole.map(|whole| whole.as_bytes().into()));
        Self(Arc::new(Inner { raw, whole, typed: OnceLock::new(), failures: Arc::clone(failures) }))
    }

    /// The document as the server has it; of a projected collection the part that it shows.
    pub fn raw(&self) -> RawDoc<'_> {
        RawDoc::known(&self.0.raw)
    }

    /// Has its first bytes come from memory.
    pub(super) fn touch(&self) {
        black_box(self.0.raw.first().copied());
    }

    /// The `_id`.
    pub fn id(&self) -> Option<RawValue<'_>> {
        self.raw().get("_id")
    }

    pub(super) fn whole(&self) -> RawDoc<'_> {
        RawDoc::known(self.0.whole.as_ref().unwrap_or(&self.0.raw))
    }

    /// Whether both are the same version, or have the same bytes.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.raw == other.0.raw
    }
}

impl<T: DeserializeOwned> Doc<T> {
    /// The typed view. Decoded when it is first asked for, and kept.
    pub fn typed(&self) -> Result<&T, DecodeError> {
        let typed = self.0.typed.get_or_init(|| {
            let decoded = bson::deserialize_from_slice(&self.0.raw).ok().map(Box::new);
            if decoded.is_none() {
                self.0.failures.fetch_add(1, Ordering::Relaxed);
            }
            decoded
        });
        typed.as_deref().ok_or_else(|| DecodeError {
            type_name: std::any::type_name::<T>(),
            reason: bson::deserialize_from_slice::<T>(&self.0.raw)
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default(),
        })
    }
}

impl<T> Clone for Doc<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Doc<T> {
    /// Only the size: document contents are never logged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Doc({} bytes)", self.0.raw.len())
    }
}
