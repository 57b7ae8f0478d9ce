//! A writer: seeded inserts, updates, replacements, deletes and transactions on a few documents of a few collections.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::options::{Acknowledgment, WriteConcern};
use mongodb::{Client, Collection, error};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const COLLECTIONS: u64 = 3;
const DOCUMENTS: u64 = 24;

/// A small generator, the same numbers for the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// Writes to the collections `a`, `b` and `c` of one database.
pub(crate) struct Workload {
    client: Client,
    db: String,
    random: Random,
    number: i64,
    write_concern: WriteConcern,
}

impl Workload {
    pub(crate) fn new(client: &Client, db: &str, seed: u64) -> Self {
        let write_concern = WriteConcern::builder().w(Acknowledgment::Nodes(1)).build();
        Self {
            client: client.clone(),
            db: db.to_owned(),
            random: Random::new(seed),
            number: 0,
            write_concern,
        }
    }

    /// Waits for the majority, each time.
    pub(crate) fn majority(mut self) -> Self {
        self.write_concern = WriteConcern::builder().w(Acknowledgment::Majority).build();
        self
    }

    /// Makes so many changes or attempts at one. An error may or may not have changed something: the oplog knows.
    pub(crate) async fn write(&mut self, steps: usize) {
        for _ in 0..steps {
            let _ = self.step().await;
        }
    }

    /// Writes a little, and then on in the background until it is told to stop.
    pub(crate) async fn start(mut self, pause: Duration) -> Load {
        self.write(20).await;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            while !stopped.is_cancelled() {
                self.write(1).await;
                tokio::time::sleep(pause).await;
            }
        });
        Load { stop, task }
    }

    async fn step(&mut self) -> Result<(), error::Error> {
        self.number += 1;
        let number = self.number;
        let coll = self.pick();
        let id = format!("k{}", self.random.below(DOCUMENTS));
        let filter = doc! { "_id": &id };
        match self.random.below(10) {
            0..4 => {
                let document = doc! { "n": number, "list": [1, 2, number], "text": "x".repeat(200) };
                coll.replace_one(filter, document)
                    .upsert(true)
                    .write_concern(self.write_concern.clone())
                    .await?;
            }
            4..7 => {
                let change = doc! { "$set": { "n": number }, "$inc": { "m": 1 } };
                coll.update_one(filter, change).write_concern(self.write_concern.clone()).await?;
            }
            7..9 => {
                coll.delete_one(filter).write_concern(self.write_concern.clone()).await?;
            }
            _ => self.transaction(&id).await?,
        }
        Ok(())
    }

    /// Changes documents of the same name in two collections, one of them twice.
    async fn transaction(&mut self, id: &str) -> Result<(), error::Error> {
        let mut session = self.client.start_session().await?;
        session.start_transaction().await?;
        let filter = doc! { "_id": id };
        for _ in 0..2 {
            let coll = self.pick();
            let document = doc! { "n": self.number };
            coll.replace_one(filter.clone(), document).upsert(true).session(&mut session).await?;
            let change = doc! { "$set": { "txn": self.number } };
            coll.update_one(filter.clone(), change).session(&mut session).await?;
        }
        session.commit_transaction().await
    }

    fn pick(&mut self) -> Collection<Document> {
        let name = ["a", "b", "c"][self.random.below(COLLECTIONS) as usize];
        self.client.database(&self.db).collection(name)
    }
}

/// A workload that goes on in the background.
pub(crate) struct Load {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Load {
    /// Ends it, and waits until it has ended.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}
