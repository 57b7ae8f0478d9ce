//! Transactions of several oplog entries, on every version: complete, in order, in bounded memory, whatever is killed on the way.

use std::time::Duration;

use mongo_observer::servers::{Mongo, MongoVersion};
use mongodb::bson::{Document, Timestamp, doc};
use mongodb::options::{Acknowledgment, WriteConcern};
use mongodb::{Client, ClientSession, Collection};

use super::harness::{
    History, Installation, Lanes, Random, client, commit_everything, eventually, file_sink, kafka,
    kafka_sink, majority_point, nats, nats_sink, read_file, read_kafka, read_nats, source,
};

/// A server that writes a transaction of more than two operations as several entries.
async fn chaining(version: MongoVersion) -> Mongo {
    Mongo::builder()
        .version(version)
        .param("maxNumberOfTransactionOperationsInSingleOplogEntry=2")
        .start()
        .await
        .unwrap()
}

/// A collection, and a session with an open transaction of inserts.
async fn open_transaction(
    client: &Client,
    db: &str,
    ids: std::ops::Range<i32>,
) -> (Collection<Document>, ClientSession) {
    let coll = client.database(db).collection::<Document>("a");
    let mut session = client.start_session().await.unwrap();
    session
        .start_transaction()
        .write_concern(WriteConcern::builder().w(Acknowledgment::Majority).build())
        .await
        .unwrap();
    for id in ids {
        coll.insert_one(doc! { "_id": id }).session(&mut session).await.unwrap();
    }
    (coll, session)
}

/// Prepares the transaction; says the timestamp with which it can be committed.
async fn prepare(client: &Client, session: &mut ClientSession) -> Timestamp {
    let command = doc! { "prepareTransaction": 1, "writeConcern": { "w": "majority" } };
    let reply = client.database("admin").run_command(command).session(session).await.unwrap();
    reply.get_timestamp("prepareTimestamp").unwrap()
}

/// The driver knows nothing of prepared transactions.
async fn end_prepared(client: &Client, session: &mut ClientSession, command: Document) {
    client.database("admin").run_command(command).session(&mut *session).await.unwrap();
}

/// Chains of three entries, with writes between their parts; prepared ones, aborted ones.
async fn several_transactions(client: &Client, db: &str) {
    let plain = client.database(db).collection::<Document>("a");
    plain.insert_one(doc! { "_id": "plain" }).await.unwrap();
    let (_, mut chained) = open_transaction(client, db, 0..5).await;
    let (_, mut other) = open_transaction(client, db, 10..13).await;
    plain.insert_one(doc! { "_id": "between" }).await.unwrap();
    chained.commit_transaction().await.unwrap();
    other.commit_transaction().await.unwrap();

    for (first, count) in [(20, 1), (30, 5)] {
        let (_, mut prepared) = open_transaction(client, db, first..first + count).await;
        let at = prepare(client, &mut prepared).await;
        plain.insert_one(doc! { "_id": format!("between {first}") }).await.unwrap();
        end_prepared(client, &mut prepared, doc! { "commitTransaction": 1, "commitTimestamp": at }).await;
    }
    let (_, mut aborted) = open_transaction(client, db, 40..45).await;
    prepare(client, &mut aborted).await;
    end_prepared(client, &mut aborted, doc! { "abortTransaction": 1 }).await;
    let (_, mut never) = open_transaction(client, db, 50..55).await;
    never.abort_transaction().await.unwrap();
    plain.insert_one(doc! { "_id": "last" }).await.unwrap();
}

async fn chains_are_published_whole(version: MongoVersion) {
    // GIVEN a connector
    let mongo = chaining(version).await;
    let client = client(&mongo).await;
    client.database("chains").create_collection("a").await.unwrap();
    // By itself 4.4 does not wait for that.
    commit_everything(&client).await;
    let start = majority_point(&client).await;
    let installation = Installation::new(&(source(&mongo, "chains") + &file_sink()));
    let connector = installation.run().await;
    // WHEN transactions are committed, prepared, aborted
    several_transactions(&client, "chains").await;
    let history = History::read(&client, start, "chains").await;
    connector.done(0, history.end()).await;
    // THEN each is there as a whole, where it was committed
    let lanes = read_file(&installation.path("events.jsonl"));
    lanes.assert_complete(&history);
    let inserts = lanes.events().filter(|seen| seen.op == "insert");
    let ids: Vec<String> = inserts.map(|seen| seen.event["key"]["_id"].to_string()).collect();
    let expected = [
        "\"plain\"",
        "\"between\"",
        "0",
        "1",
        "2",
        "3",
        "4",
        "10",
        "11",
        "12",
        "\"between 20\"",
        "20",
        "\"between 30\"",
        "30",
        "31",
        "32",
        "33",
        "34",
        "\"last\"",
    ];
    assert_eq!(ids, expected);
    // AND says which transaction it belongs to, and which of how many operations it is
    let of = |id: &str| lanes.events().find(|seen| seen.about == format!("chains.a/{id}")).unwrap();
    for (id, index, count) in [("0", 0, 5), ("4", 4, 5), ("12", 2, 3), ("20", 0, 1), ("33", 3, 5)] {
        let txn = &of(id).event["txn"];
        assert_eq!((&txn["index"], &txn["count"]), (&index.into(), &count.into()), "{id}: {txn}");
    }
    assert!(of("\"last\"").event.get("txn").is_none());
    connector.kill().await;
}

#[tokio::test]
async fn chains_of_4_4_are_published_whole() {
    chains_are_published_whole(MongoVersion::V4_4).await;
}

#[tokio::test]
async fn chains_of_5_0_are_published_whole() {
    chains_are_published_whole(MongoVersion::V5_0).await;
}

#[tokio::test]
async fn chains_of_6_0_are_published_whole() {
    chains_are_published_whole(MongoVersion::V6_0_27).await;
}

/// Kills the connector again and again while transactions of a hundred entries are committed.
async fn killed_within_chains(db: &str, tables: &str, read: impl AsyncFnOnce(&Installation) -> Lanes) {
    // GIVEN a connector, and a writer of large transactions
    let mongo = chaining(MongoVersion::V6_0_27).await;
    let client = client(&mongo).await;
    let start = majority_point(&client).await;
    let installation = Installation::new(&(source(&mongo, db) + tables));
    let mut connector = installation.run().await;
    connector.anchored().await;
    let (writer, name) = (client.clone(), db.to_owned());
    let load = tokio::spawn(async move {
        for round in 0..25 {
            let (_, mut session) = open_transaction(&writer, &name, round * 1000..round * 1000 + 200).await;
            session.commit_transaction().await.unwrap();
        }
    });
    // WHEN it is killed at random moments
    let mut random = Random::new(5);
    while !load.is_finished() {
        tokio::time::sleep(Duration::from_millis(100 + random.below(300))).await;
        connector.kill().await;
        connector = installation.start();
    }
    load.await.unwrap();
    // THEN everything arrives all the same
    let history = History::read(&client, start, db).await;
    connector.done(0, history.end()).await;
    connector.kill().await;
    assert_eq!(history.operations.len(), 25 * 200 + 1);
    read(&installation).await.assert_complete(&history);
}

#[tokio::test]
async fn kafka_gets_whole_chains_although_the_connector_is_killed_within() {
    let kafka = kafka().await;
    let read = async |_: &Installation| read_kafka(kafka.bootstrap(), "killed").await;
    killed_within_chains("killed_chains", &kafka_sink(kafka, "killed", 3), read).await;
}

#[tokio::test]
async fn nats_gets_whole_chains_once_although_the_connector_is_killed_within() {
    let nats = nats().await;
    let read = async |_: &Installation| {
        let lanes = read_nats(nats.url(), "killed").await;
        assert_eq!(lanes.repeats(), 0, "the stream itself is the checkpoint");
        lanes
    };
    killed_within_chains("killed_chains", &nats_sink(nats, "killed"), read).await;
}

/// Some entries of 16 MiB: the one that is being published, the next one, which the driver copies once, and the last one; besides what the
/// budget and the producer hold. Measured: 127 MB for a transaction of 100 MB, 136 MB for one of 1 GiB.
const MEMORY_MAX_KB: u64 = 160 * 1024;

/// Commits one transaction of that many documents of that many bytes: all of it arrives, in bounded memory.
async fn one_large_transaction(topic: &str, documents: u32, bytes: usize, cache_mb: u32) {
    // GIVEN a connector
    let mongo = Mongo::builder().oplog_mb(8192).cache_mb(cache_mb).start().await.unwrap();
    let kafka = kafka().await;
    let client = client(&mongo).await;
    let installation = Installation::new(&(source(&mongo, "large") + &kafka_sink(kafka, topic, 1)));
    let connector = installation.run().await;
    // WHEN a large transaction is committed
    let coll = client.database("large").collection::<Document>("a");
    coll.insert_one(doc! { "_id": "first" }).await.unwrap();
    let mut session = client.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    let text = "x".repeat(bytes);
    for first in (0..documents).step_by(500) {
        let many = (first..documents.min(first + 500)).map(|id| doc! { "_id": id, "text": &text });
        coll.insert_many(many).session(&mut session).await.unwrap();
    }
    session.commit_transaction().await.unwrap();
    // THEN all of it is published
    let wanted = format!("events_published_total{{op=\"insert\",sink=\"kafka\"}} {}", documents + 1);
    eventually("everything is published", async || {
        connector.get("/metrics").await.filter(|text| text.contains(&wanted))
    })
    .await;
    // AND memory has stayed flat
    let peak = connector.memory_kb("VmHWM");
    assert!(peak < MEMORY_MAX_KB, "{peak} kB of memory");
    connector.kill().await;
}

#[tokio::test]
async fn a_transaction_of_a_hundred_thousand_operations_takes_bounded_memory() {
    one_large_transaction("hundred_thousand", 100_000, 1_000, 4 * 1024).await;
}

#[tokio::test]
#[ignore = "takes a minute and some gigabytes: make test-all"]
async fn a_transaction_of_a_gibibyte_takes_bounded_memory() {
    one_large_transaction("gibibyte", 11_000, 100_000, 32 * 1024).await;
}

/// Writes what a server of each version has logged into the corpus of the fuzz targets: whole chains for `entries`, single documents for
/// `walker`, diffs for `delta`.
#[tokio::test]
#[ignore = "rewrites fuzz/corpus: cargo test harvest -- --ignored"]
async fn harvest_the_corpus() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, version) in
        [("4.4", MongoVersion::V4_4), ("5.0", MongoVersion::V5_0), ("6.0", MongoVersion::V6_0_27)]
    {
        let mongo = chaining(version).await;
        let client = client(&mongo).await;
        let start = majority_point(&client).await;
        super::delivery::one_of_everything(&client, "shop").await;
        client.database("chains").create_collection("a").await.unwrap();
        several_transactions(&client, "chains").await;
        let end = majority_point(&client).await;
        let oplog = client.database("local").collection::<Document>("oplog.rs");
        let [after, until] = [start, end].map(|at| Timestamp { time: at.t, increment: at.i });
        let found =
            oplog.find(doc! { "ts": { "$gt": after, "$lte": until }, "op": { "$ne": "n" } }).await.unwrap();
        let entries: Vec<Document> = futures::TryStreamExt::try_collect(found).await.unwrap();
        let write = |target: &str, number: usize, bytes: &[u8]| {
            std::fs::create_dir_all(corpus.join(target)).unwrap();
            std::fs::write(corpus.join(target).join(format!("{name}-{number:02}")), bytes).unwrap();
        };
        for (number, some) in entries.chunks(6).enumerate() {
            let bytes: Vec<u8> = some.iter().flat_map(|entry| entry.to_vec().unwrap()).collect();
            write("entries", number, &bytes);
        }
        for (number, entry) in entries.iter().step_by(5).enumerate() {
            write("walker", number, &entry.to_vec().unwrap());
        }
        for (number, entry) in entries.iter().filter(|entry| entry.get_str("op").unwrap() == "u").enumerate()
        {
            let o = entry.get_document("o").unwrap();
            let delta = o.get_document("diff").or(o.get_document("$set")).unwrap_or(o);
            write("delta", number, &delta.to_vec().unwrap());
        }
    }
}
