//! What can be configured, and what can't because it would break a promise.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use serde::{Deserialize, Deserializer, Serialize};

use super::progress::Limits;
use crate::error::{Error, ErrorKind};
use crate::event::ImageSettings;
use crate::format::{Format, Template};
use crate::kafka::Cluster;

/// Kafka's own word for "as the broker is configured".
const BROKER_DEFAULT: i32 = -1;

/// The queue holds what the budget lets through, encoded: JSON takes up to three times the room of BSON, small records more. Bounded in
/// bytes by this factor over the budget, and by no less than the largest single record.
const QUEUE_PER_BUDGET: usize = 8;

/// The largest record that the client accepts: a document of 16 MiB as canonical JSON, with room. The limit of the topic decides.
const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// More records than a budget of 64 MiB can hold, as each counts for 64 bytes at least.
const QUEUE_RECORDS_MAX: &str = "1000000";

/// What librdkafka puts into one request for a partition, in bytes: its own default, below the default limit of topics.
const BATCH_BYTES: usize = 1_000_000;

/// librdkafka's default of `transaction.timeout.ms`.
const TRANSACTION_TIMEOUT_MS: u64 = 60_000;

/// What a producer must be for the promise of delivery to hold, and what suits this one. Settings of the user replace the second kind.
const PRODUCER: &[(&str, &str)] = &[
    ("enable.idempotence", "true"),
    ("acks", "all"),
    // A record behind a refused one must not be stored: consumers that drop repeats would lose the refused one.
    ("enable.gapless.guarantee", "true"),
    // One request at a time. A partition that knows nothing of a producer yet takes whatever sequence number comes first: if the first
    // request fails, as it may while a new topic's leader starts, and the second one is stored, librdkafka takes the first one for
    // stored, too. Seen on Kafka 4.3: the first records of a new topic were confirmed, and were not there.
    ("max.in.flight.requests.per.connection", "1"),
    // Never give a record up: what is behind it would be stored.
    ("message.timeout.ms", "0"),
    // As long as it takes to hand a full batch over: see `lanes`. More adds latency and, measured, no throughput.
    ("linger.ms", "1"),
    ("batch.num.messages", "10000"),
    ("queue.buffering.max.messages", QUEUE_RECORDS_MAX),
];

/// What every client of ours wants.
const CLIENT: &[(&str, &str)] = &[
    ("client.id", "mongo-observer"),
    ("socket.keepalive.enable", "true"),
    ("log.connection.close", "false"),
    ("statistics.interval.ms", "0"),
    // Looking a topic up must not create it.
    ("allow.auto.create.topics", "false"),
];

/// The settings of a Kafka sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Brokers to begin with, `host:port`, separated by commas. The others are found through them.
    pub bootstrap_servers: String,
    /// What the names of topics begin with.
    pub prefix: String,
    /// The topic of a namespace. Without `{coll}` or `{db}`, namespaces share topics.
    pub topic: String,
    /// How events are written.
    pub format: Format,
    /// Whether the `mongodb` formats have what change streams show with `showExpandedEvents`.
    #[serde(deserialize_with = "loose")]
    pub expanded_events: bool,
    /// Which images events have.
    pub images: ImageSettings,
    /// Whether topics that are missing are created. Off: a missing topic stops the connector.
    #[serde(deserialize_with = "loose")]
    pub create_topics: bool,
    /// Partitions of the topics that are created; 0 or -1 for the brokers' default. Later changes of a topic move keys.
    #[serde(deserialize_with = "loose")]
    pub partitions: i32,
    /// Replicas of the topics that are created, the checkpoints' among them; 0 or -1 for the brokers' default.
    #[serde(deserialize_with = "loose")]
    pub replication_factor: i32,
    /// How often a record may come: with `exactly_once`, records and checkpoint are in one transaction.
    pub delivery: DeliveryMode,
    /// A transaction is committed when it is that old: consumers that read what is committed see records that much later.
    #[serde(deserialize_with = "loose")]
    pub transaction_interval_ms: u64,
    /// And when its records take that many bytes.
    #[serde(deserialize_with = "loose")]
    pub transaction_bytes: usize,
    /// A MongoDB transaction with more bytes is spread over several transactions, and marked.
    #[serde(deserialize_with = "loose")]
    pub transaction_max_bytes: usize,
    /// Settings of librdkafka, passed on as they are: TLS, SASL, compression and everything else. As environment variables can hold no
    /// dots, `sasl_password` stands for `sasl.password`.
    pub librdkafka: BTreeMap<String, Property>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            bootstrap_servers: "127.0.0.1:9092".to_owned(),
            prefix: "mongo".to_owned(),
            // As MongoDB's own connector and Debezium name them.
            topic: "{prefix}.{db}.{coll}".to_owned(),
            format: Format::default(),
            expanded_events: false,
            images: ImageSettings::default(),
            // Users of the peers are used to it: there Connect or the brokers do it.
            create_topics: true,
            partitions: BROKER_DEFAULT,
            replication_factor: BROKER_DEFAULT,
            delivery: DeliveryMode::AtLeastOnce,
            transaction_interval_ms: 100,
            transaction_bytes: 16 << 20,
            transaction_max_bytes: 128 << 20,
            librdkafka: BTreeMap::new(),
        }
    }
}

/// How often a record may come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryMode {
    /// Again after a failure.
    #[default]
    AtLeastOnce,
    /// Once, to consumers that read what is committed.
    ExactlyOnce,
}

/// A value of librdkafka's; may be a secret, so its debug form does not show it.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Property(String);

impl Property {
    /// A value, as librdkafka reads it.
    pub fn new(value: impl fmt::Display) -> Self {
        Self(value.to_string())
    }
}

impl fmt::Debug for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl<'de> Deserialize<'de> for Property {
    /// From a text, a number or a truth value.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a string, a number, true or false")]
        enum Scalar {
            Text(String),
            Whole(i64),
            Number(f64),
            Truth(bool),
        }
        Ok(match Scalar::deserialize(deserializer)? {
            Scalar::Text(text) => Self(text),
            Scalar::Whole(number) => Self::new(number),
            Scalar::Number(number) => Self::new(number),
            Scalar::Truth(truth) => Self::new(truth),
        })
    }
}

/// A number or truth value, also as the text that an environment variable holds.
fn loose<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr + Deserialize<'de>,
{
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a whole number, or true or false")]
    enum Loose<T> {
        Value(T),
        Text(String),
    }
    match Loose::deserialize(deserializer)? {
        Loose::Value(value) => Ok(value),
        Loose::Text(text) => text.trim().parse().map_err(|_| {
            serde::de::Error::custom(format!("`{text}` is neither a whole number, nor true or false"))
        }),
    }
}

impl Settings {
    /// Checks everything that can be checked without a connection, as `sinks.NAME`. Errors name the key.
    pub fn validate(&self, name: &str) -> Result<(), Error> {
        self.cluster(name, 0).map(|_| ())
    }

    /// The cluster that these settings lead to, for a pipeline whose budget is that many bytes.
    pub(super) fn cluster(&self, name: &str, budget_bytes: usize) -> Result<Cluster, Error> {
        let refuse =
            |key: &str, why: &str| Error::new(ErrorKind::Config, format!("sinks.{name}.{key}: {why}"));
        if self.bootstrap_servers.trim().is_empty() {
            return Err(refuse("bootstrap_servers", "name at least one broker, such as 127.0.0.1:9092"));
        }
        self.template().map_err(|why| refuse("topic", &why))?;
        if self.partitions < BROKER_DEFAULT {
            return Err(refuse("partitions", "use a positive number, or -1 for the brokers' default"));
        }
        if self.replication_factor < BROKER_DEFAULT {
            return Err(refuse(
                "replication_factor",
                "use a positive number, or -1 for the brokers' default",
            ));
        }
        let queue_kbytes = budget_bytes.saturating_mul(QUEUE_PER_BUDGET).max(self.record_bytes_max()) / 1024;
        for (key, property) in &self.librdkafka {
            let key = dotted(key);
            super::rules::check(&key, &property.0, queue_kbytes)
                .map_err(|why| refuse(&format!("librdkafka.\"{key}\""), &why))?;
        }
        let config = self.client_config(queue_kbytes);
        // librdkafka itself knows which keys there are, and which values.
        config.create_native_config().map_err(|error| match error {
            KafkaError::ClientConfig(_, _, key, _) if self.names(&key) => refuse(
                &format!("librdkafka.\"{key}\""),
                "librdkafka knows no such setting, or no such value of it",
            ),
            other => crate::kafka::config_error(format_args!("sinks.{name}"), &other),
        })?;
        Ok(Cluster::new(config))
    }

    /// Whether the checkpoint can be kept nowhere else.
    pub fn keeps_its_checkpoint(&self) -> bool {
        self.delivery == DeliveryMode::ExactlyOnce
    }

    /// When transactions end.
    pub(super) fn transaction_limits(&self) -> Limits {
        Limits {
            interval: Duration::from_millis(self.transaction_interval_ms),
            bytes: self.transaction_bytes,
            unit_bytes: self.transaction_max_bytes,
            timeout: Duration::from_millis(
                self.number("transaction.timeout.ms").unwrap_or(TRANSACTION_TIMEOUT_MS),
            ),
        }
    }

    /// The template of topics, or why it is none.
    pub(super) fn template(&self) -> Result<Template, String> {
        let template: Template = self.topic.parse().map_err(|error| format!("{error}"))?;
        template.check_topic(&self.prefix).map_err(|error| error.to_string())?;
        Ok(template)
    }

    /// The topic of the checkpoints.
    pub(super) fn checkpoint_topic(&self) -> String {
        format!("{}._checkpoints", self.prefix)
    }

    /// The topics that hold no events.
    pub(super) fn own_topics(&self) -> [String; 2] {
        [self.checkpoint_topic(), format!("{}._namespaces", self.prefix)]
    }

    /// The topic of what can't become an event.
    pub(super) fn dead_letter_topic(&self) -> String {
        Template::dead_letters(&self.prefix)
    }

    /// How many bytes librdkafka puts into one batch.
    pub(super) fn batch_bytes(&self) -> usize {
        self.number("batch.size").unwrap_or(BATCH_BYTES)
    }

    /// The largest record that the client sends.
    pub(super) fn record_bytes_max(&self) -> usize {
        self.number("message.max.bytes").unwrap_or(RECORD_BYTES_MAX)
    }

    fn number<N: FromStr>(&self, key: &str) -> Option<N> {
        self.librdkafka.iter().find(|(given, _)| dotted(given) == key)?.1.0.trim().parse().ok()
    }

    fn names(&self, key: &str) -> bool {
        self.librdkafka.keys().any(|given| dotted(given) == key)
    }

    fn client_config(&self, queue_kbytes: usize) -> ClientConfig {
        let mut config = ClientConfig::new();
        // Debug lines come only where `debug` asks for them; which lines are shown is for `tracing` to say.
        config.set_log_level(RDKafkaLogLevel::Debug);
        for (key, value) in CLIENT.iter().chain(PRODUCER) {
            config.set(*key, *value);
        }
        config.set("batch.size", BATCH_BYTES.to_string());
        config.set("message.max.bytes", RECORD_BYTES_MAX.to_string());
        config.set("queue.buffering.max.kbytes", queue_kbytes.to_string());
        for (key, property) in &self.librdkafka {
            config.set(dotted(key), &property.0);
        }
        config.set("bootstrap.servers", self.bootstrap_servers.trim());
        config
    }
}

/// `sasl_password` as `sasl.password`: the names of environment variables hold no dots.
fn dotted(key: &str) -> String {
    if key.contains('.') { key.to_owned() } else { key.replace('_', ".") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Property, Settings};
    use crate::error::ErrorKind;

    fn with(key: &str, value: &str) -> Settings {
        Settings { librdkafka: [(key.to_owned(), Property::new(value))].into(), ..Settings::default() }
    }

    #[test]
    fn what_breaks_a_guarantee_is_refused_by_name_and_with_a_reason() {
        for (key, value) in [
            ("acks", "1"),
            ("request.required.acks", "0"),
            ("enable.idempotence", "false"),
            ("enable.gapless.guarantee", "false"),
            ("max.in.flight", "2"),
            ("max_in_flight_requests_per_connection", "5"),
            ("message.timeout.ms", "300000"),
            ("delivery.timeout.ms", "1"),
            ("retries", "3"),
            ("delivery.report.only.error", "true"),
            ("queue.buffering.max.kbytes", "1024"),
            ("queue.buffering.max.messages", "10"),
            ("transactional.id", "x"),
            ("bootstrap.servers", "x:1"),
            ("allow.auto.create.topics", "true"),
        ] {
            let error = with(key, value).validate("events").expect_err(key);
            assert_eq!(error.kind(), ErrorKind::Config);
            let named = format!("sinks.events.librdkafka.\"{}\": ", key.replace('_', "."));
            assert!(error.what().starts_with(&named), "{error}");
        }
    }

    #[test]
    fn what_keeps_them_passes() {
        for (key, value) in [
            ("acks", "-1"),
            ("enable.idempotence", "TRUE"),
            ("max.in.flight", "1"),
            ("compression.type", "lz4"),
            ("queue.buffering.max.messages", "0"),
            ("security_protocol", "sasl_ssl"),
            ("sasl_password", "007"),
        ] {
            with(key, value).validate("events").expect(key);
        }
    }

    #[test]
    fn keys_and_values_that_librdkafka_does_not_know_are_named() {
        for (key, value) in [("no.such.key", "1"), ("linger.ms", "soon"), ("security.protocol", "telnet")] {
            let error = with(key, value).validate("events").expect_err(key).to_string();
            assert!(error.contains(&format!("sinks.events.librdkafka.\"{key}\"")), "{error}");
        }
    }

    #[test]
    fn secrets_are_in_no_debug_form_and_in_no_error() {
        let settings = with("sasl.password", "hunter2");
        assert!(!format!("{settings:?}{:?}", settings.cluster("events", 0)).contains("hunter2"));
        let error = with("ssl.key.pem", "hunter2\0").validate("events").expect_err("a NUL");
        assert!(!format!("{error}{error:?}").contains("hunter2"), "{error}");
    }

    #[test]
    fn values_may_come_as_text_as_environment_variables_do() {
        let settings: Settings = serde_json::from_value(json!({
            "create_topics": "false", "partitions": "12", "replication_factor": 3,
            "librdkafka": { "linger.ms": 0, "socket_keepalive_enable": true, "batch.size": "500000" },
        }))
        .expect("readable");
        assert_eq!(
            (settings.create_topics, settings.partitions, settings.replication_factor),
            (false, 12, 3)
        );
        assert_eq!(settings.batch_bytes(), 500_000);
        settings.validate("events").expect("valid");
        let refused = serde_json::from_value::<Settings>(json!({ "partitions": "many" }));
        assert!(refused.expect_err("no number").to_string().contains("`many`"));
        assert!(serde_json::from_value::<Settings>(json!({ "topics": "x" })).is_err());
    }

    #[test]
    fn templates_and_prefixes_that_no_topic_can_have_are_refused() {
        for (prefix, topic) in
            [("", "{db}"), ("a b", "{prefix}.{db}"), ("mongo", "{id}"), ("mongo", "{nope}")]
        {
            let settings =
                Settings { prefix: prefix.to_owned(), topic: topic.to_owned(), ..Settings::default() };
            let error = settings.validate("events").expect_err(topic).to_string();
            assert!(error.starts_with("sinks.events.topic: "), "{error}");
        }
    }

    #[test]
    fn the_queue_grows_with_the_budget() {
        let queue = |budget| {
            Settings::default()
                .cluster("events", budget)
                .map(|cluster| cluster.property("queue.buffering.max.kbytes"))
        };
        assert_eq!(queue(0).expect("valid").as_deref(), Some("65536"));
        assert_eq!(queue(32 << 20).expect("valid").as_deref(), Some("262144"));
    }
}
