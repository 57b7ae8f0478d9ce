//! Several members, of which one lags: what is looked up there waits until it has caught up.

use std::time::Duration;

use mongo_observer::servers::{Mongo, MongoVersion};
use mongodb::Client;
use mongodb::bson::doc;

use super::super::harness::{Installation, client, commit_everything, source_of};
use super::{DB, coll, events};

/// For so long a member stands still.
const LAG: Duration = Duration::from_millis(400);

async fn stand_still(member: &Client, mode: &str) {
    let point = doc! { "configureFailPoint": "rsSyncApplyStop", "mode": mode };
    member.database("admin").run_command(point).await.unwrap();
}

#[tokio::test]
async fn nothing_older_comes_from_a_member_that_lags() {
    // GIVEN a connector that reads from secondaries, now from this one, now from that one
    let mongo = Mongo::builder().version(MongoVersion::V6_0_27).members(3).start().await.unwrap();
    let client = client(&mongo).await;
    let uri = mongo.uri() + "&readPreference=secondary";
    let sink = "[sinks.file]\ntype = \"file\"\npath = \"events\"\nimages.after = \"lookup\"\n";
    let installation = Installation::new(&(source_of(&uri, DB) + sink));
    let connector = installation.run().await;
    connector.anchored().await;
    let primary = mongo.primary().await.unwrap();
    // WHEN one of them stands still while documents change, in a collection that it has never heard of
    for round in 0..6 {
        let lagging = mongo.member_client((primary + 1 + round % 2) % 3).await.unwrap();
        stand_still(&lagging, "alwaysOn").await;
        let all = coll(&client, &format!("c{round}"));
        for id in 0..10 {
            all.insert_one(doc! { "_id": id, "n": 0 }).await.unwrap();
            for n in 1..4 {
                all.update_one(doc! { "_id": id }, doc! { "$set": { "n": n } }).await.unwrap();
            }
        }
        commit_everything(&client).await;
        tokio::time::sleep(LAG).await;
        stand_still(&lagging, "off").await;
    }
    // THEN every event has its document, and none is older than the event
    let found = events(&connector, &installation, &client).await;
    let updates: Vec<_> = found.iter().filter(|event| event["op"] == "update").collect();
    assert_eq!(updates.len(), 6 * 10 * 3);
    for event in updates {
        let n = event["update"]["updatedFields"]["n"].as_i64();
        assert!(event["afterIs"] == "lookup" && event["after"]["n"].as_i64() >= n, "{event}");
    }
}
