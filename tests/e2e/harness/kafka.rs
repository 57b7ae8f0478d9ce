//! What Kafka holds.

use std::collections::BTreeMap;

use mongo_observer::format::Header;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::{Lanes, PATIENCE, Seen};

/// All partitions of all topics of events under a prefix, a lane each, from their beginning to their end: what is committed.
pub(crate) async fn read_kafka(bootstrap: &str, prefix: &str) -> Lanes {
    let (bootstrap, prefix) = (bootstrap.to_owned(), prefix.to_owned());
    tokio::task::spawn_blocking(move || read(&bootstrap, &prefix)).await.unwrap()
}

fn read(bootstrap: &str, prefix: &str) -> Lanes {
    let consumer: BaseConsumer = config(bootstrap)
        .set("group.id", "test")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("fetch.wait.max.ms", "10")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let metadata = consumer.fetch_metadata(None, PATIENCE).unwrap();
    let own = ["_checkpoints", "_namespaces"].map(|name| format!("{prefix}.{name}"));
    let is_ours = |name: &str| name.starts_with(&format!("{prefix}.")) && own.iter().all(|own| own != name);
    let mut assignment = TopicPartitionList::new();
    // The end is told of a partition's number, not of its topic; nobody writes, so each tells it once.
    let mut left: BTreeMap<i32, usize> = BTreeMap::new();
    for topic in metadata.topics().iter().filter(|topic| is_ours(topic.name())) {
        for partition in topic.partitions() {
            assignment.add_partition_offset(topic.name(), partition.id(), Offset::Beginning).unwrap();
            *left.entry(partition.id()).or_default() += 1;
        }
    }
    consumer.assign(&assignment).unwrap();
    let mut lanes: BTreeMap<(String, i32), Vec<Seen>> = BTreeMap::new();
    while left.values().any(|topics| *topics > 0) {
        match consumer.poll(PATIENCE).expect("the end of every partition") {
            Ok(message) => {
                let lane = (message.topic().to_owned(), message.partition());
                lanes.entry(lane).or_default().push(seen(&message));
            }
            Err(KafkaError::PartitionEOF(number)) => *left.get_mut(&number).unwrap() -= 1,
            Err(KafkaError::MessageConsumption(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    Lanes(lanes.into_values().collect())
}

fn seen(message: &BorrowedMessage<'_>) -> Seen {
    let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
    let seen = Seen::of(message.payload().unwrap(), message.topic(), Some(key)).unwrap();
    let headers = message.headers().unwrap();
    assert_eq!(headers.get(0).key, Header::NAME);
    let part = headers.try_get(1).map(|part| {
        assert_eq!((headers.count(), part.key), (2, "part"));
        std::str::from_utf8(part.value.unwrap()).unwrap().parse().unwrap()
    });
    let header: Header = std::str::from_utf8(headers.get(0).value.unwrap()).unwrap().parse().unwrap();
    assert_eq!(header.at, seen.at, "header and value disagree");
    assert_eq!(seen.event["source"], header.source.as_str());
    Seen { part, ..seen }
}

/// How many records the first partition of a topic has, committed or not.
pub(crate) async fn sent_to(bootstrap: &str, topic: &str) -> i64 {
    let (mut config, topic) = (config(bootstrap), topic.to_owned());
    let look = move || {
        let consumer: BaseConsumer = config.set("isolation.level", "read_uncommitted").create().unwrap();
        consumer.fetch_watermarks(&topic, 0, PATIENCE).map_or(0, |(_, end)| end)
    };
    tokio::task::spawn_blocking(look).await.unwrap()
}

/// The names of the topics that begin so.
pub(crate) async fn topics(bootstrap: &str, prefix: &str) -> Vec<String> {
    let (config, prefix) = (config(bootstrap), prefix.to_owned());
    let list = move || {
        let consumer: BaseConsumer = config.create().unwrap();
        let metadata = consumer.fetch_metadata(None, PATIENCE).unwrap();
        let names = metadata.topics().iter().map(|topic| topic.name().to_owned());
        names.filter(|name| name.starts_with(&prefix)).collect()
    };
    tokio::task::spawn_blocking(list).await.unwrap()
}

/// Deletes topics.
pub(crate) async fn delete_topics(bootstrap: &str, topics: &[&str]) {
    let admin: AdminClient<DefaultClientContext> = config(bootstrap).create().unwrap();
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    for result in admin.delete_topics(topics, &options).await.unwrap() {
        result.unwrap();
    }
}

fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("log_level", "0");
    config
}
