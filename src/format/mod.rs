//! From events to the bytes of records, and the names of topics and subjects. Pure: no I/O, no state between events.
//!
//! A format is an [`Encoder`]. It writes any number of records for an event (none, where a peer's format has none) through a
//! [`RecordWriter`], which adds the header and the destination. Everything ends up in one buffer per batch.

mod bson;
mod dead_letter;
mod header;
mod json;
mod lists;
mod manifest;
mod memo;
mod mongodb;
mod name;
mod record;
#[cfg(test)]
mod tests;

pub use bson::Bson;
pub use dead_letter::DeadLetter;
pub use header::Header;
pub use json::Json;
pub use manifest::{EventTraits, Manifest};
pub use mongodb::Mongodb;
pub use name::{Template, TemplateError, collision_key, murmur2};
pub use record::{
    Addressing, Encoded, Record, RecordInProgress, RecordWriter, Route, SubjectPart, To, WriterMark,
};

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::bson::Malformed;
use crate::bson::extjson::java::Style;
use crate::event::{Change, ChangeEvent, Namespace};

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

    /// Whether the format has events of that kind. Those that it lacks get no place in the sink.
    fn publishes(&self, change: &Change<'_>) -> bool {
        let _ = change;
        true
    }

    /// Whether a rename is also published where it leads to, and not only where it comes from.
    fn tells_where_renames_lead(&self) -> bool {
        true
    }
}

/// What formats may want to know beside the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether the `mongodb` formats have what change streams show with `showExpandedEvents`.
    pub expanded_events: bool,
    /// The server's version, major and minor: change streams differ.
    pub server: (u32, u32),
}

impl Default for Options {
    /// What a change stream of MongoDB 6.0 shows by default.
    fn default() -> Self {
        Self { expanded_events: false, server: (6, 0) }
    }
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
    /// BSON: exact and fast.
    Bson,
    /// As MongoDB's Kafka connector writes events by default.
    Mongodb,
    /// As MongoDB's Kafka connector writes them with its formatter `SimplifiedJson`.
    MongodbSimplified,
    /// As MongoDB's Kafka connector writes them with its formatter `ExtendedJson`.
    MongodbExtended,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 6] = [
        Self::Json,
        Self::JsonCanonical,
        Self::Bson,
        Self::Mongodb,
        Self::MongodbSimplified,
        Self::MongodbExtended,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::JsonCanonical => "json-canonical",
            Self::Bson => "bson",
            Self::Mongodb => "mongodb",
            Self::MongodbSimplified => "mongodb-simplified",
            Self::MongodbExtended => "mongodb-extended",
        }
    }

    /// Its encoder.
    pub fn encoder(self) -> Box<dyn Encoder> {
        self.encoder_with(Options::default())
    }

    /// Its encoder, for that server.
    pub fn encoder_with(self, options: Options) -> Box<dyn Encoder> {
        match self {
            Self::Json => Box::new(Json::relaxed()),
            Self::JsonCanonical => Box::new(Json::canonical()),
            Self::Bson => Box::new(Bson),
            Self::Mongodb => Box::new(Mongodb::new(Style::Strict, options)),
            Self::MongodbSimplified => Box::new(Mongodb::new(Style::Simplified, options)),
            Self::MongodbExtended => Box::new(Mongodb::new(Style::Extended, options)),
        }
    }

    /// Whether commands on a database have a topic of that database's, and not one that all databases share.
    pub fn gives_databases_topics(self) -> bool {
        self.is_mongodbs()
    }

    /// Whether all events of a document have its key, and no event of another one has it.
    pub fn keys_are_documents(self) -> bool {
        !self.is_mongodbs()
    }

    /// Whether it is that of MongoDB's Kafka connector.
    fn is_mongodbs(self) -> bool {
        matches!(self, Self::Mongodb | Self::MongodbSimplified | Self::MongodbExtended)
    }

    /// Whether an event is text on one line.
    pub fn is_text(self) -> bool {
        self != Self::Bson
    }

    /// Whether an event tells its position, so that the last one tells how far a reader, or the connector itself, has come.
    pub fn tells_position(self) -> bool {
        !self.is_mongodbs()
    }

    /// The Kafka topic of a namespace. Where the format is another connector's, commands on databases go where that connector has them.
    pub fn topic(
        self,
        template: &Template,
        prefix: &str,
        ns: Namespace<'_>,
    ) -> Result<String, TemplateError> {
        if self.gives_databases_topics() && ns.coll.is_empty() {
            template.database_topic(prefix, ns.db)
        } else {
            template.topic(prefix, ns)
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
