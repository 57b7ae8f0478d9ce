//! What aggregations write.

use mongodb::bson::{Document, doc};

use crate::ddl::two;
use crate::place::{Outcome, Place};
use crate::table::{ALL, Situation, run};

async fn both(at: Place) -> Outcome {
    two(at.clone()).await?;
    at.insert("b", [doc! { "_id": 1, "y": 1 }, doc! { "_id": 7 }]).await
}

fn aggregate(stages: Vec<Document>) -> Document {
    doc! { "aggregate": "a", "pipeline": stages, "cursor": {} }
}

pub(crate) fn table() -> Vec<Situation> {
    let merge = |matched: &str, not: &str| {
        let stage = doc! { "$merge": { "into": "b", "whenMatched": matched, "whenNotMatched": not } };
        aggregate(vec![stage])
    };
    vec![
        run("$out into a new collection", aggregate(vec![doc! { "$out": "b" }]))
            .given(two)
            .events(["rename tmp.agg_out.* > b replaced"])
            .logged(ALL, "o.temp"),
        run("$out onto a collection", aggregate(vec![doc! { "$out": "b" }]))
            .given(both)
            .events(["rename tmp.agg_out.* > b replaced"])
            .logged(ALL, "o.dropTarget"),
        run("$out of nothing onto a collection", aggregate(vec![doc! { "$match": { "x": 9 } }, doc! { "$out": "b" }]))
            .given(both)
            .events(["rename tmp.agg_out.* > b replaced"]),
        Situation::new("$out into another database", |at| async move {
            let out = doc! { "$out": { "db": at.other(), "coll": "b" } };
            at.run(aggregate(vec![out])).await.map(drop)
        })
        .given(two)
        .events(["rename other.tmp.agg_out.* > other.b replaced"]),
        run(
            "mapReduce",
            doc! {
                "mapReduce": "a", "map": "function() { emit(this.x % 2, this.x); }",
                "reduce": "function(key, values) { return Array.sum(values); }", "out": "b",
            },
        )
        .given(both)
        .events(["rename tmp.agg_out.* > b replaced"]),
        run("$merge that changes and inserts", merge("merge", "insert")).given(both).events(["update b", "insert b"]),
        run("$merge that replaces", merge("replace", "insert")).given(both).events(["replace b", "insert b"]),
        run("$merge that keeps", merge("keepExisting", "insert")).given(both).events(["insert b"]),
        run(
            "$merge by a pipeline",
            aggregate(vec![doc! { "$merge": { "into": "b", "whenMatched": [{ "$set": { "z": "$$new.x" } }], "whenNotMatched": "discard" } }]),
        )
        .given(both)
        .events(["replace b"]),
        run("$merge into a new collection", merge("fail", "insert")).given(two).events(["create b", "insert b*2"]),
    ]
}
