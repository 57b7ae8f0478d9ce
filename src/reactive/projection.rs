//! Which fields of its documents a partial collection shows.

use std::collections::BTreeMap;

use crate::bson::{DocWriter, Malformed, RawDoc, RawValue};
use crate::error::{Error, ErrorKind};

/// An inclusion projection, as `find` has it: these paths, and the `_id`.
#[derive(Clone, Debug, Default)]
pub(super) struct Projection(BTreeMap<Vec<u8>, Projection>);

impl Projection {
    pub(super) fn parse(paths: &[String]) -> Result<Self, Error> {
        let mut root = Self::default();
        for path in paths {
            let refuse = |why: &str| Error::new(ErrorKind::Config, format!("projection: `{path}` {why}"));
            if path.split('.').any(|name| name.is_empty() || name.starts_with('$') || name.contains('\0')) {
                return Err(refuse("is not a path: its names must not be empty, nor begin with `$`"));
            }
            let mut at = &mut root;
            let names: Vec<&str> = path.split('.').collect();
            for (place, name) in names.iter().enumerate() {
                let is_new = !at.0.contains_key(name.as_bytes());
                at = at.0.entry(name.as_bytes().to_vec()).or_default();
                let is_last = place + 1 == names.len();
                // A node without children is a whole field.
                if !is_new && (is_last || at.0.is_empty()) {
                    return Err(refuse("collides with another path of the projection"));
                }
            }
        }
        Ok(root)
    }

    /// Appends what is shown of a document.
    pub(super) fn apply(&self, doc: RawDoc<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
        self.document(doc, DocWriter::new(out), true)
    }

    fn document(&self, doc: RawDoc<'_>, mut out: DocWriter<'_>, is_top: bool) -> Result<(), Malformed> {
        for element in doc {
            let element = element?;
            match self.0.get(element.name) {
                Some(below) if below.0.is_empty() => out.append(element.name, element.value),
                Some(below) => below.nested(element.name, element.value, &mut out)?,
                None if is_top && element.name == b"_id" => out.append(element.name, element.value),
                None => {}
            }
        }
        out.finish();
        Ok(())
    }

    /// What is no document, or holds none, has no fields to show.
    fn nested(&self, name: &[u8], value: RawValue<'_>, out: &mut DocWriter<'_>) -> Result<(), Malformed> {
        match (value.as_doc(), value.as_array()) {
            (Some(doc), _) => self.document(doc, out.document(name), false),
            (_, Some(array)) => self.array(array, out.array(name)),
            _ => Ok(()),
        }
    }

    fn array(&self, array: RawDoc<'_>, mut out: DocWriter<'_>) -> Result<(), Malformed> {
        let mut index = 0_u32;
        let mut name = itoa::Buffer::new();
        for element in array {
            let value = element?.value;
            if value.as_doc().is_some() || value.as_array().is_some() {
                self.nested(name.format(index).as_bytes(), value, &mut out)?;
                index += 1;
            }
        }
        out.finish();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{Document, doc};

    fn shown(paths: &[&str], document: &Document) -> Document {
        let paths: Vec<String> = paths.iter().map(ToString::to_string).collect();
        let (mut out, bytes) = (Vec::new(), document.to_vec().unwrap());
        Projection::parse(&paths).unwrap().apply(RawDoc::new(&bytes).unwrap(), &mut out).unwrap();
        Document::from_reader(out.as_slice()).unwrap()
    }

    #[test]
    fn paths_are_shown_as_find_shows_them() {
        let document =
            doc! { "_id": 1, "b": { "c": 1, "d": 2 }, "a": 5, "l": [{ "c": 1, "d": 2 }, 7, [{ "c": 3 }]] };
        assert_eq!(shown(&["a"], &document), doc! { "_id": 1, "a": 5 });
        assert_eq!(shown(&["b.c", "a.x"], &document), doc! { "_id": 1, "b": { "c": 1 } });
        assert_eq!(shown(&["l.c"], &document), doc! { "_id": 1, "l": [{ "c": 1 }, [{ "c": 3 }]] });
    }

    #[test]
    fn what_is_no_projection_is_refused() {
        for paths in [&["a..b"][..], &["$a"], &[""], &["a", "a.b"], &["a.b", "a"], &["a", "a"]] {
            let paths: Vec<String> = paths.iter().map(ToString::to_string).collect();
            assert!(Projection::parse(&paths).is_err(), "{paths:?}");
        }
    }
}
