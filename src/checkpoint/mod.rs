//! Where checkpoints are kept, and how they are written.

pub mod file;
pub mod mongodb;
#[cfg(feature = "nats")]
pub mod nats;
pub mod record;
