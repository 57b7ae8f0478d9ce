//! From a pre-image and a delta to the post-image, on raw bytes, as the server applies it: the same values, in the same order.

mod array;
mod diff;
mod fields;
mod modifiers;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use super::Delta;
use super::diff::malformed;
use crate::bson::{DocWriter, Malformed, RawDoc, RawValue};

/// What becomes of an update that does not fit the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// An error: the document is not the one that the server had, so the result would not be the one that it got.
    Strict,
    /// What the server does when it replays its oplog on a document that is newer than the update: what has another type becomes
    /// null or stays, what is missing is ignored. Later updates of the document make it right again.
    Lenient,
}

/// Why a delta could not be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotApplicable {
    /// The document or the delta is damaged, or the delta is none that a server writes.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The delta is not one of this document.
    #[error("the update does not fit the document: `{path}` {what}")]
    Mismatch {
        /// The field, as a path joined with dots.
        path: String,
        /// What about it, as a phrase.
        what: &'static str,
    },
}

impl NotApplicable {
    /// The same, seen from the document around it.
    fn below(self, name: &[u8]) -> Self {
        match self {
            Self::Mismatch { path, what } => {
                let name = String::from_utf8_lossy(name);
                Self::Mismatch { path: format!("{name}.{path}"), what }
            }
            Self::Malformed(_) => self,
        }
    }
}

type Applied = Result<(), NotApplicable>;

/// Writes the post-image of `before` behind what `out` holds; after an error it holds what it held.
///
/// The post-image begins with the `_id`, as the server stores it.
pub fn apply(before: RawDoc<'_>, delta: &Delta<'_>, mode: Strictness, out: &mut Vec<u8>) -> Applied {
    let (start, mut reordered) = (out.len(), Vec::new());
    if before.as_bytes().len() > SIZE_MAX {
        return Err(malformed("update: the document is larger than any that a server stores").into());
    }
    let before = id_first(before, &mut reordered)?;
    out.reserve(before.as_bytes().len() + 64);
    let rules = Rules { mode, grown: 0 };
    let mut image = DocWriter::new(out);
    let applied = match delta {
        Delta::Diff(diff) => diff::apply(rules, before, *diff, &mut image),
        Delta::Modifiers { set, unset } => modifiers::apply(rules, before, *set, *unset, &mut image),
    };
    if applied.is_ok() {
        image.finish();
        if out.len() - start <= SIZE_MAX {
            return applied;
        }
    }
    out.truncate(start);
    applied.and(Err(too_large()))
}

/// The document with its `_id` in front, if it has one: so the server stores it, though a replacement is logged with the `_id` where the
/// client had put it. `buffer` is used where that is not how it comes.
pub fn id_first<'a>(document: RawDoc<'a>, buffer: &'a mut Vec<u8>) -> Result<RawDoc<'a>, Malformed> {
    if document.iter().next().is_none_or(|first| first.is_ok_and(|first| first.name == b"_id")) {
        return Ok(document);
    }
    let Some(id) = document.get("_id") else { return Ok(document) };
    buffer.clear();
    let mut writer = DocWriter::new(buffer);
    writer.append(b"_id", id);
    for element in document {
        let element = element?;
        if element.name != b"_id" {
            writer.append(element.name, element.value);
        }
    }
    writer.finish();
    RawDoc::new(buffer)
}

/// The size of a document within a server: the limit for its users, 16 MiB, and some more for the server's own fields. An update that asks
/// for more is damaged, or means harm: an index of a thousand million would be padded with as many nulls.
const SIZE_MAX: usize = (16 << 20) + (16 << 10);

fn too_large() -> NotApplicable {
    malformed("update: the document would be larger than any that a server stores").into()
}

/// What both encodings have in common.
struct Rules {
    mode: Strictness,
    /// Bytes that did not come from the document. They all end up in the post-image, so they are bounded by its size.
    grown: usize,
}

impl Rules {
    /// An update does not fit: an error, or nothing.
    fn mismatch(&self, name: &[u8], what: &'static str) -> Applied {
        match self.mode {
            Strictness::Lenient => Ok(()),
            Strictness::Strict => {
                Err(NotApplicable::Mismatch { path: String::from_utf8_lossy(name).into_owned(), what })
            }
        }
    }

    /// Appends something that was not there before.
    fn append(&mut self, out: &mut DocWriter<'_>, name: &[u8], value: RawValue<'_>) -> Applied {
        self.grow(name.len() + value.as_bytes().len())?;
        out.append(name, value);
        Ok(())
    }

    fn append_null(&mut self, out: &mut DocWriter<'_>, name: &[u8]) -> Applied {
        self.grow(name.len())?;
        out.append_null(name);
        Ok(())
    }

    fn grow(&mut self, bytes: usize) -> Applied {
        self.grown += bytes + 2;
        if self.grown > SIZE_MAX { Err(too_large()) } else { Ok(()) }
    }
}

const MISSING: &str = "is not there";
const OTHER_TYPE: &str = "has another type";
