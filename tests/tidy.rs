//! What the source keeps to: which module may import which, how long a file may be, how it begins, what it must not hold.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Which other modules of this crate a module may import. A longer path is a rule of its own for what lies below it.
///
/// Data flows one way: `source → event → pipeline → sink`. `bson` and `query` know nothing of oplogs; adapters import the traits, never each
/// other; only the feed from MongoDB brings `source` into the library; the connector and the command line name everything.
const IMPORTS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("bson", &[]),
    ("query", &["bson"]),
    ("event", &["bson"]),
    ("format", &["bson", "event"]),
    ("source", &["bson", "error", "event"]),
    ("retry", &[]),
    ("observer", &["bson", "error", "event", "retry", "source"]),
    ("pipeline", &["error", "event", "format", "retry", "source"]),
    ("kafka", &["error"]),
    ("sink", &["error", "event", "format", "pipeline"]),
    ("sink/kafka", &["checkpoint::kafka", "error", "event", "format", "kafka", "pipeline", "secret"]),
    ("sink/nats", &["checkpoint::nats", "error", "event", "format", "pipeline", "secret"]),
    ("checkpoint", &["error", "event", "pipeline"]),
    ("checkpoint/kafka", &["error", "event", "kafka", "pipeline"]),
    ("checkpoint/nats", &["error", "event", "format", "pipeline", "sink::nats"]),
    ("secret", &["error"]),
    ("config", &["error", "event", "format", "pipeline", "secret", "sink", "source"]),
    ("metrics", &["error", "event", "pipeline", "source"]),
    ("status", &["error", "event"]),
    ("monitor", &["error", "event", "metrics", "pipeline", "source", "status"]),
    ("http", &["error", "metrics", "status"]),
    ("fuzzing", &["bson", "event", "format", "query", "source"]),
    ("servers", &["error"]),
    ("reactive", &["bson", "error", "event", "format", "query", "retry"]),
    ("reactive/handler", &["bson", "error", "event", "observer", "query", "reactive", "retry"]),
    ("reactive/feed/kafka", &["bson", "error", "event", "format", "kafka", "reactive"]),
    ("reactive/feed/mongodb", &["bson", "error", "event", "format", "reactive", "source"]),
    ("connector", ANYTHING),
    ("cli", ANYTHING),
    ("lib", ANYTHING),
    ("main", ANYTHING),
];

const ANYTHING: &[&str] = &["*"];

/// Longer files have more than one subject.
const LINES_MAX: usize = 500;

#[test]
fn the_tree_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = ["src", "tests", "benches", "examples"].map(|folder| rust_files(root, &root.join(folder)));
    let files: BTreeMap<String, String> = files.into_iter().flatten().collect();
    assert!(
        files.contains_key("src/lib.rs") && files.contains_key("tests/tidy.rs"),
        "looks at the wrong place"
    );
    let faults: Vec<String> = files.iter().flat_map(|(path, text)| faults(path, text)).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn imports_against_the_arrows_are_found() {
    for (path, text, fault) in [
        (
            "src/sink/nats/mod.rs",
            "use crate::source::Chunk;",
            "src/sink/nats/mod.rs:2: sink/nats must not import source::Chunk",
        ),
        (
            "src/sink/nats/x.rs",
            "use crate::sink::kafka::X;",
            "src/sink/nats/x.rs:2: sink/nats must not import sink::kafka",
        ),
        (
            "src/pipeline/run.rs",
            "use crate::sink::kafka;",
            "src/pipeline/run.rs:2: pipeline must not import sink::kafka",
        ),
        (
            "src/bson/walk.rs",
            "fn f(x: crate::event::Mark) {}",
            "src/bson/walk.rs:2: bson must not import event::Mark",
        ),
        (
            "src/event/x.rs",
            "use crate::{bson::X, format::Y};",
            "src/event/x.rs:2: event must not import format::Y",
        ),
        (
            "src/reactive/mod.rs",
            "use crate::source::X;",
            "src/reactive/mod.rs:2: reactive must not import source::X",
        ),
        ("src/new.rs", "use crate::bson::X;", "src/new.rs:2: new must not import bson::X"),
    ] {
        assert_eq!(faults(path, &format!("//! Doc.\n{text}\n")), [fault], "{text}");
    }
    for (path, text) in [
        ("src/sink/nats/mod.rs", "use crate::checkpoint::nats::StreamEnd;\nuse crate::sink::nats::x;"),
        (
            "src/pipeline/run.rs",
            "use crate::{error::Error, source::{Chunk, Op}};\n// crate::sink is named in a comment",
        ),
        ("src/reactive/feed/mongodb.rs", "use crate::source::X;"),
        ("src/event/x.rs", "#[cfg(test)]\nmod tests {\n    use crate::servers::X;\n}"),
        ("src/cli/run.rs", "use crate::anything;"),
    ] {
        assert_eq!(faults(path, &format!("//! Doc.\n{text}\n")), [""; 0], "{text}");
    }
}

#[test]
fn what_a_file_must_not_be_or_hold_is_found() {
    let unfinished = ["to", "do!()"].concat();
    assert_eq!(faults("src/cli/x.rs", &format!("//! Doc.\n{unfinished}\n")).len(), 1);
    let reminder = ["// FIX", "ME: later"].concat();
    assert_eq!(faults("tests/x.rs", &format!("//! Doc.\n{reminder}\n")).len(), 1);
    assert_eq!(faults("src/cli/x.rs", "use std::fmt;\n"), ["src/cli/x.rs:1: begins without `//!`"]);
    let long = format!("//! Doc.\n{}", "\n".repeat(LINES_MAX));
    assert_eq!(faults("src/cli/x.rs", &long).len(), 1);
}

/// Everything that is wrong with a file, each with its place.
fn faults(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if !text.starts_with("//!") {
        faults.push(format!("{path}:1: begins without `//!`"));
    }
    let lines = text.lines().count();
    if lines > LINES_MAX {
        faults.push(format!("{path}: {lines} lines; find its second subject"));
    }
    let forbidden =
        [["to", "do!"], ["FIX", "ME"], ["db", "g!("], ["unim", "plemented!"]].map(|halves| halves.concat());
    for (number, line) in (1..).zip(text.lines()) {
        for word in forbidden.iter().filter(|word| line.contains(word.as_str())) {
            faults.push(format!("{path}:{number}: `{word}`"));
        }
    }
    if let Some(module) = path.strip_prefix("src/") {
        let module = module.trim_end_matches(".rs").trim_end_matches("/mod");
        faults.extend(wrong_imports(path, module, text));
    }
    faults
}

fn wrong_imports(path: &str, module: &str, text: &str) -> Vec<String> {
    let rule =
        IMPORTS.iter().filter(|(rule, _)| is_below(module, rule, '/')).max_by_key(|(rule, _)| rule.len());
    let (name, allowed) = rule.copied().unwrap_or((module, &[]));
    let own = name.replace('/', "::");
    let may = |import: &str| {
        allowed == ANYTHING
            || is_below(import, &own, ':')
            || allowed.iter().any(|allowed| is_below(import, allowed, ':'))
    };
    let mut faults = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        // Tests stand at the end of a file and may use whatever helps them.
        if line == "#[cfg(test)]" {
            break;
        }
        let code = line.split("//").next().unwrap_or_default();
        for import in imports(code).into_iter().filter(|import| !may(import)) {
            faults.push(format!("{path}:{number}: {name} must not import {import}"));
        }
    }
    faults
}

/// The first two levels of each path that begins with `crate::`, also of those in braces.
fn imports(code: &str) -> Vec<String> {
    let mut imports = Vec::new();
    for (at, begin) in code.match_indices("crate::") {
        // `$crate::` and `some_crate::` are other things.
        if code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_') {
            continue;
        }
        let rest = &code[at + begin.len()..];
        match rest.strip_prefix('{') {
            Some(list) => imports.extend(top_level(list).into_iter().map(two_levels)),
            None => imports.push(two_levels(rest)),
        }
    }
    imports
}

/// The items of a list in braces, whose opening brace is gone.
fn top_level(list: &str) -> Vec<&str> {
    let (mut depth, mut begin, mut items) = (0, 0, Vec::new());
    for (at, sign) in list.char_indices() {
        match sign {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(&list[begin..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&list[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    items.into_iter().map(str::trim).filter(|item| !item.is_empty()).collect()
}

fn two_levels(path: &str) -> String {
    let is_name = |name: &&str| !name.is_empty();
    let mut levels = path.splitn(3, "::").map(|level| {
        level.split(|sign: char| !sign.is_alphanumeric() && sign != '_').next().unwrap_or_default()
    });
    let first = levels.next().unwrap_or_default();
    match levels.next().filter(is_name) {
        Some(second) => format!("{first}::{second}"),
        None => first.to_owned(),
    }
}

/// Whether `path` is `above` or lies below it.
fn is_below(path: &str, above: &str, separator: char) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with(separator))
}

/// The Rust files below a folder, by their path from the root.
fn rust_files(root: &Path, folder: &Path) -> Vec<(String, String)> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(rust_files(root, &path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            files.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
    files
}
