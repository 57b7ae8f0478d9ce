//! Stands in for the settings of a sink that this build leaves out.

use futures::future::BoxFuture;
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::error::Error;
use crate::pipeline::{OpenSink, Opened, OwnStore, Stored};

/// Settings that nobody can have: reading them is an error that says why.
#[derive(Debug)]
pub enum Missing {}

impl<'de> Deserialize<'de> for Missing {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(D::Error::custom(
            "this program was built without that type of sink: build it with the feature of that name",
        ))
    }
}

impl OpenSink for Missing {
    fn open<'a>(&'a self, _: Option<&'a Stored>) -> BoxFuture<'a, Result<Opened, Error>> {
        match *self {}
    }

    fn own_store(&self, _: &str) -> Result<OwnStore, Error> {
        match *self {}
    }

    fn check(&self) -> BoxFuture<'_, Result<String, Error>> {
        match *self {}
    }
}
