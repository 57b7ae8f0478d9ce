//! Strings as Java's writer has them: decoded to UTF-16, and every unit escaped that is not a visible character.

use super::escaped::is_escaped;

/// Appends a JSON string, quotes included. What is not UTF-8 becomes U+FFFD, as often as Java's decoder would put it.
pub(super) fn write(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    if text.iter().all(|byte| is_plain(*byte)) {
        out.extend_from_slice(text);
    } else if let Ok(text) = std::str::from_utf8(text) {
        escape(out, text);
    } else {
        lossy(out, text);
    }
    out.push(b'"');
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

fn escape(out: &mut Vec<u8>, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| !is_plain(byte)) {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain.as_bytes());
        let mut chars = special.chars();
        if let Some(char) = chars.next() {
            character(out, char);
        }
        rest = chars.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
}

fn character(out: &mut Vec<u8>, char: char) {
    let escape = match char {
        '"' => b'"',
        '\\' => b'\\',
        '\n' => b'n',
        '\r' => b'r',
        '\t' => b't',
        '\u{8}' => b'b',
        '\u{c}' => b'f',
        _ => return unicode(out, char),
    };
    out.extend_from_slice(&[b'\\', escape]);
}

fn unicode(out: &mut Vec<u8>, char: char) {
    let mut units = [0; 2];
    let units = char.encode_utf16(&mut units);
    match *units {
        [unit] if !char.is_ascii() && !is_escaped(unit) => {
            out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
        }
        // The rest of ASCII is control characters, and halves of a pair count as invisible.
        _ => units.iter().for_each(|unit| {
            out.extend_from_slice(b"\\u");
            super::write_hex(out, &unit.to_be_bytes());
        }),
    }
}

/// Java takes the three bytes of a surrogate for one wrong character, and what follows the standard's advice for three.
fn lossy(out: &mut Vec<u8>, text: &[u8]) {
    const SURROGATE: u8 = 0xED;
    let (mut at, mut same) = (0, 0);
    for chunk in text.utf8_chunks() {
        at += chunk.valid().len();
        same = if chunk.valid().is_empty() { same } else { 0 };
        escape(out, chunk.valid());
        match chunk.invalid() {
            [] => {}
            _ if same > 0 => same -= 1,
            [SURROGATE] if matches!(text.get(at + 1), Some(0xA0..=0xBF)) => {
                same = if matches!(text.get(at + 2), Some(0x80..=0xBF)) { 2 } else { 1 };
                out.extend_from_slice("\u{fffd}".as_bytes());
            }
            _ => out.extend_from_slice("\u{fffd}".as_bytes()),
        }
        at += chunk.invalid().len();
    }
}
