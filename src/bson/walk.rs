//! The walker: one element after the other, each checked to lie within its document.
#![expect(
    clippy::inline_always,
    reason = "a call for each element takes as long as the step itself: measured"
)]

use super::{Kind, Malformed, RawValue, read_i32};

/// A name and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// The name's bytes, without the final zero; UTF-8 as a rule, not always.
    pub name: &'a [u8],
    /// The value.
    pub value: RawValue<'a>,
}

/// Walks the elements of one document. After an error it ends: what follows a damaged element can't be found.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    /// What has not been walked yet, without the document's final zero.
    rest: &'a [u8],
    /// Where `rest` ends, in bytes from the start of the document.
    end: usize,
}

impl<'a> Iter<'a> {
    pub(super) fn new(document: &'a [u8]) -> Self {
        let end = document.len() - 1;
        Self { rest: &document[4..end], end }
    }

    /// Where the next element starts, in bytes from the start of the document.
    pub fn offset(&self) -> usize {
        self.end - self.rest.len()
    }

    #[inline(always)]
    fn step(&mut self) -> Result<Option<Element<'a>>, Malformed> {
        let Some((byte, named)) = self.rest.split_first() else { return Ok(None) };
        let Some((kind, size)) = KINDS[usize::from(*byte)] else {
            return Err(Malformed { what: "unknown type of value", offset: self.offset() });
        };
        let name = cstring(named).ok_or_else(|| self.cut_off("a name is cut off", named))?;
        let value = &named[name.len() + 1..];
        let length = match size {
            Some(length) => usize::from(length),
            None => value_length(kind, value).map_err(|error| self.within(error, value))?,
        };
        let (bytes, rest) =
            value.split_at_checked(length).ok_or_else(|| self.cut_off("a value is cut off", value))?;
        self.rest = rest;
        Ok(Some(Element { name, value: RawValue { kind, bytes } }))
    }

    /// What is wrong with what stands at the beginning of `part`.
    #[cold]
    fn cut_off(&self, what: &'static str, part: &[u8]) -> Malformed {
        Malformed { what, offset: self.end - part.len() }
    }

    /// An error that counts from the beginning of `part`, counted from the start of the document.
    #[cold]
    fn within(&self, error: Malformed, part: &[u8]) -> Malformed {
        Malformed { offset: self.end - part.len() + error.offset, ..error }
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Result<Element<'a>, Malformed>;

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.rest = &[];
        }
        step.transpose()
    }
}

/// Which type a byte stands for, and how many bytes its values take where all take the same.
const KINDS: [Option<(Kind, Option<u8>)>; 256] = {
    let mut kinds = [None; 256];
    kinds[0x01] = Some((Kind::Double, Some(8)));
    kinds[0x02] = Some((Kind::String, None));
    kinds[0x03] = Some((Kind::Document, None));
    kinds[0x04] = Some((Kind::Array, None));
    kinds[0x05] = Some((Kind::Binary, None));
    kinds[0x06] = Some((Kind::Undefined, Some(0)));
    kinds[0x07] = Some((Kind::ObjectId, Some(12)));
    kinds[0x08] = Some((Kind::Bool, Some(1)));
    kinds[0x09] = Some((Kind::Date, Some(8)));
    kinds[0x0A] = Some((Kind::Null, Some(0)));
    kinds[0x0B] = Some((Kind::Regex, None));
    kinds[0x0C] = Some((Kind::DbPointer, None));
    kinds[0x0D] = Some((Kind::Code, None));
    kinds[0x0E] = Some((Kind::Symbol, None));
    kinds[0x0F] = Some((Kind::CodeWithScope, None));
    kinds[0x10] = Some((Kind::Int32, Some(4)));
    kinds[0x11] = Some((Kind::Timestamp, Some(8)));
    kinds[0x12] = Some((Kind::Int64, Some(8)));
    kinds[0x13] = Some((Kind::Decimal128, Some(16)));
    kinds[0xFF] = Some((Kind::MinKey, Some(0)));
    kinds[0x7F] = Some((Kind::MaxKey, Some(0)));
    kinds
};

/// The zero-terminated string at the beginning of `bytes`, without its zero.
#[inline(always)]
fn cstring(bytes: &[u8]) -> Option<&[u8]> {
    // Most names are short: the first zero among eight bytes is found at once.
    if let Some(eight) = bytes.first_chunk() {
        let word = u64::from_le_bytes(*eight);
        let zeros = word.wrapping_sub(0x0101_0101_0101_0101) & !word & 0x8080_8080_8080_8080;
        if zeros != 0 {
            return bytes.get(..zeros.trailing_zeros() as usize / 8);
        }
    }
    long_cstring(bytes)
}

fn long_cstring(bytes: &[u8]) -> Option<&[u8]> {
    bytes.get(..bytes.iter().position(|byte| *byte == 0)?)
}

/// The length of the value at the beginning of `bytes`, whose type does not tell it.
fn value_length(kind: Kind, bytes: &[u8]) -> Result<usize, Malformed> {
    Ok(match kind {
        Kind::Document | Kind::Array => document_length(bytes, 0)?,
        Kind::Binary => prefix(bytes, 0, 0)? + 5,
        Kind::DbPointer => string_length(bytes, 0)? + 12,
        Kind::Regex => {
            let pattern = zero_behind(bytes, 0)?;
            zero_behind(bytes, pattern)?
        }
        Kind::CodeWithScope => {
            let total = prefix(bytes, 0, 14)?;
            let code = string_length(bytes, 4)?;
            let scope = document_length(bytes, 4 + code)?;
            if total != 4 + code + scope {
                return Err(Malformed { what: "code with scope: the lengths do not add up", offset: 0 });
            }
            total
        }
        _ => string_length(bytes, 0)?,
    })
}

/// Where the zero-terminated string at `at` ends, its zero included.
fn zero_behind(bytes: &[u8], at: usize) -> Result<usize, Malformed> {
    let text = bytes.get(at..).and_then(cstring);
    text.map(|text| at + text.len() + 1).ok_or(Malformed { what: "a name is cut off", offset: at })
}

/// Length prefix and bytes of a string, whose final zero is checked.
fn string_length(bytes: &[u8], at: usize) -> Result<usize, Malformed> {
    let length = prefix(bytes, at, 1)? + 4;
    match bytes.get(at.saturating_add(length) - 1) {
        Some(0) => Ok(length),
        _ => Err(Malformed { what: "a string does not end in a zero", offset: at }),
    }
}

fn document_length(bytes: &[u8], at: usize) -> Result<usize, Malformed> {
    let length = prefix(bytes, at, 5)?;
    match bytes.get(at.saturating_add(length) - 1) {
        Some(0) => Ok(length),
        _ => Err(Malformed { what: "a nested document does not end in a zero", offset: at }),
    }
}

fn prefix(bytes: &[u8], at: usize, least: usize) -> Result<usize, Malformed> {
    usize::try_from(read_i32(bytes, at)?)
        .ok()
        .filter(|length| *length >= least)
        .ok_or(Malformed { what: "a length is out of range", offset: at })
}

#[cfg(test)]
mod tests {
    use bson::{Bson, doc};
    use proptest::prelude::*;

    use crate::bson::{Kind, Malformed, RawDoc, RawValue};

    /// A document with an element of every type, named by its number.
    fn all_types() -> Vec<u8> {
        let scope = doc! { "x": 1 };
        let values = [
            1.5.into(),
            "text".into(),
            doc! { "a": { "b": "c" } }.into(),
            vec![Bson::Null, 1.into()].into(),
            Bson::Binary(bson::Binary { subtype: bson::spec::BinarySubtype::Uuid, bytes: vec![7; 16] }),
            Bson::Undefined,
            bson::oid::ObjectId::from_bytes([9; 12]).into(),
            true.into(),
            bson::DateTime::from_millis(-5).into(),
            Bson::Null,
            Bson::RegularExpression(bson::Regex {
                pattern: bson::cstr!("a.b").into(),
                options: bson::cstr!("im").into(),
            }),
            Bson::JavaScriptCode("f()".into()),
            Bson::Symbol("s".into()),
            Bson::JavaScriptCodeWithScope(bson::JavaScriptCodeWithScope { code: "g()".into(), scope }),
            (-6_i32).into(),
            Bson::Timestamp(bson::Timestamp { time: 8, increment: 9 }),
            i64::MAX.into(),
            Bson::Decimal128("1.5".parse().unwrap()),
            Bson::MinKey,
            Bson::MaxKey,
        ];
        let doc: bson::Document = (0..).map(|number: u32| number.to_string()).zip(values).collect();
        let mut bytes = doc.to_vec().unwrap();
        // The `bson` crate can't make a DBPointer.
        bytes.pop();
        bytes.extend_from_slice(b"\x0cp\0\x02\0\0\0c\0............\0");
        with_length(bytes)
    }

    fn with_length(mut bytes: Vec<u8>) -> Vec<u8> {
        let length = i32::try_from(bytes.len()).unwrap().to_le_bytes();
        bytes[..4].copy_from_slice(&length);
        bytes
    }

    /// A document whose only content is `element`.
    fn of(element: &[u8]) -> Vec<u8> {
        with_length([&[0; 4], element, &[0]].concat())
    }

    fn walk(bytes: &[u8]) -> Result<Vec<(&[u8], RawValue<'_>)>, Malformed> {
        RawDoc::new(bytes)?
            .iter()
            .map(|element| element.map(|element| (element.name, element.value)))
            .collect()
    }

    fn what(bytes: &[u8]) -> &'static str {
        walk(bytes).expect_err("damaged").what
    }

    /// Walks a document and all below, touching every value in every way.
    fn walk_all(doc: RawDoc<'_>, depth: usize) {
        for element in doc.into_iter().map_while(Result::ok) {
            let value = element.value;
            let below = value.as_doc().or(value.as_array()).filter(|_| depth < 50);
            let _ = (value.as_str(), value.as_i64(), value.as_f64(), value.as_bool(), value.as_date_ms());
            let _ = (value.as_timestamp(), value.as_binary(), value.as_uuid());
            if let Some(doc) = below {
                walk_all(doc, depth + 1);
            }
        }
    }

    #[test]
    fn every_type_is_found_with_its_exact_bytes() {
        let bytes = all_types();
        let doc = RawDoc::new(&bytes).unwrap();
        let elements = walk(&bytes).unwrap();
        assert_eq!(elements.len(), 21);
        assert_eq!(
            elements.iter().map(|(name, value)| name.len() + value.bytes.len() + 2).sum::<usize>(),
            bytes.len() - 5
        );
        let value = |name| doc.get(name).unwrap();
        assert_eq!(value("0").as_f64(), Some(1.5));
        assert_eq!(value("1").as_str(), Some("text"));
        assert_eq!(
            value("2").as_doc().unwrap().get("a").unwrap().as_doc().unwrap().get("b").unwrap().as_str(),
            Some("c")
        );
        assert_eq!(value("3").as_array().unwrap().iter().count(), 2);
        assert_eq!(value("4").as_uuid(), Some([7; 16]));
        assert_eq!(value("6").as_bytes(), [9; 12]);
        assert_eq!(value("7").as_bool(), Some(true));
        assert_eq!(value("8").as_date_ms(), Some(-5));
        assert_eq!(value("10").as_bytes(), b"a.b\0im\0");
        assert_eq!(value("14").as_i64(), Some(-6));
        assert_eq!(value("15").as_timestamp(), Some((8, 9)));
        assert_eq!(value("16").as_i64(), Some(i64::MAX));
        assert_eq!(value("p").kind(), Kind::DbPointer);
        assert_eq!(value("p").as_bytes().len(), 18);
    }

    #[test]
    fn a_document_that_is_cut_off_is_refused() {
        let bytes = all_types();
        for length in 0..bytes.len() {
            assert!(RawDoc::new(&bytes[..length]).is_err(), "{length}");
            assert!(RawDoc::first_in(&bytes[..length]).is_err(), "{length}");
        }
        let longer = [&bytes[..], b"more"].concat();
        assert!(RawDoc::new(&longer).is_err());
        assert_eq!(RawDoc::first_in(&longer).unwrap().as_bytes(), bytes);
    }

    #[test]
    fn a_document_closed_too_early_ends_in_an_error_or_between_two_elements() {
        let bytes = all_types();
        let whole = walk(&bytes).unwrap();
        let mut ends = 0;
        for length in 4..bytes.len() - 1 {
            let cut = with_length([&bytes[..length], &[0]].concat());
            let found: Vec<_> = RawDoc::new(&cut).unwrap().iter().collect();
            ends += usize::from(found.iter().all(Result::is_ok));
            for (found, (name, value)) in found.iter().flatten().zip(&whole) {
                assert_eq!((found.name, found.value.bytes), (*name, value.bytes), "cut at {length}");
            }
        }
        assert_eq!(ends, whole.len());
    }

    #[test]
    fn damage_is_named_and_ends_the_walk() {
        for (element, expected) in [
            (&b"\x55a\0"[..], "unknown type of value"),
            (b"\x10a", "a name is cut off"),
            (b"\x10a\0\x01\0", "a value is cut off"),
            (b"\x02a\0\0\0\0\0\0", "a length is out of range"),
            (b"\x02a\0\xff\xff\xff\xff\0", "a length is out of range"),
            (b"\x02a\0\xff\xff\xff\x7f\0", "a string does not end in a zero"),
            (b"\x02a\0\x02\0\0\0bb", "a string does not end in a zero"),
            (b"\x02a\0\x02\0", "a length is cut off"),
            (b"\x03a\0\x04\0\0\0\0", "a length is out of range"),
            (b"\x03a\0\x06\0\0\0\0\x01", "a nested document does not end in a zero"),
            (b"\x05a\0\x02\0\0\0\0\x01", "a value is cut off"),
            (b"\x0ba\0pattern", "a name is cut off"),
            (b"\x0fa\0\x0f\0\0\0\x01\0\0\0\0\x05\0\0\0\0", "code with scope: the lengths do not add up"),
        ] {
            assert_eq!(what(&of(element)), expected, "{element:?}");
        }
        let bytes = of(b"\x0aa\0\x55b\0\x0ac\0");
        let mut elements = RawDoc::new(&bytes).unwrap().iter();
        assert!(elements.next().unwrap().is_ok());
        assert_eq!(elements.next(), Some(Err(Malformed { what: "unknown type of value", offset: 7 })));
        assert_eq!(elements.next(), None);
    }

    #[test]
    fn damage_below_shows_where_it_is_walked_and_not_before() {
        let bytes = of(b"\x03a\0\x08\0\0\0\x55x\0\0\x08b\0\x01");
        let doc = RawDoc::new(&bytes).unwrap();
        assert_eq!(doc.get("b").unwrap().as_bool(), Some(true));
        let below = doc.get("a").unwrap().as_doc().unwrap();
        assert_eq!(below.iter().next(), Some(Err(Malformed { what: "unknown type of value", offset: 4 })));
        assert_eq!(below.get("x"), None);
    }

    #[test]
    fn names_are_bytes_and_the_first_of_that_name_is_found() {
        let bytes = of(b"\x08\xff\0\x01\x10a\0\x01\0\0\0\x10a\0\x02\0\0\0\x0a\0");
        let names: Vec<&[u8]> = walk(&bytes).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, [&b"\xff"[..], b"a", b"a", b""]);
        let doc = RawDoc::new(&bytes).unwrap();
        assert_eq!(doc.get("a").unwrap().as_i32(), Some(1));
        assert_eq!(doc.get("").unwrap().kind(), Kind::Null);
        assert!(RawDoc::EMPTY.is_empty() && !doc.is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn damaged_bytes_never_panic(
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let mut bytes = all_types();
            for (place, byte) in damage {
                // Past the length, so that the walk begins.
                let place = 4 + place.index(bytes.len() - 4);
                bytes[place] = byte;
            }
            if let Ok(doc) = RawDoc::new(&bytes) {
                walk_all(doc, 0);
            }
        }

        #[test]
        fn any_bytes_never_panic(content: Vec<u8>) {
            if let Ok(doc) = RawDoc::new(&of(&content)) {
                walk_all(doc, 0);
            }
        }
    }
}
