//! What is wrong with a situation, and both sides of it for whoever looks into that.

use std::fmt::Write as _;

use mongodb::bson::{Bson, Document};

use crate::compare::{Event, Judge};
use crate::place::Outcome;
use crate::replay::{self, Collections};
use crate::table::{Situation, Version};
use crate::values::show;

/// What was seen of one part of a situation.
#[derive(Debug, Default)]
pub(crate) struct Part {
    pub(crate) ours: Vec<Event>,
    /// The same in the format of MongoDB's own connector.
    pub(crate) peers: Vec<Event>,
    pub(crate) theirs: Vec<Event>,
    pub(crate) entries: Vec<Document>,
}

/// Everything that is wrong with a situation.
pub(crate) fn judge(
    situation: &Situation,
    version: Version,
    home: &str,
    given: &Part,
    writes: &Part,
    stored: Outcome<Collections>,
) -> Vec<String> {
    let stored = match stored {
        Ok(stored) => stored,
        Err(error) => return vec![format!("could not be done: {error}")],
    };
    let judge = Judge { situation, version, home };
    let mut faults = judge.outcome(&writes.ours);
    faults.extend(judge.given(&given.ours, &given.theirs));
    faults.extend(judge.writes(&writes.ours, &writes.theirs));
    faults.extend(judge.peers(given, &[]));
    faults.extend(judge.peers(writes, &situation.notes));
    let mut replayed = Collections::new();
    for part in [given, writes] {
        faults.extend(replay::replay(&mut replayed, &part.ours).err());
    }
    let differences = replay::differences(&replayed, &stored);
    match (situation.loses(version), differences.is_empty()) {
        (true, true) => faults.push("the documents are said to be lost, and are there".to_owned()),
        (true, false) => {}
        (false, _) => faults.extend(differences),
    }
    for path in situation.logged_on(version) {
        if !writes.entries.iter().any(|entry| has_path(entry, path)) {
            faults.push(format!("the oplog has no entry with {path}"));
        }
    }
    faults
}

fn has_path(entry: &Document, path: &str) -> bool {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    match (entry.get(name), rest) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(Bson::Document(inner)), Some(rest)) => has_path(inner, rest),
        (Some(Bson::Array(items)), Some(rest)) => {
            items.iter().filter_map(Bson::as_document).any(|inner| has_path(inner, rest))
        }
        (Some(value), Some(rest)) => value.as_str() == Some(rest),
    }
}

/// Both sides of a situation that failed.
pub(crate) fn explained(situation: &Situation, faults: &[String], given: &Part, writes: &Part) -> String {
    let mut text = format!("━━ {}\n", situation.name);
    for fault in faults {
        let _ = writeln!(text, "  ✗ {fault}");
    }
    for (name, part) in [("given", given), ("writes", writes)] {
        for (side, events) in [("ours", &part.ours), ("change stream", &part.theirs)] {
            let _ = writeln!(text, "  {name}, {side}:");
            for event in events {
                let _ = writeln!(text, "      {event}");
            }
        }
        let _ = writeln!(text, "  {name}, oplog:");
        for entry in &part.entries {
            let mut shown = String::new();
            show(&mut shown, &Bson::Document(entry.clone()));
            let _ = writeln!(text, "      {}", shown.chars().take(2000).collect::<String>());
        }
    }
    text
}
