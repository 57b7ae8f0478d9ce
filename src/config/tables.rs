//! The tables of a configuration besides the sinks, with their defaults.
//!
//! `config/default.toml` shows the same to people; a test keeps the two equal.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use super::reading::{list, word};
use crate::error::Error;
use crate::event::Position;
use crate::secret::Secret;

/// `[mongodb]`: where the oplog is.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mongodb {
    /// The connection string. It may hold a password, so it is never shown.
    pub uri: Secret,
    /// A file that holds the connection string; wins over `uri`.
    pub uri_file: Option<PathBuf>,
    /// Replaces the connection string's user.
    pub username: Option<String>,
    /// Replaces the connection string's password.
    pub password: Option<Secret>,
    /// A file that holds the password; wins over `password`.
    pub password_file: Option<PathBuf>,
}

/// How to reach MongoDB, with its files read.
#[derive(Clone, Debug)]
pub struct Access {
    /// The connection string.
    pub uri: Secret,
    /// Replaces the connection string's user.
    pub username: Option<String>,
    /// Replaces the connection string's password.
    pub password: Option<Secret>,
}

impl Mongodb {
    /// Reads the files it names; call it for each new connection, so that rotated secrets are used.
    pub fn access(&self) -> Result<Access, Error> {
        let uri = Secret::resolve(Some(&self.uri), self.uri_file.as_deref(), "mongodb.uri_file")?;
        let password =
            Secret::resolve(self.password.as_ref(), self.password_file.as_deref(), "mongodb.password_file")?;
        Ok(Access { uri: uri.unwrap_or_default(), username: self.username.clone(), password })
    }
}

impl Default for Mongodb {
    fn default() -> Self {
        Self {
            uri: Secret::new("mongodb://127.0.0.1:27017/?replicaSet=rs0"),
            uri_file: None,
            username: None,
            password: None,
            password_file: None,
        }
    }
}

/// `[source]`: what is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Source {
    /// Where to begin when there is no checkpoint.
    pub start: Start,
    /// The namespaces that are read: exact, `db.*`, or `/regex/`. Empty: all but admin, config, local and system collections.
    #[serde(deserialize_with = "list")]
    pub include: Vec<String>,
    /// Namespaces that are left out, in the same forms; wins over `include`.
    #[serde(deserialize_with = "list")]
    pub exclude: Vec<String>,
}

/// Where to begin when there is no checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With what happens from now on.
    #[default]
    Now,
    /// With the oldest entry that the oplog holds.
    Earliest,
    /// Behind that position.
    At(Position),
}

impl<'de> Deserialize<'de> for Start {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        match word.as_str() {
            "now" => Ok(Self::Now),
            "earliest" => Ok(Self::Earliest),
            position => position.parse().map(Self::At).map_err(|_| {
                de::Error::custom(format!(
                    "can't be `{word}`: use now, earliest or a position such as 1795393406-1"
                ))
            }),
        }
    }
}

/// `[checkpoint]`: where the place to resume from is kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Checkpoint {
    /// Which store.
    #[serde(deserialize_with = "word")]
    pub store: Store,
    /// The file, for `store = "file"`; `{sink}` stands for the sink's name.
    pub path: PathBuf,
    /// The database, for `store = "mongodb"`.
    pub database: String,
    /// The collection, for `store = "mongodb"`.
    pub collection: String,
    /// How often it is stored at most.
    pub interval_ms: u64,
}

/// Where checkpoints are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// With the sink's own records. Standard output keeps none.
    #[default]
    Sink,
    /// In a file of this machine.
    File,
    /// In a collection of the source.
    Mongodb,
}

impl Checkpoint {
    /// What stands for the sink's name in `path`.
    const SINK: &'static str = "{sink}";

    /// Whether each sink has a file of its own.
    pub(super) fn tells_sinks_apart(&self) -> bool {
        self.path.to_string_lossy().contains(Self::SINK)
    }

    /// The file of that sink.
    pub fn path_for(&self, sink: &str) -> PathBuf {
        match self.path.to_str() {
            Some(path) => PathBuf::from(path.replace(Self::SINK, sink)),
            None => self.path.clone(),
        }
    }

    /// How often it is stored at most.
    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms)
    }
}

impl Default for Checkpoint {
    fn default() -> Self {
        Self {
            store: Store::default(),
            path: PathBuf::from("mongo-observer.checkpoint"),
            database: "mongo_observer".to_owned(),
            collection: "checkpoints".to_owned(),
            interval_ms: 1000,
        }
    }
}

/// `[http]`: metrics, probes and status.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// The address to listen on, `HOST:PORT`; empty: no listener.
    pub listen: String,
}

impl Http {
    /// The address, if there shall be a listener.
    pub fn address(&self) -> Option<&str> {
        (!self.listen.is_empty()).then_some(self.listen.as_str())
    }
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: "127.0.0.1:9464".to_owned() }
    }
}

/// `[pipeline]`: limits and times that every sink's pipeline has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pipeline {
    /// How many bytes of oplog may be under way, from the cursor to the sink's acknowledgement.
    pub budget_bytes: usize,
    /// A watermark is published when nothing else was for that long; 0: never.
    pub heartbeat_ms: u64,
    /// How long the end may take on SIGTERM: what is under way is acknowledged and the checkpoint stored.
    pub grace_ms: u64,
}

impl Pipeline {
    /// Memory stays flat at about five times this, and more makes nothing faster.
    const BUDGET_BYTES: usize = 8 << 20;

    /// After how long a silence a watermark is published.
    pub fn heartbeat(&self) -> Option<Duration> {
        (self.heartbeat_ms > 0).then(|| Duration::from_millis(self.heartbeat_ms))
    }

    /// How long the end may take.
    pub fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms)
    }
}

impl Default for Pipeline {
    fn default() -> Self {
        Self { budget_bytes: Self::BUDGET_BYTES, heartbeat_ms: 10_000, grace_ms: 30_000 }
    }
}

/// `[retry]`: what happens when MongoDB or a sink can't be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// The first pause; it doubles from attempt to attempt.
    pub initial_ms: u64,
    /// The longest pause.
    pub max_ms: u64,
    /// How long the first connection may take, retries and all, before the program gives up; later it never does. 0: never at all.
    pub startup_ms: u64,
}

impl Retry {
    /// The first pause.
    pub fn initial(&self) -> Duration {
        Duration::from_millis(self.initial_ms)
    }

    /// The longest pause.
    pub fn max(&self) -> Duration {
        Duration::from_millis(self.max_ms)
    }

    /// How long the first connection may take, if there is a limit.
    pub fn startup(&self) -> Option<Duration> {
        (self.startup_ms > 0).then(|| Duration::from_millis(self.startup_ms))
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self { initial_ms: 250, max_ms: 30_000, startup_ms: 10_000 }
    }
}

/// `[on]`: what to do with what can't be handled. Later versions know more cases and more words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct On {
    /// An oplog entry of a kind that this version doesn't know.
    #[serde(deserialize_with = "word")]
    pub unknown: Policy,
    /// An entry or a document that is damaged.
    #[serde(deserialize_with = "word")]
    pub unreadable: Policy,
}

/// What to do with what can't be handled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// Stop with an error that names the position.
    #[default]
    Stop,
    /// Leave it out, say so in the log, count it, and go on.
    Skip,
}

/// `[log]`: what is written to standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The least important messages that are written.
    #[serde(deserialize_with = "word")]
    pub level: Level,
    /// How.
    #[serde(deserialize_with = "word")]
    pub format: LogFormat,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing.
    Off,
    /// What ends the program or a pipeline.
    Error,
    /// What needs attention.
    Warn,
    /// What an operator wants to know.
    #[default]
    Info,
    /// What a developer wants to know.
    Debug,
    /// Everything, documents excepted.
    Trace,
}

impl Level {
    /// The word itself.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}
