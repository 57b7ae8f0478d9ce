//! The fields of an operation that say what it is.

use super::fault::Why;
use crate::bson::{Malformed, RawDoc};
use crate::event::Namespace;
use crate::source::Namespaces;

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

impl<'a> Fields<'a> {
    pub(super) fn parse(doc: RawDoc<'a>) -> Result<Self, Malformed> {
        let mut fields = Self::default();
        for element in doc {
            let element = element?;
            match element.name {
                b"op" => fields.op = element.value.as_str_bytes().unwrap_or_default(),
                b"ns" => fields.ns = element.value.as_str_bytes(),
                b"ui" => fields.ui = element.value.as_uuid(),
                b"o" => fields.o = element.value.as_doc(),
                b"o2" => fields.o2 = element.value.as_doc(),
                b"fromMigrate" => fields.from_migrate = element.value.as_bool() == Some(true),
                b"ts" => fields.is_entry = true,
                _ => {}
            }
        }
        Ok(fields)
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
