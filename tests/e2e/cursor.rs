//! Trouble with the cursor on the oplog.

use mongo_observer::servers::Mongo;
use mongodb::Client;
use mongodb::bson::{Document, doc};

use super::harness::{History, Installation, Workload, client, file_sink, majority_point, read_file, source};

/// Lets the connector's next requests for more entries fail; only the connector's.
async fn fail(client: &Client, how: Document) {
    let mut data = doc! { "failCommands": ["getMore"], "appName": "mongo-observer" };
    data.extend(how);
    let point = doc! { "configureFailPoint": "failCommand", "mode": { "times": 1 }, "data": data };
    client.database("admin").run_command(point).await.unwrap();
}

#[tokio::test]
async fn a_cursor_that_is_lost_is_opened_again_where_it_was() {
    // GIVEN a connector that has caught up
    let mongo = Mongo::builder().start().await.unwrap();
    let client = client(&mongo).await;
    let start = majority_point(&client).await;
    let installation = Installation::new(&(source(&mongo, "cursor") + &file_sink()));
    let connector = installation.run().await;
    let mut workload = Workload::new(&client, "cursor", 51);
    for (number, how) in [
        doc! { "errorCode": 43 },
        doc! { "closeConnection": true },
        // What the server says when it has removed entries that the cursor has not seen: that has to be looked at, not believed.
        doc! { "errorCode": 136 },
        doc! { "errorCode": 11602 },
    ]
    .into_iter()
    .enumerate()
    {
        // WHEN its cursor is lost
        fail(&client, how).await;
        workload.write(50).await;
        // THEN it goes on by itself
        let history = History::read(&client, start, "cursor").await;
        connector.done(0, history.end()).await;
        let status = connector.status().await.unwrap();
        let restarts = status["pipelines"][0]["restarts"].as_u64().unwrap();
        assert!(restarts > number as u64, "the failure was not met: {status}");
    }
    // and nothing is missing, and nothing is there twice
    let lanes = read_file(&installation.path("events.jsonl"));
    lanes.assert_complete(&History::read(&client, start, "cursor").await);
    assert_eq!(lanes.repeats(), 0);
}
