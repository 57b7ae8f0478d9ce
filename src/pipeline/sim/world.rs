//! The world around the pipeline: what survives a crash, and fakes of source, sink and store that misbehave by a seeded plan.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::StreamExt;
use tokio::sync::oneshot;

use crate::error::{Error, ErrorKind};
use crate::event::{Namespace, Position};
use crate::format::{Addressing, Route, SubjectPart, To};
use crate::pipeline::{Checkpoint, CheckpointStore, Delivery, RecordBatch, Router, Sink, SinkTail, Stored};
use crate::source::oplog::{Cut, Cutter, Pieces};
use crate::source::{Chunk, ChunkStream, Resume};

/// A small seeded generator (xorshift); the same seed gives the same schedule.
#[derive(Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound.max(1)
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// The oplog: entries, and what of them must reach the sink.
pub(super) struct History {
    pub(super) entries: Vec<(Position, Bytes)>,
    pub(super) expected: Vec<(Position, String)>,
}

impl History {
    /// The chunks of what was cut: a transaction's earlier parts are read again.
    fn chunks(&self, cut: Cut) -> Vec<Chunk> {
        match cut {
            Cut::Chunk(chunk) => vec![chunk],
            Cut::Chain(chain) => {
                let mut pieces = Pieces::default();
                self.entries.iter().for_each(|(_, entry)| pieces.note(entry));
                pieces.resolve(*chain).expect("the history is well formed")
            }
        }
    }
}

/// How the broker behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Broker {
    /// Partitions with an order each; keeps no position. Refusals leave no hole (`enable.gapless.guarantee`).
    Kafka,
    /// The same, but later records are stored behind a refused one: what must never be configured.
    KafkaWithHoles,
    /// One stream with a chain of expected sequences; its tail is the checkpoint.
    Nats,
}

pub(super) const PARTITIONS: usize = 3;

/// What survives.
pub(super) struct World {
    pub(super) history: Arc<History>,
    pub(super) broker: Broker,
    pub(super) dice: Dice,
    /// No faults any more.
    pub(super) calm: bool,
    pub(super) lanes: Vec<Vec<(Position, String)>>,
    /// Requests of producers that are gone, still in the network: they arrive later, in order.
    late: VecDeque<(usize, Position, String)>,
    pub(super) stored: Option<Stored>,
    /// A checkpoint that was stored too early, if ever.
    pub(super) premature: Option<String>,
}

pub(super) type Shared = Arc<Mutex<World>>;

pub(super) fn lock(world: &Shared) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl World {
    pub(super) fn new(history: Arc<History>, broker: Broker, seed: u64) -> Shared {
        Arc::new(Mutex::new(Self {
            history,
            broker,
            dice: Dice::new(seed),
            calm: false,
            lanes: vec![Vec::new(); PARTITIONS],
            late: VecDeque::new(),
            stored: None,
            premature: None,
        }))
    }

    fn fault(&mut self, one_in: u64) -> bool {
        !self.calm && self.dice.one_in(one_in)
    }

    fn pause(&mut self, ms_max: u64) -> Duration {
        Duration::from_millis(self.dice.below(ms_max + 1))
    }

    /// Lets some of the late requests arrive. On NATS the chain refuses them.
    fn settle(&mut self) {
        while !self.late.is_empty() && (self.calm || self.dice.one_in(2)) {
            if let Some((lane, at, key)) = self.late.pop_front()
                && self.broker != Broker::Nats
            {
                self.lanes[lane].push((at, key));
            }
        }
    }

    pub(super) fn tail(&mut self) -> SinkTail {
        self.settle();
        match (self.broker, self.lanes[0].last()) {
            (Broker::Nats, None) => SinkTail::Empty,
            (Broker::Nats, Some((at, _))) => {
                SinkTail::At(Checkpoint { at: *at, term: Some(1), source: "rs0".to_owned() })
            }
            _ => SinkTail::Unknown,
        }
    }

    /// A checkpoint may not be ahead of what is in the sink.
    fn judge(&mut self, stored: &Stored) {
        let Some(checkpoint) = stored.checkpoint() else { return };
        let missing =
            self.history.expected.iter().take_while(|(at, _)| *at <= checkpoint.at).find(|(at, key)| {
                !self.lanes.iter().flatten().any(|(seen, seen_key)| seen == at && seen_key == key)
            });
        if let Some((at, _)) = missing {
            self.premature.get_or_insert(format!(
                "checkpoint {:?} was stored before {at:?} was in the sink",
                checkpoint.at
            ));
        }
    }
}

/// A source over the history, which answers in replies of any size, is idle at times, and breaks off.
pub(super) fn source(world: &Shared, from: Resume) -> ChunkStream {
    let (history, chunk_ops) = {
        let mut world = lock(world);
        (Arc::clone(&world.history), 1 + world.dice.below(4) as usize)
    };
    let done = match from {
        Resume::After(mark) => Some(mark),
        Resume::Now | Resume::Earliest | Resume::From(_) => None,
    };
    let at = done.map_or(0, |mark| {
        history.entries.partition_point(|(at, _)| at.timestamp() < mark.position().timestamp())
    });
    let state =
        (Arc::clone(world), history, Cutter::with_chunks_of(chunk_ops, done), at, VecDeque::<Chunk>::new());
    futures::stream::try_unfold(state, |(world, history, mut cutter, mut at, mut pending)| async move {
        loop {
            if let Some(chunk) = pending.pop_front() {
                return Ok(Some((chunk, (world, history, cutter, at, pending))));
            }
            let (pause, entries, breaks) = {
                let mut world = lock(&world);
                (world.pause(20), world.dice.below(5) as usize, world.fault(40))
            };
            tokio::time::sleep(pause + Duration::from_millis(1)).await;
            if breaks {
                return Err(Error::new(ErrorKind::SourceUnavailable, "simulated"));
            }
            let reply = &history.entries[at..history.entries.len().min(at + entries)];
            at += reply.len();
            for (_, bytes) in reply {
                let range = std::iter::once(Ok(0..bytes.len()));
                for cut in cutter.cut(bytes, range).expect("the history is well formed") {
                    pending.extend(history.chunks(cut));
                }
            }
            if pending.is_empty() {
                pending.extend(cutter.done().map(Chunk::idle));
            }
        }
    })
    .boxed()
}

/// All namespaces to one place.
#[derive(Debug)]
pub(super) struct OneRoute(Arc<Route>);

impl OneRoute {
    pub(super) fn new(broker: Broker) -> Self {
        let addressing = match broker {
            Broker::Nats => Addressing::Subject(vec![SubjectPart::Literal("s".to_owned())]),
            Broker::Kafka | Broker::KafkaWithHoles => {
                Addressing::Partitions(u32::try_from(PARTITIONS).expect("a small number"))
            }
        };
        Self(Arc::new(Route::new("t", addressing)))
    }
}

impl Router for OneRoute {
    fn route<'a>(&'a self, _: Namespace<'a>) -> BoxFuture<'a, Result<Arc<Route>, Error>> {
        Box::pin(async {
            tokio::task::yield_now().await;
            Ok(Arc::clone(&self.0))
        })
    }

    fn dead_letters(&self) -> BoxFuture<'_, Result<Arc<Route>, Error>> {
        Box::pin(async { Ok(Arc::clone(&self.0)) })
    }

    fn watermark_routes(&self) -> Vec<Arc<Route>> {
        Vec::new()
    }
}

/// A producer: what it was given lies in its queue until the broker takes it, lane by lane, each in order.
pub(super) struct FakeSink {
    world: Shared,
    queue: Arc<Mutex<Queue>>,
}

#[derive(Default)]
struct Queue {
    lanes: [VecDeque<(Position, String)>; PARTITIONS],
    refused: bool,
}

impl FakeSink {
    pub(super) fn new(world: &Shared) -> Self {
        Self { world: Arc::clone(world), queue: Arc::default() }
    }
}

impl Sink for FakeSink {
    fn send(&mut self, batch: RecordBatch) -> Delivery {
        let (done, delivery) = oneshot::channel();
        let mut counts = [0; PARTITIONS];
        let mut queue = self.queue.lock().expect("not poisoned");
        for record in &batch.records {
            let lane = if let To::Partition(partition) = record.to {
                usize::try_from(partition).unwrap_or(0)
            } else {
                0
            };
            let key = &batch.bytes[record.key.start as usize..record.key.end as usize];
            queue.lanes[lane].push_back((record.at, String::from_utf8_lossy(key).into_owned()));
            counts[lane] += 1;
        }
        drop(queue);
        let (pause, answer) = {
            let mut world = lock(&self.world);
            (world.pause(30), world.pause(30))
        };
        let (world, queue) = (Arc::clone(&self.world), Arc::clone(&self.queue));
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            let result = store(&world, &queue, counts);
            tokio::time::sleep(answer).await;
            drop(batch.hold);
            let _ = done.send(result);
        });
        delivery
    }
}

/// The broker takes as many records of each lane. Whichever request comes first, a producer's records are stored in its order.
fn store(world: &Shared, queue: &Arc<Mutex<Queue>>, counts: [usize; PARTITIONS]) -> Result<(), Error> {
    let fail = |what| Err(Error::new(ErrorKind::SinkUnavailable, what));
    let mut world = lock(world);
    world.settle();
    let mut queue = queue.lock().expect("not poisoned");
    if queue.refused && world.broker != Broker::KafkaWithHoles {
        return fail("poisoned");
    }
    let first = world.dice.below(PARTITIONS as u64) as usize;
    let mut complete = true;
    for lane in (0..PARTITIONS).map(|lane| (lane + first) % PARTITIONS) {
        for _ in 0..counts[lane] {
            let Some((at, key)) = queue.lanes[lane].pop_front() else { return fail("lost") };
            if world.fault(60) {
                // The rest of this lane is refused too; other lanes may still take theirs.
                complete = false;
                break;
            }
            world.lanes[lane].push((at, key));
        }
    }
    if !complete || world.fault(40) {
        queue.refused = true;
        return fail(if complete { "stored, but the answer was lost" } else { "refused" });
    }
    Ok(())
}

impl Drop for FakeSink {
    /// What is under way may still arrive, in order, and of each lane no further than some point.
    fn drop(&mut self) {
        let mut world = lock(&self.world);
        let mut queue = self.queue.lock().expect("not poisoned");
        for lane in 0..PARTITIONS {
            let waiting = std::mem::take(&mut queue.lanes[lane]);
            if !queue.refused {
                let arriving = world.dice.below(waiting.len() as u64 + 1) as usize;
                world.late.extend(waiting.into_iter().take(arriving).map(|(at, key)| (lane, at, key)));
            }
        }
        queue.refused = true;
    }
}

/// A store that is slow, that fails, and that may have stored what it says it has not.
pub(super) struct FakeStore(pub(super) Shared);

impl CheckpointStore for FakeStore {
    fn take(&mut self) -> BoxFuture<'_, Result<Option<Stored>, Error>> {
        let stored = lock(&self.0).stored.clone();
        Box::pin(async { Ok(stored) })
    }

    fn save<'a>(&'a mut self, stored: &'a Stored) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let (pause, before, after) = {
                let mut world = lock(&self.0);
                (world.pause(20), world.fault(50), world.fault(50))
            };
            tokio::time::sleep(pause).await;
            if before {
                return Err(Error::new(ErrorKind::StoreUnavailable, "simulated"));
            }
            let mut world = lock(&self.0);
            world.judge(stored);
            world.stored = Some(stored.clone());
            if after { Err(Error::new(ErrorKind::StoreUnavailable, "simulated, but stored")) } else { Ok(()) }
        })
    }

    fn peek(&mut self) -> BoxFuture<'_, Result<Option<Stored>, Error>> {
        self.take()
    }
}
