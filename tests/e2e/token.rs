//! Resume tokens: those that the server's change stream gives for the same events, byte for byte; and where they lead.

use std::fmt::Write as _;

use bytes::Bytes;
use futures::TryStreamExt as _;
use mongo_observer::event::Position;
use mongo_observer::event::token::{ResumeToken, TokenVersion};
use mongo_observer::servers::{Mongo, MongoVersion};
use mongo_observer::source::Namespaces;
use mongo_observer::source::oplog::{Cut, Cutter, Pieces, translate};
use mongodb::Client;
use mongodb::bson::{Bson, Decimal128, Document, RawDocumentBuf, Regex, Timestamp, cstr, doc};
use mongodb::options::ReadConcern;

use super::harness::{
    History, Installation, Random, client, file_sink, majority_point, mongo, read_file, source,
};

/// Identifiers of every type that may be one, and a thousand numbers.
fn identifiers() -> Vec<Bson> {
    let mut random = Random::new(11);
    let mut ids = vec![
        Bson::Null,
        Bson::Boolean(true),
        Bson::MinKey,
        Bson::MaxKey,
        Bson::Undefined,
        "text".into(),
        "with\0zero".into(),
        "".into(),
        Bson::Symbol("symbol".into()),
        Bson::JavaScriptCode("code".into()),
        Bson::Timestamp(Timestamp { time: 5, increment: 6 }),
        Bson::DateTime(mongodb::bson::DateTime::from_millis(-1)),
        Bson::ObjectId(mongodb::bson::oid::ObjectId::from_bytes([7; 12])),
        Bson::Binary(mongodb::bson::Binary { subtype: 0.into(), bytes: vec![1; 300] }),
        Bson::Binary(mongodb::bson::Binary { subtype: 4.into(), bytes: vec![1; 16] }),
        doc! { "a": [1, "x", [2, [], {}], null], "": 1.5, "b": { "c": Bson::Int64(7) } }.into(),
        doc! { "when": Bson::RegularExpression(Regex { pattern: cstr!("a.*").into(), options: cstr!("i").into() }) }.into(),
        i64::MAX.into(),
        i64::MIN.into(),
        i32::MIN.into(),
        f64::NAN.into(),
        f64::INFINITY.into(),
        f64::NEG_INFINITY.into(),
        5e-324.into(),
        1e300.into(),
    ];
    for number in 0..400 {
        let bits = (random.below(1 << 32) << 32) | random.below(1 << 32);
        ids.push(Bson::Double(f64::from_bits(bits)));
        ids.push(Bson::Int64((bits >> random.below(63)).cast_signed()));
        ids.push(Bson::Double(f64::from(number) / 8.0 - 17.3));
        let exponent = i64::try_from(random.below(700)).unwrap() - 350;
        let digits = random.below(1 << 40);
        let text = match number % 3 {
            0 => format!("{digits}E{exponent}"),
            1 => format!("-{digits}.{}", random.below(1 << 30)),
            _ => format!("{digits}{bits}E{}", exponent * 10),
        };
        ids.extend(text.parse::<Decimal128>().ok().map(Bson::Decimal128));
    }
    ids
}

async fn write(client: &Client, ids: Vec<Bson>) {
    let database = client.database("tokens");
    let coll = database.collection::<Document>("a");
    // Values of several types may be equal: then only the first one is stored.
    for many in ids.chunks(200) {
        let documents = many.iter().map(|id| doc! { "_id": id.clone() });
        let _ = coll.insert_many(documents).ordered(false).await;
    }
    coll.update_many(doc! { "_id": { "$gt": 0 } }, doc! { "$set": { "n": 1 } }).await.unwrap();
    coll.delete_many(doc! { "_id": { "$lt": 0 } }).await.unwrap();
    coll.replace_one(doc! { "_id": "text" }, doc! { "n": 2 }).await.unwrap();
    let mut session = client.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    for number in 0..5 {
        coll.insert_one(doc! { "_id": { "txn": number } }).session(&mut session).await.unwrap();
    }
    session.commit_transaction().await.unwrap();
    coll.create_index(mongodb::IndexModel::builder().keys(doc! { "n": 1 }).build()).await.unwrap();
    let rename = doc! { "renameCollection": "tokens.a", "to": "tokens.b" };
    client.database("admin").run_command(rename).await.unwrap();
    database.collection::<Document>("b").drop().await.unwrap();
    database.drop().await.unwrap();
}

/// `_data`, and `_typeBits` in hexadecimal, of every event of a stream until the database is gone.
async fn of_the_server(client: &Client, start: Position, expanded: bool) -> Vec<(String, String)> {
    let mut change_stream = doc! {
        "allChangesForCluster": true,
        "startAtOperationTime": Timestamp { time: start.t, increment: start.i + 1 },
    };
    if expanded {
        change_stream.insert("showExpandedEvents", true);
    }
    let aggregate = doc! {
        "aggregate": 1, "cursor": {}, "readConcern": { "level": "majority" },
        "pipeline": [{ "$changeStream": change_stream }, { "$match": { "ns.db": "tokens" } }],
    };
    let mut events = client.database("admin").run_cursor_command(aggregate).await.unwrap();
    let mut tokens = Vec::new();
    while let Some(event) = events.try_next().await.unwrap() {
        let token = event.get_document("_id").unwrap();
        let bits = token.get_binary_generic("_typeBits").map(|bits| hex(bits)).unwrap_or_default();
        tokens.push((token.get_str("_data").unwrap().to_owned(), bits));
        if event.get_str("operationType").unwrap() == "dropDatabase" {
            break;
        }
    }
    tokens
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// The same from the oplog's entries; and the position of each.
async fn of_ours(client: &Client, start: Position) -> Vec<(String, String, String, Position)> {
    let oplog = client.database("local").collection::<RawDocumentBuf>("oplog.rs");
    let behind = doc! { "ts": { "$gt": Timestamp { time: start.t, increment: start.i } } };
    let found = oplog.find(behind).read_concern(ReadConcern::majority()).await.unwrap();
    let entries: Vec<RawDocumentBuf> = found.try_collect().await.unwrap();
    let namespaces = Namespaces::parse(&["tokens.*".to_owned()], &[]).unwrap();
    let (mut cutter, mut pieces) = (Cutter::new(None), Pieces::default());
    let mut tokens = Vec::new();
    for entry in entries {
        let bytes = Bytes::from(entry.into_bytes());
        pieces.note(&bytes);
        for cut in cutter.cut(&bytes, std::iter::once(Ok(0..bytes.len()))).unwrap() {
            let chunks = match cut {
                Cut::Chunk(chunk) => vec![chunk],
                Cut::Chain(chain) => pieces.resolve(*chain).unwrap(),
            };
            for chunk in &chunks {
                for op in &chunk.ops {
                    let Some(event) = translate(chunk, op, &namespaces, "").unwrap() else { continue };
                    let token = ResumeToken::of_event(&event, TokenVersion::V1).unwrap().unwrap();
                    let op = event.change.name().to_owned();
                    tokens.push((op, token.data_hex(), hex(token.type_bits()), event.at));
                }
            }
        }
    }
    tokens
}

async fn tokens_are_the_servers_own(version: MongoVersion, expanded: bool) {
    // GIVEN all sorts of identifiers, transactions in several entries, and commands
    let mongo = Mongo::builder()
        .version(version)
        .param("maxNumberOfTransactionOperationsInSingleOplogEntry=2")
        .start()
        .await
        .unwrap();
    let client = client(&mongo).await;
    let start = majority_point(&client).await;
    write(&client, identifiers()).await;
    // WHEN the server and we make tokens of them
    let theirs = of_the_server(&client, start, expanded).await;
    let ours = of_ours(&client, start).await;
    // THEN they are the same; older servers show no creation of collections and indexes
    let shown = |op: &str| expanded || !matches!(op, "create" | "createIndexes");
    let ours: Vec<_> =
        ours.into_iter().filter(|(op, ..)| shown(op)).map(|(_, data, bits, _)| (data, bits)).collect();
    assert!(ours.len() > 2000, "{}", ours.len());
    for (number, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(ours, theirs, "event {number}");
    }
    assert_eq!(ours.len(), theirs.len());
}

#[tokio::test]
async fn tokens_are_those_of_4_4() {
    tokens_are_the_servers_own(MongoVersion::V4_4, false).await;
}

#[tokio::test]
async fn tokens_are_those_of_5_0() {
    tokens_are_the_servers_own(MongoVersion::V5_0, false).await;
}

#[tokio::test]
async fn tokens_are_those_of_6_0() {
    tokens_are_the_servers_own(MongoVersion::V6_0_27, true).await;
}

#[tokio::test]
async fn a_connector_begins_where_a_token_says() {
    // GIVEN ten documents, and the tokens of their events
    let mongo = mongo().await;
    let client = client(mongo).await;
    let db = "begins_at_token";
    let coll = client.database(db).collection::<Document>("a");
    client.database(db).create_collection("a").await.unwrap();
    let start = majority_point(&client).await;
    for number in 0..10 {
        coll.insert_one(doc! { "_id": number }).await.unwrap();
    }
    let history = History::read(&client, start, db).await;
    let mut events = client
        .database(db)
        .watch()
        .start_at_operation_time(Timestamp { time: start.t, increment: start.i + 1 })
        .await
        .unwrap();
    let mut tokens = Vec::new();
    while tokens.len() < 10 {
        if let Some(event) = events.next_if_any().await.unwrap() {
            let token = mongodb::bson::serialize_to_document(&event.id).unwrap();
            tokens.push(token.get_str("_data").unwrap().to_owned());
        }
    }
    let fourth = history.operations[3].0;
    let mark = ResumeToken::high_water_mark(fourth.t, fourth.i, TokenVersion::V1).data_hex();
    // WHEN a connector starts at one of them: behind an event; before the time of a mark
    for (token, first) in [(&tokens[3], 4), (&mark, 3)] {
        let source = format!("source.start = {token:?}\n") + &source(mongo, db);
        let installation = Installation::new(&(source + &file_sink()));
        let connector = installation.run().await;
        connector.done(0, history.end()).await;
        connector.kill().await;
        // THEN it publishes what comes behind
        let lanes = read_file(&installation.path("events.jsonl"));
        let ids: Vec<String> = lanes.events().map(|seen| seen.event["key"]["_id"].to_string()).collect();
        let expected: Vec<String> = (first..10).map(|id: i32| id.to_string()).collect();
        assert_eq!(ids, expected, "{token}");
    }
}
