//! Regular expressions in the server's dialect.

use super::error::{FilterError, MatchError};
use crate::bson::{Kind, RawValue};

/// Steps that a match may take: a little more than the server allows, so that what gives up here gives up there.
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
        // What an older version calls UTF8 is on in any case.
        let text = text.strip_prefix("(*UTF8)").unwrap_or(text);
        let compiled = builder
            .build(&format!("(*LIMIT_MATCH={STEPS_MAX}){text}"))
            .map_err(|error| FilterError::refused(format!("not a regular expression: {}", reason(&error))))?;
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
