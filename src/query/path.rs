//! Dotted paths, and the values that a path leads to.
//!
//! A path leads to several values where arrays are on its way: every element that is a document is entered, and a number is the index of
//! an element, too. It leads to none where an array holds nothing to enter, and to a missing value where a document lacks the field.

use super::error::MatchError;
use super::fields::{Fields, Names, Slot};
use crate::bson::{DEPTH_MAX, Kind, Malformed, RawDoc, RawValue};

/// One part of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    bytes: Box<[u8]>,
    /// Whether it could be an index.
    is_number: bool,
}

impl Name {
    pub(super) fn new(bytes: &[u8]) -> Self {
        let is_number = !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit);
        Self { bytes: bytes.into(), is_number }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn is(&self, name: &[u8]) -> bool {
        *self.bytes == *name
    }

    pub(super) fn is_number(&self) -> bool {
        self.is_number
    }

    /// Whether it is the index of that element of an array.
    fn is_index(&self, name: &[u8]) -> bool {
        self.is_number && self.is(name)
    }
}

/// What an array at the end of a path stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaf {
    /// Its elements, then itself.
    Elements,
    /// Itself alone.
    Whole,
}

/// A dotted path.
#[derive(Debug)]
pub(super) struct Path {
    names: Box<[Name]>,
    slot: Option<Slot>,
}

impl Path {
    /// Reads a dotted path, whose first name gets a slot of `names`.
    pub(super) fn new(path: &[u8], names: &mut Names) -> Self {
        let parts: Box<[Name]> = path.split(|byte| *byte == b'.').map(Name::new).collect();
        let slot = names.slot(&parts[0]);
        Self { names: parts, slot }
    }

    pub(super) fn names(&self) -> &[Name] {
        &self.names
    }

    /// Calls `visit` for the values that the path leads to, one after the other, until it says yes; whether it did.
    pub(super) fn any<'d>(
        &self,
        fields: &mut Fields<'d, '_>,
        leaf: Leaf,
        mut visit: impl FnMut(Option<RawValue<'d>>) -> Result<bool, MatchError>,
    ) -> Result<bool, MatchError> {
        let (first, rest) = self.names.split_first().expect("a path has at least one name");
        let value = match self.slot {
            Some(slot) => fields.get(slot)?,
            None => get(fields.doc(), first.bytes())?,
        };
        match value {
            Some(value) if !rest.is_empty() || value.kind() == Kind::Array => {
                Walk { leaf, visit }.value(Some(value), rest, 0)
            }
            value => visit(value),
        }
    }
}

/// The first field of that name.
pub(super) fn get<'d>(doc: RawDoc<'d>, name: &[u8]) -> Result<Option<RawValue<'d>>, Malformed> {
    for element in doc {
        let element = element?;
        if element.name == name {
            return Ok(Some(element.value));
        }
    }
    Ok(None)
}

struct Walk<V> {
    leaf: Leaf,
    visit: V,
}

impl<'d, V: FnMut(Option<RawValue<'d>>) -> Result<bool, MatchError>> Walk<V> {
    fn value(
        &mut self,
        value: Option<RawValue<'d>>,
        rest: &[Name],
        depth: usize,
    ) -> Result<bool, MatchError> {
        if depth > DEPTH_MAX {
            return Err(Malformed { what: "nested too deeply", offset: 0 }.into());
        }
        match (value, rest) {
            (Some(value), _) if value.kind() == Kind::Array => self.array(value, rest, depth),
            (Some(value), [name, rest @ ..]) => match value.as_doc() {
                Some(doc) => self.value(get(doc, name.bytes())?, rest, depth + 1),
                None => (self.visit)(None),
            },
            (value, _) => (self.visit)(value),
        }
    }

    fn array(&mut self, array: RawValue<'d>, rest: &[Name], depth: usize) -> Result<bool, MatchError> {
        let Some((name, below)) = rest.split_first() else { return self.leaf(array) };
        for element in array.as_array().into_iter().flatten() {
            let element = element?;
            let value = element.value;
            if value.kind() == Kind::Document && self.value(Some(value), rest, depth + 1)? {
                return Ok(true);
            }
            if !name.is_index(element.name) {
                continue;
            }
            let found = match value.kind() {
                // At its end an index means that element, even if it is an array.
                _ if below.is_empty() => (self.visit)(Some(value))?,
                Kind::Document | Kind::Array => self.value(Some(value), below, depth + 1)?,
                _ => false,
            };
            if found {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn leaf(&mut self, array: RawValue<'d>) -> Result<bool, MatchError> {
        if self.leaf == Leaf::Elements {
            for element in array.as_array().into_iter().flatten() {
                if (self.visit)(Some(element?.value))? {
                    return Ok(true);
                }
            }
        }
        (self.visit)(Some(array))
    }
}
