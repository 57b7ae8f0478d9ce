//! When a transaction of Kafka ends, and how it is told that a MongoDB transaction had to be spread over several. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::event::Position;

/// When transactions end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// At this age.
    pub(super) interval: Duration,
    /// At this size, in bytes of records.
    pub(super) bytes: usize,
    /// In the middle of a MongoDB transaction that is larger.
    pub(super) unit_bytes: usize,
    /// How long the brokers leave one open.
    pub(super) timeout: Duration,
}

/// A transaction so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    began: Instant,
    bytes: usize,
    /// Bytes since the last place where a MongoDB transaction, or an entry, ended.
    unit_bytes: usize,
}

impl Progress {
    /// An empty one.
    pub(super) fn new(now: Instant) -> Self {
        Self { began: now, bytes: 0, unit_bytes: 0 }
    }

    /// A batch of that size belongs to it; `ends_unit` is whether it ends where a MongoDB transaction does.
    pub(super) fn add(&mut self, bytes: usize, ends_unit: bool) {
        self.bytes += bytes;
        self.unit_bytes = if ends_unit { 0 } else { self.unit_bytes + bytes.max(1) };
    }

    /// When it is to be committed, if nothing more comes. In the middle of a MongoDB transaction only where that is too large, or takes
    /// too long: the brokers would abort it, and again each time that it is sent anew.
    pub(super) fn due(&self, limits: &Limits) -> Instant {
        let whole = self.unit_bytes == 0;
        let full = if whole { self.bytes >= limits.bytes } else { self.unit_bytes >= limits.unit_bytes };
        match (full, whole) {
            (true, _) => self.began,
            (false, true) => self.began + limits.interval,
            (false, false) => self.began + self.longest(limits),
        }
    }

    /// When it has failed: the brokers have aborted it, or soon will.
    pub(super) fn expires(&self, limits: &Limits) -> Instant {
        self.began + limits.timeout
    }

    #[allow(clippy::unused_self, reason = "beside `due`")]
    fn longest(&self, limits: &Limits) -> Duration {
        limits.interval.max(limits.timeout / 2)
    }
}

/// A MongoDB transaction of which a part has been committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Split {
    /// The timestamp that all its operations share.
    unit: (u32, u32),
    /// How many transactions of Kafka hold what is done.
    pub(super) parts: u32,
}

impl Split {
    /// The header of the records that go on with a MongoDB transaction: the number of the part, from 1, the second one.
    pub(super) const HEADER: &'static str = "part";

    /// After `parts` that end with the operation at that position.
    pub(super) fn after(at: Position, parts: u32) -> Option<Self> {
        (parts > 0).then_some(Self { unit: at.timestamp(), parts })
    }

    /// After one more, which ends at that position, in the middle of its MongoDB transaction.
    pub(super) fn again(split: Option<Self>, at: Position) -> Self {
        let unit = at.timestamp();
        let before = split.filter(|split| split.unit == unit).map_or(0, |split| split.parts);
        Self { unit, parts: before.saturating_add(1) }
    }

    /// The part that a record belongs to, if it goes on with this MongoDB transaction.
    pub(super) fn part_of(self, at: Position) -> Option<u32> {
        (at.timestamp() == self.unit).then_some(self.parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        interval: Duration::from_millis(100),
        bytes: 1000,
        unit_bytes: 5000,
        timeout: Duration::from_secs(60),
    };

    #[test]
    fn it_ends_by_age_or_by_size_where_a_mongodb_transaction_ends() {
        let now = Instant::now();
        let mut progress = Progress::new(now);
        progress.add(0, true);
        assert_eq!(progress.due(&LIMITS), now + LIMITS.interval, "a mark alone is worth one, too");
        progress.add(999, true);
        assert_eq!(progress.due(&LIMITS), now + LIMITS.interval);
        progress.add(1, true);
        assert_eq!(progress.due(&LIMITS), now);
        progress.add(0, false);
        assert_eq!(progress.due(&LIMITS), now + LIMITS.timeout / 2, "an empty chunk is still a part");
        progress.add(4998, false);
        assert_eq!(progress.due(&LIMITS), now + LIMITS.timeout / 2);
        progress.add(1, false);
        assert_eq!(progress.due(&LIMITS), now, "too large");
        progress.add(1, true);
        assert_eq!(progress.due(&LIMITS), now);
        assert_eq!(progress.expires(&LIMITS), now + LIMITS.timeout);
    }

    #[test]
    fn what_came_before_a_mongodb_transaction_does_not_count_for_its_limit() {
        let mut progress = Progress::new(Instant::now());
        progress.add(900, true);
        progress.add(4999, false);
        assert!(progress.due(&LIMITS) > progress.began);
    }

    #[test]
    fn only_the_rest_of_a_mongodb_transaction_is_marked() {
        let at = |i, ordinal| Position { t: 5, i, ordinal };
        assert_eq!(Split::after(at(1, 7), 0), None);
        let first = Split::again(None, at(1, 7));
        assert_eq!((first.part_of(at(1, 8)), first.part_of(at(2, 0))), (Some(1), None));
        let second = Split::again(Some(first), at(1, 20));
        assert_eq!(second.part_of(at(1, 21)), Some(2));
        assert_eq!(Split::after(at(1, 20), 2), Some(second), "as a checkpoint tells it");
        assert_eq!(Split::again(Some(second), at(2, 3)).part_of(at(2, 4)), Some(1), "another one");
    }
}
