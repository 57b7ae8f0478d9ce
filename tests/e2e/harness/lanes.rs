//! What a sink holds, in its order, and whether it is what happened.

use std::collections::HashMap;
use std::path::Path;

use mongo_observer::event::Position;
use serde_json::Value;

use super::History;
use crate::e2e::check::check;

/// One record of a sink.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) at: Position,
    /// The event's `op`.
    pub(crate) op: String,
    /// What it is about, as in a history.
    pub(crate) about: String,
    /// The topic or the subject.
    pub(crate) place: String,
    /// The record's key, if the sink has keys.
    pub(crate) key: Option<String>,
    pub(crate) event: Value,
    /// The part of a MongoDB transaction, where it was split.
    pub(crate) part: Option<u32>,
}

impl Seen {
    /// A record from its value; none for a mark that the operator left.
    pub(crate) fn of(value: &[u8], place: &str, key: Option<String>) -> Option<Self> {
        let event: Value = serde_json::from_slice(value).unwrap();
        let op = event["op"].as_str().unwrap().to_owned();
        let at = event["position"].as_str()?.parse().unwrap();
        let ns = &event["ns"];
        let text = |name: &str| ns[name].as_str().unwrap_or_default();
        let about = match event.get("key") {
            Some(key) => format!("{}.{}/{}", text("db"), text("coll"), key["_id"]),
            None => format!("{}.{}!{op}", text("db"), text("coll")),
        };
        Some(Self { at, op, about, place: place.to_owned(), key, event, part: None })
    }

    fn is_watermark(&self) -> bool {
        self.op == "watermark"
    }
}

/// Everything that a sink holds: partitions, a stream, or lines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lanes(pub(crate) Vec<Vec<Seen>>);

impl Lanes {
    /// All events, lane by lane, without watermarks.
    pub(crate) fn events(&self) -> impl Iterator<Item = &Seen> {
        self.0.iter().flatten().filter(|seen| !seen.is_watermark())
    }

    /// The lanes of a topic.
    pub(crate) fn of(&self, place: &str) -> Self {
        let is_there = |lane: &&Vec<Seen>| lane.iter().any(|seen| seen.place == place);
        Self(self.0.iter().filter(is_there).cloned().collect())
    }

    /// All watermarks.
    pub(crate) fn watermarks(&self) -> impl Iterator<Item = &Seen> {
        self.0.iter().flatten().filter(|seen| seen.is_watermark())
    }

    /// Nothing is missing, invented, or out of order per document; and whoever believes a watermark loses nothing.
    #[track_caller]
    pub(crate) fn assert_complete(&self, history: &History) {
        let lanes: Vec<Vec<(Position, String)>> = self
            .0
            .iter()
            .map(|lane| {
                let events = lane.iter().filter(|seen| !seen.is_watermark());
                events.map(|seen| (seen.at, seen.about.clone())).collect()
            })
            .collect();
        if let Err(fault) = check(&history.operations, &lanes) {
            let (all, held) = (history.operations.len(), self.events().count());
            panic!("{fault}; {all} operations happened, the sink holds {held} records");
        }
        for lane in &self.0 {
            let mut highest = Position::default();
            let mut promised = Position::default();
            for seen in lane {
                if seen.is_watermark() {
                    promised = promised.max(seen.at);
                } else {
                    let is_new = seen.at > highest;
                    highest = highest.max(seen.at);
                    assert!(!is_new || seen.at > promised, "a watermark at {promised} came before {seen:?}");
                }
            }
        }
    }

    /// How many records say what another one in the same place has said.
    pub(crate) fn repeats(&self) -> usize {
        let repeats = |lane: &Vec<Seen>| {
            let mut times: HashMap<(Position, &str), usize> = HashMap::new();
            for seen in lane.iter().filter(|seen| !seen.is_watermark()) {
                *times.entry((seen.at, &seen.place)).or_default() += 1;
            }
            times.values().map(|times| times - 1).sum::<usize>()
        };
        self.0.iter().map(repeats).sum()
    }
}

/// The lane of some lines.
pub(crate) fn read_lines(lines: &[String]) -> Lanes {
    Lanes(vec![lines.iter().filter_map(|line| Seen::of(line.as_bytes(), "", None)).collect()])
}

/// The lane of a file and of the full ones beside it, oldest first.
pub(crate) fn read_file(path: &Path) -> Lanes {
    let name = path.file_name().unwrap().to_str().unwrap();
    let entries = std::fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    let is_piece = |other: &Path| {
        let suffix = other.file_name().unwrap().to_str().unwrap().strip_prefix(name).map(str::to_owned);
        suffix.and_then(|suffix| suffix.strip_prefix('.')?.parse::<Position>().ok()).is_some()
    };
    let mut files: Vec<_> = entries.filter(|other| is_piece(other)).collect();
    files.sort();
    files.push(path.to_owned());
    let mut lines = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).unwrap();
        let complete = text.rfind('\n').map_or(0, |end| end + 1);
        lines.extend(text[..complete].lines().map(str::to_owned));
    }
    read_lines(&lines)
}
