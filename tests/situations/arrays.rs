//! Updates of arrays by modifiers.

use mongodb::bson::{Bson, Document, doc};

use crate::table::{NEW, Situation};
use crate::updates::changed;

pub(crate) fn table() -> Vec<Situation> {
    [pushed(), taken(), elements()].into_iter().flatten().collect()
}

fn updated(name: &'static str, array: Vec<Bson>, change: Document) -> Situation {
    changed(name, doc! { "_id": 1, "a": array, "b": "x".repeat(100) }, change).events(["update a"])
}

fn numbers(end: i32) -> Vec<Bson> {
    (0..end).map(Bson::Int32).collect()
}

fn pushed() -> Vec<Situation> {
    let push = |name, change: Document| updated(name, numbers(4), doc! { "$push": { "a": change } });
    vec![
        updated("$push at the end", numbers(3), doc! { "$push": { "a": 7 } }).logged(NEW, "o.diff.sa.u3"),
        updated("$push of several at the end", numbers(3), doc! { "$push": { "a": { "$each": [7, 8] } } }),
        changed("$push that makes the array", doc! { "_id": 1 }, doc! { "$push": { "a": 7 } })
            .events(["update a"])
            .logged(NEW, "o.diff.i.a"),
        updated("$push into an empty array", vec![], doc! { "$push": { "a": 7 } }),
        push("$push at a position", doc! { "$each": [7, 8], "$position": 1 }).logged(NEW, "o.diff.u.a"),
        push("$push with $slice", doc! { "$each": [7], "$slice": -3 }),
        push("$push with $sort", doc! { "$each": [2, 9], "$sort": -1 }),
        updated(
            "$addToSet of several, one of them new",
            numbers(3),
            doc! { "$addToSet": { "a": { "$each": [1, 7] } } },
        ),
    ]
}

fn taken() -> Vec<Situation> {
    vec![
        updated("$pop of the last", numbers(3), doc! { "$pop": { "a": 1 } }),
        updated("$pop of the first", numbers(3), doc! { "$pop": { "a": -1 } }),
        updated("$pop that leaves none", numbers(1), doc! { "$pop": { "a": 1 } }),
        updated("$pull", numbers(5), doc! { "$pull": { "a": { "$gt": 2 } } }),
        updated("$pullAll", numbers(5), doc! { "$pullAll": { "a": [0, 4] } }),
        updated("$unset of an element, which makes it null", numbers(3), doc! { "$unset": { "a.1": "" } }),
    ]
}

fn elements() -> Vec<Situation> {
    let documents = || {
        vec![doc! { "x": 1, "y": 2 }.into(), doc! { "x": 3, "y": 4 }.into(), Bson::Document(doc! { "x": 5 })]
    };
    let many: Document = (0..12).map(|index| (format!("a.{index}"), Bson::Int32(100 + index))).collect();
    vec![
        updated("$set of an element", numbers(3), doc! { "$set": { "a.1": 7 } }).logged(NEW, "o.diff.sa.u1"),
        updated(
            "$set of an element behind the end, which fills with nulls",
            numbers(2),
            doc! { "$set": { "a.5": 7 } },
        ),
        updated("$set of all elements of an array of twelve", numbers(12), doc! { "$set": many }),
        updated(
            "fields of elements are set, added and removed",
            documents(),
            doc! { "$set": { "a.0.x": 9, "a.2.z.w": 1 }, "$unset": { "a.1.y": "" } },
        )
        .logged(NEW, "o.diff.sa.s0"),
        updated("a field of an element of an empty array", vec![], doc! { "$set": { "a.0.c": 1 } }),
        updated(
            "an element of an array in an array",
            vec![Bson::Array(numbers(2)), Bson::Array(vec![doc! { "x": numbers(2) }.into()])],
            doc! { "$set": { "a.0.1": 9, "a.1.0.x.0": 8 }, "$push": { "a.1.0.y": 1 } },
        ),
        updated("$[] on all elements", numbers(3), doc! { "$inc": { "a.$[]": 1 } }),
        Situation::new("$[e] on the elements that a filter finds", |at| async move {
            let filters = vec![doc! { "e.x": { "$gt": 2 } }];
            let change = doc! { "$set": { "a.$[e].y": 7 } };
            at.update_as("a", doc! { "q": {}, "u": change, "arrayFilters": filters }).await
        })
        .given(move |at| {
            let documents = documents();
            async move { at.insert("a", [doc! { "_id": 1, "a": documents }]).await }
        })
        .events(["update a"]),
        Situation::new("the positional operator", |at| async move {
            at.update("a", doc! { "a": 1 }, doc! { "$set": { "a.$": 7 } }).await
        })
        .given(|at| async move { at.insert("a", [doc! { "_id": 1, "a": numbers(3) }]).await })
        .events(["update a"]),
        updated(
            "an array is emptied, and one in it is set",
            vec![doc! { "x": numbers(3) }.into()],
            doc! { "$set": { "a.0.x": [] } },
        ),
    ]
}
