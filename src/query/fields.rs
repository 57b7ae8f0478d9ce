//! The top-level fields of one document, found in a single pass that goes no further than it is asked to.

use super::path::Name;
use crate::bson::{Iter, Malformed, RawDoc, RawValue};

/// How many names are remembered. Filters with more of them walk the document again for the others.
const SLOTS: usize = 8;

/// The names that the paths of one filter begin with.
#[derive(Debug, Default)]
pub(super) struct Names(Vec<Name>);

/// Which of the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(usize);

impl Names {
    /// The slot of a name; none if all are taken.
    pub(super) fn slot(&mut self, name: &Name) -> Option<Slot> {
        let known = self.0.iter().position(|known| known == name);
        match known {
            Some(at) => Some(Slot(at)),
            None if self.0.len() < SLOTS => {
                self.0.push(name.clone());
                Some(Slot(self.0.len() - 1))
            }
            None => None,
        }
    }
}

/// One document's fields, as far as they were looked at.
pub(super) struct Fields<'d, 'n> {
    doc: RawDoc<'d>,
    rest: Iter<'d>,
    names: &'n [Name],
    found: [Option<RawValue<'d>>; SLOTS],
    missing: usize,
}

impl<'d, 'n> Fields<'d, 'n> {
    pub(super) fn new(doc: RawDoc<'d>, names: &'n Names) -> Self {
        Self { doc, rest: doc.iter(), names: &names.0, found: [None; SLOTS], missing: names.0.len() }
    }

    /// The document itself.
    pub(super) fn doc(&self) -> RawDoc<'d> {
        self.doc
    }

    /// The first field of that name.
    pub(super) fn get(&mut self, slot: Slot) -> Result<Option<RawValue<'d>>, Malformed> {
        let Slot(wanted) = slot;
        if self.found[wanted].is_some() || self.missing == 0 {
            return Ok(self.found[wanted]);
        }
        for element in self.rest.by_ref() {
            let element = element?;
            let Some(slot) = self.names.iter().position(|name| name.is(element.name)) else { continue };
            if self.found[slot].is_none() {
                self.found[slot] = Some(element.value);
                self.missing -= 1;
                if slot == wanted {
                    return Ok(Some(element.value));
                }
            }
        }
        self.missing = 0;
        Ok(None)
    }
}
