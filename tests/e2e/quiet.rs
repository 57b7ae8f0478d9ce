//! What is not captured still moves the place to go on from.

use std::collections::BTreeSet;

use mongo_observer::format::Header;
use mongodb::bson::{Document, doc};

use super::harness::{
    Connector, History, Installation, Lanes, Workload, client, eventually, file_sink, kafka, kafka_sink,
    majority_point, mongo, nats, nats_sink, read_file, read_kafka, read_nats, source,
};

/// Starts with one captured change, lets many others go by, and gives back how it stands then.
async fn others_go_by(db: &str, tables: &str) -> (Installation, Connector, History) {
    let mongo = mongo().await;
    let client = client(mongo).await;
    let start = majority_point(&client).await;
    let tables = format!("pipeline.heartbeat_ms = 200\n{tables}");
    let installation = Installation::new(&(source(mongo, db) + &tables));
    let connector = installation.run().await;
    client.database(db).collection("a").insert_one(doc! { "_id": "one" }).await.unwrap();
    let history = History::read(&client, start, db).await;
    connector.done(0, history.end()).await;
    let others = client.database(&format!("{db}_other")).collection::<Document>("a");
    for _ in 0..20 {
        others.insert_many((0..1000).map(|number| doc! { "number": number })).await.unwrap();
    }
    (installation, connector, history)
}

/// Kills it, and makes sure that the next one goes on behind what went by.
async fn goes_on(installation: &Installation, connector: Connector, db: &str, before: &History) -> History {
    connector.kill().await;
    let client = client(mongo().await).await;
    let connector = installation.run().await;
    Workload::new(&client, db, 20).write(20).await;
    let first = before.operations[0].0;
    let mut history = History::read(&client, first, db).await;
    history.operations.insert(0, before.operations[0].clone());
    connector.done(0, history.end()).await;
    history
}

#[tokio::test]
async fn a_stream_is_told_how_far_the_source_has_come() {
    let nats = nats().await;
    let (installation, connector, before) = others_go_by("quiet_nats", &nats_sink(nats, "quiet")).await;
    let end = majority_point(&client(mongo().await).await).await;
    eventually("a watermark behind the others", async || {
        let lanes = read_nats(nats.url(), "quiet").await;
        lanes.watermarks().any(|seen| seen.at >= end).then_some(())
    })
    .await;
    let history = goes_on(&installation, connector, "quiet_nats", &before).await;
    let lanes = read_nats(nats.url(), "quiet").await;
    lanes.assert_complete(&history);
    assert_eq!(lanes.repeats(), 0);
}

#[tokio::test]
async fn a_stream_whose_events_tell_no_position_is_told_by_an_empty_message() {
    // GIVEN a format that has no watermarks
    let (nats, db) = (nats().await, "quiet_format");
    let sink = nats_sink(nats, "quiet_format") + "format = \"mongodb\"\n";
    let (installation, connector, before) = others_go_by(db, &sink).await;
    let jetstream = async_nats::jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    // WHEN others go by
    let end = majority_point(&client(mongo().await).await).await;
    let stream = jetstream.get_stream("quiet_format").await.unwrap();
    // THEN the message's header says how far the source has come
    eventually("a watermark behind the others", async || {
        let watermark = stream.get_last_raw_message_by_subject("quiet_format._watermark").await.ok()?;
        assert!(watermark.payload.is_empty());
        let header: Header = watermark.headers.get(Header::NAME)?.as_str().parse().unwrap();
        (header.at >= end).then_some(())
    })
    .await;
    // AND the next connector goes on there
    let history = goes_on(&installation, connector, db, &before).await;
    let mut positions = Vec::new();
    for sequence in 1..=stream.get_info().await.unwrap().state.last_sequence {
        let message = stream.get_raw_message(sequence).await.unwrap();
        let header: Header = message.headers.get(Header::NAME).unwrap().as_str().parse().unwrap();
        positions.extend((!message.subject.starts_with("quiet_format._")).then_some(header.at));
    }
    // Change streams don't show that a collection was created.
    let shown = history.operations.iter().filter(|(_, about)| !about.ends_with("!create"));
    assert_eq!(positions, shown.map(|(at, _)| *at).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_file_is_told_how_far_the_source_has_come() {
    let (installation, connector, before) = others_go_by("quiet_file", &file_sink()).await;
    let end = majority_point(&client(mongo().await).await).await;
    let read = || -> Lanes { read_file(&installation.path("events.jsonl")) };
    eventually("a watermark behind the others", async || {
        read().watermarks().any(|seen| seen.at >= end).then_some(())
    })
    .await;
    let history = goes_on(&installation, connector, "quiet_file", &before).await;
    read().assert_complete(&history);
}

#[tokio::test]
async fn every_partition_is_told_how_far_the_source_has_come_and_the_checkpoint_moves() {
    let kafka = kafka().await;
    let (installation, connector, before) = others_go_by("quiet_kafka", &kafka_sink(kafka, "quiet", 3)).await;
    let end = majority_point(&client(mongo().await).await).await;
    connector.checkpointed(0, end).await;
    let lanes = eventually("a watermark behind the one change in each partition", async || {
        let lanes = read_kafka(kafka.bootstrap(), "quiet").await;
        let with = |lane: &&Vec<_>| lane.iter().any(|seen: &super::harness::Seen| seen.op == "watermark");
        (lanes.0.iter().filter(with).count() == 3).then_some(lanes)
    })
    .await;
    let places: BTreeSet<_> = lanes.watermarks().map(|seen| seen.place.as_str()).collect();
    assert_eq!(places, BTreeSet::from(["quiet.quiet_kafka.a"]));
    let history = goes_on(&installation, connector, "quiet_kafka", &before).await;
    read_kafka(kafka.bootstrap(), "quiet").await.assert_complete(&history);
}
