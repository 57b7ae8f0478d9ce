//! One binary for all integration tests: a module per behaviour.
#![allow(clippy::unwrap_used, missing_docs)]

#[cfg(feature = "connector")]
mod config;
#[cfg(feature = "connector")]
mod deploy;
#[cfg(all(feature = "kafka", feature = "nats", feature = "servers"))]
mod e2e;
#[cfg(feature = "connector")]
mod http;
#[cfg(all(feature = "kafka", feature = "servers"))]
mod kafka_sink;
mod tidy;
