//! What somebody needs to know who hands over events one by one.

use serde::de::DeserializeOwned;

use super::super::evidence::Time;
use super::Replica;
use crate::event::Position;

impl<T: DeserializeOwned> Replica<T> {
    /// The time of the changes that come in now.
    pub(in crate::reactive) fn now(&self) -> Time {
        self.unit.at.timestamp()
    }

    /// The position of the last of them.
    pub(in crate::reactive) fn last(&self) -> Position {
        self.unit.at
    }
}
