//! Images on their way into events: what was fetched for a chunk is in its records, and what is missing is counted.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use futures::{FutureExt as _, future};
use mongodb::bson::{Binary, Document, Timestamp, doc, spec::BinarySubtype};
use serde_json::{Value, json};

use super::{MissingImages, Policies, RecordBatch, Router, Stage};
use crate::error::Error;
use crate::event::{AfterImages, BeforeImages, ImageSettings, Namespace};
use crate::format::{Addressing, Format, Route};
use crate::source::images::{ImageLimits, ImageStore, Request, with_images};
use crate::source::oplog::{Cut, Cutter};
use crate::source::{Chunk, Namespaces};

/// Of everything it is asked for it has these documents.
#[derive(Debug)]
struct Documents(Vec<Document>);

impl ImageStore for Documents {
    fn read<'a>(&'a self, _: &'a Request<'a>) -> BoxStream<'a, Result<Vec<Bytes>, Error>> {
        let reply = self.0.iter().map(|document| Bytes::from(document.to_vec().unwrap())).collect();
        futures::stream::iter([Ok(reply)]).boxed()
    }

    fn keeps_records(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct Lines;

impl Router for Lines {
    fn route<'a>(&'a self, _: Namespace<'a>) -> BoxFuture<'a, Result<Arc<Route>, Error>> {
        let route = Route::new("lines", Addressing::Lines);
        future::ok(Arc::new(route)).boxed()
    }

    fn dead_letters(&self) -> BoxFuture<'_, Result<Arc<Route>, Error>> {
        self.route(Namespace { db: "", coll: "" })
    }

    fn watermark_routes(&self) -> Vec<Arc<Route>> {
        Vec::new()
    }
}

/// Updates of the documents 1, 2, …
fn updates(count: u32) -> Chunk {
    let ui = Binary { subtype: BinarySubtype::Uuid, bytes: vec![7; 16] };
    let entry = |i: u32| {
        doc! {
            "ts": Timestamp { time: 5, increment: i }, "op": "u", "ns": "shop.a", "ui": ui.clone(),
            "o": { "$v": 2, "diff": { "u": { "n": 2 } } }, "o2": { "_id": i.cast_signed() },
        }
    };
    let entries: Vec<Vec<u8>> = (1..=count).map(|i| entry(i).to_vec().unwrap()).collect();
    let mut end = 0;
    let ranges = entries.iter().map(|entry| {
        end += entry.len();
        Ok(end - entry.len()..end)
    });
    match Cutter::new(None).cut(&Bytes::from(entries.concat()), ranges).unwrap().pop() {
        Some(Cut::Chunk(chunk)) => chunk,
        other => panic!("one chunk: {other:?}"),
    }
}

fn prepare(settings: ImageSettings, documents: Vec<Document>, count: u32) -> RecordBatch {
    let namespaces = Arc::new(Namespaces::default());
    let chunks = futures::stream::iter([Ok(updates(count))]).boxed();
    let limits = ImageLimits { chunk_bytes: 1 << 20 };
    let store = Arc::new(Documents(documents));
    let mut chunks = with_images(chunks, store, Arc::clone(&namespaces), settings, limits);
    let chunk = chunks.try_next().now_or_never().expect("no I/O").unwrap().unwrap();
    let encoder = Format::Json.encoder();
    let stage = Stage::new("rs0".to_owned(), namespaces, Arc::new(Lines), encoder, Policies::default());
    stage.prepare(chunk).now_or_never().expect("no I/O").unwrap()
}

/// Before, after, and what they are.
fn images(batch: &RecordBatch) -> Vec<Value> {
    let event = |range: &std::ops::Range<u32>| -> Value {
        serde_json::from_slice(&batch.bytes[range.start as usize..range.end as usize]).unwrap()
    };
    let events = batch.records.iter().map(|record| event(record.value.as_ref().unwrap()));
    events
        .map(|event| json!([event["before"]["n"], event["beforeIs"], event["after"]["n"], event["afterIs"]]))
        .collect()
}

#[test]
fn what_was_looked_up_is_in_the_event_and_what_was_gone_is_counted() {
    let settings = ImageSettings { before: BeforeImages::None, after: AfterImages::Lookup };
    let batch = prepare(settings, vec![doc! { "_id": 3, "n": 7 }, doc! { "_id": 1, "n": 2 }], 3);
    assert_eq!(
        images(&batch),
        [
            json!([null, null, 2, "lookup"]),
            json!([null, null, null, "gone"]),
            json!([null, null, 7, "lookup"])
        ]
    );
    assert_eq!(batch.counts.missing_images, MissingImages { gone: 1, ..MissingImages::default() });
    assert_eq!(batch.counts.updates, 3);
}

#[test]
fn each_event_has_the_document_that_was_computed_for_it() {
    let settings = ImageSettings { before: BeforeImages::Stored, after: AfterImages::Stored };
    let record = |i, before: Document| {
        let id = doc! { "nsUUID": 7, "ts": Timestamp { time: 5, increment: i }, "applyOpsIndex": 0_i64 };
        doc! { "_id": id, "preImage": before }
    };
    let records = vec![record(1, doc! { "_id": 1, "n": 1 }), record(2, doc! { "_id": 2, "m": 1 })];
    let batch = prepare(settings, records, 3);
    assert_eq!(
        images(&batch),
        [
            json!([1, "exact", 2, "exact"]),
            json!([null, "exact", null, "mismatch"]),
            json!([null, "notFound", null, "notFound"])
        ]
    );
    let expected = MissingImages { mismatch: 1, not_found: 2, ..MissingImages::default() };
    assert_eq!(batch.counts.missing_images, expected);
}
