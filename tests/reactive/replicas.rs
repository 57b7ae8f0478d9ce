//! Random writes of every kind: afterwards the replica is the collection, byte for byte, and a part is what `find` finds.

use mongo_observer::reactive::{ReactiveCollection, ReactivePartialCollection};
use mongo_observer::servers::MongoVersion;
use mongodb::bson::{Document, RawDocumentBuf, doc};

use super::{Follower, PATIENCE, found, held, reached, written};
use crate::e2e::updates::server::Server;

type Raw = Document;

/// What is compared, with those who follow it.
struct Watched {
    whole: Vec<(ReactiveCollection<Raw>, Follower<Raw>)>,
    parts: Vec<(Document, ReactivePartialCollection<Raw>, Follower<Raw>)>,
}

fn filters() -> [Document; 4] {
    [
        doc! { "c": { "$gte": 1 } },
        doc! { "l": 2 },
        doc! { "$or": [{ "a.0": { "$type": "number" } }, { "s": { "$exists": true } }] },
        doc! { "a": { "$size": 3 }, "b": { "$ne": 2 } },
    ]
}

async fn ready<T>(collection: &ReactiveCollection<T>) {
    let waited = tokio::time::timeout(PATIENCE, collection.ready()).await;
    waited.unwrap_or_else(|_| panic!("{:?}", collection.status().borrow().clone())).unwrap();
}

impl Watched {
    fn new() -> Self {
        Self { whole: Vec::new(), parts: Vec::new() }
    }

    /// One more of each, while the writes go on.
    async fn begin(&mut self, server: &mut Server) {
        let client = server.client.clone();
        let starting = tokio::spawn(async move {
            let whole = ReactiveCollection::builder(&client, "shop.items")
                .index_path("by_c", "c")
                .start()
                .await
                .unwrap();
            ready(&whole).await;
            let mut parts = Vec::new();
            for filter in filters() {
                let part = ReactivePartialCollection::builder(&client, "shop.items").filter(filter.clone());
                let part = part.start().await.unwrap();
                ready(&part).await;
                parts.push((filter, part));
            }
            (whole, parts)
        });
        while !starting.is_finished() {
            server.step().await;
        }
        let (whole, parts) = starting.await.unwrap();
        let follower = Follower::of(&whole);
        self.whole.push((whole, follower));
        for (filter, part) in parts {
            let follower = Follower::of(&part);
            self.parts.push((filter, part, follower));
        }
    }

    async fn check(&mut self, server: &Server, when: &str) {
        let items = server.db.collection::<RawDocumentBuf>("items");
        let time = written(&server.client).await;
        let expected = found(&items, doc! {}).await;
        for (whole, follower) in &mut self.whole {
            reached(whole, time).await;
            assert!(held(&whole.snapshot()) == expected, "{when}: the replica differs");
            follower.catch_up();
            assert!(follower.documents == expected, "{when}: a subscriber differs");
            let snapshot = whole.snapshot();
            let of_index = snapshot.by("by_c").unwrap().iter().map(|doc| super::keyed(doc.raw().as_bytes()));
            assert!(of_index.collect::<super::Documents>() == expected, "{when}: the index differs");
        }
        for (filter, part, follower) in &mut self.parts {
            reached(part, time).await;
            let expected = found(&items, filter.clone()).await;
            let held = held(&part.snapshot());
            assert!(held == expected, "{when}: {filter}: {} are held, {} match", held.len(), expected.len());
            follower.catch_up();
            assert!(follower.documents == expected, "{when}: {filter}: a subscriber differs");
        }
    }
}

async fn replicas_are_the_collection(version: MongoVersion) {
    let mut server = Server::start(version, 11).await;
    let mut watched = Watched::new();
    // Random updates of every kind, transactions among them, while copies are made.
    for round in 0..3 {
        watched.begin(&mut server).await;
        for _ in 0..60 {
            server.step().await;
        }
        watched.check(&server, &format!("round {round}")).await;
    }
    // Many documents at once, and their end.
    let items = server.db.collection::<Document>("items");
    let many = (1000..3000).map(|id| doc! { "_id": id, "c": id % 3, "l": [id % 4], "a": [1, 2, 3] });
    items.insert_many(many).await.unwrap();
    items
        .update_many(doc! { "_id": { "$gte": 1000 } }, doc! { "$inc": { "c": 1 }, "$push": { "l": 2 } })
        .await
        .unwrap();
    items.update_many(doc! { "_id": { "$gte": 1500 } }, doc! { "$inc": { "c": -3 } }).await.unwrap();
    watched.check(&server, "many documents").await;
    items.delete_many(doc! { "_id": { "$gte": 1000 } }).await.unwrap();
    watched.check(&server, "many deletions").await;
    // Renamed away, back, dropped and made again.
    let rename = |from: &str, to: &str| doc! { "renameCollection": format!("shop.{from}"), "to": format!("shop.{to}") };
    let admin = server.client.database("admin");
    admin.run_command(rename("items", "elsewhere")).await.unwrap();
    watched.check(&server, "renamed away").await;
    admin.run_command(rename("elsewhere", "items")).await.unwrap();
    watched.check(&server, "renamed back").await;
    items.drop().await.unwrap();
    watched.check(&server, "dropped").await;
    items.insert_many((0..40).map(|id| doc! { "_id": id, "c": id % 3 })).await.unwrap();
    for _ in 0..20 {
        server.step().await;
    }
    watched.check(&server, "made again").await;
    items.aggregate([doc! { "$match": { "c": { "$gte": 1 } } }, doc! { "$out": "items" }]).await.unwrap();
    watched.check(&server, "replaced by $out").await;
    let status = watched.whole[0].0.status().borrow().clone();
    eprintln!("{}: {status:?}", version.as_str());
    assert!(status.resyncs >= 2 && status.resyncs <= 4, "{status:?}");
    let lookups: u64 = watched.parts.iter().map(|(_, part, _)| part.status().borrow().lookups).sum();
    assert!(lookups > 100, "{lookups} documents were read to decide");
}

#[tokio::test]
async fn replicas_are_the_collection_on_4_4() {
    replicas_are_the_collection(MongoVersion::V4_4).await;
}

#[tokio::test]
async fn replicas_are_the_collection_on_5_0() {
    replicas_are_the_collection(MongoVersion::V5_0).await;
}

#[tokio::test]
async fn replicas_are_the_collection_on_6_0() {
    replicas_are_the_collection(MongoVersion::V6_0_27).await;
}
