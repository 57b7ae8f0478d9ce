//! What can't become an event, and why.

use std::borrow::Cow;

use crate::bson::extjson::{Mode, write_doc};
use crate::bson::{Malformed, RawValue};
use crate::event::{Change, ChangeEvent, Delta, DeltaVisitor, Position};

/// An operation that can't be published, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("oplog entry {at}{}: {what}", of(.ns))]
pub struct Fault {
    /// The operation's position.
    pub at: Position,
    /// Which policy decides about it.
    pub kind: FaultKind,
    /// Its namespace as the oplog has it, as far as it can be read.
    pub ns: String,
    /// What is wrong with it.
    pub what: String,
}

/// What sort of fault it is: for each there is a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Well-formed, and not understood: an operation, a command, a form of update that a later version of the server may have brought.
    Unknown,
    /// Damaged bytes, or what a format can't write.
    Unreadable,
}

impl FaultKind {
    /// A short name, for metrics and dead letters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Unreadable => "unreadable",
        }
    }
}

fn of(ns: &str) -> String {
    if ns.is_empty() { String::new() } else { format!(" of {ns}") }
}

/// Why something can't become an event.
#[derive(Debug)]
pub(in crate::source::oplog) struct Why {
    kind: FaultKind,
    what: Cow<'static, str>,
}

impl Why {
    /// Damaged bytes.
    pub(in crate::source::oplog) fn unreadable(what: &'static str) -> Self {
        Self { kind: FaultKind::Unreadable, what: Cow::Borrowed(what) }
    }

    pub(super) fn at(self, at: Position, ns: &[u8]) -> Fault {
        let ns = String::from_utf8_lossy(ns).into_owned();
        Fault { at, kind: self.kind, ns, what: self.what.into_owned() }
    }
}

impl From<&'static str> for Why {
    fn from(what: &'static str) -> Self {
        Self { kind: FaultKind::Unknown, what: Cow::Borrowed(what) }
    }
}

impl From<String> for Why {
    fn from(what: String) -> Self {
        Self { kind: FaultKind::Unknown, what: Cow::Owned(what) }
    }
}

impl From<Malformed> for Why {
    fn from(error: Malformed) -> Self {
        Self { kind: FaultKind::Unreadable, what: Cow::Owned(error.to_string()) }
    }
}

/// The fault of an event that a format refused, with the format's reason.
pub fn unencodable(event: &ChangeEvent<'_>, reason: String) -> Fault {
    let kind = if is_unknown_diff(&event.change) { FaultKind::Unknown } else { FaultKind::Unreadable };
    Fault { at: event.at, kind, ns: event.ns.to_string(), what: reason }
}

/// Whether it is an update whose diff is sound BSON, but not of the grammar that is known. Looked at only when something failed: a format
/// finds it anyway.
fn is_unknown_diff(change: &Change<'_>) -> bool {
    let Change::Update { delta: delta @ Delta::Diff(diff), .. } = change else { return false };
    write_doc(&mut Vec::new(), *diff, Mode::Canonical).is_ok()
        && delta.visit(&mut Vec::new(), &mut Nobody).is_err()
}

/// Cares only whether a delta can be read.
struct Nobody;

impl DeltaVisitor for Nobody {
    fn updated(&mut self, _: &[u8], _: RawValue<'_>) -> Result<(), Malformed> {
        Ok(())
    }
    fn removed(&mut self, _: &[u8]) {}
    fn truncated(&mut self, _: &[u8], _: i32) {}
}
