//! Where a situation writes: a database of its own on a real server.

use std::error::Error;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use mongodb::bson::{Bson, Document, RawDocumentBuf, doc};
use mongodb::{Client, ClientSession, Collection, Database};

use crate::harness::PATIENCE;
use crate::table::Version;

pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// The number of the next retryable write.
static NUMBER: AtomicI64 = AtomicI64::new(1);

/// A database on a server.
#[derive(Clone)]
pub(crate) struct Place {
    /// Neither retries writes, nor waits for a majority.
    pub(crate) client: Client,
    /// Has sessions of its own, since a retryable write's number can't be a transaction's.
    pub(crate) retryable: Client,
    pub(crate) version: Version,
    /// The database's name.
    pub(crate) name: String,
}

impl Place {
    pub(crate) fn db(&self) -> Database {
        self.client.database(&self.name)
    }

    /// The name of its second database.
    pub(crate) fn other(&self) -> String {
        format!("{}_other", self.name)
    }

    pub(crate) fn coll(&self, name: &str) -> Collection<Document> {
        self.db().collection(name)
    }

    /// Runs a command; a write that fails is an error.
    pub(crate) async fn run(&self, command: Document) -> Outcome<Document> {
        checked(self.db().run_command(command).await?)
    }

    /// Runs a command whose bytes are not to be touched.
    pub(crate) async fn run_raw(&self, command: RawDocumentBuf) -> Outcome<Document> {
        checked(self.db().run_raw_command(command).await?)
    }

    /// Runs a command on the database `admin`.
    pub(crate) async fn admin(&self, command: Document) -> Outcome<Document> {
        checked(self.client.database("admin").run_command(command).await?)
    }

    /// Runs a command in a session, in its transaction if there is one.
    pub(crate) async fn run_in(&self, session: &mut ClientSession, command: Document) -> Outcome<Document> {
        checked(self.db().run_command(command).session(session).await?)
    }

    /// Runs commands as retryable writes of one session.
    pub(crate) async fn retryable(&self, commands: impl IntoIterator<Item = Document>) -> Outcome {
        let mut session = self.retryable.start_session().await?;
        for mut command in commands {
            // The driver uses sessions again, and a number that was used is a write that was done.
            command.insert("txnNumber", NUMBER.fetch_add(1, Ordering::Relaxed));
            let database = self.retryable.database(&self.name);
            checked(database.run_command(command).session(&mut session).await?)?;
        }
        Ok(())
    }

    pub(crate) async fn insert(&self, coll: &str, documents: impl IntoIterator<Item = Document>) -> Outcome {
        let documents: Vec<Document> = documents.into_iter().collect();
        self.run(doc! { "insert": coll, "documents": documents }).await.map(drop)
    }
}

impl Place {
    /// Changes what a query finds: by an update or a replacement (a document), or by a pipeline (an array).
    pub(crate) async fn update(&self, coll: &str, query: Document, change: impl Into<Bson>) -> Outcome {
        self.update_as(coll, doc! { "q": query, "u": change.into() }).await
    }

    /// Updates with everything that an update may have beside query and change.
    pub(crate) async fn update_as(&self, coll: &str, update: Document) -> Outcome {
        self.run(doc! { "update": coll, "updates": [update] }).await.map(drop)
    }

    /// Makes an index.
    pub(crate) async fn index(&self, coll: &str, keys: Document) -> Outcome {
        let index = doc! { "name": keys.to_string(), "key": keys };
        self.run(doc! { "createIndexes": coll, "indexes": [index] }).await.map(drop)
    }

    /// Waits until a collection holds so many documents.
    pub(crate) async fn until_count(&self, coll: &str, count: u64) -> Outcome {
        let deadline = Instant::now() + PATIENCE;
        while self.coll(coll).count_documents(doc! {}).await? != count {
            if Instant::now() > deadline {
                return Err(format!("waited in vain for {count} documents").into());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Deletes what a query finds; 0: all of it.
    pub(crate) async fn delete(&self, coll: &str, query: Document, limit: i32) -> Outcome {
        let delete = doc! { "q": query, "limit": limit };
        self.run(doc! { "delete": coll, "deletes": [delete] }).await.map(drop)
    }
}

/// An answer without errors of single writes.
fn checked(answer: Document) -> Outcome<Document> {
    match answer.get("writeErrors") {
        Some(errors) => Err(errors.to_string().into()),
        None => Ok(answer),
    }
}
