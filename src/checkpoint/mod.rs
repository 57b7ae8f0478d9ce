//! Where checkpoints are kept.

#[cfg(feature = "nats")]
pub mod nats;
