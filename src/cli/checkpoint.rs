//! `mongo-observer checkpoint`: look at the place to resume from, or move it.

use std::process::ExitCode;

use super::args::{Checkpoint as Args, ForSink};
use super::load;
use crate::config::Config;
use crate::connector::{open_sink, store};
use crate::error::{Error, ErrorKind};
use crate::event::token::TokenPosition;
use crate::pipeline::{Checkpoint, CheckpointStore, OpenSink, OwnStore, Stored};
use crate::source::client::Deployment;
use crate::source::oplog::entry_before;

pub(super) async fn checkpoint(args: &Args) -> Result<ExitCode, Error> {
    let (Args::Show(of) | Args::Set { sink: of, .. } | Args::Clear(of)) = args;
    let config = load(&of.configured, &of.configured.overrides())?;
    let deployment = Deployment::connect(config.mongodb.uri()?.expose()).await?;
    let result = with(args, of, &config, &deployment).await;
    deployment.shutdown().await;
    result
}

async fn with(
    args: &Args,
    of: &ForSink,
    config: &Config,
    deployment: &Deployment,
) -> Result<ExitCode, Error> {
    for name in chosen(of, config, matches!(args, Args::Show(_)))? {
        let settings = config.sinks.get(&name).expect("chosen among the configured ones");
        let sink = open_sink(&name, settings, config)?;
        let Some(mut store) = kept(&name, sink.as_ref(), config, deployment)? else {
            let remedy = "keeps no checkpoint: set checkpoint.store to `file` or `mongodb`";
            // Beside others it is no reason not to look at those.
            if matches!(args, Args::Show(_)) && of.sink.is_none() {
                println!("{name}: {remedy}");
                continue;
            }
            return Err(Error::new(ErrorKind::Config, format!("sink `{name}` {remedy}")));
        };
        match args {
            Args::Show(_) => {}
            Args::Set { position, .. } => {
                let source = deployment.source.clone();
                let at = match *position {
                    TokenPosition::After(at) => at,
                    TokenPosition::From(at) => entry_before(deployment.client(), at).await?.position(),
                };
                move_to(store.as_mut(), Stored::Checkpoint(Checkpoint { at, term: None, source })).await?;
            }
            Args::Clear(_) => move_to(store.as_mut(), Stored::Cleared).await?,
        }
        println!("{name}: {}", describe(store.peek().await?.as_ref()));
    }
    Ok(ExitCode::SUCCESS)
}

/// A claim first: an instance that still runs must not overwrite what is stored now. What is stored so far may be damaged: that is what
/// this command is for.
async fn move_to(store: &mut dyn CheckpointStore, stored: Stored) -> Result<(), Error> {
    match store.take().await {
        Err(error) if error.kind() != ErrorKind::CheckpointUnreadable => return Err(error),
        _ => {}
    }
    store.save(&stored).await
}

/// The sinks that are meant: the named one, the only one, or for a look all of them.
fn chosen(of: &ForSink, config: &Config, all: bool) -> Result<Vec<String>, Error> {
    let names: Vec<String> = config.sinks.keys().cloned().collect();
    match &of.sink {
        Some(name) if names.contains(name) => Ok(vec![name.clone()]),
        Some(name) => Err(Error::new(
            ErrorKind::Config,
            format!("--sink: no sink is named `{name}`; there are: {}", names.join(", ")),
        )),
        None if all || names.len() == 1 => Ok(names),
        None => {
            Err(Error::new(ErrorKind::Config, format!("say which sink with --sink: {}", names.join(", "))))
        }
    }
}

/// The store of a sink; where the sink's own records are the checkpoint, the one that reads and moves their end. None if it forgets.
fn kept(
    name: &str,
    sink: &dyn OpenSink,
    config: &Config,
    deployment: &Deployment,
) -> Result<Option<Box<dyn CheckpointStore>>, Error> {
    if let (Some(store), _) = store(name, sink, config, deployment.client())? {
        return Ok(Some(store));
    }
    Ok(match sink.own_store(name)? {
        OwnStore::Tail(store) | OwnStore::Beside(store) => Some(store),
        OwnStore::None => None,
    })
}

pub(super) fn describe(stored: Option<&Stored>) -> String {
    match stored {
        None => "no checkpoint".to_owned(),
        Some(Stored::Cleared) => "cleared: the next run begins where source.start says".to_owned(),
        Some(Stored::Checkpoint(checkpoint)) => format!("{} of {}", checkpoint.at, checkpoint.source),
    }
}
