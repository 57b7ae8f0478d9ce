//! mongo-observer
#![forbid(unsafe_code)]

pub mod bson;
#[cfg(feature = "connector")]
pub mod checkpoint;
pub mod error;
pub mod event;
pub mod format;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "connector")]
pub mod pipeline;
#[cfg(feature = "connector")]
pub mod sink;
#[cfg(feature = "mongodb")]
pub mod source;
