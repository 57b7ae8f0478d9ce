//! Metrics for Prometheus: names, labels and help texts in one place, typed handles for those who count.
//!
//! Nothing is global: a [`Metrics`] has its own registry, so tests run side by side. Pipelines count per batch, never per event.
//! Labels are names from the configuration and fixed words; never anything of a document.

mod client;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use prometheus::core::Collector;
use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::error::ErrorKind;
use crate::event::Position;
use crate::pipeline::{ClientMonitor, ClientStatistics, Counts, Durable};
use crate::source::images::Fetched;
use client::{ClientFamilies, ClientMetrics};

/// What every name begins with.
const PREFIX: &str = "mongo_observer";

/// From a broker on this machine to one that is about to be given up, in seconds.
const SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// All metrics of this process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    families: Families,
    pipelines: Mutex<Vec<PipelineMetrics>>,
}

/// The families that have a label `sink`, and for some a second one.
#[derive(Debug)]
struct Families {
    entries_read: IntCounterVec,
    bytes_read: IntCounterVec,
    events_published: IntCounterVec,
    bytes_published: IntCounterVec,
    batches_published: IntCounterVec,
    events_skipped: IntCounterVec,
    header_only: IntCounterVec,
    dead_letters: IntCounterVec,
    images_fetched: IntCounterVec,
    image_bytes_fetched: IntCounterVec,
    images_missing: IntCounterVec,
    image_fetch_duration: HistogramVec,
    in_flight_events: IntGaugeVec,
    in_flight_bytes: IntGaugeVec,
    in_flight_limit: IntGaugeVec,
    lag: GaugeVec,
    oplog_window: GaugeVec,
    publish_duration: HistogramVec,
    latency: HistogramVec,
    errors: IntCounterVec,
    restarts: IntCounterVec,
    checkpoint_writes: IntCounterVec,
    checkpoint_errors: IntCounterVec,
    checkpoint_timestamp: GaugeVec,
    checkpoint_age: GaugeVec,
    up: IntGaugeVec,
    client: ClientFamilies,
}

impl Metrics {
    /// A registry with every family, the build's version and what the system tells of this process.
    pub fn new() -> Self {
        let registry = Registry::new();
        let families = Families::registered(&registry);
        let build = IntGaugeVec::new(
            opts("build_info", "Always 1; the labels say what is running."),
            &["version", "revision"],
        );
        let build = register(&registry, build);
        let revision = option_env!("MONGO_OBSERVER_REVISION").unwrap_or("unknown");
        build.with_label_values(&[env!("CARGO_PKG_VERSION"), revision]).set(1);
        #[cfg(target_os = "linux")]
        registry
            .register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))
            .expect("its names are its own");
        Self { registry, families, pipelines: Mutex::default() }
    }

    /// The handles for the pipeline of that sink, with everything at zero.
    pub fn pipeline(&self, sink: &str, budget_bytes: u32) -> PipelineMetrics {
        let pipeline = PipelineMetrics(Arc::new(Handles::of(&self.families, sink)));
        self.families.in_flight_limit.with_label_values(&[sink]).set(budget_bytes.into());
        self.pipelines.lock().unwrap_or_else(PoisonError::into_inner).push(pipeline.clone());
        pipeline
    }

    /// Everything, in Prometheus' text format.
    pub fn render(&self) -> String {
        for pipeline in self.pipelines.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            pipeline.age(Instant::now());
        }
        let mut text = String::new();
        TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text).expect("a String takes any text");
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Families {
    fn registered(registry: &Registry) -> Self {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            register(registry, IntCounterVec::new(opts(name, help), labels))
        };
        let count =
            |name: &str, help: &str| register(registry, IntGaugeVec::new(opts(name, help), &["sink"]));
        let gauge = |name: &str, help: &str| register(registry, GaugeVec::new(opts(name, help), &["sink"]));
        let histogram = |name: &str, help: &str| {
            let opts = HistogramOpts::from(opts(name, help)).buckets(SECONDS.to_vec());
            register(registry, HistogramVec::new(opts, &["sink"]))
        };
        let sink = &["sink"];
        let (by_op, by_kind, by_reason) = (&["sink", "op"], &["sink", "kind"], &["sink", "reason"]);
        Self {
            entries_read: counter("source_entries_read_total", "Oplog entries read.", sink),
            bytes_read: counter("source_bytes_read_total", "Bytes of oplog entries read.", sink),
            events_published: counter("events_published_total", "Events acknowledged by the sink.", by_op),
            bytes_published: counter("event_bytes_published_total", "Bytes acknowledged by the sink.", sink),
            batches_published: counter("batches_published_total", "Batches acknowledged by the sink.", sink),
            events_skipped: counter("events_skipped_total", "Events left out, as configured.", by_reason),
            header_only: counter(
                "events_header_only_total",
                "Events too large, published without their documents.",
                sink,
            ),
            dead_letters: counter(
                "dead_letters_published_total",
                "Dead letters acknowledged by the sink.",
                by_reason,
            ),
            images_fetched: counter("images_fetched_total", "Documents fetched for images.", sink),
            image_bytes_fetched: counter("image_bytes_fetched_total", "Bytes of documents fetched.", sink),
            images_missing: counter("images_missing_total", "Images that events lack.", by_reason),
            image_fetch_duration: histogram("image_fetch_duration_seconds", "Fetching a chunk's documents."),
            in_flight_events: count("in_flight_events", "Events sent and not yet acknowledged."),
            in_flight_bytes: count("in_flight_bytes", "Bytes of the budget that are taken."),
            in_flight_limit: count("in_flight_limit_bytes", "The budget: how many bytes may be under way."),
            lag: gauge("lag_seconds", "From write to acknowledgement; 0 when caught up."),
            oplog_window: gauge("oplog_window_remaining_seconds", "Until the place falls off the oplog."),
            publish_duration: histogram("publish_duration_seconds", "From sending to acknowledgement."),
            latency: histogram("end_to_end_latency_seconds", "From the write to the acknowledgement."),
            errors: counter("errors_total", "Errors that ended an attempt.", by_kind),
            restarts: counter("restarts_total", "How often it was opened anew after an error.", sink),
            checkpoint_writes: counter("checkpoint_writes_total", "Checkpoints stored.", sink),
            checkpoint_errors: counter("checkpoint_errors_total", "Checkpoints that weren't stored.", sink),
            checkpoint_timestamp: gauge("checkpoint_timestamp_seconds", "Oplog time of the checkpoint."),
            checkpoint_age: gauge("checkpoint_age_seconds", "Since one was stored; 0 before the first."),
            client: ClientFamilies::registered(registry),
            up: count("pipeline_up", "1 while sink and source are open and events flow."),
        }
    }
}

/// Counts for one pipeline. Clones count the same.
#[derive(Clone, Debug)]
pub struct PipelineMetrics(Arc<Handles>);

#[derive(Debug)]
struct Handles {
    sink: String,
    entries_read: IntCounter,
    bytes_read: IntCounter,
    bytes_published: IntCounter,
    batches_published: IntCounter,
    header_only: IntCounter,
    images_fetched: IntCounter,
    image_bytes_fetched: IntCounter,
    image_fetch_duration: prometheus::Histogram,
    in_flight_events: IntGauge,
    in_flight_bytes: IntGauge,
    lag: prometheus::Gauge,
    oplog_window: prometheus::Gauge,
    publish_duration: prometheus::Histogram,
    latency: prometheus::Histogram,
    restarts: IntCounter,
    checkpoint_writes: IntCounter,
    checkpoint_errors: IntCounter,
    checkpoint_timestamp: prometheus::Gauge,
    checkpoint_age: prometheus::Gauge,
    up: IntGauge,
    events_published: IntCounterVec,
    events_skipped: IntCounterVec,
    dead_letters: IntCounterVec,
    images_missing: IntCounterVec,
    errors: IntCounterVec,
    client: ClientMetrics,
    stored_at: Mutex<Option<Instant>>,
}

impl Handles {
    fn of(families: &Families, sink: &str) -> Self {
        let label = &[sink];
        Self {
            sink: sink.to_owned(),
            entries_read: families.entries_read.with_label_values(label),
            bytes_read: families.bytes_read.with_label_values(label),
            bytes_published: families.bytes_published.with_label_values(label),
            batches_published: families.batches_published.with_label_values(label),
            header_only: families.header_only.with_label_values(label),
            images_fetched: families.images_fetched.with_label_values(label),
            image_bytes_fetched: families.image_bytes_fetched.with_label_values(label),
            image_fetch_duration: families.image_fetch_duration.with_label_values(label),
            in_flight_events: families.in_flight_events.with_label_values(label),
            in_flight_bytes: families.in_flight_bytes.with_label_values(label),
            lag: families.lag.with_label_values(label),
            oplog_window: families.oplog_window.with_label_values(label),
            publish_duration: families.publish_duration.with_label_values(label),
            latency: families.latency.with_label_values(label),
            restarts: families.restarts.with_label_values(label),
            checkpoint_writes: families.checkpoint_writes.with_label_values(label),
            checkpoint_errors: families.checkpoint_errors.with_label_values(label),
            checkpoint_timestamp: families.checkpoint_timestamp.with_label_values(label),
            checkpoint_age: families.checkpoint_age.with_label_values(label),
            up: families.up.with_label_values(label),
            events_published: families.events_published.clone(),
            events_skipped: families.events_skipped.clone(),
            dead_letters: families.dead_letters.clone(),
            images_missing: families.images_missing.clone(),
            errors: families.errors.clone(),
            client: ClientMetrics::new(&families.client, sink),
            stored_at: Mutex::default(),
        }
    }
}

impl PipelineMetrics {
    /// Entries came from the source.
    pub fn read(&self, entries: u32, bytes: usize) {
        self.0.entries_read.inc_by(entries.into());
        self.0.bytes_read.inc_by(bytes as u64);
    }

    /// Documents were fetched for a chunk.
    pub fn images(&self, fetched: Fetched) {
        self.0.images_fetched.inc_by(fetched.documents.into());
        self.0.image_bytes_fetched.inc_by(fetched.bytes as u64);
        self.0.image_fetch_duration.observe(fetched.elapsed.as_secs_f64());
    }

    /// So much is under way now: records sent and not acknowledged, bytes taken of the budget.
    pub fn in_flight(&self, records: usize, bytes: usize) {
        self.0.in_flight_events.set(signed(records));
        self.0.in_flight_bytes.set(signed(bytes));
    }

    /// The sink has acknowledged a batch of so many bytes. Gives the lag in seconds: 0 where the source had nothing more.
    pub fn durable(&self, durable: &Durable) -> f64 {
        let counts = durable.counts;
        let mut published = 0;
        for (op, count) in by_op(counts) {
            if count > 0 {
                self.0.events_published.with_label_values(&[self.0.sink.as_str(), op]).inc_by(count.into());
                published += count;
            }
        }
        self.0.header_only.inc_by(counts.header_only.into());
        self.by_reason(&self.0.events_skipped, &counts.skipped.by_reason());
        self.by_reason(&self.0.dead_letters, &counts.dead_letters.by_reason());
        self.by_reason(&self.0.images_missing, &counts.missing_images.by_reason());
        let lag = durable.wall_ms.map_or(0.0, seconds_since);
        self.0.lag.set(lag);
        if published > 0 {
            self.0.bytes_published.inc_by(durable.bytes as u64);
            self.0.batches_published.inc();
            self.0.publish_duration.observe(durable.sent.elapsed().as_secs_f64());
            self.0.latency.observe(lag);
        }
        lag
    }

    fn by_reason(&self, family: &IntCounterVec, counts: &[(&'static str, u32)]) {
        for (reason, count) in counts.iter().filter(|(_, count)| *count > 0) {
            family.with_label_values(&[self.0.sink.as_str(), reason]).inc_by((*count).into());
        }
    }

    /// From the oldest entry of the oplog to the last acknowledged one.
    pub fn oplog_window(&self, remaining: Duration) {
        self.0.oplog_window.set(remaining.as_secs_f64());
    }

    /// Whether sink and source are open.
    pub fn up(&self, up: bool) {
        self.0.up.set(up.into());
        if !up {
            self.0.client.closed();
        }
    }

    /// An attempt ended with an error of that kind.
    pub fn failed(&self, kind: ErrorKind) {
        self.0.errors.with_label_values(&[self.0.sink.as_str(), kind.name()]).inc();
    }

    /// Another attempt begins.
    pub fn restarted(&self) {
        self.0.restarts.inc();
    }

    /// A checkpoint was stored.
    pub fn checkpoint_stored(&self, at: Position, now: Instant) {
        self.0.checkpoint_writes.inc();
        self.checkpoint_at(at, now);
    }

    /// A start after a crash would begin there: the sink's own records say so.
    pub fn checkpoint_at(&self, at: Position, now: Instant) {
        self.0.checkpoint_timestamp.set(f64::from(at.t));
        *self.0.stored_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// A checkpoint could not be stored.
    pub fn checkpoint_failed(&self) {
        self.0.checkpoint_errors.inc();
    }

    fn age(&self, now: Instant) {
        let stored = *self.0.stored_at.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.checkpoint_age.set(stored.map_or(0.0, |stored| now.duration_since(stored).as_secs_f64()));
    }
}

impl ClientMonitor for PipelineMetrics {
    fn client(&self, statistics: &ClientStatistics) {
        self.0.client.tell(statistics);
    }
}

/// The values of the label `op`.
fn by_op(counts: Counts) -> [(&'static str, u32); 6] {
    [
        ("insert", counts.inserts),
        ("update", counts.updates),
        ("replace", counts.replaces),
        ("delete", counts.deletes),
        ("command", counts.commands),
        ("watermark", counts.watermarks),
    ]
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace(PREFIX)
}

/// Registers what was made from constants: neither step can fail once a test has seen it work.
fn register<T: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<T>) -> T {
    let collector = made.expect("names and labels are valid");
    registry.register(Box::new(collector.clone())).expect("names are unique");
    collector
}

/// Never negative: the clocks of two machines differ.
fn seconds_since(wall_ms: i64) -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_millis(u64::try_from(wall_ms).unwrap_or(0))).as_secs_f64()
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
