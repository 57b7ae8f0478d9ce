//! What is no data: notes, users, settings, elections.

use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};

use crate::ddl::two;
use crate::harness::PATIENCE;
use crate::place::{Outcome, Place};
use crate::table::{ALL, Situation, V50, V60, Version};

pub(crate) fn table() -> Vec<Situation> {
    [notes(), settings(), internal(), members()].into_iter().flatten().collect()
}

/// A command on the database `admin`.
fn admin(name: &'static str, command: Document) -> Situation {
    Situation::new(name, move |at| {
        let command = command.clone();
        async move { at.admin(command).await.map(drop) }
    })
}

fn notes() -> Vec<Situation> {
    vec![
        admin("appendOplogNote", doc! { "appendOplogNote": 1, "data": { "_id": 1, "msg2": "x" } })
            .events([])
            .logged(ALL, "op.n"),
        Situation::new("an idle server, which writes heartbeats", |at| async move {
            let oplog = at.client.database("local").collection::<Document>("oplog.rs");
            let count = || oplog.count_documents(doc! { "o.msg": "periodic noop" });
            let before = count().await?;
            let deadline = Instant::now() + PATIENCE;
            while count().await? < before + 2 {
                if Instant::now() > deadline {
                    return Err("waited in vain for a heartbeat".into());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Ok(())
        })
        .events([])
        .logged(ALL, "o.msg.periodic noop"),
    ]
}

fn settings() -> Vec<Situation> {
    vec![
        Situation::new("createUser, grantRolesToUser, dropUser", |at| async move {
            at.admin(doc! { "createUser": "u", "pwd": "secret", "roles": ["read"] }).await?;
            at.admin(doc! { "grantRolesToUser": "u", "roles": ["readWriteAnyDatabase"] }).await?;
            at.admin(doc! { "dropUser": "u" }).await.map(drop)
        })
        .events([])
        .logged(ALL, "ns.admin.system.users"),
        Situation::new("a user of this database", |at| async move {
            at.run(doc! { "createUser": "u", "pwd": "secret", "roles": ["read"] }).await?;
            at.run(doc! { "dropUser": "u" }).await.map(drop)
        })
        .events([]),
        Situation::new("setFeatureCompatibilityVersion down and up, with updates between", |at| async move {
            let (older, own) = match at.version {
                Version::V44 => ("4.2", "4.4"),
                Version::V50 => ("4.4", "5.0"),
                Version::V60 => ("5.0", "6.0"),
            };
            at.admin(doc! { "setFeatureCompatibilityVersion": older }).await?;
            at.update("a", doc! { "_id": 1 }, doc! { "$set": { "x": 5 }, "$unset": { "y": "" } }).await?;
            at.update("a", doc! { "_id": 2 }, vec![doc! { "$set": { "x": 7 } }]).await?;
            at.admin(doc! { "setFeatureCompatibilityVersion": own }).await?;
            at.update("a", doc! { "_id": 1 }, doc! { "$set": { "x": 6 } }).await
        })
        .given(|at| async move {
            let large = "x".repeat(300);
            at.insert("a", [doc! { "_id": 1, "x": 1, "y": 2 }, doc! { "_id": 2, "x": 2, "large": large }])
                .await
        })
        .events(["update a", "replace a", "update a"])
        .events_on(V60, ["update a*3"])
        .logged(V50, "o.$set")
        .logged(V50, "o.diff"),
        Situation::new("reconfiguration of the replica set", |at| async move {
            let answer = at.admin(doc! { "replSetGetConfig": 1 }).await?;
            let mut config = answer.get_document("config")?.clone();
            config.insert("version", config.get_i32("version")? + 1);
            at.admin(doc! { "replSetReconfig": config }).await.map(drop)
        })
        .events([]),
    ]
}

fn internal() -> Vec<Situation> {
    let into = |name: &'static str, coll: &'static str, document: Document| {
        Situation::new(name, move |at| {
            let document = document.clone();
            async move { at.insert(coll, [document]).await }
        })
    };
    vec![
        into("a function in system.js", "system.js", doc! { "_id": "f", "value": 1 }).events([]),
        Situation::new("the session cache is refreshed", |at| async move {
            let mut session = at.client.start_session().await?;
            at.run_in(&mut session, doc! { "find": "a" }).await?;
            at.admin(doc! { "refreshLogicalSessionCacheNow": 1 }).await.map(drop)
        })
        .given(two)
        .events([])
        .logged(ALL, "ns.config.system.sessions"),
        Situation::new("GridFS: a file is put and deleted", |at| async move {
            use futures::AsyncWriteExt as _;
            let bucket = at.db().gridfs_bucket(None);
            let mut file = bucket.open_upload_stream("a file").chunk_size_bytes(1000).await?;
            file.write_all(&[7; 2500]).await?;
            file.close().await?;
            let id = file.id().clone();
            Ok(bucket.delete(id).await?)
        })
        .events([
            "create fs.files",
            "createIndexes fs.files",
            "create fs.chunks",
            "createIndexes fs.chunks",
            "insert fs.chunks*3",
            "insert fs.files",
            "delete fs.files",
            "delete fs.chunks*3",
        ]),
        Situation::new("a profiled database", |at| async move {
            at.run(doc! { "profile": 2 }).await?;
            at.insert("a", [doc! { "_id": 1 }]).await?;
            at.run(doc! { "profile": 0 }).await.map(drop)
        })
        .events(["create a", "insert a"]),
    ]
}

fn members() -> Vec<Situation> {
    vec![
        Situation::new("step-down and election, with writes around", |at| async move {
            at.insert("a", [doc! { "_id": 3 }]).await?;
            at.admin(doc! { "replSetStepDown": 1, "force": true }).await?;
            writable(&at).await?;
            at.insert("a", [doc! { "_id": 4 }]).await
        })
        .given(two)
        .events(["insert a*2"])
        .logged(ALL, "o.msg.new primary"),
    ]
}

/// Waits until the server takes writes again.
async fn writable(at: &Place) -> Outcome {
    let deadline = Instant::now() + PATIENCE;
    while !at.admin(doc! { "hello": 1 }).await?.get_bool("isWritablePrimary")? {
        if Instant::now() > deadline {
            return Err("waited in vain for a primary".into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
