//! The stream: found or created, checked, and its end read.

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{
    Config, Info, RawMessageError, RawMessageErrorKind, RetentionPolicy, StorageType, Stream,
};
use std::time::Duration;

use super::connection::Connection;
use super::errors;
use super::settings::Settings;
use crate::error::{Error, ErrorKind};
use crate::format::Header;
use crate::pipeline::{Checkpoint, SinkTail};

/// The value of the header [`Header::NAME`] where the operator cleared the position.
pub(crate) const CLEARED: &str = "cleared";

/// Where a stream ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// The sequence number of its last message, which may be deleted; numbers never fall.
    pub(crate) sequence: u64,
    /// What its last message says.
    pub(crate) tail: SinkTail,
}

/// Finds the stream, and creates it where the settings say so.
pub(crate) async fn find_or_create(
    connection: &mut Connection,
    settings: &Settings,
) -> Result<Stream, Error> {
    if let Some(stream) = find(connection, settings).await? {
        return Ok(stream);
    }
    let name = &settings.stream;
    if !settings.create_stream {
        return Err(missing(settings));
    }
    let jetstream = connection.jetstream.clone();
    let stream = connection.answer(jetstream.create_stream(config(settings))).await?;
    let stream = stream.map_err(|error| errors::creating(name, error))?;
    tracing::info!(stream = name, "created the stream");
    Ok(stream)
}

/// There is none, and none may be created.
pub(crate) fn missing(settings: &Settings) -> Error {
    Error::new(
        ErrorKind::Refused,
        format!(
            "there is no stream {} in NATS at {}, and `create_stream` is off: create it with the subjects {}",
            settings.stream,
            settings.servers,
            subjects(settings),
        ),
    )
}

/// Finds the stream and checks that it can be used; none if there is none.
pub(crate) async fn find(connection: &mut Connection, settings: &Settings) -> Result<Option<Stream>, Error> {
    let name = &settings.stream;
    let jetstream = connection.jetstream.clone();
    let error = match connection.answer(jetstream.get_stream(name)).await? {
        Ok(stream) => {
            check(stream.cached_info(), settings)?;
            return Ok(Some(stream));
        }
        Err(error) => error,
    };
    match error.kind() {
        GetStreamErrorKind::JetStream(refusal) if refusal.error_code() == ErrorCode::STREAM_NOT_FOUND => {
            Ok(None)
        }
        _ if errors::has_no_jetstream(&error) => Err(no_jetstream(connection, settings)),
        _ => Err(errors::finding(name, error)),
    }
}

/// In a cluster, and behind a leaf node, JetStream may be out of reach for a while; on a server without it, it stays so.
fn no_jetstream(connection: &Connection, settings: &Settings) -> Error {
    let servers = connection.servers();
    if let Some(domain) = &settings.jetstream_domain {
        let what = format!("nobody answers for the JetStream domain {domain} at {servers}");
        return Error::new(ErrorKind::SinkUnavailable, what);
    }
    let info = connection.client.server_info();
    let kind = if info.jetstream || info.cluster.is_some() {
        ErrorKind::SinkUnavailable
    } else {
        ErrorKind::Refused
    };
    Error::new(kind, format!("NATS at {servers} has no JetStream: start it with `-js`"))
}

/// What the last message of the stream says, read from the stream's leader.
pub(crate) async fn end(connection: &mut Connection, stream: &Stream, prefix: &str) -> Result<End, Error> {
    let Info { config, state, .. } = stream.cached_info();
    let sequence = state.last_sequence;
    if state.messages == 0 {
        return Ok(End { sequence, tail: SinkTail::Empty });
    }
    let mut last = connection.answer(stream.get_raw_message(sequence)).await?;
    if is_missing(&last) {
        // Deleted: what stands before it counts.
        let ours = format!("{prefix}.>");
        last = connection.answer(stream.get_last_raw_message_by_subject(&ours)).await?;
    }
    if is_missing(&last) {
        return Ok(End { sequence, tail: SinkTail::Empty });
    }
    let last = last.map_err(|error| errors::reading(&config.name, error))?;
    // Meanwhile stragglers of an earlier connection may have come.
    Ok(End { sequence: sequence.max(last.sequence), tail: tail(&config.name, &last)? })
}

fn is_missing<T>(message: &Result<T, RawMessageError>) -> bool {
    matches!(message, Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound)
}

fn tail(stream: &str, last: &StreamMessage) -> Result<SinkTail, Error> {
    let Some(header) = last.headers.get(Header::NAME) else {
        let (sequence, subject) = (last.sequence, &last.subject);
        let what = format!("the last message of the stream {stream} ({sequence}, {subject}) is not ours");
        return Err(errors::second_writer(ErrorKind::Refused, stream).within(what));
    };
    if header.as_str() == CLEARED {
        return Ok(SinkTail::Cleared);
    }
    let header: Header = header.as_str().parse().map_err(|why| {
        let what =
            format!("the last message of the stream {stream} ({}, {}): {why}", last.sequence, last.subject);
        Error::new(ErrorKind::CheckpointUnreadable, what)
    })?;
    Ok(SinkTail::At(Checkpoint { at: header.at, term: header.term, source: header.source }))
}

/// The subjects that the stream has to take.
fn subjects(settings: &Settings) -> String {
    format!("{}.>", settings.prefix)
}

/// The stream that is created: a log, kept as long as the settings say.
fn config(settings: &Settings) -> Config {
    Config {
        name: settings.stream.clone(),
        description: Some("Changes of a MongoDB deployment, written by mongo-observer".to_owned()),
        subjects: vec![subjects(settings)],
        storage: StorageType::File,
        num_replicas: settings.replicas,
        max_age: Duration::from_secs(settings.max_age_seconds),
        max_bytes: if settings.max_bytes == 0 { -1 } else { settings.max_bytes.cast_signed() },
        allow_direct: true,
        ..Config::default()
    }
}

/// Refuses a stream that can't hold the records, or would not keep what is needed to go on; warns of one that is weaker than asked.
fn check(info: &Info, settings: &Settings) -> Result<(), Error> {
    let Config { name, subjects: taken, .. } = &info.config;
    let wanted = subjects(settings);
    let refuse = |why: String| Err(Error::new(ErrorKind::Refused, format!("the stream {name} {why}")));
    if !taken.iter().any(|pattern| covers(pattern, &wanted)) {
        return refuse(format!(
            "takes {}, but not {wanted}: add it, or use another prefix",
            taken.join(", ")
        ));
    }
    if info.config.mirror.is_some() || info.config.sources.as_ref().is_some_and(|sources| !sources.is_empty())
    {
        return refuse("is filled from other streams: one stream, one connector".to_owned());
    }
    if info.config.sealed {
        return refuse("is sealed".to_owned());
    }
    if info.config.no_ack {
        return refuse("is set not to acknowledge messages".to_owned());
    }
    if info.config.retention != RetentionPolicy::Limits {
        return refuse("forgets messages once they are consumed: its retention must be `limits`".to_owned());
    }
    if info.config.storage == StorageType::Memory {
        tracing::warn!(stream = name, "the stream is kept in memory: a restart of the server loses it");
    }
    if info.config.num_replicas < settings.replicas {
        let (has, wanted) = (info.config.num_replicas, settings.replicas);
        tracing::warn!(stream = name, has, wanted, "the stream has fewer replicas than configured");
    }
    Ok(())
}

/// Whether a stream's subject takes everything that `subject` stands for.
fn covers(pattern: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for part in pattern.split('.') {
        match (part, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(token)) if token != ">" => {}
            (part, Some(token)) if part == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn subjects_cover_what_they_match() {
        for (pattern, subject) in
            [("mongo.>", "mongo.>"), (">", "mongo.>"), ("*.>", "mongo.>"), ("a.>", "a.b.>")]
        {
            assert!(covers(pattern, subject), "{pattern} {subject}");
        }
        for (pattern, subject) in
            [("mongo.*", "mongo.>"), ("mongo", "mongo.>"), ("a.b.>", "a.>"), ("b.>", "a.>")]
        {
            assert!(!covers(pattern, subject), "{pattern} {subject}");
        }
    }
}
