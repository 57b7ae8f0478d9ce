//! Topics: look up, create, read their settings.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, OwnedResourceSpecifier, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::Metadata;
use rdkafka::producer::Producer;
use tokio::time::Instant;

use super::{ANSWER_TIMEOUT, Background, Cluster, Context, Poller, blocking, code_of, kafka_error, verdict};
use crate::error::{Error, ErrorKind};

/// How often a broker is asked for a topic that another broker has just created: nothing tells when it has heard of it.
const PROPAGATION_POLL: Duration = Duration::from_millis(50);

/// How many topics' settings are asked for at once: those of one are some thirty texts.
const TOPICS_AT_ONCE: usize = 100;

/// A topic to create.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewTopicSpec<'a> {
    pub(crate) name: &'a str,
    /// Below 1: the broker's default.
    pub(crate) partitions: i32,
    /// Below 1: the broker's default.
    pub(crate) replication_factor: i32,
    pub(crate) config: &'a [(&'a str, &'a str)],
}

/// What a topic is like.
#[derive(Clone, Debug)]
pub(crate) struct Description {
    pub(crate) name: String,
    pub(crate) partitions: u32,
    /// Of the partition that has the fewest.
    pub(crate) replicas: usize,
    /// Its settings, defaults included; none where this user may not see them.
    pub(crate) settings: Option<HashMap<String, String>>,
}

impl Description {
    /// The value of a setting, if it can be seen.
    pub(crate) fn setting(&self, key: &str) -> Option<&str> {
        self.settings.as_ref()?.get(key).map(String::as_str)
    }

    /// The same, of a number.
    pub(crate) fn number<N: FromStr>(&self, key: &str) -> Option<N> {
        self.setting(key)?.parse().ok()
    }
}

/// Looks after topics.
pub(crate) struct Topics {
    client: Client,
}

enum Client {
    Admin(Background<Arc<AdminClient<Context>>>),
    /// One that sees which topics there are, and no more: admin clients can't log in with tokens.
    Onlooker(Poller<Context>),
}

impl Topics {
    /// Connects to nothing yet.
    pub(crate) fn new(cluster: &Cluster) -> Result<Self, Error> {
        let client = if cluster.wants_tokens() {
            Client::Onlooker(cluster.producer(cluster.context())?)
        } else {
            Client::Admin(cluster.admin()?)
        };
        Ok(Self { client })
    }

    /// The number of partitions of a topic, or none if there is no such topic.
    pub(crate) async fn partitions(&self, topic: &str) -> Result<Option<u32>, Error> {
        let metadata = self.metadata(topic).await?;
        partition_count(&metadata, topic)
    }

    async fn metadata(&self, topic: &str) -> Result<Metadata, Error> {
        let (asked, what) = (topic.to_owned(), format!("can't look up the topic {topic}"));
        let metadata = match &self.client {
            Client::Admin(admin) => {
                let admin = Arc::clone(admin);
                blocking(move || Ok(admin.inner().fetch_metadata(Some(&asked), ANSWER_TIMEOUT))).await
            }
            Client::Onlooker(client) => {
                let client = Arc::clone(client);
                blocking(move || Ok(client.client().fetch_metadata(Some(&asked), ANSWER_TIMEOUT))).await
            }
        };
        metadata?.map_err(|error| kafka_error(what, &error))
    }

    /// Creates a topic, or finds that somebody else has just done so. Returns its number of partitions, when it can be seen.
    pub(crate) async fn create(&self, spec: NewTopicSpec<'_>) -> Result<u32, Error> {
        let what = format!("can't create the topic {}", spec.name);
        let Client::Admin(admin) = &self.client else {
            return Err(Error::new(
                ErrorKind::Refused,
                format!("{what} after a login with a token: create it by other means"),
            ));
        };
        let or_default = |count: i32| if count < 1 { -1 } else { count };
        let replication = TopicReplication::Fixed(or_default(spec.replication_factor));
        let mut topic = NewTopic::new(spec.name, or_default(spec.partitions), replication);
        topic.config = spec.config.to_vec();

        let answers = admin.create_topics([&topic], &options()).await;
        for answer in answers.map_err(|error| kafka_error(&what, &error))? {
            match answer {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((_, code)) => {
                    let (kind, next) = verdict(code);
                    return Err(Error::new(kind, format!("{what}: {code}; {next}")));
                }
            }
        }
        self.until_visible(spec.name).await
    }

    async fn until_visible(&self, topic: &str) -> Result<u32, Error> {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        loop {
            if let Some(count) = self.partitions(topic).await? {
                return Ok(count);
            }
            if Instant::now() >= deadline {
                let what = format!("the topic {topic} was created, but the brokers don't show it");
                return Err(Error::new(ErrorKind::SinkUnavailable, what));
            }
            tokio::time::sleep(PROPAGATION_POLL).await;
        }
    }

    /// What a topic is like; none if there is no such topic.
    pub(crate) async fn describe(&self, topic: &str) -> Result<Option<Description>, Error> {
        let metadata = self.metadata(topic).await?;
        if partition_count(&metadata, topic)?.is_none() {
            return Ok(None);
        }
        let mut found = self.describe_all(&metadata, |name| name == topic).await?;
        Ok(found.pop())
    }

    /// What those topics are like that `picked` picks among the cluster's.
    pub(crate) async fn describe_all(
        &self,
        metadata: &Metadata,
        picked: impl Fn(&str) -> bool,
    ) -> Result<Vec<Description>, Error> {
        let mut found = Vec::new();
        for topic in metadata.topics().iter().filter(|topic| picked(topic.name())) {
            let Ok(Some(partitions)) = partition_count(metadata, topic.name()) else { continue };
            let replicas = topic.partitions().iter().map(|partition| partition.replicas().len()).min();
            found.push(Description {
                name: topic.name().to_owned(),
                partitions,
                replicas: replicas.unwrap_or_default(),
                settings: None,
            });
        }
        for some in found.chunks_mut(TOPICS_AT_ONCE) {
            let names: Vec<&str> = some.iter().map(|topic| topic.name.as_str()).collect();
            let settings = self.settings(&names).await?;
            some.iter_mut().zip(settings).for_each(|(topic, settings)| topic.settings = settings);
        }
        Ok(found)
    }

    /// The value of a topic's setting, defaults included; none where this user may not see it.
    pub(crate) async fn setting(&self, topic: &str, key: &str) -> Result<Option<String>, Error> {
        let settings = self.settings(&[topic]).await?.pop().flatten();
        Ok(settings.and_then(|mut settings| settings.remove(key)))
    }

    /// The settings of topics, in that order.
    async fn settings(&self, topics: &[&str]) -> Result<Vec<Option<HashMap<String, String>>>, Error> {
        let Client::Admin(admin) = &self.client else { return Ok(vec![None; topics.len()]) };
        let specifiers: Vec<_> = topics.iter().copied().map(ResourceSpecifier::Topic).collect();
        let answers = admin.describe_configs(&specifiers, &options()).await;
        let hidden = |code: RDKafkaErrorCode| {
            use RDKafkaErrorCode::{
                ClusterAuthorizationFailed, TopicAuthorizationFailed, UnsupportedFeature, UnsupportedVersion,
            };
            matches!(
                code,
                TopicAuthorizationFailed
                    | ClusterAuthorizationFailed
                    | UnsupportedVersion
                    | UnsupportedFeature
            )
        };
        let what = || format!("can't read the settings of the topic {}", topics.join(", "));
        let resources = match answers {
            Ok(resources) => resources,
            Err(error) if code_of(&error).is_some_and(hidden) => return Ok(vec![None; topics.len()]),
            Err(error) => return Err(kafka_error(what(), &error)),
        };
        let mut found = HashMap::new();
        for resource in resources {
            match resource {
                Ok(ConfigResource { specifier: OwnedResourceSpecifier::Topic(topic), entries }) => {
                    let settings = entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?)));
                    found.insert(topic, settings.collect());
                }
                Ok(_) => {}
                Err(code) if hidden(code) => {}
                Err(code) => {
                    let (kind, next) = verdict(code);
                    return Err(Error::new(kind, format!("{}: {code}; {next}", what())));
                }
            }
        }
        Ok(topics.iter().map(|topic| found.remove(*topic)).collect())
    }
}

impl fmt::Debug for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topics").finish_non_exhaustive()
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ANSWER_TIMEOUT)).operation_timeout(Some(ANSWER_TIMEOUT))
}

/// The number of partitions that the cluster knows of a topic, or none if there is no such topic.
pub(crate) fn partition_count(metadata: &Metadata, topic: &str) -> Result<Option<u32>, Error> {
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else { return Ok(None) };
    match found.error().map(RDKafkaErrorCode::from) {
        None => Ok(u32::try_from(found.partitions().len()).ok().filter(|count| *count > 0)),
        // A topic in the making has no leaders yet.
        Some(
            RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::LeaderNotAvailable,
        ) => Ok(None),
        Some(code) => {
            let (kind, next) = verdict(code);
            Err(Error::new(kind, format!("can't use the topic {topic}: {code}; {next}")))
        }
    }
}
