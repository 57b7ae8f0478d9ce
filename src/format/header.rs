//! The one header of every record: where its event stands.
//!
//! One, because each further header costs a Kafka producer a quarter of its speed. Text:
//! `v1 <position> <term> <source>`, such as `v1 1795393406-0000000001-0000000000 1 rs0/65f0c0ffee…`; the term is `-` where it is
//! not known. A reader that does not know the version must not guess.

use std::fmt;
use std::str::FromStr;

use crate::event::Position;

/// A record's header, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The event's position.
    pub at: Position,
    /// The election term of its oplog entry, where known.
    pub term: Option<i64>,
    /// The replica set.
    pub source: String,
}

impl Header {
    /// The header's name, in Kafka and NATS alike.
    pub const NAME: &'static str = "position";

    /// Appends the text form without allocating.
    pub fn write(out: &mut Vec<u8>, at: Position, term: Option<i64>, source: &str) {
        use std::io::Write;
        let result = match term {
            Some(term) => write!(out, "v1 {at} {term} {source}"),
            None => write!(out, "v1 {at} - {source}"),
        };
        result.expect("writing to a Vec can't fail");
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        Self::write(&mut text, self.at, self.term, &self.source);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

impl FromStr for Header {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("not a position header of version 1: `{text}`");
        let mut parts = text.splitn(4, ' ');
        let (Some("v1"), Some(at), Some(term), Some(source)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(refuse());
        };
        Ok(Self {
            at: at.parse().map_err(|_| refuse())?,
            term: if term == "-" { None } else { Some(term.parse().map_err(|_| refuse())?) },
            source: source.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Header;
    use crate::event::Position;

    #[test]
    fn text_form_round_trips() {
        for term in [None, Some(7)] {
            let header = Header { at: Position { t: 9, i: 8, ordinal: 7 }, term, source: "rs 0/abc".into() };
            assert_eq!(header.to_string().parse(), Ok(header));
        }
    }

    #[test]
    fn other_versions_and_garbage_are_refused() {
        for text in ["", "v2 1-1-0 1 rs0", "v1 x 1 rs0", "v1 1-1-0 x rs0", "v1 1-1-0 1"] {
            assert!(text.parse::<Header>().is_err(), "{text}");
        }
    }
}
