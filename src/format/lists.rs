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

    /// Appends it to the document `out`. One walk for each list: a diff is small, and nothing has to be kept between them. Says whether
    /// some path of the delta is ambiguous.
    pub(super) fn append(
        self,
        out: &mut DocWriter<'_>,
        delta: &Delta<'_>,
        path: &mut Vec<u8>,
    ) -> Result<bool, Malformed> {
        let name = self.name().as_bytes();
        let items = match self {
            Self::Updated | Self::Disambiguated => out.document(name),
            Self::Removed | Self::Truncated => out.array(name),
        };
        let mut writer = Writer { list: self, items, count: 0, ambiguous: false };
        delta.visit(path, &mut writer)?;
        writer.items.finish();
        Ok(writer.ambiguous)
    }
}

struct Writer<'b> {
    list: List,
    items: DocWriter<'b>,
    count: u32,
    ambiguous: bool,
}

impl DeltaVisitor for Writer<'_> {
    const AMBIGUOUS: bool = true;

    fn updated(&mut self, path: &[u8], value: RawValue<'_>) -> Result<(), Malformed> {
        if self.list == List::Updated {
            self.items.append(path, value);
        }
        Ok(())
    }

    fn removed(&mut self, path: &[u8]) {
        if self.list == List::Removed {
            self.items.append_str(index(&mut itoa::Buffer::new(), &mut self.count), path);
        }
    }

    fn truncated(&mut self, path: &[u8], new_size: i32) {
        if self.list == List::Truncated {
            let mut array = self.items.document(index(&mut itoa::Buffer::new(), &mut self.count));
            array.append_str(b"field", path);
            array.append_i32(b"newSize", new_size);
            array.finish();
        }
    }

    fn ambiguous(&mut self, path: &[u8], components: Components<'_>) {
        self.ambiguous = true;
        if self.list == List::Disambiguated {
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
