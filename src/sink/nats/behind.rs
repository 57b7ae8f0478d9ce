//! What was stored behind a refused record.
//!
//! When another program's message takes a number that a record of ours was to have, that record is refused. But the record behind it
//! expects just that number, and is stored: the stream then holds it without the one before it, and a reader that sees it never looks
//! back. So it is taken away again, before the sink says how far it has come.

use std::collections::BTreeSet;

use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};

use super::connection::Connection;
use super::stream::position;
use crate::error::{Error, ErrorKind};
use crate::event::Position;

/// Takes the messages with the numbers `behind` away, if the stream lacks the record of ours that is at `at` and was to have the number
/// `refused`. Where a second connector has written that record in the same place, nothing is missing.
pub(super) async fn take_away(
    connection: &mut Connection,
    stream: &str,
    (refused, at): (u64, Position),
    behind: &BTreeSet<u64>,
) -> Result<(), Error> {
    let stream = connection.jetstream.get_stream_no_info(stream).await;
    let done = match &stream {
        Ok(stream) => try_take_away(connection, stream, (refused, at), behind).await,
        Err(error) => Err(Error::new(ErrorKind::Config, error.to_string())),
    };
    done.map_err(|error| {
        let first = behind.first().copied().unwrap_or(refused);
        let what = format!(
            "another program may have put a message in the place of the record at {at}, behind which stand {} others: look at message \
             {refused}, and delete those from {first} on; one stream, one connector",
            behind.len()
        );
        Error::caused(ErrorKind::Refused, what, error)
    })
}

async fn try_take_away(
    connection: &mut Connection,
    stream: &Stream<()>,
    (refused, at): (u64, Position),
    behind: &BTreeSet<u64>,
) -> Result<(), Error> {
    if !is_other(connection, stream, refused, at).await? {
        return Ok(());
    }
    let messages = behind.len();
    tracing::warn!(number = refused, position = %at, messages, "another message has the number of ours: taking away what is behind it");
    for number in behind {
        let deleted = connection.answer(stream.delete_message(*number)).await?;
        deleted.map_err(|error| {
            Error::caused(ErrorKind::Refused, format!("can't delete message {number}"), error)
        })?;
    }
    Ok(())
}

/// Whether the message with that number is there and is not our record at that position.
async fn is_other(
    connection: &mut Connection,
    stream: &Stream<()>,
    number: u64,
    at: Position,
) -> Result<bool, Error> {
    match connection.answer(stream.get_raw_message(number)).await? {
        Ok(message) => Ok(position(&message) != Some(at)),
        Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(false),
        Err(error) => Err(Error::caused(ErrorKind::Refused, format!("can't read message {number}"), error)),
    }
}
