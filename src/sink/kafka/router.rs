//! The topic of a namespace.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt};
use rdkafka::metadata::Metadata;
use tokio::sync::OnceCell;

use super::settings::Settings;
use super::topic::{self, Use};
use super::touched::Touched;
use crate::error::{Error, ErrorKind};
use crate::event::Namespace;
use crate::format::{Addressing, Route, Template, collision_key};
use crate::kafka::{Cluster, Description, NewTopicSpec, Topics};
use crate::pipeline::{ManifestPlace, Router};

/// What a batch takes beside a record's key, value and header: its own head is 61 bytes, the record's lengths and deltas and the header's
/// name are at most 47.
const FRAMING_BYTES_MAX: usize = 128;

/// Finds and creates topics, each once in its life.
#[derive(Debug)]
pub(super) struct KafkaRouter {
    name: String,
    settings: Settings,
    template: Template,
    topics: Topics,
    touched: Arc<Touched>,
    places: Mutex<Places>,
    dead_letters: OnceCell<Arc<Route>>,
    manifests: OnceCell<Option<Arc<Route>>>,
    /// Taken by who makes a topic.
    creating: tokio::sync::Mutex<()>,
    /// The topics whose weaknesses the operator has been told.
    told: Mutex<HashSet<String>>,
}

#[derive(Debug, Default)]
struct Places {
    /// By what the broker takes for the same name: the topic, and whose it is.
    owners: HashMap<String, (String, String)>,
    /// By topic.
    routes: HashMap<String, Arc<Route>>,
    /// Whether a topic is compacted, where it can be seen.
    compacted: HashMap<String, bool>,
}

impl KafkaRouter {
    /// A router for the sink of that name. Connects to nothing yet.
    pub(super) fn new(
        name: &str,
        settings: &Settings,
        cluster: &Cluster,
        touched: Arc<Touched>,
    ) -> Result<Self, Error> {
        let template = settings.template().map_err(|why| Error::new(ErrorKind::Config, why))?;
        let mut places = Places::default();
        for topic in settings.own_topics().into_iter().chain([settings.dead_letter_topic()]) {
            let owner = "the connector itself".to_owned();
            places.owners.insert(collision_key(&topic), (topic, owner));
        }
        Ok(Self {
            name: name.to_owned(),
            settings: settings.clone(),
            template,
            topics: Topics::new(cluster)?,
            touched,
            places: Mutex::new(places),
            dead_letters: OnceCell::new(),
            manifests: OnceCell::new(),
            creating: tokio::sync::Mutex::default(),
            told: Mutex::default(),
        })
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name of a namespace's topic, which from now on belongs to it.
    fn claim(&self, ns: Namespace<'_>) -> Result<String, Error> {
        let topic =
            self.settings.format.topic(&self.template, &self.settings.prefix, ns).map_err(|error| {
                Error::new(ErrorKind::Config, format!("sinks.{}.topic: {error}", self.name))
            })?;
        // Databases may share a topic for their commands; namespaces do where the template does not tell them apart.
        let owner = if ns.coll.is_empty() && !self.settings.format.gives_databases_topics() {
            "commands on databases".to_owned()
        } else if !self.template.tells_namespaces_apart() {
            "other namespaces".to_owned()
        } else {
            ns.to_string()
        };
        let mut places = self.places();
        let (known, holder) =
            places.owners.entry(collision_key(&topic)).or_insert_with(|| (topic.clone(), owner.clone()));
        let why = if *known != topic {
            format!("`{known}` of {holder}, and brokers take names that differ in `.` and `_` for the same")
        } else if *holder != owner {
            format!("the topic of {holder}")
        } else {
            return Ok(topic);
        };
        Err(Error::new(ErrorKind::Collision, format!("the topic of {ns} would be {topic}, which is {why}")))
    }

    /// Finds or makes a topic, and makes sure that it can be used so.
    async fn locate(&self, topic: String, used: Use) -> Result<Route, Error> {
        let found = match self.topics.describe(&topic).await? {
            Some(found) => found,
            None if self.settings.create_topics => self.create(&topic, used).await?,
            None => {
                return Err(Error::new(
                    ErrorKind::Refused,
                    format!(
                        "the topic {topic} does not exist and create_topics is off: create it, or set sinks.{}.create_topics = true",
                        self.name
                    ),
                ));
            }
        };
        topic::check(&found, used)
            .map_err(|why| Error::new(ErrorKind::Refused, format!("the topic {topic} {why}")))?;
        if self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(topic.clone()) {
            warn(&[&found]);
        }
        let is_compacted = found.settings.is_some().then(|| topic::is_compacted(&found));
        if let Some(is_compacted) = is_compacted {
            self.places().compacted.insert(topic.clone(), is_compacted);
        }
        let has_documents = matches!(used, Use::Documents | Use::Deltas);
        Ok(Route {
            name: topic,
            addressing: Addressing::Partitions(found.partitions),
            bytes_max: self.bytes_max(&found),
            tombstones: has_documents && self.settings.has_tombstones(is_compacted),
            whole_documents: has_documents && self.settings.keeps_last_events(is_compacted),
        })
    }

    async fn create(&self, topic: &str, used: Use) -> Result<Description, Error> {
        let settings = self.settings.topic_settings(used);
        let config: Vec<_> = settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        // Several chunks may ask for it at the same time.
        let _turn = self.creating.lock().await;
        if let Some(found) = self.topics.describe(topic).await? {
            return Ok(found);
        }
        let partitions = self
            .topics
            .create(NewTopicSpec {
                name: topic,
                // The last manifest of each namespace is little.
                partitions: if used == Use::Manifests { 1 } else { self.settings.partitions },
                replication_factor: self.settings.replication_factor,
                config: &config,
            })
            .await?;
        tracing::info!(topic, partitions, "created a topic");
        let gone =
            || Error::new(ErrorKind::SinkUnavailable, format!("the topic {topic} was created and is gone"));
        self.topics.describe(topic).await?.ok_or_else(gone)
    }

    /// The topic of the manifests; none where it is missing and may not be made.
    async fn find_manifests(&self) -> Result<Option<Arc<Route>>, Error> {
        let topic = self.settings.manifest_topic();
        if !self.settings.create_topics && self.topics.partitions(&topic).await?.is_none() {
            tracing::warn!(
                topic,
                "there is no topic for the manifests of namespaces, and create_topics is off: none are written"
            );
            return Ok(None);
        }
        Ok(Some(Arc::new(self.locate(topic, Use::Manifests).await?)))
    }

    /// Warns of what can be lost in the topics that are there already.
    pub(super) async fn look_over(
        &self,
        metadata: &Metadata,
        ours: &impl Fn(&str) -> bool,
    ) -> Result<(), Error> {
        let found = self.topics.describe_all(metadata, ours).await?;
        warn(&found.iter().collect::<Vec<_>>());
        self.told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(found.into_iter().map(|topic| topic.name));
        Ok(())
    }

    /// The topic's limit, which brokers apply to batches; where it is hidden the client's, and the broker has the last word.
    fn bytes_max(&self, topic: &Description) -> usize {
        let client = self.settings.record_bytes_max();
        let limit = topic.number("max.message.bytes").unwrap_or(client);
        limit.min(client).saturating_sub(FRAMING_BYTES_MAX)
    }
}

fn warn(topics: &[&Description]) {
    for warning in topic::warnings(topics.iter().copied()) {
        tracing::warn!("{warning}");
    }
}

impl Router for KafkaRouter {
    fn route<'a>(&'a self, ns: Namespace<'a>) -> BoxFuture<'a, Result<Arc<Route>, Error>> {
        async move {
            let topic = self.claim(ns)?;
            let known = self.places().routes.get(&topic).cloned();
            if let Some(route) = known {
                return Ok(route);
            }
            let route = Arc::new(self.locate(topic.clone(), self.settings.used_for(ns)).await?);
            // Whoever was faster is right: a topic has one route.
            Ok(Arc::clone(self.places().routes.entry(topic).or_insert(route)))
        }
        .boxed()
    }

    fn dead_letters(&self) -> BoxFuture<'_, Result<Arc<Route>, Error>> {
        let found =
            async || Ok(Arc::new(self.locate(self.settings.dead_letter_topic(), Use::DeadLetters).await?));
        self.dead_letters.get_or_try_init(found).map_ok(Arc::clone).boxed()
    }

    fn manifest<'a>(
        &'a self,
        _: Namespace<'a>,
        route: &'a Route,
    ) -> BoxFuture<'a, Result<Option<ManifestPlace>, Error>> {
        async move {
            if !self.settings.manifest {
                return Ok(None);
            }
            let place = self.manifests.get_or_try_init(|| self.find_manifests()).await?;
            let compacted = self.places().compacted.get(&route.name).copied();
            Ok(place.as_ref().map(|route| ManifestPlace { route: Arc::clone(route), compacted }))
        }
        .boxed()
    }

    /// None among dead letters and manifests: nobody waits there for what comes behind one.
    fn watermark_routes(&self) -> Vec<Arc<Route>> {
        let mut routes = self.touched.next_watermark(|| self.places().routes.values().cloned().collect());
        let own = [self.dead_letters.get(), self.manifests.get().and_then(Option::as_ref)];
        routes.retain(|route| own.iter().flatten().all(|own| !Arc::ptr_eq(own, route)));
        routes
    }
}
