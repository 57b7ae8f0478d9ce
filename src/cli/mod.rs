//! The command line: one module for each command, exit codes, logging, signals.

pub mod args;
mod check;
mod checkpoint;
mod decode;
#[cfg(feature = "servers")]
mod demo;
mod lines;
mod logging;
mod match_;
mod run;
mod signals;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;

use self::args::{Cli, Command, Configured};
use crate::config::{Config, Override};
use crate::error::{Error, ErrorKind};

/// How long threads that still wait for something may take at the end.
const GOODBYE: Duration = Duration::from_millis(500);

/// Runs the command that was typed. 0: done, 1: failed, 2: bad usage or configuration.
pub fn main() -> ExitCode {
    let command = Cli::parse().command;
    match dispatch(command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("mongo-observer: {error}");
            match error.kind() {
                ErrorKind::Config => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode, Error> {
    match command {
        Command::Run(args) => block_on(run::run(&args)),
        Command::Check(args) => block_on(check::check(&args)),
        Command::Checkpoint(args) => block_on(checkpoint::checkpoint(&args)),
        Command::Decode(args) => decode::decode(&args),
        Command::Match(args) => match_::match_(&args),
        #[cfg(feature = "servers")]
        Command::Demo(args) => block_on(demo::demo(&args)),
        #[cfg(not(feature = "servers"))]
        Command::Demo(_) => Err(Error::new(
            ErrorKind::Config,
            "this program was built without `servers`, which the demo needs",
        )),
    }
}

fn block_on(command: impl Future<Output = Result<ExitCode, Error>>) -> Result<ExitCode, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::caused(ErrorKind::Local, "the asynchronous runtime can't start", error))?;
    let result = runtime.block_on(command);
    // A thread that waits for an answer of a dead broker must not hold the exit up.
    runtime.shutdown_timeout(GOODBYE);
    result
}

fn load(configured: &Configured, overrides: &[Override]) -> Result<Config, Error> {
    Config::load(Some(&configured.config), std::env::vars_os(), overrides)
}
