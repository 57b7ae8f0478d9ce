//! What manifests have said.

use std::collections::HashMap;

use crate::format::{Manifest, Record};

/// What the manifests of each namespace have said last, as far as this process knows: chunks announce a namespace each for itself, and the
/// sink, which gets them in order, leaves out what is no news.
#[derive(Debug, Default)]
pub struct Said(HashMap<Box<[u8]>, Box<[u8]>>);

impl Said {
    /// Whether the last manifest with that key has not said all of that. From now on it has.
    pub fn is_news(&mut self, key: &[u8], value: &[u8]) -> bool {
        if self.0.get(key).is_some_and(|said| Manifest::tells_all_of(said, value)) {
            return false;
        }
        self.0.insert(key.into(), value.into());
        true
    }

    /// Leaves out the manifests that are no news. Records come in their order here.
    pub fn keep_news(&mut self, bytes: &[u8], records: &mut Vec<Record>) {
        let part = |range: &std::ops::Range<u32>| &bytes[range.start as usize..range.end as usize];
        records.retain(|record| match &record.value {
            Some(value) if record.is_manifest => self.is_news(part(&record.key), part(value)),
            _ => true,
        });
    }

    /// The last one of each namespace, in any order.
    pub fn values(&self) -> impl Iterator<Item = &[u8]> {
        self.0.values().map(|value| &**value)
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
        let route = Arc::new(Route { bytes_max: 1, ..Route::new("m", Addressing::Lines) });
        let bytes = b"kv}x}KV}";
        let record = |is_manifest: bool, key: u32, value: u32| Record {
            route: Arc::clone(&route),
            is_manifest,
            to: To::Line,
            header: 0..0,
            key: key..key + 1,
            value: Some(value..value + 2),
            at: Position::default(),
            deletes: false,
        };
        let mut said = Said::default();
        let mut keep = |given: &[(u32, u32)]| {
            let mut records: Vec<Record> =
                given.iter().map(|(key, value)| record(true, *key, *value)).collect();
            records.push(record(false, 0, 1));
            said.keep_news(bytes, &mut records);
            assert!(!records.pop().unwrap().is_manifest);
            records
                .iter()
                .map(|record| (record.key.start, record.value.as_ref().unwrap().start))
                .collect::<Vec<_>>()
        };
        assert_eq!(keep(&[(0, 1), (0, 1), (5, 6)]), [(0, 1), (5, 6)]);
        assert_eq!(keep(&[(0, 1), (0, 3), (0, 1), (5, 6)]), [(0, 3), (0, 1)]);
        assert_eq!(keep(&[(0, 1)]), []);
    }
}
