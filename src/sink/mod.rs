//! Where records go.

#[cfg(feature = "nats")]
pub mod nats;
