//! Which documents a collection holds, and what it shows of them.

use std::sync::Arc;

use super::projection::Projection;
use crate::bson::{Malformed, RawDoc, RawValue};
use crate::event::{Delta, DeltaVisitor};
use crate::query::{Filter, MatchError, Step};

/// All documents, or those that match; with all of their fields, or some.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    pub(super) filter: Option<Arc<Filter>>,
    pub(super) projection: Option<Projection>,
}

impl Scope {
    /// Whether the document belongs to the collection. An error is one that the server would fail with.
    pub(super) fn holds(&self, doc: RawDoc<'_>) -> Result<bool, MatchError> {
        self.filter.as_ref().map_or(Ok(true), |filter| filter.matches(doc))
    }

    /// Whether a document that does not belong to the collection could belong to it after such a change: whether the filter reads any of
    /// what has changed. What can't be read is left to whoever applies it.
    pub(super) fn could_hold_after(&self, delta: &Delta<'_>) -> bool {
        let Some(filter) = &self.filter else { return false };
        let mut touched = Touched { filter, found: false };
        delta.visit(&mut Vec::new(), &mut touched).is_err() || touched.found
    }
}

/// Asks the filter about every path of a delta.
struct Touched<'f> {
    filter: &'f Filter,
    found: bool,
}

impl Touched<'_> {
    /// A name that holds a dot is taken for a path. No filter reads such a name but by reading what is around it.
    fn note(&mut self, path: &[u8]) {
        let is_number = |name: &[u8]| !name.is_empty() && name.iter().all(u8::is_ascii_digit);
        let names = path.split(|byte| *byte == b'.');
        let steps: Vec<Step<'_>> =
            names.map(|name| if is_number(name) { Step::Either(name) } else { Step::Name(name) }).collect();
        self.found = self.found || self.filter.is_affected(&steps);
    }
}

impl DeltaVisitor for Touched<'_> {
    fn updated(&mut self, path: &[u8], _: RawValue<'_>) -> Result<(), Malformed> {
        self.note(path);
        Ok(())
    }

    fn removed(&mut self, path: &[u8]) {
        self.note(path);
    }

    fn truncated(&mut self, path: &[u8], _: i32) {
        self.note(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bson::extjson::parse;

    #[test]
    fn a_delta_matters_only_where_the_filter_reads_what_it_changed() {
        let filter = Filter::parse_json(r#"{"status": "open", "items.price": {"$gt": 5}}"#).unwrap();
        let scope = Scope { filter: Some(Arc::new(filter)), projection: None };
        for (diff, expected) in [
            (r#"{"u": {"status": "open"}}"#, true),
            (r#"{"d": {"status": false}}"#, true),
            (r#"{"i": {"total": 1}}"#, false),
            (r#"{"sitems": {"a": true, "s0": {"u": {"price": 7}}}}"#, true),
            (r#"{"sitems": {"a": true, "s0": {"u": {"name": "x"}}}}"#, false),
            (r#"{"sitems": {"a": true, "l": 1}}"#, true),
            (r#"{"sitems": {"a": true, "u3": {"price": 9}}}"#, true),
            (r#"{"sstatus": {"u": {"x": 1}}}"#, true),
            (r#"{"u": {"statu.s": 1, "": 2}}"#, false),
            (r#"{"what": {}}"#, true),
        ] {
            let diff = parse(diff).unwrap();
            assert_eq!(
                scope.could_hold_after(&Delta::Diff(RawDoc::new(&diff).unwrap())),
                expected,
                "{diff:?}"
            );
        }
        let set = parse(r#"{"items.0.price": 3}"#).unwrap();
        let delta = Delta::Modifiers { set: Some(RawDoc::new(&set).unwrap()), unset: None };
        assert!(scope.could_hold_after(&delta));
    }
}
