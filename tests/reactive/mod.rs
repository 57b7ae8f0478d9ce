//! Observers and live collections on real servers: what they hold is what the server has.

mod example;
mod failures;
mod observers;
mod replicas;

use std::collections::BTreeMap;
use std::time::Duration;

use futures::TryStreamExt as _;
use mongo_observer::bson::{RawDoc, key};
use mongo_observer::reactive::{Change, Changes, Next, ReactiveCollection, Snapshot};
use mongodb::bson::{Document, RawDocumentBuf, Timestamp, doc};
use mongodb::{Client, Collection};

/// Far more than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Documents by the canonical bytes of their `_id`s.
type Documents = BTreeMap<Vec<u8>, Vec<u8>>;

fn keyed(document: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let id = RawDoc::new(document).unwrap().get("_id").unwrap();
    (key(id).unwrap(), document.to_vec())
}

fn held<T>(snapshot: &Snapshot<T>) -> Documents {
    snapshot.iter().map(|doc| keyed(doc.raw().as_bytes())).collect()
}

async fn found(collection: &Collection<RawDocumentBuf>, filter: Document) -> Documents {
    let documents = collection.find(filter).read_concern(mongodb::options::ReadConcern::majority());
    let documents: Vec<RawDocumentBuf> = documents.await.unwrap().try_collect().await.unwrap();
    documents.iter().map(|document| keyed(document.as_bytes())).collect()
}

/// A time by which everything that was written is majority-committed.
async fn written(client: &Client) -> Timestamp {
    let mut session = client.start_session().await.unwrap();
    let concern = mongodb::options::WriteConcern::majority();
    let marks = client.database("marks").collection::<Document>("marks");
    marks.insert_one(doc! {}).write_concern(concern).session(&mut session).await.unwrap();
    session.operation_time().unwrap()
}

async fn reached<T>(collection: &ReactiveCollection<T>, time: Timestamp) {
    let waited = tokio::time::timeout(PATIENCE, collection.wait_for(time)).await;
    waited.unwrap_or_else(|_| panic!("it stays behind: {:?}", collection.status().borrow().clone())).unwrap();
}

/// A subscriber that applies the changes.
struct Follower<T> {
    documents: Documents,
    changes: Changes<T>,
    resets: u32,
}

impl<T> Follower<T> {
    fn of(collection: &ReactiveCollection<T>) -> Self {
        let (start, changes) = collection.subscribe();
        Self { documents: held(&start), changes, resets: 0 }
    }

    /// Takes everything that is waiting. What a change says was there must have been there.
    fn catch_up(&mut self) {
        while let Some(next) = self.changes.try_next() {
            match next {
                Next::Reset(snapshot) => {
                    self.documents = held(&snapshot);
                    self.resets += 1;
                }
                Next::Batch(batch) => batch.iter().for_each(|change| self.apply(change)),
            }
        }
    }

    fn apply(&mut self, change: &Change<T>) {
        let bytes = |doc: &mongo_observer::reactive::Doc<T>| keyed(doc.raw().as_bytes());
        let key = change.old().or(change.new()).map(&bytes).unwrap().0;
        let before = match change.new().map(&bytes) {
            Some((_, new)) => self.documents.insert(key, new),
            None => self.documents.remove(&key),
        };
        assert_eq!(before, change.old().map(|old| bytes(old).1), "{change:?}");
    }
}
