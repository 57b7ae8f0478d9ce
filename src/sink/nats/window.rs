//! What is published and not yet acknowledged.

use std::collections::VecDeque;

use async_nats::Subject;

use crate::event::Position;

/// How many records may wait for their acknowledgement. Servers drop messages when 10 000 wait for their stream.
pub(super) const RECORDS_MAX: usize = 8192;

/// How many bytes may wait; a larger record passes alone.
pub(super) const BYTES_MAX: usize = 16 << 20;

/// The sequence numbers, sizes and names of the records that are under way. Pure.
#[derive(Debug)]
pub(super) struct Window {
    acknowledged: u64,
    bytes: usize,
    records: VecDeque<(usize, Named)>,
}

/// What tells one record from another: those of one event, as a rename's two, differ in their subjects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) at: Position,
    pub(super) subject: Subject,
}

impl Window {
    /// Nothing is under way, and the stream's last message has that sequence number.
    pub(super) fn new(last: u64) -> Self {
        Self { acknowledged: last, bytes: 0, records: VecDeque::new() }
    }

    /// Whether another record may be published.
    pub(super) fn has_room(&self) -> bool {
        self.records.len() < RECORDS_MAX && self.bytes < BYTES_MAX
    }

    /// How many records are under way.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether everything is acknowledged.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The first record that is under way, and its sequence number.
    pub(super) fn first(&self) -> Option<(u64, Named)> {
        self.records.front().map(|(_, record)| (self.acknowledged + 1, record.clone()))
    }

    /// The sequence number of the last record that was published.
    pub(super) fn last(&self) -> u64 {
        self.acknowledged + self.records.len() as u64
    }

    /// The sequence number of the last record that was acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// A record is published behind [`Window::last`].
    pub(super) fn push(&mut self, bytes: usize, record: Named) {
        self.records.push_back((bytes, record));
        self.bytes += bytes;
    }

    /// An acknowledgement came. Returns whether it is the one that had to come: the server confirms in order.
    #[must_use]
    pub(super) fn acknowledge(&mut self, sequence: u64) -> bool {
        if sequence != self.acknowledged + 1 {
            return false;
        }
        let Some((bytes, _)) = self.records.pop_front() else { return false };
        self.bytes -= bytes;
        self.acknowledged = sequence;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{BYTES_MAX, Named, Position, RECORDS_MAX, Window};

    fn record(number: u32) -> Named {
        Named { at: Position::of_entry(7, number), subject: "mongo.a.b".into() }
    }

    #[test]
    fn acknowledgements_come_in_order() {
        let mut window = Window::new(41);
        window.push(1, record(1));
        window.push(1, record(2));
        assert_eq!((window.len(), window.first()), (2, Some((42, record(1)))));
        assert_eq!((window.last(), window.acknowledged()), (43, 41));
        assert!(!window.acknowledge(43));
        assert!(window.acknowledge(42));
        assert!(!window.acknowledge(42));
        assert!(window.acknowledge(43));
        assert!(!window.acknowledge(44), "nothing is under way");
        assert!(window.is_empty() && window.first().is_none());
    }

    #[test]
    fn both_limits_hold() {
        let mut window = Window::new(0);
        for _ in 0..RECORDS_MAX {
            assert!(window.has_room());
            window.push(10, record(1));
        }
        assert!(!window.has_room());
        assert!(window.acknowledge(1));
        assert!(window.has_room());
        window.push(BYTES_MAX, record(1));
        assert!(!window.has_room());
    }
}
