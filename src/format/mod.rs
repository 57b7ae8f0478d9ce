//! From events to the bytes of records, and the names of topics and subjects. Pure: no I/O, no state between events.
//!
//! A format is an [`Encoder`]. It writes any number of records for an event (none, where a peer's format has none) through a
//! [`RecordWriter`], which adds the header and the destination. Everything ends up in one buffer per batch.

mod dead_letter;
mod header;
mod json;
mod memo;
mod name;
mod record;

pub use dead_letter::DeadLetter;
pub use header::Header;
pub use json::Json;
pub use name::{Template, TemplateError, collision_key, murmur2};
pub use record::{Addressing, Encoded, Record, RecordInProgress, RecordWriter, Route, SubjectPart, To};

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::bson::Malformed;
use crate::event::ChangeEvent;

/// An event that can't be written in this format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unencodable {
    /// Its bytes are damaged.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It has no key, or one without `_id`.
    #[error("the document has no _id")]
    NoKey,
}

/// Writes events in one format.
pub trait Encoder: Send + Sync + fmt::Debug {
    /// Appends the event's records. After an error the writer is as it was before.
    fn encode(
        &self,
        event: &ChangeEvent<'_>,
        route: &Arc<Route>,
        out: &mut RecordWriter,
    ) -> Result<(), Unencodable>;
}

/// The formats, by the names that configuration and command line use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case", try_from = "String")]
pub enum Format {
    /// Relaxed Extended JSON: what most consumers read without help. Can't tell int32 from int64.
    #[default]
    Json,
    /// Canonical Extended JSON: exact types.
    JsonCanonical,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 2] = [Self::Json, Self::JsonCanonical];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::JsonCanonical => "json-canonical",
        }
    }

    /// Its encoder.
    pub fn encoder(self) -> Box<dyn Encoder> {
        match self {
            Self::Json => Box::new(Json::relaxed()),
            Self::JsonCanonical => Box::new(Json::canonical()),
        }
    }
}

impl TryFrom<String> for Format {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|format| format.name() == name).ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.iter().map(|format| format.name()).collect();
            format!("unknown format `{name}`: use one of {}", known.join(", "))
        })
    }
}
