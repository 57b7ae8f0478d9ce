//! NATS JetStream: one stream, one connector, every record exactly in its place.
//!
//! The stream itself is the checkpoint: each message carries its position in a header, and the last one tells where to go on.
//! `chain` keeps it whole. An acknowledgement means that the stream's replicas have the message; a server may flush it to disk
//! later, and after a crash of the machine the stream may end earlier: the connector then goes on from there.

mod ack;
mod behind;
mod chain;
pub(crate) mod connection;
mod errors;
mod manifests;
mod memory;
mod preset;
mod router;
mod settings;
pub(crate) mod stream;
mod window;

pub use preset::Preset;
pub(crate) use router::watermark_subject;
pub use settings::{Servers, Settings, Tls};

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use self::chain::{Chain, Start};
use self::connection::Connection;
use self::manifests::Manifests;
use self::memory::Memory;
use self::router::Subjects;
use self::stream::End;
use crate::checkpoint::nats::StreamEnd;
use crate::error::{Error, ErrorKind};
use crate::format::Header;
use crate::pipeline::{Checkpoint, OpenSink, Opened, OwnStore, SinkTail, Stored};

/// A NATS sink that can be opened, again and again.
#[derive(Debug)]
pub struct Nats {
    name: String,
    settings: Settings,
    memory: Arc<Memory>,
}

impl Nats {
    /// The sink of that name. Connects to nothing yet; fails only if the settings can't work.
    pub fn new(name: impl Into<String>, settings: Settings) -> Result<Self, Error> {
        let name = name.into();
        let named = |error: Error| Error::new(error.kind(), format!("sinks.{name}.{}", error.what()));
        settings.validate().map_err(named)?;
        Ok(Self { name, settings, memory: Arc::default() })
    }

    async fn open_stream(&self, stored: Option<&Stored>) -> Result<Opened, Error> {
        let mut connection = Connection::open(&self.name, &self.settings).await?;
        let stream = stream::find_or_create(&mut connection, &self.settings).await?;
        for weakness in preset::weaknesses(stream.cached_info(), &self.settings) {
            tracing::warn!(stream = self.settings.stream, "{weakness}");
        }
        behind::settle(&mut connection, &stream).await?;
        let end = stream::end(&mut connection, &stream, &self.settings.prefix).await?;
        let tail = self.tail(&end, stored)?;
        let message_bytes_max = message_bytes_max(&connection, stream.cached_info().config.max_message_size);
        let reader = Arc::new(stream);
        let manifests = Arc::new(Manifests::new(&reader, end.sequence));
        let told = self.settings.manifest.then(|| Arc::clone(&manifests));
        let router = Arc::new(Subjects::new(&self.settings, message_bytes_max, told)?);
        let chain = Chain::start(Start {
            connection,
            stream: self.settings.stream.clone(),
            sequence: end.sequence,
            before: before(stored, &tail).map(header),
            ack_timeout: self.settings.ack_timeout(),
            markers: self.settings.markers(),
            memory: Arc::clone(&self.memory),
            manifests,
            reader,
        });
        Ok(Opened { sink: Box::new(chain.await?), router, tail })
    }

    /// A stream that was emptied, or made anew while we wrote to it, tells no position; going on as at a first start would skip changes.
    fn tail(&self, end: &End, stored: Option<&Stored>) -> Result<SinkTail, Error> {
        let stream = &self.settings.stream;
        match (&end.tail, self.memory.acknowledged()) {
            (SinkTail::Empty, Some(upto)) => {
                tracing::warn!(stream, position = %upto.at, "the stream was emptied: going on where it was left");
                Ok(SinkTail::At(upto))
            }
            (SinkTail::Empty, None) if end.sequence > 0 && stored.is_none() => {
                let what = format!(
                    "the stream {stream} has held {} messages and holds none any more, so nothing tells where to go on",
                    end.sequence
                );
                Err(Error::new(ErrorKind::PositionLost, what))
            }
            (tail, _) => Ok(tail.clone()),
        }
    }

    async fn look(&self) -> Result<String, Error> {
        let mut connection = Connection::open(&self.name, &self.settings).await?;
        let stream = stream::find(&mut connection, &self.settings).await?;
        let server = format!("NATS {} at {}", connection.client.server_info().version, self.settings.servers);
        let name = &self.settings.stream;
        let Some(stream) = stream else {
            if self.settings.create_stream {
                return Ok(format!("{server}: the stream {name} does not exist and will be created"));
            }
            return Err(stream::missing(&self.settings));
        };
        let end = stream::end(&mut connection, &stream, &self.settings.prefix).await?;
        let messages = stream.cached_info().state.messages;
        let kind = preset::describe(&stream.cached_info().config, &self.settings);
        let tail = match end.tail {
            SinkTail::At(checkpoint) => format!("the last at {}", checkpoint.at),
            SinkTail::Cleared => "the position was cleared".to_owned(),
            SinkTail::Within(part) => format!("the last a part of the event at {}", part.at),
            SinkTail::Empty | SinkTail::Unknown => "no position".to_owned(),
        };
        let mut line = format!("{server}: the stream {name} ({kind}) holds {messages} messages, {tail}");
        for weakness in preset::weaknesses(stream.cached_info(), &self.settings) {
            line += "; but ";
            line += &weakness;
        }
        Ok(line)
    }
}

/// Where the chain goes on, if that is known here.
fn before<'a>(stored: Option<&'a Stored>, tail: &'a SinkTail) -> Option<&'a Checkpoint> {
    match (stored, tail) {
        (Some(Stored::Cleared), _) => None,
        (_, SinkTail::At(tail)) => Some(tail),
        (stored, _) => stored?.checkpoint(),
    }
}

/// What the header of a message says at that place.
fn header(Checkpoint { at, term, source }: &Checkpoint) -> String {
    Header { at: *at, term: *term, source: source.clone() }.to_string()
}

/// The largest message that both the server and the stream take.
fn message_bytes_max(connection: &Connection, stream_limit: i32) -> usize {
    let server_limit = connection.client.max_payload();
    match usize::try_from(stream_limit) {
        Ok(limit) if limit > 0 => limit.min(server_limit),
        _ => server_limit,
    }
}

impl OpenSink for Nats {
    fn open<'a>(&'a self, stored: Option<&'a Stored>) -> BoxFuture<'a, Result<Opened, Error>> {
        self.open_stream(stored).boxed()
    }

    fn own_store(&self, _pipeline: &str) -> Result<OwnStore, Error> {
        Ok(OwnStore::Tail(Box::new(StreamEnd::new(&self.name, self.settings.clone()))))
    }

    fn check(&self) -> BoxFuture<'_, Result<String, Error>> {
        self.look().boxed()
    }
}
