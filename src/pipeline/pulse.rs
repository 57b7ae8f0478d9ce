//! When a watermark is due: nothing was published for a while, and the source has moved. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::event::Position;

/// Watches what is published.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pulse {
    interval: Duration,
    published: Instant,
    at: Option<Position>,
    at_once: bool,
}

impl Pulse {
    /// A pulse that beats when nothing was published for `interval`.
    pub(super) fn new(interval: Duration, now: Instant) -> Self {
        Self { interval, published: now, at: None, at_once: false }
    }

    /// The same, with a first beat that waits for nothing.
    pub(super) fn at_once(self) -> Self {
        Self { at_once: true, ..self }
    }

    /// Whether a watermark should say `at` now; `published` is whether records up to there are being published anyway.
    pub(super) fn due(&mut self, at: Position, published: bool, now: Instant) -> bool {
        let due = !published
            && (self.at_once || now.duration_since(self.published) >= self.interval)
            && self.at.is_none_or(|last| last < at);
        if published || due {
            self.published = now;
            self.at = Some(at);
            self.at_once = false;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_only_after_a_quiet_interval_and_only_if_the_source_has_moved() {
        let start = Instant::now();
        let at = |t| Position::of_entry(t, 1);
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut pulse = Pulse::new(Duration::from_secs(10), start);
        assert!(!pulse.due(at(1), false, after(9)));
        assert!(pulse.due(at(1), false, after(10)));
        assert!(!pulse.due(at(2), false, after(19)), "the interval begins anew with each beat");
        assert!(!pulse.due(at(1), false, after(20)), "the source has not moved");
        assert!(pulse.due(at(2), false, after(20)));
        assert!(!pulse.due(at(3), true, after(31)), "records say it themselves");
        assert!(!pulse.due(at(4), false, after(40)));
        assert!(pulse.due(at(4), false, after(41)));
    }

    #[test]
    fn the_first_beat_may_come_at_once_unless_records_make_it_needless() {
        let start = Instant::now();
        let at = |t| Position::of_entry(t, 1);
        let mut pulse = Pulse::new(Duration::from_secs(10), start).at_once();
        assert!(pulse.due(at(1), false, start));
        assert!(!pulse.due(at(2), false, start));
        let mut pulse = Pulse::new(Duration::from_secs(10), start).at_once();
        assert!(!pulse.due(at(1), true, start));
        assert!(!pulse.due(at(2), false, start));
    }
}
