//! What the connector does with an entry that it can't understand, on every kind of sink.
//!
//! A user's `applyOps` may hold modifiers that the server works out itself, such as `$inc`: the oplog then lacks the result.

use mongo_observer::event::Position;
use mongodb::Client;
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};

use super::harness::{
    Connector, Installation, Lanes, PATIENCE, Seen, client, file_sink, kafka, kafka_sink, majority_point,
    mongo, nats, nats_sink, read_file, read_kafka, read_lines, read_nats, source,
};

/// Inserts a document, increments it in a way that can't be understood, and inserts another one.
async fn write(client: &Client, db: &str) {
    let coll = client.database(db).collection::<Document>("c");
    coll.insert_one(doc! { "_id": 1, "n": 1 }).await.unwrap();
    let operations = [
        doc! { "op": "i", "ns": format!("{db}.c"), "o": { "_id": 2 } },
        doc! { "op": "u", "ns": format!("{db}.c"), "o2": { "_id": 1 }, "o": { "$inc": { "n": 1 } } },
    ];
    client.database("admin").run_command(doc! { "applyOps": operations.to_vec() }).await.unwrap();
    coll.insert_one(doc! { "_id": 3 }).await.unwrap();
}

/// A connector with that policy and sink, from its start to the acknowledgement of all of [`write`].
async fn through(db: &str, policy: &str, sink: &str) -> (Installation, Connector) {
    let mongo = mongo().await;
    let client = client(mongo).await;
    let config = source(mongo, db) + &format!("on.unknown = \"{policy}\"\n") + sink;
    let installation = Installation::new(&config);
    let connector = installation.run().await;
    write(&client, db).await;
    connector.done(0, behind(&client, db).await).await;
    (installation, connector)
}

/// The position of the last insert, once it is majority-committed.
async fn behind(client: &Client, db: &str) -> Position {
    let last = doc! { "ns": format!("{db}.c"), "op": "i", "o._id": 3 };
    let entry = client.database("local").collection::<Document>("oplog.rs").find_one(last).await.unwrap();
    let ts = entry.unwrap().get_timestamp("ts").unwrap();
    let at = Position::of_entry(ts.time, ts.increment);
    super::harness::eventually("it is committed", async || {
        (majority_point(client).await >= at).then_some(())
    })
    .await;
    at
}

/// The dead letter among what a sink holds, which is otherwise complete and in order.
#[track_caller]
fn letter(lanes: &Lanes, db: &str) -> Seen {
    let mut seen: Vec<&Seen> = lanes.events().collect();
    seen.sort_by_key(|seen| seen.at);
    let ops: Vec<_> = seen.iter().map(|seen| (seen.op.as_str(), &seen.event["key"]["_id"])).collect();
    let null = &Value::Null;
    let (one, two, three) = (&json!(1), &json!(2), &json!(3));
    assert_eq!(
        ops,
        [("create", null), ("insert", one), ("insert", two), ("deadLetter", null), ("insert", three)]
    );
    let letter = seen[3];
    assert_eq!((seen[2].at.ordinal, letter.at), (0, Position { ordinal: 1, ..seen[2].at }));
    let event = &letter.event;
    assert_eq!(event["ns"], json!({ "db": db, "coll": "c" }));
    assert_eq!(event["reason"], "unknown");
    assert_eq!(event["what"], "an update with the unknown modifier `$inc`");
    assert_eq!(event["entry"]["o"], json!({ "$inc": { "n": { "$numberInt": "1" } } }));
    letter.clone()
}

async fn assert_counted(connector: &Connector, family: &str, sink: &str) {
    let metrics = connector.get("/metrics").await.unwrap();
    let line = format!("mongo_observer_{family}{{reason=\"unknown\",sink=\"{sink}\"}} 1");
    assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
}

/// It was logged once, with its position, and nothing of the document.
#[track_caller]
fn assert_logged(connector: &Connector, at: Position, how: &str) {
    let log = connector.stderr();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(&at.to_string())).collect();
    assert!(matches!(lines[..], [line] if line.contains(how) && line.contains("unknown modifier")), "{log}");
    assert!(!log.contains("$numberInt") && !log.contains("{\"n\""), "{log}");
}

#[tokio::test]
async fn a_file_has_a_dead_letter_as_a_line_and_goes_on_behind_it() {
    let db = "letters_file";
    let (installation, connector) = through(db, "dead_letter", &file_sink()).await;
    let seen = letter(&read_file(&installation.path("events.jsonl")), db);
    assert_logged(&connector, seen.at, "dead letter");
    assert_counted(&connector, "dead_letters_published_total", "file").await;
    // The line counts as the file's end like any other.
    connector.kill().await;
    let path = installation.path("events.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    let end = text.find("deadLetter").unwrap() + text[text.find("deadLetter").unwrap()..].find('\n').unwrap();
    std::fs::write(&path, &text[..=end]).unwrap();
    let shown = installation.ended(&["checkpoint", "show"]).await;
    assert!(shown.succeeded().contains(&seen.at.to_string()), "{shown:?}");
    let connector = installation.run().await;
    connector.done(0, behind(&client(mongo().await).await, db).await).await;
    letter(&read_file(&path), db);
}

#[tokio::test]
async fn standard_output_shows_a_dead_letter_as_a_line() {
    let db = "letters_out";
    let (_folder, connector) = through(db, "dead_letter", "[sinks.out]\ntype = \"stdout\"\n").await;
    letter(&read_lines(&connector.stdout_lines()), db);
}

#[tokio::test]
async fn kafka_has_dead_letters_in_a_topic_of_their_own() {
    let (db, kafka) = ("letters_kafka", kafka().await);
    let (_folder, connector) = through(db, "dead_letter", &kafka_sink(kafka, db, 3)).await;
    let lanes = read_kafka(kafka.bootstrap(), db).await;
    // A command goes to each of the three partitions.
    assert_eq!(lanes.events().filter(|seen| seen.op == "create").count(), 3);
    let mut once = Vec::new();
    for seen in lanes.events() {
        if !once.iter().any(|other: &Seen| other.at == seen.at) {
            once.push(seen.clone());
        }
    }
    let seen = letter(&Lanes(vec![once]), db);
    assert_eq!(seen.place, "letters_kafka._dead_letters");
    assert_eq!(seen.key, Some(seen.at.to_string()));
    assert_counted(&connector, "dead_letters_published_total", "kafka").await;
}

#[tokio::test]
async fn nats_has_dead_letters_in_their_place_of_the_stream() {
    let (db, nats) = ("letters_nats", nats().await);
    let (_folder, connector) = through(db, "dead_letter", &nats_sink(nats, db)).await;
    let lanes = read_nats(nats.url(), db).await;
    let order: Vec<Position> = lanes.events().map(|seen| seen.at).collect();
    assert!(order.is_sorted(), "{order:?}");
    assert_eq!(letter(&lanes, db).place, "letters_nats._dead_letters");
    assert_counted(&connector, "dead_letters_published_total", "nats").await;
}

#[tokio::test]
async fn what_is_skipped_is_counted_and_logged() {
    let db = "skipped";
    let (installation, connector) = through(db, "skip", &file_sink()).await;
    let lanes = read_file(&installation.path("events.jsonl"));
    let ops: Vec<&str> = lanes.events().map(|seen| seen.op.as_str()).collect();
    assert_eq!(ops, ["create", "insert", "insert", "insert"]);
    let before = lanes.events().nth(2).unwrap().at;
    assert_logged(&connector, Position { ordinal: 1, ..before }, "left out");
    assert_counted(&connector, "events_skipped_total", "file").await;
}

#[tokio::test]
async fn by_default_it_stops_with_the_position_and_the_choice_and_can_go_on_later() {
    // GIVEN a connector as it is by default
    let (mongo, db) = (mongo().await, "stopped");
    let client = client(mongo).await;
    let config = source(mongo, db) + &file_sink();
    let installation = Installation::new(&config);
    let connector = installation.run().await;
    // WHEN there is something that it does not understand
    write(&client, db).await;
    // THEN it ends, says where and at what, and what can be done
    let ended = connector.ended_within(PATIENCE).await;
    let line = ended.failed_with(1);
    let batch = doc! { "o.applyOps.ns": format!("{db}.c") };
    let entry = client.database("local").collection::<Document>("oplog.rs").find_one(batch).await.unwrap();
    let ts = entry.unwrap().get_timestamp("ts").unwrap();
    let position = Position { t: ts.time, i: ts.increment, ordinal: 1 }.to_string();
    for words in [
        position.as_str(),
        "stopped.c",
        "unknown modifier `$inc`",
        "[on] unknown = \"dead_letter\" or \"skip\"",
    ] {
        assert!(line.contains(words), "`{words}` is not in: {line}");
    }
    // and with another choice it goes on there
    installation.configure(&("on.unknown = \"dead_letter\"\n".to_owned() + &config));
    let connector = installation.run().await;
    connector.done(0, behind(&client, db).await).await;
    letter(&read_file(&installation.path("events.jsonl")), db);
}
