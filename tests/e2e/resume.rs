//! Where a start goes on: what was stored, what the operator says, and where going on would lose something.

use mongo_observer::event::Position;
use mongo_observer::servers::Mongo;
use mongodb::Client;
use mongodb::bson::{Document, doc};

use super::harness::{
    Ended, History, Installation, Lanes, PATIENCE, Workload, client, delete_topics, eventually, file_sink,
    kafka, kafka_sink, majority_point, mongo, nats, nats_sink, other_mongo, read_file, read_kafka, read_nats,
    source,
};

/// A position that never was: behind the oldest entry, before the next second.
async fn never_was(client: &Client) -> Position {
    Position { i: 1_000_000, ..oldest(client).await }
}

async fn oldest(client: &Client) -> Position {
    let entries = client.database("local").collection::<Document>("oplog.rs");
    let entry = entries.find_one(doc! {}).sort(doc! { "$natural": 1 }).await.unwrap().unwrap();
    let ts = entry.get_timestamp("ts").unwrap();
    Position::of_entry(ts.time, ts.increment)
}

/// Runs until the connector gives up.
async fn run_ends(installation: &Installation) -> Ended {
    installation.start().ended_within(PATIENCE).await
}

/// Publishes a few changes of `db` and ends cleanly.
async fn some_changes(installation: &Installation, client: &Client, db: &str, seed: u64) -> History {
    let start = majority_point(client).await;
    let connector = installation.run().await;
    connector.anchored().await;
    Workload::new(client, db, seed).write(40).await;
    let history = History::read(client, start, db).await;
    connector.done(0, history.end()).await;
    assert_eq!(connector.terminate().await.code, Some(0));
    history
}

/// Shows, moves and clears the place in one store, and looks at what the connector makes of it.
async fn place_is_shown_moved_and_cleared(
    db: &str,
    tables: &str,
    read: impl AsyncFnOnce(&Installation) -> Lanes,
) {
    let mongo = mongo().await;
    let client = client(mongo).await;
    let start = majority_point(&client).await;
    let installation = Installation::new(&(source(mongo, db) + tables));

    // GIVEN nothing, then what a first run has left
    assert!(installation.ended(&["checkpoint", "show"]).await.succeeded().ends_with(": no checkpoint"));
    let history = some_changes(&installation, &client, db, 11).await;
    let shown = installation.ended(&["checkpoint", "show"]).await;
    let place = shown.succeeded().split(": ").nth(1).unwrap().to_owned();
    let (at, set) = place.split_once(" of ").unwrap();
    assert!(at.parse::<Position>().unwrap() >= history.end() && set.starts_with("rs0/"), "{place}");

    // WHEN it is moved to a place that never was, THEN the connector refuses to guess
    let nowhere = never_was(&client).await.to_string();
    let moved = installation.ended(&["checkpoint", "set", &nowhere]).await;
    assert!(moved.succeeded().contains(&nowhere), "{moved:?}");
    let ended = run_ends(&installation).await;
    let line = ended.failed_with(1);
    assert!(line.contains(&nowhere) && line.contains("checkpoint clear"), "{line}");

    // WHEN it is cleared, THEN the next run begins now
    let cleared = installation.ended(&["checkpoint", "clear"]).await;
    assert!(cleared.succeeded().contains("cleared"), "{cleared:?}");
    some_changes(&installation, &client, db, 12).await;

    // WHEN it is moved to where all began, THEN everything is published again
    installation.ended(&["checkpoint", "set", &start.to_string()]).await.succeeded();
    some_changes(&installation, &client, db, 13).await;
    let history = History::read(&client, start, db).await;
    let lanes = read(&installation).await;
    lanes.assert_complete(&history);
    assert!(lanes.repeats() > 40, "{} repeats", lanes.repeats());
}

#[tokio::test]
async fn the_place_is_shown_moved_and_cleared_in_kafka() {
    let kafka = kafka().await;
    let read = async |_: &Installation| read_kafka(kafka.bootstrap(), "place").await;
    place_is_shown_moved_and_cleared("place_kafka", &kafka_sink(kafka, "place", 2), read).await;
}

#[tokio::test]
async fn the_place_is_shown_moved_and_cleared_in_nats() {
    let nats = nats().await;
    let read = async |_: &Installation| read_nats(nats.url(), "place").await;
    place_is_shown_moved_and_cleared("place_nats", &nats_sink(nats, "place"), read).await;
}

#[tokio::test]
async fn the_place_is_shown_moved_and_cleared_in_the_file_that_is_written() {
    let read = async |installation: &Installation| read_file(&installation.path("events.jsonl"));
    place_is_shown_moved_and_cleared("place_file", &file_sink(), read).await;
}

#[tokio::test]
async fn the_place_is_shown_moved_and_cleared_in_a_file_of_its_own() {
    let kafka = kafka().await;
    let tables = "checkpoint.store = \"file\"\n".to_owned() + &kafka_sink(kafka, "place_own", 1);
    let read = async |_: &Installation| read_kafka(kafka.bootstrap(), "place_own").await;
    place_is_shown_moved_and_cleared("place_own", &tables, read).await;
}

#[tokio::test]
async fn the_place_is_shown_moved_and_cleared_in_mongodb() {
    let kafka = kafka().await;
    let tables = "checkpoint.store = \"mongodb\"\n".to_owned() + &kafka_sink(kafka, "place_mongo", 1);
    let read = async |_: &Installation| read_kafka(kafka.bootstrap(), "place_mongo").await;
    place_is_shown_moved_and_cleared("place_mongo", &tables, read).await;
}

#[tokio::test]
async fn a_position_that_has_left_the_oplog_stops_the_connector_until_it_is_cleared() {
    // GIVEN a small oplog, and a checkpoint in it
    // (entries that a crash would need are kept until the next checkpoint of the server, which comes each second here)
    let mongo = Mongo::builder().oplog_mb(16).arg("--syncdelay=1").start().await.unwrap();
    let client = client(&mongo).await;
    let kafka = kafka().await;
    let tables = "checkpoint.store = \"file\"\n".to_owned() + &kafka_sink(kafka, "rolled", 1);
    let installation = Installation::new(&(source(&mongo, "rolled") + &tables));
    let history = some_changes(&installation, &client, "rolled", 14).await;
    // WHEN so much is written meanwhile that its entry is removed, which the server does in its own time
    let large = doc! { "text": "x".repeat(1 << 20) };
    let other = client.database("other").collection::<Document>("large");
    eventually("the oplog has lost the position", async || {
        other.insert_many(vec![&large; 4]).await.unwrap();
        (oldest(&client).await > history.end()).then_some(())
    })
    .await;
    // THEN it says so, and what to do
    let ended = run_ends(&installation).await;
    let line = ended.failed_with(1);
    assert!(line.contains("no longer in the oplog") && line.contains("checkpoint clear"), "{line}");
    // and WHEN that is done, it starts
    installation.ended(&["checkpoint", "clear"]).await.succeeded();
    some_changes(&installation, &client, "rolled", 15).await;
}

#[tokio::test]
async fn a_lost_checkpoint_beside_records_stops_the_connector_which_names_the_last_position() {
    // GIVEN records in Kafka
    let (mongo, kafka) = (mongo().await, kafka().await);
    let client = client(mongo).await;
    let start = majority_point(&client).await;
    let installation = Installation::new(&(source(mongo, "lost") + &kafka_sink(kafka, "lost", 3)));
    let history = some_changes(&installation, &client, "lost", 16).await;
    // WHEN the checkpoint is deleted
    delete_topics(kafka.bootstrap(), &["lost._checkpoints"]).await;
    // THEN the connector neither starts anew nor guesses
    let ended = run_ends(&installation).await;
    let line = ended.failed_with(1);
    assert!(line.contains(&history.end().to_string()) && line.contains("checkpoint set"), "{line}");
    // and WHEN the operator sets that position, it goes on without a gap and without repeats
    installation.ended(&["checkpoint", "set", &history.end().to_string()]).await.succeeded();
    some_changes(&installation, &client, "lost", 17).await;
    let lanes = read_kafka(kafka.bootstrap(), "lost").await;
    lanes.assert_complete(&History::read(&client, start, "lost").await);
    assert_eq!(lanes.repeats(), 0);
}

#[tokio::test]
async fn the_checkpoint_of_another_replica_set_is_refused() {
    // GIVEN a checkpoint of one set
    let (one, other) = (mongo().await, other_mongo().await);
    let (kafka, nats) = (kafka().await, nats().await);
    let file_store = "checkpoint.store = \"file\"\n";
    for (db, tables) in [
        ("foreign_file", file_sink()),
        ("foreign_kafka", kafka_sink(kafka, "foreign", 1)),
        ("foreign_nats", nats_sink(nats, "foreign")),
        ("foreign_store", file_store.to_owned() + "[sinks.out]\ntype = \"stdout\"\n"),
    ] {
        let installation = Installation::new(&(source(one, db) + &tables));
        some_changes(&installation, &client(one).await, db, 18).await;
        // WHEN the connector is pointed at another set, of the same name
        installation.configure(&(source(other, db) + &tables));
        // THEN it does not go on there
        let ended = run_ends(&installation).await;
        let line = ended.failed_with(1);
        assert!(line.contains("is of the replica set `rs0/"), "{line}");
    }
}

#[tokio::test]
async fn a_first_start_begins_where_the_configuration_says() {
    let mongo = mongo().await;
    let client = client(mongo).await;
    // GIVEN changes before the connector
    let start = majority_point(&client).await;
    let mut workload = Workload::new(&client, "first", 19);
    workload.write(20).await;
    let middle = History::read(&client, start, "first").await.end();
    workload.write(20).await;
    for (from, begin) in [("earliest", start), (&*middle.to_string(), middle)] {
        // WHEN it starts behind them
        let tables = format!("source.start = \"{from}\"\n{}", file_sink());
        let installation = Installation::new(&(source(mongo, "first") + &tables));
        let connector = installation.run().await;
        // THEN those behind the place are there
        let history = History::read(&client, begin, "first").await;
        connector.done(0, history.end()).await;
        read_file(&installation.path("events.jsonl")).assert_complete(&history);
    }
}
