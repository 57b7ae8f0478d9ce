//! Reading the earlier entries of a transaction.

use std::future::IntoFuture;
use std::time::Duration;

use bytes::Bytes;
use mongodb::Client;
use mongodb::bson::{Document, RawDocumentBuf, Timestamp, doc};
use mongodb::options::ReadConcern;

use super::chain::HEAD_FIELDS;
use super::entry::OpTime;
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
    let entries = client::local(client).collection::<RawDocumentBuf>("oplog.rs");
    let at = Timestamp { time: link.at.t, increment: link.at.i };
    // A condition on `ts` alone: the server goes to that entry without a scan.
    let find = entries.find_one(doc! { "ts": at }).read_concern(ReadConcern::majority());
    let find = if let Some(fields) = fields { find.projection(fields) } else { find };
    let find = match client::selection(client) {
        Some(criteria) => find.selection_criteria(criteria),
        None => find,
    };
    let found = tokio::time::timeout(patience, find.into_future()).await.map_err(|_| {
        let seconds = patience.as_secs();
        Error::new(ErrorKind::SourceUnavailable, format!("MongoDB gave no answer for {seconds} s"))
    })?;
    let found = found.map_err(|error| client::fault(&error, "reading the oplog"))?;
    if let Some(entry) = found {
        return Ok(Some(Bytes::from(entry.into_bytes())));
    }
    match client::oldest_entry(client).await? {
        Some(oldest) if oldest > link.at => Ok(None),
        _ => Err(Error::new(
            ErrorKind::SourceUnavailable,
            format!("the oplog entry {} of a transaction is not there yet", link.at),
        )),
    }
}
