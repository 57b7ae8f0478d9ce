//! Reading the earlier entries of a transaction.

use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use mongodb::Client;
use mongodb::bson::{Document, RawDocumentBuf, Timestamp, doc};

use super::chain::HEAD_FIELDS;
use super::entry::OpTime;
use super::reply::Reply;
use crate::error::{Error, ErrorKind};
use crate::source::client;

/// Why a transaction can't be put together.
pub(super) const LOST: &str =
    "the end of a transaction whose earlier entries are no longer in the oplog: it was open for too long";

/// The fields of an entry that say whether the way back goes on.
pub(super) async fn head(client: &Client, link: OpTime, patience: Duration) -> Result<Option<Bytes>, Error> {
    let fields: Document = HEAD_FIELDS.iter().map(|field| ((*field).to_owned(), 1.into())).collect();
    find(client, link, Some(fields), patience).await
}

/// A whole entry.
pub(super) async fn whole(client: &Client, link: OpTime, patience: Duration) -> Result<Option<Bytes>, Error> {
    find(client, link, None, patience).await
}

/// None if the oplog no longer reaches back that far. An entry that is missing otherwise has not arrived yet on the member that was
/// asked: an error that is worth another attempt.
async fn find(
    client: &Client,
    link: OpTime,
    fields: Option<Document>,
    patience: Duration,
) -> Result<Option<Bytes>, Error> {
    let at = Timestamp { time: link.at.t, increment: link.at.i };
    // A condition on `ts` alone: the server goes to that entry without a scan.
    let command = doc! {
        "find": "oplog.rs", "filter": { "ts": at }, "limit": 1, "singleBatch": true,
        "projection": fields.unwrap_or_default(), "readConcern": { "level": "majority" },
    };
    let command = RawDocumentBuf::try_from(&command)
        .map_err(|error| Error::caused(ErrorKind::Internal, "the find command", error))?;
    let database = client::local(client);
    let find = database.run_raw_cursor_command(command);
    let find = match client::selection(client) {
        Some(criteria) => find.selection_criteria(criteria),
        None => find,
    };
    let found = tokio::time::timeout(patience, async { find.batch().await?.try_next().await });
    let found = found.await.map_err(|_| {
        let seconds = patience.as_secs();
        Error::new(ErrorKind::SourceUnavailable, format!("MongoDB gave no answer for {seconds} s"))
    })?;
    if let Some(batch) = found.map_err(|error| client::fault(&error, "reading the oplog"))? {
        // In the driver's own buffer: a part may take 16 MiB.
        let reply = Reply::of(batch);
        if let Some(entry) = reply.entries()?.pop() {
            return Ok(Some(reply.bytes.slice(entry)));
        }
    }
    match client::oldest_entry(client).await? {
        Some(oldest) if oldest > link.at => Ok(None),
        _ => Err(Error::new(
            ErrorKind::SourceUnavailable,
            format!("the oplog entry {} of a transaction is not there yet", link.at),
        )),
    }
}
