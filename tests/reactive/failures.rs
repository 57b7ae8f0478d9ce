//! What a collection survives: elections, deaths, cut connections, a lost position; and what it refuses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use mongo_observer::error::ErrorKind;
use mongo_observer::reactive::{ReactiveCollection, ReactivePartialCollection, State};
use mongo_observer::servers::Mongo;
use mongodb::Client;
use mongodb::bson::{Document, RawDocumentBuf, doc};
use mongodb::options::WriteConcern;

use super::{Follower, found, held, reached, written};

/// Writes until it is told to end. Attempts may fail.
struct Load {
    is_over: Arc<AtomicBool>,
    count: Arc<AtomicI32>,
    task: tokio::task::JoinHandle<()>,
}

impl Load {
    fn start(client: &Client) -> Self {
        let items = client.database("shop").collection::<Document>("items");
        let (is_over, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI32::new(0)));
        let (over, written) = (Arc::clone(&is_over), Arc::clone(&count));
        let task = tokio::spawn(async move {
            for number in 0.. {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let one = doc! { "_id": number % 50 };
                let update = doc! { "$set": { "n": number, "kind": number % 3 }, "$push": { "l": { "$each": [number], "$slice": -5 } } };
                let majority = WriteConcern::majority();
                let ok = items
                    .update_one(one.clone(), update)
                    .upsert(true)
                    .write_concern(majority.clone())
                    .await
                    .is_ok();
                if number % 7 == 0 {
                    let _ = items.delete_one(one).write_concern(majority).await;
                }
                written.fetch_add(i32::from(ok), Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        Self { is_over, count, task }
    }

    /// Waits until that many more writes have been made.
    async fn goes_on(&self, writes: i32) {
        let until = self.count.load(Ordering::Relaxed) + writes;
        let on = async {
            while self.count.load(Ordering::Relaxed) < until {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(super::PATIENCE, on).await.expect("writes go on");
    }

    async fn end(self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
    }
}

struct Both {
    whole: ReactiveCollection<Document>,
    part: ReactivePartialCollection<Document>,
    followers: [Follower<Document>; 2],
}

const FILTER: &str = "kind";

impl Both {
    async fn of(client: &Client) -> Self {
        let whole = ReactiveCollection::builder(client, "shop.items").start().await.unwrap();
        let part = ReactivePartialCollection::builder(client, "shop.items").filter(doc! { FILTER: 1 });
        let part = part.start().await.unwrap();
        whole.ready().await.unwrap();
        part.ready().await.unwrap();
        let followers = [Follower::of(&whole), Follower::of(&part)];
        Self { whole, part, followers }
    }

    async fn check(&mut self, client: &Client) {
        let items = client.database("shop").collection::<RawDocumentBuf>("items");
        let time = written(client).await;
        reached(&self.whole, time).await;
        reached(&self.part, time).await;
        let [all, some] = [found(&items, doc! {}).await, found(&items, doc! { FILTER: 1 }).await];
        assert!(held(&self.whole.snapshot()) == all, "the replica differs");
        assert!(held(&self.part.snapshot()) == some, "the part differs");
        for (follower, expected) in self.followers.iter_mut().zip([all, some]) {
            follower.catch_up();
            assert!(follower.documents == expected, "a subscriber differs");
        }
    }
}

#[tokio::test]
async fn a_collection_survives_elections_and_deaths() {
    let mongo = Mongo::builder().members(3).start().await.unwrap();
    let client = mongo.client().await.unwrap();
    let load = Load::start(&client);
    load.goes_on(20).await;
    let mut both = Both::of(&client).await;
    load.goes_on(50).await;
    let next = mongo.step_down().await.unwrap();
    load.goes_on(50).await;
    mongo.kill(next).await;
    mongo.primary().await.unwrap();
    load.goes_on(50).await;
    mongo.restart(next).await.unwrap();
    load.goes_on(50).await;
    load.end().await;
    both.check(&client).await;
    let status = both.whole.status().borrow().clone();
    assert_eq!((status.resyncs, status.inconsistencies), (0, 0), "{status:?}");
}

#[tokio::test]
async fn a_lone_server_may_die_and_connections_may_be_cut() {
    let mongo = Mongo::builder().start().await.unwrap();
    let client = mongo.client().await.unwrap();
    let load = Load::start(&client);
    load.goes_on(20).await;
    let mut both = Both::of(&client).await;
    // All operations are ended, the collections' cursors among them.
    let admin = client.database("admin");
    for _ in 0..5 {
        let ops = admin.run_command(doc! { "currentOp": 1, "$all": true }).await.unwrap();
        for op in ops.get_array("inprog").unwrap() {
            let op = op.as_document().unwrap();
            if let Ok(id) = op.get_i32("opid") {
                let _ = admin.run_command(doc! { "killOp": 1, "op": id }).await;
            }
        }
        load.goes_on(20).await;
    }
    let mut status = both.whole.status();
    mongo.kill(0).await;
    let noticed = status.wait_for(|status| matches!(status.state, State::Stale { .. }));
    tokio::time::timeout(super::PATIENCE, noticed).await.expect("it is noticed").unwrap();
    assert!(!both.whole.snapshot().is_empty(), "what was there can be read");
    mongo.restart(0).await.unwrap();
    mongo.primary().await.unwrap();
    load.goes_on(50).await;
    load.end().await;
    both.check(&client).await;
    assert_eq!(both.whole.status().borrow().state, State::Live);
}

#[tokio::test]
async fn what_can_not_be_replicated_exactly_is_refused() {
    let mongo = Mongo::builder().start().await.unwrap();
    let client = mongo.client().await.unwrap();
    let db = client.database("shop");
    db.run_command(doc! { "create": "view", "viewOn": "orders", "pipeline": [] }).await.unwrap();
    db.run_command(doc! { "create": "capped", "capped": true, "size": 4096 }).await.unwrap();
    db.run_command(doc! { "create": "weather", "timeseries": { "timeField": "at" } }).await.unwrap();
    db.run_command(doc! { "create": "words", "collation": { "locale": "de" } }).await.unwrap();
    for (name, why) in [("view", "is a view"), ("capped", "is capped"), ("weather", "is a time series")] {
        let refused = ReactiveCollection::<Document>::builder(&client, &format!("shop.{name}")).start().await;
        let error = refused.unwrap_err();
        assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains(why), "{error}");
    }
    let part = ReactivePartialCollection::<Document>::builder(&client, "shop.words").start().await;
    assert!(part.unwrap_err().to_string().contains("has a collation"));
    // A collection that does not exist yet is an empty one, until a view takes its name.
    let none = ReactiveCollection::<Document>::builder(&client, "shop.later").start().await.unwrap();
    none.ready().await.unwrap();
    db.run_command(doc! { "create": "later", "viewOn": "orders", "pipeline": [] }).await.unwrap();
    let mut status = none.status();
    let failed = status
        .wait_for(|status| matches!(&status.state, State::Failed { reason } if reason.contains("view")));
    tokio::time::timeout(super::PATIENCE, failed).await.expect("it fails").unwrap();
}
