//! What was stored behind a refused record.
//!
//! When another program's message takes a number that a record of ours was to have, that record is refused. But the record behind it
//! expects just that number, and is stored: the stream then holds it without the one before it, and a reader that sees it never looks
//! back. So it is taken away again, before the sink says how far it has come.

use std::collections::BTreeSet;

use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};

use super::connection::Connection;
use super::stream::position;
use super::window::Named;
use crate::error::{Error, ErrorKind};

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
    for number in behind {
        let deleted = connection.answer(stream.delete_message(*number)).await?;
        deleted.map_err(|error| {
            Error::caused(ErrorKind::Refused, format!("can't delete message {number}"), error)
        })?;
    }
    Ok(())
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
