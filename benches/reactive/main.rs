//! Live collections without servers, over a source in memory: 100,000 documents of 1 KB, one writer.
//!
//! `cargo bench --bench reactive`, which `make bench` runs, too. `apply` is the time from the release of 50,000 single updates until the last
//! of them is visible: translating the source's history to events, deltas on raw bytes, the map, publishing. `held` keeps a snapshot of every
//! batch that a subscriber gets until the next one. `get` is measured while updates go on. What a document takes in memory is a test
//! (`reactive/tests/memory.rs`), since it does not depend on the machine.
#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bson::{Document, doc, oid::ObjectId};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mongo_observer::query::Filter;
use mongo_observer::reactive::{MemorySource, ReactiveCollection};
use tokio::runtime::Runtime;

const DOCUMENTS: u32 = 100_000;
const UPDATES: u32 = 50_000;

type Orders = ReactiveCollection<Document>;

fn id(number: u32) -> ObjectId {
    let mut bytes = [7; 12];
    bytes[..4].copy_from_slice(&number.wrapping_mul(2_654_435_761).to_be_bytes());
    bytes[4..8].copy_from_slice(&number.to_be_bytes());
    ObjectId::from_bytes(bytes)
}

fn order(number: u32) -> Document {
    let mut order = doc! { "_id": id(number), "status": "new", "n": i64::from(number), "total": f64::from(number % 1000) };
    for field in 0..10 {
        order.insert(format!("field{field}"), "x".repeat(76));
    }
    order
}

fn source() -> MemorySource {
    let source = MemorySource::new("shop.orders");
    source.write(|writes| (0..DOCUMENTS).for_each(|number| _ = writes.insert(&order(number))));
    source
}

/// Releases updates at once; the time until the last one is visible.
async fn updates(source: &MemorySource, orders: &Orders, round: u32) -> Duration {
    let (last, began) = source.write(|writes| {
        let mut last = None;
        for number in 0..UPDATES {
            let of = (round * 31 + number * 7919) % DOCUMENTS;
            last = Some(writes.set(id(of), &doc! { "n": i64::from(round + number), "status": "paid" }));
        }
        (last.unwrap(), Instant::now())
    });
    orders.reached(last).await.unwrap();
    began.elapsed()
}

async fn started(source: &MemorySource) -> Orders {
    let orders = Orders::of_memory(source).start().await.unwrap();
    orders.ready().await.unwrap();
    orders
}

fn apply(c: &mut Criterion, runtime: &Runtime, source: &MemorySource, orders: &Orders, is_held: bool) {
    let (stop, mut round) = (Arc::new(AtomicBool::new(false)), 0);
    let holder = is_held.then(|| {
        let (orders, stop) = (orders.clone(), Arc::clone(&stop));
        let (mut held, mut changes) = orders.subscribe();
        runtime.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                if tokio::time::timeout(Duration::from_millis(50), changes.next()).await.is_ok() {
                    held = orders.snapshot();
                }
            }
            held.len()
        })
    });
    let mut group = c.benchmark_group("apply");
    group
        .throughput(Throughput::Elements(UPDATES.into()))
        .sample_size(10)
        .measurement_time(Duration::from_secs(3));
    group.bench_function(if is_held { "held" } else { "free" }, |b| {
        b.iter_custom(|rounds| {
            (0..rounds)
                .map(|_| {
                    round += 1;
                    runtime.block_on(updates(source, orders, round))
                })
                .sum()
        });
    });
    group.finish();
    stop.store(true, Ordering::Relaxed);
    if let Some(holder) = holder {
        runtime.block_on(holder).unwrap();
    }
}

fn reads(c: &mut Criterion, runtime: &Runtime, source: &MemorySource, orders: &Orders) {
    let stop = Arc::new(AtomicBool::new(false));
    let (writing, over) = (source.clone(), Arc::clone(&stop));
    let writer = runtime.spawn_blocking(move || {
        for number in 0.. {
            if over.load(Ordering::Relaxed) {
                break;
            }
            writing.set(id(number % DOCUMENTS), &doc! { "n": i64::from(number) });
        }
    });
    let mut number = 0_u32;
    let mut group = c.benchmark_group("read");
    group.measurement_time(Duration::from_secs(2));
    group.bench_function("get while writing", |b| {
        b.iter(|| {
            number = number.wrapping_add(7919);
            black_box(orders.get(id(number % DOCUMENTS)))
        });
    });
    group.bench_function("snapshot while writing", |b| b.iter(|| black_box(orders.snapshot())));
    stop.store(true, Ordering::Relaxed);
    runtime.block_on(writer).unwrap();
    let filter = Filter::parse_json(r#"{"status": "none", "total": {"$gte": 500}}"#).unwrap();
    group.throughput(Throughput::Elements(DOCUMENTS.into())).sample_size(10);
    group.bench_function("find", |b| b.iter(|| black_box(orders.find(&filter).unwrap().len())));
    group.finish();
}

fn reactive(c: &mut Criterion) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let source = source();
    let orders = runtime.block_on(started(&source));
    apply(c, &runtime, &source, &orders, false);
    apply(c, &runtime, &source, &orders, true);
    reads(c, &runtime, &source, &orders);
}

criterion_group!(benches, reactive);
criterion_main!(benches);
