//! The parser: one pass over the text, appending BSON; no tree.
//!
//! An object is written as the document that it looks like. At its closing brace, if its first name begins with `$`, [`wrapper`] looks
//! whether those bytes mean a typed value, and the value takes their place.

use super::wrapper;
use crate::bson::{DEPTH_MAX, Kind, RawDoc};

/// Why a text is not Extended JSON, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{what} at byte {offset}", if path.is_empty() { String::new() } else { format!("`{path}`: ") })]
pub struct ParseError {
    /// What is wrong, as a phrase.
    pub what: String,
    /// Where, counted from the start of the text.
    pub offset: usize,
    /// The names that lead there, joined with dots.
    pub path: String,
}

impl ParseError {
    fn within(mut self, name: &[u8]) -> Self {
        let name = String::from_utf8_lossy(name);
        self.path = if self.path.is_empty() { name.into_owned() } else { format!("{name}.{}", self.path) };
        self
    }
}

type Parsed<T> = Result<T, ParseError>;

/// Reads one document, relaxed or canonical or mixed, as BSON. Order and duplicate names are kept.
///
/// Whole numbers become int32 or else int64, if they fit; numbers with a point or an exponent become doubles. An object is a typed value
/// if its names are exactly those of one; then wrong content is an error. The document itself is never a typed value.
pub fn parse(text: &str) -> Result<Vec<u8>, ParseError> {
    let mut parser = Parser { text, at: 0, out: Vec::with_capacity(text.len()), typed: Vec::new() };
    parser.skip_space();
    if parser.peek() != Some(b'{') {
        return Err(parser.error("expected an object"));
    }
    parser.container(b'}', 0)?;
    parser.skip_space();
    if parser.at < text.len() {
        return Err(parser.error("expected nothing behind the document"));
    }
    Ok(parser.out)
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    out: Vec<u8>,
    /// Working space: the bytes of a typed value.
    typed: Vec<u8>,
}

impl Parser<'_> {
    /// Appends a value's bytes.
    fn value(&mut self, depth: usize) -> Parsed<Kind> {
        match self.peek() {
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.container(b']', depth + 1).map(|()| Kind::Array),
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.literal(),
        }
    }

    fn object(&mut self, depth: usize) -> Parsed<Kind> {
        let (start, at) = (self.out.len(), self.at);
        self.container(b'}', depth)?;
        // Its length, the type of its first element, and that element's name.
        if self.out.get(start + 5) != Some(&b'$') {
            return Ok(Kind::Document);
        }
        self.typed.clear();
        match wrapper::read(RawDoc(&self.out[start..]), &mut self.typed) {
            Ok(None) => Ok(Kind::Document),
            Ok(Some(kind)) => {
                self.out.truncate(start);
                self.out.append(&mut self.typed);
                Ok(kind)
            }
            Err(what) => Err(error(at, what)),
        }
    }

    /// An object or an array, as a document: its length, its elements, a zero.
    fn container(&mut self, close: u8, depth: usize) -> Parsed<()> {
        if depth > DEPTH_MAX {
            return Err(self.error("nested too deeply"));
        }
        self.at += 1;
        let start = self.out.len();
        self.out.extend_from_slice(&[0; 4]);
        self.skip_space();
        if self.peek() == Some(close) {
            self.at += 1;
        } else {
            for index in 0_u32.. {
                self.element(index, close, depth)?;
                self.skip_space();
                if self.accept(close) {
                    break;
                }
                if !self.accept(b',') {
                    return Err(self.error(if close == b'}' {
                        "expected `,` or `}`"
                    } else {
                        "expected `,` or `]`"
                    }));
                }
                self.skip_space();
            }
        }
        self.out.push(0);
        self.patch_length(start, 0)
    }

    /// An element: its kind, its name or index, its value.
    fn element(&mut self, index: u32, close: u8, depth: usize) -> Parsed<()> {
        let start = self.out.len();
        self.out.push(0);
        if close == b'}' {
            self.name()?;
        } else {
            self.out.extend_from_slice(itoa::Buffer::new().format(index).as_bytes());
        }
        let name = start + 1..self.out.len();
        self.out.push(0);
        match self.value(depth) {
            Ok(kind) => {
                self.out[start] = kind as u8;
                Ok(())
            }
            Err(error) => Err(error.within(&self.out[name])),
        }
    }

    fn name(&mut self) -> Parsed<()> {
        let (start, at) = (self.out.len(), self.at);
        if self.peek() != Some(b'"') {
            return Err(self.error("expected a name in quotes"));
        }
        self.quoted()?;
        if self.out[start..].contains(&0) {
            return Err(error(at, "a name can't hold a zero byte"));
        }
        self.skip_space();
        if !self.accept(b':') {
            return Err(self.error("expected `:`"));
        }
        self.skip_space();
        Ok(())
    }

    fn string(&mut self) -> Parsed<Kind> {
        let start = self.out.len();
        self.out.extend_from_slice(&[0; 4]);
        self.quoted()?;
        self.out.push(0);
        self.patch_length(start, 4)?;
        Ok(Kind::String)
    }

    /// Sets the length in front of what was written from `start` on, which does not count `uncounted` bytes of it.
    fn patch_length(&mut self, start: usize, uncounted: usize) -> Parsed<()> {
        let length =
            i32::try_from(self.out.len() - start - uncounted).map_err(|_| self.error("longer than 2 GiB"))?;
        self.out[start..start + 4].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }

    /// Appends the text between two quotes, runs without escape at once.
    fn quoted(&mut self) -> Parsed<()> {
        self.at += 1;
        loop {
            let rest = &self.text.as_bytes()[self.at..];
            let run =
                rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).unwrap_or(rest.len());
            self.out.extend_from_slice(&rest[..run]);
            self.at += run;
            match rest.get(run) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(self.error("a control character must be escaped")),
                None => return Err(self.error("the text ends within a string")),
            }
        }
    }

    fn escape(&mut self) -> Parsed<()> {
        let character = match self.text.as_bytes().get(self.at + 1) {
            Some(b'u') => return self.unicode_escape(),
            Some(byte @ (b'"' | b'\\' | b'/')) => *byte,
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            _ => return Err(self.error("unknown escape")),
        };
        self.out.push(character);
        self.at += 2;
        Ok(())
    }

    /// `\u` and four digits; two of them for a character beyond the first 65536.
    fn unicode_escape(&mut self) -> Parsed<()> {
        let first = self.code_unit(self.at);
        let (units, length) = match first {
            Some(0xd800..0xdc00) => ([first, self.code_unit(self.at + 6)], 12),
            _ => ([first, None], 6),
        };
        let decoded = char::decode_utf16(units.into_iter().flatten()).next();
        let Some(Ok(character)) = decoded else {
            return Err(
                self.error("not a character: `\\u` needs four hexadecimal digits, surrogates come in pairs")
            );
        };
        self.out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        self.at += length;
        Ok(())
    }

    fn code_unit(&self, at: usize) -> Option<u16> {
        let digits = self.text.get(at..at + 6)?.strip_prefix("\\u")?;
        digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
    }

    fn number(&mut self) -> Parsed<Kind> {
        let rest = &self.text[self.at..];
        let length = rest.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E'));
        let digits = &rest[..length.unwrap_or(rest.len())];
        let is_whole = is_json_number(digits).ok_or_else(|| self.error("not a number"))?;
        self.at += digits.len();
        if is_whole && let Ok(number) = digits.parse::<i32>() {
            self.out.extend_from_slice(&number.to_le_bytes());
            return Ok(Kind::Int32);
        }
        if is_whole && let Ok(number) = digits.parse::<i64>() {
            self.out.extend_from_slice(&number.to_le_bytes());
            return Ok(Kind::Int64);
        }
        let number = digits.parse::<f64>().ok().filter(|number| number.is_finite());
        let number =
            number.ok_or_else(|| error(self.at - digits.len(), "the number is too large for a double"))?;
        self.out.extend_from_slice(&number.to_le_bytes());
        Ok(Kind::Double)
    }

    fn literal(&mut self) -> Parsed<Kind> {
        for (word, kind, bytes) in
            [("true", Kind::Bool, &[1_u8][..]), ("false", Kind::Bool, &[0]), ("null", Kind::Null, &[])]
        {
            if self.text[self.at..].starts_with(word) {
                self.at += word.len();
                self.out.extend_from_slice(bytes);
                return Ok(kind);
            }
        }
        Err(self.error("expected a value"))
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn accept(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn error(&self, what: impl Into<String>) -> ParseError {
        error(self.at, what)
    }
}

fn error(offset: usize, what: impl Into<String>) -> ParseError {
    ParseError { what: what.into(), offset, path: String::new() }
}

/// Whether JSON allows that number; and if so, whether it is whole, without point and exponent.
fn is_json_number(text: &str) -> Option<bool> {
    let digits = |text: &mut &str| {
        let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
        let count = text.len() - rest.len();
        *text = rest;
        count
    };
    let mut rest = text.strip_prefix('-').unwrap_or(text);
    let leading_zero = rest.starts_with('0');
    let whole = digits(&mut rest);
    if whole == 0 || (leading_zero && whole > 1) {
        return None;
    }
    let is_whole = rest.is_empty();
    if let Some(fraction) = rest.strip_prefix('.') {
        rest = fraction;
        (digits(&mut rest) > 0).then_some(())?;
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        rest = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        (digits(&mut rest) > 0).then_some(())?;
    }
    rest.is_empty().then_some(is_whole)
}
