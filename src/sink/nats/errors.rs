//! From what NATS says to what the connector does.

use std::error::Error as StdError;

use async_nats::jetstream;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{
    CreateStreamError, CreateStreamErrorKind, GetStreamError, GetStreamErrorKind,
};
use async_nats::jetstream::context::{RequestError, RequestErrorKind};
use async_nats::jetstream::stream::{RawMessageError, RawMessageErrorKind};
use async_nats::{ConnectError, ConnectErrorKind, PublishError, PublishErrorKind};

use super::settings::Servers;
use crate::error::{Error, ErrorKind};

/// What a JetStream error code means for us.
fn kind_of(code: ErrorCode) -> ErrorKind {
    match code {
        ErrorCode::BAD_REQUEST
        | ErrorCode::CLUSTER_REQUIRED
        | ErrorCode::JETSTREAM_NOT_ENABLED
        | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT
        | ErrorCode::MAXIMUM_STREAMS_LIMIT
        | ErrorCode::NO_ACCOUNT
        | ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM
        | ErrorCode::STREAM_INVALID_CONFIG
        | ErrorCode::STREAM_MAX_BYTES_REQUIRED
        | ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM
        | ErrorCode::STREAM_NAME_EXIST
        | ErrorCode::STREAM_NOT_FOUND
        | ErrorCode::STREAM_NOT_MATCH
        | ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED
        | ErrorCode::STREAM_SEALED
        | ErrorCode::STREAM_SUBJECT_OVERLAP => ErrorKind::Refused,
        // A cluster without a leader, a full disk, a busy server: it may pass.
        _ => ErrorKind::SinkUnavailable,
    }
}

/// No connection came about.
pub(super) fn connecting(servers: &Servers, error: ConnectError) -> Error {
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => Error::caused(
            ErrorKind::Unauthorized,
            format!("NATS at {servers} refused the credentials"),
            error,
        ),
        ConnectErrorKind::Tls => Error::caused(
            ErrorKind::SinkUnavailable,
            format!("no TLS connection to NATS at {servers}"),
            error,
        ),
        _ => Error::caused(ErrorKind::SinkUnavailable, format!("no NATS server answers at {servers}"), error),
    }
}

/// The server answered a JetStream request, or a message, with an error.
pub(super) fn refusal(what: impl Into<String>, error: jetstream::Error) -> Error {
    Error::caused(kind_of(error.error_code()), what, error)
}

/// A stream could not be looked up, for another reason than that it is missing.
pub(super) fn finding(stream: &str, error: GetStreamError) -> Error {
    let what = format!("can't look up the stream {stream}");
    match error.kind() {
        GetStreamErrorKind::JetStream(error) => refusal(what, error),
        GetStreamErrorKind::EmptyName | GetStreamErrorKind::InvalidStreamName => {
            Error::caused(ErrorKind::Config, what, error)
        }
        GetStreamErrorKind::Request => Error::caused(ErrorKind::SinkUnavailable, what, error),
    }
}

/// Whether nobody answers JetStream requests at all.
pub(super) fn has_no_jetstream(error: &GetStreamError) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<RequestError>());
    cause.is_some_and(|cause| cause.kind() == RequestErrorKind::NoResponders)
}

/// A stream could not be created.
pub(super) fn creating(stream: &str, error: CreateStreamError) -> Error {
    let what = format!("can't create the stream {stream}");
    match error.kind() {
        CreateStreamErrorKind::JetStream(error) => refusal(what, error),
        CreateStreamErrorKind::EmptyStreamName | CreateStreamErrorKind::InvalidStreamName => {
            Error::caused(ErrorKind::Config, what, error)
        }
        _ => Error::caused(ErrorKind::SinkUnavailable, what, error),
    }
}

/// A message could not be read.
pub(super) fn reading(what: String, error: RawMessageError) -> Error {
    match error.kind() {
        RawMessageErrorKind::JetStream(error) => refusal(what, error),
        _ => Error::caused(ErrorKind::SinkUnavailable, what, error),
    }
}

/// The client would not take a message.
pub(super) fn publishing(subject: &str, error: PublishError) -> Error {
    match error.kind() {
        PublishErrorKind::MaxPayloadExceeded => {
            Error::caused(ErrorKind::Refused, format!("a message to {subject} is too large"), error)
        }
        PublishErrorKind::InvalidSubject => {
            Error::new(ErrorKind::Internal, format!("`{subject}` is not a subject"))
        }
        PublishErrorKind::Send => {
            Error::caused(ErrorKind::SinkUnavailable, "the connection to NATS has ended", error)
        }
    }
}

/// Another program moves the stream's sequence.
pub(super) fn second_writer(kind: ErrorKind, stream: &str) -> Error {
    Error::new(kind, format!("another program writes to the stream {stream}; one stream, one connector"))
}
