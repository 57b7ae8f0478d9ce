//! Stands in for the settings of a sink that this build leaves out.

use std::convert::Infallible;

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::event::ImageSettings;
use crate::format::Format;

/// Settings that nobody can have: reading them is an error that says why.
#[derive(Debug)]
pub struct Missing {
    /// As all sinks have it.
    pub format: Format,
    /// As all sinks have it.
    pub expanded_events: bool,
    /// As all sinks have it.
    pub images: ImageSettings,
    _never: Infallible,
}

impl Missing {
    /// As all sinks with a choice have it.
    #[allow(clippy::unused_self, reason = "stands in for settings")]
    pub fn keeps_its_checkpoint(&self) -> bool {
        false
    }
}

impl<'de> Deserialize<'de> for Missing {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        let what = "this program was built without that type of sink: build it with the feature of that name";
        Err(D::Error::custom(what))
    }
}
