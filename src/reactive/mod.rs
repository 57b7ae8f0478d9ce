//! Live collections: copies of MongoDB collections, or of parts of them, in memory, which follow every change.
//!
//! A [`ReactiveCollection`] is the whole of a collection, a [`ReactivePartialCollection`] those documents that match a filter. Both are read
//! from any number of threads without waiting; one task follows the source and writes.
//!
//! ```no_run
//! use mongo_observer::reactive::{Change, Next, ReactiveCollection, ReactivePartialCollection};
//! use mongodb::bson::{doc, oid::ObjectId};
//!
//! #[derive(serde::Deserialize)]
//! struct Order {
//!     customer: String,
//!     total: f64,
//! }
//!
//! # async fn example(id: ObjectId) -> Result<(), Box<dyn std::error::Error>> {
//! let client = mongodb::Client::with_uri_str("mongodb://127.0.0.1:27017/?replicaSet=rs0").await?;
//!
//! // All orders, with an index over what they decode to.
//! let orders = ReactiveCollection::<Order>::builder(&client, "shop.orders")
//!     .index("customer", |order: &Order| [order.customer.clone()])
//!     .start()
//!     .await?;
//! orders.ready().await?;
//!
//! // One point in time, for as long as it is wanted.
//! let snapshot = orders.snapshot();
//! println!("{} orders as of {}", snapshot.len(), snapshot.position());
//! if let Some(order) = snapshot.get(id) {
//!     println!("{} owes {}", order.typed()?.customer, order.typed()?.total);
//! }
//! let ada: f64 = snapshot.by("customer")?.eq("Ada").filter_map(|order| order.typed().ok()).map(|order| order.total).sum();
//! println!("Ada owes {ada}");
//!
//! // Only some of them, and every change of those.
//! let open = ReactivePartialCollection::<Order>::builder(&client, "shop.orders")
//!     .filter(doc! { "state": { "$in": ["new", "held"] } })
//!     .start()
//!     .await?;
//! let (start, mut changes) = open.subscribe();
//! let mut count = start.len();
//! while let Some(next) = changes.next().await {
//!     match next {
//!         Next::Batch(batch) => batch.iter().for_each(|change| match change {
//!             Change::Inserted { .. } => count += 1,
//!             Change::Removed { .. } => count -= 1,
//!             Change::Updated { .. } => {}
//!         }),
//!         Next::Reset(snapshot) => count = snapshot.len(),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The same without a server, for tests of what is built on collections:
//!
//! ```
//! use bson::{Document, doc};
//! use mongo_observer::reactive::{MemorySource, ReactivePartialCollection};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let source = MemorySource::new("shop.orders");
//! source.insert(&doc! { "_id": 1, "state": "new" });
//! source.insert(&doc! { "_id": 2, "state": "paid" });
//! let open = ReactivePartialCollection::<Document>::of_memory(&source).filter(doc! { "state": "new" }).start().await?;
//! open.ready().await?;
//! assert!(open.get(1).is_some() && open.get(2).is_none());
//!
//! let written = source.set(2, &doc! { "state": "new" });
//! open.reached(written).await?;
//! assert_eq!(open.get(2).unwrap().typed()?, &doc! { "_id": 2, "state": "new" });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! # What is promised
//!
//! - **A snapshot is the collection as it was at one point of the source's history**, never within a transaction. The first copy and the
//!   changes behind it join exactly. (On MongoDB 4.4, which can't read the past, documents that were written while the copy was read are read
//!   again until they are certain; only then the collection is ready.)
//! - **Every change has what was and what is**, and comes in a [`Batch`] that is a transaction of the source.
//! - **[`subscribe`](ReactiveCollection::subscribe) leaves no gap** between its snapshot and its changes. Who is too slow gets
//!   [`Next::Reset`]; memory does not grow.
//! - **Documents are the server's, byte for byte**: [`Doc::raw`]. The typed view is decoded when it is first asked for. A document that is
//!   not of the type is there nonetheless, and counted.
//! - **Filters are MongoDB's**, as [`query`](crate::query) evaluates them; one that can't be decided locally is refused when the collection
//!   is started. A change that does not say by itself whether its document matches leads to a read of it, before anything behind is shown.
//! - **Drop, rename, and another collection of the same name** empty the collection, or lead to a new copy: collections are told apart by
//!   their UUIDs. A rename is not followed.
//! - **Nothing is silently wrong.** What was missed (a position that the oplog no longer has, a change that does not fit) leads to a new copy;
//!   readers see what was there before until all of it can be shown at once, and [`Status`] says so. Views, capped collections and time
//!   series are refused.

mod change;
mod collection;
mod document;
mod evidence;
mod feed;
#[cfg(feature = "mongodb")]
mod handler;
mod index;
mod key;
mod partial;
mod projection;
mod publish;
mod replica;
mod scope;
mod snapshot;
mod status;
mod store;
mod subscribe;
#[cfg(test)]
mod tests;
mod writer;

pub use change::{Batch, Cause, Change};
pub use collection::{Builder, ReactiveCollection};
pub use document::{DecodeError, Doc};
pub use feed::memory::{MemorySource, Writes};
#[cfg(feature = "mongodb")]
pub use handler::Replicator;
pub use partial::{PartialBuilder, ReactivePartialCollection};
pub use snapshot::{ByIndex, Snapshot};
pub use status::{State, Status};
pub use subscribe::{Changes, Next};
