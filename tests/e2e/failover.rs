//! The source's servers come and go under load.

use std::time::Duration;

use mongo_observer::servers::Mongo;
use mongodb::bson::{Document, doc};

use super::harness::{
    History, Installation, Workload, client, eventually, file_sink, majority_point, read_file, source,
    source_of,
};

#[tokio::test]
async fn a_lone_mongod_may_die_and_come_back() {
    // GIVEN a set of one member under load
    let mongo = Mongo::builder().start().await.unwrap();
    let setup = client(&mongo).await;
    let start = majority_point(&setup).await;
    let installation = Installation::new(&(source(&mongo, "lone") + &file_sink()));
    let connector = installation.run().await;
    connector.anchored().await;
    let load = Workload::new(&setup, "lone", 8).majority().start(Duration::from_millis(1)).await;
    connector.done(0, History::read(&setup, start, "lone").await.end()).await;
    // WHEN it is killed, and starts again once that was noticed
    mongo.kill(0).await;
    connector.until("it misses MongoDB", |report| report["pipelines"][0]["state"] == "retrying").await;
    mongo.restart(0).await.unwrap();
    mongo.primary().await.unwrap();
    let again = client(&mongo).await;
    let before = History::read(&again, start, "lone").await.operations.len();
    eventually("the load goes on", async || {
        (History::read(&again, start, "lone").await.operations.len() > before + 20).then_some(())
    })
    .await;
    load.stop().await;
    // THEN nothing is missing, and nothing came twice: a file knows its end
    let history = History::read(&again, start, "lone").await;
    connector.done(0, history.end()).await;
    let lanes = read_file(&installation.path("events.jsonl"));
    lanes.assert_complete(&history);
    assert_eq!(lanes.repeats(), 0);
}

#[tokio::test]
async fn a_stepdown_and_the_death_of_the_primary_lose_nothing_wherever_it_is_read() {
    // GIVEN three members under load, one connector that reads the primary, and one that reads a secondary
    let mongo = Mongo::builder().members(3).start().await.unwrap();
    let client = client(&mongo).await;
    let start = majority_point(&client).await;
    let primary = Installation::new(&(source(&mongo, "set") + &file_sink()));
    let secondary_uri = mongo.uri() + "&readPreference=secondary";
    let secondary = Installation::new(&(source_of(&secondary_uri, "set") + &file_sink()));
    let connectors = [primary.run().await, secondary.run().await];
    for connector in &connectors {
        connector.anchored().await;
    }
    let load = Workload::new(&client, "set", 9).majority().start(Duration::from_millis(1)).await;
    let all_arrives = async || {
        let history = History::read(&client, start, "set").await;
        for connector in &connectors {
            connector.done(0, history.end()).await;
        }
        history
    };
    all_arrives().await;
    // WHEN the primary steps down, and later the next one is killed and comes back
    let next = mongo.step_down().await.unwrap();
    all_arrives().await;
    mongo.kill(next).await;
    mongo.primary().await.unwrap();
    all_arrives().await;
    mongo.restart(next).await.unwrap();
    all_arrives().await;
    load.stop().await;
    // THEN both have everything, once
    let history = all_arrives().await;
    assert!(history.operations.len() > 30, "{} operations are no load", history.operations.len());
    for installation in [primary, secondary] {
        let lanes = read_file(&installation.path("events.jsonl"));
        lanes.assert_complete(&history);
        assert_eq!(lanes.repeats(), 0);
    }
}

#[tokio::test]
async fn a_position_that_one_member_has_lost_is_read_from_another() {
    // GIVEN three members, and a position in their oplogs
    let mongo = Mongo::builder().members(3).start().await.unwrap();
    let setup = client(&mongo).await;
    let mut workload = Workload::new(&setup, "moved", 10).majority();
    let start = majority_point(&setup).await;
    workload.write(20).await;
    // WHEN a member loses its data and is copied anew, so that its oplog begins later
    let fresh = (mongo.primary().await.unwrap() + 1) % 3;
    mongo.kill(fresh).await;
    std::fs::remove_dir_all(mongo.data(fresh)).unwrap();
    std::fs::create_dir(mongo.data(fresh)).unwrap();
    mongo.restart(fresh).await.unwrap();
    let member = mongo.member_client(fresh).await.unwrap();
    eventually("the member is a secondary again", async || {
        let hello = member.database("admin").run_command(doc! { "hello": 1 }).await.ok()?;
        hello.get_bool("secondary").is_ok_and(|secondary| secondary).then_some(())
    })
    .await;
    let oldest = member.database("local").collection::<Document>("oplog.rs");
    let oldest = oldest.find_one(doc! {}).sort(doc! { "$natural": 1 }).await.unwrap().unwrap();
    let oldest = oldest.get_timestamp("ts").unwrap();
    assert!((oldest.time, oldest.increment) > start.timestamp(), "its oplog begins later");
    // and the connector is pointed at that member alone
    let tables = format!("source.start = \"{start}\"\n{}", file_sink());
    let installation = Installation::new(&(source_of(&mongo.member_uri(fresh), "moved") + &tables));
    let connector = installation.run().await;
    // THEN it reads from one that still has the position
    workload.write(20).await;
    let history = History::read(&setup, start, "moved").await;
    connector.done(0, history.end()).await;
    read_file(&installation.path("events.jsonl")).assert_complete(&history);
    assert!(connector.stderr().contains("only this member still has the position"), "{}", connector.stderr());
}
