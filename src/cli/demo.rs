//! `mongo-observer demo`: the main job on servers of its own.

use std::process::ExitCode;

use super::args::Demo;
use crate::error::Error;

pub(super) async fn demo(_: &Demo) -> Result<ExitCode, Error> {
    Ok(ExitCode::FAILURE)
}
