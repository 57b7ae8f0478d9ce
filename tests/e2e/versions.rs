//! The same changes on older and newer servers, whose oplogs are written differently.

use mongo_observer::servers::{Mongo, MongoVersion};
use serde_json::json;

use super::delivery::{EVERYTHING, one_of_everything};
use super::harness::{
    History, Installation, Seen, Workload, client, file_sink, majority_point, read_file, source,
};

/// Everything arrives in order, and so does a random workload; `encoding` is where an update says exactly what it changed.
async fn everything_arrives(version: MongoVersion, encoding: &str) {
    // GIVEN a server of that version
    let mongo = Mongo::builder().version(version).start().await.unwrap();
    let client = client(&mongo).await;
    let start = majority_point(&client).await;
    let installation = Installation::new(&(source(&mongo, "shop") + &file_sink()));
    let connector = installation.run().await;
    // WHEN one of everything is done, and then much more
    one_of_everything(&client, "shop").await;
    let first = History::read(&client, start, "shop").await;
    Workload::new(&client, "shop", 17).write(300).await;
    let history = History::read(&client, start, "shop").await;
    connector.done(0, history.end()).await;
    // THEN it is all there, in order, once, and the first part is what it should be
    let lanes = read_file(&installation.path("events.jsonl"));
    lanes.assert_complete(&history);
    assert_eq!(lanes.repeats(), 0);
    let events: Vec<&Seen> = lanes.events().filter(|seen| seen.at <= first.end()).collect();
    let found: Vec<_> = events.iter().map(|seen| (seen.op.clone(), seen.about.clone())).collect();
    assert_eq!(found, EVERYTHING.map(|(op, about)| (op.to_owned(), format!("shop.{about}"))));
    let update = &events[2].event["update"];
    assert_eq!(update["updatedFields"], json!({ "price": 2, "list.1": 7 }));
    assert!(update[encoding].is_object(), "{update}");
}

#[tokio::test]
async fn everything_arrives_from_4_4() {
    everything_arrives(MongoVersion::V4_4, "modifiers").await;
}

#[tokio::test]
async fn everything_arrives_from_5_0() {
    everything_arrives(MongoVersion::V5_0, "diff").await;
}

#[tokio::test]
async fn everything_arrives_from_the_newest_6_0() {
    everything_arrives(MongoVersion::V6_0_27, "diff").await;
}
