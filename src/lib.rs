//! mongo-observer
#![forbid(unsafe_code)]

pub mod bson;
pub mod error;
pub mod event;
pub mod format;
#[cfg(feature = "connector")]
pub mod pipeline;
#[cfg(feature = "mongodb")]
pub mod source;
