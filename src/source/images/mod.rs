//! Images: whole documents that the operations of a chunk don't carry, fetched before the chunk is prepared.
//!
//! - `wanted`: which documents the operations want, and what to ask the server for them;
//! - `ahead`: asks for several chunks at once, in windows of bounded size, and keeps the chunks' order;
//! - `attached`: what was found, beside the operations of a chunk;
//! - `server`: asks MongoDB.
//!
//! Where nobody wants images there is none of this: chunks go from the source to the pipeline as they are.

mod ahead;
mod attached;
mod server;
#[cfg(test)]
mod tests;
mod wanted;

pub use ahead::{IMAGES_AHEAD, ImageLimits, with_images};
pub use attached::{Attached, Fetched};
pub use server::{ServerImages, not_recording};
pub use wanted::{Request, Sought};

use std::fmt;

use bytes::Bytes;
use futures::stream::BoxStream;

use crate::error::Error;

/// A collection's UUID.
pub type CollectionId = [u8; 16];

/// Where documents are found.
pub trait ImageStore: Send + Sync + fmt::Debug {
    /// Reads what is asked for, as documents, a reply of the server at a time. What is not there is not among them. A reader that has
    /// enough, or too much, drops the stream.
    fn read<'a>(&'a self, request: &'a Request<'a>) -> BoxStream<'a, Result<Vec<Bytes>, Error>>;

    /// Whether the server keeps what was there before a change in a collection, as it does since 6.0, and not in its oplog.
    fn keeps_records(&self) -> bool;
}
