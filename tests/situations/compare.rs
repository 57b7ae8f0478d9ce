//! The one comparison: our events against the change stream's, with the notes of the table.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::json::Json;
use crate::oracle;
use crate::table::{Note, Side, Situation, Version};
use crate::values::Value;
use crate::verdict::Part;

/// Database and collection.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Namespace {
    pub(crate) db: String,
    pub(crate) coll: String,
}

/// An event of either side, in the words of change streams.
#[derive(Clone, Debug, Default)]
pub(crate) struct Event {
    pub(crate) op: String,
    pub(crate) ns: Namespace,
    pub(crate) to: Option<Namespace>,
    /// Its cluster time; with ours it is that of its position.
    pub(crate) at: (u32, u32),
    /// Index and count in a transaction; only ours says so.
    pub(crate) place: Option<(i64, i64)>,
    pub(crate) fields: BTreeMap<&'static str, Value>,
    /// The whole change event of a change stream.
    pub(crate) document: Option<Value>,
    /// The contents of a collection are others now; only ours says so.
    pub(crate) replaced: bool,
    /// The whole event; only ours.
    pub(crate) json: Option<Json>,
}

impl Event {
    /// `op collection`, as seen from the database `home`.
    pub(crate) fn about(&self, home: &str) -> String {
        let name = |ns: &Namespace| match (ns.db.strip_prefix(home), temporary(&ns.coll)) {
            (Some(""), coll) => coll,
            (Some(rest), coll) => format!("{}.{coll}", rest.trim_start_matches('_')),
            (None, coll) => format!("{}.{coll}", ns.db),
        };
        let to = self.to.as_ref().map(|to| format!(" > {}", name(to))).unwrap_or_default();
        format!("{} {}{to}", self.op, name(&self.ns)).trim_end().to_owned()
    }

    /// The same, with its place in a transaction.
    pub(crate) fn outcome(&self, home: &str) -> String {
        let place = self.place.map(|(index, count)| format!(" {index}/{count}")).unwrap_or_default();
        let replaced = if self.replaced { " replaced" } else { "" };
        self.about(home) + &place + replaced
    }
}

/// A collection's name, without what is random in that of a temporary one.
fn temporary(coll: &str) -> String {
    if coll.starts_with("tmp.agg_out.") {
        return "tmp.agg_out.*".to_owned();
    }
    let random = coll.strip_prefix("tmp").and_then(|rest| rest.split_at_checked(5));
    match random {
        Some((_, rest)) if rest.starts_with(".renameCollection") || rest.starts_with(".convertToCapped.") => {
            format!("tmp*{rest}")
        }
        _ => coll.to_owned(),
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (t, i) = self.at;
        write!(f, "({t}, {i}) {}", self.outcome(""))?;
        for (name, value) in self.fields.iter().filter(|(name, _)| **name != "clusterTime") {
            write!(f, "\n          {name}: {value}")?;
        }
        Ok(())
    }
}

/// What is wrong with a situation's events; nothing, if they agree.
pub(crate) struct Judge<'s> {
    pub(crate) situation: &'s Situation,
    pub(crate) version: Version,
    /// The situation's database.
    pub(crate) home: &'s str,
}

impl Judge<'_> {
    /// Compares the events of the situation's writes with the stated outcome.
    pub(crate) fn outcome(&self, ours: &[Event]) -> Vec<String> {
        let found: Vec<String> = ours.iter().map(|event| event.outcome(self.home)).collect();
        let stated = self.situation.outcome(self.version);
        if found == stated {
            return Vec::new();
        }
        vec![format!("the table states {stated:?}, published was {found:?}")]
    }

    /// Compares what was given, to which only the notes of a whole version apply.
    pub(crate) fn given(&self, ours: &[Event], theirs: &[Event]) -> Vec<String> {
        self.events(ours, theirs, &self.notes(oracle::NOTES))
    }

    /// Compares what the format `mongodb-extended` has, byte for byte.
    pub(crate) fn peers(&self, part: &Part, own: &[Note]) -> Vec<String> {
        let notes: Vec<&Note> = self.notes(oracle::NOTES).into_iter().chain(self.notes(own)).collect();
        let mut faults = self.events(&part.peers, &part.theirs, &notes);
        if faults.is_empty() && !self.situation.has_inexact() {
            let [peers, theirs] = self.unexplained(&part.peers, &part.theirs, &notes);
            // What differs in a field was found before: here it is a resume token, or the order.
            let differ = peers.iter().zip(theirs).filter(|(peer, their)| peer.document != their.document);
            faults.extend(differ.map(|(peer, their)| {
                let about = peer.about(self.home);
                let [ours, theirs] = [peer, their].map(|event| shown(event.document.as_ref()));
                format!("{about}: {}", both(&ours, &theirs))
            }));
        }
        faults.iter().map(|fault| format!("mongodb-extended: {fault}")).collect()
    }

    /// Compares the situation's writes, less what its notes say; finds notes that are about nothing, too.
    pub(crate) fn writes(&self, ours: &[Event], theirs: &[Event]) -> Vec<String> {
        let own = self.notes(&self.situation.notes);
        let notes: Vec<&Note> = self.notes(oracle::NOTES).into_iter().chain(own.iter().copied()).collect();
        let mut faults = self.events(ours, theirs, &notes);
        for note in own {
            let events = if note.side == Side::Ours { ours } else { theirs };
            if !events.iter().any(|event| note.covers(&event.about(self.home))) {
                faults.push(format!("a note is about nothing: `{}`, {}", note.about, note.why));
            }
        }
        faults
    }

    fn notes<'n>(&self, notes: &'n [Note]) -> Vec<&'n Note> {
        notes.iter().filter(|note| note.versions.contains(&self.version)).collect()
    }

    /// What no note is about, of both sides.
    fn unexplained<'e>(
        &self,
        ours: &'e [Event],
        theirs: &'e [Event],
        notes: &[&Note],
    ) -> [Vec<&'e Event>; 2] {
        [(ours, Side::Ours), (theirs, Side::Theirs)].map(|(events, side)| {
            let explained = |event: &Event| {
                notes.iter().any(|note| note.side == side && note.covers(&event.about(self.home)))
            };
            events.iter().filter(|event| !explained(event)).collect::<Vec<_>>()
        })
    }

    fn events(&self, ours: &[Event], theirs: &[Event], notes: &[&Note]) -> Vec<String> {
        let mut faults = Vec::new();
        let [ours, theirs] = self.unexplained(ours, theirs, notes);
        for (our, their) in ours.iter().zip(&theirs) {
            let about = our.outcome(self.home);
            faults.extend(self.differences(our, their).into_iter().map(|what| format!("{about}: {what}")));
        }
        for event in ours.iter().skip(theirs.len()) {
            faults.push(format!("the change stream has no {}", event.about(self.home)));
        }
        for event in theirs.iter().skip(ours.len()) {
            faults.push(format!("not published: {}", event.about(self.home)));
        }
        faults
    }

    /// In what two events differ.
    fn differences(&self, ours: &Event, theirs: &Event) -> Vec<String> {
        let theirs_about = theirs.about(self.home);
        if ours.about(self.home) != theirs_about {
            return vec![format!("the change stream says {theirs_about}")];
        }
        let mut found = Vec::new();
        let names: BTreeSet<_> = ours.fields.keys().chain(theirs.fields.keys()).collect();
        for name in names {
            let [our, their] = [ours, theirs].map(|event| event.fields.get(name));
            let values = both(&shown(our), &shown(their));
            match (our == their, self.situation.is_inexact(name)) {
                (false, false) => found.push(name.to_string() + &values),
                (true, true) => found.push(format!("{name} is said to be inexact, and is exact{values}")),
                _ => {}
            }
        }
        if ours.at != theirs.at {
            found.push(format!("position {:?}, cluster time {:?}", ours.at, theirs.at));
        }
        found
    }
}

fn shown(value: Option<&Value>) -> String {
    value.map_or("nothing".to_owned(), ToString::to_string)
}

fn both(ours: &str, theirs: &str) -> String {
    format!("\n          ours:   {ours}\n          theirs: {theirs}")
}
