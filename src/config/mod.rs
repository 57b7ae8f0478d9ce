//! The configuration: built-in defaults, a TOML file, the environment, and the command line, the later ones stronger.
//!
//! Every key that is not known and every value that can't be is an error that names the key, the place it came from, and what to write
//! instead. `config/default.toml` lists all keys. Components own their settings; this module only brings them together.

mod credentials;
mod explain;
mod layers;
pub mod lines;
#[cfg(not(all(feature = "kafka", feature = "nats")))]
mod missing;
mod reading;
mod sinks;
mod tables;
mod validate;

pub use layers::{Override, PREFIX};
pub use sinks::{Kafka, Nats, Sink, SinkKind};
pub use tables::{Checkpoint, Http, Level, Log, LogFormat, Mongodb, On, Pipeline, Retry, Source, Store};

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use figment::Figment;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind};
use explain::explain;
use layers::Layer;
use validate::Wrong;

/// A whole configuration. Loading checked what can be checked without any server.
#[derive(Debug, Default)]
pub struct Config {
    /// Where the oplog is.
    pub mongodb: Mongodb,
    /// What is read.
    pub source: Source,
    /// Where the place to resume from is kept.
    pub checkpoint: Checkpoint,
    /// Metrics, probes and status.
    pub http: Http,
    /// Limits and times.
    pub pipeline: Pipeline,
    /// What happens when something can't be reached.
    pub retry: Retry,
    /// What to do with what can't be handled.
    pub on: On,
    /// What is logged.
    pub log: Log,
    /// The sinks by name; each has a pipeline of its own. At least one.
    pub sinks: BTreeMap<String, Sink>,
}

/// The tables that a configuration has.
const TABLES: [&str; 9] =
    ["mongodb", "source", "checkpoint", "http", "pipeline", "retry", "on", "log", "sinks"];

/// The first look at a configuration: everything but the settings of the sinks, which depend on their type.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Tables {
    mongodb: Mongodb,
    source: Source,
    checkpoint: Checkpoint,
    http: Http,
    pipeline: Pipeline,
    retry: Retry,
    on: On,
    log: Log,
    sinks: BTreeMap<String, Typed>,
}

/// The first look at a sink.
#[derive(Deserialize)]
struct Typed {
    #[serde(rename = "type", deserialize_with = "reading::word")]
    kind: SinkKind,
}

impl Config {
    /// Loads a configuration: the file, over it the environment's variables (others than ours are passed over), over those the flags.
    ///
    /// Fails with [`ErrorKind::Config`] and one line about the first thing that is wrong.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        flags: &[Override],
    ) -> Result<Self, Error> {
        let mut layers = Vec::new();
        layers.extend(file.map(Layer::file).transpose()?);
        let variables = Layer::environment(environment, layers.first())?;
        layers.extend(variables);
        layers.extend(flags.iter().map(Layer::flag));

        let figment = layers::merged(&layers);
        let refuse = |wrong| refuse(&figment, file, wrong);
        let tables: Tables = figment.extract_lossy().map_err(|error| explain("", error))?;
        let mut sinks = BTreeMap::new();
        for (name, Typed { kind }) in tables.sinks {
            validate::sink_name(&name).map_err(refuse)?;
            let sink = Sink::read(kind, &layers, &name)?;
            sinks.insert(name, sink);
        }
        let config = Self {
            mongodb: tables.mongodb,
            source: tables.source,
            checkpoint: tables.checkpoint,
            http: tables.http,
            pipeline: tables.pipeline,
            retry: tables.retry,
            on: tables.on,
            log: tables.log,
            sinks,
        };
        validate::whole(&config).map_err(refuse)?;
        // Made once, so that what is wrong with them is found at the start.
        config.mongodb.uri()?;
        config.source.namespaces()?;
        Ok(config)
    }
}

impl Sink {
    fn read(kind: SinkKind, layers: &[Layer], name: &str) -> Result<Self, Error> {
        match kind {
            SinkKind::Kafka => settings(layers, name).map(Self::Kafka),
            SinkKind::Nats => settings(layers, name).map(Self::Nats),
            SinkKind::Stdout => settings(layers, name).map(Self::Stdout),
            SinkKind::File => settings(layers, name).map(Self::File),
        }
    }
}

/// The settings of one sink, read on their own: through an enum with a tag serde would lose the path to what is wrong.
fn settings<T: DeserializeOwned>(layers: &[Layer], name: &str) -> Result<T, Error> {
    let table = format!("sinks.{name}");
    let figment = layers::merged_without_type(layers, name).focus(&table);
    figment.extract_lossy().map_err(|error| explain(&table, error))
}

/// The error that names the place of a wrong value.
fn refuse(figment: &Figment, file: Option<&Path>, Wrong { key, what }: Wrong) -> Error {
    let place = figment.find_metadata(&key).map(|metadata| metadata.name.to_string());
    let error = Error::new(ErrorKind::Config, what);
    match place.or_else(|| file.map(|file| file.display().to_string())) {
        Some(place) => error.within(place),
        None => error,
    }
}
