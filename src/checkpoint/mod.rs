//! Where checkpoints are kept, and how they are written.

pub mod file;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod mongodb;
#[cfg(feature = "nats")]
pub mod nats;
pub mod record;
