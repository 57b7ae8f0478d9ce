//! The tables of a configuration besides the sinks, with their defaults.
//!
//! `config/default.toml` shows the same to people; a test keeps the two equal.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::credentials::with_credentials;
use super::reading::{list, replaced, start, word};
use crate::error::{Error, ErrorKind};
use crate::pipeline::{Backoff, OnFault, OnReplaced, OnTooLarge, Policies, Start};
use crate::secret::Secret;
use crate::source::Namespaces;

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

impl Mongodb {
    /// The connection string, with the credentials that are given beside it.
    ///
    /// Reads the files it names: call it for each new connection, so that rotated secrets are used.
    pub fn uri(&self) -> Result<Secret, Error> {
        let uri = Secret::resolve(Some(&self.uri), self.uri_file.as_deref(), "mongodb.uri_file")?;
        let password =
            Secret::resolve(self.password.as_ref(), self.password_file.as_deref(), "mongodb.password_file")?;
        let uri = uri.unwrap_or_default();
        if self.username.is_none() && password.is_none() {
            return Ok(uri);
        }
        with_credentials(uri.expose(), self.username.as_deref(), password.as_ref().map(Secret::expose))
            .map(Secret::new)
            .map_err(|what| Error::new(ErrorKind::Config, what))
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
    #[serde(deserialize_with = "start")]
    pub start: Start,
    /// The namespaces that are read: exact, `db.*`, or `/regex/`. Empty: all but admin, config, local, system and temporary collections.
    /// Of the latter two, whatever is named exactly.
    #[serde(deserialize_with = "list")]
    pub include: Vec<String>,
    /// Namespaces that are left out, in the same forms; wins over `include`.
    #[serde(deserialize_with = "list")]
    pub exclude: Vec<String>,
}

impl Source {
    /// The captured namespaces.
    pub fn namespaces(&self) -> Result<Namespaces, Error> {
        Namespaces::parse(&self.include, &self.exclude)
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
    pub budget_bytes: u32,
    /// A watermark is published when nothing else was for that long.
    pub heartbeat_ms: u64,
    /// How long the end may take on SIGTERM: what is under way is acknowledged and the checkpoint stored.
    pub grace_ms: u64,
}

impl Pipeline {
    /// Memory stays flat at about five times this, and more makes nothing faster.
    const BUDGET_BYTES: u32 = 8 << 20;

    /// After how long a silence a watermark is published.
    pub fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.heartbeat_ms)
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
    /// The same, as the supervisor takes it.
    pub fn backoff(&self) -> Backoff {
        Backoff {
            first: Duration::from_millis(self.initial_ms),
            longest: Duration::from_millis(self.max_ms),
            startup: (self.startup_ms > 0).then(|| Duration::from_millis(self.startup_ms)),
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self { initial_ms: 250, max_ms: 30_000, startup_ms: 10_000 }
    }
}

/// `[on]`: what to do with what can't be handled as usual. Later versions know more cases and more words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct On {
    /// An oplog entry that can't be understood.
    #[serde(deserialize_with = "word")]
    pub unknown: OnFault,
    /// Damaged bytes, or an event that can't be encoded.
    #[serde(deserialize_with = "word")]
    pub unreadable: OnFault,
    /// An event that is larger than the sink takes.
    #[serde(deserialize_with = "word")]
    pub too_large: OnTooLarge,
    /// An event of a namespace that has no place in the sink.
    #[serde(deserialize_with = "word")]
    pub unroutable: OnFault,
    /// A collection whose contents were replaced by some that no events have told.
    #[serde(deserialize_with = "replaced")]
    pub replaced: OnReplaced,
}

impl On {
    /// The same, as the pipeline takes it.
    pub fn policies(&self) -> Policies {
        let Self { unknown, unreadable, too_large, unroutable, replaced } = *self;
        Policies { unknown, unreadable, too_large, unroutable, replaced }
    }
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
