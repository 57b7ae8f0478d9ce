//! The elements of an array that is being rewritten, from front to back.

use std::iter::Peekable;

use super::{Applied, Rules};
use crate::bson::{DocWriter, Iter, Malformed, RawDoc, RawValue};

/// What is left of the array, and the index that is written next.
pub(super) struct Elements<'a> {
    before: Peekable<Iter<'a>>,
    next: usize,
    digits: itoa::Buffer,
}

impl<'a> Elements<'a> {
    pub(super) fn new(before: RawDoc<'a>) -> Self {
        Self { before: before.iter().peekable(), next: 0, digits: itoa::Buffer::new() }
    }

    /// The index that is written next.
    pub(super) fn next(&self) -> usize {
        self.next
    }

    /// The name under which something is written next.
    pub(super) fn name(&mut self) -> &[u8] {
        self.digits.format(self.next).as_bytes()
    }

    /// Whether there is no more element.
    pub(super) fn is_at_end(&mut self) -> bool {
        self.before.peek().is_none()
    }

    /// The name under which something has to be written now, and what stood there; nothing behind the array's end.
    pub(super) fn take(&mut self) -> Result<(&[u8], Option<RawValue<'a>>), Malformed> {
        let element = self.before.next().transpose()?;
        let name = self.digits.format(self.next).as_bytes();
        self.next += 1;
        Ok((name, element.map(|element| element.value)))
    }

    /// Writes what is left before `index` as it is.
    pub(super) fn copy_to(&mut self, index: usize, out: &mut DocWriter<'_>) -> Applied {
        while self.next < index && !self.is_at_end() {
            if let (name, Some(value)) = self.take()? {
                out.append(name, value);
            }
        }
        Ok(())
    }

    /// Writes nulls from the array's end up to `index`.
    pub(super) fn pad_to(&mut self, index: usize, rules: &mut Rules, out: &mut DocWriter<'_>) -> Applied {
        while self.next < index {
            rules.append_null(out, self.digits.format(self.next).as_bytes())?;
            self.next += 1;
        }
        Ok(())
    }
}

/// An index as a path or a diff has it: digits alone.
pub(super) fn index(name: &[u8]) -> Option<usize> {
    let digits = !name.is_empty() && name.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(name).ok().filter(|_| digits)?.parse().ok()
}
