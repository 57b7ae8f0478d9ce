//! A NATS stream with the preset `latest` is a live table: whoever subscribes late has what MongoDB has.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::{Ordered, OrderedConfig};
use futures::{StreamExt as _, TryStreamExt as _};
use mongo_observer::servers::Nats;
use mongodb::Client;
use mongodb::bson::{Bson, Document, doc};
use serde_json::Value;

use super::harness::{
    History, Installation, Random, Workload, client, majority_point, mongo, nats, nats_sink, source,
};

const COLLECTIONS: [&str; 3] = ["a", "b", "c"];

/// Documents by collection and `_id`.
type Table = BTreeMap<(String, String), Value>;

/// What MongoDB holds.
async fn collections(client: &Client, db: &str) -> Table {
    let mut table = Table::new();
    for coll in COLLECTIONS {
        let found = client.database(db).collection::<Document>(coll).find(doc! {}).await.unwrap();
        for document in found.try_collect::<Vec<_>>().await.unwrap() {
            let id = document.get_str("_id").unwrap().to_owned();
            table.insert((coll.to_owned(), id), Bson::from(document).into_relaxed_extjson());
        }
    }
    table
}

/// A subscriber: what the README tells it to do, and no more.
struct Subscriber {
    messages: Ordered,
    table: Table,
    at: u64,
}

impl Subscriber {
    /// Asks for the last message of each document of a database.
    async fn new(nats: &Nats, stream: &str, db: &str) -> Self {
        let context = jetstream::new(async_nats::connect(nats.url()).await.unwrap());
        let config = OrderedConfig {
            deliver_policy: DeliverPolicy::LastPerSubject,
            filter_subject: format!("{stream}.{db}.*.*"),
            ..OrderedConfig::default()
        };
        let consumer = context.get_stream(stream).await.unwrap().create_consumer(config).await.unwrap();
        let messages = consumer.messages().await.unwrap();
        Self { messages, table: Table::new(), at: 0 }
    }

    /// Follows until nothing is left; gives back how many messages that were.
    async fn read(&mut self) -> usize {
        let mut count = 0;
        while let Ok(Some(message)) =
            tokio::time::timeout(Duration::from_millis(500), self.messages.next()).await
        {
            let message = message.unwrap();
            self.at = message.info().unwrap().stream_sequence;
            self.apply(&message);
            count += 1;
        }
        count
    }

    fn apply(&mut self, message: &jetstream::Message) {
        let event: Value = serde_json::from_slice(&message.payload).unwrap();
        let coll = event["ns"]["coll"].as_str().unwrap().to_owned();
        let token = message.subject.rsplit_once('.').unwrap().1;
        if token.starts_with('_') {
            if ["_drop", "_rename"].contains(&token) {
                self.table.retain(|(of, _), _| *of != coll);
            }
            return;
        }
        let place = (coll, event["key"]["_id"].as_str().unwrap().to_owned());
        let marker =
            message.headers.as_ref().unwrap().get("KV-Operation").is_some_and(|it| it.as_str() == "DEL");
        assert_eq!(marker, event["op"] == "delete", "{event}");
        match event.get("after").filter(|_| !marker) {
            Some(document) => self.table.insert(place, document.clone()),
            None => self.table.remove(&place),
        };
    }
}

/// Kills a connector with these images again and again while changes are written, and a collection is dropped if `drops`.
async fn the_table_is_the_collections(db: &'static str, images: &str, drops: bool) {
    // GIVEN a writer, and a connector that began before it
    let (mongo, nats) = (mongo().await, nats().await);
    let client = client(mongo).await;
    let start = majority_point(&client).await;
    let sink = nats_sink(nats, db) + "preset = \"latest\"\n" + images;
    let installation = Installation::new(&(source(mongo, db) + &sink));
    let mut connector = installation.run().await;
    connector.anchored().await;
    let mut random = Random::new(11);
    // WHEN it is killed at random moments
    for round in 0..4 {
        let load = Workload::new(&client, db, 100 + round).start(Duration::from_millis(1)).await;
        tokio::time::sleep(Duration::from_millis(200 + random.below(500))).await;
        connector.kill().await;
        connector = installation.start();
        load.stop().await;
        if round == 1 && drops {
            client.database(db).collection::<Document>("b").drop().await.unwrap();
        }
    }
    connector.done(0, History::read(&client, start, db).await.end()).await;
    // THEN who subscribes now has what MongoDB has, by one message of each document
    let mut late = Subscriber::new(nats, db, db).await;
    let count = late.read().await;
    let held = collections(&client, db).await;
    assert!(held.len() > 20 && count > held.len(), "{} documents, {count} messages", held.len());
    assert!(count <= 3 * 24 + 20, "{count} messages");
    assert_eq!(late.table, held);
    // and follows it.
    Workload::new(&client, db, 200).write(300).await;
    connector.done(0, History::read(&client, start, db).await.end()).await;
    let before = late.at;
    late.read().await;
    assert!(late.at > before);
    assert_eq!(late.table, collections(&client, db).await);
}

#[tokio::test]
async fn a_late_subscriber_has_the_collections_with_documents_looked_up() {
    the_table_is_the_collections("table_lookup", "images.after = \"lookup\"\n", true).await;
}

#[tokio::test]
async fn a_late_subscriber_has_the_collections_with_documents_made_of_what_was_recorded() {
    let (db, client) = ("table_stored", client(mongo().await).await);
    for coll in COLLECTIONS {
        let recorded = doc! { "create": coll, "changeStreamPreAndPostImages": { "enabled": true } };
        client.database(db).run_command(recorded).await.unwrap();
    }
    // What was recorded of a collection is gone with it.
    the_table_is_the_collections(db, "images.after = \"stored\"\n", false).await;
}

#[tokio::test]
async fn an_update_without_its_document_stops_a_table() {
    // GIVEN a collection of which nothing is recorded
    let (mongo, nats, db) = (mongo().await, nats().await, "table_bare");
    let client = client(mongo).await;
    let sink = nats_sink(nats, db) + "preset = \"latest\"\nimages.after = \"stored\"\n";
    let installation = Installation::new(&(source(mongo, db) + &sink));
    let connector = installation.run().await;
    connector.anchored().await;
    // WHEN a document is updated
    let docs = client.database(db).collection::<Document>("a");
    docs.insert_one(doc! { "_id": "x", "n": 1 }).await.unwrap();
    docs.update_one(doc! { "_id": "x" }, doc! { "$set": { "n": 2 } }).await.unwrap();
    // THEN it stops before it
    let ended = connector.ended_within(super::harness::PATIENCE).await;
    let line = ended.failed_with(1);
    assert!(line.contains("an update without its document (after: notFound)"), "{line}");
    let mut late = Subscriber::new(nats, db, db).await;
    late.read().await;
    assert_eq!(late.table.values().map(|document| &document["n"]).collect::<Vec<_>>(), [1]);
}

#[tokio::test]
async fn a_table_without_whole_documents_is_refused() {
    let (mongo, nats) = (mongo().await, nats().await);
    let sink = nats_sink(nats, "table_none") + "preset = \"latest\"\n";
    let ended = Installation::new(&(source(mongo, "table_none") + &sink)).ended(&["check"]).await;
    let line = ended.failed_with(2);
    assert!(line.contains("set `sinks.nats.images.after` to \"stored\" or \"lookup\""), "{line}");
}
