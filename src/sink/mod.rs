//! Where events go. Every adapter has the same parts: settings, opening, sending, and what its errors mean.

#[cfg(feature = "kafka")]
pub mod kafka;
pub mod lines;
#[cfg(feature = "nats")]
pub mod nats;
