//! What can be configured, and what can't because it would break a promise.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use serde::Deserialize;

use super::progress::Limits;
use super::property::{Property, loose};
use super::security::{self, Mechanism, Tls};
use super::topic::{self, CleanupPolicy, Tombstones, Use};
use crate::error::{Error, ErrorKind};
use crate::event::{AfterImages, ImageSettings, Namespace};
use crate::format::{Format, Template};
use crate::kafka::Cluster;
use crate::secret::Secret;

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
    ("statistics.interval.ms", super::stats::INTERVAL_MS),
    // Looking a topic up must not create it.
    ("allow.auto.create.topics", "false"),
];

/// The settings of a Kafka sink.
#[derive(Clone, Debug, Deserialize)]
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
    /// What becomes of old records in the topics that are created for namespaces; by default what the brokers are configured for.
    pub cleanup_policy: Option<CleanupPolicy>,
    /// Whether a namespace's first event is preceded by a record that says what must be known of it, in a topic of its own.
    #[serde(deserialize_with = "loose")]
    pub manifest: bool,
    /// When a delete is followed by a record with its key and no value.
    pub tombstones: Tombstones,
    /// Other settings of the topics that are created, passed on as they are.
    pub topic_config: BTreeMap<String, Property>,
    /// The user's name, for a login with a password.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// A file that holds the user's password; wins over `password`.
    pub password_file: Option<PathBuf>,
    /// How user and password are shown.
    pub sasl_mechanism: Mechanism,
    /// A file that holds a token, for a login by OAUTHBEARER. It is read again before the token ends.
    pub token_file: Option<PathBuf>,
    /// Encryption.
    pub tls: Tls,
    /// Settings of librdkafka, passed on as they are: compression and everything else. As environment variables can hold no
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
            cleanup_policy: None,
            manifest: true,
            tombstones: Tombstones::default(),
            topic_config: BTreeMap::new(),
            user: None,
            password: None,
            password_file: None,
            sasl_mechanism: Mechanism::default(),
            token_file: None,
            tls: Tls::default(),
            delivery: DeliveryMode::AtLeastOnce,
            transaction_interval_ms: 100,
            transaction_bytes: 16 << 20,
            transaction_max_bytes: 128 << 20,
            librdkafka: BTreeMap::new(),
        }
    }
}

/// How often a record may come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryMode {
    /// Again after a failure.
    #[default]
    AtLeastOnce,
    /// Once, to consumers that read what is committed.
    ExactlyOnce,
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
        self.check_topic_config().map_err(|(key, why)| refuse(&key, &why))?;
        let queue_kbytes = budget_bytes.saturating_mul(QUEUE_PER_BUDGET).max(self.record_bytes_max()) / 1024;
        for (key, property) in &self.librdkafka {
            let key = dotted(key);
            super::rules::check(&key, property.text(), queue_kbytes)
                .map_err(|why| refuse(&format!("librdkafka.\"{key}\""), &why))?;
        }
        let secure =
            security::properties(self).map_err(|error| error.within(format_args!("sinks.{name}")))?;
        let config = self.client_config(queue_kbytes, &secure);
        // librdkafka itself knows which keys there are, and which values.
        config.create_native_config().map_err(|error| match error {
            KafkaError::ClientConfig(_, _, key, _) if self.names(&key) => refuse(
                &format!("librdkafka.\"{key}\""),
                "librdkafka knows no such setting, or no such value of it",
            ),
            other => crate::kafka::config_error(format_args!("sinks.{name}"), &other),
        })?;
        Ok(Cluster::new(config).with_token_file(self.token_file.as_deref()))
    }

    fn check_topic_config(&self) -> Result<(), (String, String)> {
        let key = |name: &str| format!("topic_config.\"{name}\"");
        if self.cleanup_policy.is_some_and(CleanupPolicy::is_compacted) && !self.has_whole_documents() {
            let policy = self.cleanup_policy.map_or("", CleanupPolicy::name);
            return Err((
                "cleanup_policy".to_owned(),
                format!("`{policy}`: a topic that {}", topic::COMPACTED_DELTAS),
            ));
        }
        match self.topic_config.keys().find(|name| dotted(name) == "cleanup.policy") {
            Some(name) => Err((key(name), "set cleanup_policy instead".to_owned())),
            None => Ok(()),
        }
    }

    /// Whether the last event of a key tells the whole document: it has its after image, or no other event has that key.
    pub(super) fn has_whole_documents(&self) -> bool {
        self.images.after != AfterImages::None || !self.format.keys_are_documents()
    }

    /// What the topic of a namespace is for.
    pub(super) fn used_for(&self, ns: Namespace<'_>) -> Use {
        match ns.coll {
            "" => Use::Commands,
            _ if self.has_whole_documents() => Use::Documents,
            _ => Use::Deltas,
        }
    }

    /// Whether only a document's last event is sure to stay in a topic, by what is known of it.
    pub(super) fn keeps_last_events(&self, is_compacted: Option<bool>) -> bool {
        let ours = || self.cleanup_policy.is_some_and(CleanupPolicy::is_compacted);
        self.format.keys_are_documents() && is_compacted.unwrap_or_else(ours)
    }

    /// Whether deletes are followed by tombstones in a topic, by what is known of it.
    pub(super) fn has_tombstones(&self, is_compacted: Option<bool>) -> bool {
        match self.tombstones {
            Tombstones::Auto => self.keeps_last_events(is_compacted),
            Tombstones::Always => self.format.keys_are_documents(),
            Tombstones::Never => false,
        }
    }

    /// The settings of the topics that are created for that.
    pub(super) fn topic_settings(&self, used: Use) -> Vec<(String, String)> {
        let given = self.topic_config.iter().map(|(key, value)| (dotted(key), value.text().to_owned()));
        if used == Use::Manifests {
            return vec![("cleanup.policy".to_owned(), CleanupPolicy::Compact.name().to_owned())];
        }
        let policy = self.cleanup_policy.filter(|_| matches!(used, Use::Documents | Use::Deltas));
        given.chain(policy.map(|policy| ("cleanup.policy".to_owned(), policy.name().to_owned()))).collect()
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
        [self.checkpoint_topic(), self.manifest_topic()]
    }

    /// The topic of the manifests.
    pub(super) fn manifest_topic(&self) -> String {
        Template::manifests(&self.prefix)
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
        self.librdkafka.iter().find(|(given, _)| dotted(given) == key)?.1.text().trim().parse().ok()
    }

    /// Whether librdkafka's table has that key.
    pub(super) fn names(&self, key: &str) -> bool {
        self.librdkafka.keys().any(|given| dotted(given) == key)
    }

    fn client_config(&self, queue_kbytes: usize, secure: &[(&str, String)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        // Debug lines come only where `debug` asks for them; which lines are shown is for `tracing` to say.
        config.set_log_level(RDKafkaLogLevel::Debug);
        for (key, value) in CLIENT.iter().chain(PRODUCER) {
            config.set(*key, *value);
        }
        config.set("batch.size", BATCH_BYTES.to_string());
        config.set("message.max.bytes", RECORD_BYTES_MAX.to_string());
        config.set("queue.buffering.max.kbytes", queue_kbytes.to_string());
        for (key, value) in secure {
            config.set(*key, value);
        }
        for (key, property) in &self.librdkafka {
            config.set(dotted(key), property.text());
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
