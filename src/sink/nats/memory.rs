//! What a sink remembers from one opening to the next.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::pipeline::Checkpoint;

/// So many conflicts in a row are no stragglers of our own: somebody else writes.
const CONFLICTS_MAX: u32 = 3;

/// Conflicts further apart are not in a row.
const CONFLICT_INTERVAL: Duration = Duration::from_secs(60);

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
/// One may come from messages of our own that were still under way when their connection was given up. Two writers make each other
/// one after the other, however much each of them gets done in between.
#[derive(Debug, Default)]
struct Conflicts {
    count: u32,
    last: Option<Instant>,
}

impl Conflicts {
    fn add(&mut self, now: Instant) -> u32 {
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
    use super::{CONFLICT_INTERVAL, Conflicts};
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
}
