//! The hot path allocates per batch, never per event or per field.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use mongodb::bson::{Document, Timestamp, doc};

use super::{Policies, Router, Stage};
use crate::error::Error;
use crate::event::Namespace;
use crate::format::{Addressing, Format, Route};
use crate::source::oplog::{Cut, Cutter};
use crate::source::{Chunk, Namespaces};

#[derive(Debug)]
struct OneTopic(Arc<Route>);

impl Router for OneTopic {
    fn route<'a>(&'a self, _: Namespace<'a>) -> BoxFuture<'a, Result<Arc<Route>, Error>> {
        futures::future::ok(Arc::clone(&self.0)).boxed()
    }

    fn dead_letters(&self) -> BoxFuture<'_, Result<Arc<Route>, Error>> {
        futures::future::ok(Arc::clone(&self.0)).boxed()
    }

    fn watermark_routes(&self) -> Vec<Arc<Route>> {
        Vec::new()
    }
}

/// Fields of several types.
fn fields(count: usize) -> Document {
    (0..count)
        .map(|number| match number % 4 {
            0 => (format!("n{number}"), 1.5.into()),
            1 => (format!("n{number}"), "some text".into()),
            2 => (format!("n{number}"), doc! { "a": [1, 2_i64, true] }.into()),
            _ => (format!("n{number}"), mongodb::bson::DateTime::from_millis(1).into()),
        })
        .collect()
}

fn entry(i: u32, body: Document) -> Document {
    let head = doc! { "ts": Timestamp { time: 1000, increment: i }, "t": 1_i64, "v": 2_i64, "wall": mongodb::bson::DateTime::from_millis(1), "ns": "shop.c" };
    head.into_iter().chain(body).collect()
}

fn insert(i: u32, count: usize) -> Document {
    let o: Document = doc! { "_id": i }.into_iter().chain(fields(count)).collect();
    entry(i, doc! { "op": "i", "o": o, "o2": { "_id": i } })
}

fn update(i: u32, count: usize) -> Document {
    let diff = doc! { "u": fields(count), "snested": { "i": fields(count) } };
    entry(i, doc! { "op": "u", "o": { "$v": 2, "diff": diff }, "o2": { "_id": i } })
}

/// The chunk of so many entries of so many fields.
fn chunk(make: fn(u32, usize) -> Document, entries: u32, count: usize) -> Chunk {
    let mut bytes = Vec::new();
    let mut ranges = Vec::new();
    for i in 1..=entries {
        let start = bytes.len();
        bytes.extend(make(i, count).to_vec().unwrap());
        ranges.push(Ok(start..bytes.len()));
    }
    match Cutter::new(None).cut(&Bytes::from(bytes), ranges.into_iter()).unwrap().pop() {
        Some(Cut::Chunk(chunk)) => chunk,
        other => panic!("one chunk: {other:?}"),
    }
}

/// Allocations of preparing it, once the namespace is known.
fn allocations(stage: &Stage, chunk: &Chunk) -> u64 {
    let prepare = || stage.prepare(chunk.clone()).now_or_never().unwrap().unwrap();
    prepare();
    allocation_counter::measure(|| drop(prepare())).count_total
}

#[test]
fn more_fields_and_more_events_are_no_more_allocations() {
    let route = Route::new("t", Addressing::Partitions(3));
    let router = Arc::new(OneTopic(Arc::new(route)));
    for format in [Format::Json, Format::JsonCanonical, Format::Bson] {
        let encoder = format.encoder();
        let router: Arc<OneTopic> = Arc::clone(&router);
        let stage = Stage::new(
            "rs0".to_owned(),
            Arc::new(Namespaces::default()),
            router,
            encoder,
            Policies::default(),
        );
        let few = allocations(&stage, &chunk(insert, 100, 4));
        assert!(few < 20, "{few} allocations for a batch");
        for (entries, count) in [(100, 80), (200, 4)] {
            let many = allocations(&stage, &chunk(insert, entries, count));
            // The buffer may have to grow.
            assert!(many <= few + 4, "{format}: {few} allocations, then {many}");
        }
        let few = allocations(&stage, &chunk(update, 100, 4));
        assert!(few < 24, "{few} allocations for a batch of updates");
        let many = allocations(&stage, &chunk(update, 100, 40));
        assert!(many <= few + 6, "{format}: {few} allocations, then {many}");
    }
}
