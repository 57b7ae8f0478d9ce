//! What can be wrong with a configuration although every value is of the right type. Pure.

use std::collections::BTreeMap;

use super::{Config, Sink, Store};
use crate::event::AfterImages;

/// The smallest budget: a chunk of oplog is up to 256 KiB, and a few must be under way at once.
const BUDGET_BYTES_MIN: u32 = 1 << 20;

/// What is wrong with the value of a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// The key, to find the place that its value came from.
    pub(super) key: String,
    /// The whole message.
    pub(super) what: String,
}

fn wrong(key: impl Into<String>, what: impl Into<String>) -> Result<(), Wrong> {
    Err(Wrong { key: key.into(), what: what.into() })
}

/// Sinks' names appear in metrics, keys, file names and subjects.
pub(super) fn sink_name(name: &str) -> Result<(), Wrong> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !name.is_empty() && name.bytes().all(fits) {
        return Ok(());
    }
    wrong(
        format!("sinks.{name}"),
        format!("`sinks.{name}`: a sink's name has letters, digits, `_` and `-` only"),
    )
}

/// Checks a whole configuration.
pub(super) fn whole(config: &Config) -> Result<(), Wrong> {
    sinks(config)?;
    pipeline(config)?;
    listen(&config.http.listen)
}

fn sinks(config: &Config) -> Result<(), Wrong> {
    if config.sinks.is_empty() {
        return wrong(
            "sinks",
            "there is no sink: add a table [sinks.events] with type = \"stdout\" (or kafka, nats, file)",
        );
    }
    if config.checkpoint.store == Store::File
        && config.sinks.len() > 1
        && !config.checkpoint.tells_sinks_apart()
    {
        return wrong(
            "checkpoint.path",
            "`checkpoint.path` is one file, but each sink needs a checkpoint of its own: put `{sink}` into the path",
        );
    }
    formats(config)?;
    images(config)?;
    deliveries(config)?;
    let mut paths = BTreeMap::new();
    for (name, sink) in &config.sinks {
        let Sink::File(file) = sink else { continue };
        if let Some(other) = paths.insert(&file.path, name) {
            let path = file.path.display();
            return wrong(
                format!("sinks.{name}.path"),
                format!("`sinks.{other}.path` and `sinks.{name}.path` are the same file, {path}"),
            );
        }
    }
    Ok(())
}

/// What is written as lines must be text, and say in its last line how far it goes, unless that is kept elsewhere.
fn formats(config: &Config) -> Result<(), Wrong> {
    for (name, sink) in &config.sinks {
        let (key, format) = (format!("sinks.{name}.format"), sink.format());
        if !matches!(sink, Sink::Stdout(_) | Sink::File(_)) {
            continue;
        }
        if !format.is_text() {
            let what = format!("`{key}` can't be `{format}`, which is no text: use json-canonical");
            return wrong(key, what);
        }
        if matches!(sink, Sink::File(_)) && config.checkpoint.store == Store::Sink && !format.tells_position()
        {
            let what = format!(
                "`{key}` is `{format}`, whose lines don't tell their position: set checkpoint.store to \"file\" or \"mongodb\""
            );
            return wrong(key, what);
        }
    }
    Ok(())
}

/// Where a message replaces the one before it, it must hold the whole document; an update's does not.
fn images(config: &Config) -> Result<(), Wrong> {
    let lacks = |sink: &Sink| sink.needs_full_images() && sink.images().after == AfterImages::None;
    match config.sinks.iter().find(|(_, sink)| lacks(sink)) {
        Some((name, _)) => wrong(
            format!("sinks.{name}.preset"),
            format!(
                "`sinks.{name}.preset` keeps one message of each document, which must hold all of it: set \
                 `sinks.{name}.images.after` to \"stored\" or \"lookup\""
            ),
        ),
        None => Ok(()),
    }
}

/// What is delivered exactly once is so together with its checkpoint.
fn deliveries(config: &Config) -> Result<(), Wrong> {
    let elsewhere = config.checkpoint.store != Store::Sink;
    match config.sinks.iter().find(|(_, sink)| elsewhere && sink.keeps_its_checkpoint()) {
        Some((name, _)) => wrong(
            format!("sinks.{name}.delivery"),
            format!(
                "`sinks.{name}.delivery` is \"exactly_once\", whose checkpoint is written with the events: set checkpoint.store to \"sink\""
            ),
        ),
        None => Ok(()),
    }
}

fn pipeline(config: &Config) -> Result<(), Wrong> {
    let budget = config.pipeline.budget_bytes;
    if budget < BUDGET_BYTES_MIN {
        return wrong(
            "pipeline.budget_bytes",
            format!("`pipeline.budget_bytes` must be at least {BUDGET_BYTES_MIN}, not {budget}"),
        );
    }
    if config.pipeline.heartbeat_ms == 0 {
        return wrong("pipeline.heartbeat_ms", "`pipeline.heartbeat_ms` must be at least 1");
    }
    if config.retry.initial_ms == 0 || config.retry.initial_ms > config.retry.max_ms {
        return wrong("retry.initial_ms", "`retry.initial_ms` must be at least 1 and at most `retry.max_ms`");
    }
    Ok(())
}

fn listen(address: &str) -> Result<(), Wrong> {
    let port =
        address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(_)) => Ok(()),
        _ if address.is_empty() => Ok(()),
        _ => wrong(
            "http.listen",
            format!("`http.listen` must be HOST:PORT, such as 127.0.0.1:9464, or empty, not `{address}`"),
        ),
    }
}
