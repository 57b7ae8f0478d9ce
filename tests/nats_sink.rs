//! The NATS sink and its checkpoint, against real servers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use async_nats::jetstream::{self, stream};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use mongo_observer::error::ErrorKind;
use mongo_observer::event::{Mark, Namespace, Position};
use mongo_observer::format::{Addressing, Header, Record, Route, To};
use mongo_observer::pipeline::{
    Checkpoint, Counts, OpenSink, Opened, OwnStore, RecordBatch, SinkTail, Stored,
};
use mongo_observer::servers::Nats as Server;
use mongo_observer::sink::nats::{Nats, Settings};
use tokio::sync::Semaphore;

const SOURCE: &str = "rs0/0123456789abcdef";

fn settings(server: &Server) -> Settings {
    Settings {
        servers: server.url().to_owned().try_into().unwrap(),
        ack_timeout_ms: 2_000,
        ..Settings::default()
    }
}

fn sink(settings: Settings) -> Nats {
    Nats::new("test", settings).unwrap()
}

async fn start() -> Server {
    Server::builder().start().await.unwrap()
}

/// A client of the test's own.
async fn spy(server: &Server) -> jetstream::Context {
    jetstream::new(async_nats::connect(server.url()).await.unwrap())
}

fn at(number: u32) -> Position {
    Position::of_entry(1_700_000_000, number)
}

fn checkpoint(number: u32) -> Checkpoint {
    Checkpoint { at: at(number), term: Some(1), source: SOURCE.to_owned() }
}

/// One record for each number, each with a value of that many bytes that begins with the number.
fn batch(numbers: impl IntoIterator<Item = u32>, value_bytes: usize) -> RecordBatch {
    let route = Arc::new(Route {
        name: "mongo.shop.orders".into(),
        addressing: Addressing::Lines,
        bytes_max: usize::MAX,
    });
    let mut bytes = Vec::new();
    let mut records = Vec::new();
    let mut end = at(1);
    for number in numbers {
        let mut append = |text: &dyn Fn(&mut Vec<u8>)| {
            let start = u32::try_from(bytes.len()).unwrap();
            text(&mut bytes);
            start..u32::try_from(bytes.len()).unwrap()
        };
        let header = append(&|out| Header::write(out, at(number), Some(1), SOURCE));
        let subject =
            append(&|out| out.extend_from_slice(format!("mongo.shop.orders.{}", number % 1000).as_bytes()));
        let value = append(&|out| out.extend_from_slice(format!("{number:0value_bytes$}").as_bytes()));
        let key = 0..0;
        end = at(number);
        let to = To::Subject(subject);
        records.push(Record { route: Arc::clone(&route), to, header, key, value: Some(value), at: end });
    }
    let end = Mark::Tail { at: end, term: Some(1) };
    RecordBatch {
        bytes: Bytes::from(bytes),
        records,
        end,
        ends_unit: true,
        wall_ms: None,
        counts: Counts::default(),
        hold: None,
    }
}

/// The numbers of all records in the stream, in its order. Fails if a header and a value disagree.
async fn stored(server: &Server) -> Vec<u32> {
    let stream = spy(server).await.get_stream("MONGO").await.unwrap();
    let last = stream.cached_info().state.last_sequence;
    if stream.cached_info().state.messages == 0 {
        return Vec::new();
    }
    let config = OrderedConfig { deliver_policy: DeliverPolicy::All, ..OrderedConfig::default() };
    let mut messages = stream.create_consumer(config).await.unwrap().messages().await.unwrap();
    let mut numbers = Vec::new();
    loop {
        let message = messages.next().await.unwrap().unwrap();
        let header: Header =
            message.headers.as_ref().unwrap().get(Header::NAME).unwrap().as_str().parse().unwrap();
        if message.subject.starts_with("mongo.shop.") {
            let number: u32 = std::str::from_utf8(&message.payload).unwrap().parse().unwrap();
            assert_eq!(header.at, at(number));
            assert_eq!(message.subject.as_str(), format!("mongo.shop.orders.{}", number % 1000));
            numbers.push(number);
        }
        if message.info().unwrap().stream_sequence == last {
            return numbers;
        }
    }
}

/// Stops the server, and returns when it stands still.
async fn pause(server: &Server) {
    server.pause(0).unwrap();
    let stat = format!("/proc/{}/stat", server.pid(0).unwrap());
    while !std::fs::read_to_string(&stat).unwrap().contains(") T ") {
        tokio::task::yield_now().await;
    }
}

async fn open(sink: &Nats) -> Opened {
    sink.open(None).await.unwrap()
}

async fn deliver(opened: &mut Opened, batch: RecordBatch) -> Result<(), ErrorKind> {
    opened.sink.send(batch).await.unwrap().map_err(|error| error.kind())
}

async fn refused(sink: &Nats) -> (ErrorKind, String) {
    let error = sink.open(None).await.expect_err("opens");
    (error.kind(), error.to_string())
}

#[tokio::test]
async fn records_arrive_in_order_and_the_tail_tells_where_to_go_on() {
    let server = start().await;
    let sink = sink(settings(&server));
    let mut opened = open(&sink).await;
    assert_eq!(opened.tail, SinkTail::Empty);

    let deliveries: Vec<_> =
        (0..40).map(|round| opened.sink.send(batch(round * 50 + 1..=round * 50 + 50, 200))).collect();
    for delivery in deliveries {
        delivery.await.unwrap().unwrap();
    }
    assert_eq!(stored(&server).await, (1..=2000).collect::<Vec<_>>());

    drop(opened);
    let mut opened = open(&sink).await;
    assert_eq!(opened.tail, SinkTail::At(checkpoint(2000)));
    deliver(&mut opened, batch([2001], 1)).await.unwrap();
    assert_eq!(stored(&server).await.len(), 2001);
    let line = sink.check().await.unwrap();
    assert!(line.contains("holds 2001 messages, the last at 1700000000-0000002001-0000000000"), "{line}");
}

#[tokio::test]
async fn a_batch_larger_than_the_window_passes_and_gives_its_budget_back() {
    let server = start().await;
    let mut opened = open(&sink(settings(&server))).await;
    let budget = Arc::new(Semaphore::new(3));
    let hold = || Some(Arc::clone(&budget).try_acquire_owned().unwrap());

    let large = opened.sink.send(RecordBatch { hold: hold(), ..batch(1..=20_000, 20) });
    let empty = opened.sink.send(RecordBatch { hold: hold(), ..batch([], 0) });
    let small = opened.sink.send(RecordBatch { hold: hold(), ..batch([20_001], 20) });
    assert_eq!(budget.available_permits(), 0);
    small.await.unwrap().unwrap();
    // Deliveries resolve in order: the others have.
    large.now_or_never().expect("before the last").unwrap().unwrap();
    empty.now_or_never().expect("before the last").unwrap().unwrap();
    assert_eq!(budget.available_permits(), 3);
    assert_eq!(stored(&server).await, (1..=20_001).collect::<Vec<_>>());

    deliver(&mut opened, batch([], 0)).await.unwrap();
}

/// Sends until a delivery fails; returns the error of the oldest that failed.
async fn send_until_failure(opened: &mut Opened, from: u32, count: u32) -> Option<ErrorKind> {
    let numbers: Vec<u32> = (from..from + count).collect();
    let deliveries: Vec<_> =
        numbers.chunks(50).map(|chunk| opened.sink.send(batch(chunk.iter().copied(), 3000))).collect();
    for delivery in deliveries {
        if let Err(error) = delivery.await.unwrap() {
            return Some(error.kind());
        }
    }
    None
}

#[tokio::test]
async fn a_server_killed_under_load_loses_repeats_and_reorders_nothing() {
    const LAST: u32 = 30_000;
    let server = start().await;
    let sink = sink(settings(&server));
    let disturb = async {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            pause(&server).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
            server.kill(0).await;
            server.restart(0).await.unwrap();
        }
    };
    let write = async {
        let mut failures = 0;
        loop {
            let Ok(mut opened) = sink.open(None).await else { continue };
            let next = match &opened.tail {
                SinkTail::Empty => 1,
                SinkTail::At(checkpoint) => checkpoint.at.i + 1,
                other => panic!("{other:?}"),
            };
            if next > LAST {
                return failures;
            }
            match send_until_failure(&mut opened, next, LAST + 1 - next).await {
                Some(kind) => assert_eq!(kind, ErrorKind::SinkUnavailable),
                None => return failures,
            }
            failures += 1;
        }
    };
    let ((), failures) = tokio::join!(disturb, write);
    assert!(failures > 0, "the server was killed too late");
    assert_eq!(stored(&server).await, (1..=LAST).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_silent_server_fails_the_delivery_and_all_that_follow() {
    let server = start().await;
    let sink = sink(Settings { ack_timeout_ms: 300, ..settings(&server) });
    let mut opened = open(&sink).await;
    deliver(&mut opened, batch([1], 1)).await.unwrap();
    pause(&server).await;
    let begin = Instant::now();
    let first = opened.sink.send(batch([2], 1));
    let second = opened.sink.send(batch([], 0));
    let error = first.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SinkUnavailable);
    assert!(error.what().contains("acknowledged nothing for 300ms"), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    assert!(second.await.unwrap().is_err());
    server.resume(0).unwrap();
    assert_eq!(deliver(&mut opened, batch([3], 1)).await, Err(ErrorKind::SinkUnavailable));

    let opened = open(&sink).await;
    let SinkTail::At(tail) = opened.tail else { panic!("{:?}", opened.tail) };
    // The record may have come through, only the answer did not.
    assert!([at(1), at(2)].contains(&tail.at), "{tail:?}");
}

#[tokio::test]
async fn a_broken_connection_fails_the_delivery_at_once() {
    let server = start().await;
    let sink = sink(Settings { ack_timeout_ms: 60_000, ..settings(&server) });
    let mut opened = open(&sink).await;
    pause(&server).await;
    let delivery = opened.sink.send(batch([1], 1));
    let begin = Instant::now();
    server.kill(0).await;
    assert_eq!(delivery.await.unwrap().unwrap_err().kind(), ErrorKind::SinkUnavailable);
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());

    // What the old client had in its queue must not come through when the server is back.
    server.restart(0).await.unwrap();
    assert_eq!(deliver(&mut opened, batch([2], 1)).await, Err(ErrorKind::SinkUnavailable));
    assert_eq!(stored(&server).await, Vec::<u32>::new());
}

#[tokio::test]
async fn of_two_connectors_one_is_told_that_it_is_the_second() {
    let server = start().await;
    let sinks = [sink(settings(&server)), sink(settings(&server))];
    let mut opened = [open(&sinks[0]).await, open(&sinks[1]).await];
    let mut fenced = None;
    for number in 1..100 {
        let which = number as usize % 2;
        match opened[which].sink.send(batch([number], 1)).await.unwrap() {
            Ok(()) => continue,
            Err(error) if error.kind() == ErrorKind::Fenced => {
                fenced = Some(error.to_string());
                break;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::SinkUnavailable),
        }
        opened[which] = open(&sinks[which]).await;
    }
    let words = fenced.expect("nobody was fenced");
    assert!(
        words.contains("another program writes to the stream MONGO; one stream, one connector"),
        "{words}"
    );
    let stored = stored(&server).await;
    assert!(stored.is_sorted_by(|a, b| a < b), "{stored:?}");
}

#[tokio::test]
async fn a_foreign_program_is_named_by_its_subject() {
    let server = start().await;
    let sink = sink(settings(&server));
    let mut opened = open(&sink).await;
    deliver(&mut opened, batch([1], 1)).await.unwrap();
    spy(&server).await.publish("mongo.somebody.else", "x".into()).await.unwrap().await.unwrap();
    assert_eq!(deliver(&mut opened, batch([2], 1)).await, Err(ErrorKind::SinkUnavailable));
    let (kind, words) = refused(&sink).await;
    assert_eq!(kind, ErrorKind::Refused);
    assert!(words.contains("mongo.somebody.else") && words.contains("one stream, one connector"), "{words}");

    // The way out: the operator says where to go on.
    let OwnStore::Tail(mut store) = sink.own_store("test").unwrap() else { panic!("not the tail") };
    assert_eq!(store.peek().await.unwrap_err().kind(), ErrorKind::Refused);
    store.save(&Stored::Checkpoint(checkpoint(1))).await.unwrap();
    assert_eq!(open(&sink).await.tail, SinkTail::At(checkpoint(1)));
}

#[tokio::test]
async fn where_nobody_answers_opening_fails_within_seconds() {
    let server = start().await;
    let settings = settings(&server);
    pause(&server).await;
    let begin = Instant::now();
    let (kind, words) = refused(&sink(settings.clone())).await;
    assert_eq!(kind, ErrorKind::SinkUnavailable);
    assert!(words.contains("no NATS server answers at 127.0.0.1:"), "{words}");
    server.kill(0).await;
    assert_eq!(refused(&sink(settings)).await.0, ErrorKind::SinkUnavailable);
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_missing_stream_is_not_created_against_the_settings() {
    let server = start().await;
    let sink = sink(Settings { create_stream: false, ..settings(&server) });
    let (kind, words) = refused(&sink).await;
    assert_eq!(kind, ErrorKind::Refused);
    assert!(
        words.contains("no stream MONGO") && words.contains("create it with the subjects mongo.>"),
        "{words}"
    );
    assert!(sink.check().await.unwrap().contains("does not exist and `create_stream` is off"));
}

#[tokio::test]
async fn a_stream_that_can_not_hold_the_records_is_refused() {
    let server = start().await;
    let context = spy(&server).await;
    let config =
        || stream::Config { name: "MONGO".into(), subjects: vec!["mongo.>".into()], ..Default::default() };
    let cases = [
        (
            stream::Config { subjects: vec!["mongo.shop.*".into()], ..config() },
            "takes mongo.shop.*, but not mongo.>",
        ),
        (stream::Config { no_ack: true, ..config() }, "not to acknowledge"),
        (
            stream::Config { retention: stream::RetentionPolicy::WorkQueue, ..config() },
            "retention must be `limits`",
        ),
    ];
    for (config, why) in cases {
        context.create_stream(config).await.unwrap();
        let (kind, words) = refused(&sink(settings(&server))).await;
        assert_eq!(kind, ErrorKind::Refused);
        assert!(words.contains(why), "{words}");
        context.delete_stream("MONGO").await.unwrap();
    }
    context.create_stream(stream::Config { name: "OTHER".into(), ..config() }).await.unwrap();
    let (kind, words) = refused(&sink(settings(&server))).await;
    assert_eq!(kind, ErrorKind::Refused, "{words}");
    assert!(words.contains("overlap"), "{words}");
}

#[tokio::test]
async fn the_created_stream_is_what_the_settings_say() {
    let server = start().await;
    let settings =
        Settings { max_age_seconds: 3600, max_bytes: 1 << 20, prefix: "a.b".into(), ..settings(&server) };
    open(&sink(settings)).await;
    let stream = spy(&server).await.get_stream("MONGO").await.unwrap();
    let config = &stream.cached_info().config;
    assert_eq!(config.subjects, ["a.b.>"]);
    assert_eq!((config.max_age, config.max_bytes), (Duration::from_secs(3600), 1 << 20));
    assert_eq!((config.storage, config.num_replicas), (stream::StorageType::File, 1));
}

#[tokio::test]
async fn a_record_above_the_limit_is_refused_and_the_router_knows_the_limit() {
    let server = Server::builder().max_payload(4096).start().await.unwrap();
    let sink = sink(settings(&server));
    let mut opened = open(&sink).await;
    let route = opened.router.route(Namespace::split("shop.orders")).await.unwrap();
    let header = Header { at: at(1), term: Some(1), source: SOURCE.to_owned() }.to_string();
    deliver(&mut opened, batch([1], route.bytes_max - header.len())).await.unwrap();
    assert_eq!(deliver(&mut opened, batch([2], 4096)).await, Err(ErrorKind::Refused));
}

#[tokio::test]
async fn credentials_and_rights_are_checked_within_seconds() {
    let rights = r#"accounts { A { jetstream: enabled, users: [
        { user: full, password: right },
        { user: mute, password: right, permissions { publish { allow: ["$JS.API.>"] } } },
        { user: deaf, password: right, permissions { publish { allow: ["mongo.>"] } } },
    ] }, B { users: [ { user: poor, password: right } ] } }"#;
    let server = Server::builder().config(rights).start().await.unwrap();
    let user = |user: &str, password: &str| {
        let (user, password) = (Some(user.to_owned()), Some(password.into()));
        sink(Settings { user, password, ..settings(&server) })
    };
    let begin = Instant::now();
    for sink in [user("full", "wrong"), sink(settings(&server))] {
        let (kind, words) = refused(&sink).await;
        assert_eq!(kind, ErrorKind::Unauthorized, "{words}");
        assert!(!words.contains("wrong"), "{words}");
    }
    open(&user("full", "right")).await;

    let mut opened = open(&user("mute", "right")).await;
    let error = opened.sink.send(batch([1], 1)).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(error.what().contains("Permissions Violation for Publish to \"mongo.shop.orders.1\""), "{error}");
    assert_eq!(refused(&user("deaf", "right")).await.0, ErrorKind::Unauthorized);
    let (kind, words) = refused(&user("poor", "right")).await;
    assert_eq!(kind, ErrorKind::Refused, "{words}");
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_token_may_come_from_a_file() {
    let server = Server::builder().config("authorization { token: sesame }").start().await.unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "sesame\n").unwrap();
    open(&sink(Settings { token_file: Some(file.path().into()), ..settings(&server) })).await;
    let wrong = sink(Settings { token: Some("open".into()), ..settings(&server) });
    assert_eq!(refused(&wrong).await.0, ErrorKind::Unauthorized);
}

#[tokio::test]
async fn the_operator_sees_sets_and_clears_the_position() {
    let server = start().await;
    let sink = sink(settings(&server));
    let OwnStore::Tail(mut store) = sink.own_store("test").unwrap() else { panic!("not the tail") };
    assert_eq!(store.peek().await.unwrap(), None);
    let mut opened = open(&sink).await;
    deliver(&mut opened, batch(1..=3, 1)).await.unwrap();
    assert_eq!(store.take().await.unwrap(), Some(Stored::Checkpoint(checkpoint(3))));

    store.save(&Stored::Checkpoint(checkpoint(2))).await.unwrap();
    assert_eq!(store.peek().await.unwrap(), Some(Stored::Checkpoint(checkpoint(2))));
    // The connector that runs meanwhile sees it.
    assert_eq!(deliver(&mut opened, batch([4], 1)).await, Err(ErrorKind::SinkUnavailable));
    let mut opened = open(&sink).await;
    assert_eq!(opened.tail, SinkTail::At(checkpoint(2)));
    deliver(&mut opened, batch([3], 1)).await.unwrap();

    store.save(&Stored::Cleared).await.unwrap();
    assert_eq!(store.peek().await.unwrap(), Some(Stored::Cleared));
    let mut opened = open(&sink).await;
    assert_eq!(opened.tail, SinkTail::Cleared);
    deliver(&mut opened, batch([9], 1)).await.unwrap();
    assert_eq!(open(&sink).await.tail, SinkTail::At(checkpoint(9)));
    let last = spy(&server).await.get_stream("MONGO").await.unwrap();
    let marker = last.get_last_raw_message_by_subject("mongo._watermark").await.unwrap();
    assert_eq!(marker.payload, r#"{"op":"watermark","position":null}"#);
}

#[tokio::test]
async fn deleted_messages_leave_the_position_before_them() {
    let server = start().await;
    let sink = sink(settings(&server));
    let mut opened = open(&sink).await;
    deliver(&mut opened, batch(1..=500, 10)).await.unwrap();
    let stream = spy(&server).await.get_stream("MONGO").await.unwrap();
    for sequence in 100..=500 {
        stream.delete_message(sequence).await.unwrap();
    }
    let mut opened = open(&sink).await;
    assert_eq!(opened.tail, SinkTail::At(checkpoint(99)));
    deliver(&mut opened, batch(100..=110, 10)).await.unwrap();
    assert_eq!(stored(&server).await, (1..=110).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stream_emptied_while_we_write_is_continued() {
    let server = start().await;
    let writer = sink(settings(&server));
    let mut opened = open(&writer).await;
    deliver(&mut opened, batch(1..=10, 10)).await.unwrap();
    spy(&server).await.get_stream("MONGO").await.unwrap().purge().await.unwrap();
    // Numbers never fall, so the chain goes on.
    deliver(&mut opened, batch([11], 10)).await.unwrap();
    spy(&server).await.get_stream("MONGO").await.unwrap().purge().await.unwrap();
    assert_eq!(open(&sink(settings(&server))).await.tail, SinkTail::Empty);
    let mut opened = open(&writer).await;
    assert_eq!(opened.tail, SinkTail::At(checkpoint(11)));
    deliver(&mut opened, batch([12], 10)).await.unwrap();

    spy(&server).await.delete_stream("MONGO").await.unwrap();
    assert_eq!(deliver(&mut opened, batch([13], 10)).await, Err(ErrorKind::SinkUnavailable));
    let mut opened = open(&writer).await;
    assert_eq!(opened.tail, SinkTail::At(checkpoint(12)));
    deliver(&mut opened, batch([13], 10)).await.unwrap();
    assert_eq!(stored(&server).await, [13]);
}
