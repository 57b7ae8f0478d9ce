//! Manifests that say something new.

use std::collections::HashMap;

use crate::format::Record;

/// What the manifests of each namespace have said last, in this producer's life. After a start all of them are news once more, which changes
/// nothing in a compacted topic but their headers.
#[derive(Debug, Default)]
pub(super) struct Manifests {
    topic: String,
    said: HashMap<Box<[u8]>, Box<[u8]>>,
}

impl Manifests {
    /// Of those that go to that topic.
    pub(super) fn new(topic: String) -> Self {
        Self { topic, said: HashMap::new() }
    }

    /// Leaves out what is no news. Records come in their order here.
    pub(super) fn keep_news(&mut self, bytes: &[u8], records: &mut Vec<Record>) {
        let part = |range: &std::ops::Range<u32>| &bytes[range.start as usize..range.end as usize];
        records.retain(|record| {
            let Some(value) = record.value.as_ref().filter(|_| record.route.name == self.topic) else {
                return true;
            };
            let (key, value) = (part(&record.key), part(value));
            if self.said.get(key).is_some_and(|said| **said == *value) {
                return false;
            }
            self.said.insert(key.into(), value.into());
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::Position;
    use crate::format::{Addressing, Route, To};

    #[test]
    fn what_was_said_last_is_not_said_again() {
        let route = |name: &str| {
            let addressing = Addressing::Partitions(1);
            Arc::new(Route {
                name: name.to_owned(),
                addressing,
                bytes_max: 1,
                tombstones: false,
                whole_documents: false,
            })
        };
        let (own, events) = (route("m._namespaces"), route("m.a.b"));
        let bytes = b"kvxKV";
        let record = |route: &Arc<Route>, key: u32, value: u32| Record {
            route: Arc::clone(route),
            to: To::Partition(0),
            header: 0..0,
            key: key..key + 1,
            value: Some(value..value + 1),
            at: Position::default(),
            deletes: false,
        };
        let mut manifests = Manifests::new("m._namespaces".to_owned());
        let mut keep = |given: &[(u32, u32)]| {
            let mut records: Vec<Record> =
                given.iter().map(|(key, value)| record(&own, *key, *value)).collect();
            records.push(record(&events, 0, 1));
            manifests.keep_news(bytes, &mut records);
            assert_eq!(records.pop().unwrap().route.name, "m.a.b");
            records
                .iter()
                .map(|record| (record.key.start, record.value.as_ref().unwrap().start))
                .collect::<Vec<_>>()
        };
        assert_eq!(keep(&[(0, 1), (0, 1), (3, 4)]), [(0, 1), (3, 4)]);
        assert_eq!(keep(&[(0, 1), (0, 2), (0, 1), (3, 4)]), [(0, 2), (0, 1)]);
        assert_eq!(keep(&[(0, 1)]), []);
    }
}
