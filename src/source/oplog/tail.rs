//! The tail: a raw cursor on the oplog, its replies cut into chunks.
//!
//! A reply's bytes are kept as they came and shared by its chunks. The driver has no time-out of its own for a reply, and a half-open
//! connection would hang for ever: so every wait has a deadline. Whatever ends the cursor is an error here; the pipeline then opens the
//! tail again, verified.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{StreamExt, TryStreamExt};
use mongodb::Client;
use mongodb::bson::{RawDocumentBuf, Timestamp, doc};
use mongodb::options::CursorType;
use mongodb::raw_batch_cursor::RawBatchCursor;
use tokio::time::Instant;

use super::chain::{Chain, Wanted};
use super::cut::{Cut, Cutter};
use super::pieces;
use super::reply::Reply;
use super::verify;
use crate::bson::{Malformed, RawDoc};
use crate::error::{Error, ErrorKind};
use crate::event::{Mark, Position};
use crate::source::client::{self, Deployment};
use crate::source::{Chunk, ChunkStream, Namespaces, Resume, Source};

/// How the oplog is read.
#[derive(Clone, Copy, Debug)]
pub struct TailSettings {
    /// How long the server waits for new entries before it answers with none.
    pub wait: Duration,
    /// How much longer an answer may take.
    pub margin: Duration,
    /// The size that replies should have, in bytes. The protocol can only limit the number of entries.
    pub reply_bytes: usize,
}

impl Default for TailSettings {
    fn default() -> Self {
        Self { wait: Duration::from_secs(1), margin: Duration::from_secs(20), reply_bytes: 2 * 1024 * 1024 }
    }
}

/// The number of entries in a reply, before anything is known of their size.
const FIRST_BATCH_SIZE: u32 = 1000;
const BATCH_SIZE_MAX: u32 = 20_000;
/// How often, at most, the position of a tail that is shown nothing is looked up.
const ANCHOR_INTERVAL: Duration = Duration::from_secs(1);

/// The oplog of a replica set.
#[derive(Clone, Debug)]
pub struct OplogSource {
    deployment: Deployment,
    namespaces: Arc<Namespaces>,
    settings: TailSettings,
}

impl OplogSource {
    /// The oplog of `deployment`. What the namespaces leave out is filtered by the server where it can; the translation filters again.
    pub fn new(deployment: Deployment, namespaces: Arc<Namespaces>, settings: TailSettings) -> Self {
        Self { deployment, namespaces, settings }
    }

    async fn tail(&self, from: Resume) -> Result<Tail, Error> {
        let done = match from {
            Resume::Now => Some(client::majority_point(self.deployment.client()).await?),
            Resume::Earliest => None,
            Resume::After(mark) => Some(mark),
            Resume::From(at) => Some(verify::entry_before(self.deployment.client(), at).await?),
        };
        let client = match done {
            Some(mark) => verify::member_with(&self.deployment, mark).await?,
            None => self.deployment.client().clone(),
        };
        let mut tail = Tail {
            client,
            namespaces: Arc::clone(&self.namespaces),
            settings: self.settings,
            cursor: None,
            batch_size: FIRST_BATCH_SIZE,
            cutter: Cutter::new(done),
            ready: VecDeque::new(),
            pending: VecDeque::new(),
            anchored: Instant::now(),
        };
        tail.reopen().await?;
        // Says at once where the tail begins, so that there is a checkpoint before the first event.
        tail.ready.extend(done.map(Chunk::idle));
        Ok(tail)
    }
}

impl Source for OplogSource {
    fn open(&self, from: Resume) -> BoxFuture<'_, Result<ChunkStream, Error>> {
        Box::pin(async move {
            let tail = self.tail(from).await?;
            let chunks = futures::stream::try_unfold(tail, |mut tail| async move {
                let chunk = tail.next().await?;
                Ok(Some((chunk, tail)))
            });
            Ok(chunks.boxed())
        })
    }
}

struct Tail {
    client: Client,
    namespaces: Arc<Namespaces>,
    settings: TailSettings,
    cursor: Option<RawBatchCursor>,
    batch_size: u32,
    cutter: Cutter,
    /// Chunks that come next.
    ready: VecDeque<Chunk>,
    /// What comes behind them: the rest of a reply.
    pending: VecDeque<Cut>,
    anchored: Instant,
}

impl Tail {
    async fn next(&mut self) -> Result<Chunk, Error> {
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                return Ok(chunk);
            }
            match self.pending.pop_front() {
                Some(Cut::Chunk(chunk)) => return Ok(chunk),
                Some(Cut::Chain(chain)) => self.follow(chain).await?,
                None => self.read().await?,
            }
        }
    }

    /// Reads and cuts one reply.
    async fn read(&mut self) -> Result<(), Error> {
        let reply = self.reply().await?;
        let entries = reply.entries()?;
        let count = entries.len();
        let cuts = self.cutter.cut(&reply.bytes, entries.into_iter().map(Ok));
        self.pending.extend(cuts.map_err(|error| self.unreadable(error))?);
        let fitting = batch_size(self.batch_size, count, reply.bytes.len(), self.settings.reply_bytes);
        if let Some(size) = fitting {
            self.batch_size = size;
            self.reopen().await?;
        }
        if self.pending.is_empty() {
            self.anchor(reply.passed()).await?;
            self.ready.extend(self.cutter.done().map(Chunk::idle));
        }
        Ok(())
    }

    /// Goes one entry further with a transaction of several; what comes behind it waits.
    async fn follow(&mut self, mut chain: Box<Chain>) -> Result<(), Error> {
        let found = match chain.wanted() {
            Wanted::Head(link) => pieces::head(&self.client, link, self.settings.margin).await?,
            Wanted::Piece(link) => pieces::whole(&self.client, link, self.settings.margin).await?,
            Wanted::End => {
                self.ready.extend(chain.finish().map_err(|error| self.unreadable(error))?);
                return Ok(());
            }
        };
        let Some(entry) = found else {
            self.ready.extend(chain.lost(pieces::LOST));
            return Ok(());
        };
        let chunks = match chain.wanted() {
            Wanted::Head(_) => RawDoc::new(&entry).and_then(|head| chain.walk(head)).map(|()| Vec::new()),
            _ => chain.piece(&entry),
        };
        self.ready.extend(chunks.map_err(|error| self.unreadable(error))?);
        self.pending.push_front(Cut::Chain(chain));
        Ok(())
    }

    /// Opens the cursor where the cutter is; what comes again is dropped there.
    async fn reopen(&mut self) -> Result<(), Error> {
        self.cursor = None;
        let mut filter = self.namespaces.server_filter().unwrap_or_default();
        let from = self.cutter.done().map_or(Timestamp { time: 0, increment: 0 }, |mark| {
            let at = mark.position();
            Timestamp { time: at.t, increment: at.i }
        });
        filter.insert("ts", doc! { "$gte": from });
        let command = doc! {
            "find": "oplog.rs",
            "filter": filter,
            "tailable": true,
            "awaitData": true,
            "batchSize": i64::from(self.batch_size),
            "readConcern": { "level": "majority" },
            "hint": { "$natural": 1 },
            "$_requestResumeToken": true,
        };
        let command = RawDocumentBuf::try_from(&command)
            .map_err(|error| Error::caused(ErrorKind::Internal, "the find command", error))?;
        let database = client::local(&self.client);
        let find = database
            .run_raw_cursor_command(command)
            .cursor_type(CursorType::TailableAwait)
            .max_time(self.settings.wait)
            .batch_size(self.batch_size);
        let find = match client::selection(&self.client) {
            Some(criteria) => find.selection_criteria(criteria),
            None => find,
        };
        let opened =
            tokio::time::timeout(self.settings.margin, find.batch()).await.map_err(|_| self.silent())?;
        self.cursor = Some(opened.map_err(|error| client::fault(&error, "opening the oplog"))?);
        Ok(())
    }

    async fn reply(&mut self) -> Result<Reply, Error> {
        let cursor =
            self.cursor.as_mut().ok_or_else(|| Error::new(ErrorKind::Internal, "the tail has no cursor"))?;
        let waited = tokio::time::timeout(self.settings.wait + self.settings.margin, cursor.try_next()).await;
        match waited.map_err(|_| self.silent())? {
            Ok(Some(batch)) => Ok(Reply::of(batch)),
            Ok(None) => {
                Err(Error::new(ErrorKind::SourceUnavailable, "MongoDB ended the cursor on the oplog"))
            }
            Err(error) => Err(client::fault(&error, "reading the oplog")),
        }
    }

    /// A tail whose entries are all filtered out by the server still moves: the server says how far it has looked. Only an entry that is
    /// really there is taken for a position, since that is what a resume will look for.
    async fn anchor(&mut self, passed: Option<Position>) -> Result<(), Error> {
        let Some(passed) = passed else { return Ok(()) };
        let news = self.cutter.done().is_none_or(|done| done.position() < passed);
        if !news || self.anchored.elapsed() < ANCHOR_INTERVAL {
            return Ok(());
        }
        self.anchored = Instant::now();
        let filter = doc! { "ts": Timestamp { time: passed.t, increment: passed.i } };
        if let Some((at, term)) = client::first_entry(&self.client, filter).await? {
            self.cutter.pass(Mark::Tail { at, term });
        }
        Ok(())
    }

    /// Without its timestamp an entry has no position, so no policy can pass over it.
    fn unreadable(&self, error: Malformed) -> Error {
        let done = self
            .cutter
            .done()
            .map(|done| format!(" behind position {}", done.position()))
            .unwrap_or_default();
        Error::caused(ErrorKind::Unreadable, format!("an oplog entry{done} can't be read"), error)
    }

    fn silent(&self) -> Error {
        let seconds = (self.settings.wait + self.settings.margin).as_secs();
        Error::new(ErrorKind::SourceUnavailable, format!("MongoDB gave no answer for {seconds} s"))
    }
}

/// The number of entries to ask for, where the present one fits badly: replies far above the wanted size cost memory, full ones far below
/// it cost round trips.
fn batch_size(current: u32, count: usize, bytes: usize, wanted: usize) -> Option<u32> {
    let full = count >= current as usize;
    let fits = bytes <= 2 * wanted && !(full && 2 * bytes < wanted && current < BATCH_SIZE_MAX);
    if fits || count == 0 {
        return None;
    }
    let ideal =
        u32::try_from(wanted / (bytes / count).max(1)).unwrap_or(BATCH_SIZE_MAX).clamp(1, BATCH_SIZE_MAX);
    (ideal != current).then_some(ideal)
}

#[cfg(test)]
mod tests {
    use super::batch_size;

    const WANTED: usize = 4 << 20;

    #[test]
    fn the_batch_size_follows_the_size_of_the_entries() {
        // Full replies of small entries: ask for more.
        assert_eq!(batch_size(1000, 1000, 250_000, WANTED), Some(16_777));
        // Large entries: ask for fewer, down to one.
        assert_eq!(batch_size(1000, 1000, 12_000_000, WANTED), Some(349));
        assert_eq!(batch_size(1000, 1, 16_000_000, WANTED), Some(1));
        // A reply that was not full says nothing about the next one.
        assert_eq!(batch_size(1000, 10, 2_500, WANTED), None);
        assert_eq!(batch_size(1000, 0, 100, WANTED), None);
        assert_eq!(batch_size(1, 1, 16_000_000, WANTED), None);
        assert_eq!(batch_size(3000, 3000, 3_800_000, WANTED), None);
    }
}
