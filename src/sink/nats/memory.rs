//! What a sink remembers from one opening to the next.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::pipeline::Checkpoint;

/// So many conflicts in a row are no accident: somebody else writes.
const CONFLICTS_MAX: u32 = 3;

/// Conflicts further apart are not in a row.
const CONFLICT_INTERVAL: Duration = Duration::from_secs(60);

/// For how long records that were under way when their connection was given up may still come through.
const STRAGGLERS_INTERVAL: Duration = Duration::from_secs(60);

/// Shared by the settings, which open the sink again and again, and the chain of the day.
#[derive(Debug, Default)]
pub(super) struct Memory {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    acknowledged: Option<Checkpoint>,
    conflicts: Conflicts,
}

impl Memory {
    /// The stream holds everything up to there.
    pub(super) fn acknowledge(&self, upto: Checkpoint) {
        self.lock().acknowledged = Some(upto);
    }

    /// Up to where the stream has held everything, as far as this process knows.
    pub(super) fn acknowledged(&self) -> Option<Checkpoint> {
        self.lock().acknowledged.clone()
    }

    /// A chain begins.
    pub(super) fn begin(&self) {
        self.lock().conflicts.begin(Instant::now());
    }

    /// The stream's sequence was not where we left it. Returns whether that can't be chance any more.
    pub(super) fn conflict(&self) -> bool {
        self.lock().conflicts.add(Instant::now()) >= CONFLICTS_MAX
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts conflicts that follow each other closely. Pure.
///
/// Two writers make each other one after the other, however much each of them gets done in between. But a chain that ended otherwise,
/// as with a broken connection, may have left records under way: what comes of them is our own.
#[derive(Debug, Default)]
struct Conflicts {
    count: u32,
    last: Option<Instant>,
    /// Whether there was a chain before, and a conflict was not its end.
    may_leave_stragglers: bool,
    stragglers_until: Option<Instant>,
}

impl Conflicts {
    fn begin(&mut self, now: Instant) {
        if self.may_leave_stragglers {
            self.stragglers_until = Some(now + STRAGGLERS_INTERVAL);
        }
        self.may_leave_stragglers = true;
    }

    fn add(&mut self, now: Instant) -> u32 {
        // Whatever else that chain had under way is refused, too.
        self.may_leave_stragglers = false;
        if self.stragglers_until.is_some_and(|until| now < until) {
            return 0;
        }
        if self.last.is_none_or(|last| now.duration_since(last) > CONFLICT_INTERVAL) {
            self.count = 0;
        }
        self.count += 1;
        self.last = Some(now);
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::{CONFLICT_INTERVAL, Conflicts, STRAGGLERS_INTERVAL};
    use std::time::Duration;
    use tokio::time::Instant;

    #[test]
    fn only_conflicts_in_a_row_count() {
        let mut conflicts = Conflicts::default();
        let start = Instant::now();
        assert_eq!(conflicts.add(start), 1);
        assert_eq!(conflicts.add(start + CONFLICT_INTERVAL), 2);
        assert_eq!(conflicts.add(start + 2 * CONFLICT_INTERVAL + Duration::from_secs(1)), 1);
    }

    #[test]
    fn stragglers_of_our_own_are_nobody_else() {
        let mut conflicts = Conflicts::default();
        let start = Instant::now();
        conflicts.begin(start);
        assert_eq!(conflicts.add(start), 1, "nothing of ours was under way");
        conflicts.begin(start);
        assert_eq!(conflicts.add(start), 2, "a conflict leaves nothing under way");
        conflicts.begin(start);
        conflicts.begin(start);
        assert_eq!(conflicts.add(start), 0, "the one before has ended otherwise");
        conflicts.begin(start);
        assert_eq!(conflicts.add(start), 0);
        let later = start + STRAGGLERS_INTERVAL;
        conflicts.begin(later);
        assert_eq!(conflicts.add(later), 3);
    }
}
