//! Which topics a watermark has to reach.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::format::{Record, Route, To};

/// One watermark of this many goes to all topics, so that consumers of a quiet one learn from time to time how far its silence reaches.
const ROUND: u32 = 60;

/// The topics of which some partitions got records since all of them got one. Only these need a watermark: it keeps a thousand quiet
/// topics from costing a thousand messages with each heartbeat.
#[derive(Debug, Default)]
pub(super) struct Touched {
    routes: Mutex<HashMap<String, Arc<Route>>>,
    watermarks: AtomicU32,
}

impl Touched {
    /// Records were sent.
    pub(super) fn note(&self, records: &[Record]) {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut last: Option<&Arc<Route>> = None;
        for record in records {
            if record.to == To::Every {
                routes.remove(&record.route.name);
                last = None;
            } else if !last.is_some_and(|last| Arc::ptr_eq(last, &record.route)) {
                routes.entry(record.route.name.clone()).or_insert_with(|| Arc::clone(&record.route));
                last = Some(&record.route);
            }
        }
    }

    /// Where the next watermark goes, out of `all`.
    pub(super) fn next_watermark(&self, all: impl FnOnce() -> Vec<Arc<Route>>) -> Vec<Arc<Route>> {
        if self.watermarks.fetch_add(1, Ordering::Relaxed) % ROUND == ROUND - 1 {
            return all();
        }
        self.routes.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Position;
    use crate::format::Addressing;

    fn record(route: &Arc<Route>, to: To) -> Record {
        Record {
            route: Arc::clone(route),
            to,
            header: 0..0,
            key: 0..0,
            value: None,
            at: Position::default(),
            deletes: false,
            is_manifest: false,
        }
    }

    #[test]
    fn a_watermark_goes_where_records_went_since_the_last_one() {
        let route =
            |name: &str| Arc::new(Route { bytes_max: 1, ..Route::new(name, Addressing::Partitions(3)) });
        let (a, b, c) = (route("a"), route("b"), route("c"));
        let touched = Touched::default();
        let next = || {
            let routes = touched.next_watermark(|| vec![Arc::clone(&a), Arc::clone(&b), Arc::clone(&c)]);
            let mut names: Vec<String> = routes.iter().map(|route| route.name.clone()).collect();
            names.sort();
            names.concat()
        };
        touched.note(&[
            record(&a, To::Partition(1)),
            record(&a, To::Partition(2)),
            record(&b, To::Partition(0)),
        ]);
        assert_eq!(next(), "ab");
        touched.note(&[record(&a, To::Every), record(&b, To::Every), record(&b, To::Partition(1))]);
        assert_eq!(next(), "b");
        touched.note(&[record(&b, To::Every)]);
        assert_eq!(next(), "");
        let rounds: String = (0..ROUND).map(|_| next()).collect();
        assert_eq!(rounds, "abc", "one round reaches all");
    }
}
