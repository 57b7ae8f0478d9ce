//! The oplog of a replica set: reading it, cutting replies into operations, and what each operation means.

pub mod cut;
mod entry;
mod tail;
#[cfg(test)]
mod tests;
mod translate;
mod verify;

pub use cut::Cutter;
pub use tail::{OplogSource, TailSettings};
pub use translate::{Unreadable, translate};
