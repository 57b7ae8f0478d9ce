//! Documents that are known for a while though the collection does not hold them: what was read from the source to decide whether they
//! match, and what has just ceased to match.

use std::collections::{BTreeMap, BTreeSet};

use super::feed::{Changes, Go, Looked, Wanted};
use super::key::Key;
use super::scope::Scope;
use crate::bson::{DocWriter, RawValue};
use crate::event::{Change, ChangeEvent};

/// The time of an oplog entry.
pub(super) type Time = (u32, u32);

/// How often a document is read again that changes whenever it is read, before what was read has to do.
const ROUNDS: u8 = 20;

/// A document at a certain time.
#[derive(Debug)]
pub(super) struct Evidence {
    pub(super) image: Option<Vec<u8>>,
    /// A document with only its `_id`.
    pub(super) id: Vec<u8>,
    /// Nobody needs it for anything before.
    pub(super) since: Time,
    /// It has the effects of everything up to here,
    pub(super) from: Time,
    /// and may have those of what came up to here.
    pub(super) until: Time,
    /// Whether it is the document as it was at the time at which it was wanted, so that it can be shown there.
    is_exact: bool,
    /// Whether an update was applied to it that it may have had already, of a sort that then may leave its fields in another order.
    pub(super) is_dirty: bool,
    /// Whether the first copy is not complete without it.
    pub(super) is_of_copy: bool,
    rounds: u8,
}

impl Evidence {
    /// The image of a document that the collection had, or could have had, until now.
    pub(super) fn parked(image: &[u8]) -> Self {
        Self {
            image: Some(image.to_vec()),
            id: Vec::new(),
            since: (0, 0),
            from: (0, 0),
            until: (0, 0),
            is_exact: true,
            is_dirty: false,
            is_of_copy: false,
            rounds: 0,
        }
    }

    /// What the copy holds of a document that was changed while it was read; to be read again.
    pub(super) fn of_copy(id: Vec<u8>, at: Time) -> Self {
        Self {
            id,
            since: at,
            until: at,
            is_exact: false,
            is_dirty: true,
            is_of_copy: true,
            ..Self::parked(&[])
        }
    }

    pub(super) fn looked(wanted: Wanted, looked: Looked) -> Self {
        let Looked { image, from, until } = looked;
        let is_exact = from == wanted.at && until == wanted.at;
        Self { image, id: wanted.id, since: wanted.since, from, until, is_exact, ..Self::parked(&[]) }
    }

    /// The same document, read once more.
    pub(super) fn again(&mut self, looked: Looked) {
        self.image = looked.image;
        (self.from, self.until) = (looked.from, looked.until);
        self.is_dirty = false;
        self.rounds += 1;
    }

    pub(super) fn is_exact(&self) -> bool {
        self.is_exact
    }

    /// Whether it has to be read again.
    pub(super) fn is_wanted_again(&self, now: Time) -> bool {
        self.is_dirty && self.until <= now && self.rounds < ROUNDS
    }

    /// Whether it says what the document is now.
    pub(super) fn is_settled(&self, now: Time) -> bool {
        self.until <= now && (!self.is_dirty || self.rounds >= ROUNDS)
    }
}

/// What some changes need.
#[derive(Debug, Default)]
pub(super) struct Needs {
    /// Documents that have to be read.
    pub(super) wanted: Vec<(Key, Wanted)>,
    /// Documents that are changed more than once.
    pub(super) recurring: BTreeSet<Key>,
}

/// What is known of a document before the changes, and by those seen so far.
struct Sight {
    count: u32,
    is_decided: bool,
    /// The first change that can't be decided: the document's `_id`, its time, and that of the last change.
    undecided: Option<(Vec<u8>, Time, Time)>,
}

/// Looks through the changes. `is_known` says of a document whether the collection holds it, or there is evidence of it.
///
/// An undecided document is wanted as it was behind the first undecided change, where others follow; else behind the last of all changes,
/// which is the same and lets many be read at once.
pub(super) fn needs(
    changes: &dyn Changes,
    scope: &Scope,
    is_known: impl Fn(&Key) -> bool,
) -> Result<Needs, String> {
    let mut sights: BTreeMap<Key, Sight> = BTreeMap::new();
    let mut scratch = Vec::new();
    changes.visit(&mut |event: &ChangeEvent<'_>| {
        let Some(id) = event.change.key().and_then(crate::event::Key::id) else { return Go::On };
        let Ok(key) = Key::of(id, &mut scratch) else { return Go::On };
        let now = event.at.timestamp();
        let sight = sights.entry(key).or_insert_with_key(|key| Sight {
            count: 0,
            is_decided: is_known(key),
            undecided: None,
        });
        sight.count += 1;
        match (&mut sight.undecided, &event.change) {
            (Some((_, _, last)), _) => *last = now,
            (None, _) if sight.is_decided => {}
            (None, Change::Update { delta, .. }) => {
                if scope.could_hold_after(delta) {
                    sight.undecided = Some((only_id(id), now, now));
                }
            }
            (None, _) => sight.is_decided = true,
        }
        Go::On
    })?;
    let end = changes.end().timestamp();
    let mut needs = Needs::default();
    for (key, sight) in sights {
        if let Some((id, first, last)) = sight.undecided {
            let at = if first == last { end } else { first };
            needs.wanted.push((key.clone(), Wanted { id, since: first, at }));
        }
        if sight.count > 1 {
            needs.recurring.insert(key);
        }
    }
    Ok(needs)
}

/// A document with only this `_id`.
pub(super) fn only_id(id: RawValue<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(id.as_bytes().len() + 10);
    let mut document = DocWriter::new(&mut out);
    document.append(b"_id", id);
    document.finish();
    out
}
