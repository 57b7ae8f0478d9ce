//! Replacements.

use mongodb::bson::{Document, doc};

use crate::table::{ALL, NEW, Situation};
use crate::updates::changed;

pub(crate) fn table() -> Vec<Situation> {
    let document = || doc! { "_id": 1, "a": 1, "b": { "c": 2 } };
    let replaced = |name, with: Document| changed(name, document(), with).events(["replace a"]);
    vec![
        replaced("replaceOne", doc! { "x": 1, "b": [] }),
        replaced("replaceOne with _id at the end", doc! { "x": 1, "b": [], "_id": 1 }),
        replaced("replaceOne with an empty document", doc! {}),
        changed("replaceOne with the document that is stored", document(), document()).events([]),
        replaced(
            "replaceOne with the document that is stored, less its _id",
            doc! { "a": 1, "b": { "c": 2 } },
        )
        .logged(ALL, "o._id"),
        replaced(
            "replaceOne with a document that has a field `diff`",
            doc! { "diff": { "u": { "a": 1 } }, "v": 2 },
        ),
        replaced(
            "replaceOne with names that hold dots and `$`",
            doc! { "a.b": 1, "c": { "$d": 2, "e.f": 3, "": 4 } },
        )
        .only(NEW, "names with `$` and dots can be stored since 5.0"),
        Situation::new("replaceOne of a document whose _id is a document", |at| async move {
            at.update("a", doc! { "x": 1 }, doc! { "x": 2 }).await
        })
        .given(|at| async move { at.insert("a", [doc! { "_id": { "b": 1, "a": [2] }, "x": 1 }]).await })
        .events(["replace a"]),
        Situation::new("upsert that creates, by a replacement", |at| async move {
            at.update_as("a", doc! { "q": { "_id": 1 }, "u": { "x": 1 }, "upsert": true }).await
        })
        .events(["create a", "insert a"]),
        Situation::new("upsert that replaces", |at| async move {
            at.update_as("a", doc! { "q": { "_id": 1 }, "u": { "x": 2 }, "upsert": true }).await
        })
        .given(|at| async move { at.insert("a", [doc! { "_id": 1, "x": 1, "y": 1 }]).await })
        .events(["replace a"]),
        Situation::new("retryable replaceOne", |at| async move {
            at.retryable([doc! { "update": "a", "updates": [{ "q": { "_id": 1 }, "u": { "x": 2 } }] }]).await
        })
        .given(|at| async move { at.insert("a", [doc! { "_id": 1 }]).await })
        .events(["replace a"])
        .logged(ALL, "prevOpTime"),
    ]
}
