//! Resume tokens of change streams: computed from an event, byte for byte as the server gives them for the same event, and read back.
//!
//! A token is `{_data: <hex of a KeyString>, _typeBits: <binary>}`. The KeyString holds, one after the other: cluster time, version, kind,
//! index in the transaction, whether the event was made of an invalidation, the collection's UUID, and what identifies the event.

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use super::{Change, ChangeEvent, Command, Key, Position};
use crate::bson::extjson::{parse, write_hex};
use crate::bson::keystring::{self, END, KeyString};
use crate::bson::{Malformed, RawDoc};

/// The two layouts in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenVersion {
    /// What servers below 7.0 give, and later ones accept.
    #[default]
    V1,
    /// What servers from 7.0 on give; 6.0 accepts it.
    V2,
}

/// A resume token.
#[derive(Clone, PartialEq, Eq)]
pub struct ResumeToken {
    data: Vec<u8>,
    type_bits: Vec<u8>,
}

impl fmt::Debug for ResumeToken {
    /// Only the size: it holds the document's key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResumeToken({} bytes)", self.data.len())
    }
}

/// Commands that change streams have always shown; for the others v1 tokens look as v2 ones do.
const CLASSIC: [&str; 3] = ["drop", "rename", "dropDatabase"];
/// And those that they never show.
const NEVER_SHOWN: [&str; 3] = ["convertToCapped", "truncate", "importCollection"];

impl ResumeToken {
    /// The token of that event; none where a change stream has no such event.
    pub fn of_event(event: &ChangeEvent<'_>, version: TokenVersion) -> Result<Option<Self>, Malformed> {
        let mut key = begin(event.at.t, event.at.i, version);
        key.int32(128);
        key.int32(i32::try_from(event.at.ordinal).unwrap_or(i32::MAX));
        key.byte(0x6E);
        match event.collection_id {
            Some(id) => key.uuid(id),
            None if version == TokenVersion::V2 => key.byte(0x14),
            None => {}
        }
        match &event.change {
            Change::Watermark => return Ok(None),
            Change::Command(command) if NEVER_SHOWN.contains(&command.name) => return Ok(None),
            Change::Command(command) => identify_command(&mut key, command, version)?,
            change => {
                let Some(document) = change.key() else { return Ok(None) };
                identify_document(&mut key, change.name(), document, version)?;
            }
        }
        Ok(Some(Self::of(key)))
    }

    /// The mark before everything that happened at that cluster time.
    pub fn high_water_mark(t: u32, i: u32, version: TokenVersion) -> Self {
        let mut key = begin(t, i, version);
        key.int32(0);
        key.int32(0);
        key.byte(0x6E);
        if version == TokenVersion::V2 {
            key.byte(0x14);
        }
        Self::of(key)
    }

    fn of(mut key: KeyString) -> Self {
        key.byte(END);
        Self { data: key.bytes, type_bits: key.bits.encode() }
    }

    /// Appends `_data`: upper-case hexadecimal digits.
    pub fn write_hex(&self, out: &mut Vec<u8>) {
        let start = out.len();
        write_hex(out, &self.data);
        out[start..].make_ascii_uppercase();
    }

    /// `_data` as text.
    pub fn data_hex(&self) -> String {
        let mut text = Vec::new();
        self.write_hex(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    }

    /// `_typeBits`, as they are stored; empty where the token has none.
    pub fn type_bits(&self) -> &[u8] {
        &self.type_bits
    }
}

fn begin(t: u32, i: u32, version: TokenVersion) -> KeyString {
    let mut key = KeyString::default();
    key.timestamp(t, i);
    key.int32(match version {
        TokenVersion::V1 => 1,
        TokenVersion::V2 => 2,
    });
    key
}

fn identify_document(
    key: &mut KeyString,
    op: &str,
    document: &Key<'_>,
    version: TokenVersion,
) -> Result<(), Malformed> {
    if version == TokenVersion::V1 {
        key.object_begins();
        document_key(key, document)?;
        key.object_ends();
        return Ok(());
    }
    key.object_begins();
    key.string_field("operationType", op);
    key.object_field("documentKey");
    document_key(key, document)?;
    key.object_ends();
    key.object_ends();
    Ok(())
}

fn document_key(key: &mut KeyString, document: &Key<'_>) -> Result<(), Malformed> {
    match document {
        Key::Id(id) => key.field(b"_id", *id, 0),
        Key::Document(fields) => {
            for element in *fields {
                let element = element?;
                key.field(element.name, element.value, 0)?;
            }
            Ok(())
        }
    }
}

fn identify_command(
    key: &mut KeyString,
    command: &Command<'_>,
    version: TokenVersion,
) -> Result<(), Malformed> {
    if version == TokenVersion::V1 && CLASSIC.contains(&command.name) {
        return Ok(());
    }
    key.object_begins();
    key.string_field("operationType", command.name);
    let mut description = Vec::new();
    if command.write_description(&mut description)? {
        key.object_field("operationDescription");
        for element in RawDoc::new(&description)? {
            let element = element?;
            key.field(element.name, element.value, 0)?;
        }
        key.object_ends();
    }
    key.object_ends();
    Ok(())
}

/// Where a token leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenPosition {
    /// Behind this event.
    After(Position),
    /// Before everything at this cluster time, which need not be that of an event.
    From(Position),
}

impl TokenPosition {
    /// Reads a position, or a resume token.
    pub fn of_text(text: &str) -> Result<Self, String> {
        match (text.parse(), text.parse()) {
            (Ok(at), _) => Ok(Self::After(at)),
            (_, Ok(place)) => Ok(place),
            _ => Err(format!(
                "`{}` is neither a position, such as 1795393406-1, nor a change stream's resume token, such as 8265A1… or {{\"_data\": \"8265A1…\"}}",
                beginning(text)
            )),
        }
    }
}

/// A text that is no resume token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a resume token of version 1 or 2: expected its `_data`, such as 8265A1…, or the whole document"
)]
pub struct NotAToken(String);

impl FromStr for TokenPosition {
    type Err = NotAToken;

    /// Reads `_data`, or the token's document as JSON. Type bits are not needed for that.
    fn from_str(text: &str) -> Result<Self, NotAToken> {
        let text = text.trim();
        let place = if text.starts_with('{') {
            let doc = parse(text).ok();
            let data = doc.as_deref().and_then(|doc| RawDoc::new(doc).ok()?.get("_data")?.as_str());
            data.and_then(read)
        } else {
            read(text)
        };
        place.ok_or_else(|| NotAToken(beginning(text)))
    }
}

/// Enough of a text to know it again: a token holds the document's `_id`, which no message should.
fn beginning(text: &str) -> String {
    const SHOWN: usize = 28;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn read(text: &str) -> Option<TokenPosition> {
    let digits = text.as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let bytes: Vec<u8> = digits.chunks(2).map(byte).collect::<Option<_>>()?;
    let (head, rest) = bytes.split_first_chunk::<9>()?;
    let [0x82, t0, t1, t2, t3, i0, i1, i2, i3] = *head else { return None };
    let (t, i) = (u32::from_be_bytes([t0, t1, t2, t3]), u32::from_be_bytes([i0, i1, i2, i3]));
    let (version, rest) = small_int(rest)?;
    let (kind, rest) = small_int(rest)?;
    let (ordinal, rest) = small_int(rest)?;
    let (invalidates, rest) = match rest.split_first()? {
        (0x6E, rest) => (false, rest),
        (0x6F, rest) => (true, rest),
        _ => return None,
    };
    let start = Position::of_entry(t, i);
    match (version, kind) {
        (1 | 2, 0) => Some(TokenPosition::From(start)),
        (1 | 2, 128) if invalidates => Some(TokenPosition::After(start)),
        // Of a part of an event nothing says how many more there are: the event comes once more, as a whole.
        (2, 128) if is_fragment(rest)? => Some(match ordinal.checked_sub(1) {
            Some(ordinal) => TokenPosition::After(Position { ordinal, ..start }),
            None => TokenPosition::From(start),
        }),
        (1 | 2, 128) => Some(TokenPosition::After(Position { ordinal, ..start })),
        _ => None,
    }
}

/// Whether a number follows the collection's UUID, or null, and the event's identifier; none if these are not there.
fn is_fragment(rest: &[u8]) -> Option<bool> {
    let rest = keystring::skip(rest, 0).and_then(|rest| keystring::skip(rest, 0))?;
    Some(rest.first().is_some_and(|byte| *byte != END))
}

/// A whole number from 0 on, of at most 31 bits.
fn small_int(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    if *first == 0x29 {
        return Some((0, rest));
    }
    let length = usize::from(first.checked_sub(0x2B)?) + 1;
    let (payload, rest) = rest.split_at_checked(length).filter(|_| length <= 4)?;
    let doubled = payload.iter().fold(0_u32, |value, byte| value << 8 | u32::from(*byte));
    Some((doubled >> 1, rest))
}
