//! `mongo-observer check`: looks at everything and changes nothing.

use std::process::ExitCode;
use std::time::Duration;

use super::args::Configured;
use super::load;
use crate::config::{Config, Store};
use crate::connector::{open_sink, store};
use crate::error::{Error, ErrorKind};
use crate::source::client::{self, Deployment};
use crate::source::images;

/// How long one look may take.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) async fn check(args: &Configured) -> Result<ExitCode, Error> {
    let config = load(args, &args.overrides())?;
    let mut lines = Lines::default();
    lines.ok("config", &format!("{} is valid, sinks: {}", args.config.display(), names(&config)));
    let deployment =
        lines.look("mongodb", async { Deployment::connect(config.mongodb.uri()?.expose()).await }).await;
    if let Some(deployment) = &deployment {
        lines.ok("mongodb", &format!("replica set {}, MongoDB {}", deployment.source, deployment.version));
        if let Some(window) = lines.look("oplog", client::window(deployment)).await {
            lines.ok("oplog", &window.to_string());
        }
    }
    let not_recording = match &deployment {
        Some(deployment) => not_recording(&config, deployment, &mut lines).await,
        None => None,
    };
    for (name, settings) in &config.sinks {
        if let Some(collections) = not_recording.as_ref().filter(|_| settings.images().need_records()) {
            images(&mut lines, name, collections);
        }
        let what = format!("sink {name}");
        let sink = match open_sink(name, settings, &config) {
            Ok(sink) => sink,
            Err(error) => {
                lines.failed(&what, &error);
                continue;
            }
        };
        match lines.look(&what, sink.check()).await {
            Some(found) => {
                let (found, warnings) = found.split_once('\n').unwrap_or((&found, ""));
                lines.ok(&what, found);
                warnings.lines().for_each(|warning| println!("warning {what}: {warning}"));
            }
            // A checkpoint that is kept there can't be seen, either.
            None if config.checkpoint.store == Store::Sink => continue,
            None => {}
        }
        let Some(deployment) = &deployment else { continue };
        let what = format!("checkpoint {name}");
        match store(name, sink.as_ref(), &config, deployment.client()) {
            Ok((Some(mut store), _)) => {
                if let Some(stored) = lines.look(&what, store.peek()).await {
                    lines.ok(&what, &super::checkpoint::describe(stored.as_ref()));
                }
            }
            Ok((None, true)) => lines.ok(&what, "kept by the sink itself"),
            Ok((None, false)) => lines.ok(&what, "none: this sink forgets; set checkpoint.store to keep one"),
            Err(error) => lines.failed(&what, &error),
        }
    }
    if let Some(deployment) = deployment {
        let _ = tokio::time::timeout(PATIENCE, deployment.shutdown()).await;
    }
    Ok(if lines.any_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The captured collections of which no image is recorded, where some sink wants one.
async fn not_recording(config: &Config, deployment: &Deployment, lines: &mut Lines) -> Option<Vec<String>> {
    if !config.sinks.values().any(|sink| sink.images().need_records()) {
        return None;
    }
    let look = async {
        match images::not_recording(deployment, &config.source.namespaces()?).await {
            Err(error) if error.kind() == ErrorKind::Unauthorized => Ok(None),
            found => found.map(Some),
        }
    };
    let found = lines.look("images", look).await?;
    if found.is_none() {
        lines.note("images", "whether they are recorded is not known: this user may not list collections");
    }
    found
}

/// Not a failure: events come without the image, and say so.
fn images(lines: &mut Lines, sink: &str, not_recording: &[String]) {
    let what = format!("images {sink}");
    match not_recording {
        [] => lines.ok(&what, "recorded for every captured collection"),
        some => lines.note(&what, &format!("not recorded, so missing in events, for {}", some.join(", "))),
    }
}

fn names(config: &Config) -> String {
    let names: Vec<_> =
        config.sinks.iter().map(|(name, sink)| format!("{name} ({})", sink.kind().name())).collect();
    names.join(", ")
}

/// Prints a line for each thing that was looked at.
#[derive(Default)]
struct Lines {
    any_failed: bool,
}

impl Lines {
    #[allow(clippy::unused_self, reason = "beside `failed`, which needs it")]
    fn ok(&self, what: &str, found: &str) {
        println!("ok      {what}: {found}");
    }

    #[allow(clippy::unused_self, reason = "beside `failed`, which needs it")]
    fn note(&self, what: &str, found: &str) {
        println!("note    {what}: {found}");
    }

    fn failed(&mut self, what: &str, error: &Error) {
        println!("failed  {what}: {error}");
        self.any_failed = true;
    }

    /// Looks, at most so long; prints why not.
    async fn look<T>(&mut self, what: &str, look: impl Future<Output = Result<T, Error>>) -> Option<T> {
        match tokio::time::timeout(PATIENCE, look).await {
            Ok(Ok(found)) => return Some(found),
            Ok(Err(error)) => self.failed(what, &error),
            Err(_) => {
                println!("failed  {what}: no answer within {} s", PATIENCE.as_secs());
                self.any_failed = true;
            }
        }
        None
    }
}
