//! What a user needs for images, what is said where it is missing, and what `check` says of collections that record none.

use mongo_observer::servers::{Mongo, MongoVersion};
use mongodb::Client;
use mongodb::bson::{Bson, Document, doc};

use super::super::harness::{Installation, client, eventually};
use super::{DB, coll, config, create_recording, events};

const BOTH: &str = "images.before = \"stored\"\nimages.after = \"lookup\"\n";

/// The privileges that the documentation asks for: for the tail, for `stored`, for `lookup`.
fn documented() -> [Document; 4] {
    let find = |db: &str, collection: &str| doc! { "resource": { "db": db, "collection": collection }, "actions": ["find"] };
    let uuid = doc! { "resource": { "cluster": true }, "actions": ["useUUID"] };
    [find("local", "oplog.rs"), find("config", "system.preimages"), find(DB, ""), uuid]
}

async fn grant(client: &Client, privileges: &[Document]) {
    let privileges: Vec<Bson> = privileges.iter().cloned().map(Bson::from).collect();
    let role = doc! { "updateRole": "reader", "roles": [], "privileges": privileges };
    client.database("admin").run_command(role).await.unwrap();
}

#[tokio::test]
async fn the_documented_privileges_are_enough_and_each_is_named_where_it_is_missing() {
    let mongo = Mongo::builder().version(MongoVersion::V6_0_27).keyfile_auth(true).start().await.unwrap();
    let client = client(&mongo).await;
    let admin = client.database("admin");
    admin.run_command(doc! { "createRole": "reader", "roles": [], "privileges": [] }).await.unwrap();
    admin.run_command(doc! { "createUser": "reader", "pwd": "secret", "roles": ["reader"] }).await.unwrap();
    create_recording(&client, MongoVersion::V6_0_27, "a").await;
    let all = coll(&client, "a");
    all.insert_one(doc! { "_id": 1, "n": 0 }).await.unwrap();
    let credentials = "mongodb.username = \"reader\"\nmongodb.password = \"secret\"\n";
    let installation = Installation::new(&(credentials.to_owned() + &config(&mongo, None, BOTH)));
    let mut first = true;
    // GIVEN all but one of them
    for (missing, named) in [
        (1, "`find` on config.system.preimages"),
        (2, "`find` on the captured collections"),
        (3, "`useUUID`"),
    ] {
        let mut granted = documented().to_vec();
        granted.remove(missing);
        grant(&client, &granted).await;
        let connector = installation.start();
        if first {
            connector.anchored().await;
            first = false;
        }
        // WHEN something is updated THEN it stops, and names what is missing
        all.update_one(doc! { "_id": 1 }, doc! { "$inc": { "n": 1 } }).await.unwrap();
        let ended = connector.ended_within(super::super::harness::PATIENCE).await;
        assert!(ended.failed_with(1).contains(named), "{}", ended.stderr);
    }
    // and WHEN it is granted THEN nothing is missing
    grant(&client, &documented()).await;
    let connector = installation.run().await;
    let found = events(&connector, &installation, &client).await;
    let images: Vec<_> =
        found.iter().map(|event| (event["before"]["n"].as_i64(), event["after"]["n"].as_i64())).collect();
    assert_eq!(images, [(Some(0), Some(3)), (Some(1), Some(3)), (Some(2), Some(3))]);
}

#[tokio::test]
async fn check_names_the_collections_that_record_nothing() {
    let mongo = Mongo::builder().version(MongoVersion::V6_0_27).start().await.unwrap();
    let client = client(&mongo).await;
    create_recording(&client, MongoVersion::V6_0_27, "a").await;
    let installation = Installation::new(&config(&mongo, None, BOTH));
    let line = async || {
        let ended = installation.ended(&["check"]).await;
        let line = ended.succeeded().lines().find(|line| line.contains("images file")).map(str::to_owned);
        line.unwrap_or_else(|| panic!("{ended:?}"))
    };
    assert_eq!(line().await, "ok      images file: recorded for every captured collection");
    for name in ["b", "c"] {
        client.database(DB).create_collection(name).await.unwrap();
    }
    let expected = format!("note    images file: not recorded, so missing in events, for {DB}.b, {DB}.c");
    assert_eq!(line().await, expected);
    for name in ["b", "c"] {
        let on = doc! { "collMod": name, "changeStreamPreAndPostImages": { "enabled": true } };
        client.database(DB).run_command(on).await.unwrap();
    }
    eventually("all of them record", async || line().await.starts_with("ok").then_some(())).await;
}
