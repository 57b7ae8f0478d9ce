//! Measures and their table.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use super::Variant;

/// What one run of one variant took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measure {
    /// Seconds, from the first read to the last acknowledgement.
    pub(crate) seconds: f64,
    /// Peak resident memory of the process, in megabytes (2^20).
    pub(crate) memory_mb: f64,
    /// Processor time of the process, in seconds.
    pub(crate) cpu_seconds: f64,
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s {:.1} MB {:.2} cpu-s", self.seconds, self.memory_mb, self.cpu_seconds)
    }
}

impl FromStr for Measure {
    type Err = std::num::ParseFloatError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut numbers = text.split_whitespace().step_by(2).map(str::parse);
        let mut next = || numbers.next().unwrap_or(Ok(f64::NAN));
        Ok(Self { seconds: next()?, memory_mb: next()?, cpu_seconds: next()? })
    }
}

impl Measure {
    /// Of a process that still runs: its memory and processor time so far.
    pub(crate) fn of(pid: u32, seconds: f64) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
        let peak_kb: f64 = peak.trim().trim_end_matches(" kB").parse().unwrap_or(0.0);
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // Behind the name in brackets; user and system time are the 14th and 15th field, in hundredths.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let ticks =
            |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
        Self { seconds, memory_mb: peak_kb / 1024.0, cpu_seconds: (ticks(11) + ticks(12)) / 100.0 }
    }
}

/// All runs.
#[derive(Default)]
pub(crate) struct Table {
    runs: Vec<(Variant, Measure)>,
}

impl Table {
    pub(crate) fn add(&mut self, variant: Variant, measure: Measure) {
        self.runs.push((variant, measure));
    }

    fn of(&self, variant: Variant, value: impl Fn(&Measure) -> f64) -> Vec<f64> {
        self.runs.iter().filter(|(other, _)| *other == variant).map(|(_, measure)| value(measure)).collect()
    }

    /// The median ratio, round by round.
    fn ratio(&self, variant: Variant, base: Variant) -> f64 {
        let seconds = |variant| self.of(variant, |measure| measure.seconds);
        median(seconds(base).iter().zip(seconds(variant)).map(|(base, mine)| base / mine).collect())
    }

    /// The table as text: medians, the span of the rates, and the ratios that matter.
    pub(crate) fn render(&self, events: u64) -> String {
        #[allow(clippy::cast_precision_loss)]
        let events = events as f64;
        let mut text = format!(
            "{:<44} {:>10} {:>19} {:>10} {:>9}\n",
            "variant (1 KB inserts)", "events/s", "min – max", "peak MB", "cpu s"
        );
        for (variant, name) in [
            (Variant::Cursor, "bare oplog cursor"),
            (Variant::Producer, "bare producer, our settings"),
            (Variant::Pipe, "bare pipe: that cursor into that producer"),
            (Variant::Chain, "bare NATS chain, our headers"),
            (Variant::ChainPipe, "bare NATS pipe: that cursor into that chain"),
            (Variant::ToNull, "mongo-observer to standard output (null)"),
            (Variant::ToKafka, "mongo-observer to Kafka"),
            (Variant::OnceToKafka, "mongo-observer to Kafka, exactly once"),
            (Variant::Pipe12, "bare pipe into 12 partitions"),
            (Variant::ToKafka12, "mongo-observer to Kafka, 12 partitions"),
            (Variant::OnceToKafka12, "the same, exactly once"),
            (Variant::ToNats, "mongo-observer to NATS"),
        ] {
            let rates = self.of(variant, |measure| events / measure.seconds);
            if rates.is_empty() {
                continue;
            }
            let (least, most) =
                rates.iter().fold((f64::MAX, 0.0_f64), |(a, b), rate| (a.min(*rate), b.max(*rate)));
            let _ = writeln!(
                text,
                "{name:<44} {:>10.0} {:>19} {:>10.1} {:>9.2}",
                median(rates),
                format!("{least:.0} – {most:.0}"),
                median(self.of(variant, |measure| measure.memory_mb)),
                median(self.of(variant, |measure| measure.cpu_seconds)),
            );
        }
        for (name, variant, base) in [
            ("Kafka : bare pipe", Variant::ToKafka, Variant::Pipe),
            ("Kafka : bare producer", Variant::ToKafka, Variant::Producer),
            ("once  : at least once", Variant::OnceToKafka, Variant::ToKafka),
            ("Kafka : bare pipe, 12", Variant::ToKafka12, Variant::Pipe12),
            ("once  : at least once, 12", Variant::OnceToKafka12, Variant::ToKafka12),
            ("NATS  : bare NATS pipe", Variant::ToNats, Variant::ChainPipe),
            ("NATS  : bare chain", Variant::ToNats, Variant::Chain),
            ("null  : bare cursor", Variant::ToNull, Variant::Cursor),
        ] {
            let ratio = self.ratio(variant, base);
            if !ratio.is_nan() {
                let _ = writeln!(text, "ratio {name:<26} {ratio:.2}");
            }
        }
        text
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
