//! What a row of the table says.

use std::future::Future;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use mongodb::bson::Document;

use crate::harness::Server;
use crate::place::{Outcome, Place};

/// A version of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    V44,
    V50,
    V60,
}

/// Some versions.
pub(crate) type Versions = &'static [Version];

pub(crate) const ALL: Versions = &[Version::V44, Version::V50, Version::V60];
pub(crate) const V44: Versions = &[Version::V44];
pub(crate) const V50: Versions = &[Version::V50];
pub(crate) const V60: Versions = &[Version::V60];
/// Those without expanded events in their change streams.
pub(crate) const OLD: Versions = &[Version::V44, Version::V50];
/// Those that log updates as structured diffs.
pub(crate) const NEW: Versions = &[Version::V50, Version::V60];

/// Something that is done on a server.
type Steps = Box<dyn Fn(Place) -> BoxFuture<'static, Outcome> + Send + Sync>;

/// A row of the table.
pub(crate) struct Situation {
    pub(crate) name: &'static str,
    pub(crate) server: Server,
    pub(crate) given: Steps,
    pub(crate) writes: Steps,
    pub(crate) notes: Vec<Note>,
    only: Option<(Versions, &'static str)>,
    outcomes: Vec<(Versions, Vec<String>)>,
    logged: Vec<(Versions, &'static str)>,
    lost: Vec<(Versions, &'static str)>,
    inexact: Vec<(&'static str, &'static str)>,
    fails: bool,
}

/// A difference between the change stream and what is published, and its reason.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Note {
    pub(crate) versions: Versions,
    /// `op`, or `op collection`; `*` stands for anything.
    pub(crate) about: &'static str,
    pub(crate) side: Side,
    pub(crate) why: &'static str,
}

/// Which side has what the other has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Published, and not in the change stream.
    Ours,
    /// In the change stream, and not published.
    Theirs,
}

impl Situation {
    /// A situation with these writes.
    pub(crate) fn new<F, W>(name: &'static str, writes: F) -> Self
    where
        F: Fn(Place) -> W + Send + Sync + 'static,
        W: Future<Output = Outcome> + Send + 'static,
    {
        Self {
            name,
            server: Server::Plain,
            given: Box::new(|_| async { Ok(()) }.boxed()),
            writes: Box::new(move |at| writes(at).boxed()),
            notes: Vec::new(),
            only: None,
            outcomes: Vec::new(),
            logged: Vec::new(),
            lost: Vec::new(),
            inexact: Vec::new(),
            fails: false,
        }
    }

    /// Writes before, whose outcome is not stated; they are compared all the same.
    pub(crate) fn given<F, W>(mut self, writes: F) -> Self
    where
        F: Fn(Place) -> W + Send + Sync + 'static,
        W: Future<Output = Outcome> + Send + 'static,
    {
        self.given = Box::new(move |at| writes(at).boxed());
        self
    }

    /// On the server whose entries hold two operations at most.
    pub(crate) fn small_entries(mut self) -> Self {
        self.server = Server::SmallEntries;
        self
    }

    /// It exists on these versions alone.
    pub(crate) fn only(mut self, versions: Versions, why: &'static str) -> Self {
        self.only = Some((versions, why));
        self
    }

    /// The outcome.
    pub(crate) fn events<const N: usize>(self, events: [&str; N]) -> Self {
        self.events_on(ALL, events)
    }

    /// The outcome on some versions; the last one that is stated for a version holds.
    pub(crate) fn events_on<const N: usize>(mut self, versions: Versions, events: [&str; N]) -> Self {
        self.outcomes.push((versions, events.iter().flat_map(|text| repeated(text)).collect()));
        self
    }

    /// Some events of ours are not in the change stream.
    pub(crate) fn unseen(self, versions: Versions, about: &'static str, why: &'static str) -> Self {
        self.note(Note { versions, about, side: Side::Ours, why })
    }

    /// Some events of the change stream are not published.
    pub(crate) fn unpublished(self, versions: Versions, about: &'static str, why: &'static str) -> Self {
        self.note(Note { versions, about, side: Side::Theirs, why })
    }

    /// The oplog has an entry with this field, a path such as `o.diff.sa`.
    pub(crate) fn logged(mut self, versions: Versions, path: &'static str) -> Self {
        self.logged.push((versions, path));
        self
    }

    /// The documents can't be known from the oplog.
    pub(crate) fn lost(mut self, versions: Versions, why: &'static str) -> Self {
        self.lost.push((versions, why));
        self
    }

    /// A field whose value can't be written exactly.
    pub(crate) fn inexact(mut self, field: &'static str, why: &'static str) -> Self {
        self.inexact.push((field, why));
        self
    }

    /// The server refuses the writes.
    pub(crate) fn fails(mut self) -> Self {
        self.fails = true;
        self
    }

    fn note(mut self, note: Note) -> Self {
        self.notes.push(note);
        self
    }

    /// Why it doesn't exist on that version, if it doesn't.
    pub(crate) fn absent(&self, version: Version) -> Option<&'static str> {
        self.only.and_then(|(versions, why)| (!versions.contains(&version)).then_some(why))
    }

    /// What came of its writes, if it is what should have come of them.
    pub(crate) fn checked(&self, outcome: Outcome) -> Outcome {
        match (outcome, self.fails) {
            (Ok(()), true) => Err("the server took the writes".into()),
            (Err(_), true) => Ok(()),
            (outcome, false) => outcome,
        }
    }

    /// What it explains.
    pub(crate) fn explanations(&self) -> impl Iterator<Item = &'static str> {
        let notes = self.notes.iter().map(|note| note.why);
        notes.chain(self.lost.iter().map(|(_, why)| *why)).chain(self.inexact.iter().map(|(_, why)| *why))
    }

    /// Whether any field's value can't be written exactly.
    pub(crate) fn has_inexact(&self) -> bool {
        !self.inexact.is_empty()
    }

    /// Whether a field's value can't be written exactly.
    pub(crate) fn is_inexact(&self, field: &str) -> bool {
        self.inexact.iter().any(|(inexact, _)| *inexact == field)
    }

    /// Whether the documents can't be known from the oplog on that version.
    pub(crate) fn loses(&self, version: Version) -> bool {
        self.lost.iter().any(|(versions, _)| versions.contains(&version))
    }

    /// The outcome on that version.
    pub(crate) fn outcome(&self, version: Version) -> &[String] {
        let stated = self.outcomes.iter().rev().find(|(versions, _)| versions.contains(&version));
        &stated.unwrap_or_else(|| panic!("`{}` states no outcome on {version:?}", self.name)).1
    }

    /// The fields that must be found in the oplog on that version.
    pub(crate) fn logged_on(&self, version: Version) -> impl Iterator<Item = &'static str> {
        self.logged.iter().filter(move |(versions, _)| versions.contains(&version)).map(|(_, path)| *path)
    }
}

/// A situation of one command on its database.
pub(crate) fn run(name: &'static str, command: Document) -> Situation {
    Situation::new(name, move |at| {
        let command = command.clone();
        async move { at.run(command).await.map(drop) }
    })
}

/// `insert a*3` is three times `insert a`.
fn repeated(text: &str) -> Vec<String> {
    let split = text.rsplit_once('*').and_then(|(what, times)| Some((what, times.parse().ok()?)));
    let (what, times) = split.unwrap_or((text, 1));
    vec![what.to_owned(); times]
}

impl Note {
    /// Whether it is about such an event, `op collection`.
    pub(crate) fn covers(&self, event: &str) -> bool {
        matches(self.about, event) || event.split(' ').next() == Some(self.about)
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    let Some((begin, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(begin) else { return false };
    (0..=text.len()).any(|at| text.is_char_boundary(at) && matches(rest, &text[at..]))
}
