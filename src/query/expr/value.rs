//! The values that expressions are about: borrowed from document or filter, or computed.

use std::cmp::Ordering;

use crate::bson::{self, Class, DocWriter, Kind, Malformed, Number, RawValue};
use crate::query::error::MatchError;

/// A value, or a missing one.
pub(super) type Maybe<'v> = Option<Value<'v>>;

/// What an expression comes to, or why it fails.
pub(super) type Outcome<'v> = Result<Maybe<'v>, MatchError>;

/// A value that is there.
#[derive(Clone)]
pub(super) struct Value<'v> {
    kind: Kind,
    bytes: Bytes<'v>,
}

#[derive(Clone)]
enum Bytes<'v> {
    Borrowed(&'v [u8]),
    Short([u8; 16], u8),
    Long(Vec<u8>),
}

impl<'v> Value<'v> {
    pub(super) fn new(value: RawValue<'v>) -> Self {
        Self { kind: value.kind(), bytes: Bytes::Borrowed(value.as_bytes()) }
    }

    fn short(kind: Kind, content: &[u8]) -> Self {
        let mut bytes = [0; 16];
        bytes[..content.len()].copy_from_slice(content);
        Self { kind, bytes: Bytes::Short(bytes, content.len() as u8) }
    }

    pub(super) fn null() -> Self {
        Self::short(Kind::Null, &[])
    }

    pub(super) fn bool(truth: bool) -> Self {
        Self::short(Kind::Bool, &[u8::from(truth)])
    }

    pub(super) fn int(number: i32) -> Self {
        Self::short(Kind::Int32, &number.to_le_bytes())
    }

    pub(super) fn long(number: i64) -> Self {
        Self::short(Kind::Int64, &number.to_le_bytes())
    }

    /// An int32 if it is one, else an int64.
    pub(super) fn int_or_long(number: i64) -> Self {
        i32::try_from(number).map_or_else(|_| Self::long(number), Self::int)
    }

    pub(super) fn count(count: usize) -> Self {
        Self::int_or_long(i64::try_from(count).unwrap_or(i64::MAX))
    }

    pub(super) fn double(number: f64) -> Self {
        Self::short(Kind::Double, &number.to_le_bytes())
    }

    pub(super) fn decimal(bytes: [u8; 16]) -> Self {
        Self::short(Kind::Decimal128, &bytes)
    }

    pub(super) fn date(millis: i64) -> Self {
        Self::short(Kind::Date, &millis.to_le_bytes())
    }

    pub(super) fn text(text: &[u8]) -> Self {
        let length = i32::try_from(text.len() + 1).unwrap_or(i32::MAX);
        let bytes = [&length.to_le_bytes(), text, &[0]].concat();
        Self { kind: Kind::String, bytes: Bytes::Long(bytes) }
    }

    pub(super) fn array<'e>(elements: impl IntoIterator<Item = Value<'e>>) -> Self {
        let mut out = Vec::new();
        let mut array = DocWriter::new(&mut out);
        let mut name = itoa::Buffer::new();
        for (index, element) in elements.into_iter().enumerate() {
            array.append(name.format(index).as_bytes(), element.view());
        }
        array.finish();
        Self { kind: Kind::Array, bytes: Bytes::Long(out) }
    }

    pub(super) fn document(fields: Vec<(&[u8], Value<'_>)>) -> Self {
        let mut out = Vec::new();
        let mut document = DocWriter::new(&mut out);
        for (name, value) in fields {
            document.append(name, value.view());
        }
        document.finish();
        Self { kind: Kind::Document, bytes: Bytes::Long(out) }
    }

    pub(super) fn view(&self) -> RawValue<'_> {
        let bytes = match &self.bytes {
            Bytes::Borrowed(bytes) => bytes,
            Bytes::Short(bytes, length) => &bytes[..usize::from(*length)],
            Bytes::Long(bytes) => &bytes[..],
        };
        RawValue { kind: self.kind, bytes }
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn number(&self) -> Option<Number> {
        Number::of(self.view())
    }

    /// The elements of an array, or the values of a document.
    pub(super) fn elements(&self) -> Result<Vec<Value<'v>>, Malformed> {
        Ok(self.fields()?.into_iter().map(|(_, value)| value).collect())
    }

    /// The fields of a document.
    pub(super) fn fields(&self) -> Result<Vec<(Vec<u8>, Value<'v>)>, Malformed> {
        let mut fields = Vec::new();
        if let Bytes::Borrowed(bytes) = self.bytes {
            for element in (RawValue { kind: self.kind, bytes }).as_doc_or_array() {
                let element = element?;
                fields.push((element.name.to_vec(), Value::new(element.value)));
            }
            return Ok(fields);
        }
        for element in self.view().as_doc_or_array() {
            let element = element?;
            fields.push((element.name.to_vec(), Value::new(element.value).into_owned()));
        }
        Ok(fields)
    }

    /// The field of that name.
    pub(super) fn get(&self, name: &[u8]) -> Result<Maybe<'v>, Malformed> {
        if let Bytes::Borrowed(bytes) = self.bytes {
            let doc = RawValue { kind: self.kind, bytes }.as_doc_or_array();
            return Ok(crate::query::path::get(doc, name)?.map(Value::new));
        }
        let found = crate::query::path::get(self.view().as_doc_or_array(), name)?;
        Ok(found.map(|value| Value::new(value).into_owned()))
    }

    fn into_owned<'o>(self) -> Value<'o> {
        let bytes = match self.bytes {
            Bytes::Borrowed(bytes) => Bytes::Long(bytes.to_vec()),
            Bytes::Short(bytes, length) => Bytes::Short(bytes, length),
            Bytes::Long(bytes) => Bytes::Long(bytes),
        };
        Value { kind: self.kind, bytes }
    }
}

/// Null, undefined, missing.
pub(super) fn is_nullish(value: &Maybe<'_>) -> bool {
    value.as_ref().is_none_or(|value| matches!(value.kind, Kind::Null | Kind::Undefined))
}

pub(super) fn is_true(value: &Maybe<'_>) -> bool {
    value.as_ref().is_some_and(|value| crate::query::parse::is_true(value.view()))
}

/// The order of all values; a missing one is as undefined.
pub(super) fn compare(a: &Maybe<'_>, b: &Maybe<'_>) -> Result<Ordering, Malformed> {
    let class = |value: &Maybe<'_>| value.as_ref().map_or(Class::Undefined, |value| value.kind.class());
    match (a, b) {
        (Some(a), Some(b)) => bson::compare(a.view(), b.view()),
        (a, b) => Ok(class(a).cmp(&class(b))),
    }
}

/// The name of its type, for messages.
pub(super) fn type_name(value: &Maybe<'_>) -> &'static str {
    value.as_ref().map_or("missing", |value| crate::query::types::name(value.kind))
}

pub(super) fn fail<T>(what: impl Into<String>) -> Result<T, MatchError> {
    Err(MatchError::Expression(what.into()))
}
