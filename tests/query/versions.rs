//! Where older servers answer otherwise than 6.0, which is the norm here.

use mongo_observer::servers::MongoVersion::{self, V4_4, V5_0};

/// One difference, shown by a filter and a document.
pub(crate) struct Difference {
    pub(crate) versions: &'static [MongoVersion],
    pub(crate) why: &'static str,
    /// Filters whose text holds all of one of these may be answered otherwise.
    pub(crate) words: &'static [&'static [&'static str]],
    pub(crate) filter: &'static str,
    pub(crate) document: &'static str,
    /// What those versions say to it: an answer, or none because they refuse it.
    pub(crate) theirs: Option<bool>,
}

pub(crate) const DIFFERENCES: &[Difference] = &[
    Difference {
        versions: &[V4_4],
        why: "$mod: no number is 0, what is out of range is the nearest int64, decimals are rounded; newer ones pass over such values",
        words: &[&["$mod"]],
        filter: r#"{"a": {"$mod": [4, 0]}}"#,
        document: r#"{"a": {"$numberDouble": "NaN"}}"#,
        theirs: Some(true),
    },
    Difference {
        versions: &[V4_4, V5_0],
        why: "$mod: 2^63 is taken for the greatest int64; 6.0 refuses it",
        words: &[&["$mod"]],
        filter: r#"{"a": {"$mod": [9223372036854775808.0, 1]}}"#,
        document: r#"{"a": 1}"#,
        theirs: Some(true),
    },
    Difference {
        versions: &[V4_4, V5_0],
        why: "$bits…: decimals that are no int64 are rounded to one; 6.0 passes over them",
        words: &[&["$bits"]],
        filter: r#"{"a": {"$bitsAllClear": [1]}}"#,
        document: r#"{"a": {"$numberDecimal": "0.1"}}"#,
        theirs: Some(true),
    },
    Difference {
        versions: &[V4_4, V5_0],
        why: "$size: decimals are refused",
        words: &[&["$size"]],
        filter: r#"{"a": {"$size": {"$numberDecimal": "1"}}}"#,
        document: r#"{"a": [1]}"#,
        theirs: None,
    },
    Difference {
        versions: &[V4_4, V5_0],
        why: "$options: what is no option is ignored; 6.0 refuses it",
        words: &[&["$options"]],
        filter: r#"{"a": {"$regex": "a", "$options": "z"}}"#,
        document: r#"{"a": "a"}"#,
        theirs: Some(true),
    },
    Difference {
        versions: &[V4_4, V5_0],
        why: "$add: all doubles are summed up exactly before the sum is rounded; 6.0 rounds after each",
        words: &[&["$add"]],
        filter: r#"{"$expr": {"$gt": [{"$add": ["$a", "$b", "$c"]}, 0.6]}}"#,
        document: r#"{"a": 0.1, "b": 0.2, "c": 0.3}"#,
        theirs: Some(false),
    },
    Difference {
        versions: &[V4_4, V5_0],
        why: "dates and fractions of a millisecond: cut; 6.0 rounds",
        words: &[&["$add"], &["$subtract"]],
        filter: r#"{"$expr": {"$eq": [{"$add": ["$a", 0.5]}, "$a"]}}"#,
        document: r#"{"a": {"$date": "2020-03-01T00:00:00Z"}}"#,
        theirs: Some(true),
    },
    Difference {
        versions: &[V4_4],
        why: "$subtract: int64 overflow; newer ones go on with doubles",
        words: &[&["$subtract"]],
        filter: r#"{"$expr": {"$gt": [{"$subtract": ["$a", 5]}, 0]}}"#,
        document: r#"{"a": {"$numberLong": "-9223372036854775807"}}"#,
        theirs: Some(true),
    },
    Difference {
        versions: &[V4_4],
        why: "$in: among several values null does not find undefined",
        words: &[&["$in\"", "null"], &["$nin\"", "null"]],
        filter: r#"{"a": {"$in": [null, 1]}}"#,
        document: r#"{"a": {"$undefined": true}}"#,
        theirs: Some(false),
    },
    Difference {
        versions: &[V4_4],
        why: "$multiply: next to a decimal, a double beyond int64 is refused",
        words: &[&["$multiply"]],
        filter: r#"{"$expr": {"$gt": [{"$multiply": ["$a", {"$numberDecimal": "1"}]}, 0]}}"#,
        document: r#"{"a": 1e300}"#,
        theirs: None,
    },
    Difference {
        versions: &[V4_4, V5_0],
        why: "the whole document can't be compared with a constant: an error without a meaning",
        words: &[&["$$ROOT\""], &["$$CURRENT\""]],
        filter: r#"{"$expr": {"$eq": ["$$ROOT", 1]}}"#,
        document: "{}",
        theirs: None,
    },
    Difference {
        versions: &[V4_4],
        why: "$ifNull: takes two operands; newer ones any number of them",
        words: &[&["$ifNull"]],
        filter: r#"{"$expr": {"$eq": [{"$ifNull": ["$a", "$b", 3]}, 3]}}"#,
        document: "{}",
        theirs: None,
    },
];

/// Whether that version may answer that filter otherwise.
pub(crate) fn may_differ(version: MongoVersion, filter: &str) -> bool {
    DIFFERENCES
        .iter()
        .filter(|difference| difference.versions.contains(&version))
        .flat_map(|difference| difference.words)
        .any(|words| words.iter().all(|word| filter.contains(word)))
}
