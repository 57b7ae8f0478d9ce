//! One binary for all integration tests: a module per behaviour.
#![allow(clippy::unwrap_used, missing_docs)]

#[cfg(all(feature = "kafka", feature = "servers"))]
mod authority;
#[cfg(feature = "connector")]
mod config;
#[cfg(feature = "mongodb")]
mod corpus;
#[cfg(feature = "connector")]
mod decode;
#[cfg(all(feature = "kafka", feature = "nats"))]
mod deploy;
#[cfg(all(feature = "kafka", feature = "nats", feature = "servers"))]
mod e2e;
#[cfg(feature = "connector")]
mod http;
#[cfg(all(feature = "kafka", feature = "servers"))]
mod kafka_sink;
#[cfg(feature = "connector")]
mod match_;
#[cfg(all(feature = "nats", feature = "servers"))]
mod nats_sink;
#[cfg(all(feature = "kafka", feature = "nats", feature = "servers"))]
mod reactive;
#[cfg(feature = "connector")]
mod readme;
mod tidy;
