//! mongo-observer
#![forbid(unsafe_code)]

pub mod bson;
#[cfg(feature = "connector")]
pub mod checkpoint;
#[cfg(feature = "connector")]
pub mod cli;
#[cfg(feature = "connector")]
pub mod config;
#[cfg(feature = "connector")]
pub mod connector;
pub mod error;
pub mod event;
pub mod format;
#[cfg(feature = "connector")]
pub mod http;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "connector")]
pub mod metrics;
#[cfg(feature = "connector")]
pub mod monitor;
#[cfg(feature = "connector")]
pub mod pipeline;
#[cfg(feature = "connector")]
pub mod secret;
#[cfg(feature = "servers")]
pub mod servers;
#[cfg(feature = "connector")]
pub mod sink;
#[cfg(feature = "mongodb")]
pub mod source;
#[cfg(feature = "connector")]
pub mod status;
