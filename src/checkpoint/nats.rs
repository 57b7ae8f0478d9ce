//! The end of a NATS stream, as a checkpoint.
//!
//! The messages of a stream are its checkpoint, so nothing is stored while the connector runs. This store serves the operator: it
//! shows the position of the last message, and moves it by publishing a message that says nothing but a position.

use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::error::{Error, ErrorKind};
use crate::format::Header;
use crate::pipeline::{CheckpointStore, SinkTail, Stored};
use crate::sink::nats::connection::Connection;
use crate::sink::nats::{Settings, stream, watermark_subject};

/// The last message of a stream.
#[derive(Debug)]
pub struct StreamEnd {
    name: String,
    settings: Settings,
}

impl StreamEnd {
    /// The end of the stream that the sink of that name writes. Connects to nothing yet.
    pub fn new(name: &str, settings: Settings) -> Self {
        Self { name: name.to_owned(), settings }
    }

    async fn read(&self) -> Result<Option<Stored>, Error> {
        let mut connection = Connection::open(&self.name, &self.settings).await?;
        let Some(stream) = stream::find(&mut connection, &self.settings).await? else { return Ok(None) };
        Ok(match stream::end(&mut connection, &stream, &self.settings.prefix).await?.tail {
            SinkTail::At(checkpoint) => Some(Stored::Checkpoint(checkpoint)),
            SinkTail::Cleared => Some(Stored::Cleared),
            SinkTail::Empty | SinkTail::Unknown | SinkTail::Within(_) => None,
        })
    }

    /// Publishes behind the stream's last message, whatever it says: this is also the way out where it says something wrong.
    async fn write(&self, stored: &Stored) -> Result<(), Error> {
        let mut connection = Connection::open(&self.name, &self.settings).await?;
        let stream = stream::find_or_create(&mut connection, &self.settings).await?;
        let (header, value) = match stored {
            Stored::Checkpoint(at) => {
                let header = Header { at: at.at, term: at.term, source: at.source.clone() };
                (header.to_string(), serde_json::json!({ "op": "watermark", "position": at.at }))
            }
            Stored::Cleared => {
                (stream::CLEARED.to_owned(), serde_json::json!({ "op": "watermark", "position": null }))
            }
        };
        let message = PublishMessage::build()
            .expected_last_sequence(stream.cached_info().state.last_sequence)
            .header(Header::NAME, header)
            .header(stream::MOVED, "yes")
            .payload(value.to_string().into());
        let subject = watermark_subject(&self.settings.prefix);
        let jetstream = connection.jetstream.clone();
        let publish = async { jetstream.send_publish(subject, message).await?.await };
        connection.answer(publish).await?.map(|_ack| ()).map_err(|error| self.refused(error))
    }

    fn refused(&self, error: async_nats::jetstream::context::PublishError) -> Error {
        let stream = &self.settings.stream;
        match error.kind() {
            PublishErrorKind::WrongLastSequence => {
                let what = format!("the connector still writes to the stream {stream}: stop it first");
                Error::new(ErrorKind::Fenced, what)
            }
            _ => Error::caused(
                ErrorKind::StoreUnavailable,
                format!("can't write to the stream {stream}"),
                error,
            ),
        }
    }
}

impl CheckpointStore for StreamEnd {
    /// Reads only: the stream itself refuses a second writer.
    fn take(&mut self) -> BoxFuture<'_, Result<Option<Stored>, Error>> {
        self.read().boxed()
    }

    fn save<'a>(&'a mut self, stored: &'a Stored) -> BoxFuture<'a, Result<(), Error>> {
        self.write(stored).boxed()
    }

    fn peek(&mut self) -> BoxFuture<'_, Result<Option<Stored>, Error>> {
        self.read().boxed()
    }
}
