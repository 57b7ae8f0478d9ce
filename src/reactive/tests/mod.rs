//! Collections over a source in memory.

mod memory;
mod random;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use bson::{Document, Timestamp, doc};
use serde::Deserialize;

use super::*;
use crate::bson::RawDoc;
use crate::error::ErrorKind;
use crate::event::Position;
use crate::query::Filter;

#[derive(Clone, Debug, Deserialize, PartialEq)]
struct Order {
    #[serde(rename = "_id")]
    id: i32,
    status: String,
    total: f64,
}

fn order(id: i32, status: &str, total: f64) -> Document {
    doc! { "_id": id, "status": status, "total": total }
}

/// What a subscriber makes of what it gets.
#[derive(Default)]
struct Applied(BTreeMap<Vec<u8>, Vec<u8>>);

impl Applied {
    fn of<T>(snapshot: &Snapshot<T>) -> Self {
        Self(snapshot.iter().map(|doc| (id(doc), doc.raw().as_bytes().to_vec())).collect())
    }

    fn take<T>(&mut self, next: &Next<T>) {
        match next {
            Next::Reset(snapshot) => *self = Self::of(snapshot),
            Next::Batch(batch) => batch.iter().for_each(|change| self.change(change)),
        }
    }

    /// What was there must be what the change says.
    fn change<T>(&mut self, change: &Change<T>) {
        let key = id(change.old().or(change.new()).unwrap());
        let before = match change.new() {
            Some(new) => self.0.insert(key, new.raw().as_bytes().to_vec()),
            None => self.0.remove(&key),
        };
        assert_eq!(before.as_deref(), change.old().map(|old| old.raw().as_bytes()), "{change:?}");
    }
}

fn id<T>(doc: &Doc<T>) -> Vec<u8> {
    crate::bson::key(doc.id().unwrap()).unwrap()
}

async fn next<T>(changes: &mut Changes<T>) -> Next<T> {
    tokio::time::timeout(Duration::from_secs(20), changes.next())
        .await
        .expect("in time")
        .expect("not the end")
}

fn causes<T>(next: &Next<T>) -> Vec<String> {
    let Next::Batch(batch) = next else { return vec!["reset".to_owned()] };
    let cause = |change: &Change<T>| match change {
        Change::Inserted { cause, .. } => format!("in {cause:?}"),
        Change::Updated { .. } => "updated".to_owned(),
        Change::Removed { cause, .. } => format!("out {cause:?}"),
    };
    batch.iter().map(cause).collect()
}

#[tokio::test]
async fn a_collection_has_what_was_there_and_follows_what_comes() {
    let source = MemorySource::new("shop.orders");
    source.insert(&order(1, "new", 5.0));
    let orders = ReactiveCollection::<Order>::of_memory(&source).start().await.unwrap();
    orders.ready().await.unwrap();
    assert_eq!(orders.get(1).unwrap().typed().unwrap().status, "new");
    assert_eq!(orders.get(1.0).unwrap().typed().unwrap(), orders.get(1_i64).unwrap().typed().unwrap());
    let before = orders.snapshot();
    let (_, mut changes) = orders.subscribe();
    source.set(1, &doc! { "status": "paid" });
    let at = source.insert(&order(2, "new", 7.5));
    orders.reached(at).await.unwrap();
    assert_eq!(orders.get(1).unwrap().typed().unwrap().status, "paid");
    assert_eq!((orders.snapshot().len(), before.len()), (2, 1));
    assert_eq!(before.get(1).unwrap().typed().unwrap().status, "new");
    let Next::Batch(batch) = next(&mut changes).await else { panic!("a reset") };
    let [Change::Updated { old, new }] = &batch.iter().cloned().collect::<Vec<_>>()[..] else {
        panic!("{batch:?}")
    };
    assert_eq!((old.typed().unwrap().status.as_str(), new.typed().unwrap().status.as_str()), ("new", "paid"));
    let at = source.delete(1);
    orders.wait_for(Timestamp { time: at.t, increment: at.i }).await.unwrap();
    assert!(orders.get(1).is_none());
}

#[tokio::test]
async fn a_transaction_is_one_batch_and_no_snapshot_lies_within() {
    let source = MemorySource::new("shop.orders");
    let orders = ReactiveCollection::<Order>::of_memory(&source).start().await.unwrap();
    orders.ready().await.unwrap();
    let (_, mut changes) = orders.subscribe();
    source.write(|writes| {
        writes.insert_together(&[order(1, "new", 1.0), order(2, "new", 2.0)]);
        writes.insert_together(&[order(1, "paid", 1.0), order(3, "new", 3.0)]);
    });
    assert_eq!(causes(&next(&mut changes).await), ["in Write", "in Write"]);
    let second = next(&mut changes).await;
    assert_eq!(causes(&second), ["updated", "in Write"]);
    let Next::Batch(batch) = second else { unreachable!() };
    assert_eq!((batch.txn().unwrap().count, batch.position().i), (2, 2));
    source.drop_collection();
    assert_eq!(causes(&next(&mut changes).await), ["out Drop", "out Drop", "out Drop"]);
    assert!(orders.snapshot().is_empty());
}

#[tokio::test]
async fn a_subscriber_that_lags_gets_a_reset_and_nothing_twice() {
    let source = MemorySource::new("shop.orders");
    let orders = ReactiveCollection::<Order>::of_memory(&source).capacity(4).start().await.unwrap();
    orders.ready().await.unwrap();
    let (start, mut changes) = orders.subscribe();
    let mut applied = Applied::of(&start);
    let at = source.write(|writes| (0..100).map(|id| writes.insert(&order(id, "new", 0.0))).last().unwrap());
    orders.reached(at).await.unwrap();
    let first = next(&mut changes).await;
    assert!(matches!(first, Next::Reset(_)), "{first:?}");
    applied.take(&first);
    source.insert(&order(100, "new", 0.0));
    let then = next(&mut changes).await;
    assert_eq!(causes(&then), ["in Write"]);
    applied.take(&then);
    assert_eq!(applied.0.len(), 101);
}

#[tokio::test]
async fn subscribers_come_to_an_end_with_the_last_handle() {
    let source = MemorySource::new("shop.orders");
    let orders = ReactiveCollection::<Order>::of_memory(&source).start().await.unwrap();
    orders.ready().await.unwrap();
    let ((_, mut changes), status) = (orders.subscribe(), orders.status());
    drop(orders);
    let end = tokio::time::timeout(Duration::from_secs(20), changes.next()).await.unwrap();
    assert!(end.is_none() && matches!(status.borrow().state, State::Failed { .. }));
}

#[tokio::test]
async fn indexes_find_what_a_scan_finds() {
    let source = MemorySource::new("shop.orders");
    let orders = ReactiveCollection::<Order>::of_memory(&source)
        .index("by_status", |order: &Order| [order.status.clone()])
        .index_path("by_total", "total")
        .start()
        .await
        .unwrap();
    orders.ready().await.unwrap();
    for id in 0..20 {
        source.insert(&order(id, ["new", "paid"][usize::try_from(id % 2).unwrap()], f64::from(id % 5)));
    }
    source.set(3, &doc! { "status": "new" });
    source.insert(&doc! { "_id": 77, "status": 5, "total": 2 });
    let at = source.delete(4);
    orders.reached(at).await.unwrap();
    let snapshot = orders.snapshot();
    assert_eq!(snapshot.by("by_status").unwrap().eq("new").count(), 10);
    assert_eq!(snapshot.by("by_status").unwrap().iter().count(), 19);
    assert_eq!(snapshot.by("by_total").unwrap().eq(2).count(), 5);
    assert_eq!(snapshot.by("by_total").unwrap().range(1..3).count(), 9);
    assert_eq!(snapshot.by("by_total").unwrap().range((Bound::Included(3), Bound::Excluded(1))).count(), 0);
    let totals: Vec<f64> =
        snapshot.by("by_total").unwrap().range(3.0..).map(|doc| doc.typed().unwrap().total).collect();
    assert!(totals.len() == 7 && totals.is_sorted(), "{totals:?}");
    assert!(snapshot.by("by_x").err().unwrap().to_string().contains("no index named `by_x`"));
    let filter = Filter::parse_json(r#"{"status": "new", "total": {"$gte": 3}}"#).unwrap();
    assert_eq!(orders.find(&filter).unwrap().len(), 4);
}

#[tokio::test]
async fn a_document_of_another_type_is_there_and_counted_once() {
    let source = MemorySource::new("shop.orders");
    source.insert(&doc! { "_id": 1, "status": 5 });
    let orders = ReactiveCollection::<Order>::of_memory(&source).start().await.unwrap();
    orders.ready().await.unwrap();
    let doc = orders.get(1).unwrap();
    let error = doc.typed().unwrap_err().to_string();
    assert!(error.contains("Order") && doc.typed().is_err(), "{error}");
    assert_eq!(RawDoc::get(doc.raw(), "status").unwrap().as_i32(), Some(5));
    let at = source.insert(&order(2, "new", 0.0));
    orders.reached(at).await.unwrap();
    assert_eq!(orders.status().borrow().decode_errors, 1);
}

#[tokio::test]
async fn what_can_never_work_is_refused_at_once() {
    let source = MemorySource::new("shop.orders");
    let refused = |filter: Document, paths: &'static [&'static str]| {
        let source = source.clone();
        async move {
            let builder = ReactivePartialCollection::<Order>::of_memory(&source).filter(filter);
            builder.project(paths.iter().copied()).start().await.unwrap_err()
        }
    };
    for (filter, paths) in [
        (doc! { "a": { "$what": 1 } }, &[][..]),
        (doc! { "$where": "true" }, &[]),
        (doc! {}, &["a", "a.b"]),
        (doc! {}, &[""]),
    ] {
        let error = refused(filter, paths).await;
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    }
    let collection = || ReactiveCollection::<Order>::of_memory(&source);
    assert!(collection().index_path("i", "a..b").start().await.is_err());
    assert!(collection().index_path("i", "a").index_path("i", "b").start().await.is_err());
    assert!(ReactiveCollection::<Order>::of_memory(&MemorySource::new("orders")).start().await.is_err());
}

#[tokio::test]
async fn documents_move_into_a_part_and_out_of_it() {
    let source = MemorySource::new("shop.orders");
    source.insert(&order(1, "open", 1.0));
    source.insert(&order(2, "closed", 2.0));
    let open = ReactivePartialCollection::<Document>::of_memory(&source)
        .filter(doc! { "status": "open" })
        .project(["total"])
        .start()
        .await
        .unwrap();
    open.ready().await.unwrap();
    let (start, mut changes) = open.subscribe();
    assert_eq!(
        start.iter().map(|doc| doc.typed().unwrap().clone()).collect::<Vec<_>>(),
        [doc! { "_id": 1, "total": 1.0 }]
    );
    let position = source.set(2, &doc! { "total": 3.0 });
    open.reached(position).await.unwrap();
    assert_eq!(open.status().borrow().lookups, 0, "the filter does not read it");
    source.set(2, &doc! { "status": "open" });
    let moved = next(&mut changes).await;
    assert_eq!(causes(&moved), ["in MoveIn"]);
    let Next::Batch(batch) = moved else { unreachable!() };
    assert_eq!(
        batch.iter().next().unwrap().new().unwrap().typed().unwrap(),
        &doc! { "_id": 2, "total": 3.0 }
    );
    // What is not shown is no change.
    source.set(2, &doc! { "note": "x" });
    source.set(1, &doc! { "status": "held" });
    assert_eq!(causes(&next(&mut changes).await), ["out MoveOut"]);
    source.delete(2);
    assert_eq!(causes(&next(&mut changes).await), ["out Write"]);
    source.insert(&order(3, "open", 0.0));
    assert_eq!(causes(&next(&mut changes).await), ["in Write"]);
    assert_eq!(open.status().borrow().lookups, 1);
    assert_eq!(
        open.snapshot().position(),
        Position::behind_entry(1, source.insert(&order(3, "open", 0.0)).i - 1)
    );
}
