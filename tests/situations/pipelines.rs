//! Updates by pipelines: diffs that modifiers never make, and replacements where a diff is no gain.

use mongodb::bson::{Bson, Document, doc};

use crate::table::{NEW, Situation, V44};
use crate::updates::{changed, wide};

pub(crate) fn table() -> Vec<Situation> {
    [forms(), arrays(), names()].into_iter().flatten().collect()
}

/// With something large beside it that stays, so that a diff is worth it.
fn large(mut document: Document) -> Document {
    document.insert("_id", 1);
    document.insert("large", "x".repeat(500));
    document
}

/// What 4.4 logs as a replacement, and later versions as a diff.
fn updated(name: &'static str, before: Document, set: Document) -> Situation {
    changed(name, large(before), vec![doc! { "$set": set }])
        .events(["update a"])
        .events_on(V44, ["replace a"])
        .logged(NEW, "o.diff")
}

fn forms() -> Vec<Situation> {
    vec![
        updated("pipeline: a small change of a large document", doc! { "a": 1 }, doc! { "a": 2, "b": "$a" }),
        changed(
            "pipeline: $unset",
            large(doc! { "a": 1, "b": { "c": 1, "d": 2 } }),
            vec![doc! { "$unset": ["a", "b.c"] }],
        )
        .events(["update a"])
        .events_on(V44, ["replace a"]),
        changed(
            "pipeline: fields change their order",
            large(doc! { "a": 1, "b": 2 }),
            vec![doc! { "$replaceWith": { "_id": "$_id", "b": "$b", "a": "$a", "large": "$large" } }],
        )
        .events(["replace a"]),
        changed("pipeline: a tiny document", doc! { "_id": 1, "a": 1 }, vec![doc! { "$set": { "a": 2 } }])
            .events(["replace a"]),
        changed(
            "pipeline: $replaceWith another document",
            doc! { "_id": 1, "a": 1 },
            vec![doc! { "$replaceWith": { "_id": 1, "x": { "y": [1] } } }],
        )
        .events(["replace a"]),
        updated(
            "pipeline: nested documents are changed, added and removed",
            doc! { "a": { "b": wide(9), "c": 1 } },
            doc! { "a.b.field3": 7, "a.b.new": { "$literal": {} }, "a.d.e": 1, "a.c": "$$REMOVE" },
        ),
        changed("pipeline: nothing changes", large(doc! { "a": 1 }), vec![doc! { "$set": { "a": 1 } }])
            .events([]),
        updated(
            "pipeline: $literal values that look like expressions",
            doc! {},
            doc! { "a": { "$literal": "$b" } },
        ),
    ]
}

fn arrays() -> Vec<Situation> {
    let numbers = |end: i32| (0..end).map(Bson::Int32).collect::<Vec<_>>();
    let documents = || (0..6).map(|n| Bson::Document(wide(n + 3))).collect::<Vec<_>>();
    vec![
        updated("pipeline: an array is cut", doc! { "a": documents() }, doc! { "a": { "$slice": ["$a", 4] } })
            .logged(NEW, "o.diff.sa.l"),
        updated(
            "pipeline: an array is cut to nothing",
            doc! { "a": { "b": documents() } },
            doc! { "a.b": { "$slice": ["$a.b", 6, 1] } },
        ),
        updated(
            "pipeline: an array is cut, and an element changes",
            doc! { "a": documents() },
            doc! {
                "a": { "$concatArrays": [[{ "$mergeObjects": [{ "$arrayElemAt": ["$a", 0] }, { "field1": 9 }] }], { "$slice": ["$a", 1, 3] }] },
            },
        )
        .logged(NEW, "o.diff.sa.l")
        .logged(NEW, "o.diff.sa.s0"),
        updated(
            "pipeline: an array grows",
            doc! { "a": documents() },
            doc! { "a": { "$concatArrays": ["$a", [7, [8]]] } },
        )
        .logged(NEW, "o.diff.sa.u6"),
        updated(
            "pipeline: several arrays are cut in one document",
            doc! { "a": numbers(90), "b": { "c": numbers(90) }, "d": [numbers(90), numbers(90)] },
            doc! {
                "a": { "$slice": ["$a", 80] },
                "b.c": { "$slice": ["$b.c", 80] },
                "d": { "$map": { "input": "$d", "in": { "$slice": ["$$this", 80] } } },
            },
        ),
        updated(
            "pipeline: a change below a field whose name is a number",
            doc! { "a": { "0": { "x": 1, "3": { "y": wide(9) } } }, "7": wide(9) },
            doc! { "a.0.x": 2, "a.0.3.y.field1": 7, "7.field2": 9 },
        ),
        updated(
            "pipeline: a change in a document with a number as its name, in an element",
            doc! { "a": [{ "3": wide(9) }, 1] },
            doc! { "a": { "$map": { "input": "$a", "in": { "$cond": [{ "$isNumber": "$$this" }, "$$this", { "$mergeObjects": ["$$this", { "new": 1 }] }] } } } },
        ),
    ]
}

fn names() -> Vec<Situation> {
    let since_5 = "pipelines can make such names since 5.0";
    let set_field = |field: &str, input: &str, value: i32| {
        doc! { "$setField": { "field": { "$literal": field }, "input": input, "value": value } }
    };
    vec![
        changed(
            "pipeline: empty names, at the top and below",
            large(doc! { "": 1, "a": { "": 1, "b": { "": wide(9) } } }),
            vec![doc! { "$replaceWith": { "$mergeObjects": ["$$ROOT", { "$literal": { "": 2, "a": { "": 2, "b": { "": wide(9) } } } }] } }],
        )
        .events(["update a"])
        .events_on(V44, ["replace a"]),
        changed(
            "pipeline: names with dots",
            large(doc! { "p.q": 1, "a": { "b.c": 1, "d": wide(9) } }),
            vec![
                doc! { "$replaceWith": set_field("p.q", "$$ROOT", 2) },
                doc! { "$set": { "a": set_field("b.c", "$a", 2) } },
                doc! { "$replaceWith": set_field("new.er", "$$ROOT", 3) },
            ],
        )
        .only(NEW, since_5)
        .events(["update a"])
        .logged(NEW, "o.diff"),
        changed(
            "pipeline: an array below a name with a dot is cut",
            large(doc! { "a": { "b.c": (0..60).collect::<Vec<i32>>() } }),
            vec![doc! { "$set": { "a": { "$setField": { "field": "b.c", "input": "$a", "value": { "$slice": [{ "$getField": { "field": "b.c", "input": "$a" } }, 50] } } } } }],
        )
        .only(NEW, since_5)
        .events(["update a"]),
        changed(
            "pipeline: names that begin with `$`",
            large(doc! { "$price": 1, "a": { "$q": 1, "b": wide(9) } }),
            vec![
                doc! { "$replaceWith": set_field("$price", "$$ROOT", 2) },
                doc! { "$set": { "a": set_field("$q", "$a", 2) } },
                doc! { "$replaceWith": set_field("$new", "$$ROOT", 3) },
            ],
        )
        .only(NEW, since_5)
        .events(["update a"]),
        changed(
            "pipeline: a name with a dot beside the same path",
            large(doc! { "a.b": 1, "a": { "b": 1 } }),
            vec![doc! { "$replaceWith": set_field("a.b", "$$ROOT", 2) }, doc! { "$set": { "a.b": 3 } }],
        )
        .only(NEW, since_5)
        .events(["update a"]),
        changed(
            "a document that gets fields of its own named `$v` and `diff`",
            doc! { "_id": 1, "a": 1 },
            vec![doc! { "$replaceWith": { "$literal": { "_id": 1, "a": 1, "diff": { "u": { "a": 5 } }, "$v": 2 } } }],
        )
        .only(NEW, since_5)
        .events(["replace a"])
        .unseen(NEW, "replace a", "the server takes the document's own `$v` and `diff` for an update's")
        .unpublished(NEW, "update a", "the server takes the document's own `$v` and `diff` for an update's"),
    ]
}
