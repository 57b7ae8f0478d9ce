//! The pipeline: from a source's chunks to a sink's acknowledgements.
//!
//! Order by a queue of tasks, progress by a queue of deliveries. The reader spawns one task for each chunk and queues its handle; the loop
//! joins the handles in order and hands the batches to the sink; deliveries are awaited in order too, so what is durable is contiguous
//! by construction. Any error ends the attempt: the supervisor opens sink and source again, and the oplog is the replay buffer.
//!
//! The traits stand here, where they are used; adapters import them, never each other.

#[cfg(test)]
mod allocations;
mod announce;
mod budget;
#[cfg(test)]
mod images;
mod in_flight;
mod keeper;
mod policy;
mod pulse;
mod resume;
mod run;
mod said;
#[cfg(test)]
mod sim;
mod stage;
mod supervise;

pub use announce::ManifestPlace;
pub use budget::{BATCHES_MAX, Budget};
pub use in_flight::Durable;
pub use policy::{OnFault, OnReplaced, OnTooLarge, Policies, Reason};
pub use resume::{Start, resume_point};
pub use run::{Parts, Pipeline};
pub use said::Said;
pub use stage::Stage;
pub use supervise::{Attempt, Backoff, supervise};

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::error::Error;
use crate::event::{Change, Image, Images, Mark, Namespace, NoImage, Position};
use crate::format::{Record, Route};
use crate::source::Chunk;

/// Resolves when every record of a batch is durable, or with the reason why not. A dropped sender counts as a failure.
pub type Delivery = oneshot::Receiver<Result<(), Error>>;

/// Where records go.
pub trait Sink: Send {
    /// Takes a batch, in source order. Never waits: the budget is the only back-pressure. Never fails by itself: errors come out of
    /// the delivery. `Ok` there means that every record of the batch, and of every batch before it, is durable in the sink.
    ///
    /// The batch's hold must live until the sink needs its bytes no more.
    fn send(&mut self, batch: RecordBatch) -> Delivery;
}

/// Finds the place of a namespace in the sink. The only I/O between reading and encoding.
pub trait Router: Send + Sync + fmt::Debug {
    /// The route of a namespace, asked once for each, at its first event. An empty collection name asks for the place of commands that
    /// concern a database. Two namespaces that would share a route by accident are refused.
    fn route<'a>(&'a self, ns: Namespace<'a>) -> BoxFuture<'a, Result<Arc<Route>, Error>>;

    /// Where dead letters go.
    fn dead_letters(&self) -> BoxFuture<'_, Result<Arc<Route>, Error>>;

    /// Where the manifest of a namespace goes whose events go to `route`; none if the sink has none.
    fn manifest<'a>(
        &'a self,
        ns: Namespace<'a>,
        route: &'a Route,
    ) -> BoxFuture<'a, Result<Option<ManifestPlace>, Error>> {
        let _ = (ns, route);
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Where a watermark goes now; none if the sink needs none. Called once for each watermark.
    fn watermark_routes(&self) -> Vec<Arc<Route>>;
}

/// A sink's settings, which can open it.
pub trait OpenSink: Send + Sync + fmt::Debug {
    /// Connects, reads the sink's own end, fences an earlier instance where the sink can. `stored` is what the checkpoint store holds:
    /// a sink that can't cheaply tell its end looks for records of its own only where nothing is stored.
    /// Fails within seconds if the sink can't be reached.
    fn open<'a>(&'a self, stored: Option<&'a Stored>) -> BoxFuture<'a, Result<Opened, Error>>;

    /// The checkpoint store that lives with this sink, for the pipeline of that name. Connects to nothing yet.
    fn own_store(&self, pipeline: &str) -> Result<OwnStore, Error>;

    /// Tells `monitor` from now on what the sink's client says of itself, where it has something to say.
    fn watched_by(&mut self, monitor: Arc<dyn ClientMonitor>) {
        let _ = monitor;
    }

    /// Looks at the sink without changing it, for `mongo-observer check`: a line that says what was found, and one for each thing that can
    /// cost events.
    fn check(&self) -> BoxFuture<'_, Result<String, Error>>;
}

/// An open sink.
pub struct Opened {
    /// Takes the batches.
    pub sink: Box<dyn Sink>,
    /// Finds the places.
    pub router: Arc<dyn Router>,
    /// What the sink itself says of its end.
    pub tail: SinkTail,
}

impl fmt::Debug for OwnStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tail(_) => "Tail",
            Self::Beside(_) => "Beside",
            Self::None => "None",
        })
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("router", &self.router)
            .field("tail", &self.tail)
            .finish_non_exhaustive()
    }
}

/// The checkpoint store that lives with a sink.
pub enum OwnStore {
    /// The sink's records are the checkpoint: its tail is where to go on, and nothing is stored beside them. The store serves
    /// `mongo-observer checkpoint`: it reads the tail, and moves it by publishing a watermark.
    Tail(Box<dyn CheckpointStore>),
    /// A store of its own, such as a compacted topic.
    Beside(Box<dyn CheckpointStore>),
    /// The sink forgets: standard output.
    None,
}

/// The last record of this connector that a sink holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkTail {
    /// The sink can't tell.
    Unknown,
    /// It holds none.
    Empty,
    /// Its position, and the replica set that it came from.
    At(Checkpoint),
    /// It is a part of the event at that position, the rest is missing, and what was before is not known.
    Within(Checkpoint),
    /// The operator cleared it: what stands before is not to be resumed.
    Cleared,
}

/// Everything up to and including `at` has been acknowledged by the sink. The record format is the one of every store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The last operation that is done.
    pub at: Position,
    /// The election term of its entry, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<i64>,
    /// The replica set that the position belongs to.
    pub source: String,
}

impl Checkpoint {
    /// The checkpoint that says `mark` is done.
    pub fn of(mark: Mark, source: &str) -> Self {
        let Mark::Tail { at, term } = mark;
        Self { at, term, source: source.to_owned() }
    }

    /// The mark it was made of.
    pub fn mark(&self) -> Mark {
        Mark::Tail { at: self.at, term: self.term }
    }
}

/// What a checkpoint store holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Go on behind it.
    Checkpoint(Checkpoint),
    /// The operator cleared it: begin as configured, whatever the sink holds.
    Cleared,
}

impl Stored {
    /// The checkpoint, unless it was cleared.
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        match self {
            Self::Checkpoint(checkpoint) => Some(checkpoint),
            Self::Cleared => None,
        }
    }
}

/// Keeps the checkpoint.
pub trait CheckpointStore: Send {
    /// Claims the store for this instance and reads what it holds. From now on an earlier claimant's `save` fails with `Fenced`.
    fn take(&mut self) -> BoxFuture<'_, Result<Option<Stored>, Error>>;

    /// Stores; returns when it is durable. Cancelled half-way the store holds the old or the new one, never something else.
    fn save<'a>(&'a mut self, stored: &'a Stored) -> BoxFuture<'a, Result<(), Error>>;

    /// Reads without claiming, for `mongo-observer checkpoint show` and `check`.
    fn peek(&mut self) -> BoxFuture<'_, Result<Option<Stored>, Error>>;
}

/// The records of one chunk, encoded.
#[derive(Debug)]
pub struct RecordBatch {
    /// Headers, subjects, keys and values.
    pub bytes: Bytes,
    /// The records, in order; may be empty: everything was filtered out.
    pub records: Vec<Record>,
    /// Durable records of this batch and all before it mean: done up to here.
    pub end: Mark,
    /// Whether `end` is the end of an oplog entry and of a transaction: a place where a sink's own transaction may be committed.
    pub ends_unit: bool,
    /// The newest wall clock among its entries, for the lag.
    pub wall_ms: Option<i64>,
    /// What became of its operations.
    pub counts: Counts,
    /// The replica set that `end` belongs to.
    pub source: Arc<str>,
    /// Its part of the budget, given back when it is dropped.
    pub hold: Option<Hold>,
}

/// Bytes taken from a budget.
pub type Hold = tokio::sync::OwnedSemaphorePermit;

/// What became of a batch's operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Inserts published.
    pub inserts: u32,
    /// Updates published.
    pub updates: u32,
    /// Replacements published.
    pub replaces: u32,
    /// Deletes published.
    pub deletes: u32,
    /// Commands published.
    pub commands: u32,
    /// Watermarks published.
    pub watermarks: u32,
    /// Operations of other namespaces.
    pub filtered: u32,
    /// Events published without their documents, counted above, too.
    pub header_only: u32,
    /// Operations left out by policy.
    pub skipped: Faults,
    /// Operations published as dead letters.
    pub dead_letters: Faults,
    /// Images that published events should have, and don't.
    pub missing_images: MissingImages,
}

/// How many images were missing, by the reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MissingImages {
    /// The document was gone when it was looked up.
    pub gone: u32,
    /// The collection does not record what was there before a change.
    pub not_recorded: u32,
    /// There is no record of it, or no longer.
    pub not_found: u32,
    /// The update does not fit what was recorded.
    pub mismatch: u32,
}

impl MissingImages {
    /// The counts with their reasons, fixed words.
    pub fn by_reason(&self) -> [(&'static str, u32); 4] {
        [
            ("gone", self.gone),
            ("not_recorded", self.not_recorded),
            ("not_found", self.not_found),
            ("mismatch", self.mismatch),
        ]
    }

    fn add(&mut self, why: NoImage) {
        *match why {
            NoImage::Gone => &mut self.gone,
            NoImage::NotRecorded => &mut self.not_recorded,
            NoImage::NotFound => &mut self.not_found,
            NoImage::Mismatch => &mut self.mismatch,
        } += 1;
    }
}

/// How many operations could not become events, by the reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Not understood.
    pub unknown: u32,
    /// Damaged, or not to be encoded.
    pub unreadable: u32,
    /// Larger than the sink takes.
    pub too_large: u32,
    /// Of a namespace that has no place in the sink.
    pub unroutable: u32,
}

impl Faults {
    /// The counts with their reasons, fixed words.
    pub fn by_reason(&self) -> [(&'static str, u32); 4] {
        [
            (Reason::Unknown.name(), self.unknown),
            (Reason::Unreadable.name(), self.unreadable),
            (Reason::TooLarge.name(), self.too_large),
            (Reason::Unroutable.name(), self.unroutable),
        ]
    }

    fn add(&mut self, reason: Reason) {
        *match reason {
            Reason::Unknown => &mut self.unknown,
            Reason::Unreadable => &mut self.unreadable,
            Reason::TooLarge => &mut self.too_large,
            Reason::Unroutable => &mut self.unroutable,
        } += 1;
    }
}

impl Counts {
    /// Events published: everything but watermarks.
    pub fn events(&self) -> u32 {
        self.inserts + self.updates + self.replaces + self.deletes + self.commands
    }

    fn add(&mut self, change: &Change<'_>) {
        *match change {
            Change::Insert { .. } => &mut self.inserts,
            Change::Update { .. } => &mut self.updates,
            Change::Replace { .. } => &mut self.replaces,
            Change::Delete { .. } => &mut self.deletes,
            Change::Command(_) => &mut self.commands,
            Change::Watermark => &mut self.watermarks,
            // What it is without its document was counted as what it is.
            Change::HeaderOnly(_) => &mut self.header_only,
        } += 1;
    }

    fn add_missing(&mut self, images: &Images<'_>) {
        for image in [images.before, images.after].into_iter().flatten() {
            if let Image::Missing(why) = image {
                self.missing_images.add(why);
            }
        }
    }
}

/// Is told now and then what a sink's client says of itself; must not block.
pub trait ClientMonitor: Send + Sync + fmt::Debug {
    /// What it says now.
    fn client(&self, statistics: &ClientStatistics);
}

/// What a client says of itself and of the brokers that it talks to. It counts from its own beginning.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientStatistics {
    /// The client's name: another one counts anew.
    pub client: String,
    /// Messages that it holds.
    pub queued: u64,
    /// Their bytes.
    pub queued_bytes: u64,
    /// Messages that it has sent, some of them again.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// The brokers that it knows.
    pub brokers: Vec<BrokerStatistics>,
}

/// What a client says of a broker.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerStatistics {
    /// Its number in the cluster.
    pub id: i32,
    /// Whether the connection is usable.
    pub is_up: bool,
    /// The time within which 99 of 100 requests were answered; none where there were none.
    pub round_trip_seconds: Option<f64>,
    /// How long its quotas held requests up.
    pub throttled_seconds: f64,
    /// Requests that failed.
    pub errors: u64,
    /// Requests that were sent again.
    pub retries: u64,
    /// Requests that were not answered in time.
    pub timeouts: u64,
}

/// Is told what happens: metrics and status. Called once for each chunk or batch, never for each event; must not block.
pub trait Monitor: Send + Sync {
    /// A chunk was read.
    fn read(&self, chunk: &Chunk);
    /// A batch went to the sink.
    fn sent(&self, batch: &RecordBatch);
    /// A batch, and all before it, is durable.
    fn durable(&self, durable: &Durable);
    /// A checkpoint was stored, or not.
    fn stored(&self, mark: Mark, error: Option<&Error>);
}
