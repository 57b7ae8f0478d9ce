//! Transactions: in one entry, in chains of entries, prepared.

use mongodb::bson::{Document, Timestamp, doc};
use mongodb::{Client, ClientSession};

use crate::ddl::two;
use crate::place::{Outcome, Place};
use crate::table::{ALL, NEW, Situation};

pub(crate) fn table() -> Vec<Situation> {
    [single(), together(), definitions(), silent(), chained(), prepared()].into_iter().flatten().collect()
}

/// A session in a transaction, in which these inserts were done.
async fn begun(at: &Place, coll: &str, ids: impl Iterator<Item = i32>) -> Outcome<ClientSession> {
    let mut session = at.client.start_session().await?;
    session.start_transaction().await?;
    for id in ids {
        insert(at, &mut session, coll, doc! { "_id": id }).await?;
    }
    Ok(session)
}

async fn insert(at: &Place, session: &mut ClientSession, coll: &str, document: Document) -> Outcome {
    at.run_in(session, doc! { "insert": coll, "documents": [document] }).await.map(drop)
}

async fn update(at: &Place, session: &mut ClientSession, id: i32, change: Document) -> Outcome {
    let update = doc! { "q": { "_id": id }, "u": change };
    at.run_in(session, doc! { "update": "a", "updates": [update] }).await.map(drop)
}

async fn delete(at: &Place, session: &mut ClientSession, id: i32) -> Outcome {
    let delete = doc! { "q": { "_id": id }, "limit": 1 };
    at.run_in(session, doc! { "delete": "a", "deletes": [delete] }).await.map(drop)
}

fn single() -> Vec<Situation> {
    vec![
        Situation::new("a transaction over two collections", |at| async move {
            let mut session = begun(&at, "a", 3..5).await?;
            insert(&at, &mut session, "b", doc! { "_id": 1 }).await?;
            update(&at, &mut session, 1, doc! { "$set": { "x": 9 } }).await?;
            update(&at, &mut session, 3, doc! { "y": 1 }).await?;
            delete(&at, &mut session, 2).await?;
            Ok(session.commit_transaction().await?)
        })
        .given(|at| async move {
            two(at.clone()).await?;
            at.run(doc! { "create": "b" }).await.map(drop)
        })
        .events([
            "insert a 0/6",
            "insert a 1/6",
            "insert b 2/6",
            "update a 3/6",
            "replace a 4/6",
            "delete a 5/6",
        ])
        .logged(ALL, "o.applyOps.op.u"),
        Situation::new("a transaction of one operation", |at| async move {
            Ok(begun(&at, "a", 3..4).await?.commit_transaction().await?)
        })
        .given(two)
        .events(["insert a 0/1"]),
        Situation::new(
            "one document inserted, updated twice and deleted in a transaction",
            |at| async move {
                let mut session = begun(&at, "a", 3..4).await?;
                update(&at, &mut session, 3, doc! { "$set": { "x": 1 } }).await?;
                update(&at, &mut session, 3, doc! { "$set": { "x": 2 } }).await?;
                delete(&at, &mut session, 3).await?;
                Ok(session.commit_transaction().await?)
            },
        )
        .given(two)
        .events(["insert a 0/4", "update a 1/4", "update a 2/4", "delete a 3/4"]),
        Situation::new("findAndModify in a transaction", |at| async move {
            let mut session = begun(&at, "a", 0..0).await?;
            let command =
                doc! { "findAndModify": "a", "query": { "_id": 1 }, "update": { "$inc": { "x": 1 } } };
            at.run_in(&mut session, command).await?;
            Ok(session.commit_transaction().await?)
        })
        .given(two)
        .events(["update a 0/1"]),
    ]
}

fn together() -> Vec<Situation> {
    vec![
        Situation::new("two transactions of one session, with a plain write between", |at| async move {
            let mut session = begun(&at, "a", 3..5).await?;
            session.commit_transaction().await?;
            at.insert("a", [doc! { "_id": 5 }]).await?;
            session.start_transaction().await?;
            delete(&at, &mut session, 5).await?;
            Ok(session.commit_transaction().await?)
        })
        .given(two)
        .events(["insert a 0/2", "insert a 1/2", "insert a", "delete a 0/1"]),
        Situation::new("a large transaction, with a write from outside in between", |at| async move {
            let mut session = begun(&at, "a", 0..0).await?;
            for id in 3..6 {
                insert(&at, &mut session, "a", doc! { "_id": id, "large": "x".repeat(7 << 20) }).await?;
                if id == 4 {
                    at.insert("a", [doc! { "_id": 7 }]).await?;
                }
            }
            Ok(session.commit_transaction().await?)
        })
        .given(two)
        .events(["insert a", "insert a 0/3", "insert a 1/3", "insert a 2/3"])
        .logged(ALL, "o.partialTxn")
        .logged(ALL, "o.count"),
    ]
}

fn definitions() -> Vec<Situation> {
    vec![
        Situation::new("create and createIndexes in a transaction", |at| async move {
            let mut session = begun(&at, "a", 0..0).await?;
            at.run_in(&mut session, doc! { "create": "a" }).await?;
            insert(&at, &mut session, "a", doc! { "_id": 1 }).await?;
            at.run_in(&mut session, doc! { "create": "b" }).await?;
            let index = doc! { "key": { "x": 1 }, "name": "x_1" };
            at.run_in(&mut session, doc! { "createIndexes": "b", "indexes": [index] }).await?;
            Ok(session.commit_transaction().await?)
        })
        .events(["create a 0/4", "insert a 1/4", "create b 2/4", "createIndexes b 3/4"]),
        Situation::new("an insert in a transaction that creates its collection", |at| async move {
            Ok(begun(&at, "a", 1..3).await?.commit_transaction().await?)
        })
        .events(["create a 0/3", "insert a 1/3", "insert a 2/3"]),
    ]
}

fn silent() -> Vec<Situation> {
    vec![
        Situation::new("a transaction that only reads", |at| async move {
            let mut session = begun(&at, "a", 0..0).await?;
            at.run_in(&mut session, doc! { "find": "a" }).await?;
            Ok(session.commit_transaction().await?)
        })
        .given(two)
        .events([]),
        Situation::new("a transaction that is aborted", |at| async move {
            Ok(begun(&at, "a", 3..6).await?.abort_transaction().await?)
        })
        .given(two)
        .events([]),
        Situation::new("a transaction that conflicts with another", |at| async move {
            let mut first = begun(&at, "a", 3..4).await?;
            let mut second = begun(&at, "a", 4..5).await?;
            let conflict = insert(&at, &mut second, "a", doc! { "_id": 3 }).await;
            first.commit_transaction().await?;
            if conflict.is_ok() { Err("there was no conflict".into()) } else { Ok(()) }
        })
        .given(two)
        .events(["insert a 0/1"]),
    ]
}

fn chained() -> Vec<Situation> {
    vec![
        Situation::new("a chain of three entries", |at| async move {
            let mut session = begun(&at, "a", 3..6).await?;
            update(&at, &mut session, 3, doc! { "$set": { "x": 1 } }).await?;
            delete(&at, &mut session, 1).await?;
            Ok(session.commit_transaction().await?)
        })
        .small_entries()
        .given(two)
        .events(["insert a 0/5", "insert a 1/5", "insert a 2/5", "update a 3/5", "delete a 4/5"])
        .logged(ALL, "o.partialTxn")
        .logged(ALL, "o.count"),
        Situation::new(
            "two chains, open at the same time, committed with a plain write between",
            |at| async move {
                let mut first = begun(&at, "a", 3..6).await?;
                let mut second = begun(&at, "a", 10..13).await?;
                insert(&at, &mut first, "a", doc! { "_id": 6 }).await?;
                second.commit_transaction().await?;
                at.insert("a", [doc! { "_id": 20 }]).await?;
                Ok(first.commit_transaction().await?)
            },
        )
        .small_entries()
        .given(two)
        .events([
            "insert a 0/3",
            "insert a 1/3",
            "insert a 2/3",
            "insert a",
            "insert a 0/4",
            "insert a 1/4",
            "insert a 2/4",
            "insert a 3/4",
        ]),
        Situation::new("a chain with create and createIndexes", |at| async move {
            let mut session = begun(&at, "b", 1..4).await?;
            let index = doc! { "key": { "x": 1 }, "name": "x_1" };
            at.run_in(&mut session, doc! { "createIndexes": "c", "indexes": [index] }).await?;
            Ok(session.commit_transaction().await?)
        })
        .small_entries()
        .given(two)
        .events([
            "create b 0/6",
            "insert b 1/6",
            "insert b 2/6",
            "insert b 3/6",
            "create c 4/6",
            "createIndexes c 5/6",
        ]),
        Situation::new("retryable writes of several operations, which are not chains", |at| async move {
            at.retryable([
                doc! { "insert": "a", "documents": (3..8).map(|id| doc! { "_id": id }).collect::<Vec<_>>() },
            ])
            .await
        })
        .small_entries()
        .given(two)
        .events(["insert a*5"])
        .logged(ALL, "prevOpTime"),
    ]
}

/// Prepares; says at what time it can be committed.
async fn prepare(client: &Client, session: &mut ClientSession) -> Outcome<Timestamp> {
    let command = doc! { "prepareTransaction": 1, "writeConcern": { "w": "majority" } };
    let answer = client.database("admin").run_command(command).session(session).await?;
    Ok(answer.get_timestamp("prepareTimestamp")?)
}

async fn end(at: &Place, session: &mut ClientSession, command: Document) -> Outcome {
    at.client.database("admin").run_command(command).session(session).await?;
    Ok(())
}

fn prepared() -> Vec<Situation> {
    // A prepared transaction of so many inserts, a plain write, and then its end.
    let ended = |name: &'static str, count: i32, commit: bool| {
        Situation::new(name, move |at| async move {
            let mut session = begun(&at, "a", 3..3 + count).await?;
            if count == 0 {
                at.run_in(&mut session, doc! { "find": "a" }).await?;
            }
            let prepared = prepare(&at.client, &mut session).await?;
            at.insert("a", [doc! { "_id": 50 }]).await?;
            let commit_at = doc! { "commitTransaction": 1, "commitTimestamp": prepared };
            end(
                &at,
                &mut session,
                if commit {
                    commit_at
                } else {
                    doc! { "abortTransaction": 1 }
                },
            )
            .await
        })
        .small_entries()
        .given(two)
        .logged(ALL, "o.prepare")
    };
    vec![
        ended("a prepared transaction in one entry, committed", 2, true)
            .events(["insert a", "insert a 0/2", "insert a 1/2"])
            .logged(ALL, "o.commitTransaction"),
        ended("a prepared transaction in a chain, committed", 5, true)
            .events([
                "insert a",
                "insert a 0/5",
                "insert a 1/5",
                "insert a 2/5",
                "insert a 3/5",
                "insert a 4/5",
            ])
            .logged(ALL, "o.commitTransaction"),
        ended("a prepared transaction in one entry, aborted", 2, false)
            .events(["insert a"])
            .logged(ALL, "o.abortTransaction"),
        ended("a prepared transaction in a chain, aborted", 5, false)
            .events(["insert a"])
            .logged(ALL, "o.abortTransaction"),
        ended("a prepared transaction that wrote nothing", 0, true)
            .only(NEW, "a change stream of 4.4.2 that comes to it kills the server")
            .events(["insert a"])
            .logged(NEW, "o.commitTransaction"),
    ]
}
