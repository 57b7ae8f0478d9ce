//! The cursor on the oplog ends, breaks off, or is shown nothing for a long time.

use std::time::Duration;

use mongo_observer::event::Position;
use mongo_observer::servers::Mongo;
use mongodb::Client;
use mongodb::bson::{Document, doc};
use serde_json::Value;

use super::harness::{
    Connector, History, Installation, Workload, client, eventually, file_sink, majority_point, mongo,
    read_file, source,
};

/// Lets the next `getMore` of a connector fail in that way.
async fn fail_next_get_more(client: &Client, how: &Document) {
    let mut data =
        doc! { "failCommands": ["getMore"], "appName": "mongo-observer", "namespace": "local.oplog.rs" };
    data.extend(how.clone());
    let once = doc! { "configureFailPoint": "failCommand", "mode": { "times": 1 }, "data": data };
    client.database("admin").run_command(once).await.unwrap();
}

fn restarts(report: &Value) -> u64 {
    report["pipelines"][0]["restarts"].as_u64().unwrap()
}

#[tokio::test]
async fn a_cursor_that_is_gone_broken_off_or_overtaken_is_opened_again_and_nothing_is_missing() {
    // GIVEN a connector under load, on a server of its own: a fail point is for everybody
    let mongo = Mongo::builder().start().await.unwrap();
    let client = client(&mongo).await;
    let start = majority_point(&client).await;
    let installation = Installation::new(&(source(&mongo, "cursor") + &file_sink()));
    let connector = installation.run().await;
    connector.anchored().await;
    let load = Workload::new(&client, "cursor", 11).start(Duration::from_millis(1)).await;
    // WHEN the server no longer knows the cursor, breaks off, or says that what comes next was overwritten
    let failures = [doc! { "errorCode": 43 }, doc! { "closeConnection": true }, doc! { "errorCode": 136 }];
    for failure in failures {
        let before = restarts(&connector.status().await.unwrap());
        fail_next_get_more(&client, &failure).await;
        // THEN the connector goes on by itself
        let goes_on = |report: &Value| restarts(report) > before && report["ready"] == true;
        let report = connector.until(&format!("it goes on after {failure}"), goes_on).await;
        assert_eq!(report["pipelines"][0]["last_error"]["kind"], "source_unavailable");
        connector.done(0, History::read(&client, start, "cursor").await.end()).await;
    }
    load.stop().await;
    // and nothing is missing, and nothing came twice: a file knows its end
    let history = History::read(&client, start, "cursor").await;
    connector.done(0, history.end()).await;
    let lanes = read_file(&installation.path("events.jsonl"));
    assert!(history.operations.len() > 100, "{} operations are no load", history.operations.len());
    lanes.assert_complete(&history);
    assert_eq!(lanes.repeats(), 0);
}

/// Where a connector says that it began.
fn began_at(connector: &Connector) -> Position {
    let log = connector.stderr();
    let line = log.lines().find(|line| line.contains(" running ")).unwrap();
    line.split("from=").nth(1).unwrap().split_whitespace().next().unwrap().trim_matches('"').parse().unwrap()
}

#[tokio::test]
async fn a_quiet_database_beside_a_busy_one_does_not_hold_the_position_back() {
    // GIVEN a connector that follows a database in which nothing happens, so that the server shows it nothing
    let mongo = mongo().await;
    let client = client(mongo).await;
    let start = majority_point(&client).await;
    let config = source(mongo, "quiet") + "pipeline.heartbeat_ms = 200\n";
    let installation = Installation::new(&(config + &file_sink()));
    let connector = installation.run().await;
    // WHEN another database is busy
    let mut busy = Workload::new(&client, "busy", 12);
    busy.write(200).await;
    let passed = History::read(&client, start, "busy").await.end();
    // THEN the position moves with it, and the file remembers it
    connector.done(0, passed).await;
    let file = installation.path("events.jsonl");
    eventually("the file has passed it, too", async || {
        read_file(&file).watermarks().any(|seen| seen.at >= passed).then_some(())
    })
    .await;
    connector.kill().await;
    // and the next run begins there, and misses nothing
    busy.write(50).await;
    let quiet = client.database("quiet").collection::<Document>("c");
    quiet.insert_one(doc! { "_id": "one" }).await.unwrap();
    let connector = installation.run().await;
    assert!(began_at(&connector) >= passed, "{} is before {passed}", began_at(&connector));
    quiet.insert_one(doc! { "_id": "two" }).await.unwrap();
    let history = History::read(&client, start, "quiet").await;
    connector.done(0, history.end()).await;
    let lanes = read_file(&file);
    lanes.assert_complete(&history);
    assert_eq!(lanes.repeats(), 0);
    assert!(lanes.events().all(|seen| seen.about.starts_with("quiet.")), "{lanes:?}");
}
