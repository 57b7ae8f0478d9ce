//! What a chunk of the oplog says of the collection.

use std::sync::Arc;

use super::super::{Changes, Go};
use crate::event::{ChangeEvent, Position};
use crate::source::oplog::translate;
use crate::source::{Chunk, Namespaces};

pub(super) struct OplogChanges {
    pub(super) chunk: Chunk,
    pub(super) namespaces: Arc<Namespaces>,
    pub(super) source: String,
}

impl Changes for OplogChanges {
    fn visit(&self, each: &mut dyn FnMut(&ChangeEvent<'_>) -> Go) -> Result<(), String> {
        for op in &self.chunk.ops {
            let event = translate(&self.chunk, op, &self.namespaces, &self.source);
            match event.map_err(|fault| fault.to_string())? {
                Some(event) if each(&event) == Go::Enough => return Ok(()),
                _ => {}
            }
        }
        Ok(())
    }

    fn end(&self) -> Position {
        self.chunk.end.position()
    }

    fn ends_unit(&self) -> bool {
        self.chunk.ends_unit
    }

    fn wall_ms(&self) -> Option<i64> {
        self.chunk.wall_ms
    }
}
