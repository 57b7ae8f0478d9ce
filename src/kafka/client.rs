//! Clients of one cluster.

use std::error::Error as StdError;
use std::fmt;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::AdminClient;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use tokio::sync::watch;

use super::ANSWER_TIMEOUT;
use super::errors::{config_error, kafka_error};
use super::token;
use crate::error::{Error, ErrorKind};

/// How long one poll waits for reports. Reports that come are handed on at once; it only says how soon a poller notices that
/// it polls for nobody.
const POLL: Duration = Duration::from_millis(100);

/// A cluster and how to reach it.
#[derive(Clone)]
pub(crate) struct Cluster {
    config: ClientConfig,
    token_file: Option<Arc<Path>>,
}

impl Cluster {
    /// The cluster that `config` leads to: the properties of every client, producers' own among them.
    pub(crate) fn new(config: ClientConfig) -> Self {
        Self { config, token_file: None }
    }

    /// The same, for clients that log in with the token in that file.
    #[must_use]
    pub(crate) fn with_token_file(mut self, file: Option<&Path>) -> Self {
        self.token_file = file.map(Arc::from);
        self
    }

    /// Whether its clients log in with tokens. Then none of them can be an admin client: nobody serves what that one has to say, so it
    /// never asks for a token.
    pub(super) fn wants_tokens(&self) -> bool {
        self.token_file.is_some()
    }

    /// The same, for clients that don't tell statistics.
    #[must_use]
    pub(crate) fn quiet(mut self) -> Self {
        self.config.set("statistics.interval.ms", "0");
        self
    }

    /// What a client of this cluster needs to log in, and to say what goes wrong.
    pub(crate) fn context(&self) -> Context {
        Context { token_file: self.token_file.clone(), ..Context::default() }
    }

    /// The same cluster, for clients with one more property.
    pub(crate) fn with(&self, key: &str, value: &str) -> Self {
        let mut config = self.config.clone();
        config.set(key, value);
        Self { config, token_file: self.token_file.clone() }
    }

    /// The servers that the user named.
    pub(crate) fn servers(&self) -> &str {
        self.config.get("bootstrap.servers").unwrap_or_default()
    }

    /// A property of its clients, as it was set.
    #[cfg(test)]
    pub(crate) fn property(&self, key: &str) -> Option<String> {
        self.config.get(key).map(str::to_owned)
    }

    /// A producer, and the thread that polls it for as long as anybody else holds it.
    pub(crate) fn producer<C>(&self, context: C) -> Result<Poller<C>, Error>
    where
        C: ProducerContext + 'static,
    {
        let producer = Arc::new(self.client::<C, BaseProducer<C>>(&[], context)?);
        let polled = Arc::clone(&producer);
        std::thread::Builder::new()
            .name("kafka-producer".to_owned())
            .spawn(move || {
                while Arc::strong_count(&polled) > 1 {
                    polled.poll(POLL);
                }
            })
            .map_err(|error| Error::caused(ErrorKind::Local, "can't start a thread", error))?;
        Ok(producer)
    }

    /// A consumer for partitions that are assigned to it; it joins no group and commits no offset. Where an offset is out of range it
    /// goes on at `reset`. A fetch that finds nothing waits for up to `wait` at the broker.
    pub(crate) fn consumer(
        &self,
        reset: &str,
        wait: Duration,
    ) -> Result<Background<BaseConsumer<Context>>, Error> {
        let wait = wait.as_millis().to_string();
        let own = [
            ("statistics.interval.ms", "0"),
            // librdkafka takes no assignment without a name for a group.
            ("group.id", "mongo-observer"),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("enable.partition.eof", "true"),
            ("auto.offset.reset", reset),
            ("fetch.wait.max.ms", &wait),
            // A first fetch comes before its connection: that need not cost half a second.
            ("fetch.error.backoff.ms", "20"),
        ];
        let consumer: BaseConsumer<Context> = self.client(&own, self.context())?;
        if self.wants_tokens() {
            // It asks for its token when it is polled; calls that only wait for answers would wait in vain.
            consumer.poll(Duration::ZERO);
        }
        Ok(Background::new(consumer))
    }

    /// A client for topics and their settings. Nobody polls its log, so it has none.
    pub(crate) fn admin(&self) -> Result<Background<Arc<AdminClient<Context>>>, Error> {
        let mut config = self.config.clone();
        config.remove("debug").set("statistics.interval.ms", "0").set_log_level(RDKafkaLogLevel::Emerg);
        let quiet = Self { config, token_file: None };
        quiet.client(&[], Context::default()).map(Arc::new).map(Background::new)
    }

    /// Asks the cluster for what it knows of one topic, or of all: proof that it is there. Fails within [`ANSWER_TIMEOUT`], and at once
    /// where the brokers refuse the credentials. `context` is the one of `producer`.
    pub(crate) async fn reach<C>(
        &self,
        producer: &Poller<C>,
        context: &Context,
        topic: Option<&str>,
    ) -> Result<Metadata, Error>
    where
        C: ProducerContext + 'static,
    {
        let (asked, topic) = (Arc::clone(producer), topic.map(str::to_owned));
        let answer = blocking(move || Ok(asked.client().fetch_metadata(topic.as_deref(), ANSWER_TIMEOUT)));
        let servers = self.servers();
        let error = tokio::select! {
            reason = context.unauthorized() => {
                let what = format!("the Kafka brokers at {servers} refuse the credentials: {reason}");
                return Err(Error::new(ErrorKind::Unauthorized, what));
            }
            answer = answer => match answer? {
                Ok(metadata) => return Ok(metadata),
                Err(error) => error,
            },
        };
        let what = format!("no Kafka broker answers at {servers}");
        let error = kafka_error(&what, &error);
        // What went wrong with the connection says more than that the time is up.
        Err(match context.last_trouble().filter(|_| error.kind() == ErrorKind::SinkUnavailable) {
            Some(reason) => Error::new(error.kind(), format!("{what}: {reason}")),
            None => error,
        })
    }

    fn client<C, T>(&self, own: &[(&str, &str)], context: C) -> Result<T, Error>
    where
        C: ClientContext,
        T: FromClientConfigAndContext<C>,
    {
        let mut config = self.config.clone();
        for (key, value) in own {
            config.set(*key, *value);
        }
        config.create_with_context(context).map_err(|error| config_error("Kafka", &error))
    }
}

impl fmt::Debug for Cluster {
    /// Without the settings: they hold passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("servers", &self.servers()).finish_non_exhaustive()
    }
}

/// A producer that a thread of its own polls. When its last holder drops it, that thread purges, flushes and closes it:
/// dropping it blocks nobody.
pub(crate) type Poller<C> = Arc<BaseProducer<C>>;

/// Takes what a client has to say of itself: log lines go to `tracing`, the last trouble is kept for error messages.
#[derive(Clone, Debug, Default)]
pub(crate) struct Context {
    token_file: Option<Arc<Path>>,
    trouble: Arc<watch::Sender<Option<Trouble>>>,
}

/// What librdkafka said of the connection.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    code: RDKafkaErrorCode,
    reason: String,
}

impl Context {
    /// The last trouble of the connection, in librdkafka's words or in better ones.
    pub(crate) fn last_trouble(&self) -> Option<String> {
        self.trouble.borrow().as_ref().map(|trouble| {
            // librdkafka names one reason, whichever it is.
            if trouble.reason.contains("certificate verify failed") {
                return "the broker's certificate is not to be trusted: its authority is not in tls.ca_file, it has \
                        expired, or it is another host's"
                    .to_owned();
            }
            trouble.reason.clone()
        })
    }

    /// Resolves when the brokers refuse the credentials: waiting longer won't help.
    pub(crate) async fn unauthorized(&self) -> String {
        let refused = |trouble: &Option<Trouble>| {
            trouble.as_ref().is_some_and(|trouble| trouble.code == RDKafkaErrorCode::Authentication)
        };
        let mut watched = self.trouble.subscribe();
        match watched.wait_for(refused).await.map(|trouble| trouble.clone()) {
            Ok(Some(trouble)) => trouble.reason,
            _ => std::future::pending().await,
        }
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        use RDKafkaLogLevel::{Alert, Critical, Debug, Emerg, Error, Info, Notice, Warning};
        match (level, facility) {
            // Lost connections are retried and, where they matter, come through `error` too; a setting that only the
            // other kind of client knows is no trouble.
            (Error, "FAIL" | "ERROR") | (Warning, "CONFWARN" | "FAIL") | (Notice | Info, _) => {
                tracing::debug!(target: "kafka", facility, "{line}");
            }
            (Emerg | Alert | Critical | Error | Warning, _) => {
                tracing::warn!(target: "kafka", facility, "{line}");
            }
            (Debug, _) => tracing::trace!(target: "kafka", facility, "{line}"),
        }
    }

    fn stats_raw(&self, _statistics: &[u8]) {}

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        match code {
            // Said once more by whoever asked for the partition.
            RDKafkaErrorCode::PartitionEOF => return,
            RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::Authentication | RDKafkaErrorCode::Fatal => {
                tracing::warn!(target: "kafka", code = ?code, "{reason}");
            }
            _ => tracing::debug!(target: "kafka", code = ?code, "{reason}"),
        }
        // "1/1 brokers are down" says less than what was said before it.
        if code != RDKafkaErrorCode::AllBrokersDown {
            self.trouble.send_replace(Some(Trouble { code, reason: reason.to_owned() }));
        }
    }

    fn generate_oauth_token(&self, _settings: Option<&str>) -> Result<OAuthToken, Box<dyn StdError>> {
        let file = self.token_file.as_ref().ok_or("OAUTHBEARER needs a token_file")?;
        Ok(token::read(file)?)
    }
}

/// For a producer that only looks around.
impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, _report: &DeliveryResult<'_>, (): ()) {}
}

impl ConsumerContext for Context {}

/// Closing a client joins its threads. Dropping this does it on a thread of its own, so that no task of the runtime waits.
pub(crate) struct Background<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> Background<T> {
    /// Guards `client`.
    pub(crate) fn new(client: T) -> Self {
        Self(Some(client))
    }
}

impl<T: Send + 'static> Deref for Background<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("only dropping takes it")
    }
}

impl<T: Send + 'static> Drop for Background<T> {
    fn drop(&mut self) {
        let client = self.0.take();
        std::thread::spawn(move || drop(client));
    }
}

/// Runs a call that blocks, away from the runtime's own threads. When it is cancelled the call goes on to its end, unheard.
pub(crate) async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(call)
        .await
        .map_err(|error| Error::caused(ErrorKind::Internal, "a call to Kafka broke off", error))?
}
