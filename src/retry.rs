//! How long to wait before something is tried again.

use std::time::{Duration, Instant};

/// Pauses that grow from one failure to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pauses {
    /// The first pause; each further one is twice as long.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { first: Duration::from_millis(100), longest: Duration::from_secs(5) }
    }
}

impl Pauses {
    /// The pause behind the `failures`-th failure in a row. `jitter` lies in 0..1 and keeps a fleet from coming back all at once.
    pub fn behind(&self, failures: u32, jitter: f64) -> Duration {
        let doubled = self.first.saturating_mul(1 << failures.saturating_sub(1).min(16));
        doubled.min(self.longest).mul_f64(0.5 + jitter / 2.0)
    }
}

/// Anything in 0..1 that differs between processes.
pub fn jitter(started: Instant) -> f64 {
    f64::from(started.elapsed().subsec_nanos() % 1000) / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let pauses = Pauses { first: Duration::from_millis(100), longest: Duration::from_secs(1) };
        let of = |failures| pauses.behind(failures, 1.0).as_millis();
        assert_eq!([of(1), of(2), of(3), of(4), of(5), of(u32::MAX)], [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(pauses.behind(1, 0.0).as_millis(), 50);
    }
}
