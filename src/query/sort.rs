//! The server's sort order.
//!
//! Where a path leads through an array, a document has several keys: one for each element, and of these the first one in the sort's order
//! counts. Several paths that lead through the same array take their values from the same element. A missing value is null, an empty array
//! comes before it.

use super::error::{FilterError, MatchError};
use super::path::{Name, get};
use crate::bson::{Kind, Number, RawDoc, RawValue, append_key};

/// The server's limit.
const PATHS_MAX: usize = 32;

/// A compiled sort specification, such as `{total: -1, _id: 1}`.
#[derive(Debug)]
pub struct SortSpec {
    paths: Vec<SortPath>,
}

#[derive(Debug)]
struct SortPath {
    names: Box<[Name]>,
    descending: bool,
}

/// A path on its way through the document.
#[derive(Clone, Copy)]
enum Place<'d, 'n> {
    /// At its end.
    Value(Option<RawValue<'d>>),
    /// At a value, with names still to follow.
    Way(RawValue<'d>, &'n [Name]),
    /// At its end, in an array that is still to be taken apart.
    Array(RawValue<'d>),
    /// At its end, in an array that an index led to: it stays whole.
    Whole(RawValue<'d>),
}

impl SortSpec {
    /// Compiles a sort specification: paths with 1 or -1.
    pub fn parse(spec: RawDoc<'_>) -> Result<Self, FilterError> {
        let mut paths = Vec::new();
        for element in spec {
            let element = element?;
            let path = path(element.name, element.value).map_err(|error| error.within(element.name))?;
            paths.push(path);
        }
        if paths.len() > PATHS_MAX {
            return Err(FilterError::refused(format!("a sort has at most {PATHS_MAX} paths")));
        }
        Ok(Self { paths })
    }

    /// Bytes whose order is that of the documents.
    ///
    /// There are none, as on the server, where two paths lead through different arrays, or where a number in a path is both an index of
    /// an array and a name in one of its elements.
    pub fn key(&self, doc: RawDoc<'_>) -> Result<Vec<u8>, MatchError> {
        let root = RawValue { kind: Kind::Document, bytes: doc.as_bytes() };
        let places: Vec<_> = self.paths.iter().map(|path| Place::Way(root, &path.names)).collect();
        let mut least = None;
        self.expand(&places, &mut least)?;
        Ok(least.unwrap_or_default())
    }

    /// The order of two documents.
    pub fn compare(&self, a: RawDoc<'_>, b: RawDoc<'_>) -> Result<std::cmp::Ordering, MatchError> {
        Ok(self.key(a)?.cmp(&self.key(b)?))
    }

    /// Follows the paths to their ends, for every element of the arrays on their way, and keeps the least key.
    fn expand(&self, places: &[Place<'_, '_>], least: &mut Option<Vec<u8>>) -> Result<(), MatchError> {
        let mut array: Option<RawValue<'_>> = None;
        let mut reached = Vec::with_capacity(places.len());
        for place in places {
            let place = follow(*place)?;
            if let Place::Way(here, _) | Place::Array(here) | Place::Whole(here) = place {
                if array.is_some_and(|array| !std::ptr::eq(array.as_bytes(), here.as_bytes())) {
                    return Err(MatchError::Expression(
                        "two paths of the sort lead through different arrays".to_owned(),
                    ));
                }
                array = Some(here);
            }
            reached.push(place);
        }
        let stays = |place: &Place<'_, '_>| matches!(place, Place::Value(_) | Place::Whole(_));
        let Some(array) = array.filter(|_| !reached.iter().all(stays)) else {
            return self.keep(&reached, least);
        };
        let array = array.as_doc_or_array();
        if array.is_empty() {
            let ends: Vec<_> = reached.iter().map(Place::in_empty).collect();
            return self.keep(&ends, least);
        }
        for element in array {
            let element = element?.value;
            let within: Result<Vec<_>, _> = reached.iter().map(|place| place.within(element)).collect();
            self.expand(&within?, least)?;
        }
        Ok(())
    }

    fn keep(&self, places: &[Place<'_, '_>], least: &mut Option<Vec<u8>>) -> Result<(), MatchError> {
        let mut key = Vec::new();
        for (path, place) in self.paths.iter().zip(places) {
            let begin = key.len();
            append_key(&mut key, place.value())?;
            if path.descending {
                key[begin..].iter_mut().for_each(|byte| *byte = !*byte);
            }
        }
        if least.as_ref().is_none_or(|least| key < *least) {
            *least = Some(key);
        }
        Ok(())
    }
}

const NULL: RawValue<'static> = RawValue { kind: Kind::Null, bytes: &[] };
const UNDEFINED: RawValue<'static> = RawValue { kind: Kind::Undefined, bytes: &[] };

impl<'d> Place<'d, '_> {
    fn value(&self) -> RawValue<'d> {
        match self {
            Self::Value(value) => value.unwrap_or(NULL),
            Self::Way(..) => NULL,
            Self::Array(array) | Self::Whole(array) if is_empty_array(*array) => UNDEFINED,
            Self::Array(array) | Self::Whole(array) => *array,
        }
    }

    /// What an empty array is worth.
    fn in_empty(&self) -> Self {
        match self {
            Self::Way(..) => Self::Value(None),
            value => *value,
        }
    }

    /// The same path in an element of the array that it stands at; an index leads to its own element instead.
    fn within(&self, element: RawValue<'d>) -> Result<Self, MatchError> {
        Ok(match self {
            // What lies in an array's array is not taken apart again.
            Self::Array(_) => Self::Value(Some(element)),
            Self::Whole(array) => Self::Value(Some(*array)),
            Self::Way(array, [name, rest @ ..]) => match (at_index(*array, name)?, rest) {
                (Some(found), []) if found.kind() == Kind::Array => Self::Whole(found),
                (Some(found), []) => Self::Value(Some(found)),
                (Some(found), rest) => Self::Way(found, rest),
                (None, _) if element.kind() == Kind::Document => self.from(element),
                (None, _) => Self::Value(None),
            },
            value => *value,
        })
    }

    /// The same names, from elsewhere.
    fn from(&self, element: RawValue<'d>) -> Self {
        match self {
            Self::Way(_, names) => Self::Way(element, names),
            place => *place,
        }
    }
}

fn is_empty_array(value: RawValue<'_>) -> bool {
    value.as_array().is_some_and(RawDoc::is_empty)
}

/// Goes on to the next array, or to the end.
fn follow<'d, 'n>(place: Place<'d, 'n>) -> Result<Place<'d, 'n>, MatchError> {
    let Place::Way(mut here, mut rest) = place else { return Ok(place) };
    loop {
        let (name, below) = match (here.kind(), rest) {
            (Kind::Array, []) => return Ok(Place::Array(here)),
            (Kind::Array, rest) => return Ok(Place::Way(here, rest)),
            (_, []) => return Ok(Place::Value(Some(here))),
            (_, [name, below @ ..]) => (name, below),
        };
        match get(here.as_doc_or_array(), name.bytes())? {
            Some(next) => (here, rest) = (next, below),
            None => return Ok(Place::Value(None)),
        }
    }
}

/// The element of that index, if the name is one.
fn at_index<'d>(array: RawValue<'d>, name: &Name) -> Result<Option<RawValue<'d>>, MatchError> {
    if !name.is_number() {
        return Ok(None);
    }
    let array = array.as_doc_or_array();
    let Some(found) = get(array, name.bytes())? else { return Ok(None) };
    for element in array {
        let element = element?.value;
        if element.kind() == Kind::Document && get(element.as_doc_or_array(), name.bytes())?.is_some() {
            return Err(MatchError::Expression(
                "a number in a path of the sort is an index, and a name as well".to_owned(),
            ));
        }
    }
    Ok(Some(found))
}

fn path(name: &[u8], direction: RawValue<'_>) -> Result<SortPath, FilterError> {
    let descending = match Number::of(direction).and_then(Number::as_whole_i64) {
        Some(1) => false,
        Some(-1) => true,
        _ if direction.kind() == Kind::Document => {
            return Err(FilterError::unsupported("an order by $meta is not known here"));
        }
        _ => return Err(FilterError::refused("takes 1 for ascending or -1 for descending")),
    };
    let names: Box<[Name]> = name.split(|byte| *byte == b'.').map(Name::new).collect();
    if names.iter().any(|name| name.bytes().is_empty() || name.bytes().starts_with(b"$")) {
        return Err(FilterError::refused("a sort's path has no empty names and none that begins with `$`"));
    }
    Ok(SortPath { names, descending })
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::SortSpec;
    use crate::bson::RawDoc;
    use crate::bson::extjson::parse;
    use crate::query::MatchError;

    fn compare(spec: &str, a: &str, b: &str) -> Result<Ordering, MatchError> {
        let [spec, a, b] = [spec, a, b].map(|text| parse(text).expect(text));
        let spec = SortSpec::parse(RawDoc::new(&spec).unwrap()).unwrap();
        spec.compare(RawDoc::new(&a).unwrap(), RawDoc::new(&b).unwrap())
    }

    #[test]
    fn documents_come_in_the_servers_order() {
        for (spec, ascending) in [
            (
                r#"{"a":1}"#,
                &[
                    r#"{"a":[]}"#,
                    "{}",
                    r#"{"a":1}"#,
                    r#"{"a":[9,2]}"#,
                    r#"{"a":"x"}"#,
                    r#"{"a":{}}"#,
                    r#"{"a":true}"#,
                ][..],
            ),
            // The greatest element counts.
            (r#"{"a":-1}"#, &[r#"{"a":[1,9]}"#, r#"{"a":8}"#, "{}", r#"{"a":[]}"#]),
            (
                r#"{"a":1,"b":-1}"#,
                &[r#"{"a":1,"b":2}"#, r#"{"a":1,"b":1}"#, r#"{"a":1}"#, r#"{"a":2,"b":9}"#],
            ),
            // Both values are those of one element.
            (
                r#"{"a.b":1,"a.c":-1}"#,
                &[
                    r#"{"a":{"b":1,"c":3}}"#,
                    r#"{"a":[{"b":1,"c":2},{"b":2,"c":9}]}"#,
                    r#"{"a":{"b":1,"c":1}}"#,
                ],
            ),
            (r#"{"a.1":1}"#, &[r#"{"a":[9]}"#, r#"{"a":[9,1]}"#, r#"{"a":[0,2]}"#, r#"{"a":[0,[1]]}"#]),
        ] {
            for pair in ascending.windows(2) {
                assert_eq!(compare(spec, pair[0], pair[1]), Ok(Ordering::Less), "{spec} {pair:?}");
            }
        }
        assert_eq!(compare(r#"{"a":1}"#, "{}", r#"{"a":null}"#), Ok(Ordering::Equal));
    }

    #[test]
    fn what_has_no_order_is_an_error() {
        assert!(compare(r#"{"a":1,"b":1}"#, r#"{"a":[1],"b":[1]}"#, "{}").is_err());
        assert!(compare(r#"{"a.0":1}"#, r#"{"a":[{"0":1}]}"#, "{}").is_err());
        for spec in [r#"{"a":2}"#, r#"{"a":"x"}"#, r#"{"a..b":1}"#, r#"{"$a":1}"#, r#"{"":1}"#] {
            let spec = parse(spec).unwrap();
            assert!(SortSpec::parse(RawDoc::new(&spec).unwrap()).is_err());
        }
    }
}
