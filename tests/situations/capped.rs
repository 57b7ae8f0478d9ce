//! Capped collections.

use mongodb::bson::{Document, doc};

use crate::place::{Outcome, Place};
use crate::table::{ALL, NEW, OLD, Situation, V44};

async fn three(at: Place) -> Outcome {
    at.insert("a", (1..4).map(|id| doc! { "_id": id, "x": id })).await
}

async fn capped(at: Place) -> Outcome {
    at.run(doc! { "create": "a", "capped": true, "size": 4096, "max": 3 }).await?;
    three(at).await
}

pub(crate) fn table() -> Vec<Situation> {
    let insert = |id: i32| doc! { "_id": id };
    let on_a = |name, command: Document, given: fn(Place) -> futures::future::BoxFuture<'static, Outcome>| {
        Situation::new(name, move |at| {
            let command = command.clone();
            async move { at.run(command).await.map(drop) }
        })
        .given(given)
    };
    vec![
        Situation::new("insert into a capped collection that is full", move |at| async move {
            at.insert("a", [insert(4), insert(5)]).await
        })
        .given(capped)
        .events(["insert a", "delete a", "insert a", "delete a"])
        .events_on(V44, ["insert a*2"])
        .lost(V44, "4.4 does not replicate what falls off a capped collection"),
        Situation::new("update in a capped collection", |at| async move {
            at.update("a", doc! { "_id": 2 }, doc! { "$set": { "x": 7 } }).await
        })
        .given(capped)
        .events(["update a"]),
        on_a("convertToCapped", doc! { "convertToCapped": "a", "size": 4096 }, |at| Box::pin(three(at)))
            .events(["rename tmp*.convertToCapped.a > a replaced"])
            .logged(ALL, "o.temp"),
        on_a(
            "cloneCollectionAsCapped",
            doc! { "cloneCollectionAsCapped": "a", "toCollection": "b", "size": 4096 },
            |at| Box::pin(three(at)),
        )
        .events(["create b", "insert b*3"])
        .unseen(ALL, "insert b", "they are marked as a migration's, which change streams leave out")
        .logged(ALL, "fromMigrate"),
        on_a("emptycapped", doc! { "emptycapped": "a" }, |at| Box::pin(capped(at)))
            .events(["truncate a"])
            .unseen(ALL, "truncate a", "change streams show nothing of this test command"),
        on_a("captrunc", doc! { "captrunc": "a", "n": 1 }, |at| Box::pin(capped(at)))
            .events([])
            .lost(OLD, "this test command is not replicated")
            .lost(NEW, "this test command is not replicated"),
        on_a("godinsert", doc! { "godinsert": "a", "obj": { "_id": 9 } }, |at| Box::pin(three(at)))
            .events([])
            .lost(ALL, "this test command is not replicated"),
    ]
}
