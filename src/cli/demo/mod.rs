//! `mongo-observer demo`: the main job on servers of its own, which are gone afterwards.
//!
//! Standard output has the events, standard error says what goes on, and what a live collection of the same orders holds.

mod live;
mod readback;
mod writes;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::live::Live;
use self::readback::Broker;
use self::writes::Written;
use super::args::{Demo, DemoSink};
use super::signals;
use crate::config::{Config, Override};
use crate::connector::Connector;
use crate::error::{Error, ErrorKind};
use crate::event::Position;
use crate::servers::{Mongo, ServerError};
use crate::source::client::{Deployment, window};
use crate::status::{PipelineStatus, State};

/// How often the running count is shown.
const TICK: Duration = Duration::from_secs(1);
/// The sink's name.
const SINK: &str = "demo";
/// How long the last events may take to arrive.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the pipeline is doing.
type Status = tokio::sync::watch::Receiver<PipelineStatus>;

pub(super) async fn demo(args: &Demo) -> Result<ExitCode, Error> {
    let stop = signals::stop()?;
    let result = tokio::select! {
        started = start(args.sink) => match started {
            Ok((mongo, broker)) => {
                let result = show(args, &mongo, &broker, &stop).await;
                broker.stop().await;
                mongo.stop().await;
                result
            }
            Err(error) => Err(error),
        },
        // Before anything was shown there is nothing to bring to an end; the servers end with their handles.
        () = stop.cancelled() => Ok(()),
    };
    if result.is_ok() {
        eprintln!("-- the servers are stopped and their folders removed");
    }
    result.map(|()| ExitCode::SUCCESS)
}

async fn start(sink: DemoSink) -> Result<(Mongo, Broker), Error> {
    eprintln!("-- starting a private MongoDB replica set{}", sink.broker_name());
    let began = Instant::now();
    let (mongo, broker) =
        tokio::try_join!(async { Mongo::builder().start().await.map_err(failed) }, Broker::start(sink))?;
    eprintln!("-- started in {:.1} s: {}", began.elapsed().as_secs_f64(), mongo.uri());
    Ok((mongo, broker))
}

/// Runs the connector and the writes beside it, and sums up.
async fn show(args: &Demo, mongo: &Mongo, broker: &Broker, stop: &CancellationToken) -> Result<(), Error> {
    let connector = Connector::new(config(mongo, broker)?)?;
    let status = connector.board().watch(SINK).expect("the demo's sink is configured");
    let (end, reading) = (CancellationToken::new(), CancellationToken::new());
    let ended = end.clone();
    let mut running = tokio::spawn(async move { connector.run(&ended).await });
    let reader = broker.read_back(reading.clone());

    let (began, uri) = (Instant::now(), mongo.uri());
    let live = Live::start(&uri).await?;
    let scene = async {
        reached(&status, |status| status.state == State::Running).await?;
        eprintln!("-- writing to the collection shop.orders for {} s; Ctrl-C ends it earlier", args.seconds);
        let until = stop.child_token();
        let clock = until.clone();
        let seconds = Duration::from_secs(args.seconds);
        let timer = tokio::spawn(async move {
            tokio::time::sleep(seconds).await;
            clock.cancel();
        });
        let written = tokio::select! {
            written = writes::write(&uri, &until) => written?,
            () = tick(&status, &live, began) => unreachable!("it never ends"),
        };
        timer.abort();
        let newest = arrived(&uri, &status).await?;
        Ok::<(Written, String), Error>((written, live.compare(newest).await?))
    };
    let (written, compared) = tokio::select! {
        done = scene => done?,
        failed = &mut running => return Err(broken_off(failed)),
    };
    live.stop().await;
    end.cancel();
    let _ = running.await;
    reading.cancel();
    let read_back = reader.await.unwrap_or(Ok(None))?;
    summary(&written, &status.borrow().clone(), read_back, &compared, began.elapsed());
    Ok(())
}

fn config(mongo: &Mongo, broker: &Broker) -> Result<Config, Error> {
    let mut keys = vec![
        ("mongodb.uri".to_owned(), mongo.uri()),
        ("source.include".to_owned(), "shop.*".to_owned()),
        ("http.listen".to_owned(), String::new()),
    ];
    keys.extend(broker.settings().into_iter().map(|(key, value)| (format!("sinks.{SINK}.{key}"), value)));
    let flags: Vec<Override> =
        keys.into_iter().map(|(key, value)| Override { flag: "the demo's".to_owned(), key, value }).collect();
    Config::load(None, std::iter::empty::<(OsString, OsString)>(), &flags)
}

/// Waits until the pipeline has come that far, but not for ever.
async fn reached(status: &Status, there: impl FnMut(&PipelineStatus) -> bool) -> Result<(), Error> {
    match tokio::time::timeout(PATIENCE, status.clone().wait_for(there)).await {
        Ok(Ok(_)) => Ok(()),
        _ => Err(Error::new(ErrorKind::SinkUnavailable, "the pipeline did not get on in time")),
    }
}

/// Shows the running count, for ever.
async fn tick(status: &Status, live: &Live, began: Instant) {
    loop {
        tokio::time::sleep(TICK).await;
        let status = status.borrow().clone();
        eprintln!(
            "-- {:>2} s: {} events, lag {}; {}",
            began.elapsed().as_secs(),
            status.events,
            milliseconds(status.lag_seconds),
            live.line()
        );
    }
}

/// Waits until everything that is majority-committed now was acknowledged.
async fn arrived(uri: &str, status: &Status) -> Result<Position, Error> {
    let deployment = Deployment::connect(uri).await?;
    let newest = window(&deployment).await.map(|window| window.newest);
    deployment.shutdown().await;
    let newest = newest?;
    let behind =
        |status: &PipelineStatus| status.position.is_some_and(|at| at.timestamp() >= newest.timestamp());
    reached(status, behind).await.map(|()| newest)
}

fn summary(written: &Written, status: &PipelineStatus, read_back: Option<u64>, live: &str, took: Duration) {
    eprintln!("-- done in {:.1} s", took.as_secs_f64());
    eprintln!("--   written    {written}");
    eprintln!("--   published  {} events, in order, up to position {}", status.events, position(status));
    if let Some(records) = read_back {
        eprintln!("--   read back  {records} records");
    }
    eprintln!("--   live       {live}");
    eprintln!(
        "--   lag        {} for the last event, from the write to its acknowledgement",
        milliseconds(status.lag_seconds)
    );
}

fn position(status: &PipelineStatus) -> String {
    status.position.map(|position| position.to_string()).unwrap_or_default()
}

fn milliseconds(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "unknown".to_owned(), |seconds| format!("{:.0} ms", seconds * 1000.0))
}

fn broken_off(ended: Result<Result<(), Error>, tokio::task::JoinError>) -> Error {
    match ended {
        Ok(Ok(())) => Error::new(ErrorKind::Internal, "the connector ended by itself"),
        Ok(Err(error)) => error,
        Err(error) => Error::caused(ErrorKind::Internal, "the connector broke off", error),
    }
}

fn failed(error: ServerError) -> Error {
    Error::caused(ErrorKind::Local, "the demo's servers can't start", error)
}
