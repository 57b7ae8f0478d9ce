//! Secondary indexes: documents in the order of a value of theirs.

use std::fmt;
use std::sync::Arc;

use bson::Bson;
use serde::de::DeserializeOwned;

use super::document::Doc;
use super::key::{Key, key_of_bson};
use crate::bson::{Kind, Malformed, RawDoc, RawValue, append_key};
use crate::error::{Error, ErrorKind};

/// How an index finds the keys of a document.
pub(super) struct Index<T> {
    pub(super) name: String,
    keys: Keys<T>,
}

type KeysOf<T> = dyn Fn(&T) -> Vec<Bson> + Send + Sync;

enum Keys<T> {
    Path(Path),
    Typed(Arc<KeysOf<T>>),
}

impl<T> fmt::Debug for Index<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<T: DeserializeOwned> Index<T> {
    /// By the values at a dotted path, as the server's own index would have them: every element of an array, null where there is nothing.
    pub(super) fn by_path(name: &str, path: &str) -> Result<Self, Error> {
        Ok(Self { name: name.to_owned(), keys: Keys::Path(Path::parse(name, path)?) })
    }

    /// By what a function finds in the typed view. Documents that are not of the type are in no such index.
    pub(super) fn typed(name: &str, keys: Arc<KeysOf<T>>) -> Self {
        Self { name: name.to_owned(), keys: Keys::Typed(keys) }
    }

    /// The entries of a document, in order: each is the value's canonical bytes with the document's key behind them, since no canonical
    /// bytes are the beginning of others.
    pub(super) fn entries(&self, key: &Key, doc: &Doc<T>) -> Vec<Key> {
        let mut values: Vec<Vec<u8>> = match &self.keys {
            Keys::Path(path) => path.keys(doc.raw()).unwrap_or_default(),
            Keys::Typed(of) => {
                let found = doc.typed().map(|typed| of(typed)).unwrap_or_default();
                found.iter().filter_map(key_of_bson).map(|key| key.as_bytes().to_vec()).collect()
            }
        };
        values.sort_unstable();
        values.dedup();
        let entry = |mut value: Vec<u8>| {
            value.extend_from_slice(key.as_bytes());
            Key::from_bytes(&value)
        };
        values.into_iter().map(entry).collect()
    }
}

/// A dotted path.
#[derive(Debug)]
struct Path(Vec<Box<[u8]>>);

impl Path {
    fn parse(index: &str, path: &str) -> Result<Self, Error> {
        let is_bad = |name: &str| name.is_empty() || name.starts_with('$') || name.contains('\0');
        if path.split('.').any(is_bad) {
            let what = format!(
                "index `{index}`: `{path}` is not a path: its names must not be empty, nor begin with `$`"
            );
            return Err(Error::new(ErrorKind::Config, what));
        }
        Ok(Self(path.split('.').map(|name| name.as_bytes().into()).collect()))
    }

    fn keys(&self, doc: RawDoc<'_>) -> Result<Vec<Vec<u8>>, Malformed> {
        let mut keys = Vec::new();
        collect(doc, &self.0, &mut keys)?;
        Ok(keys)
    }
}

const NULL: RawValue<'static> = RawValue { kind: Kind::Null, bytes: &[] };

fn push(value: RawValue<'_>, keys: &mut Vec<Vec<u8>>) -> Result<(), Malformed> {
    let mut key = Vec::new();
    append_key(&mut key, value)?;
    keys.push(key);
    Ok(())
}

fn collect(doc: RawDoc<'_>, path: &[Box<[u8]>], keys: &mut Vec<Vec<u8>>) -> Result<(), Malformed> {
    let Some((name, rest)) = path.split_first() else { return Ok(()) };
    for element in doc {
        let element = element?;
        if element.name == &**name {
            return below(element.value, rest, keys);
        }
    }
    push(NULL, keys)
}

fn below(value: RawValue<'_>, rest: &[Box<[u8]>], keys: &mut Vec<Vec<u8>>) -> Result<(), Malformed> {
    match (value.as_doc(), value.as_array()) {
        (Some(doc), _) if !rest.is_empty() => collect(doc, rest, keys),
        (_, Some(array)) => elements(array, rest, keys),
        _ if rest.is_empty() => push(value, keys),
        _ => push(NULL, keys),
    }
}

fn elements(array: RawDoc<'_>, rest: &[Box<[u8]>], keys: &mut Vec<Vec<u8>>) -> Result<(), Malformed> {
    if array.is_empty() {
        // As the server indexes an empty array: itself at the path's end, nothing further in.
        let undefined = RawValue { kind: Kind::Undefined, bytes: &[] };
        return push(if rest.is_empty() { undefined } else { NULL }, keys);
    }
    for element in array {
        let element = element?;
        match (rest.split_first(), element.value.as_doc()) {
            (None, _) => push(element.value, keys)?,
            (Some((index, rest)), _) if **index == *element.name => below(element.value, rest, keys)?,
            (Some(_), Some(doc)) => collect(doc, rest, keys)?,
            (Some(_), None) => push(NULL, keys)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{Document, doc};

    fn values(path: &str, document: &Document) -> usize {
        let index = Index::<Document>::by_path("i", path).unwrap();
        let doc = Doc::new(RawDoc::new(&document.to_vec().unwrap()).unwrap(), None, &Arc::default());
        let key = key_of_bson(document.get("_id").unwrap()).unwrap();
        index.entries(&key, &doc).len()
    }

    #[test]
    fn a_path_leads_to_every_element_of_an_array_and_to_null_where_nothing_is() {
        let document =
            doc! { "_id": 1, "a": [1, 2, 2.0], "b": [{ "c": 1 }, { "c": 2 }], "d": { "e": 1 }, "f": [] };
        for (path, expected) in
            [("a", 2), ("b.c", 2), ("b.0.c", 2), ("d.e", 1), ("d.x", 1), ("x", 1), ("f", 1)]
        {
            assert_eq!(values(path, &document), expected, "{path}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused_with_its_index() {
        for path in ["", "a.", ".a", "a..b", "$a", "a.$b"] {
            let error = Index::<Document>::by_path("i", path).expect_err(path).to_string();
            assert!(error.contains("index `i`") && error.contains("is not a path"), "{error}");
        }
    }
}
