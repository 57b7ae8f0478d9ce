//! What one level of a delta does to the fields of a document, by name.

use std::ops::Range;

use crate::bson::Malformed;
use crate::event::diff::malformed;

/// A field, and what becomes of it.
#[derive(Clone, Debug)]
pub(super) struct Field<'d, C> {
    pub(super) name: &'d [u8],
    pub(super) change: C,
    /// Whether the document has it.
    pub(super) met: bool,
}

/// The fields of all levels from the root down to the one that is being applied; each level lies behind the one above it.
/// So there are two allocations for a delta, however many levels and fields it has.
#[derive(Debug)]
pub(super) struct Fields<'d, C> {
    fields: Vec<Field<'d, C>>,
    /// The same fields, those of each level sorted by name.
    by_name: Vec<usize>,
}

impl<'d, C: Clone> Fields<'d, C> {
    pub(super) fn new() -> Self {
        Self { fields: Vec::new(), by_name: Vec::new() }
    }

    /// Adds a field to the level that is being collected.
    pub(super) fn push(&mut self, name: &'d [u8], change: C) {
        self.fields.push(Field { name, change, met: false });
    }

    /// What was pushed since the last level.
    pub(super) fn collected(&mut self) -> &mut [Field<'d, C>] {
        &mut self.fields[self.by_name.len()..]
    }

    /// Ends the collection of a level: it holds what was pushed since the last one. No name may be there twice.
    pub(super) fn level(&mut self) -> Result<Range<usize>, Malformed> {
        let Self { fields, by_name } = self;
        let level = by_name.len()..fields.len();
        by_name.extend(level.clone());
        let sorted = &mut by_name[level.clone()];
        sorted.sort_unstable_by_key(|at| fields[*at].name);
        if sorted.windows(2).any(|pair| fields[pair[0]].name == fields[pair[1]].name) {
            return Err(malformed("update: a field is changed twice"));
        }
        Ok(level)
    }

    /// Ends the innermost level.
    pub(super) fn leave(&mut self, level: &Range<usize>) {
        self.fields.truncate(level.start);
        self.by_name.truncate(level.start);
    }

    /// Where the field of that name is.
    pub(super) fn find(&self, level: &Range<usize>, name: &[u8]) -> Option<usize> {
        let sorted = &self.by_name[level.clone()];
        let found = sorted.binary_search_by_key(&name, |at| self.fields[*at].name);
        found.ok().map(|place| sorted[place])
    }

    pub(super) fn get(&self, at: usize) -> &Field<'d, C> {
        &self.fields[at]
    }

    /// What becomes of the field there, which the document has.
    pub(super) fn meet(&mut self, at: usize) -> C {
        self.fields[at].met = true;
        self.fields[at].change.clone()
    }

    /// The fields of a level, in the order in which they were pushed.
    pub(super) fn of(&mut self, level: &Range<usize>) -> &mut [Field<'d, C>] {
        &mut self.fields[level.clone()]
    }
}
