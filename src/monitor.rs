//! Turns what a pipeline does into metrics and status.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::event::{Mark, Position};
use crate::metrics::PipelineMetrics;
use crate::pipeline::{Budget, Durable, Monitor, RecordBatch};
use crate::source::Chunk;
use crate::status::{State, StatusHandle};

/// What one pipeline does, from its first attempt to its end, for those who watch it.
#[derive(Debug)]
pub struct Observed {
    metrics: PipelineMetrics,
    status: StatusHandle,
    budget: Budget,
    /// Records that are under way.
    records: AtomicUsize,
    /// Whether what the sink acknowledges is the checkpoint.
    sink_is_checkpoint: AtomicBool,
}

impl Observed {
    /// Watches a pipeline that has this budget.
    pub fn new(metrics: PipelineMetrics, status: StatusHandle, budget: Budget) -> Self {
        Self {
            metrics,
            status,
            budget,
            records: AtomicUsize::new(0),
            sink_is_checkpoint: AtomicBool::new(false),
        }
    }

    /// Sink and source are open; `source` is the replica set. `sink_is_checkpoint` is whether nothing is stored beside the sink's own
    /// records.
    pub fn opened(&self, source: &str, sink_is_checkpoint: bool) {
        self.sink_is_checkpoint.store(sink_is_checkpoint, Ordering::Relaxed);
        self.metrics.up(true);
        self.status.running(source);
    }

    /// An attempt has failed, another one follows.
    pub fn retrying(&self, error: &Error) {
        self.ended();
        self.metrics.failed(error.kind());
        self.metrics.restarted();
        self.status.retrying(error);
    }

    /// The pipeline has ended, as asked or with an error.
    pub fn finished(&self, error: Option<&Error>) {
        self.ended();
        match error {
            Some(error) => {
                self.metrics.failed(error.kind());
                self.status.failed(error);
            }
            None => self.status.state(State::Stopped),
        }
    }

    /// The last acknowledged position.
    pub fn position(&self) -> Option<Position> {
        self.status.get().position
    }

    /// From the oldest entry of the oplog to the last acknowledged one.
    pub fn oplog_window(&self, remaining: Duration) {
        self.metrics.oplog_window(remaining);
    }

    /// What is still under way will be read again.
    fn ended(&self) {
        self.records.store(0, Ordering::Relaxed);
        self.metrics.up(false);
        self.in_flight(0);
    }

    fn in_flight(&self, records: usize) {
        let bytes = self.budget.taken();
        self.metrics.in_flight(records, bytes);
        self.status.update(|status| {
            status.in_flight_events = records;
            status.in_flight_bytes = bytes;
        });
    }
}

impl Monitor for Observed {
    fn read(&self, chunk: &Chunk) {
        self.metrics.read(chunk.entries, chunk.size);
        if let Some(images) = &chunk.images {
            self.metrics.images(images.fetched);
        }
    }

    fn sent(&self, batch: &RecordBatch) {
        let before = self.records.fetch_add(batch.records.len(), Ordering::Relaxed);
        self.in_flight(before + batch.records.len());
    }

    fn durable(&self, durable: &Durable) {
        let before = self.records.fetch_sub(durable.records, Ordering::Relaxed);
        self.in_flight(before.saturating_sub(durable.records));
        let lag = self.metrics.durable(durable);
        if durable.records > 0 && self.sink_is_checkpoint.load(Ordering::Relaxed) {
            let at = durable.end.position();
            self.metrics.checkpoint_at(at, Instant::now());
            self.status.update(|status| status.checkpoint = Some(at));
        }
        self.status.update(|status| {
            status.position = Some(durable.end.position());
            status.events += u64::from(durable.counts.events());
            status.lag_seconds = Some(lag);
        });
    }

    fn stored(&self, mark: Mark, error: Option<&Error>) {
        if let Some(error) = error {
            self.metrics.checkpoint_failed();
            tracing::warn!(%error, "the checkpoint was not stored");
            return;
        }
        self.metrics.checkpoint_stored(mark.position(), Instant::now());
        self.status.update(|status| status.checkpoint = Some(mark.position()));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;

    use super::Observed;
    use crate::error::{Error, ErrorKind};
    use crate::event::{Mark, Position};
    use crate::format::{Addressing, Record, Route, To};
    use crate::metrics::Metrics;
    use crate::pipeline::{Budget, Counts, Durable, Faults, MissingImages, Monitor as _, RecordBatch};
    use crate::source::Chunk;
    use crate::source::images::{Attached, Fetched};
    use crate::status::{Board, State, StatusHandle};

    fn mark(i: u32) -> Mark {
        Mark::Tail { at: Position::of_entry(7, i), term: None }
    }

    fn record() -> Record {
        let route = Route { bytes_max: 1, ..Route::new("lines", Addressing::Lines) };
        Record {
            route: Arc::new(route),
            to: To::Line,
            header: 0..0,
            key: 0..0,
            value: None,
            at: mark(5).position(),
            deletes: false,
            is_manifest: false,
        }
    }

    fn batch(i: u32, counts: Counts, bytes: &'static [u8]) -> RecordBatch {
        RecordBatch {
            bytes: Bytes::from_static(bytes),
            records: Vec::new(),
            end: mark(i),
            ends_unit: true,
            wall_ms: Some(0),
            counts,
            source: "rs0".into(),
            hold: None,
        }
    }

    fn durable(batch: &RecordBatch, wall_ms: Option<i64>) -> Durable {
        Durable {
            end: batch.end,
            wall_ms,
            counts: batch.counts,
            records: batch.records.len(),
            bytes: batch.bytes.len(),
            sent: tokio::time::Instant::now(),
        }
    }

    fn observed() -> (Metrics, StatusHandle, Arc<Observed>) {
        let metrics = Metrics::new();
        let status = Board::new().add("events", "stdout");
        let observed =
            Observed::new(metrics.pipeline("events", 1 << 20), status.clone(), Budget::new(1 << 20));
        (metrics, status, Arc::new(observed))
    }

    #[track_caller]
    fn expect(metrics: &Metrics, lines: &[&str]) {
        let text = metrics.render();
        for line in lines {
            let line = format!("mongo_observer_{line}");
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn batches_are_counted_when_they_are_durable() {
        let (metrics, status, observed) = observed();
        observed.opened("rs0", false);
        observed.read(&Chunk { entries: 3, size: 300, ..Chunk::idle(mark(3)) });
        let first = batch(1, Counts { inserts: 2, deletes: 1, ..Counts::default() }, b"123456");
        observed.sent(&first);
        observed.sent(&batch(2, Counts { inserts: 7, ..Counts::default() }, b"12"));
        observed.durable(&durable(&first, Some(0)));
        observed.stored(mark(1), None);
        expect(
            &metrics,
            &[
                r#"source_entries_read_total{sink="events"} 3"#,
                r#"source_bytes_read_total{sink="events"} 300"#,
                r#"events_published_total{op="insert",sink="events"} 2"#,
                r#"events_published_total{op="delete",sink="events"} 1"#,
                r#"event_bytes_published_total{sink="events"} 6"#,
                r#"batches_published_total{sink="events"} 1"#,
                r#"publish_duration_seconds_count{sink="events"} 1"#,
                r#"end_to_end_latency_seconds_count{sink="events"} 1"#,
                r#"checkpoint_writes_total{sink="events"} 1"#,
                r#"checkpoint_timestamp_seconds{sink="events"} 7"#,
                r#"pipeline_up{sink="events"} 1"#,
            ],
        );
        let now = status.get();
        assert_eq!((now.state, now.source.as_deref()), (State::Running, Some("rs0")));
        assert_eq!((now.position, now.checkpoint), (Some(mark(1).position()), Some(mark(1).position())));
        assert!(now.lag_seconds.expect("known") > 1e9, "since 1970");
    }

    #[test]
    fn where_the_sink_is_the_checkpoint_its_acknowledgements_move_it() {
        let (metrics, status, observed) = observed();
        observed.opened("rs0", true);
        let batch = RecordBatch { records: vec![record()], ..batch(5, Counts::default(), b"1") };
        observed.sent(&batch);
        observed.durable(&durable(&batch, Some(0)));
        expect(
            &metrics,
            &[
                r#"checkpoint_timestamp_seconds{sink="events"} 7"#,
                r#"checkpoint_writes_total{sink="events"} 0"#,
            ],
        );
        assert_eq!(status.get().checkpoint, Some(mark(5).position()));
    }

    #[test]
    fn nothing_more_to_read_is_no_lag() {
        let (metrics, status, observed) = observed();
        for (i, wall_ms) in [(1, Some(0)), (2, None)] {
            let batch = batch(i, Counts::default(), b"");
            observed.sent(&batch);
            observed.durable(&durable(&batch, wall_ms));
        }
        expect(&metrics, &[r#"lag_seconds{sink="events"} 0"#, r#"batches_published_total{sink="events"} 0"#]);
        assert_eq!(status.get().lag_seconds, Some(0.0));
    }

    #[test]
    fn documents_that_were_fetched_are_counted_when_they_come() {
        let (metrics, _, observed) = observed();
        let mut images = Attached::default();
        images.fetched = Fetched { documents: 3, bytes: 70, elapsed: Duration::from_millis(2) };
        observed.read(&Chunk { images: Some(Arc::new(images)), ..Chunk::idle(mark(1)) });
        expect(
            &metrics,
            &[
                r#"images_fetched_total{sink="events"} 3"#,
                r#"image_bytes_fetched_total{sink="events"} 70"#,
                r#"image_fetch_duration_seconds_count{sink="events"} 1"#,
                r#"image_fetch_duration_seconds_sum{sink="events"} 0.002"#,
            ],
        );
    }

    #[test]
    fn a_failed_attempt_is_counted_and_what_was_under_way_is_not() {
        let (metrics, status, observed) = observed();
        observed.opened("rs0", false);
        observed.sent(&batch(1, Counts { inserts: 9, ..Counts::default() }, b"1"));
        let error = Error::new(ErrorKind::SinkUnavailable, "no broker answers");
        observed.retrying(&error);
        observed.opened("rs0", false);
        let skipped = Faults { unknown: 2, unreadable: 1, ..Faults::default() };
        let dead_letters = Faults { unreadable: 4, too_large: 3, ..Faults::default() };
        let missing_images = MissingImages { gone: 3, mismatch: 1, ..MissingImages::default() };
        let counts =
            Counts { updates: 1, header_only: 1, skipped, dead_letters, missing_images, ..Counts::default() };
        let again = batch(1, counts, b"1");
        observed.sent(&again);
        observed.durable(&durable(&again, Some(0)));
        observed.finished(None);
        expect(
            &metrics,
            &[
                r#"events_published_total{op="update",sink="events"} 1"#,
                r#"events_skipped_total{reason="unknown",sink="events"} 2"#,
                r#"events_skipped_total{reason="unreadable",sink="events"} 1"#,
                r#"dead_letters_published_total{reason="unreadable",sink="events"} 4"#,
                r#"dead_letters_published_total{reason="too_large",sink="events"} 3"#,
                r#"events_header_only_total{sink="events"} 1"#,
                r#"images_missing_total{reason="gone",sink="events"} 3"#,
                r#"images_missing_total{reason="mismatch",sink="events"} 1"#,
                r#"errors_total{kind="sink_unavailable",sink="events"} 1"#,
                r#"restarts_total{sink="events"} 1"#,
                r#"pipeline_up{sink="events"} 0"#,
            ],
        );
        assert!(!metrics.render().contains(r#"op="insert""#));
        assert_eq!((status.get().state, status.get().restarts), (State::Stopped, 1));
    }
}
