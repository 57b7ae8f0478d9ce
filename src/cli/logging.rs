//! Logs, on standard error: one event a line. Nothing of any document is ever logged.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Starts logging as configured. Other libraries are heard from warnings on.
pub(super) fn start(log: Log) {
    let level = log.level.name();
    let filter =
        EnvFilter::new(format!("{},mongo_observer={level}", if level == "off" { "off" } else { "warn" }));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_target(false);
    // A second start, as in tests, keeps the first one's settings.
    let _ = match log.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
}
