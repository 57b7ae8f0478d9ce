//! What an update changed: both encodings of the oplog, and one visitor that reads them as a change stream would.
//!
//! `$v: 1` has `$set` and `$unset` with dotted paths. `$v: 2` has a structured diff, whose grammar is: a document diff holds, in
//! this order, `d` (deleted fields), `u` (updated), `i` (inserted), `b` (patched binary data) and any number of `s<field>` (nested
//! diffs); an array diff starts with `a: true`, then `l` (new length), `u<index>` and `s<index>`.

use crate::bson::{DEPTH_MAX, Malformed, RawDoc, RawValue};

/// What an update changed.
#[derive(Clone, Copy, Debug)]
pub enum Delta<'a> {
    /// `$v: 1`, and entries without `$v`: dotted paths.
    Modifiers {
        /// `$set`: paths and their new values.
        set: Option<RawDoc<'a>>,
        /// `$unset`: paths that are gone.
        unset: Option<RawDoc<'a>>,
    },
    /// `$v: 2`: a structured diff.
    Diff(RawDoc<'a>),
}

/// Receives what a delta says, in the order in which MongoDB's change streams list it. Paths are joined with dots.
pub trait DeltaVisitor {
    /// A field has a new value.
    fn updated(&mut self, path: &[u8], value: RawValue<'_>) -> Result<(), Malformed>;
    /// A field is gone.
    fn removed(&mut self, path: &[u8]);
    /// An array was cut to that many elements.
    fn truncated(&mut self, path: &[u8], new_size: i32);
}

impl Delta<'_> {
    /// Reads the delta from front to back. `path` is working space; its capacity is kept for the next call.
    pub fn visit(&self, path: &mut Vec<u8>, visitor: &mut impl DeltaVisitor) -> Result<(), Malformed> {
        path.clear();
        match self {
            Self::Modifiers { set, unset } => {
                for element in set.iter().flat_map(|set| set.iter()) {
                    let element = element?;
                    visitor.updated(element.name, element.value)?;
                }
                for element in unset.iter().flat_map(|unset| unset.iter()) {
                    visitor.removed(element?.name);
                }
                Ok(())
            }
            Self::Diff(diff) => Walk { path, names: 0, visitor }.document(*diff, 0),
        }
    }
}

/// The sections of a document diff, in the order the grammar demands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Section {
    Deleted,
    Updated,
    Inserted,
    Binary,
    Nested,
}

impl Section {
    fn of(name: &[u8]) -> Option<Self> {
        match name {
            b"d" => Some(Self::Deleted),
            b"u" => Some(Self::Updated),
            b"i" => Some(Self::Inserted),
            b"b" => Some(Self::Binary),
            [b's', ..] => Some(Self::Nested),
            _ => None,
        }
    }
}

struct Walk<'v, V> {
    path: &'v mut Vec<u8>,
    /// Names in `path`: an empty path may hold one empty name.
    names: usize,
    visitor: &'v mut V,
}

impl<V: DeltaVisitor> Walk<'_, V> {
    fn document(&mut self, diff: RawDoc<'_>, depth: usize) -> Result<(), Malformed> {
        check_depth(depth)?;
        check_sections(diff)?;
        // The change stream's order: what was set, then what was removed, then the nested diffs.
        for wanted in [Section::Updated, Section::Inserted, Section::Binary, Section::Deleted] {
            for element in diff {
                let element = element?;
                if Section::of(element.name) == Some(wanted) {
                    self.fields(wanted, section_doc(element.value)?)?;
                }
            }
        }
        for element in diff {
            let element = element?;
            if Section::of(element.name) == Some(Section::Nested) {
                let nested = section_doc(element.value)?;
                self.below(&element.name[1..], |walk| walk.nested(nested, depth + 1))?;
            }
        }
        Ok(())
    }

    fn fields(&mut self, section: Section, fields: RawDoc<'_>) -> Result<(), Malformed> {
        for field in fields {
            let field = field?;
            self.below(field.name, |walk| {
                if section == Section::Deleted {
                    walk.visitor.removed(walk.path);
                    Ok(())
                } else {
                    walk.visitor.updated(walk.path, field.value)
                }
            })?;
        }
        Ok(())
    }

    /// A nested diff is one of an array if its first name is `a`: a document diff has no such section.
    fn nested(&mut self, diff: RawDoc<'_>, depth: usize) -> Result<(), Malformed> {
        match diff.iter().next() {
            Some(Ok(first)) if first.name == b"a" => {
                if first.value.as_bool() != Some(true) {
                    return Err(malformed("update diff: `a` is not true"));
                }
                self.array(diff, depth)
            }
            _ => self.document(diff, depth),
        }
    }

    fn array(&mut self, diff: RawDoc<'_>, depth: usize) -> Result<(), Malformed> {
        check_depth(depth)?;
        for (number, element) in diff.iter().enumerate().skip(1) {
            let element = element?;
            match element.name {
                b"l" if number == 1 => {
                    let size = element.value.as_i32().ok_or(malformed("update diff: `l` is not an int32"))?;
                    self.visitor.truncated(self.path, size);
                }
                [b'u', index @ ..] if is_index(index) => {
                    self.below(index, |walk| walk.visitor.updated(walk.path, element.value))?;
                }
                [b's', index @ ..] if is_index(index) => {
                    let nested = section_doc(element.value)?;
                    self.below(index, |walk| walk.nested(nested, depth + 1))?;
                }
                _ => return Err(malformed("update diff: unknown part of an array")),
            }
        }
        Ok(())
    }

    /// Runs `step` with `name` at the end of the path. Empty names count: `x.` is the field named "" of `x`.
    fn below(
        &mut self,
        name: &[u8],
        step: impl FnOnce(&mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let length = self.path.len();
        if self.names > 0 {
            self.path.push(b'.');
        }
        self.path.extend_from_slice(name);
        self.names += 1;
        let result = step(self);
        self.names -= 1;
        self.path.truncate(length);
        result
    }
}

/// Sections must be known, in order and, but for nested ones, single; a diff has at least one.
fn check_sections(diff: RawDoc<'_>) -> Result<(), Malformed> {
    let mut last = None;
    for element in diff {
        let section = Section::of(element?.name).ok_or(malformed("update diff: unknown section"))?;
        if last > Some(section) || (last == Some(section) && section != Section::Nested) {
            return Err(malformed("update diff: section out of order or repeated"));
        }
        last = Some(section);
    }
    if last.is_some() { Ok(()) } else { Err(malformed("update diff: empty")) }
}

fn section_doc(value: RawValue<'_>) -> Result<RawDoc<'_>, Malformed> {
    value.as_doc().ok_or(malformed("update diff: a section is not a document"))
}

fn check_depth(depth: usize) -> Result<(), Malformed> {
    if depth > DEPTH_MAX { Err(malformed("update diff: nested too deeply")) } else { Ok(()) }
}

fn is_index(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(u8::is_ascii_digit)
}

fn malformed(what: &'static str) -> Malformed {
    Malformed { what, offset: 0 }
}
