//! Turns figment's errors into one line for people: where, which key, what is wrong, and what to write instead.

use figment::error::{Actual, Kind};

use crate::error::{Error, ErrorKind};

/// The line that says what is wrong; `table` is the key of the table that was read.
pub(super) fn explain(table: &str, error: figment::Error) -> Error {
    let place = error.metadata.as_ref().map(|metadata| metadata.name.to_string());
    let problem = problem(&join(table, &error.path.join(".")), error.kind);
    let what = match place {
        Some(place) => format!("{place}: {problem}"),
        None => problem,
    };
    // A value may hold anything, but the message is one line.
    Error::new(ErrorKind::Config, what.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn problem(key: &str, kind: Kind) -> String {
    match kind {
        Kind::UnknownField(field, known) => {
            // An error in a table names the table, one at a key names the key.
            let key = if key == field || key.ends_with(&format!(".{field}")) {
                key.to_owned()
            } else {
                join(key, &field)
            };
            format!("there is no key `{key}`: {}", instead(&field, known))
        }
        Kind::UnknownVariant(word, known) => format!("`{key}` can't be `{word}`: {}", instead(&word, known)),
        Kind::MissingField(field) if field == "type" => {
            format!("`{key}.type` is missing: use kafka, nats, stdout or file")
        }
        Kind::MissingField(field) => format!("`{}` is missing", join(key, &field)),
        Kind::InvalidType(actual, expected) | Kind::InvalidValue(actual, expected) => {
            format!("`{key}` must be {}, not {}", wanted(&expected), given(&actual, &expected))
        }
        Kind::Message(message) if message.starts_with("must ") || message.starts_with("can't ") => {
            format!("`{key}` {message}")
        }
        other => format!("`{key}`: {other}"),
    }
}

fn join(table: &str, key: &str) -> String {
    let dot = if table.is_empty() || key.is_empty() { "" } else { "." };
    format!("{table}{dot}{key}")
}

/// What to write instead of `word`: the nearest known word, or all of them.
fn instead(word: &str, known: &[&str]) -> String {
    let nearest = known.iter().map(|candidate| (distance(word, candidate), candidate)).min();
    match nearest {
        Some((distance, candidate)) if distance <= 1 + word.len() / 4 => {
            format!("did you mean `{candidate}`?")
        }
        _ => format!("use {}", either(known)),
    }
}

/// `a`, `a or b`, `a, b or c`.
pub(super) fn either(words: &[&str]) -> String {
    match words.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => "nothing".to_owned(),
    }
}

/// The type that was expected, in people's words.
fn wanted(expected: &str) -> String {
    match expected {
        "u8" => format!("a whole number from 0 to {}", u8::MAX),
        "u16" => format!("a whole number from 0 to {}", u16::MAX),
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "i32" => format!("a whole number from {} to {}", i32::MIN, i32::MAX),
        "u64" | "usize" | "i64" => "a whole number".to_owned(),
        "f64" | "f32" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a string" | "text" | "path string" => "text in quotes".to_owned(),
        "a map" => "a table".to_owned(),
        expected if expected.starts_with("struct ") => "a table".to_owned(),
        expected => expected.to_owned(),
    }
}

/// What was given. Its value is shown only in a number's or a boolean's place: anywhere else it might be a secret.
fn given(actual: &Actual, expected: &str) -> String {
    let harmless = wanted(expected).contains("number") || expected == "a boolean";
    match actual {
        Actual::Str(text) if harmless => format!("`{text}`"),
        Actual::Bool(value) if harmless => format!("`{value}`"),
        Actual::Unsigned(value) if harmless => format!("`{value}`"),
        Actual::Signed(value) if harmless => format!("`{value}`"),
        Actual::Float(value) if harmless => format!("`{value}`"),
        Actual::Str(_) => "text".to_owned(),
        Actual::Bool(_) => "true or false".to_owned(),
        Actual::Unsigned(_) | Actual::Signed(_) | Actual::Float(_) => "a number".to_owned(),
        Actual::Seq => "a list".to_owned(),
        Actual::Map => "a table".to_owned(),
        _ => "that".to_owned(),
    }
}

/// How many letters must be added, taken away or changed to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in b.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::{distance, either, instead};

    #[test]
    fn the_nearest_word_is_offered_only_when_it_is_near() {
        assert_eq!(instead("inclde", &["start", "include", "exclude"]), "did you mean `include`?");
        assert_eq!(instead("colour", &["start", "include", "exclude"]), "use start, include or exclude");
        assert_eq!(either(&["one"]), "one");
    }

    #[test]
    fn distance_counts_edits() {
        for (a, b, edits) in [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("same", "same", 0)] {
            assert_eq!(distance(a, b), edits, "{a} {b}");
            assert_eq!(distance(b, a), edits, "{b} {a}");
        }
    }
}
