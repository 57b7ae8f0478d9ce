//! `mongo-observer decode`, the program itself: what it writes for real entries, what it refuses, and how it ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use mongo_observer::bson::extjson::parse;
use serde_json::{Value, json};

/// Entries that MongoDB 6.0.5 wrote, and the events that they are.
const ENTRIES: &str = include_str!("golden/inventory/oplog.jsonl");
const JSON: &str = include_str!("golden/inventory/json.jsonl");
const JSON_CANONICAL: &str = include_str!("golden/inventory/json-canonical.jsonl");
/// What MongoDB's Kafka connector 2.0.1 made of the same writes, with each of its formatters; the last one with expanded events.
const MONGODB: [(&[&str], &str); 3] = [
    (&["--format", "mongodb"], include_str!("golden/inventory/mongodb.jsonl")),
    (&["--format", "mongodb-simplified"], include_str!("golden/inventory/mongodb-simplified.jsonl")),
    (
        &["--format", "mongodb-extended", "--expanded-events"],
        include_str!("golden/inventory/mongodb-extended.jsonl"),
    ),
];

struct Outcome {
    code: Option<i32>,
    out: String,
    err: String,
}

fn start(flags: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_mongo-observer"))
        .arg("decode")
        .args(flags)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn decode(flags: &[&str], input: impl AsRef<[u8]> + Send) -> Outcome {
    let mut child = start(flags);
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        // What was refused at once reads no input.
        scope.spawn(move || stdin.write_all(input.as_ref()));
        child.wait_with_output().unwrap()
    });
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Outcome { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// The output of a run in which nothing went wrong.
fn decoded(flags: &[&str], input: &str) -> String {
    let outcome = decode(flags, input);
    assert_eq!((outcome.code, outcome.err.as_str()), (Some(0), ""));
    outcome.out
}

fn values(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// An entry with these members beside the usual ones.
fn entry(members: &str) -> String {
    format!(r#"{{"ts": {{"$timestamp": {{"t": 7, "i": 1}}}}, "v": 2, {members}}}"#)
}

/// The insert of such a document.
fn insert(document: &str) -> String {
    entry(&format!(r#""op": "i", "ns": "shop.orders", "o": {document}"#))
}

/// A command on the database `shop`.
fn command(document: &str) -> String {
    entry(&format!(r#""op": "c", "ns": "shop.$cmd", "o": {document}"#))
}

#[test]
fn real_entries_become_the_expected_events() {
    assert_eq!(decoded(&[], ENTRIES), JSON);
    assert_eq!(decoded(&["--format", "json"], ENTRIES), JSON);
    assert_eq!(decoded(&["--format", "json-canonical"], ENTRIES), JSON_CANONICAL);
    assert_eq!(decoded(&["--expanded-events"], ENTRIES), JSON);
}

#[test]
fn records_have_the_events_as_values_and_the_id_as_key() {
    let sally = r#"{"_id":{"$oid":"596e275826f08b2730779e1f"}}"#;
    let company = r#"{"_id":{"company":32,"dept":"home improvement"}}"#;
    let tx1 = r#"{"_id":"tx1"}"#;
    let number = r#"{"_id":1234}"#;
    let create = r#"{"command":"create"}"#;
    let keys = [create, sally, sally, sally, sally, sally, number, company, tx1, tx1, number, sally];
    let exact =
        |key: &str| key.replace("1234", r#"{"$numberInt":"1234"}"#).replace("32", r#"{"$numberInt":"32"}"#);
    for (format, events, keys) in
        [("json", JSON, keys.map(str::to_owned)), ("json-canonical", JSON_CANONICAL, keys.map(exact))]
    {
        let records = values(&decoded(&["--records", "--format", format, "--prefix", "eu.1"], ENTRIES));
        let expected: Vec<Value> = keys
            .iter()
            .zip(events.lines())
            .map(|(key, event)| json!({ "topic": "eu.1.inventory.customers", "key": key, "value": event }))
            .collect();
        assert_eq!(records, expected);
    }
}

#[test]
fn the_mongodb_formats_are_the_records_of_mongodbs_connector() {
    for (flags, golden) in MONGODB {
        let expected = values(golden);
        assert!(expected.len() > 10);
        let records = values(&decoded(&[flags, &["--records", "--prefix", "PREFIX"]].concat(), ENTRIES));
        assert_eq!(records.len(), expected.len());
        for (record, mut expected) in records.into_iter().zip(expected) {
            // The files have topics without their prefix.
            expected["topic"] = format!("PREFIX{}", expected["topic"].as_str().unwrap()).into();
            assert_eq!(record, expected, "{flags:?}");
        }
        let events = decoded(flags, ENTRIES);
        let expected: Vec<Value> = values(golden).iter().map(|record| record["value"].clone()).collect();
        assert_eq!(events.lines().map(Value::from).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn bson_is_the_canonical_event_in_binary() {
    assert_eq!(values(&decoded(&["--format", "bson"], ENTRIES)), canonical_numbers(values(JSON_CANONICAL)));
    let records = values(&decoded(&["--format", "bson", "--records"], ENTRIES));
    let json = values(&decoded(&["--format", "json-canonical", "--records"], ENTRIES));
    assert_eq!(records.len(), json.len());
    for (record, json) in records.iter().zip(json) {
        assert_eq!((&record["topic"], &record["encoding"]), (&json["topic"], &"base64".into()));
        for part in ["key", "value"] {
            let bytes = BASE64_STANDARD.decode(record[part].as_str().unwrap()).unwrap();
            assert_eq!(bytes, parse(json[part].as_str().unwrap()).unwrap(), "{json}");
        }
    }
}

/// Plain whole numbers as canonical text has them.
fn canonical_numbers(mut events: Vec<Value>) -> Vec<Value> {
    for event in &mut events {
        let Some(txn) = event.get_mut("txn") else { continue };
        for field in ["index", "count"] {
            txn[field] = json!({ "$numberInt": txn[field].to_string() });
        }
    }
    for event in &mut events {
        let arrays = event.pointer_mut("/update/truncatedArrays").and_then(Value::as_array_mut);
        for array in arrays.into_iter().flatten() {
            array["newSize"] = json!({ "$numberInt": array["newSize"].to_string() });
        }
    }
    events
}

#[test]
fn a_bad_line_is_named_with_its_reason_and_the_others_are_decoded() {
    let good = insert(r#"{"_id": 1}"#);
    let cases = [
        ("{", "expected a name in quotes at byte 1"),
        ("[]", "expected an object at byte 0"),
        (r#"{"ts": {"$timestamp": {"t": 1}}}"#, "`ts`: "),
        (r#"{"v": 2, "op": "n"}"#, "an oplog entry without `ts`"),
        (
            &entry(r#""op": "i", "ns": "shop.orders""#),
            "0000000007-0000000001-0000000000 of shop.orders: no `o` document",
        ),
        (&entry(r#""op": "i", "o": {"_id": 1}"#), "no namespace"),
        (&insert(r#"{"a": 1}"#), "an insert of a document without _id"),
        (&entry(r#""op": "d", "ns": "shop.orders", "o": {}"#), "the document has no _id"),
        (&entry(r#""op": "z", "ns": "shop.orders", "o": {}"#), "unknown operation `z`"),
        (
            &entry(r#""op": "u", "ns": "shop.orders", "o2": {"_id": 1}, "o": {"$v": 3}"#),
            "unknown version ($v)",
        ),
        (
            &entry(r#""op": "u", "ns": "shop.orders", "o2": {"_id": 1}, "o": {"$v": 2, "diff": {"x": {}}}"#),
            "update diff: unknown section",
        ),
        (&good.replace(r#""v": 2"#, r#""v": 3"#), "unknown version"),
        (&command(r#"{"split": "orders"}"#), "unknown command `split`"),
        (
            &entry(
                r#""op": "c", "ns": "admin.$cmd", "prevOpTime": {"ts": {"$timestamp": {"t": 6, "i": 1}}, "t": 1}, "o": {"applyOps": []}"#,
            ),
            "a transaction whose earlier entries are missing",
        ),
        (&command(r#"{"commitTransaction": 1}"#), "the commit of a prepared transaction"),
    ];
    let lines: Vec<&str> = cases.iter().flat_map(|(bad, _)| [*bad, "", &good]).collect();
    let outcome = decode(&[], lines.join("\n"));
    assert_eq!(outcome.code, Some(1));
    assert_eq!(outcome.out, decoded(&[], &good).repeat(cases.len()));
    let complaints: Vec<&str> = outcome.err.lines().collect();
    assert_eq!(complaints.len(), cases.len(), "{complaints:?}");
    for (number, (complaint, (_, reason))) in complaints.iter().zip(&cases).enumerate() {
        let line = format!("mongo-observer: line {}: ", 3 * number + 1);
        assert!(complaint.starts_with(&line) && complaint.contains(reason), "{complaint}");
    }
}

#[test]
fn a_transaction_with_a_bad_operation_has_no_events_at_all() {
    let operations =
        r#"{"op": "i", "ns": "shop.orders", "o": {"_id": 1}}, {"op": "z", "ns": "shop.orders", "o": {}}"#;
    let outcome =
        decode(&[], entry(&format!(r#""op": "c", "ns": "admin.$cmd", "o": {{"applyOps": [{operations}]}}"#)));
    assert_eq!((outcome.code, outcome.out.as_str()), (Some(1), ""));
    assert!(
        outcome.err.contains("0000000007-0000000001-0000000001 of shop.orders: unknown operation"),
        "{}",
        outcome.err
    );
}

#[test]
fn bytes_that_are_no_text_spoil_only_their_line() {
    let good = insert(r#"{"_id": 1}"#);
    let outcome = decode(&[], [b"{\"a\": \"\xff\"}\r\n", good.as_bytes(), b"\r\n \r\n"].concat());
    assert_eq!((outcome.code, outcome.out), (Some(1), decoded(&[], &good)));
    assert!(outcome.err.starts_with("mongo-observer: line 1: not UTF-8"), "{}", outcome.err);
}

#[test]
fn the_order_of_the_lines_is_kept_whatever_their_positions() {
    let backwards: Vec<&str> = ENTRIES.lines().rev().chain(ENTRIES.lines()).collect();
    let positions = |lines: &str| {
        let position = |event: &Value| event["position"].as_str().unwrap().to_owned();
        values(lines).iter().map(position).collect::<Vec<_>>()
    };
    let found = positions(&decoded(&[], &backwards.join("\n")));
    let forwards = positions(JSON);
    assert_eq!(found[12..], forwards);
    let mut entries: Vec<&str> = found[..12].iter().map(|position| &position[..21]).collect();
    entries.dedup();
    assert!(entries.is_sorted_by(|a, b| a > b), "{entries:?}");
}

#[test]
fn every_type_comes_out_as_it_went_in() {
    let document = concat!(
        r#"{"_id":{"$oid":"596e275826f08b2730779e1f"},"double":{"$numberDouble":"-0.0"},"nan":{"$numberDouble":"NaN"},"#,
        r#""infinity":{"$numberDouble":"-Infinity"},"string":"é\u0000😀","empty":{},"array":[[],null],"#,
        r#""binary":{"$binary":{"base64":"AAEC","subType":"80"}},"undefined":{"$undefined":true},"bool":true,"#,
        r#""date":{"$date":{"$numberLong":"-62135596800001"}},"regex":{"$regularExpression":{"pattern":"a\"b","options":"im"}},"#,
        r#""pointer":{"$dbPointer":{"$ref":"a.b","$id":{"$oid":"596e275826f08b2730779e1f"}}},"code":{"$code":"f()"},"#,
        r#""symbol":{"$symbol":"s"},"scope":{"$code":"g()","$scope":{"x":{"$numberInt":"1"}}},"int32":{"$numberInt":"-1"},"#,
        r#""timestamp":{"$timestamp":{"t":4294967295,"i":0}},"int64":{"$numberLong":"9223372036854775807"},"#,
        r#""decimal":{"$numberDecimal":"1.50"},"min":{"$minKey":1},"max":{"$maxKey":1},"$v":{"$numberInt":"2"},"a.b":null,"":null}"#,
    );
    let out = decoded(&["--format", "json-canonical"], &insert(document));
    assert!(out.contains(&format!(r#""after":{document},"position""#)), "{out}");
    // Relaxed text, decoded again, says the same: only the types of numbers are gone.
    let relaxed = decoded(&[], &insert(document));
    let (_, after) = relaxed.split_once(r#""after":"#).unwrap();
    let (after, _) = after.split_once(r#","position""#).unwrap();
    assert_eq!(decoded(&[], &insert(after)), relaxed);
}

#[test]
fn a_rename_is_one_event_and_a_record_for_each_topic() {
    let rename = command(r#"{"renameCollection": "shop.a", "to": "crm.b c", "stayTemp": false}"#);
    let events = decoded(&[], &rename);
    assert_eq!(values(&events)[0]["to"], json!({ "db": "crm", "coll": "b c" }));
    let records = values(&decoded(&["--records"], &rename));
    let topics: Vec<&str> = records.iter().map(|record| record["topic"].as_str().unwrap()).collect();
    assert!(
        matches!(topics[..], ["mongo.shop.a", renamed] if renamed.starts_with("mongo.crm.b_c-")),
        "{topics:?}"
    );
    for record in &records {
        assert_eq!(record["key"], r#"{"command":"rename"}"#);
        assert_eq!(record["value"], events.trim_end());
    }
    let into_hiding = command(r#"{"renameCollection": "shop.a", "to": "shop.system.a"}"#);
    assert_eq!(values(&decoded(&["--records"], &into_hiding))[0]["topic"], "mongo.shop.a");
}

#[test]
fn commands_on_a_database_have_a_topic_of_their_own() {
    let records = values(&decoded(&["--records", "--prefix", "x"], &command(r#"{"dropDatabase": 1}"#)));
    assert_eq!(records.len(), 1);
    assert_eq!(
        (&records[0]["topic"], &records[0]["key"]),
        (&json!("x._commands"), &json!(r#"{"command":"dropDatabase"}"#))
    );
}

#[test]
fn commands_in_the_mongodb_formats_go_where_mongodbs_connector_has_them() {
    let commands = [
        command(r#"{"renameCollection": "shop.a", "to": "crm.b", "stayTemp": false}"#),
        command(r#"{"create": "a"}"#),
        command(r#"{"drop": "a"}"#),
        command(r#"{"dropDatabase": 1}"#),
    ]
    .join("\n");
    let places = |flags: &[&str]| -> Vec<(String, String)> {
        let records = values(&decoded(&[&["--records", "--format", "mongodb"], flags].concat(), &commands));
        let place = |record: &Value| {
            let [key, value] = ["key", "value"]
                .map(|part| serde_json::from_str::<Value>(record[part].as_str().unwrap()).unwrap());
            assert_eq!(key, json!({ "_id": value["_id"] }));
            (
                record["topic"].as_str().unwrap().to_owned(),
                value["operationType"].as_str().unwrap().to_owned(),
            )
        };
        records.iter().map(place).collect()
    };
    let place = |topic: &str, op: &str| (topic.to_owned(), op.to_owned());
    let expanded = [
        place("mongo.shop.a", "rename"),
        place("mongo.shop.a", "create"),
        place("mongo.shop.a", "drop"),
        place("mongo.shop", "dropDatabase"),
    ];
    assert_eq!(places(&["--expanded-events"]), expanded);
    let shown: Vec<_> = expanded.into_iter().filter(|(_, op)| op != "create").collect();
    assert_eq!(places(&[]), shown);
}

#[test]
fn what_is_not_published_leaves_no_line() {
    let lines = [
        entry(r#""op": "n", "ns": "", "o": {"msg": "periodic noop"}"#),
        entry(r#""op": "i", "ns": "admin.system.users", "o": {"_id": 1}"#),
        entry(r#""op": "i", "ns": "shop.system.js", "o": {"_id": 1}"#),
        entry(r#""op": "i", "ns": "shop.tmp.agg_out.1", "o": {"_id": 1}"#),
        entry(
            r#""op": "c", "ns": "admin.$cmd", "o": {"applyOps": [{"op": "i", "ns": "shop.a", "o": {"_id": 1}}], "partialTxn": true}"#,
        ),
    ];
    assert_eq!(decoded(&[], &lines.join("\n")), "");
    assert_eq!(decoded(&["--records"], "\n\n"), "");
    assert_eq!(decoded(&[], ""), "");
}

#[test]
fn events_come_before_the_end_of_the_input() {
    let mut child = start(&[]);
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut expected = JSON.lines();
    for entry in ENTRIES.lines().take(3) {
        writeln!(stdin, "{entry}").unwrap();
        let mut event = String::new();
        stdout.read_line(&mut event).unwrap();
        assert_eq!(Some(event.trim_end()), expected.next());
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_reader_that_has_seen_enough_ends_it_quietly() {
    let mut child = start(&[]);
    let mut stdin = child.stdin.take().unwrap();
    let mut first = String::new();
    {
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdin.write_all(ENTRIES.as_bytes()).unwrap();
        stdout.read_line(&mut first).unwrap();
    }
    // Goes on until nobody reads any more.
    while stdin.write_all(ENTRIES.as_bytes()).is_ok() {}
    let mut complaints = String::new();
    child.stderr.take().unwrap().read_to_string(&mut complaints).unwrap();
    assert_eq!((child.wait().unwrap().code(), complaints.as_str()), (Some(0), ""));
    assert_eq!(Some(first.trim_end()), JSON.lines().next());
}

#[test]
fn bad_usage_is_refused_before_anything_is_read() {
    for (flags, reason) in [
        (&["--format", "xml"][..], "possible values"),
        (&["--prefix", "a b"], "--prefix: ` ` can't be part of a topic"),
        (&["--prefix", ""], "--prefix: the prefix is empty"),
        (&["oplog.jsonl"], "unexpected argument"),
    ] {
        let outcome = decode(flags, ENTRIES);
        assert_eq!((outcome.code, outcome.out.as_str()), (Some(2), ""), "{flags:?}");
        assert!(outcome.err.contains(reason), "{}", outcome.err);
    }
}
