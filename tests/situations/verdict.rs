//! What is wrong with a situation, and both sides of it for whoever looks into that.

use std::fmt::Write as _;

use mongodb::bson::{Bson, Document, Timestamp};

use crate::compare::{Event, Judge};
use crate::place::Outcome;
use crate::replay::{self, Collections};
use crate::table::{Situation, Version};
use crate::values::{Value, show};

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
    for event in given.ours.iter().chain(&writes.ours).filter(|_| !situation.has_inexact()) {
        faults.extend(against_oplog(event, given.entries.iter().chain(&writes.entries)));
    }
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

/// What an event says that older change streams don't: the collection's UUID, the wall clock, the whole command. An element of an
/// `applyOps` has none of it.
fn against_oplog<'e>(event: &Event, mut entries: impl Iterator<Item = &'e Document>) -> Vec<String> {
    let about = event.about("");
    let (time, increment) = event.at;
    let at = Timestamp { time, increment };
    let Some(entry) = entries.find(|entry| entry.get_timestamp("ts").is_ok_and(|ts| ts == at)) else {
        return vec![format!("{about}: the oplog has no entry at {at}")];
    };
    if entry
        .get_document("o")
        .is_ok_and(|o| o.contains_key("applyOps") || o.contains_key("commitTransaction"))
    {
        return Vec::new();
    }
    let json = event.json.as_ref().unwrap();
    let is_view = entry.get_str("ns").is_ok_and(|ns| ns.ends_with(".system.views"));
    let uuid = entry.get("ui").filter(|_| !is_view).and_then(|ui| match ui {
        Bson::Binary(binary) => binary.to_uuid().ok().map(|uuid| Value::of(uuid.to_string())),
        _ => None,
    });
    let stated = |name: &str| json.get(name).map(Value::of_json);
    let mut facts = vec![
        ("collectionId", stated("collectionId"), uuid),
        ("wallTime", stated("wallTime"), entry.get("wall").map(|wall| Value::of(wall.clone()))),
    ];
    if json.get("command").is_some() {
        let logged = |name: &str| entry.get(name).map(|value| Value::of(value.clone()));
        facts.push(("command", stated("command"), logged("o")));
        facts.push(("options", stated("options"), logged("o2").filter(|_| !is_view)));
    }
    let wrong = facts.into_iter().filter(|(_, ours, logged)| ours != logged);
    wrong
        .map(|(name, ours, logged)| format!("{about}: {name} is {ours:?}, in the oplog {logged:?}"))
        .collect()
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
    for why in situation.explanations() {
        let _ = writeln!(text, "  the table knows: {why}");
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
