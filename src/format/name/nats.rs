//! Tokens of NATS subjects, which are legal keys of a NATS key-value bucket too.
//!
//! Letters, digits, `_` and `-` stand for themselves, every other byte is `=` and two upper-case hexadecimal digits. So different
//! names have different tokens, and a token never holds a dot, a wildcard or a space.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::bson::extjson::{Mode, write_hex, write_uuid, write_value};
use crate::bson::{Kind, RawValue, plainest};

/// The longest token of an `_id`; a longer one becomes a hash. Servers take subjects of about 4000 bytes, other clients of far less.
const ID_BYTES_MAX: usize = 200;

/// How long what is the same in all subjects may be. A namespace has 255 bytes, so with it a subject stays far below the limits.
pub(super) const FIXED_BYTES_MAX: usize = 200;

/// The token of a name: `=` for an empty one. `guarded` encodes a leading `_` too, where only the connector's own tokens begin with one.
pub(super) fn token(name: &str, guarded: bool) -> String {
    let mut out = String::with_capacity(name.len());
    for (at, byte) in name.bytes().enumerate() {
        if is_plain(byte) && !(guarded && at == 0 && byte == b'_') {
            out.push(byte.into());
        } else {
            out.extend(escaped(byte).map(char::from));
        }
    }
    if out.is_empty() { "=".into() } else { out }
}

/// Appends the token of a document's `_id`: an ObjectId as its 24 digits, anything else behind a letter that tells its type, so that
/// ids of different types never meet.
///
/// | token | `_id` |
/// |---|---|
/// | `65f0…` | an ObjectId |
/// | `s=` | a string |
/// | `i=` | a whole number of any type, all of which MongoDB holds equal |
/// | `u=` | a UUID, with hyphens |
/// | `d=` | another double |
/// | `t=` | a date, in milliseconds since 1970 |
/// | `b=` | binary data of subtype 0, as base64url |
/// | `x=` | anything else, as canonical Extended JSON |
/// | `h=` | a 128-bit hash, where the token would be longer than 200 bytes |
pub(in crate::format) fn write_id_token(out: &mut Vec<u8>, id: RawValue<'_>) {
    let (start, mut scratch) = (out.len(), Vec::new());
    let id = plainest(id, &mut scratch);
    let is_exact = write_exact(out, id);
    if !is_exact || out.len() - start > ID_BYTES_MAX {
        out.truncate(start);
        out.extend_from_slice(b"h=");
        write_hex(out, &hash(id).to_be_bytes());
    }
}

/// Says whether the id could be written.
fn write_exact(out: &mut Vec<u8>, id: RawValue<'_>) -> bool {
    let bytes = id.as_bytes();
    if bytes.len() > 2 * ID_BYTES_MAX {
        return false;
    }
    if id.kind() == Kind::ObjectId {
        write_hex(out, bytes);
    } else if let Some(text) = id.as_str_bytes() {
        out.extend_from_slice(b"s=");
        escape(out, text);
    } else if let Some(number) = id.as_i64() {
        out.extend_from_slice(b"i=");
        out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    } else if let Some(uuid) = id.as_uuid() {
        out.extend_from_slice(b"u=");
        write_uuid(out, uuid);
    } else if let Some(number) = id.as_f64() {
        out.extend_from_slice(b"d=");
        escape(out, ryu::Buffer::new().format(number).as_bytes());
    } else if let Some(ms) = id.as_date_ms() {
        out.extend_from_slice(b"t=");
        out.extend_from_slice(itoa::Buffer::new().format(ms).as_bytes());
    } else if let Some((0, bytes)) = id.as_binary() {
        out.extend_from_slice(b"b=");
        out.extend_from_slice(URL_SAFE_NO_PAD.encode(bytes).as_bytes());
    } else {
        let mut json = Vec::new();
        out.extend_from_slice(b"x=");
        if write_value(&mut json, id, Mode::Canonical).is_err() {
            return false;
        }
        escape(out, &json);
    }
    true
}

/// Why that text can't be a subject to publish to, if so.
pub(super) fn check_subject(text: &str) -> Result<(), String> {
    if text.starts_with('$') {
        return Err(format!("`{text}` begins with `$`, which belongs to the server"));
    }
    let is_token = |token: &str| {
        !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'*' | b'>'))
    };
    if text.split('.').all(is_token) {
        Ok(())
    } else {
        Err(format!(
            "`{text}` is not a subject: tokens between dots are ASCII, without spaces, `*` and `>`, and not empty"
        ))
    }
}

fn escape(out: &mut Vec<u8>, text: &[u8]) {
    for byte in text {
        if is_plain(*byte) {
            out.push(*byte);
        } else {
            out.extend_from_slice(&escaped(*byte));
        }
    }
}

fn escaped(byte: u8) -> [u8; 3] {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    [b'=', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// The 128-bit FNV-1a hash of type and bytes. Part of the names of subjects: never to be changed.
fn hash(id: RawValue<'_>) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let kind = id.kind() as u8;
    std::iter::once(&kind)
        .chain(id.as_bytes())
        .fold(OFFSET, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use bson::{Bson, doc};

    use super::*;
    use crate::bson::RawDoc;

    fn id_token(id: impl Into<Bson>) -> String {
        let bytes = doc! { "_id": id }.to_vec().unwrap();
        let mut out = Vec::new();
        write_id_token(&mut out, RawDoc::new(&bytes).unwrap().get("_id").unwrap());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn names_are_one_token_each_and_different_names_have_different_tokens() {
        for (name, expected) in [
            ("orders_2-x", "orders_2-x"),
            ("fs.files", "fs=2Efiles"),
            ("a b", "a=20b"),
            ("a=20b", "a=3D20b"),
            ("*>$", "=2A=3E=24"),
            ("é", "=C3=A9"),
            ("_x", "_x"),
            ("", "="),
        ] {
            assert_eq!(token(name, false), expected);
        }
        assert_eq!(token("__x", true), "=5F_x");
    }

    #[test]
    fn the_token_of_an_id_tells_its_type() {
        let oid = bson::oid::ObjectId::parse_str("65f0c0ffee65f0c0ffee65f0").unwrap();
        let binary = |subtype, bytes: &[u8]| Bson::Binary(bson::Binary { subtype, bytes: bytes.to_vec() });
        let decimal: bson::Decimal128 = "0.1".parse().unwrap();
        for (id, expected) in [
            (Bson::from(oid), "65f0c0ffee65f0c0ffee65f0"),
            (oid.to_hex().into(), "s=65f0c0ffee65f0c0ffee65f0"),
            ("a.b ü".into(), "s=a=2Eb=20=C3=BC"),
            ("".into(), "s="),
            (Bson::from(-7_i32), "i=-7"),
            (Bson::from(7_i64), "i=7"),
            (7.0.into(), "i=7"),
            (7.5.into(), "d=7=2E5"),
            (Bson::from(bson::DateTime::from_millis(-1)), "t=-1"),
            (binary(bson::spec::BinarySubtype::Uuid, &[0x5f; 16]), "u=5f5f5f5f-5f5f-5f5f-5f5f-5f5f5f5f5f5f"),
            (binary(bson::spec::BinarySubtype::Generic, &[0xff, 0xfe]), "b=__4"),
            (decimal.into(), "x==7B=22=24numberDecimal=22=3A=220=2E1=22=7D"),
            (Bson::Null, "x=null"),
            (doc! { "a": true }.into(), "x==7B=22a=22=3Atrue=7D"),
        ] {
            assert_eq!(id_token(id), expected);
        }
    }

    #[test]
    fn a_long_id_becomes_a_hash_of_type_and_bytes() {
        assert_eq!(id_token("x".repeat(198)).len(), 200);
        assert_eq!(id_token("x".repeat(199)), "h=89bace83fd5894ab27b207509b9327d5");
        assert!(id_token(".".repeat(67)).starts_with("h="));
        assert_ne!(id_token("x".repeat(5000)), id_token("y".repeat(5000)));
        assert_ne!(id_token("x".repeat(5000)), id_token(Bson::JavaScriptCode("x".repeat(5000))));
    }
}
