//! How much of a partition's records librdkafka has at a time.
//!
//! An idempotent producer has one request under way for each partition. Whenever another batch of that partition is ready behind it, full
//! or older than `linger.ms`, librdkafka's thread does not sleep until the answer comes: it looks again and again, and takes a whole
//! processor from everybody else. Measured with one partition on two processors: 4.3 s of processor time instead of 2.8 for 500,000 events
//! of 1 KB, and an eighth of the rate. So of each partition it gets the batch that is under way and not quite a second one; the rest waits
//! here. What waits is bounded by the pipeline's budget.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::deliver::{Ack, Failure};
use crate::format::{Record, Route};

/// Where a record goes: a partition of a topic.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) route: Arc<Route>,
    pub(super) partition: i32,
    window: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes that librdkafka has and has not reported on.
    under_way: usize,
    waiting: VecDeque<Waiting>,
}

/// Records and the bytes they lie in; kept until the last one is handed over.
#[derive(Debug)]
pub(super) struct Data {
    pub(super) bytes: Bytes,
    pub(super) records: Vec<Record>,
}

impl Data {
    pub(super) fn slice(&self, range: &Range<u32>) -> &[u8] {
        &self.bytes[range.start as usize..range.end as usize]
    }
}

/// A record that is to be handed over.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) data: Arc<Data>,
    /// Its index there.
    pub(super) index: usize,
    /// Who hears of it.
    pub(super) ack: Arc<Ack>,
}

impl Waiting {
    pub(super) fn record(&self) -> &Record {
        &self.data.records[self.index]
    }

    /// What librdkafka counts of it, in bytes.
    pub(super) fn size(&self) -> usize {
        let record = self.record();
        record.key.len() + record.value.as_ref().map_or(0, ExactSizeIterator::len)
    }
}

impl Lane {
    fn new(route: Arc<Route>, partition: i32, window: usize) -> Self {
        Self { route, partition, window, state: Mutex::default() }
    }

    /// Hands a record over with `send`, or keeps it until there is room. Records leave in the order in which they came.
    pub(super) fn offer(
        &self,
        record: Waiting,
        send: impl FnMut(&Waiting) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut state = self.lock();
        state.waiting.push_back(record);
        self.fill(&mut state, send)
    }

    /// That many bytes have been reported on: hands over what there is room for now.
    pub(super) fn reported(
        &self,
        bytes: usize,
        send: impl FnMut(&Waiting) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut state = self.lock();
        state.under_way = state.under_way.saturating_sub(bytes);
        self.fill(&mut state, send)
    }

    /// Takes out everything that waits, since nothing is sent any more.
    pub(super) fn clear(&self) -> VecDeque<Waiting> {
        std::mem::take(&mut self.lock().waiting)
    }

    fn fill(
        &self,
        state: &mut State,
        mut send: impl FnMut(&Waiting) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        while let Some(next) = state.waiting.front() {
            let size = next.size();
            // One that is larger than the window goes alone.
            if state.under_way > 0 && state.under_way + size > self.window {
                break;
            }
            send(next)?;
            state.under_way += size;
            state.waiting.pop_front();
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lanes of one producer.
#[derive(Debug)]
pub(super) struct Lanes {
    /// In bytes.
    window: usize,
    /// By the route's address, which its lanes keep alive.
    lanes: HashMap<(usize, i32), Arc<Lane>>,
}

impl Lanes {
    /// Lanes for a producer with that `batch.size`.
    pub(super) fn new(batch_bytes: usize) -> Self {
        Self { window: batch_bytes / 10 * 19, lanes: HashMap::new() }
    }

    /// The lane of a partition; `opened` sees a new one.
    pub(super) fn lane(
        &mut self,
        route: &Arc<Route>,
        partition: i32,
        opened: impl FnOnce(&Arc<Lane>),
    ) -> Arc<Lane> {
        let window = self.window;
        let lane = self.lanes.entry((Arc::as_ptr(route).addr(), partition)).or_insert_with(|| {
            let lane = Arc::new(Lane::new(Arc::clone(route), partition, window));
            opened(&lane);
            lane
        });
        Arc::clone(lane)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Position;
    use crate::format::{Addressing, To};

    /// Records of these sizes.
    fn waiting(sizes: &[u32]) -> Vec<Waiting> {
        let route = route();
        let mut start = 0;
        let records = sizes.iter().map(|size| {
            let value = start..start + size;
            start += size;
            Record {
                route: Arc::clone(&route),
                to: To::Partition(0),
                header: 0..0,
                key: 0..0,
                value: Some(value),
                at: Position::default(),
            }
        });
        let data = Arc::new(Data { records: records.collect(), bytes: Bytes::from(vec![0; start as usize]) });
        let (ack, _) = Ack::new(u32::try_from(sizes.len()).unwrap(), None);
        (0..sizes.len())
            .map(|index| Waiting { data: Arc::clone(&data), index, ack: Arc::clone(&ack) })
            .collect()
    }

    fn route() -> Arc<Route> {
        Arc::new(Route { name: "t".to_owned(), addressing: Addressing::Partitions(1), bytes_max: 1000 })
    }

    fn lane() -> Lane {
        Lane::new(route(), 0, 190)
    }

    #[test]
    fn a_lane_hands_over_up_to_its_window_and_the_rest_in_order_as_reports_come() {
        let lane = lane();
        let mut sent = Vec::new();
        for record in waiting(&[100, 90, 1, 60, 60]) {
            lane.offer(record, |record| {
                sent.push(record.index);
                Ok(())
            })
            .unwrap();
        }
        assert_eq!(sent, [0, 1], "the third one would fit, but not in order, nor beyond the window");
        let report = |bytes| {
            let mut sent = Vec::new();
            lane.reported(bytes, |record| {
                sent.push(record.index);
                Ok(())
            })
            .unwrap();
            sent
        };
        assert_eq!(report(100), [2, 3]);
        assert_eq!(report(90), [4]);
        assert_eq!(report(1), [0; 0]);
    }

    #[test]
    fn a_record_larger_than_the_window_goes_alone() {
        let lane = lane();
        let mut sent = Vec::new();
        for record in waiting(&[10, 500, 10]) {
            lane.offer(record, |record| {
                sent.push(record.index);
                Ok(())
            })
            .unwrap();
        }
        assert_eq!(sent, [0]);
        lane.reported(10, |record| {
            sent.push(record.index);
            Ok(())
        })
        .unwrap();
        assert_eq!(sent, [0, 1]);
        lane.reported(500, |record| {
            sent.push(record.index);
            Ok(())
        })
        .unwrap();
        assert_eq!(sent, [0, 1, 2]);
    }

    #[test]
    fn what_can_not_be_handed_over_stays_and_can_be_taken_out() {
        let lane = lane();
        let failure = || Err(Failure::new(crate::error::ErrorKind::SinkUnavailable, "gone"));
        for record in waiting(&[10, 10]) {
            lane.offer(record, |_| failure()).unwrap_err();
        }
        let left: Vec<usize> = lane.clear().into_iter().map(|waiting| waiting.index).collect();
        assert_eq!(left, [0, 1]);
        lane.reported(0, |_| panic!("nothing waits")).unwrap();
    }

    #[test]
    fn each_partition_of_each_route_has_a_lane() {
        let mut lanes = Lanes::new(100);
        let (one, other) = (route(), route());
        let mut opened = 0;
        let mut lane = |route, partition| {
            let lane = lanes.lane(route, partition, |_| opened += 1);
            Arc::as_ptr(&lane).addr()
        };
        let found = [lane(&one, 0), lane(&one, 1), lane(&other, 0), lane(&one, 0)];
        assert_eq!((found[0], opened), (found[3], 3));
        assert!(found[0] != found[1] && found[0] != found[2]);
    }
}
