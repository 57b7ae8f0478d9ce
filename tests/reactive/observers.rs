//! Observers: what handlers get, and when.

use mongo_observer::error::ErrorKind;
use mongo_observer::event::Position;
use mongo_observer::observer::{Handled, Observer, OnError, Operation, OperationHandler, Start};
use mongo_observer::reactive::ReactiveCollection;
use mongo_observer::retry::Pauses;
use mongo_observer::servers::{Mongo, MongoVersion};
use mongodb::bson::{Document, RawDocumentBuf, doc};
use std::time::Duration;

use super::{found, held, written};

/// Notes what it is handed, and fails where it is told to.
#[derive(Default)]
struct Notes {
    seen: Vec<String>,
    positions: Vec<Position>,
    failures: u32,
}

impl Notes {
    fn note(&mut self, op: &Operation<'_>) -> Handled {
        if self.failures > 0 {
            self.failures -= 1;
            return Err("not now".into());
        }
        let id = op.o2.unwrap_or(op.o).get("_id").and_then(mongo_observer::bson::RawValue::as_i32);
        let txn = op.event.txn.map(|txn| format!(" of {}", txn.count)).unwrap_or_default();
        self.seen.push(format!("{} {} {:?}{txn}", op.op, op.event.change.name(), id.unwrap_or(-1)));
        self.positions.push(op.position);
        Ok(())
    }
}

impl OperationHandler for Notes {
    async fn on_insert(&mut self, op: &Operation<'_>) -> Handled {
        let document: Document = op.document().unwrap()?;
        assert_eq!(
            (document.get("_id"), op.o2.is_none_or(|o2| o2.get("_id").is_some())),
            (Some(&document["_id"]), true)
        );
        self.note(op)
    }
    async fn on_update(&mut self, op: &Operation<'_>) -> Handled {
        assert!(op.o2_as::<Document>().unwrap()?.contains_key("_id") && op.h.is_none());
        self.note(op)
    }
    async fn on_delete(&mut self, op: &Operation<'_>) -> Handled {
        assert!(op.o2.is_some());
        self.note(op)
    }
    async fn on_command(&mut self, op: &Operation<'_>) -> Handled {
        self.note(op)
    }
}

async fn reached(observing: &mongo_observer::observer::Observing<Notes>, client: &mongodb::Client) {
    let time = written(client).await;
    let there = observing.reached(Position::of_entry(time.time, time.increment));
    tokio::time::timeout(super::PATIENCE, there).await.unwrap().unwrap();
}

async fn operations_come_in_order(version: MongoVersion) {
    // With 256 MB of cache 4.4 lets the third of the large inserts below wait for room until the transaction is rolled back after 60 s, also
    // if nobody reads the oplog.
    let mongo = Mongo::builder().version(version).cache_mb(1024).start().await.unwrap();
    let client = mongo.client().await.unwrap();
    let orders = client.database("shop").collection::<Document>("orders");
    orders.insert_one(doc! { "_id": 0 }).await.unwrap();
    // "Now" is what is majority-committed.
    written(&client).await;
    let observing = Observer::of(&client, "shop.orders").unwrap().spawn(Notes::default());
    observing.ready().await.unwrap();
    client.database("shop").collection::<Document>("others").insert_one(doc! { "_id": 9 }).await.unwrap();
    orders.insert_many([doc! { "_id": 1 }, doc! { "_id": 2 }]).await.unwrap();
    orders.update_one(doc! { "_id": 1 }, doc! { "$set": { "a": 1 } }).await.unwrap();
    orders.replace_one(doc! { "_id": 1 }, doc! { "b": 1 }).await.unwrap();
    let mut session = client.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    // More than one oplog entry holds.
    let large = "x".repeat(9 << 20);
    for id in 3..6 {
        orders.insert_one(doc! { "_id": id, "large": &large }).session(&mut session).await.unwrap();
    }
    session.commit_transaction().await.unwrap();
    orders.delete_one(doc! { "_id": 2 }).await.unwrap();
    orders.drop().await.unwrap();
    reached(&observing, &client).await;
    let (notes, position) = observing.stop().await.unwrap();
    let expected = [
        "i insert 1",
        "i insert 2",
        "u update 1",
        "u replace 1",
        "i insert 3 of 3",
        "i insert 4 of 3",
        "i insert 5 of 3",
        "d delete 2",
        "c drop -1",
    ];
    assert_eq!(notes.seen, expected);
    assert!(notes.positions.is_sorted() && position >= notes.positions.last().copied());
    // From any position on the rest comes, also from within a transaction.
    for from in [0, 4, 6] {
        let rest = Observer::of(&client, "shop.orders").unwrap().start(Start::After(notes.positions[from]));
        let observing = rest.spawn(Notes::default());
        reached(&observing, &client).await;
        assert_eq!(observing.stop().await.unwrap().0.seen, expected[from + 1..]);
    }
}

#[tokio::test]
async fn operations_come_in_order_on_4_4() {
    operations_come_in_order(MongoVersion::V4_4).await;
}

#[tokio::test]
async fn operations_come_in_order_on_6_0() {
    operations_come_in_order(MongoVersion::V6_0_27).await;
}

#[tokio::test]
async fn what_a_handler_refuses_stops_the_observer_or_comes_again() {
    let mongo = Mongo::builder().start().await.unwrap();
    let client = mongo.client().await.unwrap();
    let orders = client.database("shop").collection::<Document>("orders");
    orders.insert_one(doc! { "_id": 1 }).await.unwrap();
    let observer = Observer::of(&client, "shop.orders").unwrap().start(Start::Earliest);
    let pauses = Pauses { first: Duration::from_millis(1), longest: Duration::from_millis(10) };
    // Again and again until it is taken: the collection's creation, then the document.
    let observing = observer
        .clone()
        .on_error(OnError::Retry)
        .pauses(pauses)
        .spawn(Notes { failures: 3, ..Notes::default() });
    reached(&observing, &client).await;
    assert_eq!(observing.stop().await.unwrap().0.seen, ["c create -1", "i insert 1"]);
    // Or the end.
    let observing = observer.spawn(Notes { failures: 1, ..Notes::default() });
    while !observing.has_ended() {
        tokio::task::yield_now().await;
    }
    let error = observing.stop().await.err().unwrap();
    assert!(error.kind() == ErrorKind::Handler && error.to_string().contains("not now"), "{error}");
    // A position that is in no oplog is no place to begin.
    let lost = Observer::of_all(&client).start(Start::After(Position::of_entry(1, 1)));
    let error =
        lost.run(&mut Notes::default(), &tokio_util::sync::CancellationToken::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PositionLost, "{error}");
    assert!(Observer::of(&client, "orders").is_err() && Observer::of(&client, "shop.o*").is_err());
}

#[tokio::test]
async fn a_collection_is_a_handler() {
    let mongo = Mongo::builder().start().await.unwrap();
    let client = mongo.client().await.unwrap();
    let (collection, handler) = ReactiveCollection::<Document>::driven("shop.orders").unwrap();
    let observing = Observer::of_all(&client).spawn(handler);
    observing.ready().await.unwrap();
    let orders = client.database("shop").collection::<Document>("orders");
    orders.insert_many((0..100).map(|id| doc! { "_id": id, "a": [id] })).await.unwrap();
    orders
        .update_many(doc! { "_id": { "$gt": 50 } }, doc! { "$push": { "a": 7 }, "$set": { "b": 1 } })
        .await
        .unwrap();
    orders.delete_many(doc! { "_id": { "$lt": 20 } }).await.unwrap();
    let time = written(&client).await;
    let there = observing.reached(Position::of_entry(time.time, time.increment));
    tokio::time::timeout(super::PATIENCE, there).await.unwrap().unwrap();
    let expected = found(&orders.clone_with_type::<RawDocumentBuf>(), doc! {}).await;
    assert!(held(&collection.snapshot()) == expected && expected.len() == 80);
}
