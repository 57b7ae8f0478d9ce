//! Live collections: copies of MongoDB collections, or of parts of them, in memory, which follow every change.
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
