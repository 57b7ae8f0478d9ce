//! One attempt of one pipeline: open everything, in the order that makes it safe, and run.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::checkpoint::{file::FileStore, mongodb::MongoStore};
use crate::config::Store;
use crate::error::{Error, ErrorKind};
use crate::event::{ImageSettings, Mark};
use crate::format::{EventTraits, Format, Options};
use crate::monitor::Observed;
use crate::pipeline::{
    Attempt, Budget, CheckpointStore, OpenSink, OwnStore, Parts, Pipeline, SinkTail, Stage, Stored,
    resume_point,
};
use crate::source::client::{Deployment, oldest_entry};
use crate::source::images::{ImageLimits, ServerImages, with_images};
use crate::source::oplog::{OplogSource, TailSettings};
use crate::source::{ChunkStream, Collations, Namespaces, Resume, Source};

/// How often the oplog's oldest entry is looked up.
const WINDOW_INTERVAL: Duration = Duration::from_secs(15);
/// The same, until it is known for the first time.
const FIRST_LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// How long connections may take to end.
const GOODBYE: Duration = Duration::from_secs(5);

/// The attempts of one sink's pipeline.
#[derive(Debug)]
pub(super) struct SinkAttempt {
    pub(super) name: String,
    pub(super) sink: Box<dyn OpenSink>,
    pub(super) format: Format,
    pub(super) expanded_events: bool,
    pub(super) images: ImageSettings,
    pub(super) shared: Arc<Shared>,
    pub(super) budget: Budget,
    pub(super) watch: Arc<Observed>,
}

impl Attempt for SinkAttempt {
    fn once<'a>(
        &'a mut self,
        stop: &'a CancellationToken,
        opened: &'a (dyn Fn() + Sync),
    ) -> BoxFuture<'a, Result<Option<Mark>, Error>> {
        Box::pin(async move {
            let uri = self.shared.config.mongodb.uri()?;
            let deployment = tokio::select! {
                deployment = Deployment::connect(uri.expose()) => deployment?,
                () = stop.cancelled() => return Ok(None),
            };
            let result = self.run(&deployment, stop, opened).await;
            // Every cursor is gone by now: the driver would complain about one that outlives the runtime.
            let _ = tokio::time::timeout(GOODBYE, deployment.shutdown()).await;
            result
        })
    }

    fn retrying(&mut self, error: &Error, pause: Duration) {
        tracing::warn!(sink = %self.name, %error, pause_ms = pause.as_millis(), "trying again");
        self.watch.retrying(error);
    }
}

impl SinkAttempt {
    async fn run(
        &self,
        deployment: &Deployment,
        stop: &CancellationToken,
        opened: &(dyn Fn() + Sync),
    ) -> Result<Option<Mark>, Error> {
        let pipeline = tokio::select! {
            pipeline = self.open(deployment) => pipeline?,
            () = stop.cancelled() => return Ok(None),
        };
        opened();
        self.shared.starts.send_modify(|starts| starts.opened += 1);
        let grace = self.shared.config.pipeline.grace();
        tokio::select! {
            result = pipeline.run(stop) => result,
            () = self.watch_window(deployment) => Err(Error::new(ErrorKind::Internal, "the window's watch ended")),
            () = expired(stop, grace) => Err(Error::new(
                ErrorKind::SinkUnavailable,
                format!("the sink did not confirm everything within pipeline.grace_ms = {}", grace.as_millis()),
            )),
        }
    }

    /// The store is claimed before the sink is opened, and the sink before the source: what they say decides where reading begins.
    async fn open(&self, deployment: &Deployment) -> Result<Pipeline, Error> {
        let config = &self.shared.config;
        let (mut store, tail_is_checkpoint) = self.store(deployment)?;
        let stored = match &mut store {
            Some(store) => store.take().await?,
            None => None,
        };
        let sink = self.sink.open(stored.as_ref()).await?;
        let resume = resume_point(
            stored.as_ref(),
            &sink.tail,
            tail_is_checkpoint,
            config.source.start,
            &deployment.source,
        )?;
        let is_first =
            stored.as_ref().and_then(Stored::checkpoint).is_none() && !matches!(sink.tail, SinkTail::At(_));
        let namespaces = Namespaces::clone(&self.shared.namespaces).on_shard(deployment.is_shard);
        let namespaces = Arc::new(namespaces);
        let source = OplogSource::new(deployment.clone(), Arc::clone(&namespaces), TailSettings::default());
        let chunks = self.with_images(source.open(resume).await?, deployment, &namespaces);
        self.announce(deployment, resume);
        let stage = Stage::new(
            deployment.source.clone(),
            namespaces,
            sink.router,
            self.format.encoder_with(self.format_options(deployment)),
            config.on.policies(),
        );
        let traits = EventTraits { format: self.format, images: self.images };
        self.watch.opened(&deployment.source, tail_is_checkpoint && store.is_none());
        Ok(Pipeline::start(Parts {
            chunks,
            stage: Arc::new(stage.with_manifests(traits, Collations::new(deployment))),
            sink: sink.sink,
            store,
            source: deployment.source.clone(),
            budget: self.budget.clone(),
            checkpoint_interval: config.checkpoint.interval(),
            heartbeat: config.pipeline.heartbeat(),
            is_first,
            monitor: Arc::clone(&self.watch) as _,
        }))
    }

    /// Documents that events shall have beside what the oplog tells, if any.
    fn with_images(
        &self,
        chunks: ChunkStream,
        deployment: &Deployment,
        namespaces: &Arc<Namespaces>,
    ) -> ChunkStream {
        if !self.images.are_wanted() {
            return chunks;
        }
        let store = Arc::new(ServerImages::new(deployment));
        let limits = ImageLimits::of_budget(self.budget.all() as usize);
        with_images(chunks, store, Arc::clone(namespaces), self.images, limits)
    }

    fn format_options(&self, deployment: &Deployment) -> Options {
        let mut options = Options { expanded_events: self.expanded_events, ..Options::default() };
        options.server = deployment.release().unwrap_or(options.server);
        options
    }

    /// The configured store, and whether the sink's own records are the checkpoint.
    fn store(&self, deployment: &Deployment) -> Result<(Option<Box<dyn CheckpointStore>>, bool), Error> {
        store(&self.name, self.sink.as_ref(), &self.shared.config, deployment.client())
    }

    fn announce(&self, deployment: &Deployment, resume: Resume) {
        let from = match resume {
            Resume::Now => "now".to_owned(),
            Resume::Earliest => "the oldest entry".to_owned(),
            Resume::After(mark) => mark.position().to_string(),
            Resume::From(at) => format!("{}-{}, that entry included", at.t, at.i),
        };
        let (source, server) = (&deployment.source, &deployment.version);
        tracing::info!(sink = %self.name, %source, %server, %from, "running");
        if deployment.is_untested() {
            tracing::info!(%server, "this server's oplog is read by its documented format; it was not tested here");
        }
    }

    /// How long the pipeline may stand still before its position falls off the oplog; looked up now and then. Never ends.
    async fn watch_window(&self, deployment: &Deployment) {
        loop {
            let mut pause = FIRST_LOOK_INTERVAL;
            if let (Some(at), Ok(Some(oldest))) =
                (self.watch.position(), oldest_entry(deployment.client()).await)
            {
                let seconds = u64::from(at.t.saturating_sub(oldest.t));
                self.watch.oplog_window(Duration::from_secs(seconds));
                pause = WINDOW_INTERVAL;
            }
            tokio::time::sleep(pause).await;
        }
    }
}

/// The configured store of a sink, and whether the sink's own records are the checkpoint.
pub(crate) fn store(
    name: &str,
    sink: &dyn OpenSink,
    config: &crate::config::Config,
    client: &mongodb::Client,
) -> Result<(Option<Box<dyn CheckpointStore>>, bool), Error> {
    let own = sink.own_store(name)?;
    let tail_is_checkpoint = matches!(own, OwnStore::Tail(_));
    let checkpoint = &config.checkpoint;
    let store: Option<Box<dyn CheckpointStore>> = match checkpoint.store {
        Store::File => Some(Box::new(FileStore::new(checkpoint.path_for(name)))),
        Store::Mongodb => {
            Some(Box::new(MongoStore::new(client, &checkpoint.database, &checkpoint.collection, name)))
        }
        Store::Sink => match own {
            OwnStore::Beside(store) => Some(store),
            OwnStore::Tail(_) | OwnStore::None => None,
        },
    };
    Ok((store, tail_is_checkpoint))
}

/// Resolves when the time after `stop` is over.
async fn expired(stop: &CancellationToken, grace: Duration) {
    stop.cancelled().await;
    tokio::time::sleep(grace).await;
}
