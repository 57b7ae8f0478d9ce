//! Several members, of which one lags: what is looked up there waits until it has caught up.

use std::time::Duration;

use mongo_observer::servers::{Mongo, MongoVersion};
use mongodb::Client;
use mongodb::bson::doc;

use super::super::harness::{Installation, client, commit_everything, source_of};
use super::{DB, coll, events};

/// For so long a member stands still.
const LAG: Duration = Duration::from_millis(400);

/// Lets a member apply nothing more; returns when that is so.
async fn stand_still(member: &Client) {
    let admin = member.database("admin");
    let point = doc! { "configureFailPoint": "rsSyncApplyStop", "mode": "alwaysOn" };
    let before = admin.run_command(point).await.unwrap().get_i32("count").unwrap();
    let reached =
        doc! { "waitForFailPoint": "rsSyncApplyStop", "timesEntered": before + 1, "maxTimeMS": 30_000 };
    admin.run_command(reached).await.unwrap();
}

async fn go_on(member: &Client) {
    let point = doc! { "configureFailPoint": "rsSyncApplyStop", "mode": "off" };
    member.database("admin").run_command(point).await.unwrap();
}

#[tokio::test]
async fn nothing_older_comes_from_a_member_that_lags() {
    // GIVEN a connector that reads from secondaries, now from this one, now from that one
    let mongo =
        Mongo::builder().version(MongoVersion::V6_0_27).members(3).keyfile_auth(true).start().await.unwrap();
    let client = client(&mongo).await;
    let uri = mongo.uri() + "&readPreference=secondary&localThresholdMS=10000";
    let sink = "[sinks.file]\ntype = \"file\"\npath = \"events\"\nimages.after = \"lookup\"\n";
    let installation = Installation::new(&(source_of(&uri, DB) + sink));
    let connector = installation.run().await;
    connector.anchored().await;
    let primary = mongo.primary().await.unwrap();
    let known = coll(&client, "known");
    for id in 0..10 {
        known.insert_one(doc! { "_id": id, "n": 0 }).await.unwrap();
    }
    // WHEN one of them stands still while documents change, also in a collection that it has never heard of
    for round in 0..6 {
        let lagging = mongo.member_client((primary + 1 + round % 2) % 3).await.unwrap();
        stand_still(&lagging).await;
        let unknown = coll(&client, &format!("c{round}"));
        for id in 0..10 {
            unknown.insert_one(doc! { "_id": id, "n": 0 }).await.unwrap();
            for all in [&known, &unknown] {
                all.update_one(doc! { "_id": id }, doc! { "$inc": { "n": 1 } }).await.unwrap();
            }
        }
        commit_everything(&client).await;
        tokio::time::sleep(LAG).await;
        go_on(&lagging).await;
    }
    // THEN every event has its document, and none is older than the event
    let found = events(&connector, &installation, &client).await;
    let updates: Vec<_> = found.iter().filter(|event| event["op"] == "update").collect();
    assert_eq!(updates.len(), 6 * 10 * 2);
    for event in updates {
        let n = event["update"]["updatedFields"]["n"].as_i64();
        assert!(event["afterIs"] == "lookup" && event["after"]["n"].as_i64() >= n, "{event}");
    }
}
