//! A collection of MongoDB's: a copy of it as it was at one point, then its oplog from that point on.
//!
//! Servers from 5.0 on can be asked for the collection as it was at a cluster time: so the copy is read at the point that is
//! majority-committed when it begins, and the oplog is followed from there. 4.4 can't: what is read there may hold effects of writes that
//! were made meanwhile, which the oplog then tells again.

mod changes;
mod read;

use futures::StreamExt as _;
use futures::future::{BoxFuture, FutureExt as _};
use mongodb::Client;
use mongodb::raw_batch_cursor::RawBatchCursor;
use std::sync::Arc;

use self::changes::OplogChanges;
use self::read::{Collection, Reader};
use super::{Feed, FeedItem, Looked, Wanted};
use crate::error::{Error, ErrorKind};
use crate::event::Mark;
use crate::source::client::{Deployment, majority_point};
use crate::source::oplog::{OplogSource, TailSettings};
use crate::source::{ChunkStream, Namespaces, Resume, Source as _};

pub(in crate::reactive) struct MongoFeed {
    source: OplogSource,
    name: String,
    namespaces: Arc<Namespaces>,
    reader: Reader,
    step: Step,
}

enum Step {
    Begin,
    /// Reads the copy.
    Copy {
        from: Mark,
        collection: Option<[u8; 16]>,
        cursor: Option<Box<RawBatchCursor>>,
    },
    /// Opens the tail.
    Open(Mark),
    Tail {
        chunks: ChunkStream,
        done: Mark,
    },
}

impl MongoFeed {
    /// Makes sure that the collection can be replicated exactly. With a filter only what matches is copied.
    pub(in crate::reactive) async fn open(
        client: Client,
        db: &str,
        coll: &str,
        filter: Option<Vec<u8>>,
    ) -> Result<Self, Error> {
        let namespaces = Namespaces::parse(&[format!("{db}.{coll}")], &[])?;
        let deployment = Deployment::of(client.clone()).await?;
        let namespaces = Arc::new(namespaces.on_shard(deployment.is_shard));
        let can_read_the_past = deployment.release().is_none_or(|release| release >= (5, 0));
        let reader = Reader::new(client, db, coll, filter, can_read_the_past);
        reader.collection().await?;
        let name = deployment.source.clone();
        let source = OplogSource::new(deployment, Arc::clone(&namespaces), TailSettings::default());
        Ok(Self { source, name, namespaces, reader, step: Step::Begin })
    }

    async fn begin(&mut self) -> Result<FeedItem, Error> {
        let collection = self.reader.collection().await?.map(|Collection { id }| id);
        let from = majority_point(self.reader.client()).await?;
        let cursor = match collection {
            Some(_) => Some(Box::new(self.reader.copy(from).await?)),
            None => None,
        };
        self.step = Step::Copy { from, collection, cursor };
        Ok(FeedItem::Begin { collection })
    }

    /// The next documents of the copy, or its end.
    async fn copy(&mut self) -> Result<FeedItem, Error> {
        let Step::Copy { from, collection, cursor } = &mut self.step else { return self.begin().await };
        if let Some(cursor) = cursor
            && let Some(batch) = read::batch(cursor.next().await)?
        {
            return Ok(FeedItem::Documents(batch));
        }
        let (from, collection) = (*from, *collection);
        if self.reader.collection().await?.map(|Collection { id }| id) != collection {
            // It was dropped, made or replaced while it was read.
            return self.begin().await;
        }
        let exact_from =
            if self.reader.can_read_the_past() { from } else { majority_point(self.reader.client()).await? };
        self.step = Step::Open(from);
        Ok(FeedItem::Loaded { at: from.position(), exact_from: exact_from.position() })
    }

    async fn tail(&mut self) -> Result<FeedItem, Error> {
        if let Step::Open(done) = self.step {
            let chunks = self.source.open(Resume::After(done)).await?;
            self.step = Step::Tail { chunks, done };
        }
        let Step::Tail { chunks, done } = &mut self.step else { return self.begin().await };
        let ended = || Error::new(ErrorKind::SourceUnavailable, "the tail of the oplog ended");
        match chunks.next().await.ok_or_else(ended).flatten() {
            Ok(chunk) => {
                *done = chunk.end;
                let changes = OplogChanges {
                    chunk,
                    namespaces: Arc::clone(&self.namespaces),
                    source: self.name.clone(),
                };
                Ok(FeedItem::Changes(Box::new(changes)))
            }
            Err(error) => {
                self.step = Step::Open(*done);
                Err(error)
            }
        }
    }
}

impl Feed for MongoFeed {
    fn next(&mut self) -> BoxFuture<'_, Result<FeedItem, Error>> {
        async move {
            match self.step {
                Step::Begin => self.begin().await,
                Step::Copy { .. } => {
                    let item = self.copy().await;
                    if item.is_err() {
                        self.step = Step::Begin;
                    }
                    item
                }
                Step::Open(_) | Step::Tail { .. } => self.tail().await,
            }
        }
        .boxed()
    }

    fn reload(&mut self) {
        self.step = Step::Begin;
    }

    fn look_up<'a>(
        &'a mut self,
        wanted: &'a [Wanted],
        collection: Option<[u8; 16]>,
    ) -> BoxFuture<'a, Result<Vec<Looked>, Error>> {
        self.reader.look_up(wanted, collection).boxed()
    }
}
