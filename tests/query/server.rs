//! A server with one collection, and what it answers.

use std::collections::BTreeSet;
use std::ops::Range;

use mongo_observer::servers::{Mongo, MongoVersion};
use mongodb::bson::{Bson, Document, RawDocumentBuf, doc};
use mongodb::{Client, Database};

/// More than any reply holds here.
const BATCH: i32 = 100_000;

pub(crate) struct Server {
    // Kept while it is used.
    _mongo: Mongo,
    _client: Client,
    db: Database,
}

impl Server {
    pub(crate) async fn start(version: MongoVersion) -> Self {
        let mongo = Mongo::builder().version(version).standalone(true).start().await.unwrap();
        let client = mongo.client().await.unwrap();
        let db = client.database("query");
        Self { _mongo: mongo, _client: client, db }
    }

    /// Makes these the collection's documents, with their place as `_id`.
    pub(crate) async fn fill(&self, documents: &[Document]) -> Vec<RawDocumentBuf> {
        let collection = self.db.collection::<RawDocumentBuf>("c");
        collection.drop().await.unwrap();
        let raw = (0..).zip(documents).map(|(id, document): (i32, _)| {
            let mut whole = doc! { "_id": id };
            whole.extend(document.clone());
            RawDocumentBuf::try_from(&whole).unwrap()
        });
        let raw: Vec<_> = raw.collect();
        collection.insert_many(&raw).await.unwrap();
        raw
    }

    /// The `_id`s of what it finds, or the code and message of its error.
    pub(crate) async fn find(&self, filter: &Document) -> Result<BTreeSet<usize>, String> {
        Ok(self.run(doc! { "find": "c", "filter": filter }).await?.into_iter().collect())
    }

    /// The `_id`s of that range in order.
    pub(crate) async fn sorted(&self, range: &Range<usize>, sort: &Document) -> Result<Vec<usize>, String> {
        let [first, end] = [range.start, range.end].map(|id| i32::try_from(id).unwrap());
        self.run(doc! { "find": "c", "filter": { "_id": { "$gte": first, "$lt": end } }, "sort": sort }).await
    }

    async fn run(&self, mut find: Document) -> Result<Vec<usize>, String> {
        find.extend(doc! { "projection": { "_id": 1 }, "batchSize": BATCH });
        let reply = self.db.run_command(find).await.map_err(|error| error.to_string())?;
        let found = reply.get_document("cursor").unwrap().get_array("firstBatch").unwrap().iter();
        let id = |document: &Bson| document.as_document().unwrap().get_i32("_id").unwrap();
        Ok(found.map(|document| usize::try_from(id(document)).unwrap()).collect())
    }
}
