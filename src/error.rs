//! The one error of the connector: what kind, what happened, and what the operator can do.

use std::error::Error as StdError;
use std::fmt;

/// Something went wrong. Shown as one line: what happened, and after `: ` what to do about it.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    what: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What sort of trouble it is; decides what happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The configuration or the command line is wrong. Nothing was started.
    Config,
    /// The deployment can't be tailed: a standalone server, a mongos, a hidden oplog.
    Unsupported,
    /// Credentials were refused, or lack a privilege.
    Unauthorized,
    /// MongoDB can't be reached, or broke off; it may come back.
    SourceUnavailable,
    /// The position to resume from is in no reachable member's oplog.
    PositionLost,
    /// There is no checkpoint, but the sink already holds this connector's records.
    CheckpointLost,
    /// The checkpoint or the sink belongs to another replica set.
    OtherSource,
    /// An oplog entry that can't be understood.
    Unknown,
    /// Damaged bytes, or a document that can't be encoded.
    Unreadable,
    /// An event is larger than the sink takes.
    TooLarge,
    /// A collection's contents were replaced by some that no events have told.
    Replaced,
    /// The sink can't be reached, or did not confirm; it may come back.
    SinkUnavailable,
    /// The sink refused a record or the way we use it, for good.
    Refused,
    /// Two namespaces would share a topic or a subject.
    Collision,
    /// Another instance has taken over.
    Fenced,
    /// The checkpoint store can't be reached; it may come back.
    StoreUnavailable,
    /// A stored checkpoint can't be read.
    CheckpointUnreadable,
    /// A user's handler refused an operation.
    Handler,
    /// A live collection or an observer has ended.
    Ended,
    /// A file or a socket of this machine.
    Local,
    /// A defect of this program.
    Internal,
}

/// What the supervisor does with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Wait, open everything again, go on from the last acknowledged position.
    Retry,
    /// End with this error: going on would lose data, or could never work.
    Halt,
}

impl ErrorKind {
    /// What to do about it, and the operator's sentence.
    fn policy(self) -> (Disposition, &'static str) {
        use Disposition::{Halt, Retry};
        match self {
            Self::Config => (Halt, "correct the configuration"),
            Self::Unsupported => {
                (Halt, "connect to a replica set, with every data-bearing member in the URI")
            }
            Self::Unauthorized => (Halt, "check the credentials and the privileges (README, Privileges)"),
            Self::SourceUnavailable => (Retry, "check that MongoDB runs and that the URI is right"),
            Self::PositionLost => (
                Halt,
                "changes may be missing: take a new copy of the data, then `mongo-observer checkpoint clear` and start from now or earliest",
            ),
            Self::CheckpointLost => (
                Halt,
                "to go on there, `mongo-observer checkpoint set` that position; to start anew, empty the sink or use another prefix",
            ),
            Self::OtherSource => (Halt, "use another checkpoint and another prefix for another replica set"),
            Self::Unknown => (
                Halt,
                "nothing was skipped; to go on without it, set [on] unknown = \"dead_letter\" or \"skip\"",
            ),
            Self::Unreadable => (
                Halt,
                "nothing was skipped; to go on without it, set [on] unreadable = \"dead_letter\" or \"skip\"",
            ),
            Self::TooLarge => (
                Halt,
                "nothing was skipped; raise the sink's limit, or set [on] too_large = \"dead_letter\" or \"header_only\"",
            ),
            Self::Replaced => (
                Halt,
                "to have such events marked and go on, set [on] replaced = \"mark\"; then copy the collection anew",
            ),
            Self::SinkUnavailable => (Retry, "check that the sink runs and that its address is right"),
            Self::Refused => (Halt, "correct the sink's settings, then start again: nothing was skipped"),
            Self::Collision => (Halt, "map one of the namespaces to another name"),
            Self::Fenced => (Halt, "another instance has taken over; run only one of them"),
            Self::StoreUnavailable => (Retry, "check that the checkpoint store can be written"),
            Self::CheckpointUnreadable => (Halt, "restore it, or `mongo-observer checkpoint set` a position"),
            Self::Handler => {
                (Halt, "nothing was skipped: start again behind the last position that was handled")
            }
            Self::Ended => (Halt, "start it again"),
            Self::Local => (Halt, "check permissions and free space"),
            Self::Internal => (Halt, "please report this as a defect"),
        }
    }

    /// Whether it is worth trying again.
    pub fn disposition(self) -> Disposition {
        self.policy().0
    }

    /// A short name for metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Unsupported => "unsupported",
            Self::Unauthorized => "unauthorized",
            Self::SourceUnavailable => "source_unavailable",
            Self::PositionLost => "position_lost",
            Self::CheckpointLost => "checkpoint_lost",
            Self::OtherSource => "other_source",
            Self::Unknown => "unknown",
            Self::Unreadable => "unreadable",
            Self::TooLarge => "too_large",
            Self::Replaced => "replaced",
            Self::SinkUnavailable => "sink_unavailable",
            Self::Refused => "refused",
            Self::Collision => "collision",
            Self::Fenced => "fenced",
            Self::StoreUnavailable => "store_unavailable",
            Self::CheckpointUnreadable => "checkpoint_unreadable",
            Self::Handler => "handler",
            Self::Ended => "ended",
            Self::Local => "local",
            Self::Internal => "internal",
        }
    }
}

impl Error {
    /// An error of that kind; `what` says what happened, where, and with which value, without a final full stop.
    pub fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), source: None }
    }

    /// The same, with the cause, whose text is shown behind `what`.
    pub fn caused(
        kind: ErrorKind,
        what: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self { kind, what: what.into(), source: Some(source.into()) }
    }

    /// The same, caused by an error of MongoDB's driver, whose own text repeats the command and the server's whole reply.
    #[cfg(feature = "mongodb")]
    pub fn mongodb(kind: ErrorKind, what: impl Into<String>, error: &mongodb::error::Error) -> Self {
        Self::caused(kind, what, driver_words(error))
    }

    /// Its kind.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What happened, without the advice.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Says first where it happened.
    #[must_use]
    pub fn within(mut self, place: impl fmt::Display) -> Self {
        self.what = format!("{place}: {}", self.what);
        self
    }
}

/// What the driver or the server says, without the command and the documents that it says it of.
#[cfg(feature = "mongodb")]
fn driver_words(error: &mongodb::error::Error) -> String {
    use mongodb::error::{ErrorKind as Kind, WriteFailure};
    let before_documents = |message: &str| message.split(" {").next().unwrap_or_default().to_owned();
    match error.kind.as_ref() {
        Kind::Command(error) => {
            format!("{} ({} {})", before_documents(&error.message), error.code, error.code_name)
        }
        Kind::Write(WriteFailure::WriteError(error)) => {
            format!("{} ({})", before_documents(&error.message), error.code)
        }
        Kind::Write(WriteFailure::WriteConcernError(error)) => {
            format!("{} ({} {})", before_documents(&error.message), error.code, error.code_name)
        }
        kind => kind.to_string(),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        if let Some(source) = &self.source {
            // One line, whatever the cause prints.
            write!(f, ": {}", source.to_string().split_whitespace().collect::<Vec<_>>().join(" "))?;
        }
        write!(f, " ({})", self.kind.policy().1)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
