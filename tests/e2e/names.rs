//! Names that MongoDB allows and brokers don't: every namespace and every `_id` has a legal place, and no two meet.

use std::collections::{HashMap, HashSet};

use async_nats::jetstream;
use mongo_observer::event::Position;
use mongodb::Client;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Document, Timestamp, doc};
use serde_json::{Value, json};

use super::harness::{
    Installation, Lanes, PATIENCE, client, kafka, kafka_sink, majority_point, mongo, nats, nats_sink,
    read_kafka, read_nats, source,
};

const DATABASES: [&str; 7] =
    ["names", "names_x", "names-x", "names+x", "names=20x", "namesé漢字😀", "names'#%&+,;@[]^`{}~!()"];

/// Beside these there are some that are too long to be written here.
const COLLECTIONS: [&str; 32] = [
    "orders",
    "Orders",
    "or.ders",
    "or..ders",
    "or-ders",
    "or ders",
    "or=20ders",
    " orders",
    "orders ",
    "orders.",
    "é",
    "e\u{301}",
    "漢字",
    "😀",
    "*",
    ">",
    "a.*",
    "a.>",
    "a*b",
    "a/b",
    "a\\b",
    "a\tb",
    "a\nb",
    "\"",
    "'",
    "#%&+,;:@[]^`{}~!()?<|",
    "{id}",
    "_commands",
    "_watermark",
    "_dead_letters",
    "_checkpoints",
    "__consumer_offsets",
];

fn collections() -> Vec<String> {
    let long = |tail: &str| "x".repeat(150) + tail;
    let wide = |tail: &str| "漢".repeat(50) + tail;
    let listed = COLLECTIONS.iter().map(|&name| name.to_owned());
    listed.chain([long("1"), long("2"), wide("1"), wide("2")]).collect()
}

/// Inserts a document into each collection of each database; gives the namespaces that there are then.
async fn write(client: &Client) -> HashSet<(String, String)> {
    let mut written = HashSet::new();
    for db in DATABASES {
        for coll in collections() {
            let docs = client.database(db).collection::<Document>(&coll);
            docs.insert_one(doc! { "_id": 1 }).await.unwrap_or_else(|error| panic!("{db}.{coll:?}: {error}"));
            written.insert((db.to_owned(), coll));
        }
    }
    written
}

/// The one place of each namespace's documents.
#[track_caller]
fn places(lanes: &Lanes) -> HashMap<(String, String), String> {
    let mut places = HashMap::new();
    for seen in lanes.events().filter(|seen| seen.op == "insert") {
        let name = |key: &str| seen.event["ns"][key].as_str().unwrap().to_owned();
        let before = places.insert((name("db"), name("coll")), seen.place.clone());
        assert_eq!(before, None, "{seen:?}");
    }
    let distinct: HashSet<_> = places.values().collect();
    assert_eq!(distinct.len(), places.len(), "two namespaces meet");
    places
}

#[track_caller]
fn assert_all(places: &HashMap<(String, String), String>, written: &HashSet<(String, String)>) {
    let found: HashSet<_> = places.keys().cloned().collect();
    let missing: Vec<_> = written.difference(&found).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(found.len(), written.len());
}

/// The configuration of a connector that reads all databases whose names begin with `names`.
fn config(uri: &str, sinks: &str) -> String {
    format!("mongodb.uri = {uri:?}\nsource.include = [\"/^names/\"]\nretry.max_ms = 1000\n{sinks}")
}

#[tokio::test]
async fn every_namespace_has_a_legal_topic_and_a_legal_subject_of_its_own() {
    // GIVEN a server of its own: its databases would be in other tests' way
    let mongo = mongo_observer::servers::Mongo::builder().start().await.unwrap();
    let (client, kafka, nats) = (client(&mongo).await, kafka().await, nats().await);
    // Kafka holds a dot and an underscore alike.
    let sinks = kafka_sink(kafka, "names", 1) + &nats_sink(nats, "names");
    let installation = Installation::new(&config(&mongo.uri(), &sinks));
    let connector = installation.run().await;
    // WHEN there is a document in each of them
    let written = write(&client).await;
    assert_eq!(written.len(), 7 * 36);
    let end = majority_point(&client).await;
    for index in [0, 1] {
        connector.done(index, end).await;
    }
    // THEN Kafka has a topic for each, with a legal name
    let topics = places(&read_kafka(kafka.bootstrap(), "names").await);
    assert_all(&topics, &written);
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    assert!(topics.values().all(|topic| topic.len() <= 249 && topic.bytes().all(is_legal)), "{topics:?}");
    // and NATS a subject, of three tokens, by which its document is found
    let subjects = places(&read_nats(nats.url(), "names").await);
    assert_all(&subjects, &written);
    let jetstream = jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    let stream = jetstream.get_stream("names").await.unwrap();
    for ((db, coll), subject) in &subjects {
        assert!(subject.split('.').count() == 3 && subject.len() < 1024, "{subject}");
        let message = stream.get_last_raw_message_by_subject(subject).await.unwrap();
        let event: Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(event["ns"], json!({ "db": db, "coll": coll }));
    }
    // and names that are legal stand as they are.
    let of = |db: &str, coll: &str| (db.to_owned(), coll.to_owned());
    assert_eq!(topics[&of("names", "or.ders")], "names.names.or.ders");
    assert_eq!(subjects[&of("names", "orders")], "names.names.orders");
    assert_eq!(subjects[&of("names+x", "or.ders")], "names.names=2Bx.or=2Eders");
}

#[tokio::test]
async fn two_collections_that_kafka_would_confuse_are_named() {
    let (mongo, kafka) = (mongo().await, kafka().await);
    let db = client(mongo).await.database("confused");
    let installation = Installation::new(&(source(mongo, "confused") + &kafka_sink(kafka, "confused", 1)));
    let connector = installation.run().await;
    connector.anchored().await;
    for coll in ["a.b", "a_b"] {
        db.collection(coll).insert_one(doc! { "_id": 1 }).await.unwrap();
    }
    let ended = connector.ended_within(PATIENCE).await;
    let line = ended.failed_with(1);
    assert!(line.contains("confused.a.b") && line.contains("confused.a_b"), "{line}");
}

/// Identifiers of every type, and those that are easily mistaken for each other.
fn ids() -> Vec<Bson> {
    let oid = ObjectId::parse_str("65f0c0ffee65f0c0ffee65f0").unwrap();
    let binary = |subtype, bytes: &[u8]| Bson::Binary(Binary { subtype, bytes: bytes.to_vec() });
    let texts = [
        "",
        " ",
        ".",
        "..",
        "a.b",
        "a b",
        "a=20b",
        "a_b",
        "*",
        ">",
        "_",
        "_drop",
        "h=0",
        "i=1",
        "1",
        "null",
        "true",
        "é",
        "e\u{301}",
        "漢字",
        "😀",
        "\"",
        "\\",
        "\n",
        "\t",
        "65f0c0ffee65f0c0ffee65f0",
        "{\"a\":1}",
    ];
    let long = |length: usize, tail: &str| Bson::from("x".repeat(length) + tail);
    texts
        .into_iter()
        .map(Bson::from)
        .chain([
            oid.into(),
            1_i32.into(),
            (-1_i64).into(),
            i64::MAX.into(),
            1.5.into(),
            (-1.25).into(),
            f64::NAN.into(),
            f64::INFINITY.into(),
            true.into(),
            false.into(),
            Bson::Null,
            DateTime::from_millis(1).into(),
            DateTime::from_millis(-1).into(),
            Timestamp { time: 1, increment: 2 }.into(),
            binary(BinarySubtype::Generic, b""),
            binary(BinarySubtype::Generic, b"1"),
            binary(BinarySubtype::UserDefined(0x80), b"1"),
            binary(BinarySubtype::Uuid, &[0x5f; 16]),
            Bson::Decimal128("2.5".parse().unwrap()),
            Bson::MinKey,
            Bson::MaxKey,
            doc! { "a": 1 }.into(),
            doc! { "a": { "b.c": "d e" } }.into(),
            doc! {}.into(),
            long(198, ""),
            long(199, ""),
            long(5000, "1"),
            long(5000, "2"),
            doc! { "a": "x".repeat(300) }.into(),
        ])
        .collect()
}

#[tokio::test]
async fn every_id_has_a_legal_token_of_its_own() {
    let (db, mongo, nats) = ("tokens", mongo().await, nats().await);
    let client = client(mongo).await;
    let sink =
        nats_sink(nats, "tokens") + "subject = \"{prefix}.{db}.{coll}.{id}\"\nformat = \"json-canonical\"\n";
    let installation = Installation::new(&(source(mongo, db) + &sink));
    let connector = installation.run().await;
    connector.anchored().await;
    let ids = ids();
    let docs = client.database(db).collection::<Document>("docs");
    docs.insert_many(ids.iter().map(|id| doc! { "_id": id })).await.unwrap();
    connector.done(0, Position::max(majority_point(&client).await, Position::default())).await;
    let lanes = read_nats(nats.url(), "tokens").await;
    let mut tokens = HashSet::new();
    for (seen, id) in lanes.events().filter(|seen| seen.op == "insert").zip(&ids) {
        assert_eq!(seen.event["key"]["_id"], id.clone().into_canonical_extjson());
        let token = seen.place.strip_prefix("tokens.tokens.docs.").expect("the subject of its collection");
        let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_-=".contains(&byte);
        assert!((1..=200).contains(&token.len()) && token.bytes().all(is_legal), "{token}");
        assert!(tokens.insert(token.to_owned()), "{token} stands for two");
    }
    assert_eq!(tokens.len(), ids.len());
    let create = lanes.events().find(|seen| seen.op == "create").expect("the collection was made");
    assert_eq!(create.place, "tokens.tokens.docs._create");
}
