//! The core under simulation: seeded schedules of everything that can go wrong, and a checker.
//!
//! A crash is a wrapper that polls the run at most so many times and then drops the whole runtime: a kill at every await, without a
//! single fail point in the code. What the fakes had applied survives as the world; the next attempt starts from there. After some faulty
//! attempts a calm one brings everything to its end, and the checker looks at the sink. Time is paused: schedules take no time.

mod check;
mod world;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use mongodb::bson::{Bson, Document, Timestamp, doc};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use self::check::check;
use self::world::{Broker, Dice, FakeSink, FakeStore, History, OneRoute, Shared, World, lock, source};
use super::*;
use crate::format::Format;
use crate::source::{ChunkStream, Namespaces};
use futures::stream::StreamExt;

/// Schedules of each kind; `SIM_SCHEDULES` overrides it.
const SCHEDULES: u64 = 100_000;
const FAULTY_ATTEMPTS: u64 = 6;

fn schedules(default: u64) -> u64 {
    std::env::var("SIM_SCHEDULES").ok().and_then(|count| count.parse().ok()).unwrap_or(default)
}

/// Defects that the simulation must find.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Planted {
    None,
    /// A batch counts as durable when it is sent.
    DurableAtSend,
    /// Deliveries are taken for one another.
    UnorderedDeliveries,
    /// A chunk is lost between source and pipeline.
    DroppedChunk,
}

/// Plain writes, no-ops, other collections, transactions of one entry and of several, these with other entries between their parts.
fn history(seed: u64) -> History {
    let mut dice = Dice::new(seed ^ 0x00C0_FFEE);
    let (mut entries, mut expected) = (Vec::new(), Vec::new());
    let mut open = Open::default();
    let length = 12 + dice.below(12);
    for number in 1..=length {
        let i = u32::try_from(number).expect("small");
        let mut note = |ordinal, key| expected.push((at(i, ordinal), format!(r#"{{"_id":{key}}}"#)));
        let body = match dice.below(12) {
            0 => doc! { "op": "n", "ns": "", "o": { "msg": "periodic noop" } },
            1 => doc! { "op": "i", "ns": "other.c", "o": { "_id": 1 } },
            2 | 3 => {
                let keys = keys(&mut dice);
                (0..).zip(&keys).for_each(|(ordinal, key)| note(ordinal, *key));
                apply_ops(&keys, i)
            }
            4 | 5 if number < length => open.piece(keys(&mut dice), i),
            6 if open.previous.is_some() => {
                let own = if dice.one_in(2) { keys(&mut dice) } else { Vec::new() };
                let (keys, body) = open.end(own, i);
                (0..).zip(&keys).for_each(|(ordinal, key)| note(ordinal, *key));
                body
            }
            _ => {
                let key = key(&mut dice);
                note(0, key);
                update(key, i)
            }
        };
        let head = doc! { "ts": Timestamp { time: 1000, increment: i }, "t": 1_i64, "v": 2_i64, "wall": Bson::DateTime(mongodb::bson::DateTime::from_millis(1)) };
        let entry: Document = head.into_iter().chain(body).collect();
        entries.push((at(i, 0), Bytes::from(entry.to_vec().expect("a valid document"))));
    }
    History { entries, expected }
}

fn at(i: u32, ordinal: u32) -> Position {
    Position { t: 1000, i, ordinal }
}

fn key(dice: &mut Dice) -> i32 {
    i32::try_from(dice.below(4)).expect("small")
}

fn keys(dice: &mut Dice) -> Vec<i32> {
    (0..=dice.below(5)).map(|_| key(dice)).collect()
}

fn update(key: i32, n: u32) -> Document {
    doc! { "op": "u", "ns": "shop.c", "o": { "_id": key, "n": n }, "o2": { "_id": key } }
}

fn apply_ops(keys: &[i32], n: u32) -> Document {
    let operations: Vec<Document> = keys.iter().map(|key| update(*key, n)).collect();
    doc! { "op": "c", "ns": "admin.$cmd", "o": { "applyOps": operations } }
}

/// A transaction whose parts are being written.
#[derive(Default)]
struct Open {
    previous: Option<u32>,
    keys: Vec<i32>,
}

impl Open {
    fn link(&mut self, mut body: Document, i: u32) -> Document {
        if let Some(increment) = self.previous.replace(i) {
            body.insert("prevOpTime", doc! { "ts": Timestamp { time: 1000, increment }, "t": 1_i64 });
        }
        body
    }

    fn piece(&mut self, keys: Vec<i32>, i: u32) -> Document {
        let mut body = apply_ops(&keys, i);
        body.get_document_mut("o").expect("a command").insert("partialTxn", true);
        self.keys.extend(keys);
        self.link(body, i)
    }

    /// Its last entry, and the keys of all its operations.
    fn end(&mut self, own: Vec<i32>, i: u32) -> (Vec<i32>, Document) {
        let body = apply_ops(&own, i);
        let body = self.link(body, i);
        self.previous = None;
        self.keys.extend(own);
        (std::mem::take(&mut self.keys), body)
    }
}

struct Silent;

impl Monitor for Silent {
    fn read(&self, _: &crate::source::Chunk) {}
    fn sent(&self, _: &RecordBatch) {}
    fn durable(&self, _: &Durable) {}
    fn stored(&self, _: Mark, _: Option<&Error>) {}
}

/// Polls the inner future at most so many times.
struct Crash<F> {
    polls: u64,
    inner: Pin<Box<F>>,
}

impl<F: Future> Future for Crash<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls == 0 {
            return Poll::Ready(None);
        }
        self.polls -= 1;
        self.inner.as_mut().poll(cx).map(Some)
    }
}

async fn attempt(world: &Shared, planted: Planted, stop: &CancellationToken) -> Result<Option<Mark>, Error> {
    let broker = lock(world).broker;
    let mut store = FakeStore(Arc::clone(world));
    let stored = store.take().await?;
    let tail = lock(world).tail();
    let resume = resume_point(stored.as_ref(), &tail, broker == Broker::Nats, Start::Earliest, "rs0")?;
    let namespaces = Namespaces::parse(&["shop.*".to_owned()], &[]).expect("a valid pattern");
    let stage = Stage::new(
        "rs0".to_owned(),
        Arc::new(namespaces),
        Arc::new(OneRoute::new(broker)),
        Format::Json.encoder(),
        Policies::default(),
    );
    let pipeline = Pipeline::start(Parts {
        chunks: plant_in_source(source(world, resume), world, planted),
        stage: Arc::new(stage),
        sink: Box::new(Bent { inner: FakeSink::new(world), planted, held: None }),
        store: Some(Box::new(store)),
        source: "rs0".to_owned(),
        budget: Budget::new(4096),
        checkpoint_interval: Duration::from_millis(15),
        heartbeat: Duration::from_secs(3600),
        is_first: false,
        monitor: Arc::new(Silent),
    });
    pipeline.run(stop).await
}

fn plant_in_source(chunks: ChunkStream, world: &Shared, planted: Planted) -> ChunkStream {
    if planted != Planted::DroppedChunk {
        return chunks;
    }
    let world = Arc::clone(world);
    chunks
        .filter(move |chunk| {
            let drop =
                chunk.as_ref().is_ok_and(|chunk| !chunk.ops.is_empty()) && lock(&world).dice.one_in(20);
            futures::future::ready(!drop)
        })
        .boxed()
}

/// A sink with a planted defect.
struct Bent {
    inner: FakeSink,
    planted: Planted,
    held: Option<(oneshot::Sender<Result<(), Error>>, Delivery)>,
}

impl Sink for Bent {
    fn send(&mut self, batch: RecordBatch) -> Delivery {
        let delivery = self.inner.send(batch);
        let (done, bent) = oneshot::channel();
        match self.planted {
            Planted::None | Planted::DroppedChunk => return delivery,
            Planted::DurableAtSend => drop(done.send(Ok(()))),
            // Two batches get each other's answers.
            Planted::UnorderedDeliveries => match self.held.take() {
                None => self.held = Some((done, delivery)),
                Some((earlier, its_delivery)) => {
                    tokio::spawn(async move { delivery.await.map(|result| earlier.send(result)) });
                    tokio::spawn(async move { its_delivery.await.map(|result| done.send(result)) });
                }
            },
        }
        bent
    }
}

/// One schedule; says what broke.
fn schedule(seed: u64, broker: Broker, planted: Planted) -> Result<(), String> {
    let world = World::new(Arc::new(history(seed)), broker, seed);
    let attempts = 1 + lock(&world).dice.below(FAULTY_ATTEMPTS);
    for number in 0..=attempts {
        let calm = number == attempts;
        lock(&world).calm = calm;
        let polls = if calm { u64::MAX } else { lock(&world).dice.below(120) };
        let patience = Duration::from_millis(if calm { 60_000 } else { 40 + lock(&world).dice.below(400) });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let stop = CancellationToken::new();
        let ended = runtime.block_on(Crash {
            polls,
            inner: Box::pin(async {
                let run = attempt(&world, planted, &stop);
                let until = async {
                    if calm {
                        complete(&world).await;
                    } else {
                        tokio::time::sleep(patience).await;
                    }
                    stop.cancel();
                };
                tokio::join!(tokio::time::timeout(patience + Duration::from_secs(60), run), until).0
            }),
        });
        drop(runtime);
        match ended {
            Some(Err(_)) => return Err(format!("attempt {number} hangs")),
            Some(Ok(Err(error))) if calm => return Err(format!("the calm attempt failed: {error}")),
            _ => {}
        }
    }
    let world = lock(&world);
    if let Some(premature) = &world.premature {
        return Err(premature.clone());
    }
    check(&world.history.expected, &world.lanes)
}

/// Waits until the sink holds the last operation, and then for a while.
async fn complete(world: &Shared) {
    for _ in 0..150 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let world = lock(world);
        let last = world.history.expected.last().map(|(at, _)| *at);
        if last.is_none() || world.lanes.iter().flatten().any(|(at, _)| Some(*at) == last) {
            break;
        }
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
}

fn broken(count: u64, broker: Broker, planted: Planted) -> Vec<(u64, String)> {
    (0..count).filter_map(|seed| schedule(seed, broker, planted).err().map(|what| (seed, what))).collect()
}

#[test]
fn no_schedule_loses_or_reorders_on_partitions() {
    let broken = broken(schedules(SCHEDULES) / 2, Broker::Kafka, Planted::None);
    assert!(broken.is_empty(), "{} broken, such as {:?}", broken.len(), broken.first());
}

#[test]
fn no_schedule_loses_or_reorders_on_a_chained_stream() {
    let broken = broken(schedules(SCHEDULES) / 2, Broker::Nats, Planted::None);
    assert!(broken.is_empty(), "{} broken, such as {:?}", broken.len(), broken.first());
}

#[test]
fn every_planted_defect_is_found() {
    for planted in [Planted::DurableAtSend, Planted::UnorderedDeliveries, Planted::DroppedChunk] {
        let found = broken(2000, Broker::Kafka, planted).len();
        assert!(found >= 200, "{planted:?} was found in {found} of 2000 schedules");
    }
}

/// Why `enable.gapless.guarantee` is set: a broker that stores later records behind a refused one makes consumers lose it.
#[test]
fn a_broker_that_leaves_holes_is_found_out() {
    let found = broken(2000, Broker::KafkaWithHoles, Planted::None).len();
    assert!(found >= 20, "found in {found} of 2000 schedules");
}

#[test]
fn the_same_seed_gives_the_same_schedule() {
    let logs = |seed| {
        let world = World::new(Arc::new(history(seed)), Broker::Kafka, seed);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let stop = CancellationToken::new();
        runtime
            .block_on(async {
                tokio::join!(attempt(&world, Planted::None, &stop), async {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    stop.cancel();
                })
            })
            .0
            .ok();
        lock(&world).lanes.clone()
    };
    for seed in 0..50 {
        assert_eq!(logs(seed), logs(seed), "seed {seed}");
    }
}
