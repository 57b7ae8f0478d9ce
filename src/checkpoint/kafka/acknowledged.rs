//! What brokers have confirmed, partition by partition: it must still be there when the sink is opened again.
//!
//! A broker confirms records that only its memory holds. One that loses its machine may come back with a log that ends earlier, and go on
//! there. So the checkpoint says where the partitions ended that were written to lately. What was confirmed long ago is on disk.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::event::Position;
use crate::pipeline::Checkpoint;

/// After that time brokers have written what they confirmed to their disks: systems do so within a minute.
const SETTLED_AFTER: Duration = Duration::from_secs(600);

/// Of so many partitions the ends are kept, the latest.
const PARTITIONS_MAX: usize = 256;

/// No record yet.
const NOTHING: i64 = -1;

/// A topic and the number of a partition.
pub(crate) type Partition = (String, i32);

/// What a checkpoint says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ends {
    /// A checkpoint whose events no broker loses any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settled: Option<Settled>,
    /// The offset of the last confirmed record, by topic and partition.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    partitions: BTreeMap<String, BTreeMap<i32, i64>>,
}

impl Ends {
    /// Whether it says nothing.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A place to go back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settled {
    pub(crate) at: Position,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) term: Option<i64>,
}

/// Where a partition ends, as far as this connector knows.
#[derive(Clone, Debug)]
pub(crate) struct End(Arc<AtomicI64>);

impl End {
    /// A record was confirmed. Whether it stands behind all that were confirmed before; else the partition has lost some of them. An
    /// offset below 0 is none: brokers don't say where a repeated record stands.
    pub(crate) fn confirmed(&self, offset: i64) -> bool {
        offset < 0 || self.0.fetch_max(offset, Ordering::Relaxed) < offset
    }

    /// The offset of the last confirmed record.
    fn last(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|last| *last > NOTHING)
    }
}

/// The ends of all partitions that a sink has written to, over all its attempts. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Acknowledged(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    partitions: HashMap<Partition, Known>,
    settled: Option<Settled>,
    /// What will be settled, and since when it waits.
    next: Option<(Instant, Settled)>,
    /// What a checkpoint says, until the sink is opened.
    found: Option<Ends>,
}

#[derive(Debug)]
struct Known {
    end: End,
    /// What was written last, and when that was new.
    written: i64,
    since: Instant,
}

impl Acknowledged {
    /// The end of a partition, to be moved by whoever hears of its records.
    pub(crate) fn end(&self, topic: &str, partition: i32) -> End {
        self.lock().known((topic.to_owned(), partition)).end.clone()
    }

    /// A checkpoint was read.
    pub(super) fn found(&self, ends: Ends) {
        self.lock().found = Some(ends);
    }

    /// The sink is opened: what must be there, by the offset of each partition's last confirmed record.
    pub(crate) fn expected(&self) -> Vec<(Partition, i64)> {
        let mut state = self.lock();
        if let Some(Ends { settled, partitions }) = state.found.take() {
            state.settled = settled.or(state.settled);
            for (topic, partitions) in partitions {
                for (partition, last) in partitions {
                    state.known((topic.clone(), partition)).end.confirmed(last);
                }
            }
        }
        let known = state.partitions.iter();
        known.filter_map(|(partition, known)| Some((partition.clone(), known.end.last()?))).collect()
    }

    /// Where to go on if a partition has lost what can't be told otherwise.
    pub(crate) fn settled(&self) -> Option<Settled> {
        self.lock().settled
    }

    /// Nothing must be there any more: the operator wants to begin anew, or it will be sent again.
    pub(crate) fn forget(&self, partition: &Partition) {
        self.lock().partitions.remove(partition);
    }

    /// What a checkpoint is to say now.
    pub(crate) fn ends(&self, checkpoint: &Checkpoint, now: Instant) -> Ends {
        let mut state = self.lock();
        let current = Settled { at: checkpoint.at, term: checkpoint.term };
        state.settle(current, now);
        let mut ends: Vec<(&Partition, i64, Instant)> = Vec::new();
        for (partition, known) in &mut state.partitions {
            let Some(last) = known.end.last() else { continue };
            if last > known.written {
                (known.written, known.since) = (last, now);
            }
            // Twice, as what is settled is up to so old.
            if now.duration_since(known.since) < 2 * SETTLED_AFTER {
                ends.push((partition, last, known.since));
            }
        }
        if ends.len() > PARTITIONS_MAX {
            ends.sort_by_key(|(_, _, since)| std::cmp::Reverse(*since));
            ends.truncate(PARTITIONS_MAX);
        }
        let mut partitions: BTreeMap<String, BTreeMap<i32, i64>> = BTreeMap::new();
        for ((topic, partition), last, _) in ends {
            partitions.entry(topic.clone()).or_default().insert(*partition, last);
        }
        Ends { settled: state.settled, partitions }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn known(&mut self, partition: Partition) -> &Known {
        self.partitions.entry(partition).or_insert_with(|| Known {
            end: End(Arc::new(AtomicI64::new(NOTHING))),
            written: NOTHING,
            since: Instant::now(),
        })
    }

    /// What waits long enough is settled, and the newest begins to wait.
    fn settle(&mut self, current: Settled, now: Instant) {
        let waiting = *self.next.get_or_insert((now, current));
        if self.settled.is_none() {
            self.settled = Some(current);
        } else if now.duration_since(waiting.0) >= SETTLED_AFTER {
            self.settled = Some(waiting.1);
            self.next = Some((now, current));
        }
        // The sink went back.
        self.settled = self.settled.map(|settled| if settled.at > current.at { current } else { settled });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(t: u32) -> Checkpoint {
        Checkpoint { at: Position::of_entry(t, 1), term: Some(1), source: "rs0".to_owned() }
    }

    fn settled(ends: &Ends) -> Option<u32> {
        ends.settled.map(|settled| settled.at.t)
    }

    #[test]
    fn what_was_confirmed_is_expected_by_the_next_to_open_the_sink() {
        let acknowledged = Acknowledged::default();
        let (end, other) = (acknowledged.end("a", 0), acknowledged.end("a", 2));
        assert!(end.confirmed(0) && end.confirmed(7) && end.confirmed(-1), "a repeated record has no offset");
        assert!(other.confirmed(-5), "and says nothing");
        let ends = acknowledged.ends(&checkpoint(5), Instant::now());
        let text = serde_json::to_string(&ends).expect("plain data");
        assert_eq!(
            text,
            r#"{"settled":{"at":"0000000005-0000000001-0000000000","term":1},"partitions":{"a":{"0":7}}}"#
        );
        let next = Acknowledged::default();
        next.found(serde_json::from_str(&text).expect("readable"));
        assert!(next.ends(&checkpoint(5), Instant::now()).partitions.is_empty(), "not before it is opened");
        assert_eq!(next.expected(), [(("a".to_owned(), 0), 7)]);
        assert_eq!(next.settled().map(|settled| settled.at), Some(checkpoint(5).at));
        assert!(!next.end("a", 0).confirmed(7), "it stands where another one stood");
        assert!(next.end("a", 0).confirmed(8));
        next.forget(&("a".to_owned(), 0));
        assert!(next.end("a", 0).confirmed(3), "it is as new");
    }

    #[test]
    fn what_is_old_is_settled_and_its_partitions_are_left_out() {
        let acknowledged = Acknowledged::default();
        let began = Instant::now();
        let after = |minutes: u64| began + Duration::from_secs(60 * minutes);
        acknowledged.end("quiet", 0).confirmed(1);
        let busy = acknowledged.end("busy", 0);
        let mut seen = Vec::new();
        for minute in 0..45 {
            busy.confirmed(i64::try_from(minute).expect("small"));
            let ends =
                acknowledged.ends(&checkpoint(1 + u32::try_from(minute).expect("small")), after(minute));
            assert!(ends.partitions.contains_key("busy"));
            seen.push((settled(&ends).expect("from the first on"), ends.partitions.contains_key("quiet")));
        }
        assert_eq!(seen[0], (1, true));
        assert_eq!((seen[9], seen[19]), ((1, true), (1, true)));
        assert_eq!((seen[20], seen[30], seen[44]), ((11, false), (21, false), (31, false)));
        // Going back takes what is settled along.
        assert_eq!(settled(&acknowledged.ends(&checkpoint(3), after(45))), Some(3));
    }

    #[test]
    fn only_the_latest_partitions_are_told() {
        let acknowledged = Acknowledged::default();
        let now = Instant::now();
        for partition in 0..300 {
            acknowledged.end("old", partition).confirmed(1);
        }
        acknowledged.ends(&checkpoint(1), now);
        acknowledged.end("new", 0).confirmed(1);
        let ends = acknowledged.ends(&checkpoint(2), now + Duration::from_secs(1));
        assert_eq!(ends.partitions.values().map(BTreeMap::len).sum::<usize>(), PARTITIONS_MAX);
        assert!(ends.partitions.contains_key("new"));
    }
}
