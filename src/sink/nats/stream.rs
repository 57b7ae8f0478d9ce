//! The stream: found or created, checked, and its end read.

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{Info, RawMessageError, RawMessageErrorKind, Stream};
use async_nats::{HeaderName, HeaderValue};

use super::connection::Connection;
use super::settings::Settings;
use super::{errors, preset};
use crate::error::{Error, ErrorKind};
use crate::event::Position;
use crate::format::Header;
use crate::pipeline::{Checkpoint, SinkTail};

/// The value of the header [`Header::NAME`] where the operator cleared the position.
pub(crate) const CLEARED: &str = "cleared";

/// The header of a message that another one of the same event follows, as the event follows a manifest, or the second message of a rename
/// the first. It says what [`Header::NAME`] said before the event, or [`UNKNOWN`]: a stream that ends with such a message lacks the rest
/// of the event, so all of it comes again.
pub(super) const BEFORE: HeaderName = HeaderName::from_static("before");

/// The value of the header [`BEFORE`] where the chain does not know.
pub(super) const UNKNOWN: &str = "unknown";

/// The header of a message with which the operator says where to go on, whatever stands before it.
pub(crate) const MOVED: HeaderName = HeaderName::from_static("moved");

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
    let stream = connection.answer(jetstream.create_stream(preset::config(settings))).await?;
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
            settings.subjects(),
        ),
    )
}

/// Finds the stream and checks that it can be used; none if there is none.
pub(crate) async fn find(connection: &mut Connection, settings: &Settings) -> Result<Option<Stream>, Error> {
    let name = &settings.stream;
    let jetstream = connection.jetstream.clone();
    let error = match connection.answer(jetstream.get_stream(name)).await? {
        Ok(stream) => {
            preset::check(stream.cached_info(), settings)?;
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
    let reading = || format!("can't read the last message of the stream {}", config.name);
    let last = last.map_err(|error| errors::reading(reading(), error))?;
    // Meanwhile stragglers of an earlier connection may have come.
    Ok(End { sequence: sequence.max(last.sequence), tail: tail(&config.name, &last)? })
}

fn is_missing<T>(message: &Result<T, RawMessageError>) -> bool {
    matches!(message, Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound)
}

/// The position that a message of ours tells.
pub(super) fn position(message: &StreamMessage) -> Option<Position> {
    Some(message.headers.get(Header::NAME)?.as_str().parse::<Header>().ok()?.at)
}

fn tail(stream: &str, last: &StreamMessage) -> Result<SinkTail, Error> {
    let Some(own) = last.headers.get(Header::NAME) else {
        let (sequence, subject) = (last.sequence, &last.subject);
        let what = format!("the last message of the stream {stream} ({sequence}, {subject}) is not ours");
        return Err(errors::second_writer(ErrorKind::Refused, stream).within(what));
    };
    if own.as_str() == CLEARED {
        return Ok(SinkTail::Cleared);
    }
    let place = |header: &str| match header.parse() {
        Ok(Header { at, term, source }) => Ok(Checkpoint { at, term, source }),
        Err(why) => {
            let what = format!(
                "the last message of the stream {stream} ({}, {}): {why}",
                last.sequence, last.subject
            );
            Err(Error::new(ErrorKind::CheckpointUnreadable, what))
        }
    };
    match last.headers.get(BEFORE).map(HeaderValue::as_str) {
        None => place(own.as_str()).map(SinkTail::At),
        Some(UNKNOWN) => place(own.as_str()).map(SinkTail::Within),
        Some(before) => place(before).map(SinkTail::At),
    }
}
