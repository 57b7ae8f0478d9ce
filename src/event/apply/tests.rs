//! Documents, deltas, and what becomes of them.

use bson::{Document, doc};

use super::*;
use crate::bson::DEPTH_MAX;
use crate::bson::extjson::{Mode, parse, write_doc};
use Strictness::{Lenient, Strict};

/// The post-image as canonical text, or the error's.
fn text(before: &str, delta: &Delta<'_>, mode: Strictness) -> Result<String, String> {
    let before = parse(before).unwrap();
    let mut out = b"before".to_vec();
    let applied = apply(RawDoc::new(&before).unwrap(), delta, mode, &mut out);
    assert!(out.starts_with(b"before"));
    if let Err(error) = applied {
        assert_eq!(out, b"before", "half a document is left behind");
        return Err(error.to_string());
    }
    let mut text = Vec::new();
    write_doc(&mut text, RawDoc::new(&out[6..]).unwrap(), Mode::Relaxed).unwrap();
    Ok(String::from_utf8(text).unwrap())
}

fn of_diff(before: &str, diff: &str, mode: Strictness) -> Result<String, String> {
    let diff = parse(diff).expect(diff);
    text(before, &Delta::Diff(RawDoc::new(&diff).unwrap()), mode)
}

/// `$set` and `$unset`.
fn of_modifiers(before: &str, [set, unset]: [&str; 2], mode: Strictness) -> Result<String, String> {
    let (set, unset) = (parse(set).expect(set), parse(unset).expect(unset));
    let part = |bytes| Some(RawDoc::new(bytes).unwrap()).filter(|part| !part.is_empty());
    text(before, &Delta::Modifiers { set: part(&set), unset: part(&unset) }, mode)
}

#[test]
fn a_diff_gives_the_post_image_with_the_servers_order_of_fields() {
    for (before, diff, after) in [
        (r#"{"_id":1,"a":1,"b":2,"c":3}"#, r#"{"d":{"a":false},"u":{"b":5}}"#, r#"{"_id":1,"b":5,"c":3}"#),
        (r#"{"a":1,"b":2}"#, r#"{"i":{"d":4,"c":3}}"#, r#"{"a":1,"b":2,"d":4,"c":3}"#),
        // Inserted though it is there: it goes to the end.
        (r#"{"a":1,"b":2,"c":3}"#, r#"{"u":{"c":4},"i":{"a":5}}"#, r#"{"b":2,"c":4,"a":5}"#),
        (
            r#"{"o":{"x":{"y":1,"z":2}},"p":1}"#,
            r#"{"so":{"i":{"w":[]},"sx":{"d":{"y":false}}}}"#,
            r#"{"o":{"x":{"z":2},"w":[]},"p":1}"#,
        ),
        // Empty names, and names like sections.
        (
            r#"{"":{"":1},"u":2,"s":{"a":3}}"#,
            r#"{"u":{"u":4},"s":{"u":{"":5}},"ss":{"d":{"a":false}}}"#,
            r#"{"":{"":5},"u":4,"s":{}}"#,
        ),
        (r#"{"p.q":1,"$x":2}"#, r#"{"d":{"$x":false},"u":{"p.q":3},"i":{"0":4}}"#, r#"{"p.q":3,"0":4}"#),
        // Arrays: updates, padding, truncation, arrays within arrays.
        (r#"{"a":[1,2,3]}"#, r#"{"sa":{"a":true,"u1":5}}"#, r#"{"a":[1,5,3]}"#),
        (r#"{"a":[1]}"#, r#"{"sa":{"a":true,"u3":5}}"#, r#"{"a":[1,null,null,5]}"#),
        (r#"{"a":[1,2,3]}"#, r#"{"sa":{"a":true,"l":1}}"#, r#"{"a":[1]}"#),
        (r#"{"a":[1,2,3]}"#, r#"{"sa":{"a":true,"l":2,"u0":{},"u1":[]}}"#, r#"{"a":[{},[]]}"#),
        (r#"{"a":[1,2]}"#, r#"{"sa":{"a":true,"l":0}}"#, r#"{"a":[]}"#),
        (
            r#"{"a":[0,[{"b":1},2,3],4]}"#,
            r#"{"sa":{"a":true,"s1":{"a":true,"l":2,"s0":{"i":{"c":9}}},"u10":1}}"#,
            r#"{"a":[0,[{"b":1,"c":9},2],4,null,null,null,null,null,null,null,1]}"#,
        ),
        // So a pipeline is logged that leaves a document without identifier: it stays.
        (r#"{"_id":1,"a":1}"#, r#"{"d":{"_id":false},"u":{"a":2}}"#, r#"{"_id":1,"a":2}"#),
        // The pre-image as a replacement is logged; the server stores it with the identifier in front.
        (r#"{"a":1,"_id":1}"#, r#"{"u":{"a":2}}"#, r#"{"_id":1,"a":2}"#),
        // A measurement, as 5.0 logs it.
        (
            r#"{"control":{"min":{"a":1}},"data":{"a":{"0":1}}}"#,
            r#"{"scontrol":{"smin":{"u":{"a":0,"b":1}}},"sdata":{"i":{"b":{"1":1}},"sa":{"i":{"1":0}}}}"#,
            r#"{"control":{"min":{"a":0,"b":1}},"data":{"a":{"0":1,"1":0},"b":{"1":1}}}"#,
        ),
    ] {
        assert_eq!(of_diff(before, diff, Strict).unwrap(), after, "{diff}");
        assert_eq!(of_diff(before, diff, Lenient).unwrap(), after, "{diff}");
        assert_eq!(of_diff(after, diff, Lenient).unwrap(), after, "{diff} once more");
    }
}

#[test]
fn binary_data_is_new_from_its_offset_on() {
    let binary = |base64: &str, subtype| {
        format!(r#"{{"x":{{"$binary":{{"base64":"{base64}","subType":"{subtype}"}}}}}}"#)
    };
    let before = binary("AQIDBA==", "07");
    let diff = |offset| {
        format!(r#"{{"b":{{"x":{{"o":{offset},"d":{{"$binary":{{"base64":"CQk=","subType":"07"}}}}}}}}}}"#)
    };
    for (offset, after) in [(0, "CQk="), (1, "AQkJ"), (2, "AQIJCQ=="), (4, "AQIDBAkJ")] {
        assert_eq!(of_diff(&before, &diff(offset), Strict).unwrap(), binary(after, "07"));
    }
    for wrong in [5, -1] {
        assert!(of_diff(&before, &diff(wrong), Strict).is_err());
    }
    assert_eq!(of_diff(r#"{"x":1}"#, &diff(1), Lenient).unwrap(), r#"{"x":null}"#);
    assert_eq!(of_diff("{}", &diff(1), Lenient).unwrap(), "{}");
    assert!(of_diff(&before, r#"{"b":{"x":{"o":1}}}"#, Lenient).is_err());
}

#[test]
fn modifiers_give_the_post_image_with_the_servers_order_of_fields() {
    for (before, modifiers, after) in [
        (r#"{"a":1,"b":2}"#, [r#"{"b":3,"c":4}"#, r#"{"a":true}"#], r#"{"b":3,"c":4}"#),
        // What is missing is made of documents; what is new is appended in the order of the log.
        (r#"{"z":1}"#, [r#"{"a.0.b":1,"a.0.c":2,"y":3}"#, "{}"], r#"{"z":1,"a":{"0":{"b":1,"c":2}},"y":3}"#),
        (r#"{"a":{}}"#, [r#"{"a.10":1,"a.2":2}"#, "{}"], r#"{"a":{"10":1,"2":2}}"#),
        // A client's own order is none; then the server sorts, numbers as numbers.
        ("{}", [r#"{"b":1,"a.10":2,"a.2":3,"a.%":4}"#, "{}"], r#"{"a":{"%":4,"2":3,"10":2},"b":1}"#),
        // A number is an index in an array and a name in a document.
        (r#"{"a":[1,2],"b":{"1":2}}"#, [r#"{"a.1":5,"b.1":6}"#, "{}"], r#"{"a":[1,5],"b":{"1":6}}"#),
        (r#"{"a":[1]}"#, [r#"{"a.2.b":3}"#, "{}"], r#"{"a":[1,null,{"b":3}]}"#),
        (r#"{"a":[1,{"b":[2,3]}]}"#, [r#"{"a.1.b.0":4,"a.1.c":5}"#, "{}"], r#"{"a":[1,{"b":[4,3],"c":5}]}"#),
        (r#"{"a":[1,2,3]}"#, ["{}", r#"{"a.1":true}"#], r#"{"a":[1,null,3]}"#),
        (
            r#"{"a":[1,{"b":2}]}"#,
            [r#"{"a.10":1,"a.2":4}"#, r#"{"a.1.b":true}"#],
            r#"{"a":[1,{},4,null,null,null,null,null,null,null,1]}"#,
        ),
        // Two names for one element.
        (r#"{"a":[1,2,3]}"#, [r#"{"a.01":4,"a.1":5}"#, "{}"], r#"{"a":[1,5,3]}"#),
        (r#"{"a":[1,2,3]}"#, [r#"{"a.01":4}"#, r#"{"a.1":true}"#], r#"{"a":[1,null,3]}"#),
        (r#"{"a":[1,2,3]}"#, [r#"{"a.1":4}"#, r#"{"a.01":true}"#], r#"{"a":[1,4,3]}"#),
        // Of two fields of one name the first one.
        (r#"{"a":1,"a":2}"#, [r#"{"a":3}"#, "{}"], r#"{"a":3,"a":2}"#),
        (r#"{"b":1,"_id":2}"#, [r#"{"b":3}"#, "{}"], r#"{"_id":2,"b":3}"#),
        (r#"{"a b":1,"a":{"c":2}}"#, [r#"{"a.c":3,"a b":4}"#, "{}"], r#"{"a b":4,"a":{"c":3}}"#),
    ] {
        assert_eq!(of_modifiers(before, modifiers, Strict).unwrap(), after, "{modifiers:?}");
        assert_eq!(of_modifiers(before, modifiers, Lenient).unwrap(), after, "{modifiers:?}");
    }
}

#[test]
fn what_does_not_fit_is_an_error_that_names_the_path_and_no_value() {
    for (before, diff, error) in [
        (r#"{"b":"secret"}"#, r#"{"d":{"a":false}}"#, "`a` is not there"),
        (r#"{"b":"secret"}"#, r#"{"u":{"a":1}}"#, "`a` is not there"),
        (r#"{"b":"secret"}"#, r#"{"sb":{"u":{"c":1}}}"#, "`b` has another type"),
        (r#"{"b":["secret"]}"#, r#"{"sb":{"u":{"c":1}}}"#, "`b` has another type"),
        (r#"{"b":{"c":{}}}"#, r#"{"sb":{"sc":{"d":{"x.y":false}}}}"#, "`b.c.x.y` is not there"),
        (r#"{"b":[{}]}"#, r#"{"sb":{"a":true,"s0":{"sx":{"u":{"c":1}}}}}"#, "`b.0.x` is not there"),
        (r#"{"b":["secret"]}"#, r#"{"sb":{"a":true,"s0":{"u":{"c":1}}}}"#, "`b.0` has another type"),
        (r#"{"b":[1]}"#, r#"{"sb":{"a":true,"s3":{"u":{"c":1}}}}"#, "`b.3` is not there"),
        (r#"{"b":[1]}"#, r#"{"sb":{"a":true,"l":3}}"#, "`b.1` is not there"),
        (r#"{"a":1,"a":2}"#, r#"{"u":{"a":3}}"#, "`a` is there twice"),
        (
            r#"{"x":"secret"}"#,
            r#"{"b":{"x":{"o":0,"d":{"$binary":{"base64":"CQk=","subType":"07"}}}}}"#,
            "`x` has another type",
        ),
    ] {
        assert_eq!(
            of_diff(before, diff, Strict).unwrap_err(),
            format!("the update does not fit the document: {error}")
        );
    }
    for (before, modifiers, error) in [
        (r#"{"b":1}"#, ["{}", r#"{"a":true}"#], "`a` is not there"),
        (r#"{"b":{"c":[1]}}"#, ["{}", r#"{"b.c.1":true}"#], "`b.c.1` is not there"),
        (r#"{"b":"secret"}"#, [r#"{"b.c":1}"#, "{}"], "`b` has another type"),
        (r#"{"b":[[1]]}"#, [r#"{"b.0.c":1}"#, "{}"], "`b.0.c` is a name, but in an array"),
        (r#"{"b":[1]}"#, [r#"{"b.3":1}"#, r#"{"b.2.c":true}"#], "`b.2` is not there"),
    ] {
        assert_eq!(
            of_modifiers(before, modifiers, Strict).unwrap_err(),
            format!("the update does not fit the document: {error}")
        );
    }
}

#[test]
fn lenient_is_what_a_server_does_that_replays_its_oplog() {
    for (before, diff, after) in [
        (r#"{"b":1}"#, r#"{"d":{"a":false},"u":{"c":2},"i":{"b":3}}"#, r#"{"c":2,"b":3}"#),
        (r#"{"b":1,"c":2}"#, r#"{"sb":{"u":{"c":1}}}"#, r#"{"b":null,"c":2}"#),
        (r#"{"b":{"x":1}}"#, r#"{"sb":{"a":true,"u0":1}}"#, r#"{"b":null}"#),
        ("{}", r#"{"sb":{"u":{"c":1}}}"#, "{}"),
        (
            r#"{"b":[1,2]}"#,
            r#"{"sb":{"a":true,"s1":{"u":{"c":1}},"s3":{"u":{"c":1}}}}"#,
            r#"{"b":[1,null,null,null]}"#,
        ),
        (r#"{"b":[1]}"#, r#"{"sb":{"a":true,"l":3}}"#, r#"{"b":[1,null,null]}"#),
        (r#"{"a":1,"a":2}"#, r#"{"u":{"a":3}}"#, r#"{"a":3,"a":3}"#),
    ] {
        assert_eq!(of_diff(before, diff, Lenient).unwrap(), after, "{diff}");
    }
    for (before, modifiers, after) in [
        (r#"{"b":1}"#, [r#"{"b.c":1,"d":2}"#, r#"{"a":true,"x.y":true}"#], r#"{"b":1,"d":2}"#),
        (r#"{"b":[1]}"#, [r#"{"b.c":1}"#, "{}"], r#"{"b":[1]}"#),
        (r#"{"b":[1]}"#, ["{}", r#"{"b.5":true}"#], r#"{"b":[1]}"#),
        (r#"{"b":[1]}"#, [r#"{"b.3":4}"#, r#"{"b.2.c":true,"b.1":true}"#], r#"{"b":[1,null,null,4]}"#),
        // The element at 2 is there as null when its turn comes; the one at 3 is not yet.
        (
            r#"{"b":[]}"#,
            [r#"{"b.10":1,"b.2.c":2}"#, "{}"],
            r#"{"b":[null,null,null,null,null,null,null,null,null,null,1]}"#,
        ),
        (r#"{"b":[]}"#, [r#"{"b.3.c":1,"b.4":2}"#, "{}"], r#"{"b":[null,null,null,{"c":1},2]}"#),
    ] {
        assert_eq!(of_modifiers(before, modifiers, Lenient).unwrap(), after, "{modifiers:?}");
    }
}

#[test]
fn what_no_server_writes_is_refused_and_leaves_nothing_behind() {
    for diff in [
        "{}",
        r#"{"x":{}}"#,
        r#"{"u":{"a":1},"d":{"b":false}}"#,
        r#"{"u":{"a":1,"a":2}}"#,
        r#"{"u":{"a":1},"i":{"a":2}}"#,
        r#"{"i":{"a":1},"sa":{"u":{"b":2}}}"#,
        r#"{"sa":{"a":false}}"#,
        r#"{"sb":{"a":true,"l":-1}}"#,
        r#"{"sb":{"a":true,"u1":1,"u0":1}}"#,
        r#"{"sb":{"a":true,"u1":1,"s1":{"u":{"c":1}}}}"#,
        r#"{"sb":{"a":true,"l":1,"u1":1}}"#,
        r#"{"sb":{"a":true,"u99999999999999999999":1}}"#,
        r#"{"sa":{}}"#,
    ] {
        assert!(of_diff(r#"{"a":{},"b":[1,2]}"#, diff, Lenient).is_err(), "{diff}");
    }
    for modifiers in [
        [r#"{"a":1,"a.b":2}"#, "{}"],
        [r#"{"a":1,"a":2}"#, "{}"],
        [r#"{"a":1}"#, r#"{"a":true}"#],
        [r#"{"b.01":1,"b.1.x":2}"#, "{}"],
    ] {
        assert!(of_modifiers(r#"{"a":{},"b":[1,2]}"#, modifiers, Lenient).is_err(), "{modifiers:?}");
    }
}

#[test]
fn nothing_grows_beyond_what_a_server_stores() {
    for diff in [r#"{"sa":{"a":true,"u1000000000":1}}"#, r#"{"sa":{"a":true,"l":1000000000}}"#] {
        assert!(of_diff(r#"{"a":[]}"#, diff, Lenient).unwrap_err().contains("larger than any"));
    }
    let far = [r#"{"a.1000000000":1}"#, "{}"];
    assert!(of_modifiers(r#"{"a":[]}"#, far, Lenient).unwrap_err().contains("larger than any"));
    // AND a document may be as large as that, before and afterwards
    let with = |size| doc! { "a": "x".repeat(size) }.to_vec().unwrap();
    let diff = doc! { "u": { "a": "y".repeat(SIZE_MAX - 13) } }.to_vec().unwrap();
    let delta = Delta::Diff(RawDoc::new(&diff).unwrap());
    let mut out = Vec::new();
    let before = with(SIZE_MAX - 13);
    apply(RawDoc::new(&before).unwrap(), &delta, Strict, &mut out).unwrap();
    assert_eq!(out.len(), SIZE_MAX);
    let before = doc! { "a": 1, "b": 2 }.to_vec().unwrap();
    assert!(apply(RawDoc::new(&before).unwrap(), &delta, Strict, &mut Vec::new()).is_err());
    let before = with(SIZE_MAX - 12);
    assert!(apply(RawDoc::new(&before).unwrap(), &delta, Strict, &mut Vec::new()).is_err());
}

#[test]
fn it_goes_as_deep_as_a_reader_and_no_deeper() {
    let deepest = move || {
        for (depth, fits) in [(DEPTH_MAX - 1, true), (DEPTH_MAX + 1, false)] {
            let (before, diff) =
                (nested(depth, "a", doc! { "x": 1 }), nested(depth, "sa", doc! { "u": { "x": 2 } }));
            let delta = Delta::Diff(RawDoc::new(&diff).unwrap());
            let applied = apply(RawDoc::new(&before).unwrap(), &delta, Strict, &mut Vec::new());
            assert_eq!(applied.is_ok(), fits, "{depth}");
            let set = doc! { "a.".repeat(depth) + "x": 2 }.to_vec().unwrap();
            let delta = Delta::Modifiers { set: Some(RawDoc::new(&set).unwrap()), unset: None };
            let mut out = Vec::new();
            assert_eq!(apply(RawDoc::EMPTY, &delta, Strict, &mut out).is_ok(), fits, "{depth}");
            assert!(!fits || out == nested(depth, "a", doc! { "x": 2 }));
        }
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(deepest).unwrap().join().unwrap();
}

fn nested(depth: usize, name: &str, content: Document) -> Vec<u8> {
    (0..depth).fold(content, |below, _| doc! { name: below }).to_vec().unwrap()
}
