//! Deletes.

use mongodb::bson::{DateTime, doc};

use crate::place::{Outcome, Place};
use crate::table::{ALL, Situation, V60};

pub(crate) fn table() -> Vec<Situation> {
    [single(), batched()].into_iter().flatten().collect()
}

async fn five(at: Place) -> Outcome {
    at.insert("a", (0..5).map(|id| doc! { "_id": id, "x": id % 2 })).await
}

fn single() -> Vec<Situation> {
    vec![
        Situation::new("deleteOne", |at| async move { at.delete("a", doc! { "_id": 3 }, 1).await })
            .given(five)
            .events(["delete a"]),
        Situation::new("deleteOne, retryable", |at| async move {
            at.retryable([doc! { "delete": "a", "deletes": [{ "q": { "_id": 3 }, "limit": 1 }] }]).await
        })
        .given(five)
        .events(["delete a"])
        .logged(ALL, "txnNumber"),
        Situation::new("deleteMany", |at| async move { at.delete("a", doc! { "x": 0 }, 0).await })
            .given(five)
            .events(["delete a*3"]),
        Situation::new("deleteMany of all", |at| async move { at.delete("a", doc! {}, 0).await })
            .given(five)
            .events(["delete a*5"]),
        Situation::new("delete that finds nothing", |at| async move {
            at.delete("a", doc! { "_id": 9 }, 1).await
        })
        .given(five)
        .events([]),
        Situation::new("delete of a document whose _id is a document", |at| async move {
            at.delete("a", doc! { "x": 1 }, 1).await
        })
        .given(|at| async move { at.insert("a", [doc! { "_id": { "b": 1_i64, "a": 2.0 }, "x": 1 }]).await })
        .events(["delete a"]),
        Situation::new("TTL deletes", |at| async move {
            let keys = doc! { "key": { "at": 1 }, "name": "at_1", "expireAfterSeconds": 0 };
            at.run(doc! { "createIndexes": "a", "indexes": [keys] }).await?;
            at.until_count("a", 1).await
        })
        .given(|at| async move {
            let old = DateTime::from_millis(0);
            at.insert("a", [doc! { "_id": 1, "at": old }, doc! { "_id": 2 }, doc! { "_id": 3, "at": old }])
                .await
        })
        .events(["createIndexes a", "delete a*2"]),
    ]
}

fn batched() -> Vec<Situation> {
    let deleted = |name: &'static str, count: i32| {
        Situation::new(name, |at| async move {
            let fail_point =
                |mode: &str| doc! { "configureFailPoint": "batchDeletesByDefault", "mode": mode };
            at.admin(fail_point("alwaysOn")).await?;
            let deleted = at.delete("a", doc! {}, 0).await;
            at.admin(fail_point("off")).await?;
            deleted
        })
        .given(move |at| async move { at.insert("a", (0..count).map(|id| doc! { "_id": id })).await })
        .only(V60, "older servers have no batched deletes")
        .unseen(ALL, "delete a", "6.0 does not look into such entries; 6.1 does")
        .logged(V60, "o.applyOps.op.d")
    };
    vec![
        deleted("batched deleteMany of five", 5).events(["delete a*5"]),
        deleted("batched deleteMany of one", 1).events(["delete a"]),
        deleted("batched deleteMany of twelve, in two entries", 12).events(["delete a*12"]),
    ]
}
