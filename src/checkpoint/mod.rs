//! Where checkpoints are kept, and how they are written.

pub mod file;
pub mod mongodb;
pub mod record;
