//! The checkpoint in a collection of MongoDB: one document for each pipeline.
//!
//! `{_id: <pipeline>, epoch: <claims so far>, record: <text>}`. A claim raises the epoch; a write names the epoch of its claim and finds no
//! document once a later instance has claimed. All at write concern majority, read from the primary.

use std::time::Duration;

use futures::future::BoxFuture;
use mongodb::bson::{Document, doc};
use mongodb::options::{
    Acknowledgment, CollectionOptions, ReadConcern, ReturnDocument, SelectionCriteria, WriteConcern,
};
use mongodb::{Client, Collection};

use super::record;
use crate::error::{Error, ErrorKind};
use crate::pipeline::{CheckpointStore, Stored};

/// How long the majority may take to confirm a checkpoint.
const CONFIRMATION: Duration = Duration::from_secs(10);

/// The store in one collection.
#[derive(Clone, Debug)]
pub struct MongoStore {
    collection: Collection<Document>,
    pipeline: String,
    epoch: Option<i64>,
}

impl MongoStore {
    /// The document of `pipeline` in `database.collection`.
    pub fn new(client: &Client, database: &str, collection: &str, pipeline: &str) -> Self {
        let write =
            WriteConcern::builder().w(Acknowledgment::Majority).journal(true).w_timeout(CONFIRMATION).build();
        let options = CollectionOptions::builder()
            .write_concern(write)
            .read_concern(ReadConcern::majority())
            .selection_criteria(SelectionCriteria::ReadPreference(mongodb::options::ReadPreference::Primary))
            .build();
        let collection = client.database(database).collection_with_options(collection, options);
        Self { collection, pipeline: pipeline.to_owned(), epoch: None }
    }

    fn decode(&self, document: Option<&Document>) -> Result<Option<Stored>, Error> {
        let Some(text) = document.and_then(|document| document.get_str("record").ok()) else {
            return Ok(None);
        };
        record::decode(text.as_bytes()).map(Some).map_err(|error| {
            let place = format!("document `{}` of {}", self.pipeline, self.collection.namespace());
            Error::caused(ErrorKind::CheckpointUnreadable, place, error)
        })
    }

    fn fault(&self, error: &mongodb::error::Error) -> Error {
        let kind = match error.kind.as_ref() {
            mongodb::error::ErrorKind::Command(command) if command.code == 13 => ErrorKind::Unauthorized,
            mongodb::error::ErrorKind::Authentication { .. } => ErrorKind::Unauthorized,
            _ => ErrorKind::StoreUnavailable,
        };
        Error::mongodb(
            kind,
            format!("the checkpoint in {} can't be read or written", self.collection.namespace()),
            error,
        )
    }
}

impl CheckpointStore for MongoStore {
    fn take(&mut self) -> BoxFuture<'_, Result<Option<Stored>, Error>> {
        Box::pin(async {
            let claimed = self
                .collection
                .find_one_and_update(doc! { "_id": &self.pipeline }, doc! { "$inc": { "epoch": 1_i64 } })
                .upsert(true)
                .return_document(ReturnDocument::After)
                .await
                .map_err(|error| self.fault(&error))?;
            self.epoch = claimed.as_ref().and_then(|document| document.get_i64("epoch").ok());
            self.decode(claimed.as_ref())
        })
    }

    fn save<'a>(&'a mut self, stored: &'a Stored) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let filter = doc! { "_id": &self.pipeline, "epoch": self.epoch };
            let update = doc! { "$set": { "record": record::encode(stored) } };
            let result =
                self.collection.update_one(filter, update).await.map_err(|error| self.fault(&error))?;
            if result.matched_count == 1 {
                return Ok(());
            }
            Err(Error::new(
                ErrorKind::Fenced,
                format!(
                    "the checkpoint of `{}` in {} was claimed by another instance",
                    self.pipeline,
                    self.collection.namespace()
                ),
            ))
        })
    }

    fn peek(&mut self) -> BoxFuture<'_, Result<Option<Stored>, Error>> {
        Box::pin(async {
            let found = self
                .collection
                .find_one(doc! { "_id": &self.pipeline })
                .await
                .map_err(|error| self.fault(&error))?;
            self.decode(found.as_ref())
        })
    }
}
