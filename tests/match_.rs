//! `mongo-observer match`, the program itself.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

fn run(filter: &str, input: &str) -> (Option<i32>, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mongo-observer"))
        .args(["match", "--filter", filter])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // What was refused at once reads no input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn the_lines_that_match_come_out_as_they_are() {
    let input = concat!(
        r#"{"_id":1,"a":{"$numberLong":"5"}}"#,
        "\n\n",
        r#" {"_id":2, "a":[1,7.5]}  "#,
        "\n",
        r#"{"_id":3}"#
    );
    let (code, out, err) = run(r#"{"a":{"$gt":4}}"#, input);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(out, "{\"_id\":1,\"a\":{\"$numberLong\":\"5\"}}\n{\"_id\":2, \"a\":[1,7.5]}\n");
}

#[test]
fn a_bad_line_is_told_and_the_others_are_looked_at() {
    let (code, out, err) =
        run(r#"{"$expr":{"$divide":[1,"$a"]}}"#, "{\"a\":2}\n{\"a\":\n{\"a\":0}\n{\"a\":3}\n");
    assert_eq!((code, out.as_str()), (Some(1), "{\"a\":2}\n{\"a\":3}\n"));
    let lines: Vec<&str> = err.lines().collect();
    assert!(lines[0].starts_with("mongo-observer: line 2: "), "{err}");
    assert_eq!(lines[1..], ["mongo-observer: line 3: $expr failed: $divide by zero"]);
}

#[test]
fn a_filter_that_is_not_accepted_says_whose_fault_it_is() {
    for (filter, expected) in [
        (r#"{"a":{"$gte":1,"$foo":2}}"#, "--filter: MongoDB refuses this filter: `a.$foo`: "),
        (r#"{"a":"#, "--filter: MongoDB refuses this filter: "),
        (r#"{"$where":"true"}"#, "--filter: this filter can't be evaluated offline: `$where`: "),
    ] {
        let (code, out, err) = run(filter, "{}\n");
        assert_eq!((code, out.as_str()), (Some(2), ""), "{filter}");
        assert!(err.starts_with(&format!("mongo-observer: {expected}")), "{err}");
        assert_eq!(err.lines().count(), 1, "{err}");
    }
}
