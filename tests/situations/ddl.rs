//! Commands on collections and databases.

use mongodb::bson::{Document, doc};

use crate::place::{Outcome, Place};
use crate::table::{ALL, NEW, OLD, Situation, V50, V60, run};

pub(crate) fn table() -> Vec<Situation> {
    [creations(), views(), removals(), renames(), time_series()].into_iter().flatten().collect()
}

pub(crate) async fn two(at: Place) -> Outcome {
    at.insert("a", [doc! { "_id": 1, "x": 1 }, doc! { "_id": 2, "x": 2 }]).await
}

fn creations() -> Vec<Situation> {
    let images = || doc! { "enabled": true };
    vec![
        run("create", doc! { "create": "a" }).events(["create a"]),
        run(
            "create with a validator and a collation",
            doc! { "create": "a", "validator": { "x": { "$gt": 0 } }, "validationAction": "warn", "collation": { "locale": "de", "strength": 1 } },
        )
        .events(["create a"])
        .logged(ALL, "o.collation"),
        run("create of a capped collection", doc! { "create": "a", "capped": true, "size": 5000, "max": 7 })
            .events(["create a"]),
        run("create without an index on _id that has other options", doc! { "create": "a", "idIndex": { "key": { "_id": 1 }, "name": "own" } })
            .events(["create a"]),
        Situation::new("a clustered collection: create, insert, update, delete", |at| async move {
            let index = doc! { "key": { "_id": 1 }, "unique": true };
            at.run(doc! { "create": "a", "clusteredIndex": index }).await?;
            at.insert("a", [doc! { "_id": 1, "x": 1 }, doc! { "_id": 2 }]).await?;
            at.update("a", doc! { "_id": 1 }, doc! { "$set": { "x": 2 } }).await?;
            at.delete("a", doc! { "_id": 2 }, 1).await
        })
        .only(V60, "clustered collections exist since 5.3")
        .events(["create a", "insert a*2", "update a", "delete a"]),
        run("create with changeStreamPreAndPostImages", doc! { "create": "a", "changeStreamPreAndPostImages": images() })
            .only(V60, "the option exists since 6.0")
            .events(["create a"]),
        run("collMod of changeStreamPreAndPostImages", doc! { "collMod": "a", "changeStreamPreAndPostImages": images() })
            .given(two)
            .only(V60, "the option exists since 6.0")
            .events(["modify a"]),
        run("collMod of recordPreImages", doc! { "collMod": "a", "recordPreImages": true })
            .given(two)
            .only(OLD, "the option is gone in 6.0")
            .events(["modify a"]),
        run("collMod of a validator", doc! { "collMod": "a", "validator": { "x": { "$gt": 0 } }, "validationLevel": "moderate" })
            .given(two)
            .events(["modify a"]),
        run("create of a collection that is there", doc! { "create": "a" }).given(|at| async move {
            at.run(doc! { "create": "a" }).await.map(drop)
        })
        .fails()
        .events([]),
    ]
}

fn views() -> Vec<Situation> {
    async fn view(at: Place) -> Outcome {
        two(at.clone()).await?;
        at.run(doc! { "create": "v", "viewOn": "a", "pipeline": [{ "$match": { "x": 1 } }] }).await.map(drop)
    }
    vec![
        run(
            "create of a view",
            doc! { "create": "v", "viewOn": "a", "pipeline": [{ "$match": { "x": 1 } }] },
        )
        .given(two)
        .events(["create v"]),
        run("create of a second view", doc! { "create": "w", "viewOn": "v", "pipeline": [] })
            .given(view)
            .events(["create w"]),
        run(
            "collMod of a view",
            doc! { "collMod": "v", "viewOn": "a", "pipeline": [{ "$match": { "x": 2 } }] },
        )
        .given(view)
        .events(["modify v"]),
        run("drop of a view", doc! { "drop": "v" }).given(view).events(["drop v"]).unseen(
            OLD,
            "drop v",
            "change streams show views since 6.0",
        ),
    ]
}

fn removals() -> Vec<Situation> {
    vec![
        run("drop", doc! { "drop": "a" }).given(two).events(["drop a"]),
        run("drop of a collection with indexes", doc! { "drop": "a" })
            .given(|at| async move {
                two(at.clone()).await?;
                at.index("a", doc! { "x": 1 }).await
            })
            .events(["drop a"]),
        run("drop of what is not there", doc! { "drop": "a" }).fails().events([]),
        Situation::new("drop, and a new collection of that name", |at| async move {
            at.run(doc! { "drop": "a" }).await?;
            two(at).await
        })
        .given(two)
        .events(["drop a", "create a", "insert a*2"]),
        run("dropDatabase", doc! { "dropDatabase": 1 }).given(two).events(["drop a", "dropDatabase"]),
        run("dropDatabase with a view", doc! { "dropDatabase": 1 })
            .given(|at| async move {
                two(at.clone()).await?;
                at.run(doc! { "create": "v", "viewOn": "a", "pipeline": [] }).await.map(drop)
            })
            .events(["drop a", "dropDatabase"]),
    ]
}

fn renames() -> Vec<Situation> {
    fn renamed(name: &'static str, to_other: bool, options: Document) -> Situation {
        Situation::new(name, move |at| {
            let to = if to_other { format!("{}.b", at.other()) } else { format!("{}.b", at.name) };
            let mut command = doc! { "renameCollection": format!("{}.a", at.name), "to": to };
            command.extend(options.clone());
            async move { at.admin(command).await.map(drop) }
        })
    }
    async fn both(at: Place) -> Outcome {
        two(at.clone()).await?;
        at.insert("b", [doc! { "_id": 7 }]).await
    }
    async fn indexed(at: Place) -> Outcome {
        two(at.clone()).await?;
        at.index("a", doc! { "x": 1 }).await
    }
    vec![
        renamed("renameCollection", false, doc! {}).given(two).events(["rename a > b"]),
        renamed("renameCollection onto another", false, doc! { "dropTarget": true })
            .given(both)
            .events(["rename a > b replaced"])
            .logged(ALL, "o.dropTarget"),
        renamed("renameCollection with stayTemp", false, doc! { "stayTemp": true })
            .only(OLD, "the option is gone in 6.0")
            .given(two)
            .events(["rename a > b"]),
        renamed("renameCollection into another database", true, doc! {})
            .given(indexed)
            .events(["rename other.tmp*.renameCollection > other.b replaced", "drop a"]),
        Situation::new("renameCollection there and back, with writes between", |at| async move {
            let [a, b] = ["a", "b"].map(|name| format!("{}.{name}", at.name));
            at.admin(doc! { "renameCollection": &a, "to": &b }).await?;
            at.insert("b", [doc! { "_id": 3 }]).await?;
            at.admin(doc! { "renameCollection": &b, "to": &a }).await?;
            at.delete("a", doc! { "_id": 1 }, 1).await
        })
        .given(two)
        .events(["rename a > b", "insert b", "rename b > a", "delete a"]),
    ]
}

fn time_series() -> Vec<Situation> {
    let create = || doc! { "create": "a", "timeseries": { "timeField": "at", "metaField": "m" } };
    let measured =
        |n: i64| doc! { "at": mongodb::bson::DateTime::from_millis(1_700_000_000_000 + n), "m": 1, "x": n };
    let made = move |at: Place| async move { at.run(create()).await.map(drop) };
    let both = move |at: Place| async move {
        at.run(create()).await?;
        at.insert("a", [measured(0)]).await
    };
    let since_5 = "time series exist since 5.0";
    vec![
        run("time series: create", create()).only(NEW, since_5).events(["create a"]),
        Situation::new("time series: two measurements in one bucket", move |at| async move {
            at.insert("a", [measured(0)]).await?;
            at.insert("a", [measured(1)]).await
        })
        .given(made)
        .only(NEW, since_5)
        .events([])
        .logged(NEW, "ns"),
        Situation::new("time series: delete by the meta field", |at| async move {
            at.delete("a", doc! { "m": 1 }, 0).await
        })
        .given(both)
        .only(V60, "5.0.4 refuses such deletes")
        .events([])
        .logged(NEW, "ns"),
        run("time series: drop", doc! { "drop": "a" })
            .given(both)
            .only(NEW, since_5)
            .events(["drop a"])
            .unseen(V50, "drop a", "change streams show views since 6.0"),
    ]
}
