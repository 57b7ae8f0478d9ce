//! What was stored behind a refused record.
//!
//! When another program's message takes a number that a record of ours was to have, that record is refused. But the record behind it
//! expects just that number, and is stored: the stream then holds it without the one before it, and a reader that sees it never looks
//! back. So it is taken away again, before the sink says how far it has come: by the chain that hears of it, or, where the connection or
//! the process ended before that, when the sink is opened the next time. The last one goes first, so that what is left of an attempt
//! that was cut short still stands directly behind the other program's message.

use std::collections::BTreeSet;

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use futures::{StreamExt, stream};

use super::connection::Connection;
use super::errors;
use super::stream::{MOVED, position};
use super::window::{BYTES_MAX, Named, RECORDS_MAX};
use crate::error::{Error, ErrorKind};
use crate::format::Header;

/// How many messages are asked for at a time, and how many bytes, if they are of the usual size.
const READ_AHEAD: u64 = 256;
const READ_AHEAD_BYTES: u64 = 4 << 20;

/// Takes the messages with the numbers `behind` away, if the stream lacks the record of ours that was to have the number of the one that
/// was `refused`. Where a second connector has written that record in the same place, nothing is missing.
pub(super) async fn take_away(
    connection: &mut Connection,
    stream: &Stream,
    (refused, record): (u64, Named),
    behind: &BTreeSet<u64>,
) -> Result<(), Error> {
    let done = try_take_away(connection, stream, (refused, &record), behind).await;
    done.map_err(|error| {
        let first = behind.first().copied().unwrap_or(refused);
        let what = format!(
            "another program may have put a message in the place of the record at {}, behind which stand {} others: look at message \
             {refused}, and delete those from {first} on; one stream, one connector",
            record.at,
            behind.len()
        );
        Error::caused(ErrorKind::Refused, what, error)
    })
}

async fn try_take_away(
    connection: &mut Connection,
    stream: &Stream,
    (refused, record): (u64, &Named),
    behind: &BTreeSet<u64>,
) -> Result<(), Error> {
    if !is_other(connection, stream, refused, record).await? {
        return Ok(());
    }
    let messages = behind.len();
    tracing::warn!(number = refused, position = %record.at, messages, "another message has the number of ours: taking away what is behind it");
    delete(connection, stream, behind).await
}

async fn delete(connection: &mut Connection, stream: &Stream, numbers: &BTreeSet<u64>) -> Result<(), Error> {
    for number in numbers.iter().rev() {
        let deleted = connection.answer(stream.delete_message(*number)).await?;
        deleted.map_err(|error| {
            Error::caused(ErrorKind::Refused, format!("can't delete message {number}"), error)
        })?;
    }
    Ok(())
}

/// Does what an earlier chain had no time for. Where a record of ours stands directly behind another program's message, the one that was
/// to stand between was refused. Looks back as far as a chain may have been ahead of its acknowledgements, but not beyond the place where
/// the operator has said where to go on.
pub(super) async fn settle(connection: &mut Connection, stream: &Stream) -> Result<(), Error> {
    let state = &stream.cached_info().state;
    if state.messages == 0 {
        return Ok(());
    }
    let ahead = (READ_AHEAD_BYTES / (state.bytes / state.messages).max(1)).clamp(1, READ_AHEAD);
    let first = state.last_sequence.saturating_sub(RECORDS_MAX as u64).max(state.first_sequence);
    let numbers = stream::iter((first..=state.last_sequence).rev());
    let mut found =
        numbers.map(|number| async move { (number, look(stream, number).await) }).buffered(ahead as usize);
    let (mut ours, mut bytes) = (BTreeSet::new(), 0);
    while bytes <= BYTES_MAX
        && let Some((number, message)) = connection.answer(found.next()).await?
    {
        match message? {
            Found::Mark => break,
            Found::Ours(size) => {
                bytes += size;
                ours.insert(number);
            }
            Found::Other(subject) if ours.contains(&(number + 1)) => {
                let messages = ours.len();
                tracing::warn!(
                    number,
                    subject,
                    messages,
                    "another program's message has the number of a record of ours: taking away what is behind it"
                );
                return delete(connection, stream, &ours).await.map_err(|error| {
                    if error.kind() == ErrorKind::SinkUnavailable {
                        return error;
                    }
                    let what = format!(
                        "another program has put message {number} ({subject}) in the place of a record, behind which stand {messages} \
                         others: delete those from {} on; one stream, one connector",
                        number + 1
                    );
                    Error::caused(ErrorKind::Refused, what, error)
                });
            }
            Found::Nothing | Found::Other(_) => {}
        }
    }
    Ok(())
}

/// What has a number.
enum Found {
    Nothing,
    /// A record, and its size.
    Ours(usize),
    /// The place where the operator wants to go on.
    Mark,
    /// Another program's message, by its subject.
    Other(String),
}

impl Found {
    fn of(message: &StreamMessage) -> Self {
        if message.headers.get(MOVED).is_some() {
            return Self::Mark;
        }
        match message.headers.get(Header::NAME) {
            Some(_) => Self::Ours(message.payload.len()),
            None => Self::Other(message.subject.to_string()),
        }
    }
}

async fn look(stream: &Stream, number: u64) -> Result<Found, Error> {
    match stream.get_raw_message(number).await {
        Ok(message) => Ok(Found::of(&message)),
        Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(Found::Nothing),
        Err(error) => Err(errors::reading(format!("can't read message {number}"), error)),
    }
}

/// Whether the message with that number is there and is not that record.
async fn is_other(
    connection: &mut Connection,
    stream: &Stream,
    number: u64,
    record: &Named,
) -> Result<bool, Error> {
    match connection.answer(stream.get_raw_message(number)).await? {
        Ok(message) => Ok(position(&message) != Some(record.at) || message.subject != record.subject),
        Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(false),
        Err(error) => Err(Error::caused(ErrorKind::Refused, format!("can't read message {number}"), error)),
    }
}
