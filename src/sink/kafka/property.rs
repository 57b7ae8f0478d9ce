//! Values that are passed on to Kafka, and how loosely values are read.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// A value of a setting of librdkafka's or of a topic's; may be a secret, so its debug form does not show it.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Property(String);

impl Property {
    /// A value, as Kafka reads it.
    pub fn new(value: impl fmt::Display) -> Self {
        Self(value.to_string())
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl<'de> Deserialize<'de> for Property {
    /// From a text, a number or a truth value.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a string, a number, true or false")]
        enum Scalar {
            Text(String),
            Whole(i64),
            Number(f64),
            Truth(bool),
        }
        Ok(match Scalar::deserialize(deserializer)? {
            Scalar::Text(text) => Self(text),
            Scalar::Whole(number) => Self::new(number),
            Scalar::Number(number) => Self::new(number),
            Scalar::Truth(truth) => Self::new(truth),
        })
    }
}

/// A number or truth value, also as the text that an environment variable holds.
pub(super) fn loose<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr + Deserialize<'de>,
{
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a whole number, or true or false")]
    enum Loose<T> {
        Value(T),
        Text(String),
    }
    match Loose::deserialize(deserializer)? {
        Loose::Value(value) => Ok(value),
        Loose::Text(text) => text.trim().parse().map_err(|_| {
            serde::de::Error::custom(format!("`{text}` is neither a whole number, nor true or false"))
        }),
    }
}
