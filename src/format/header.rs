//! The one header of every record: where its event stands.
//!
//! One, because each further header costs a Kafka producer a quarter of its speed. Text:
//! `v1 <position> <term> <source>`, such as `v1 1795393406-0000000001-0000000000 1 rs0/65f0c0ffee…`; the term is `-` where it is
//! not known. A reader that does not know the version must not guess.

use std::fmt;
use std::ops::Range;
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
        out.extend_from_slice(b"v1 ");
        write_position(out, at);
        out.push(b' ');
        match term {
            Some(term) => out.extend_from_slice(itoa::Buffer::new().format(term).as_bytes()),
            None => out.push(b'-'),
        }
        out.push(b' ');
        out.extend_from_slice(source.as_bytes());
    }
}

/// Where the position's text stands in a header that lies there.
pub(super) fn position_in(header: Range<usize>) -> Range<usize> {
    let start = header.start + "v1 ".len();
    start..start + POSITION_TEXT.len()
}

const POSITION_TEXT: &[u8; 32] = b"0000000000-0000000000-0000000000";

/// Appends a position's text. Going through `fmt` would take several times as long.
pub(super) fn write_position(out: &mut Vec<u8>, at: Position) {
    let mut text = *POSITION_TEXT;
    let mut digits = itoa::Buffer::new();
    for (number, value) in [at.t, at.i, at.ordinal].into_iter().enumerate() {
        let digits = digits.format(value).as_bytes();
        let end = number * 11 + 10;
        text[end - digits.len()..end].copy_from_slice(digits);
    }
    out.extend_from_slice(&text);
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
    use super::{Header, write_position};
    use crate::event::Position;

    #[test]
    fn text_form_round_trips() {
        for term in [None, Some(7)] {
            let header = Header { at: Position { t: 9, i: 8, ordinal: 7 }, term, source: "rs 0/abc".into() };
            assert_eq!(header.to_string().parse(), Ok(header));
        }
    }

    #[test]
    fn a_position_is_written_as_it_displays() {
        for at in [
            Position { t: 1, i: 20, ordinal: 300 },
            Position { t: u32::MAX, i: 0, ordinal: u32::MAX },
            Position { t: 1_795_393_406, i: 1_234_567_890, ordinal: 7 },
        ] {
            let mut text = Vec::new();
            write_position(&mut text, at);
            assert_eq!(String::from_utf8(text).unwrap(), at.to_string());
        }
    }

    #[test]
    fn other_versions_and_garbage_are_refused() {
        for text in ["", "v2 1-1-0 1 rs0", "v1 x 1 rs0", "v1 1-1-0 x rs0", "v1 1-1-0 1"] {
            assert!(text.parse::<Header>().is_err(), "{text}");
        }
    }
}
