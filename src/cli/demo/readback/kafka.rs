//! An ordinary Kafka consumer.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind};

const POLL: Duration = Duration::from_millis(100);

/// Subscribes to the demo's topics and prints what comes: topic, partition, offset, key, value.
pub(super) fn read(bootstrap: &str, stop: &CancellationToken) -> Result<u64, Error> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "demo")
        .set("auto.offset.reset", "earliest")
        // New topics should be seen at once.
        .set("topic.metadata.refresh.interval.ms", "300")
        .set("log_level", "0")
        .create()
        .map_err(failed)?;
    consumer.subscribe(&["^mongo\\.shop\\."]).map_err(failed)?;
    let mut records = 0;
    let mut quiet = 0;
    // What was acknowledged before `stop` is there: a few empty polls in a row mean that all of it was read.
    while !(stop.is_cancelled() && quiet >= 5) {
        match consumer.poll(POLL) {
            Some(Ok(message)) => {
                print(&message);
                records += 1;
                quiet = 0;
            }
            Some(Err(KafkaError::MessageConsumption(_))) | None => quiet += 1,
            Some(Err(error)) => return Err(failed(error)),
        }
    }
    Ok(records)
}

fn print(message: &BorrowedMessage<'_>) {
    let text = |bytes: Option<&[u8]>| {
        bytes.map_or_else(|| "null".into(), |bytes| String::from_utf8_lossy(bytes).into_owned())
    };
    println!(
        "{}[{}]@{} {} {}",
        message.topic(),
        message.partition(),
        message.offset(),
        text(message.key()),
        text(message.payload())
    );
}

fn failed(error: KafkaError) -> Error {
    Error::caused(ErrorKind::SinkUnavailable, "the demo's consumer failed", error)
}
