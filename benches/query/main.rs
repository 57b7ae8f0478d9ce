//! Full scans: filters over documents of 1 KB, one core, nothing else.
//!
//! `cargo bench --bench query --no-default-features`. Documents per second is what to read. Documents are 10,000 different ones of twenty
//! fields, the filters' fields among them; `walk` looks at every element of the top level and is what a scan can't be faster than.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, clippy::cast_possible_wrap, missing_docs)]

use std::hint::black_box;

use bson::{Bson, doc};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mongo_observer::bson::RawDoc;
use mongo_observer::query::{Filter, SortSpec};

const DOCUMENTS: usize = 10_000;

/// An order of a shop, 1 KB.
fn document(number: usize) -> Vec<u8> {
    let text = |length: usize| "lorem ipsum dolor sit amet ".chars().cycle().take(length).collect::<String>();
    let item = |price: f64| doc! { "sku": text(12), "price": price, "quantity": 2 };
    let whole = i64::try_from(number).unwrap();
    let status = ["open", "held", "paid", "sent"][number % 4];
    let mut document = doc! {
        "_id": whole, "customer": text(24), "email": text(32), "status": status,
        "created": bson::DateTime::from_millis(1_700_000_000_000 + whole), "total": (number % 1000) as f64, "currency": "EUR",
        "address": { "street": text(30), "city": "Köln", "zip": "50667", "country": "DE" },
        "items": [item(1.5), item(20.0), item((number % 100) as f64)], "tags": ["a", "b", "c"], "priority": (number % 10) as i32,
        "weight": 1.25, "paid": number.is_multiple_of(2), "coupon": Bson::Null, "channel": "web", "version": 7_i32,
        "agent": text(60), "session": text(32), "updated": bson::DateTime::from_millis(1_700_000_000_000),
    };
    let missing = 1012_usize.saturating_sub(document.to_vec().unwrap().len());
    document.insert("note", text(missing));
    document.to_vec().unwrap()
}

fn scans(c: &mut Criterion) {
    let documents: Vec<Vec<u8>> = (0..DOCUMENTS).map(document).collect();
    let documents: Vec<RawDoc<'_>> = documents.iter().map(|bytes| RawDoc::new(bytes).unwrap()).collect();
    let size = documents.iter().map(|doc| doc.as_bytes().len()).sum::<usize>() / DOCUMENTS;
    let mut group = c.benchmark_group(format!("scan of {size} bytes each"));
    group.throughput(Throughput::Elements(DOCUMENTS as u64));
    group.bench_function("walk", |b| {
        b.iter(|| documents.iter().map(|doc| black_box(*doc).iter().count()).sum::<usize>());
    });
    for (name, filter) in [
        ("two fields", r#"{"status": "open", "total": {"$gte": 500}}"#),
        ("two fields, both read", r#"{"total": {"$gte": 0}, "status": {"$ne": "lost"}}"#),
        ("two fields, the last one", r#"{"status": {"$in": ["open", "held"]}, "version": 7}"#),
        ("path through an array", r#"{"items.price": {"$gt": 90}}"#),
        ("element of an array", r#"{"items": {"$elemMatch": {"price": 20, "quantity": {"$lt": 2}}}}"#),
        ("list of twenty", r#"{"total": {"$in": [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]}}"#),
        ("regular expression", r#"{"email": {"$regex": "amet$"}}"#),
        ("expression", r#"{"$expr": {"$gt": ["$total", "$priority"]}}"#),
    ] {
        let filter = Filter::parse_json(filter).unwrap();
        group.bench_function(name, |b| {
            b.iter(|| documents.iter().filter(|doc| filter.matches(**doc).unwrap()).count());
        });
    }
    group.finish();
    let spec = bson::doc! { "status": 1, "total": -1 }.to_vec().unwrap();
    let sort = SortSpec::parse(RawDoc::new(&spec).unwrap()).unwrap();
    let mut group = c.benchmark_group("sort");
    group.throughput(Throughput::Elements(DOCUMENTS as u64));
    group.bench_function("keys of two paths", |b| {
        b.iter(|| documents.iter().map(|doc| sort.key(*doc).unwrap().len()).sum::<usize>());
    });
    group.finish();
}

criterion_group!(benches, scans);
criterion_main!(benches);
