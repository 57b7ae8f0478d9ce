//! A table of situations: whatever a MongoDB server can write into its oplog, on real servers of three versions.
//!
//! Each situation does some writes in a database of its own. What the connector publishes for them, as processes that follow the oplog, is
//! compared with what knows nothing of our code:
//!
//! - the server's own **change stream** of the same writes (all databases; on 6.0 with its expanded events), event by event: operation,
//!   namespace, key, documents byte for byte, the lists of an update, cluster time, transaction, UUID, description; and in the format of
//!   MongoDB's own connector, read with a filter on the server, the whole change event byte for byte, its resume token included;
//! - the **oplog** as the driver reads it: what older change streams don't show, and that the situation really made entries of the kind
//!   that it is about;
//! - the **documents**: replaying our events gives what the collections hold, byte for byte;
//! - the **outcome** that the table states, so that the table can be read.
//!
//! Where the change stream says something else, the table says so, and why; a note that no longer applies is a failure, too.
//!
//! # How to add one
//!
//! Add a row to the `table` of the file it belongs to:
//!
//! ```text
//! Situation::new("$merge into an existing collection", |at| async move { at.aggregate("a", …).await })
//!     .given(|at| async move { at.insert("a", …).await })            // writes before, whose outcome is not stated
//!     .only(NEW, "…")                                                // the versions on which it exists, and why not on the others
//!     .events(["update b", "insert b*2"])                            // the outcome: op, collection, how many times
//!     .events_on(V44, ["replace b", "insert b*2"])                   // another outcome on some versions
//!     .unseen(ALL, "insert b", "the change stream is silent on …")   // ours, and not in the change stream
//!     .unpublished(ALL, "create tmp*", "temporary collections …")    // in the change stream, and not ours
//!     .logged(NEW, "o.diff.sa.u0")                                   // an entry of the oplog that has such a field
//! ```
//!
//! In an outcome, `insert a 0/3` is the first of three operations of a transaction, `rename a > b` leads to `b`, and `other.a` lies in the
//! situation's second database. `SITUATIONS=text cargo test --test situations` runs those whose names hold that text.
#![allow(clippy::unwrap_used, missing_docs)]

mod aggregation;
mod apply_ops;
mod arrays;
mod capped;
mod compare;
mod consumer;
mod ddl;
mod deletes;
mod description;
mod find_and_modify;
mod harness;
mod indexes;
mod inserts;
mod json;
mod noops;
mod oracle;
mod ours;
mod pipelines;
mod place;
mod replacements;
mod replay;
mod table;
mod transactions;
mod unusual;
mod updates;
mod values;
mod verdict;

use harness::Server;
use table::{Situation, Version};

/// All situations, in the order in which they run.
fn table() -> Vec<Situation> {
    [
        // First, since some collections are in the way of a downgrade.
        noops::table(),
        inserts::table(),
        updates::table(),
        arrays::table(),
        pipelines::table(),
        replacements::table(),
        deletes::table(),
        find_and_modify::table(),
        capped::table(),
        ddl::table(),
        indexes::table(),
        aggregation::table(),
        transactions::table(),
        apply_ops::table(),
        unusual::table(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[tokio::test]
async fn situations_on_4_4() {
    harness::run(Version::V44, Server::Plain).await;
}

#[tokio::test]
async fn situations_on_5_0() {
    harness::run(Version::V50, Server::Plain).await;
}

#[tokio::test]
async fn situations_on_6_0() {
    harness::run(Version::V60, Server::Plain).await;
}

#[tokio::test]
async fn situations_with_small_entries_on_4_4() {
    harness::run(Version::V44, Server::SmallEntries).await;
}

#[tokio::test]
async fn situations_with_small_entries_on_5_0() {
    harness::run(Version::V50, Server::SmallEntries).await;
}

#[tokio::test]
async fn situations_with_small_entries_on_6_0() {
    harness::run(Version::V60, Server::SmallEntries).await;
}
