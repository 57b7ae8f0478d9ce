//! NATS under load, and what becomes of its stream: nothing is lost, repeated or reordered, and each document's last value is right.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy};
use async_nats::jetstream::{self, Context};
use mongo_observer::servers::Nats;
use mongodb::Client;
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};

use super::broker::Running;
use super::harness::{
    History, Installation, Lanes, PATIENCE, Workload, client, eventually, majority_point, mongo, nats,
    nats_sink, read_nats, source,
};

const KEYS: i64 = 40;

async fn jetstream(nats: &Nats) -> Context {
    jetstream::new(async_nats::connect(nats.urls()).await.unwrap())
}

/// Replaces a few documents of 4 KB again and again, so often in all; faster than a sink takes them.
async fn flood(client: &Client, db: &str, from: i64, count: i64) {
    let text = "x".repeat(4000);
    let numbers: Vec<i64> = (from..from + count).collect();
    for some in numbers.chunks(200) {
        let updates: Vec<Document> = some
            .iter()
            .map(|n| doc! { "q": { "_id": n % KEYS }, "u": { "n": n, "text": &text }, "upsert": true })
            .collect();
        client.database(db).run_command(doc! { "update": "docs", "updates": updates }).await.unwrap();
    }
}

/// Complete, once, in order, and of each document the last event holds what MongoDB holds.
async fn assert_exact(lanes: &Lanes, history: &History, client: &Client, db: &str) {
    lanes.assert_complete(history);
    assert_eq!(lanes.repeats(), 0);
    let mut last: HashMap<String, Value> = HashMap::new();
    for seen in lanes.events().filter(|seen| seen.event.get("key").is_some()) {
        last.insert(seen.about.clone(), seen.event["after"]["n"].clone());
    }
    for (id, n) in last {
        let id: i64 = id.rsplit_once('/').unwrap().1.parse().unwrap();
        let found =
            client.database(db).collection::<Document>("docs").find_one(doc! { "_id": id }).await.unwrap();
        assert_eq!(n, json!(found.unwrap().get_i64("n").unwrap()), "the last value of {id}");
    }
}

#[tokio::test]
async fn a_server_that_freezes_and_dies_under_back_pressure_loses_repeats_and_reorders_nothing() {
    const ROUND: i64 = 4000;
    let (db, nats) = ("nats_flood", Nats::builder().start().await.unwrap());
    let mongo = mongo().await;
    let client = client(mongo).await;
    let start = majority_point(&client).await;
    let installation = Installation::new(&(source(mongo, db) + &nats_sink(&nats, "flood")));
    let connector = installation.run().await;
    connector.anchored().await;
    for round in 0..3 {
        // WHEN the server freezes while more is written than the connector may hold
        flood(&client, db, round * ROUND, ROUND / 2).await;
        nats.pause(0).unwrap();
        flood(&client, db, round * ROUND + ROUND / 2, ROUND / 2).await;
        let full = |report: &Value| report["pipelines"][0]["in_flight_bytes"].as_u64() > Some(6 << 20);
        let retrying = |report: &Value| report["pipelines"][0]["state"] == "retrying";
        connector.until("it holds all it may", |report| full(report) || retrying(report)).await;
        // and dies, or goes on
        if round < 2 {
            nats.kill(0).await;
            nats.restart(0).await.unwrap();
        } else {
            connector.until("it misses the server", retrying).await;
            nats.resume(0).unwrap();
        }
    }
    // THEN it is all there
    let history = History::read(&client, start, db).await;
    connector.done(0, history.end()).await;
    assert!(history.operations.len() > 10_000);
    assert_exact(&read_nats(nats.url(), "flood").await, &history, &client, db).await;
}

#[tokio::test]
async fn a_cluster_whose_leader_dies_again_and_again_loses_repeats_and_reorders_nothing() {
    let cluster = Nats::builder().nodes(3).start().await.unwrap();
    let servers = cluster.urls().join(",");
    let sink = nats_sink(&cluster, "cluster").replace(cluster.url(), &servers) + "replicas = 3\n";
    let running = Running::start("nats_cluster", &sink).await;
    for _ in 0..2 {
        running.caught_up().await;
        let leader = leader(&cluster, "cluster").await;
        cluster.kill(leader).await;
        running.caught_up().await;
        cluster.restart(leader).await.unwrap();
    }
    let history = running.ended().await;
    leader(&cluster, "cluster").await;
    let lanes = read_nats(cluster.url(), "cluster").await;
    lanes.assert_complete(&history);
    assert_eq!(lanes.repeats(), 0);
}

/// Which server leads a stream; waits until one does.
async fn leader(cluster: &Nats, stream: &str) -> usize {
    eventually("the stream has a leader", async || {
        let stream = jetstream(cluster).await.get_stream(stream).await.ok()?;
        let leader = stream.cached_info().cluster.clone()?.leader?;
        Some(leader.strip_prefix("node-")?.parse::<usize>().ok()? - 1)
    })
    .await
}

#[tokio::test]
async fn of_two_connectors_on_one_stream_one_ends_with_the_reason() {
    let (db, nats, mongo) = ("nats_twins", nats().await, mongo().await);
    let client = client(mongo).await;
    let start = majority_point(&client).await;
    let installations =
        [(), ()].map(|()| Installation::new(&(source(mongo, db) + &nats_sink(nats, "twins"))));
    let first = installations[0].run().await;
    first.anchored().await;
    let second = installations[1].run().await;
    // WHEN both write
    let load = Workload::new(&client, db, 5).start(Duration::from_millis(2)).await;
    let ended = tokio::select! {
        ended = first.ended_within(PATIENCE) => ended,
        ended = second.ended_within(PATIENCE) => ended,
    };
    // THEN one of them says why it ends
    let line = ended.failed_with(1);
    assert!(line.contains("another program writes to the stream twins; one stream, one connector"), "{line}");
    // and the stream is whole
    load.stop().await;
    let history = History::read(&client, start, db).await;
    installations[0].run().await.done(0, history.end()).await;
    let lanes = read_nats(nats.url(), "twins").await;
    lanes.assert_complete(&history);
    assert_eq!(lanes.repeats(), 0);
}

#[tokio::test]
async fn another_program_in_the_stream_stops_the_connector_which_names_it() {
    let (db, nats, mongo) = ("nats_guest", nats().await, mongo().await);
    let client = client(mongo).await;
    let installation = Installation::new(&(source(mongo, db) + &nats_sink(nats, "guest")));
    let connector = installation.run().await;
    connector.anchored().await;
    jetstream(nats).await.publish("guest.of.ours", "x".into()).await.unwrap().await.unwrap();
    client.database(db).collection("docs").insert_one(doc! { "_id": 1 }).await.unwrap();
    let ended = connector.ended_within(PATIENCE).await;
    let line = ended.failed_with(1);
    assert!(line.contains("guest.of.ours") && line.contains("one stream, one connector"), "{line}");
}

#[tokio::test]
async fn a_full_stream_holds_everything_up_and_nothing_is_missing_when_there_is_room() {
    let (db, nats) = ("nats_full", nats().await);
    let jetstream = jetstream(nats).await;
    let limited = |max_messages| Config {
        name: "full".into(),
        subjects: vec!["full.>".into()],
        max_messages,
        discard: DiscardPolicy::New,
        ..Config::default()
    };
    jetstream.create_stream(limited(100)).await.unwrap();
    let running = Running::start(db, &nats_sink(nats, "full")).await;
    // WHEN the stream is full
    let says =
        |report: &Value| report["pipelines"][0]["last_error"].to_string().contains("the stream full is full");
    running.connector.until("it says that the stream is full", says).await;
    // and has room again
    jetstream.update_stream(limited(-1)).await.unwrap();
    running.caught_up().await;
    // THEN everything is there
    let history = running.ended().await;
    let lanes = read_nats(nats.url(), "full").await;
    lanes.assert_complete(&history);
    assert_eq!(lanes.repeats(), 0);
}

/// What a history holds from some record of a stream on.
fn since(history: &History, lanes: &Lanes) -> History {
    let first = lanes.events().next().expect("the stream holds something").at;
    let mut since = history.clone();
    since.operations.retain(|(at, _)| *at >= first);
    since
}

#[tokio::test]
async fn a_stream_that_is_purged_under_load_goes_on_without_a_gap() {
    let (db, nats) = ("nats_purged", nats().await);
    let running = Running::start(db, &nats_sink(nats, "purged")).await;
    let stream = jetstream(nats).await.get_stream("purged").await.unwrap();
    for _ in 0..3 {
        running.caught_up().await;
        stream.purge().await.unwrap();
    }
    running.caught_up().await;
    let history = running.ended().await;
    // Its numbers tell that nothing else is gone: they have no gap.
    let lanes = read_nats(nats.url(), "purged").await;
    let state = jetstream(nats).await.get_stream("purged").await.unwrap().cached_info().state.clone();
    assert_eq!(state.messages, state.last_sequence + 1 - state.first_sequence);
    lanes.assert_complete(&since(&history, &lanes));
    assert_eq!(lanes.repeats(), 0);
}

#[tokio::test]
async fn a_stream_that_is_deleted_under_load_is_made_again_and_goes_on_where_it_was_left() {
    let (db, nats) = ("nats_deleted", nats().await);
    let running = Running::start(db, &nats_sink(nats, "deleted")).await;
    running.caught_up().await;
    // WHEN the stream is deleted while the connector stands still
    running.connector.pause();
    let before = settled(nats, "deleted").await;
    jetstream(nats).await.delete_stream("deleted").await.unwrap();
    running.connector.resume();
    running.caught_up().await;
    // THEN what it held and what the new one holds are everything
    let history = running.ended().await;
    let after = read_nats(nats.url(), "deleted").await;
    assert_eq!(after.repeats(), 0);
    let both = [before, after].into_iter().flat_map(|lanes| lanes.0).flatten();
    Lanes(vec![both.collect()]).assert_complete(&history);
}

/// What a stream holds when nothing comes in any more.
async fn settled(nats: &Nats, stream: &str) -> Lanes {
    let mut last = 0;
    eventually("nothing comes in any more", async || {
        let now = jetstream(nats).await.get_stream(stream).await.unwrap().cached_info().state.last_sequence;
        tokio::time::sleep(Duration::from_millis(100)).await;
        (std::mem::replace(&mut last, now) == now).then_some(())
    })
    .await;
    read_nats(nats.url(), stream).await
}
