//! Documents of which it is not sure yet what they are: what was read of them, and the changes that come meanwhile.

use serde::de::DeserializeOwned;

use super::super::change::Cause;
use super::super::evidence::{Evidence, Time};
use super::super::feed::{Looked, Wanted};
use super::super::key::Key;
use super::{Replica, Trouble, stored};
use crate::bson::{RawDoc, RawValue};
use crate::event::{Change, Delta, Position, Strictness, apply};

impl<T: DeserializeOwned> Replica<T> {
    /// Up to where everything is decided.
    pub(in crate::reactive) fn decided(&self) -> Position {
        let pending =
            self.evidence.values().filter(|evidence| !evidence.is_exact()).map(|one| one.since).min();
        match pending {
            Some((t, i)) if (t, i) <= self.state.at.timestamp() => {
                Position::behind_entry(t, i.saturating_sub(1))
            }
            _ => self.state.at,
        }
    }

    /// Documents that have to be read once more.
    pub(in crate::reactive) fn wanted_again(&self) -> Vec<(Key, Wanted)> {
        let now = self.state.at.timestamp();
        let again = self.evidence.iter().filter(|(_, evidence)| evidence.is_wanted_again(now));
        again
            .map(|(key, evidence)| {
                (key.clone(), Wanted { id: evidence.id.clone(), since: evidence.since, at: now })
            })
            .collect()
    }

    /// Documents that were read.
    pub(in crate::reactive) fn learn(&mut self, wanted: Vec<(Key, Wanted)>, looked: Vec<Looked>) {
        self.counts.lookups += looked.len() as u64;
        for ((key, wanted), looked) in wanted.into_iter().zip(looked) {
            match self.evidence.get_mut(&key) {
                Some(evidence) => evidence.again(looked),
                None => drop(self.evidence.insert(key, Evidence::looked(wanted, looked))),
            }
        }
    }

    /// What was read of documents while they were being changed is taken for them as soon as the changes have come that far.
    pub(super) fn settle(&mut self, now: Time) {
        if self.evidence.is_empty() {
            return;
        }
        let settled = |evidence: &Evidence| !evidence.is_exact() && evidence.is_settled(now);
        let keys: Vec<Key> = self
            .evidence
            .iter()
            .filter(|(_, evidence)| settled(evidence))
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            let Some(evidence) = self.evidence.remove(&key) else { continue };
            match evidence.image.as_deref().map(RawDoc::new) {
                Some(Ok(image)) => drop(self.set(&key, image, Cause::MoveIn)),
                _ => self.take(&key, Cause::Write),
            }
        }
        self.close_unit();
    }

    /// A change of a document that the collection does not hold, or not surely.
    pub(super) fn by_evidence(
        &mut self,
        now: Time,
        key: &Key,
        id: RawValue<'_>,
        change: &Change<'_>,
    ) -> Result<(), Trouble> {
        let Some(mut evidence) = self.evidence.remove(key) else { return Ok(()) };
        let result = if evidence.is_exact() && now > evidence.until {
            advance(&mut evidence, id, change, Strictness::Strict)
        } else if now > evidence.from && !evidence.is_exact() {
            evidence.is_dirty |= matches!(change, Change::Update { delta: Delta::Modifiers { .. }, .. });
            advance(&mut evidence, id, change, Strictness::Lenient)
        } else {
            Ok(())
        };
        let shows = evidence.is_exact() && now >= evidence.since && self.state.get(key).is_none();
        let result =
            result.and_then(|()| match evidence.image.as_deref().filter(|_| shows).map(RawDoc::new) {
                Some(image) => {
                    self.set(key, image?, if is_insert(change) { Cause::Write } else { Cause::MoveIn })
                }
                None => Ok(()),
            });
        self.evidence.insert(key.clone(), evidence);
        result
    }
}

fn is_insert(change: &Change<'_>) -> bool {
    matches!(change, Change::Insert { .. })
}

/// Takes the change into the evidence.
fn advance(
    evidence: &mut Evidence,
    id: RawValue<'_>,
    change: &Change<'_>,
    mode: Strictness,
) -> Result<(), Trouble> {
    let mut image = Vec::new();
    match change {
        Change::Insert { after, .. } | Change::Replace { after, .. } => {
            stored(id, *after, &mut image)?;
            (evidence.image, evidence.is_dirty) = (Some(image), false);
        }
        Change::Delete { .. } => (evidence.image, evidence.is_dirty) = (None, false),
        Change::Update { delta, .. } => {
            if let Some(before) = &evidence.image {
                let applied = apply(RawDoc::new(before)?, delta, mode, &mut image);
                applied.map_err(|error| Trouble::Lost(error.to_string()))?;
                evidence.image = Some(image);
            }
        }
        Change::HeaderOnly(_) => return Err(Trouble::Lost("an event without its document".to_owned())),
        Change::Command(_) | Change::Watermark => {}
    }
    Ok(())
}
