//! The demo: it shows events, ends by itself, and leaves nothing behind.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

/// Runs it in a folder for temporary files of its own; gives standard output, and the summary's number behind a word.
async fn demo(sink: &str) -> (String, impl Fn(&str) -> u64) {
    let folder = tempfile::tempdir().unwrap();
    let command = Command::new(env!("CARGO_BIN_EXE_mongo-observer"))
        .args(["demo", "--seconds", "2", "--sink", sink])
        .env("TMPDIR", folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(Duration::from_secs(60), command).await.expect("it ends by itself").unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(output.status.success() && !stderr.contains("panicked"), "{stderr}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
    let number = move |word: &str| {
        let line =
            stderr.lines().find(|line| line.contains(word)).unwrap_or_else(|| panic!("{word}: {stderr}"));
        line.split(word).nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap()
    };
    (stdout, number)
}

#[tokio::test]
async fn the_demo_shows_every_kind_of_event_on_standard_output() {
    let (stdout, number) = demo("stdout").await;
    let events: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len() as u64, number("published"));
    for op in ["create", "insert", "update", "replace", "delete"] {
        assert!(events.iter().any(|event| event["op"] == op), "{op}: {stdout}");
    }
    assert!(events.iter().any(|event| event["txn"]["count"] == 2), "{stdout}");
    assert_eq!(number("live      "), number("in memory,"), "the live collection is what MongoDB has");
}

#[tokio::test]
async fn the_demo_reads_everything_back_from_kafka() {
    let (stdout, number) = demo("kafka").await;
    assert!(stdout.lines().all(|line| line.starts_with("mongo.shop.orders[0]@")), "{stdout}");
    assert_eq!(number("read back"), number("published"));
}

#[tokio::test]
async fn the_demo_reads_everything_back_from_nats() {
    let (stdout, number) = demo("nats").await;
    assert!(stdout.lines().any(|line| line.contains(" mongo.shop.orders {\"op\":\"delete\"")), "{stdout}");
    assert_eq!(number("read back"), number("published"));
}
