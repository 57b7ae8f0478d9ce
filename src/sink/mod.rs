//! Where records go.

#[cfg(feature = "kafka")]
pub mod kafka;
