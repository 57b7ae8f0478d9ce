//! What to do with what can't be handled as usual: the table `[on]` of the configuration.

use serde::Deserialize;

use crate::error::{Error, ErrorKind};
use crate::source::oplog::{Fault, FaultKind};

/// What to do in each case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    /// With an entry that can't be understood.
    pub unknown: OnFault,
    /// With damaged bytes, and with what the format can't write.
    pub unreadable: OnFault,
    /// With a collection whose contents were replaced by some that no events have told.
    pub replaced: OnReplaced,
}

/// What to do with what can't become an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFault {
    /// Stop, with its position: leaving it out would lose data, such as with the next version of the server.
    #[default]
    Stop,
    /// Publish it, in its place, as a dead letter: its bytes and what is wrong with them.
    DeadLetter,
    /// Leave it out, log it, count it.
    Skip,
}

/// What to do with a collection whose contents were replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnReplaced {
    /// Say so in the event.
    #[default]
    Mark,
    /// Stop before it.
    Stop,
}

impl Policies {
    /// What to do with that sort of fault.
    pub fn on(&self, fault: FaultKind) -> OnFault {
        match fault {
            FaultKind::Unknown => self.unknown,
            FaultKind::Unreadable => self.unreadable,
        }
    }
}

/// The error that stops a pipeline at a fault.
pub(super) fn stopped(fault: &Fault) -> Error {
    let kind = match fault.kind {
        FaultKind::Unknown => ErrorKind::Unknown,
        FaultKind::Unreadable => ErrorKind::Unreadable,
    };
    Error::new(kind, fault.to_string())
}
