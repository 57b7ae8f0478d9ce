//! `mongo-observer run`: the pipelines, until a signal.

use std::process::ExitCode;

use super::args::Run;
use super::{load, logging, signals};
use crate::connector;
use crate::error::Error;

pub(super) async fn run(args: &Run) -> Result<ExitCode, Error> {
    let config = load(&args.configured, &args.overrides())?;
    logging::start(&config.log);
    let stop = signals::stop()?;
    connector::run(config, &stop).await?;
    Ok(ExitCode::SUCCESS)
}
