//! `mongo-observer run`: the pipelines, until a signal.

use std::process::ExitCode;

use super::args::Run;
use super::{load, logging, signals};
use crate::connector::Connector;
use crate::error::Error;

pub(super) async fn run(args: &Run) -> Result<ExitCode, Error> {
    let config = load(&args.configured, &args.overrides())?;
    logging::start(config.log);
    let stop = signals::stop()?;
    Connector::new(config)?.run(&stop).await?;
    Ok(ExitCode::SUCCESS)
}
