//! Where checkpoints are kept.

#[cfg(feature = "kafka")]
pub mod kafka;
