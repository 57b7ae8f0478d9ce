//! The README's examples are what the program really does.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use clap::Parser as _;
use mongo_observer::cli::args::Cli;
use mongo_observer::config::Config;
use serde_json::Value;

const README: &str = include_str!("../README.md");

/// The fenced blocks of that language.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    README.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// The program's command lines, in blocks and in running text.
fn command_lines() -> Vec<String> {
    let inline = README.split('`').skip(1).step_by(2).filter(|code| code.starts_with("mongo-observer "));
    let typed = blocks("sh").into_iter().flat_map(str::lines).filter_map(|line| {
        line.strip_prefix("target/release/").filter(|line| line.starts_with("mongo-observer "))
    });
    inline.chain(typed).map(str::to_owned).collect()
}

#[test]
fn every_command_line_can_be_typed() {
    let lines = command_lines();
    assert!(lines.len() >= 4, "{lines:?}");
    for line in lines {
        for one in alternatives(&line) {
            if let Err(error) = Cli::try_parse_from(one.split(' ')) {
                assert!(error.exit_code() == 0, "{one}: {error}");
            }
        }
    }
}

/// `checkpoint show|set|clear` stands for three commands, each with what it needs.
fn alternatives(line: &str) -> Vec<String> {
    match line.strip_suffix("show|set|clear") {
        Some(stem) => ["show --config F", "set --config F 7-8", "clear --config F"]
            .map(|end| format!("{stem}{end}"))
            .into(),
        None => vec![line.to_owned()],
    }
}

#[test]
fn every_configuration_is_accepted() {
    let shown = blocks("toml");
    assert!(!shown.is_empty());
    for text in shown {
        let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
        std::fs::write(file.path(), text).unwrap();
        Config::load(Some(file.path()), Vec::new(), &[]).unwrap();
    }
}

#[test]
fn every_file_and_make_target_that_is_named_exists() {
    let root = env!("CARGO_MANIFEST_DIR");
    let makefile = std::fs::read_to_string(format!("{root}/Makefile")).unwrap();
    let words: BTreeSet<&str> = README.split(|c: char| c.is_whitespace() || "`()[],;".contains(c)).collect();
    for word in words {
        let word = word.trim_end_matches(['.', ':']);
        if ["config/", "deploy/", "src/"]
            .iter()
            .any(|folder| word.starts_with(folder) && word.len() > folder.len())
        {
            assert!(std::path::Path::new(&format!("{root}/{word}")).exists(), "{word}");
        }
    }
    for target in README.split("make ").skip(1).map(|rest| rest.split([' ', '`', '\n']).next().unwrap()) {
        let known = makefile.lines().any(|line| line.starts_with(&format!("{target}:")));
        assert!(known, "make {target}");
    }
}

#[test]
fn the_event_is_what_the_program_makes_of_that_entry() {
    let shown: Value = serde_json::from_str(blocks("json")[0]).unwrap();
    let golden = include_str!("golden/inventory/oplog.jsonl");
    let entry = golden.lines().nth(2).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_mongo-observer"))
        .arg("decode")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), entry.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let mut made: Value = serde_json::from_slice(&output.stdout).unwrap();
    // Offline there is no replica set whose name could stand there.
    made["source"] = shown["source"].clone();
    assert_eq!(made, shown);
}

#[test]
fn every_field_of_an_event_is_explained() {
    let table = README.split("| field |").nth(1).unwrap().split("\n\n").next().unwrap();
    let shown: Value = serde_json::from_str(blocks("json")[0]).unwrap();
    for field in
        shown.as_object().unwrap().keys().map(String::as_str).chain(["after", "command", "to", "txn"])
    {
        assert!(table.contains(&format!("`{field}`")), "{field}");
    }
}
