//! JSON in colours, for people at a terminal.

use std::io::{self, Write};

const NAME: &[u8] = b"\x1b[36m";
const TEXT: &[u8] = b"\x1b[32m";
const NUMBER: &[u8] = b"\x1b[33m";
const PLAIN: &[u8] = b"\x1b[0m";

/// Writes one JSON text with its names, strings and other values coloured. What is not JSON comes out as it is, in some colour.
pub(super) fn paint(json: &[u8], out: &mut impl Write) -> io::Result<()> {
    let mut rest = json;
    while let Some(first) = rest.first() {
        let (length, color) = match first {
            b'"' => {
                let length = string_length(rest);
                (length, if rest.get(length) == Some(&b':') { NAME } else { TEXT })
            }
            b'{' | b'}' | b'[' | b']' | b',' | b':' => (1, PLAIN),
            _ => (rest.iter().position(|byte| b"{}[],:\"".contains(byte)).unwrap_or(rest.len()), NUMBER),
        };
        if color == PLAIN {
            out.write_all(&rest[..length])?;
        } else {
            out.write_all(color)?;
            out.write_all(&rest[..length])?;
            out.write_all(PLAIN)?;
        }
        rest = &rest[length..];
    }
    Ok(())
}

/// The length of the string at the start, with both its quotes.
fn string_length(text: &[u8]) -> usize {
    let mut escaped = false;
    for (at, byte) in text.iter().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::paint;

    #[test]
    fn names_strings_and_values_have_colours_of_their_own() {
        let mut out = Vec::new();
        paint(br#"{"a":"x\"y","b":[1,true]}"#, &mut out).unwrap();
        let expected = "{\x1b[36m\"a\"\x1b[0m:\x1b[32m\"x\\\"y\"\x1b[0m,\x1b[36m\"b\"\x1b[0m:[\x1b[33m1\x1b[0m,\x1b[33mtrue\x1b[0m]}";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn without_colours_it_is_the_same_text_whatever_it_is() {
        for text in ["", "\"", "{\"a", "\\", "nonsense: x", "{\"a\":\"\\\\\"}"] {
            let mut out = Vec::new();
            paint(text.as_bytes(), &mut out).unwrap();
            let mut bare = String::from_utf8(out).unwrap();
            for color in ["\x1b[36m", "\x1b[32m", "\x1b[33m", "\x1b[0m"] {
                bare = bare.replace(color, "");
            }
            assert_eq!(bare, text);
        }
    }
}
