//! Stores checkpoints, in a task of its own: a slow store never holds events up, and only the newest mark counts.

use std::time::Duration;

use tokio::sync::watch;

use super::{Checkpoint, CheckpointStore, Monitor, Stored};
use crate::error::Error;
use crate::event::Mark;

/// Stores the newest mark whenever it has moved, at most once per `interval`, and a last time when the sender is gone.
pub(super) async fn keep(
    mut store: Box<dyn CheckpointStore>,
    mut done: watch::Receiver<Option<Mark>>,
    source: String,
    interval: Duration,
    monitor: std::sync::Arc<dyn Monitor>,
) -> Result<(), Error> {
    let mut stored = None;
    loop {
        if *done.borrow_and_update() == stored && done.changed().await.is_err() {
            return Ok(());
        }
        let newest = *done.borrow_and_update();
        if let Some(mark) = newest {
            let result = store.save(&Stored::Checkpoint(Checkpoint::of(mark, &source))).await;
            monitor.stored(mark, result.as_ref().err());
            result?;
            stored = newest;
        }
        // Waits out the interval, unless the pipeline ends: then the last mark must not wait.
        let _ = tokio::time::timeout(interval, ended(&mut done)).await;
    }
}

async fn ended(done: &mut watch::Receiver<Option<Mark>>) {
    while done.changed().await.is_ok() {}
}
