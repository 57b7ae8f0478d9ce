//! What the pipelines are doing, for people and probes: each pipeline writes its own entry, the HTTP listener reads them all.
//!
//! The entries are `watch` values: writing never waits, and a reader sees the newest.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio::sync::watch;

use crate::error::Error;
use crate::event::Position;

/// What a pipeline is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Opens its sink and its source.
    #[default]
    Starting,
    /// Both are open, events flow.
    Running,
    /// Something can't be reached; it waits and tries again.
    Retrying,
    /// Another instance does the work; it waits for its turn.
    Waiting,
    /// Ended as asked.
    Stopped,
    /// Ended by an error.
    Failed,
}

/// One pipeline, as `/status` shows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PipelineStatus {
    /// What it is doing.
    pub state: State,
    /// The replica set that it reads, once known.
    pub source: Option<String>,
    /// Everything up to here has been acknowledged by the sink.
    pub position: Option<Position>,
    /// Everything up to here is stored as done.
    pub checkpoint: Option<Position>,
    /// Events acknowledged since this process started, repeats included.
    pub events: u64,
    /// How long after its write the last event was acknowledged; 0 when there is nothing more to do.
    pub lag_seconds: Option<f64>,
    /// Sent and not yet acknowledged: events.
    pub in_flight_events: usize,
    /// Read and not yet acknowledged: bytes of the budget.
    pub in_flight_bytes: usize,
    /// How often it was opened anew.
    pub restarts: u64,
    /// The last thing that went wrong, even if it is over.
    pub last_error: Option<LastError>,
}

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LastError {
    /// When, in seconds since 1970.
    pub at: u64,
    /// The kind's short name.
    pub kind: &'static str,
    /// What happened and what to do.
    pub message: String,
}

/// Writes a pipeline's entry. Clones write the same one.
#[derive(Clone, Debug)]
pub struct StatusHandle(watch::Sender<PipelineStatus>);

impl StatusHandle {
    /// Changes the entry.
    pub fn update(&self, change: impl FnOnce(&mut PipelineStatus)) {
        self.0.send_modify(change);
    }

    /// It is in that state now.
    pub fn state(&self, state: State) {
        self.update(|status| status.state = state);
    }

    /// Sink and source are open.
    pub fn running(&self, source: &str) {
        self.update(|status| {
            status.state = State::Running;
            status.source = Some(source.to_owned());
        });
    }

    /// An attempt ended with an error, and another one follows.
    pub fn retrying(&self, error: &Error) {
        self.update(|status| {
            status.state = State::Retrying;
            status.restarts += 1;
            status.last_error = Some(LastError::now(error));
        });
    }

    /// It ended with an error.
    pub fn failed(&self, error: &Error) {
        self.update(|status| {
            status.state = State::Failed;
            status.last_error = Some(LastError::now(error));
        });
    }

    /// The entry now.
    pub fn get(&self) -> PipelineStatus {
        self.0.borrow().clone()
    }
}

impl LastError {
    fn now(error: &Error) -> Self {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self { at, kind: error.kind().name(), message: error.to_string() }
    }
}

/// All pipelines of this process.
#[derive(Debug)]
pub struct Board {
    started: Instant,
    pipelines: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    sink: String,
    kind: &'static str,
    status: watch::Receiver<PipelineStatus>,
}

/// What `/status` answers.
#[derive(Debug, Serialize)]
pub struct Report {
    /// This program's version.
    pub version: &'static str,
    /// How long it runs.
    pub uptime_seconds: f64,
    /// Whether every pipeline is running.
    pub ready: bool,
    /// The pipelines, in the order of the configuration.
    pub pipelines: Vec<PipelineReport>,
}

/// One pipeline of a [`Report`].
#[derive(Debug, Serialize)]
pub struct PipelineReport {
    /// The sink's name.
    pub sink: String,
    /// The sink's type.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Its entry.
    #[serde(flatten)]
    pub status: PipelineStatus,
}

impl Board {
    /// An empty board; the uptime counts from now.
    pub fn new() -> Self {
        Self { started: Instant::now(), pipelines: Vec::new() }
    }

    /// Adds the pipeline of a sink, by its name and type.
    pub fn add(&mut self, sink: &str, kind: &'static str) -> StatusHandle {
        let (sender, status) = watch::channel(PipelineStatus::default());
        self.pipelines.push(Entry { sink: sink.to_owned(), kind, status });
        StatusHandle(sender)
    }

    /// The entry of a sink, to wait for its changes.
    pub fn watch(&self, sink: &str) -> Option<watch::Receiver<PipelineStatus>> {
        self.pipelines.iter().find(|entry| entry.sink == sink).map(|entry| entry.status.clone())
    }

    /// Everything, as it is now.
    pub fn report(&self) -> Report {
        let pipelines: Vec<PipelineReport> = self
            .pipelines
            .iter()
            .map(|Entry { sink, kind, status }| PipelineReport {
                sink: sink.clone(),
                kind,
                status: status.borrow().clone(),
            })
            .collect();
        Report {
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: self.started.elapsed().as_secs_f64(),
            ready: !pipelines.is_empty() && pipelines.iter().all(|one| one.status.state == State::Running),
            pipelines,
        }
    }
}

impl Default for Board {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::{Board, State};
    use crate::error::{Error, ErrorKind};

    #[test]
    fn ready_is_when_every_pipeline_runs() {
        let mut board = Board::new();
        assert!(!board.report().ready, "nothing to be ready for");
        let (first, second) = (board.add("a", "kafka"), board.add("b", "nats"));
        first.running("rs0");
        assert!(!board.report().ready);
        second.running("rs0");
        assert!(board.report().ready);
        second.retrying(&Error::new(ErrorKind::SinkUnavailable, "gone"));
        assert!(!board.report().ready);
    }

    #[test]
    fn an_error_stays_visible_when_it_is_over() {
        let mut board = Board::new();
        let handle = board.add("a", "kafka");
        handle.retrying(&Error::new(ErrorKind::SinkUnavailable, "gone"));
        handle.running("rs0");
        let status = handle.get();
        assert_eq!((status.state, status.restarts), (State::Running, 1));
        let last = status.last_error.expect("the error");
        assert_eq!(last.kind, "sink_unavailable");
        assert!(last.message.contains("gone"));
    }
}
