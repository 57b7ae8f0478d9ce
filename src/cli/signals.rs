//! SIGTERM and SIGINT: the first one asks for a drain, the second one ends the process at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind};

/// A token that is cancelled by the first signal. The second one exits with code 1: like a crash, which loses nothing.
pub(super) fn stop() -> Result<CancellationToken, Error> {
    let listen = |kind| {
        signal(kind).map_err(|error| Error::caused(ErrorKind::Local, "signals can't be listened to", error))
    };
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            if stop.is_cancelled() {
                tracing::warn!(signal = name, "second signal: ending at once");
                std::process::exit(1);
            }
            tracing::info!(signal = name, "draining");
            stop.cancel();
        }
    });
    Ok(stopped)
}
