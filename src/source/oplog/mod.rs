//! The oplog of a replica set: reading it, cutting replies into operations, and what each operation means.

mod chain;
mod chunks;
pub mod cut;
mod entry;
mod fields;
mod pieces;
pub(in crate::source) mod reply;
mod tail;
#[cfg(test)]
mod tests;
mod translate;
mod verify;

pub use chain::{Chain, Pieces, Wanted};
pub use cut::{Cut, Cutter};
pub use entry::OpTime;
pub use fields::Layout;
pub use tail::{OplogSource, TailSettings};
pub use translate::{Fault, FaultKind, translate, unencodable};
#[cfg(feature = "connector")]
pub(crate) use verify::entry_before;
