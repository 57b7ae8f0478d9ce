//! `mongo-observer decode`: oplog entries in, events out, offline.

use std::process::ExitCode;

use super::args::Decode;
use crate::error::Error;

pub(super) fn decode(_: &Decode) -> Result<ExitCode, Error> {
    Ok(ExitCode::FAILURE)
}
