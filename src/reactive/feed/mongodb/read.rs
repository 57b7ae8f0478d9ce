//! Reading the collection itself: all of it, or some documents, at a point in time where the server can.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures::StreamExt as _;
use mongodb::Client;
use mongodb::bson::{Bson, Document, RawArrayBuf, RawDocumentBuf, Timestamp, cstr, doc, rawdoc};
use mongodb::error::{Error as DriverError, ErrorKind as DriverKind};
use mongodb::raw_batch_cursor::{RawBatch, RawBatchCursor};

use super::super::{Looked, Wanted};
use crate::bson::{RawDoc, RawValue, key};
use crate::error::{Error, ErrorKind};
use crate::event::Mark;
use crate::source::client::{self, majority_point};

/// Documents that are asked for at once.
const LOOKUP_MAX: usize = 1000;
/// How long to wait for a member that has not come as far as a change that it has shown.
const PAUSE: Duration = Duration::from_millis(20);

/// What the server says of the collection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Collection {
    pub(super) id: [u8; 16],
}

pub(super) struct Reader {
    client: Client,
    db: String,
    coll: String,
    filter: Option<Vec<u8>>,
    can_read_the_past: bool,
}

impl Reader {
    pub(super) fn new(
        client: Client,
        db: &str,
        coll: &str,
        filter: Option<Vec<u8>>,
        can_read_the_past: bool,
    ) -> Self {
        Self { client, db: db.to_owned(), coll: coll.to_owned(), filter, can_read_the_past }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn can_read_the_past(&self) -> bool {
        self.can_read_the_past
    }

    /// The collection, if there is one; an error if it is of a kind that can't be replicated exactly.
    pub(super) async fn collection(&self) -> Result<Option<Collection>, Error> {
        let command = doc! { "listCollections": 1, "filter": { "name": &self.coll }, "cursor": {} };
        let database = self.client.database(&self.db);
        let list = database.run_command(command);
        let reply = match client::selection(&self.client) {
            Some(criteria) => list.selection_criteria(criteria).await,
            None => list.await,
        };
        let reply = reply.map_err(|error| client::fault(&error, "looking for the collection"))?;
        let first = reply.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
        let Some(found) = first.ok().and_then(|list| list.first()).and_then(Bson::as_document) else {
            return Ok(None);
        };
        if let Some(why) = self.unsupported(found) {
            return Err(Error::new(ErrorKind::Unsupported, format!("{}.{} {why}", self.db, self.coll)));
        }
        let id = found.get_document("info").ok().and_then(|info| match info.get("uuid") {
            Some(Bson::Binary(uuid)) => uuid.bytes.as_slice().try_into().ok(),
            _ => None,
        });
        let id = id.ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, "the server names no UUID of the collection")
        })?;
        Ok(Some(Collection { id }))
    }

    fn unsupported(&self, found: &Document) -> Option<&'static str> {
        let options = found.get_document("options").ok();
        match found.get_str("type").unwrap_or("collection") {
            "view" => Some("is a view, which has no changes of its own: follow the collection that it is on"),
            "timeseries" => Some("is a time series: follow its buckets, `system.buckets.NAME`"),
            _ if options.is_some_and(|options| options.get_bool("capped").unwrap_or(false)) => {
                Some("is capped: what falls out of it is not in every server's oplog")
            }
            _ if self.filter.is_some()
                && options.is_some_and(|options| options.contains_key("collation")) =>
            {
                Some("has a collation, by which a filter is not evaluated here")
            }
            _ => None,
        }
    }

    /// Reads the collection as it was then, if the server can; else as it is.
    pub(super) async fn copy(&self, from: Mark) -> Result<RawBatchCursor, Error> {
        let at = from.position().timestamp();
        let filter = self.filter.clone().unwrap_or_else(|| RawDoc::EMPTY.as_bytes().to_vec());
        let filter = RawDocumentBuf::from_bytes(filter)
            .map_err(|error| Error::caused(ErrorKind::Internal, "the filter", error))?;
        self.find(filter, at).await
    }

    async fn find(&self, filter: RawDocumentBuf, at: (u32, u32)) -> Result<RawBatchCursor, Error> {
        let concern = if self.can_read_the_past {
            rawdoc! { "level": "snapshot", "atClusterTime": Timestamp { time: at.0, increment: at.1 } }
        } else {
            rawdoc! { "level": "majority" }
        };
        let mut command = rawdoc! { "find": self.coll.as_str() };
        command.append(cstr!("filter"), filter);
        command.append(cstr!("readConcern"), concern);
        // Whatever the collection's own: what is asked for here is meant byte by byte.
        command.append(cstr!("collation"), rawdoc! { "locale": "simple" });
        let database = self.client.database(&self.db);
        let find = database.run_raw_cursor_command(command);
        let opened = match client::selection(&self.client) {
            Some(criteria) => find.selection_criteria(criteria).batch().await,
            None => find.batch().await,
        };
        opened.map_err(|error| fault(&error))
    }

    /// Reads some documents. Where the collection is another one by now, there are none: its end is still to come in the oplog.
    pub(super) async fn look_up(
        &self,
        wanted: &[Wanted],
        collection: Option<[u8; 16]>,
    ) -> Result<Vec<Looked>, Error> {
        let mut looked = if self.can_read_the_past {
            self.look_up_then(wanted).await?
        } else {
            self.look_up_now(wanted).await?
        };
        let now = self.collection().await?.map(|Collection { id }| id);
        if collection.is_some() && now != collection {
            for looked in &mut looked {
                looked.image = None;
            }
        }
        Ok(looked)
    }

    async fn look_up_then(&self, wanted: &[Wanted]) -> Result<Vec<Looked>, Error> {
        let mut times: BTreeMap<(u32, u32), Vec<usize>> = BTreeMap::new();
        for (place, one) in wanted.iter().enumerate() {
            times.entry(one.at).or_default().push(place);
        }
        let mut looked: Vec<Looked> =
            wanted.iter().map(|one| Looked { image: None, from: one.at, until: one.at }).collect();
        for (at, places) in times {
            for places in places.chunks(LOOKUP_MAX) {
                let ids: Vec<&[u8]> = places.iter().map(|place| wanted[*place].id.as_slice()).collect();
                let mut found = self.documents(&ids, at).await?;
                for place in places {
                    looked[*place].image = found.remove(&key_of(&wanted[*place].id));
                }
            }
        }
        Ok(looked)
    }

    /// What is read lies between two majority points; the first is not before the changes that ask.
    async fn look_up_now(&self, wanted: &[Wanted]) -> Result<Vec<Looked>, Error> {
        let newest = wanted.iter().map(|one| one.at).max().unwrap_or_default();
        let from = loop {
            let point = majority_point(&self.client).await?.position().timestamp();
            if point >= newest {
                break point;
            }
            tokio::time::sleep(PAUSE).await;
        };
        let mut found = HashMap::new();
        for part in wanted.chunks(LOOKUP_MAX) {
            let ids: Vec<&[u8]> = part.iter().map(|one| one.id.as_slice()).collect();
            found.extend(self.documents(&ids, from).await?);
        }
        let until = majority_point(&self.client).await?.position().timestamp();
        let looked = wanted.iter().map(|one| Looked { image: found.remove(&key_of(&one.id)), from, until });
        Ok(looked.collect())
    }

    async fn documents(&self, ids: &[&[u8]], at: (u32, u32)) -> Result<HashMap<Vec<u8>, Vec<u8>>, Error> {
        let mut list = RawArrayBuf::new();
        for id in ids {
            let id = RawDocumentBuf::from_bytes(id.to_vec()).ok();
            if let Some(Ok(Some(id))) = id.as_ref().map(|id| id.get("_id")) {
                list.push(id);
            }
        }
        let mut filter = RawDocumentBuf::new();
        let mut within = RawDocumentBuf::new();
        within.append(cstr!("$in"), list);
        filter.append(cstr!("_id"), within);
        let mut cursor = self.find(filter, at).await?;
        let mut found = HashMap::new();
        while let Some(batch) = batch(cursor.next().await)? {
            found.extend(batch.into_iter().map(|document| (key_of(&document), document)));
        }
        Ok(found)
    }
}

fn key_of(document: &[u8]) -> Vec<u8> {
    let id = RawDoc::new(document).ok().and_then(|document| document.get("_id"));
    id.and_then(|id| key(id).ok()).unwrap_or_default()
}

/// The documents of a reply; none at the end.
pub(super) fn batch(reply: Option<Result<RawBatch, DriverError>>) -> Result<Option<Vec<Vec<u8>>>, Error> {
    let Some(reply) = reply.transpose().map_err(|error| fault(&error))? else { return Ok(None) };
    let damaged = || Error::new(ErrorKind::SourceUnavailable, "a reply without documents");
    let reply = RawDoc::new(reply.as_raw_document().as_bytes()).map_err(|_| damaged())?;
    let cursor = reply.get("cursor").and_then(RawValue::as_doc).ok_or_else(damaged)?;
    let batch = cursor.get("nextBatch").or_else(|| cursor.get("firstBatch")).and_then(RawValue::as_array);
    let documents = batch
        .ok_or_else(damaged)?
        .iter()
        .map(|element| element.map(|element| element.value.as_bytes().to_vec()).map_err(|_| damaged()));
    documents.collect::<Result<_, _>>().map(Some)
}

/// A past that the server can't show any more is like a position that has been lost: everything has to be read again.
fn fault(error: &DriverError) -> Error {
    match error.kind.as_ref() {
        DriverKind::Command(command) if matches!(command.code, 239 | 246) => {
            Error::mongodb(ErrorKind::PositionLost, "MongoDB can't show the collection as it was then", error)
        }
        _ => client::fault(error, "reading the collection"),
    }
}
