//! Where an event stands in its source's history, and how far a pipeline has come.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A place in one replica set's history: the oplog timestamp, and the ordinal of an operation inside that entry.
///
/// Totally ordered. Ordinals are counted before any filter, so the same operation has the same position in every run.
/// As text it has a fixed width and sorts like the position itself: `1795393406-0000000001-0000000000`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Seconds since 1970.
    pub t: u32,
    /// Increment within the second.
    pub i: u32,
    /// The operation's number inside its entry, or inside its transaction; 0 for a plain entry.
    pub ordinal: u32,
}

impl Position {
    /// The first operation of the entry with that timestamp.
    pub fn of_entry(t: u32, i: u32) -> Self {
        Self { t, i, ordinal: 0 }
    }

    /// Behind every operation of the entry with that timestamp.
    pub fn behind_entry(t: u32, i: u32) -> Self {
        Self { t, i, ordinal: u32::MAX }
    }

    /// The entry's timestamp, without the ordinal.
    pub fn timestamp(self) -> (u32, u32) {
        (self.t, self.i)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010}-{:010}-{:010}", self.t, self.i, self.ordinal)
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.t, self.i, self.ordinal)
    }
}

/// A text that is not a position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a position: expected `seconds-increment` or `seconds-increment-ordinal`, such as 1795393406-1"
)]
pub struct NotAPosition(String);

impl FromStr for Position {
    type Err = NotAPosition;

    /// Reads the text form; leading zeros may be left out, and the ordinal: then the whole entry is meant.
    fn from_str(text: &str) -> Result<Self, NotAPosition> {
        let refuse = || NotAPosition(text.to_owned());
        let mut parts = text.trim().split('-').map(|part| {
            part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<u32>().ok()).flatten()
        });
        let (Some(Some(t)), Some(Some(i))) = (parts.next(), parts.next()) else { return Err(refuse()) };
        let ordinal = match parts.next() {
            None => u32::MAX,
            Some(Some(ordinal)) => ordinal,
            Some(None) => return Err(refuse()),
        };
        if parts.next().is_some() || t == 0 {
            return Err(refuse());
        }
        Ok(Self { t, i, ordinal })
    }
}

impl Serialize for Position {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// How far a pipeline has come: everything up to and including this place is done.
///
/// A checkpoint is a fold over marks. Snapshots will add a variant: a place in a range of documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A place in the oplog.
    Tail {
        /// The last operation that is done.
        at: Position,
        /// The election term of its entry, where known: with the timestamp it tells whether an entry is still the same.
        term: Option<i64>,
    },
}

impl Mark {
    /// The place in the oplog.
    pub fn position(&self) -> Position {
        match self {
            Self::Tail { at, .. } => *at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Position;

    #[test]
    fn text_form_round_trips_and_sorts_like_the_position() {
        let positions = [
            Position { t: 1, i: 0, ordinal: 0 },
            Position { t: 1, i: 9, ordinal: 10 },
            Position { t: 1, i: 10, ordinal: 2 },
            Position { t: u32::MAX, i: u32::MAX, ordinal: u32::MAX },
        ];
        let texts: Vec<String> = positions.iter().map(ToString::to_string).collect();
        assert!(texts.is_sorted());
        for (position, text) in positions.iter().zip(&texts) {
            assert_eq!(text.parse(), Ok(*position));
            assert_eq!(text.len(), 32);
        }
        assert_eq!("1795393406-1".parse(), Ok(Position::behind_entry(1_795_393_406, 1)));
        assert_eq!("1795393406-1-0".parse(), Ok(Position::of_entry(1_795_393_406, 1)));
    }

    #[test]
    fn anything_else_is_refused_with_the_form_it_should_have() {
        for text in ["", "1", "now", "1-2-3-4", "+1-2", "1-", "0-1", "4294967296-1", "1--2", "1-2-x"] {
            let refused = text.parse::<Position>().expect_err(text);
            assert!(refused.to_string().contains("seconds-increment"), "{refused}");
        }
    }
}
