//! The fields of an operation that say what it is.

use std::ops::Range;

use super::chunks::{range32, within};
use super::translate::Why;
use crate::bson::{Element, Malformed, RawDoc};
use crate::event::Namespace;
use crate::source::{Chunk, Namespaces, Op};

/// The fields of an entry, or of an element of an `applyOps`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fields<'a> {
    pub(super) op: &'a [u8],
    pub(super) ns: Option<&'a [u8]>,
    pub(super) ui: Option<[u8; 16]>,
    pub(super) o: Option<RawDoc<'a>>,
    pub(super) o2: Option<RawDoc<'a>>,
    /// Whether it is a write of the server's own that moves data.
    pub(super) from_migrate: bool,
    /// Whether it stands by itself: elements of an `applyOps` have no timestamp.
    pub(super) is_entry: bool,
}

/// Where the fields of an entry lie in the bytes of its chunk: found when the reply was cut, so that an entry is walked once.
#[derive(Clone, Debug)]
pub struct Layout {
    op: Range<u32>,
    ns: Option<Range<u32>>,
    ui: Option<[u8; 16]>,
    o: Option<Range<u32>>,
    o2: Option<Range<u32>>,
    from_migrate: bool,
}

impl Layout {
    /// Of an entry within `bytes`.
    pub(super) fn of(fields: &Fields<'_>, bytes: &[u8]) -> Self {
        let place = |part: &[u8]| range32(&within(bytes, part));
        let doc = |doc: RawDoc<'_>| place(doc.as_bytes());
        let Fields { op, ns, ui, o, o2, from_migrate, .. } = *fields;
        let op = if op.is_empty() { 0..0 } else { place(op) };
        Self { op, ns: ns.map(place), ui, o: o.map(doc), o2: o2.map(doc), from_migrate }
    }

    /// The fields that lie there.
    fn fields<'a>(&self, bytes: &'a [u8]) -> Result<Fields<'a>, Malformed> {
        let part = |place: &Range<u32>| &bytes[place.start as usize..place.end as usize];
        let doc =
            |place: &Option<Range<u32>>| place.as_ref().map(|place| RawDoc::new(part(place))).transpose();
        Ok(Fields {
            op: part(&self.op),
            ns: self.ns.as_ref().map(part),
            ui: self.ui,
            o: doc(&self.o)?,
            o2: doc(&self.o2)?,
            from_migrate: self.from_migrate,
            is_entry: true,
        })
    }
}

impl<'a> Fields<'a> {
    /// Those of an operation in its chunk.
    pub(super) fn of(chunk: &'a Chunk, op: &Op) -> Result<Self, Malformed> {
        if let Some(layout) = &op.layout {
            return layout.fields(&chunk.bytes);
        }
        let mut fields = Self::default();
        for element in RawDoc::new(chunk.document(op))? {
            let element = element?;
            if !fields.take(element) {
                fields.is_entry |= element.name == b"ts";
            }
        }
        Ok(fields)
    }

    /// Takes an element if it is one of these fields, and says whether it was.
    #[inline]
    pub(super) fn take(&mut self, Element { name, value }: Element<'a>) -> bool {
        // Byte by byte: that is compiled to a tree of decisions, and not to one comparison after the other.
        match name {
            [b'o'] => self.o = value.as_doc(),
            [b'o', b'2'] => self.o2 = value.as_doc(),
            [b'o', b'p'] => self.op = value.as_str_bytes().unwrap_or_default(),
            [b'n', b's'] => self.ns = value.as_str_bytes(),
            [b'u', b'i'] => self.ui = value.as_uuid(),
            b"fromMigrate" => self.from_migrate = value.as_bool() == Some(true),
            _ => return false,
        }
        true
    }

    /// What was written.
    pub(super) fn o(&self) -> Result<RawDoc<'a>, Why> {
        self.o.ok_or(Why::from("no `o` document"))
    }

    /// The namespace; none if it has no name in UTF-8 and concerns nobody, as far as the database tells.
    pub(super) fn namespace(&self, namespaces: &Namespaces) -> Result<Option<Namespace<'a>>, Why> {
        let ns = self.ns.ok_or(Why::from("no namespace"))?;
        if let Ok(ns) = std::str::from_utf8(ns) {
            return Ok(Some(Namespace::split(ns)));
        }
        let db = ns.split(|byte| *byte == b'.').next().unwrap_or_default();
        match std::str::from_utf8(db) {
            Ok(db) if !namespaces.captures_database(db) => Ok(None),
            _ => Err(Why::unreadable("a namespace that is not UTF-8")),
        }
    }
}
