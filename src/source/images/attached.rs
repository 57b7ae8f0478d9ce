//! What was found for the operations of a chunk.

use std::time::Duration;

use bytes::Bytes;

use crate::bson::RawDoc;
use crate::event::{
    AfterImages, BeforeImages, Change, Image, ImageSettings, Images, NoImage, NotApplicable, Position,
    Strictness, apply,
};

/// A document that was wanted, or why there is none.
pub(super) type Found = Option<Result<Bytes, NoImage>>;

/// What was found for one operation.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot {
    /// What was there before it.
    pub(super) before: Found,
    /// What was there when somebody looked.
    pub(super) now: Found,
}

/// What was found for a chunk's operations, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Attached {
    settings: ImageSettings,
    slots: Vec<Slot>,
    /// What it took to find it.
    pub fetched: Fetched,
}

/// What it took to fetch documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// How many came.
    pub documents: u32,
    /// The bytes they take.
    pub bytes: usize,
    /// For how long they were waited for.
    pub elapsed: Duration,
}

impl Attached {
    pub(super) fn new(settings: ImageSettings, slots: Vec<Slot>, fetched: Fetched) -> Self {
        Self { settings, slots, fetched }
    }

    /// The images of the operation at that index of the chunk, which means `change`. `computed` takes the document behind an update where
    /// it has to be made.
    pub fn images<'a>(
        &'a self,
        index: usize,
        change: &Change<'a>,
        at: Position,
        computed: &'a mut Vec<u8>,
    ) -> Images<'a> {
        let Some(slot) = self.slots.get(index) else { return Images::default() };
        let before = slot.before.as_ref().map(exact);
        let after = match (self.settings.after, change, before) {
            (AfterImages::Stored, Change::Update { .. }, Some(before)) => {
                Some(behind(before, change, at, computed))
            }
            (AfterImages::Lookup, ..) => slot.now.as_ref().map(looked_up),
            _ => None,
        };
        Images { before: before.filter(|_| self.settings.before == BeforeImages::Stored), after }
    }

    /// About how many bytes the images take.
    pub fn size(&self) -> usize {
        self.slots.iter().map(|slot| self.size_of(slot)).sum()
    }

    /// For how many operations there are images.
    pub(super) fn operations(&self) -> usize {
        self.slots.len()
    }

    /// Keeps those of the first operations, as many as take no more than `bytes`; at least one.
    pub(super) fn keep_within(&mut self, bytes: usize) {
        let mut sum = 0;
        let fits = |slot: &&Slot| {
            sum += self.size_of(slot);
            sum <= bytes
        };
        let operations = self.slots.iter().take_while(fits).count().max(1);
        self.slots.truncate(operations);
    }

    fn size_of(&self, slot: &Slot) -> usize {
        let size = |found: &Found| found.as_ref().and_then(|found| found.as_ref().ok()).map_or(0, Bytes::len);
        let is_computed = self.settings.after == AfterImages::Stored;
        size(&slot.before) * if is_computed { 2 } else { 1 } + size(&slot.now)
    }
}

fn exact(found: &Result<Bytes, NoImage>) -> Image<'_> {
    image(found, Image::Exact)
}

fn looked_up(found: &Result<Bytes, NoImage>) -> Image<'_> {
    image(found, Image::LookedUp)
}

fn image<'a>(found: &'a Result<Bytes, NoImage>, sort: fn(RawDoc<'a>) -> Image<'a>) -> Image<'a> {
    match found {
        // It was a document when it was found.
        Ok(bytes) => RawDoc::new(bytes).map_or(Image::Missing(NoImage::NotFound), sort),
        Err(why) => Image::Missing(*why),
    }
}

/// What an update made of what was there before.
fn behind<'a>(before: Image<'_>, change: &Change<'_>, at: Position, computed: &'a mut Vec<u8>) -> Image<'a> {
    let (Some(document), Change::Update { delta, .. }) = (before.document(), change) else {
        let Image::Missing(why) = before else { return Image::Missing(NoImage::NotFound) };
        return Image::Missing(why);
    };
    computed.clear();
    match apply(document, delta, Strictness::Strict, computed) {
        Ok(()) => RawDoc::new(computed).map_or(Image::Missing(NoImage::Mismatch), Image::Exact),
        Err(error) => {
            // Damage is told by whoever encodes the update itself. Neither message has a path: that is part of a document.
            if let NotApplicable::Mismatch { what, .. } = error {
                tracing::warn!(position = %at, what, "an update does not fit what was recorded before it");
            }
            Image::Missing(NoImage::Mismatch)
        }
    }
}
