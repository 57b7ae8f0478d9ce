//! The formats `json` and `json-canonical`.

use std::sync::Arc;

use super::{Encoder, RecordWriter, Route, Unencodable};
use crate::event::ChangeEvent;

/// One JSON document per event.
#[derive(Debug, Clone, Copy)]
pub struct Json {}

impl Json {
    /// Relaxed.
    pub fn relaxed() -> Self {
        Self {}
    }
    /// Canonical.
    pub fn canonical() -> Self {
        Self {}
    }
}

impl Encoder for Json {
    fn encode(&self, _: &ChangeEvent<'_>, _: &Arc<Route>, _: &mut RecordWriter) -> Result<(), Unencodable> {
        Ok(())
    }
}
