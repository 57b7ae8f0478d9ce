//! Cases by hand: what a reader would want to know, one line each. Chance looks for the rest (`tests/query`).

use super::{Filter, FilterErrorKind, MatchError};
use crate::bson::RawDoc;
use crate::bson::extjson::parse;

fn matches(filter: &str, doc: &str) -> Result<bool, MatchError> {
    let doc = parse(doc).expect(doc);
    Filter::parse_json(filter).expect(filter).matches(RawDoc::new(&doc).unwrap())
}

/// A filter, documents that match, and documents that don't.
type Case = (&'static str, &'static [&'static str], &'static [&'static str]);

fn check(cases: &[Case]) {
    for (filter, yes, no) in cases {
        for doc in *yes {
            assert_eq!(matches(filter, doc), Ok(true), "{filter} finds {doc}");
        }
        for doc in *no {
            assert_eq!(matches(filter, doc), Ok(false), "{filter} does not find {doc}");
        }
    }
}

#[test]
fn equality_is_by_value_and_order() {
    check(&[
        (
            r#"{"a":1}"#,
            &[r#"{"a":1.0}"#, r#"{"a":{"$numberDecimal":"1.00"}}"#, r#"{"a":[2,1]}"#],
            &[r#"{"a":"1"}"#, "{}", r#"{"a":[[1]]}"#],
        ),
        (r#"{"a":{"$numberLong":"9007199254740993"}}"#, &[], &[r#"{"a":9007199254740992.0}"#]),
        (r#"{"a":0.0}"#, &[r#"{"a":-0.0}"#], &[]),
        (r#"{"a":{"$numberDouble":"NaN"}}"#, &[r#"{"a":{"$numberDecimal":"NaN"}}"#], &[r#"{"a":0}"#]),
        (
            r#"{"a":{"b":1,"c":2}}"#,
            &[r#"{"a":{"b":1.0,"c":2}}"#],
            &[r#"{"a":{"c":2,"b":1}}"#, r#"{"a":{"b":1,"c":2,"d":3}}"#],
        ),
        (r#"{"a":[1,2]}"#, &[r#"{"a":[1,2]}"#, r#"{"a":[[1,2],3]}"#], &[r#"{"a":[2,1]}"#]),
        (
            r#"{"a":{"$ref":"c","$id":1}}"#,
            &[r#"{"a":{"$ref":"c","$id":1.0}}"#],
            &[r#"{"a":{"$ref":"c","$id":1,"$db":"d"}}"#],
        ),
        (r#"{"a":"x"}"#, &[r#"{"a":{"$symbol":"x"}}"#], &[r#"{"a":{"$code":"x"}}"#]),
        (r#"{"a":{"$ne":1}}"#, &["{}", r#"{"a":2}"#], &[r#"{"a":[1,2]}"#]),
    ]);
}

#[test]
fn null_is_found_where_a_field_is_missing() {
    check(&[
        (
            r#"{"a":null}"#,
            &["{}", r#"{"a":null}"#, r#"{"a":{"$undefined":true}}"#, r#"{"a":[1,null]}"#],
            &[r#"{"a":[]}"#, r#"{"a":0}"#],
        ),
        (
            r#"{"a.b":null}"#,
            &["{}", r#"{"a":5}"#, r#"{"a":{}}"#, r#"{"a":[{"c":1},5]}"#],
            &[r#"{"a":[5]}"#, r#"{"a":[]}"#],
        ),
        (r#"{"a":{"$exists":false}}"#, &["{}"], &[r#"{"a":null}"#]),
        (r#"{"a":{"$gte":null}}"#, &["{}", r#"{"a":null}"#], &[r#"{"a":1}"#]),
        (r#"{"a":{"$gt":null}}"#, &[], &["{}", r#"{"a":1}"#]),
        (r#"{"a":{"$in":[null,7]}}"#, &["{}", r#"{"a":7}"#], &[r#"{"a":1}"#]),
    ]);
}

#[test]
fn only_values_of_one_class_are_ordered_but_for_the_ends_of_the_order() {
    check(&[
        (
            r#"{"a":{"$lt":5}}"#,
            &[r#"{"a":4}"#, r#"{"a":[9,4]}"#],
            &[r#"{"a":"x"}"#, r#"{"a":null}"#, "{}", r#"{"a":{"$numberDouble":"NaN"}}"#],
        ),
        (r#"{"a":{"$gt":3,"$lt":5}}"#, &[r#"{"a":[1,9]}"#], &[r#"{"a":[1,2]}"#]),
        (
            r#"{"a":{"$gt":{"$date":{"$numberLong":"0"}}}}"#,
            &[r#"{"a":{"$date":{"$numberLong":"1"}}}"#],
            &[r#"{"a":{"$timestamp":{"t":9,"i":9}}}"#],
        ),
        (r#"{"a":{"$gte":{"$minKey":1}}}"#, &["{}", r#"{"a":1}"#], &[]),
        (r#"{"a":{"$lt":{"$maxKey":1}}}"#, &["{}", r#"{"a":"x"}"#], &[r#"{"a":{"$maxKey":1}}"#]),
        (r#"{"a":{"$gte":{"b":2}}}"#, &[r#"{"a":{"b":2}}"#, r#"{"a":{"c":0}}"#], &[r#"{"a":{"b":1,"c":9}}"#]),
    ]);
}

#[test]
fn paths_go_through_one_array_at_a_time() {
    check(&[
        (
            r#"{"a.b":1}"#,
            &[r#"{"a":{"b":1}}"#, r#"{"a":[{"b":0},{"b":[2,1]}]}"#],
            &[r#"{"a":[[{"b":1}]]}"#, r#"{"a.b":1}"#],
        ),
        (
            r#"{"a.0":1}"#,
            &[r#"{"a":[1]}"#, r#"{"a":{"0":1}}"#, r#"{"a":[{"0":1}]}"#],
            &[r#"{"a":[[1]]}"#, r#"{"a":[0,1]}"#],
        ),
        (r#"{"a.0.b":1}"#, &[r#"{"a":[{"b":1}]}"#, r#"{"a":[[{"b":1}]]}"#], &[r#"{"a":[{},{"b":1}]}"#]),
        (r#"{"a.00":1}"#, &[r#"{"a":{"00":1}}"#], &[r#"{"a":[1]}"#]),
        (r#"{"a..b":1}"#, &[r#"{"a":{"":{"b":1}}}"#], &[r#"{"a":{"b":1}}"#]),
        (r#"{"":1}"#, &[r#"{"":1}"#], &["{}"]),
    ]);
}

#[test]
fn operators_on_arrays() {
    check(&[
        (r#"{"a":{"$size":2}}"#, &[r#"{"a":[1,[]]}"#], &[r#"{"a":[[1,2]]}"#, r#"{"a":2}"#]),
        (r#"{"a":{"$elemMatch":{"$gt":3,"$lt":5}}}"#, &[r#"{"a":[1,4]}"#], &[r#"{"a":[1,9]}"#, r#"{"a":4}"#]),
        (
            r#"{"a":{"$elemMatch":{"b":1,"c":2}}}"#,
            &[r#"{"a":[{"b":1,"c":2}]}"#],
            &[r#"{"a":[{"b":1},{"c":2}]}"#, r#"{"a":{"b":1,"c":2}}"#],
        ),
        (
            r#"{"a":{"$elemMatch":{"$or":[{"b":1},{"b":2}]}}}"#,
            &[r#"{"a":[{"b":2}]}"#],
            &[r#"{"a":[{"b":3}]}"#],
        ),
        (r#"{"a":{"$elemMatch":{"0":1}}}"#, &[r#"{"a":[[1]]}"#], &[r#"{"a":[1]}"#]),
        (r#"{"a":{"$all":[1,2]}}"#, &[r#"{"a":[2,1,0]}"#], &[r#"{"a":[1]}"#]),
        (r#"{"a":{"$all":[1]}}"#, &[r#"{"a":1}"#], &[]),
        (r#"{"a":{"$all":[]}}"#, &[], &[r#"{"a":[]}"#, "{}"]),
        (
            r#"{"a":{"$all":[{"$elemMatch":{"$gt":1}},{"$elemMatch":{"$lt":0}}]}}"#,
            &[r#"{"a":[2,-1]}"#],
            &[r#"{"a":[2]}"#],
        ),
        (
            r#"{"a":{"$all":[{"$regularExpression":{"pattern":"^x","options":""}}]}}"#,
            &[r#"{"a":["xy"]}"#],
            &[r#"{"a":["y"]}"#],
        ),
        (r#"{"a":{"$in":[]}}"#, &[], &["{}", r#"{"a":[]}"#]),
        (r#"{"a":{"$nin":[1,2]}}"#, &["{}", r#"{"a":3}"#], &[r#"{"a":[3,2]}"#]),
        (r#"{"a":{"$not":{"$gt":1}}}"#, &["{}", r#"{"a":"x"}"#, r#"{"a":[0]}"#], &[r#"{"a":[0,2]}"#]),
        (r#"{"a":{"$type":"array"}}"#, &[r#"{"a":[]}"#], &[r#"{"a":{}}"#]),
        (r#"{"a":{"$type":["number",2]}}"#, &[r#"{"a":1}"#, r#"{"a":["x"]}"#], &[r#"{"a":true}"#, "{}"]),
        (r#"{"a":{"$type":-1}}"#, &[r#"{"a":{"$minKey":1}}"#], &[r#"{"a":{"$maxKey":1}}"#]),
    ]);
}

#[test]
fn numbers_and_bits() {
    check(&[
        (
            r#"{"a":{"$mod":[2,0]}}"#,
            &[r#"{"a":4.9}"#, r#"{"a":{"$numberDecimal":"4.2"}}"#, r#"{"a":-2}"#],
            &[r#"{"a":3}"#, r#"{"a":"2"}"#, r#"{"a":{"$numberDouble":"NaN"}}"#],
        ),
        (r#"{"a":{"$mod":[4.9,-1.5]}}"#, &[r#"{"a":-5}"#], &[r#"{"a":3}"#]),
        (r#"{"a":{"$mod":[-1,0]}}"#, &[r#"{"a":{"$numberLong":"-9223372036854775808"}}"#], &[]),
        (
            r#"{"a":{"$bitsAllSet":5}}"#,
            &[r#"{"a":7}"#, r#"{"a":5.0}"#, r#"{"a":{"$binary":{"base64":"Bw==","subType":"00"}}}"#],
            &[r#"{"a":4}"#, r#"{"a":5.5}"#, r#"{"a":"x"}"#],
        ),
        (r#"{"a":{"$bitsAnySet":[0,200]}}"#, &[r#"{"a":-2}"#, r#"{"a":1}"#], &[r#"{"a":2}"#]),
        (
            r#"{"a":{"$bitsAllClear":[9]}}"#,
            &[r#"{"a":{"$binary":{"base64":"/w==","subType":"00"}}}"#],
            &[r#"{"a":512}"#],
        ),
        (
            r#"{"a":{"$bitsAnyClear":{"$binary":{"base64":"Aw==","subType":"00"}}}}"#,
            &[r#"{"a":2}"#],
            &[r#"{"a":3}"#],
        ),
    ]);
}

#[test]
fn regular_expressions_are_the_servers() {
    check(&[
        (
            r#"{"a":{"$regex":"^b","$options":"m"}}"#,
            &[r#"{"a":"a\nb"}"#, r#"{"a":["x","b"]}"#, r#"{"a":{"$symbol":"b"}}"#],
            &[r#"{"a":"ab"}"#, r#"{"a":1}"#],
        ),
        (
            r#"{"a":{"$regularExpression":{"pattern":"(?<=x)y|(z)\\1","options":"i"}}}"#,
            &[r#"{"a":"XY"}"#, r#"{"a":"zZ"}"#],
            &[r#"{"a":"y"}"#],
        ),
        (r#"{"a":{"$regex":"^.$"}}"#, &[r#"{"a":"é"}"#], &[r#"{"a":"ab"}"#]),
        (r#"{"a":{"$options":"s","$regex":"^.$"}}"#, &[r#"{"a":"\n"}"#], &[]),
        (
            r#"{"a":{"$eq":{"$regularExpression":{"pattern":"x","options":""}}}}"#,
            &[r#"{"a":{"$regularExpression":{"pattern":"x","options":""}}}"#],
            &[r#"{"a":"x"}"#],
        ),
        (
            r#"{"a":{"$regularExpression":{"pattern":"x","options":""}}}"#,
            &[r#"{"a":{"$regularExpression":{"pattern":"x","options":""}}}"#],
            &[r#"{"a":{"$regularExpression":{"pattern":"x","options":"i"}}}"#],
        ),
        (
            r#"{"a":{"$in":["q",{"$regularExpression":{"pattern":"^x","options":""}}]}}"#,
            &[r#"{"a":"xy"}"#, r#"{"a":"q"}"#],
            &[r#"{"a":"qx"}"#],
        ),
    ]);
    let long = format!(r#"{{"a":"{}"}}"#, "a".repeat(40));
    assert!(matches!(matches(r#"{"a":{"$regex":"^(a+)+$(?<!a)"}}"#, &long), Err(MatchError::Regex(_))));
}

#[test]
fn a_string_that_is_not_utf8_is_not_searched() {
    let mut doc = parse(r#"{"a":"xy"}"#).unwrap();
    let at = doc.iter().position(|byte| *byte == b'y').unwrap();
    doc[at] = 0xff;
    let doc = RawDoc::new(&doc).unwrap();
    assert_eq!(Filter::parse_json(r#"{"a":{"$regex":"x"}}"#).unwrap().matches(doc), Ok(false));
    assert_eq!(Filter::parse_json(r#"{"a":{"$gt":"x"}}"#).unwrap().matches(doc), Ok(true));
}

#[test]
fn expressions_have_rules_of_their_own() {
    check(&[
        (r#"{"$expr":{"$gt":["$a",5]}}"#, &[r#"{"a":"x"}"#, r#"{"a":[]}"#], &["{}", r#"{"a":5}"#]),
        (r#"{"$expr":{"$eq":["$a",null]}}"#, &[r#"{"a":null}"#], &["{}"]),
        (
            r#"{"$expr":{"$eq":["$a.b",[1,2]]}}"#,
            &[r#"{"a":[{"b":1},5,{"c":0},{"b":2}]}"#],
            &[r#"{"a":{"b":1}}"#],
        ),
        (r#"{"$expr":{"$eq":["$a.0",[]]}}"#, &[r#"{"a":[1]}"#], &[]),
        (r#"{"$expr":{"$in":["$a",[1,2]]}}"#, &[r#"{"a":2.0}"#], &[r#"{"a":[1]}"#]),
        (
            r#"{"$expr":{"$lt":[{"$add":["$a","$b"]},{"$numberDecimal":"0.31"}]}}"#,
            &[r#"{"a":0.1,"b":0.2}"#, r#"{"a":null,"b":1}"#],
            &[r#"{"a":1,"b":0.2}"#],
        ),
        (
            r#"{"$expr":{"$eq":[{"$type":{"$add":["$a",1]}},"long"]}}"#,
            &[r#"{"a":2147483647}"#],
            &[r#"{"a":1}"#],
        ),
        (
            r#"{"$expr":{"$switch":{"branches":[{"case":"$a","then":"$b"}],"default":false}}}"#,
            &[r#"{"a":1,"b":1}"#],
            &[r#"{"a":0,"b":1}"#],
        ),
        (
            r#"{"$expr":{"$eq":[{"$reduce":{"input":"$a","initialValue":0,"in":{"$add":["$$value","$$this"]}}},6]}}"#,
            &[r#"{"a":[1,2,3]}"#],
            &[r#"{"a":null}"#],
        ),
        (
            r#"{"$expr":{"$eq":[{"$map":{"input":{"$filter":{"input":"$a","as":"x","cond":{"$gt":["$$x",1]}}},"in":{"$multiply":["$$this",2]}}},[4,6]]}}"#,
            &[r#"{"a":[1,2,3]}"#],
            &[],
        ),
        (
            r#"{"$expr":{"$let":{"vars":{"x":"$a"},"in":{"$let":{"vars":{"x":1,"y":"$$x"},"in":{"$eq":["$$y","$$ROOT.a"]}}}}}}"#,
            &[r#"{"a":7}"#],
            &[],
        ),
        (r#"{"$expr":{"$let":{"vars":{"CURRENT":"$a"},"in":"$b"}}}"#, &[r#"{"a":{"b":1}}"#], &[r#"{"b":1}"#]),
        (
            r#"{"$expr":{"$eq":[{"$isoWeek":{"date":"$a","timezone":"+01:00"}},1]}}"#,
            &[r#"{"a":{"$date":"2023-01-01T23:00:00Z"}}"#],
            &[r#"{"a":{"$date":"2023-01-01T22:59:59Z"}}"#],
        ),
        (r#"{"$expr":{"$or":[{"$divide":[1,"$a"]},true]}}"#, &[r#"{"a":0}"#], &[]),
    ]);
    assert!(matches!(
        matches(r#"{"$expr":{"$divide":[1,"$a"]}}"#, r#"{"a":0}"#),
        Err(MatchError::Expression(_))
    ));
    assert!(matches!(
        matches(r#"{"$expr":{"$sqrt":"$a"}}"#, r#"{"a":{"$numberDecimal":"2"}}"#),
        Err(MatchError::Unsupported(_))
    ));
}

#[test]
fn logic_and_odd_operators() {
    check(&[
        ("{}", &["{}", r#"{"a":1}"#], &[]),
        (r#"{"a":1,"b":2}"#, &[r#"{"b":2,"a":1}"#], &[r#"{"a":1}"#]),
        (r#"{"a":{"$gt":0},"a":{"$lt":2}}"#, &[r#"{"a":1}"#], &[r#"{"a":3}"#]),
        (r#"{"$nor":[{"a":1},{"b":1}]}"#, &["{}"], &[r#"{"b":1}"#]),
        (r#"{"$and":[{"$or":[{"a":1},{"b":1}]},{"c":1}]}"#, &[r#"{"b":1,"c":1}"#], &[r#"{"b":1}"#]),
        (r#"{"$comment":["any"],"$alwaysTrue":1.0}"#, &["{}"], &[]),
        (r#"{"$alwaysFalse":1}"#, &[], &["{}"]),
        (r#"{"a":{"$exists":0}}"#, &["{}"], &[r#"{"a":1}"#]),
    ]);
}

#[test]
fn a_duplicate_name_counts_once_and_more_names_than_are_remembered_are_found() {
    check(&[(r#"{"a":1}"#, &[r#"{"a":1,"a":2}"#], &[r#"{"a":2,"a":1}"#])]);
    let names: Vec<String> = (0..20).map(|number| format!(r#""f{number}":{number}"#)).collect();
    let forwards = format!("{{{}}}", names.join(","));
    let backwards = format!("{{{}}}", names.iter().rev().cloned().collect::<Vec<_>>().join(","));
    assert_eq!(matches(&forwards, &backwards), Ok(true));
    assert_eq!(matches(&forwards, &backwards.replace(r#""f19":19"#, r#""f19":0"#)), Ok(false));
}

#[test]
fn what_the_server_refuses_is_refused_and_the_message_says_where() {
    use FilterErrorKind::{Refused, Unsupported};
    for (filter, kind, path) in [
        (r#"{"$foo":1}"#, Refused, "$foo"),
        (r#"{"a":{"$foo":1}}"#, Refused, "a.$foo"),
        (r#"{"a":{"$gt":1,"b":2}}"#, Refused, "a.b"),
        (r#"{"$and":[]}"#, Refused, "$and"),
        (r#"{"$or":[{"a":1},{"b":{"$in":[1,{"$gt":1}]}}]}"#, Refused, "$or.1.b.$in.1"),
        (r#"{"$or":[1]}"#, Refused, "$or.0"),
        (r#"{"a":{"$in":1}}"#, Refused, "a.$in"),
        (r#"{"a":{"$not":{}}}"#, Refused, "a.$not"),
        (r#"{"a":{"$not":1}}"#, Refused, "a.$not"),
        (r#"{"a":{"$mod":[0,1]}}"#, Refused, "a.$mod"),
        (r#"{"a":{"$size":-1}}"#, Refused, "a.$size"),
        (r#"{"a":{"$type":"str"}}"#, Refused, "a.$type"),
        (r#"{"a":{"$type":[]}}"#, Refused, "a.$type"),
        (r#"{"a":{"$regex":"("}}"#, Refused, "a.$regex"),
        (r#"{"a":{"$regex":"a","$options":"g"}}"#, Refused, "a.$regex"),
        (r#"{"a":{"$options":"i"}}"#, Refused, "a.$options"),
        (r#"{"a":{"$all":[{"$elemMatch":{"b":1}},2]}}"#, Refused, "a.$all.1"),
        (r#"{"a":{"$elemMatch":{"b":{"$exists":1,"$bar":1}}}}"#, Refused, "a.$elemMatch.b.$bar"),
        (r#"{"a":{"$elemMatch":{"$expr":1}}}"#, Refused, "a.$elemMatch.$expr"),
        (r#"{"a":{"$gt":{"$regularExpression":{"pattern":"a","options":""}}}}"#, Refused, "a.$gt"),
        (r#"{"a":{"$undefined":true}}"#, Refused, "a"),
        (r#"{"a":{"$bitsAllSet":-1}}"#, Refused, "a.$bitsAllSet"),
        (r#"{"$expr":{"$add":[1,{"$foo":1}]}}"#, Refused, "$expr.$add.1.$foo"),
        (r#"{"$expr":{"$divide":[1,0]}}"#, Refused, "$expr.$divide"),
        (r#"{"$expr":"$$nothing"}"#, Refused, "$expr"),
        (r#"{"$expr":{"$cond":[1,2]}}"#, Refused, "$expr.$cond"),
        (r#"{"$where":"1"}"#, Unsupported, "$where"),
        (r#"{"$text":{"$search":"x"}}"#, Unsupported, "$text"),
        (r#"{"$jsonSchema":{}}"#, Unsupported, "$jsonSchema"),
        (r#"{"$sampleRate":0.5}"#, Unsupported, "$sampleRate"),
        (r#"{"a":{"$near":[0,0]}}"#, Unsupported, "a.$near"),
        (r#"{"$expr":{"$gt":["$a","$$NOW"]}}"#, Unsupported, "$expr.$gt.1"),
        (r#"{"$expr":{"$gt":[{"$rand":{}},0.5]}}"#, Unsupported, "$expr.$gt.0.$rand"),
    ] {
        let error = Filter::parse_json(filter).expect_err(filter);
        assert_eq!((error.kind, error.path.as_str()), (kind, path), "{filter}: {error}");
        assert!(error.to_string().starts_with(&format!("`{path}`: ")), "{error}");
    }
    let deep = format!("{}{{}}{}", r#"{"$and":["#.repeat(200), "]}".repeat(200));
    assert_eq!(Filter::parse_json(&deep).unwrap_err().kind, Refused);
    let deep = format!(r#"{{"$expr":{}1{}}}"#, r#"{"$not":["#.repeat(200), "]}".repeat(200));
    assert_eq!(Filter::parse_json(&deep).unwrap_err().kind, Refused);
}

#[test]
fn damage_is_an_error_where_it_is_reached_and_not_before() {
    let mut doc = parse(r#"{"a":1,"b":{"c":1},"d":2}"#).unwrap();
    let at = doc.iter().position(|byte| *byte == b'd').unwrap() - 1;
    doc[at] = 0x55;
    let doc = RawDoc::new(&doc).unwrap();
    let ask = |filter: &str| Filter::parse_json(filter).unwrap().matches(doc);
    assert_eq!(ask(r#"{"b.c":1}"#), Ok(true));
    assert!(matches!(ask(r#"{"d":2}"#), Err(MatchError::Malformed(_))));
    assert!(matches!(ask(r#"{"e":null}"#), Err(MatchError::Malformed(_))));
}

#[test]
fn values_are_not_shown() {
    let filter =
        Filter::parse_json(r#"{"a":"secret","b":{"$in":["secret"]},"$expr":{"$eq":["$c","secret"]}}"#)
            .unwrap();
    assert!(!format!("{filter:?}").contains("secret"));
}
