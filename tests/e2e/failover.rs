//! The source's servers come and go under load.

use std::time::Duration;

use mongo_observer::servers::Mongo;

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
    assert!(history.operations.len() > 100, "{} operations are no load", history.operations.len());
    for installation in [primary, secondary] {
        let lanes = read_file(&installation.path("events.jsonl"));
        lanes.assert_complete(&history);
        assert_eq!(lanes.repeats(), 0);
    }
}
