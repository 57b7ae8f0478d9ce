//! What an update changed, as the lists that change streams have, in BSON.

use crate::bson::{DocWriter, Malformed, RawValue};
use crate::event::{Component, Components, Delta, DeltaVisitor};

/// Which of an update's lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    /// Paths and their new values.
    Updated,
    /// Paths that are gone.
    Removed,
    /// Arrays that were cut, and how many elements are left.
    Truncated,
    /// The parts of those paths that could be read in several ways.
    Disambiguated,
}

impl List {
    /// Its name, the change stream's.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Updated => "updatedFields",
            Self::Removed => "removedFields",
            Self::Truncated => "truncatedArrays",
            Self::Disambiguated => "disambiguatedPaths",
        }
    }
}

/// Which of them have something.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found([bool; 4]);

impl Found {
    pub(super) fn add(&mut self, list: List) {
        self.0[list as usize] = true;
    }

    pub(super) fn has(self, list: List) -> bool {
        self.0[list as usize]
    }
}

/// A delta's lists. Each takes a walk of its own over the delta, which is small, so nothing has to be kept between them; but after the
/// first walk it is known which are empty.
pub(super) struct Lists<'d> {
    delta: &'d Delta<'d>,
    path: &'d mut Vec<u8>,
    found: Option<Found>,
}

impl<'d> Lists<'d> {
    /// The lists of `delta`; `path` is working space.
    pub(super) fn of(delta: &'d Delta<'d>, path: &'d mut Vec<u8>) -> Self {
        Self { delta, path, found: None }
    }

    /// Whether a list has something, as far as is known: all may, before the first was appended.
    pub(super) fn may_have(&self, list: List) -> bool {
        self.found.is_none_or(|found| found.has(list))
    }

    /// Appends a list to the document `out`.
    pub(super) fn append(&mut self, list: List, out: &mut DocWriter<'_>) -> Result<(), Malformed> {
        let name = list.name().as_bytes();
        let items = match list {
            List::Updated | List::Disambiguated => out.document(name),
            List::Removed | List::Truncated => out.array(name),
        };
        let mut writer = Writer { list, items, count: 0, found: Found::default() };
        if self.may_have(list) {
            self.delta.visit(self.path, &mut writer)?;
            self.found = Some(writer.found);
        }
        writer.items.finish();
        Ok(())
    }
}

struct Writer<'b> {
    list: List,
    items: DocWriter<'b>,
    count: u32,
    found: Found,
}

impl Writer<'_> {
    /// Whether an item of that list is wanted.
    fn wants(&mut self, list: List) -> bool {
        self.found.add(list);
        self.list == list
    }
}

impl DeltaVisitor for Writer<'_> {
    const AMBIGUOUS: bool = true;

    fn updated(&mut self, path: &[u8], value: RawValue<'_>) -> Result<(), Malformed> {
        if self.wants(List::Updated) {
            self.items.append(path, value);
        }
        Ok(())
    }

    fn removed(&mut self, path: &[u8]) {
        if self.wants(List::Removed) {
            self.items.append_str(index(&mut itoa::Buffer::new(), &mut self.count), path);
        }
    }

    fn truncated(&mut self, path: &[u8], new_size: i32) {
        if self.wants(List::Truncated) {
            let mut array = self.items.document(index(&mut itoa::Buffer::new(), &mut self.count));
            array.append_str(b"field", path);
            array.append_i32(b"newSize", new_size);
            array.finish();
        }
    }

    fn ambiguous(&mut self, path: &[u8], components: Components<'_>) {
        if self.wants(List::Disambiguated) {
            let mut parts = self.items.array(path);
            let mut count = 0;
            components.for_each(&mut |component| {
                let mut digits = itoa::Buffer::new();
                let number = index(&mut digits, &mut count);
                match component {
                    Component::Name(name) => parts.append_str(number, name),
                    Component::Index(digits) => parts.append_i32(number, parsed(digits)),
                }
            });
            parts.finish();
        }
    }
}

/// The name of an array's next element.
fn index<'d>(digits: &'d mut itoa::Buffer, count: &mut u32) -> &'d [u8] {
    let name = digits.format(*count).as_bytes();
    *count += 1;
    name
}

/// No array has as many elements as an int32 can count.
fn parsed(digits: &[u8]) -> i32 {
    std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).unwrap_or(i32::MAX)
}
