//! Indexes.

use mongodb::bson::{Document, doc};

use crate::ddl::two;
use crate::place::{Outcome, Place};
use crate::table::{ALL, Situation, run};

fn index(keys: Document, options: Document) -> Document {
    let name = keys.iter().map(|(name, order)| format!("{name}_{order}")).collect::<Vec<_>>().join("_");
    let mut spec = doc! { "key": keys, "name": name };
    spec.extend(options);
    spec
}

async fn indexed(at: Place) -> Outcome {
    two(at.clone()).await?;
    let specs =
        [index(doc! { "x": 1 }, doc! {}), index(doc! { "y": 1 }, doc! { "expireAfterSeconds": 3600 })];
    at.run(doc! { "createIndexes": "a", "indexes": specs.to_vec() }).await.map(drop)
}

pub(crate) fn table() -> Vec<Situation> {
    let one = || doc! { "createIndexes": "a", "indexes": [index(doc! { "x": 1 }, doc! {})] };
    let options = doc! {
        "unique": true, "sparse": true, "collation": { "locale": "en" }, "hidden": true,
    };
    let several = vec![
        index(doc! { "x": 1, "y": -1 }, options),
        index(doc! { "t": "text" }, doc! { "default_language": "german" }),
        index(doc! { "p": 1 }, doc! { "partialFilterExpression": { "p": { "$gt": 5 } } }),
    ];
    vec![
        run("createIndexes on an empty collection", one())
            .given(|at| async move { at.run(doc! { "create": "a" }).await.map(drop) })
            .events(["createIndexes a"])
            .logged(ALL, "o.createIndexes"),
        run("createIndexes on a collection that is not there", one()).events(["create a", "createIndexes a"]),
        run("createIndexes on a collection with documents", one())
            .given(two)
            .events(["createIndexes a"])
            .logged(ALL, "o.commitIndexBuild"),
        run("createIndexes of several, with options", doc! { "createIndexes": "a", "indexes": several })
            .given(two)
            .events(["createIndexes a"])
            .logged(ALL, "o.startIndexBuild"),
        run("createIndexes of what is there", one()).given(indexed).events([]),
        run(
            "createIndexes that fails on a duplicate",
            doc! { "createIndexes": "a", "indexes": [index(doc! { "d": 1 }, doc! { "unique": true })] },
        )
        .given(two)
        .fails()
        .events([])
        .logged(ALL, "o.abortIndexBuild"),
        run("dropIndexes of one", doc! { "dropIndexes": "a", "index": "x_1" })
            .given(indexed)
            .events(["dropIndexes a"]),
        run("dropIndexes of all", doc! { "dropIndexes": "a", "index": "*" })
            .given(indexed)
            .events(["dropIndexes a*2"]),
        run(
            "collMod of an index's expiry",
            doc! { "collMod": "a", "index": { "name": "y_1", "expireAfterSeconds": 7200 } },
        )
        .given(indexed)
        .events(["modify a"]),
        run(
            "collMod that hides an index",
            doc! { "collMod": "a", "index": { "name": "x_1", "hidden": true } },
        )
        .given(indexed)
        .events(["modify a"]),
    ]
}
