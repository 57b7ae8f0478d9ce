//! The composition root: one pipeline for each configured sink, supervised; shared metrics, one HTTP listener.

mod attempt;

use std::sync::Arc;

use tokio::sync::watch::Sender;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::attempt::SinkAttempt;
pub(crate) use self::attempt::store;
use crate::config::{self, Config, Store};
use crate::error::{Disposition, Error, ErrorKind};
use crate::event::Namespace;
use crate::http::Listener;
use crate::metrics::Metrics;
use crate::monitor::Observed;
use crate::pipeline::{Backoff, Budget, OpenSink, supervise};
use crate::sink::lines::{LinesFile, StandardOutput};
use crate::source::Namespaces;
use crate::status::Board;

/// What the pipelines of one process share.
#[derive(Debug)]
struct Shared {
    config: Config,
    namespaces: Arc<Namespaces>,
    starts: Sender<Starts>,
}

/// How the pipelines' first attempts went.
#[derive(Clone, Copy, Debug, Default)]
struct Starts {
    all: usize,
    opened: usize,
    gave_up: usize,
}

/// All pipelines of a configuration, before they run.
#[derive(Debug)]
pub struct Connector {
    shared: Arc<Shared>,
    attempts: Vec<SinkAttempt>,
    metrics: Arc<Metrics>,
    board: Arc<Board>,
}

impl Connector {
    /// Makes the pipelines. Connects to nothing yet; what can't work is an error now.
    pub fn new(config: Config) -> Result<Self, Error> {
        let metrics = Arc::new(Metrics::new());
        let mut board = Board::new();
        let shared = Arc::new(Shared::of(config)?);
        let mut attempts = Vec::new();
        for (name, sink) in &shared.config.sinks {
            let budget = Budget::new(shared.config.pipeline.budget_bytes);
            let measured = metrics.pipeline(name, budget.all());
            let mut adapter = open_sink(name, sink, &shared.config)?;
            adapter.watched_by(Arc::new(measured.clone()));
            let watch = Observed::new(measured, board.add(name, sink.kind().name()), budget.clone());
            attempts.push(SinkAttempt {
                name: name.clone(),
                sink: adapter,
                format: sink.format(),
                expanded_events: sink.expanded_events(),
                images: sink.images(),
                shared: Arc::clone(&shared),
                budget,
                watch: Arc::new(watch),
            });
        }
        Ok(Self { shared, attempts, metrics, board: Arc::new(board) })
    }

    /// What the pipelines are doing, while they run.
    pub fn board(&self) -> Arc<Board> {
        Arc::clone(&self.board)
    }

    /// Runs every pipeline until `stop`, or until all of them have failed.
    ///
    /// On `stop` they read no more, wait for what is under way at most as long as `pipeline.grace_ms` says, and store their
    /// checkpoints. One that fails never stops another. The error is the first pipeline's that failed.
    pub async fn run(self, stop: &CancellationToken) -> Result<(), Error> {
        let http = CancellationToken::new();
        let listener = match self.shared.config.http.address() {
            Some(address) => {
                let listener = Listener::bind(address).await?;
                tracing::info!(address = %listener.address()?, "listening for HTTP");
                Some(tokio::spawn(listener.serve(self.metrics, self.board, http.clone())))
            }
            None => None,
        };
        let mut pipelines = JoinSet::new();
        for attempt in self.attempts {
            pipelines.spawn(pipeline(attempt, stop.clone()));
        }
        let result = ended(pipelines).await;
        http.cancel();
        if let Some(listener) = listener {
            let _ = listener.await;
        }
        result
    }
}

impl Shared {
    fn of(config: Config) -> Result<Self, Error> {
        let mut namespaces = Namespaces::parse(&config.source.include, &config.source.exclude)?;
        if config.checkpoint.store == Store::Mongodb {
            // Else every checkpoint would be a change that needs a checkpoint.
            let own = Namespace { db: &config.checkpoint.database, coll: &config.checkpoint.collection };
            namespaces = namespaces.without(own);
        }
        let starts = Starts { all: config.sinks.len(), ..Starts::default() };
        Ok(Self { config, namespaces: Arc::new(namespaces), starts: Sender::new(starts) })
    }
}

/// Waits for all of them; the first error is the result.
async fn ended(mut pipelines: JoinSet<Result<(), Error>>) -> Result<(), Error> {
    let mut result = Ok(());
    while let Some(ended) = pipelines.join_next().await {
        let ended = ended
            .unwrap_or_else(|error| Err(Error::caused(ErrorKind::Internal, "a pipeline broke off", error)));
        result = result.and(ended);
    }
    result
}

/// One pipeline, from its first attempt to its end.
async fn pipeline(mut attempt: SinkAttempt, stop: CancellationToken) -> Result<(), Error> {
    let mut backoff = attempt.shared.config.retry.backoff();
    loop {
        let error = match supervise(&mut attempt, backoff, &stop).await {
            Ok(mark) => {
                let position = mark.map(|mark| mark.position().to_string()).unwrap_or_default();
                tracing::info!(sink = %attempt.name, %position, "stopped");
                attempt.watch.finished(None);
                return Ok(());
            }
            Err(error) => error,
        };
        let gave_up = error.kind().disposition() == Disposition::Retry && !stop.is_cancelled();
        if gave_up && others_work(&attempt.shared, &stop).await {
            // The others go on, so this one keeps trying.
            tracing::error!(sink = %attempt.name, %error, "could not start, trying on");
            attempt.watch.retrying(&error);
            backoff = Backoff { startup: None, ..backoff };
            continue;
        }
        if !gave_up {
            attempt.shared.starts.send_modify(|starts| starts.gave_up += 1);
        }
        tracing::error!(sink = %attempt.name, %error, "ended");
        attempt.watch.finished(Some(&error));
        return Err(error.within(format!("sink `{}`", attempt.name)));
    }
}

/// Whether another pipeline has opened; known at the latest when all of them have tried.
async fn others_work(shared: &Shared, stop: &CancellationToken) -> bool {
    shared.starts.send_modify(|starts| starts.gave_up += 1);
    let mut starts = shared.starts.subscribe();
    let known = starts.wait_for(|starts| starts.opened > 0 || starts.gave_up >= starts.all);
    tokio::select! {
        known = known => known.is_ok_and(|starts| starts.opened > 0),
        () = stop.cancelled() => false,
    }
}

/// The adapter of a configured sink.
pub(crate) fn open_sink(
    name: &str,
    sink: &config::Sink,
    config: &Config,
) -> Result<Box<dyn OpenSink>, Error> {
    Ok(match sink {
        #[cfg(feature = "kafka")]
        config::Sink::Kafka(settings) => {
            let budget = config.pipeline.budget_bytes as usize;
            Box::new(crate::sink::kafka::Kafka::new(name, settings.clone(), budget)?)
        }
        #[cfg(not(feature = "kafka"))]
        config::Sink::Kafka(_) => return Err(not_built_in(name, "kafka", config)),
        #[cfg(feature = "nats")]
        config::Sink::Nats(settings) => Box::new(crate::sink::nats::Nats::new(name, settings.clone())?),
        #[cfg(not(feature = "nats"))]
        config::Sink::Nats(_) => return Err(not_built_in(name, "nats", config)),
        config::Sink::Stdout(settings) => {
            Box::new(StandardOutput { color: settings.color.is_on(), manifest: settings.manifest })
        }
        config::Sink::File(settings) => Box::new(LinesFile {
            path: settings.path.clone(),
            rotate_bytes: settings.rotate_bytes,
            keep: settings.keep,
            tells_position: settings.format.tells_position(),
            manifest: settings.manifest,
        }),
    })
}

#[cfg(not(all(feature = "kafka", feature = "nats")))]
fn not_built_in(name: &str, kind: &str, _: &Config) -> Error {
    Error::new(ErrorKind::Config, format!("sink `{name}`: this program was built without `{kind}`"))
}
