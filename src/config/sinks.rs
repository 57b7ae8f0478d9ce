//! The sinks of a configuration: each a table `[sinks.NAME]`, whose `type` says which other keys it takes.

use serde::Deserialize;

use super::lines;
use crate::event::ImageSettings;
use crate::format::Format;

#[cfg(feature = "kafka")]
pub use crate::sink::kafka::Settings as Kafka;
#[cfg(feature = "nats")]
pub use crate::sink::nats::Settings as Nats;

#[cfg(not(feature = "kafka"))]
pub use super::missing::Missing as Kafka;
#[cfg(not(feature = "nats"))]
pub use super::missing::Missing as Nats;

/// A sink's settings.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "there is a handful of them, made once")]
pub enum Sink {
    /// Apache Kafka.
    Kafka(Kafka),
    /// NATS JetStream.
    Nats(Nats),
    /// Standard output.
    Stdout(lines::Stdout),
    /// A file.
    File(lines::File),
}

impl Sink {
    /// Its type.
    pub fn kind(&self) -> SinkKind {
        match self {
            Self::Kafka(_) => SinkKind::Kafka,
            Self::Nats(_) => SinkKind::Nats,
            Self::Stdout(_) => SinkKind::Stdout,
            Self::File(_) => SinkKind::File,
        }
    }

    /// The format of its events.
    #[allow(clippy::match_same_arms, reason = "sinks that are left out of the build share a type")]
    pub fn format(&self) -> Format {
        match self {
            Self::Kafka(settings) => settings.format,
            Self::Nats(settings) => settings.format,
            Self::Stdout(settings) => settings.format,
            Self::File(settings) => settings.format,
        }
    }

    /// Whether it keeps only the last message of each document, which must then hold the whole document.
    pub fn needs_full_images(&self) -> bool {
        match self {
            #[cfg(feature = "nats")]
            Self::Nats(settings) => settings.needs_full_images(),
            _ => false,
        }
    }

    /// Whether its checkpoint can be kept nowhere else.
    pub fn keeps_its_checkpoint(&self) -> bool {
        match self {
            Self::Kafka(settings) => settings.keeps_its_checkpoint(),
            Self::Nats(_) | Self::Stdout(_) | Self::File(_) => false,
        }
    }

    /// Which images its events have.
    #[allow(clippy::match_same_arms, reason = "sinks that are left out of the build share a type")]
    pub fn images(&self) -> ImageSettings {
        match self {
            Self::Kafka(settings) => settings.images,
            Self::Nats(settings) => settings.images,
            Self::Stdout(settings) => settings.images,
            Self::File(settings) => settings.images,
        }
    }

    /// Whether the `mongodb` formats have what change streams show with `showExpandedEvents`.
    #[allow(clippy::match_same_arms, reason = "sinks that are left out of the build share a type")]
    pub fn expanded_events(&self) -> bool {
        match self {
            Self::Kafka(settings) => settings.expanded_events,
            Self::Nats(settings) => settings.expanded_events,
            Self::Stdout(settings) => settings.expanded_events,
            Self::File(settings) => settings.expanded_events,
        }
    }
}

/// The word behind `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SinkKind {
    /// Apache Kafka.
    Kafka,
    /// NATS JetStream.
    Nats,
    /// Standard output.
    Stdout,
    /// A file.
    File,
}

impl SinkKind {
    /// The word itself.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Nats => "nats",
            Self::Stdout => "stdout",
            Self::File => "file",
        }
    }
}
