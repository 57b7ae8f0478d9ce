//! A primary that takes writes which nobody else gets, and loses them: a rollback.

use std::time::Duration;

use mongo_observer::event::Position;
use mongo_observer::servers::{Mongo, MongoVersion};
use mongodb::Client;
use mongodb::bson::{Document, doc};
use mongodb::options::{Acknowledgment, WriteConcern};

use super::harness::{
    History, Installation, Seen, Workload, client, eventually, file_sink, majority_point, read_file, source,
};

/// The documents that are lost, by their `_id`.
const LOST: [&str; 3] = ["lost", "lost in a transaction", "lost, too"];

/// Writes that only the one member has which takes them. Says where they stand in its oplog.
async fn write_alone(member: &Client) -> Vec<Position> {
    let alone = WriteConcern::builder().w(Acknowledgment::Nodes(1)).build();
    let coll = member.database("set").collection::<Document>("a");
    coll.insert_one(doc! { "_id": LOST[0] }).write_concern(alone.clone()).await.unwrap();
    let mut session = member.start_session().await.unwrap();
    session.start_transaction().write_concern(alone.clone()).await.unwrap();
    coll.insert_one(doc! { "_id": LOST[1] }).session(&mut session).await.unwrap();
    coll.insert_one(doc! { "_id": LOST[2] }).session(&mut session).await.unwrap();
    session.commit_transaction().await.unwrap();
    // A reader of what is not committed by majority, such as many have been, would publish them.
    let local = member.database("local").collection::<Document>("oplog.rs");
    let mut found = Vec::new();
    for filter in [doc! { "o._id": LOST[0] }, doc! { "o.applyOps.o._id": LOST[1] }] {
        let entry = local.find_one(filter).await.unwrap().unwrap();
        let ts = entry.get_timestamp("ts").unwrap();
        found.push(Position::of_entry(ts.time, ts.increment));
    }
    found
}

async fn hello(member: &Client) -> Option<Document> {
    member.database("admin").run_command(doc! { "isMaster": 1 }).await.ok()
}

async fn a_write_that_is_rolled_back_was_never_published(version: MongoVersion) {
    // GIVEN three members, and a connector that has everything so far
    let mongo = Mongo::builder().version(version).members(3).start().await.unwrap();
    let setup = client(&mongo).await;
    let start = majority_point(&setup).await;
    let installation = Installation::new(&(source(&mongo, "set") + &file_sink()));
    let connector = installation.run().await;
    let mut workload = Workload::new(&setup, "set", 31).majority();
    workload.write(20).await;
    connector.done(0, History::read(&setup, start, "set").await.end()).await;
    // WHEN the primary is alone, and takes writes
    let old = mongo.primary().await.unwrap();
    let [one, other] = [(old + 1) % 3, (old + 2) % 3];
    let member = mongo.member_client(old).await.unwrap();
    tokio::join!(mongo.kill(one), mongo.kill(other));
    let written = write_alone(&member).await;
    // and dies once it has seen that it is alone, while the connector was reading from it all the time
    eventually("the primary has stepped down", async || {
        let hello = hello(&member).await?;
        hello.get_bool("secondary").is_ok_and(|secondary| secondary).then_some(())
    })
    .await;
    mongo.kill(old).await;
    // and the others go on without it
    let restarted = tokio::join!(mongo.restart(one), mongo.restart(other));
    restarted.0.and(restarted.1).unwrap();
    mongo.primary().await.unwrap();
    workload.write(20).await;
    connector.done(0, History::read(&setup, start, "set").await.end()).await;
    // and it comes back
    mongo.restart(old).await.unwrap();
    let coll = member.database("set").collection::<Document>("a");
    eventually("its writes were rolled back", async || {
        let secondary = hello(&member).await?.get_bool("secondary").ok()?;
        let left = coll.find_one(doc! { "_id": { "$in": LOST.to_vec() } }).await.ok()?;
        (secondary && left.is_none()).then_some(())
    })
    .await;
    assert!(mongo.data(old).join("rollback").is_dir(), "the server keeps what it has rolled back");
    workload.write(20).await;
    // THEN everything that is part of the set's history has arrived, once, and nothing else
    let history = History::read(&setup, start, "set").await;
    connector.done(0, history.end()).await;
    let lanes = read_file(&installation.path("events.jsonl"));
    lanes.assert_complete(&history);
    assert_eq!(lanes.repeats(), 0);
    let is_lost = |seen: &&Seen| {
        LOST.iter().any(|id| seen.about == format!("set.a/{id:?}"))
            || written.iter().any(|at| seen.at.timestamp() == at.timestamp())
    };
    let published: Vec<&Seen> = lanes.events().filter(is_lost).collect();
    assert!(published.is_empty(), "{published:?}");
    assert_eq!(connector.terminate_within(Duration::from_secs(30)).await.code, Some(0));
}

#[tokio::test]
async fn a_write_that_4_4_rolls_back_was_never_published() {
    a_write_that_is_rolled_back_was_never_published(MongoVersion::V4_4).await;
}

#[tokio::test]
async fn a_write_that_5_0_rolls_back_was_never_published() {
    a_write_that_is_rolled_back_was_never_published(MongoVersion::V5_0).await;
}

#[tokio::test]
async fn a_write_that_6_0_rolls_back_was_never_published() {
    a_write_that_is_rolled_back_was_never_published(MongoVersion::V6_0_27).await;
}
