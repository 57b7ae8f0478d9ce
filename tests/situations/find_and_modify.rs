//! findAndModify, and the images that retries need.

use mongodb::bson::{Document, doc};

use crate::table::{ALL, OLD, Situation, V60};

pub(crate) fn table() -> Vec<Situation> {
    let command = || doc! { "findAndModify": "a", "query": { "_id": 1 } };
    let with = move |members: Document| {
        let mut command = command();
        command.extend(members);
        command
    };
    let retryable = move |name, members: Document| {
        Situation::new(name, move |at| {
            let command = with(members.clone());
            async move { at.retryable([command]).await }
        })
        .given(|at| async move { at.insert("a", [doc! { "_id": 1, "a": 1, "b": 1 }]).await })
    };
    let set = || doc! { "$set": { "a": 2 } };
    vec![
        retryable(
            "findAndModify, retryable, that returns the old document",
            doc! { "update": set(), "new": false },
        )
        .events(["update a"])
        .logged(OLD, "preImageOpTime")
        .logged(V60, "needsRetryImage.preImage"),
        retryable(
            "findAndModify, retryable, that returns the new document",
            doc! { "update": set(), "new": true },
        )
        .events(["update a"])
        .logged(OLD, "postImageOpTime")
        .logged(V60, "needsRetryImage.postImage"),
        retryable("findAndModify, retryable, that removes", doc! { "remove": true })
            .events(["delete a"])
            .logged(OLD, "preImageOpTime")
            .logged(V60, "needsRetryImage.preImage"),
        retryable("findAndModify, retryable, that replaces", doc! { "update": { "x": 1 } })
            .events(["replace a"]),
        retryable(
            "findAndModify, retryable, that creates",
            doc! { "query": { "_id": 2 }, "update": { "x": 1 }, "upsert": true },
        )
        .events(["insert a"]),
        retryable(
            "findAndModify, retryable, that finds nothing",
            doc! { "query": { "_id": 2 }, "remove": true },
        )
        .events([]),
        Situation::new("findAndModify, not retryable", move |at| async move {
            at.run(doc! { "findAndModify": "a", "query": { "_id": 1 }, "update": { "$inc": { "a": 1 } } })
                .await
                .map(drop)
        })
        .given(|at| async move { at.insert("a", [doc! { "_id": 1, "a": 1 }]).await })
        .events(["update a"]),
        Situation::new(
            "findAndModify, retryable, of a collection that records pre-images",
            |at| async move {
                at.retryable([
                    doc! { "findAndModify": "a", "query": { "_id": 1 }, "update": { "$set": { "a": 2 } } },
                ])
                .await
            },
        )
        .given(|at| async move {
            at.run(doc! { "create": "a", "recordPreImages": true }).await?;
            at.insert("a", [doc! { "_id": 1, "a": 1 }]).await
        })
        .only(OLD, "the option is gone in 6.0")
        .events(["update a"])
        .logged(ALL, "preImageOpTime"),
    ]
}
