//! An ordinary JetStream consumer.

use std::time::Duration;

use async_nats::jetstream::{self, consumer::pull};
use futures::StreamExt as _;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind};

const POLL: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(20);

/// Follows the demo's stream and prints what comes: stream sequence, subject, payload.
pub(super) async fn read(url: &str, stop: &CancellationToken) -> Result<u64, Error> {
    let client = async_nats::connect(url).await.map_err(failed)?;
    let context = jetstream::new(client);
    let Some(stream) = stream(&context, stop).await? else { return Ok(0) };
    let consumer = stream.create_consumer(pull::OrderedConfig::default()).await.map_err(failed)?;
    let mut messages = consumer.messages().await.map_err(failed)?;
    let mut records = 0;
    let mut quiet = 0;
    while !(stop.is_cancelled() && quiet >= 5) {
        match tokio::time::timeout(POLL, messages.next()).await {
            Ok(Some(message)) => {
                let message = message.map_err(failed)?;
                let sequence = message.info().map(|info| info.stream_sequence).unwrap_or_default();
                println!("{sequence} {} {}", message.subject, String::from_utf8_lossy(&message.payload));
                // The connector's own: where the stream begins, and what the collection is. Nothing was written for them.
                records += u64::from(!message.subject.starts_with("mongo._"));
                quiet = 0;
            }
            Ok(None) => break,
            Err(_) => quiet += 1,
        }
    }
    Ok(records)
}

/// The stream, as soon as the connector has made it.
async fn stream(
    context: &jetstream::Context,
    stop: &CancellationToken,
) -> Result<Option<jetstream::stream::Stream>, Error> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !stop.is_cancelled() {
        match context.get_stream("MONGO").await {
            Ok(stream) => return Ok(Some(stream)),
            Err(error) if tokio::time::Instant::now() > deadline => return Err(failed(error)),
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
    Ok(None)
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::caused(ErrorKind::SinkUnavailable, "the demo's consumer failed", error)
}
