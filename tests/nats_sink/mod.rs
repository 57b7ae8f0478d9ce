//! The NATS sink and its checkpoint, against real servers.

mod auth;
mod behind;
mod checkpoint;
mod delivery;
mod faults;
mod manifests;
mod opening;
mod presets;

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
use mongo_observer::sink::nats::{Nats, Preset, Settings};
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
    let route = Arc::new(Route::new("mongo.shop.orders", Addressing::Lines));
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
        records.push(Record {
            route: Arc::clone(&route),
            to,
            header,
            key,
            value: Some(value),
            at: end,
            deletes: false,
            is_manifest: false,
        });
    }
    let end = Mark::Tail { at: end, term: Some(1) };
    RecordBatch {
        bytes: Bytes::from(bytes),
        records,
        end,
        ends_unit: true,
        wall_ms: None,
        counts: Counts::default(),
        source: "rs0/abc".into(),
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
        if message.subject.starts_with("mongo.shop.") {
            let header: Header =
                message.headers.as_ref().unwrap().get(Header::NAME).unwrap().as_str().parse().unwrap();
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
