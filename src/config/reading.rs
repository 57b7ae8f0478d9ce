//! How some values are read that serde alone would read too strictly or too freely.

use serde::de::{Deserialize, Deserializer, Error as _, IntoDeserializer};

use crate::event::token::TokenPosition;
use crate::pipeline::{OnReplaced, Start};

/// Reads one of an enum's words. Without this, figment takes a number for the index of a variant.
pub(super) fn word<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    T::deserialize(String::deserialize(deserializer)?.into_deserializer())
}

/// Reads where to begin.
pub(super) fn start<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Start, D::Error> {
    let word = String::deserialize(deserializer)?;
    match word.as_str() {
        "now" => Ok(Start::Now),
        "earliest" => Ok(Start::Earliest),
        place => match TokenPosition::of_text(place) {
            Ok(TokenPosition::After(at)) => Ok(Start::At(at)),
            Ok(TokenPosition::From(at)) => Ok(Start::From(at)),
            Err(_) => {
                let forms =
                    "now, earliest, a position such as 1795393406-1, or a change stream's resume token";
                Err(D::Error::custom(format!("can't be `{word}`: use {forms}")))
            }
        },
    }
}

/// Reads what to do with a collection whose contents were replaced.
pub(super) fn replaced<'de, D: Deserializer<'de>>(deserializer: D) -> Result<OnReplaced, D::Error> {
    let word = String::deserialize(deserializer)?;
    if word == "snapshot" {
        return Err(D::Error::custom("can't be `snapshot` yet: this version takes none; use mark or stop"));
    }
    OnReplaced::deserialize(word.into_deserializer())
}

/// Reads a list, or, as environment variables give it, one text: items separated by commas, or an array as TOML writes it.
pub(super) fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(serde::Deserialize)]
    #[serde(untagged, expecting = "must be a list of texts")]
    enum Given {
        Items(Vec<String>),
        Text(String),
    }
    #[derive(serde::Deserialize)]
    struct Array {
        items: Vec<String>,
    }
    match Given::deserialize(deserializer)? {
        Given::Items(items) => Ok(items),
        Given::Text(text) if text.trim_start().starts_with('[') => {
            let array: Array = toml::from_str(&format!("items = {text}"))
                .map_err(|error| D::Error::custom(format!("must be a list of texts: {}", error.message())))?;
            Ok(array.items)
        }
        Given::Text(text) => {
            Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
        }
    }
}
