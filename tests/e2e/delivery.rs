//! Every kind of change, through every sink, as a consumer finds it.

use mongo_observer::event::Position;
use mongodb::Client;
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};

use super::harness::{
    Connector, History, Installation, Lanes, Seen, Workload, client, file_sink, kafka, kafka_sink,
    majority_point, mongo, nats, nats_sink, read_file, read_kafka, read_lines, read_nats, source,
};

/// What [`one_of_everything`] does, in its order: `op`, and what it is about.
pub(super) const EVERYTHING: [(&str, &str); 15] = [
    ("create", "orders!create"),
    ("insert", "orders/\"one\""),
    ("update", "orders/\"one\""),
    ("replace", "orders/\"one\""),
    ("delete", "orders/\"one\""),
    ("insert", "orders/\"two\""),
    ("update", "orders/\"two\""),
    ("insert", "orders/\"three\""),
    ("createIndexes", "orders!createIndexes"),
    ("rename", "orders!rename"),
    ("drop", "archive!drop"),
    ("create", "rest!create"),
    ("insert", "rest/\"four\""),
    ("drop", "rest!drop"),
    ("dropDatabase", "!dropDatabase"),
];

pub(super) async fn one_of_everything(client: &Client, db: &str) {
    let database = client.database(db);
    let orders = database.collection::<Document>("orders");
    database.create_collection("orders").await.unwrap();
    let one = doc! { "_id": "one" };
    orders.insert_one(doc! { "_id": "one", "price": 1, "list": [1, 2, 3] }).await.unwrap();
    let change = doc! { "$set": { "price": 2, "list.1": 7 }, "$unset": { "nothing": "" } };
    orders.update_one(one.clone(), change).await.unwrap();
    orders.replace_one(one.clone(), doc! { "price": 3 }).await.unwrap();
    orders.delete_one(one).await.unwrap();

    let mut session = client.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    orders.insert_one(doc! { "_id": "two" }).session(&mut session).await.unwrap();
    let change = doc! { "$set": { "price": 5 } };
    orders.update_one(doc! { "_id": "two" }, change).session(&mut session).await.unwrap();
    orders.insert_one(doc! { "_id": "three" }).session(&mut session).await.unwrap();
    session.commit_transaction().await.unwrap();

    orders.create_index(mongodb::IndexModel::builder().keys(doc! { "price": 1 }).build()).await.unwrap();
    let rename = doc! { "renameCollection": format!("{db}.orders"), "to": format!("{db}.archive") };
    client.database("admin").run_command(rename).await.unwrap();
    database.collection::<Document>("archive").drop().await.unwrap();
    database.collection("rest").insert_one(doc! { "_id": "four" }).await.unwrap();
    database.drop().await.unwrap();
}

/// Starts a connector that begins now, does everything, and waits until the sink has acknowledged it.
async fn everything_through(db: &str, sink: &str) -> (Installation, Connector, History) {
    let (mongo, installation) = (mongo().await, Installation::new(&(source(mongo().await, db) + sink)));
    let client = client(mongo).await;
    let start = majority_point(&client).await;
    let connector = installation.run().await;
    one_of_everything(&client, db).await;
    let history = History::read(&client, start, db).await;
    connector.done(0, history.end()).await;
    (installation, connector, history)
}

/// Complete, and what it should be in one lane; `twice` is what stands in two places there.
#[track_caller]
fn assert_everything(lanes: &Lanes, history: &History, db: &str) {
    lanes.assert_complete(history);
    assert_eq!(lanes.repeats(), 0);
    let mut events: Vec<&Seen> = lanes.events().collect();
    events.sort_by_key(|seen| seen.at);
    events.dedup_by_key(|seen| seen.at);
    let found: Vec<_> = events.iter().map(|seen| (seen.op.clone(), seen.about.clone())).collect();
    let expected = EVERYTHING.map(|(op, about)| (op.to_owned(), format!("{db}.{about}")));
    assert_eq!(found, expected);
    for seen in &events {
        assert_origin(seen);
    }
    assert_documents(&events);
    assert_transaction(&events[5..8]);
    assert_eq!(events[9].event["to"], json!({ "db": db, "coll": "archive" }));
    assert_eq!(events[14].event["ns"], json!({ "db": db }));
}

/// Every event says where it comes from.
#[track_caller]
fn assert_origin(seen: &Seen) {
    let event = &seen.event;
    let Position { t, i, .. } = seen.at;
    assert_eq!(event["clusterTime"], json!({ "$timestamp": { "t": t, "i": i } }));
    assert!(event["source"].as_str().unwrap().starts_with("rs0/"), "{event}");
    assert!(event["wallTime"]["$date"].is_string(), "{event}");
    let has_uuid = event["collectionId"].as_str().is_some_and(|id| id.len() == 36);
    assert_eq!(has_uuid, seen.op != "dropDatabase", "{event}");
}

#[track_caller]
fn assert_documents(events: &[&Seen]) {
    assert_eq!(events[1].event["after"], json!({ "_id": "one", "price": 1, "list": [1, 2, 3] }));
    let update = &events[2].event["update"];
    assert_eq!(update["updatedFields"], json!({ "price": 2, "list.1": 7 }));
    assert_eq!((&update["removedFields"], &update["truncatedArrays"]), (&json!([]), &json!([])));
    assert!(update["diff"].is_object(), "{update}");
    assert_eq!(events[3].event["after"], json!({ "_id": "one", "price": 3 }));
    assert_eq!(events[4].event["key"], json!({ "_id": "one" }));
    assert_eq!(events[4].event.get("after"), None);
}

#[track_caller]
fn assert_transaction(events: &[&Seen]) {
    let id = &events[0].event["txn"]["id"];
    assert!(id.as_str().is_some_and(|id| id.contains(':')), "{id}");
    for (seen, index) in events.iter().zip(0_u32..) {
        assert_eq!(seen.event["txn"], json!({ "id": id, "index": index, "count": 3 }));
        assert_eq!(seen.at, Position { ordinal: index, ..events[0].at });
    }
}

#[tokio::test]
async fn standard_output_shows_every_kind_of_change_in_order() {
    let (_folder, connector, history) =
        everything_through("every_out", "[sinks.out]\ntype = \"stdout\"\n").await;
    let lanes = read_lines(&connector.stdout_lines());
    assert_everything(&lanes, &history, "every_out");
    let ended = connector.terminate().await;
    assert_eq!(ended.code, Some(0));
    assert_eq!(ended.stdout.lines().count(), lanes.events().count(), "a watermark is nothing to look at");
}

#[tokio::test]
async fn a_file_shows_every_kind_of_change_in_order() {
    let (folder, _connector, history) = everything_through("every_file", &file_sink()).await;
    assert_everything(&read_file(&folder.path("events.jsonl")), &history, "every_file");
}

#[tokio::test]
async fn nats_holds_every_kind_of_change_in_order() {
    let nats = nats().await;
    let (_folder, _connector, history) = everything_through("every_nats", &nats_sink(nats, "every")).await;
    let lanes = read_nats(nats.url(), "every").await;
    assert_everything(&lanes, &history, "every_nats");
    let places = |op: &str| {
        let of_op = lanes.events().filter(|seen| seen.op == op);
        of_op.map(|seen| seen.place.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(places("replace"), ["every.every_nats.orders"]);
    assert_eq!(places("rename"), ["every.every_nats.orders", "every.every_nats.archive"]);
    assert_eq!(places("dropDatabase"), ["every._commands"]);
}

#[tokio::test]
async fn kafka_holds_every_kind_of_change_in_order_with_one_partition_and_with_three() {
    let kafka = kafka().await;
    for partitions in [1, 3] {
        let name = format!("every_kafka_{partitions}");
        let (_folder, _connector, history) =
            everything_through(&name, &kafka_sink(kafka, &name, partitions)).await;
        let lanes = read_kafka(kafka.bootstrap(), &name).await;
        assert_everything(&lanes, &history, &name);
        for seen in lanes.events() {
            let key = seen.event.get("key").cloned().unwrap_or_else(|| json!({ "command": seen.op }));
            assert_eq!(serde_json::from_str::<Value>(seen.key.as_ref().unwrap()).unwrap(), key);
        }
        // Consumers of any partition of both topics see the rename.
        let renames: Vec<_> = lanes.events().filter(|seen| seen.op == "rename").collect();
        assert_eq!(renames.len(), 2 * partitions as usize);
    }
}

#[tokio::test]
async fn full_files_are_set_aside_and_nothing_is_lost_between_them() {
    // GIVEN a file that is full after a few events
    let (mongo, db) = (mongo().await, "rotated");
    let client = client(mongo).await;
    let start = majority_point(&client).await;
    let sink = file_sink() + "rotate_bytes = 20000\n";
    let installation = Installation::new(&(source(mongo, db) + &sink));
    let connector = installation.run().await;
    // WHEN many are written, with a restart in between
    let mut workload = Workload::new(&client, db, 1);
    workload.write(200).await;
    connector.done(0, History::read(&client, start, db).await.end()).await;
    assert_eq!(connector.terminate().await.code, Some(0));
    let connector = installation.run().await;
    workload.write(200).await;
    let history = History::read(&client, start, db).await;
    connector.done(0, history.end()).await;
    // THEN all files together hold everything, once
    let lanes = read_file(&installation.path("events.jsonl"));
    lanes.assert_complete(&history);
    assert_eq!(lanes.repeats(), 0);
    let files = std::fs::read_dir(installation.path("")).unwrap();
    let sizes: Vec<u64> = files
        .map(Result::unwrap)
        .filter(|file| file.file_name().to_string_lossy().starts_with("events.jsonl"))
        .map(|file| file.metadata().unwrap().len())
        .collect();
    assert!(sizes.len() > 5 && sizes.iter().all(|size| *size <= 20_000), "{sizes:?}");
}
