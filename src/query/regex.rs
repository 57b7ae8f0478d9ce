//! Regular expressions in the server's dialect: that of PCRE 8, which every server up to 6.0 has, by means of its successor.

use super::error::{FilterError, MatchError};
use crate::bson::{Kind, RawValue};

/// Steps that a match may take: more than the server allows. What gives up here has given up there before, where it counts as not found.
const STEPS_MAX: u32 = 1_000_000;

/// A compiled regular expression, and what it was compiled from: it is equal to itself as a value.
#[derive(Debug)]
pub(super) struct Regex {
    compiled: pcre2::bytes::Regex,
    pattern: Box<[u8]>,
    options: Box<[u8]>,
}

impl Regex {
    /// Compiles a pattern. Options: `i`, `m`, `s`, `x`; `u` says what is so anyway.
    pub(super) fn new(pattern: &[u8], options: &[u8]) -> Result<Self, FilterError> {
        if pattern.contains(&0) || options.contains(&0) {
            return Err(FilterError::refused("a regular expression can't hold a zero byte"));
        }
        let text = std::str::from_utf8(pattern)
            .map_err(|_| FilterError::refused("the regular expression is not UTF-8"))?;
        let mut builder = pcre2::bytes::RegexBuilder::new();
        builder.utf(true).jit_if_available(true);
        for option in options {
            match option {
                b'i' => builder.caseless(true),
                b'm' => builder.multi_line(true),
                b's' => builder.dotall(true),
                b'x' => builder.extended(true),
                b'u' => builder.utf(true),
                _ => {
                    let option = char::from(*option);
                    return Err(FilterError::refused(format!(
                        "`{option}` is no option of a regular expression; there are i, m, s, x and u"
                    )));
                }
            };
        }
        let text = translated(text)?;
        let compiled = builder
            .build(&format!("(*LIMIT_MATCH={STEPS_MAX}){text}"))
            .map_err(|error| FilterError::refused(format!("not a regular expression: {}", reason(&error))))?;
        // The server compiles it in parentheses as well, where a comment at its end takes the closing one with it.
        if text.contains('#') && builder.build(&format!("(?:{text})")).is_err() {
            return Err(FilterError::refused("not a regular expression: a comment at its end has no end"));
        }
        Ok(Self { compiled, pattern: pattern.into(), options: options.into() })
    }

    /// Compiles a regular expression that is a value of the filter.
    pub(super) fn of(value: RawValue<'_>) -> Result<Self, FilterError> {
        let (pattern, options) = parts(value);
        Self::new(pattern, options)
    }

    /// Whether it is found in a string, or is the value.
    pub(super) fn matches(&self, value: RawValue<'_>) -> Result<bool, MatchError> {
        match value.kind() {
            Kind::String | Kind::Symbol => self.is_found_in(text(value)),
            Kind::Regex => Ok(parts(value) == (&*self.pattern, &*self.options)),
            _ => Ok(false),
        }
    }

    /// Whether it is found in a text. Nothing is found in what is not UTF-8.
    pub(super) fn is_found_in(&self, text: &[u8]) -> Result<bool, MatchError> {
        if std::str::from_utf8(text).is_err() {
            return Ok(false);
        }
        self.compiled.is_match(text).map_err(|error| MatchError::Regex(reason(&error)))
    }
}

/// The pattern for the newer library, which reads some of them otherwise: it has more kinds of repetition in braces, and no `(*UTF8)`.
fn translated(pattern: &str) -> Result<String, FilterError> {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(end) = rest.strip_prefix("(*").and_then(|verb| verb.find(')')) {
        let (verb, behind) = rest.split_at(end + 3);
        // What the older one calls UTF8 is on in any case.
        if verb != "(*UTF8)" {
            out.push_str(verb);
        }
        rest = behind;
    }
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\\' => escape_length(rest),
            '[' => {
                rest = class(rest, &mut out);
                continue;
            }
            '{' if !is_repetition(rest) => {
                out.push('\\');
                1
            }
            first => first.len_utf8(),
        };
        let (part, behind) = rest.split_at(length);
        if part.starts_with("\\N{") {
            return Err(FilterError::refused(
                "not a regular expression: characters have no names, use \\x{…}",
            ));
        }
        out.push_str(part);
        rest = behind;
    }
    Ok(out)
}

/// The length of an escape at the beginning, with the braces that belong to it, or of what it quotes.
fn escape_length(text: &str) -> usize {
    let mut chars = text.chars();
    let escaped = chars.nth(1);
    let length = 1 + escaped.map_or(0, char::len_utf8);
    let to = |end: &str| text.find(end).map_or(text.len(), |at| at + end.len());
    match escaped {
        Some('Q') => to("\\E"),
        Some('x' | 'p' | 'P' | 'o' | 'g' | 'k') if text[length..].starts_with('{') => to("}"),
        Some('N') if text[length..].starts_with('{') && !is_repetition(&text[length..]) => to("}"),
        _ => length,
    }
}

/// Translates the class of characters at the beginning; what is behind it. Behind a class within the class a hyphen is only that.
fn class<'p>(text: &'p str, out: &mut String) -> &'p str {
    let begin = if text.starts_with("[^") { 2 } else { 1 };
    // A bracket that closes nothing yet is one of the characters.
    let begin = begin + usize::from(text[begin..].starts_with(']'));
    let (head, mut rest) = text.split_at(begin);
    out.push_str(head);
    let mut behind_class = false;
    while let Some(next) = rest.chars().next() {
        let (length, is_class) = match next {
            '\\' => (escape_length(rest), rest[1..].starts_with(|kind: char| "dDwWsShHvVpP".contains(kind))),
            '[' if rest.starts_with("[:") => rest.find(":]").map_or((1, false), |end| (end + 2, true)),
            next => (next.len_utf8(), false),
        };
        if next == '-' && behind_class && !rest.starts_with("-]") {
            out.push('\\');
        }
        behind_class = is_class;
        out.push_str(&rest[..length]);
        rest = &rest[length..];
        if next == ']' {
            break;
        }
    }
    rest
}

/// Whether there is a repetition at the beginning: `{2}`, `{2,}` or `{2,3}`.
fn is_repetition(text: &str) -> bool {
    let inner = text.strip_prefix('{').and_then(|text| text.split_once('}'));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    inner.is_some_and(|(inner, _)| match inner.split_once(',') {
        Some((least, most)) => is_number(least) && (most.is_empty() || is_number(most)),
        None => is_number(inner),
    })
}

/// The library's reason, without the offset, which counts what was put before the pattern.
fn reason(error: &pcre2::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(": ").map_or(text.clone(), |(_, reason)| reason.to_owned())
}

/// Pattern and options of a regular expression.
pub(super) fn parts(value: RawValue<'_>) -> (&[u8], &[u8]) {
    let mut parts = value.as_bytes().split(|byte| *byte == 0);
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

/// The bytes of a string or a symbol, without length and final zero.
fn text(value: RawValue<'_>) -> &[u8] {
    let bytes = value.as_bytes();
    &bytes[4..bytes.len() - 1]
}
