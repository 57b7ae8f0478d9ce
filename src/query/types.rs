//! `$type`: sets of types, by number and by name.

use super::error::FilterError;
use crate::bson::{Kind, Number, RawValue};

/// A set of types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Types(u32);

/// Each type, with its names: the server's own.
const NAMES: [(&str, Kind); 21] = [
    ("double", Kind::Double),
    ("string", Kind::String),
    ("object", Kind::Document),
    ("array", Kind::Array),
    ("binData", Kind::Binary),
    ("undefined", Kind::Undefined),
    ("objectId", Kind::ObjectId),
    ("bool", Kind::Bool),
    ("date", Kind::Date),
    ("null", Kind::Null),
    ("regex", Kind::Regex),
    ("dbPointer", Kind::DbPointer),
    ("javascript", Kind::Code),
    ("symbol", Kind::Symbol),
    ("javascriptWithScope", Kind::CodeWithScope),
    ("int", Kind::Int32),
    ("timestamp", Kind::Timestamp),
    ("long", Kind::Int64),
    ("decimal", Kind::Decimal128),
    ("minKey", Kind::MinKey),
    ("maxKey", Kind::MaxKey),
];

const NUMBERS: [Kind; 4] = [Kind::Double, Kind::Int32, Kind::Int64, Kind::Decimal128];

/// The server's name of a type.
pub(super) fn name(kind: Kind) -> &'static str {
    NAMES.iter().find(|(_, known)| *known == kind).map_or("unknown", |(name, _)| name)
}

impl Types {
    pub(super) fn has(self, kind: Kind) -> bool {
        self.0 & bit(kind) != 0
    }

    /// Reads the operand: a number, a name, or a list of these.
    pub(super) fn parse(operand: RawValue<'_>) -> Result<Self, FilterError> {
        let mut types = Self::default();
        match operand.as_array() {
            Some(list) if list.is_empty() => {
                return Err(FilterError::refused("$type needs at least one type"));
            }
            Some(list) => {
                for element in list {
                    let element = element?;
                    types.add(element.value).map_err(|error| error.within(element.name))?;
                }
            }
            None => types.add(operand)?,
        }
        Ok(types)
    }

    fn add(&mut self, operand: RawValue<'_>) -> Result<(), FilterError> {
        if let Some(text) = operand.as_str_bytes() {
            return self.add_named(text);
        }
        let Some(number) = Number::of(operand) else {
            return Err(FilterError::refused("$type takes numbers and names of types"));
        };
        let kind = number.as_whole_i64().and_then(|code| {
            NAMES.iter().map(|(_, kind)| *kind).find(|kind| i64::from((*kind as u8).cast_signed()) == code)
        });
        let kind = kind.ok_or_else(|| FilterError::refused("no type has this number"))?;
        self.0 |= bit(kind);
        Ok(())
    }

    fn add_named(&mut self, text: &[u8]) -> Result<(), FilterError> {
        if text == b"number" {
            self.0 |= NUMBERS.into_iter().map(bit).fold(0, |all, bit| all | bit);
            return Ok(());
        }
        let named = NAMES.iter().find(|(name, _)| name.as_bytes() == text);
        let (_, kind) = named.ok_or_else(|| {
            let text = String::from_utf8_lossy(text);
            FilterError::refused(format!("no type is named `{text}`; names are such as `string` and `int`"))
        })?;
        self.0 |= bit(*kind);
        Ok(())
    }
}

fn bit(kind: Kind) -> u32 {
    let at = NAMES.iter().position(|(_, known)| *known == kind);
    1 << at.unwrap_or(31)
}
