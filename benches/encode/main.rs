//! From oplog entries to records, without servers: cut, translated and encoded as relaxed JSON, beside a walker that writes the same
//! documents as the same JSON and does nothing else, and beside a plain copy of the same bytes. One core.
//!
//! `cargo bench --bench encode`. Entries per second is what to read; the ratios between lines of one group say more than the rates.
#![allow(clippy::unwrap_used, missing_docs)]

mod entries;

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use mongo_observer::bson::RawDoc;
use mongo_observer::bson::extjson::{Mode, write_doc};
use mongo_observer::error::Error;
use mongo_observer::event::Namespace;
use mongo_observer::format::{Addressing, Format, Route};
use mongo_observer::pipeline::{Policies, Router, Stage};
use mongo_observer::source::Namespaces;
use mongo_observer::source::oplog::{Cut, Cutter};

use entries::Entries;

/// One topic of twelve partitions for everything.
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

fn stage() -> Stage {
    let route = Route::new("mongo.shop.orders", Addressing::Partitions(12));
    let source = "rs0/6b0574e82148b8612ab610f8".to_owned();
    let router = Arc::new(OneTopic(Arc::new(route)));
    let encoder = Format::Json.encoder();
    Stage::new(source, Arc::new(Namespaces::default()), router, encoder, Policies::default())
}

/// What the connector does with a reply of the server.
#[inline(never)]
fn ours(stage: &Stage, entries: &Entries) -> usize {
    let cuts = Cutter::new(None).cut(&entries.bytes, entries.ranges.iter().cloned().map(Ok)).unwrap();
    let mut bytes = 0;
    for cut in cuts {
        let Cut::Chunk(chunk) = cut else { panic!("no chains here") };
        bytes += stage.prepare(chunk).now_or_never().unwrap().unwrap().bytes.len();
    }
    bytes
}

/// The documents alone, into a buffer for each chunk as ours.
#[inline(never)]
fn walker(entries: &Entries) -> usize {
    let mut bytes = 0;
    for chunk in entries.documents.chunks(200) {
        let mut out = Vec::with_capacity(chunk.iter().map(|range| range.len() * 5 / 4 + 96).sum());
        for range in chunk {
            write_doc(&mut out, RawDoc::new(&entries.bytes[range.clone()]).unwrap(), Mode::Relaxed).unwrap();
        }
        bytes += Bytes::from(out).len();
    }
    bytes
}

fn copy(entries: &Entries) -> usize {
    let mut bytes = 0;
    for chunk in entries.documents.chunks(200) {
        let mut out = Vec::with_capacity(chunk.iter().map(ExactSizeIterator::len).sum());
        for range in chunk {
            out.extend_from_slice(&entries.bytes[range.clone()]);
        }
        bytes += Bytes::from(out).len();
    }
    bytes
}

fn encode(c: &mut Criterion) {
    let stage = stage();
    for (name, entries) in [
        ("insert", entries::inserts()),
        ("update", entries::updates()),
        ("transaction", entries::transactions()),
    ] {
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Elements(entries.operations));
        group.bench_function("copy", |b| b.iter(|| copy(black_box(&entries))));
        group.bench_function("walker", |b| b.iter(|| walker(black_box(&entries))));
        group.bench_function("ours", |b| b.iter(|| ours(&stage, black_box(&entries))));
        group.finish();
    }
}

criterion_group!(benches, encode);
criterion_main!(benches);
