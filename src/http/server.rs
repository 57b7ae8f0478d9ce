//! Accepts connections, with limits: a listener that shows a few numbers must not be a way to exhaust its process.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::{Error, ErrorKind};
use crate::metrics::Metrics;
use crate::status::Board;

/// Connections at once: scrapers, probes and a few people.
const CONNECTIONS_MAX: usize = 64;
/// How long a client may take for a request's head; also how long an idle connection stays open.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How large a request's head may be.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// After the end is asked for, how long an answer may still take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long accepting pauses when the system has no more handles.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound address that answers nobody yet.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
}

impl Listener {
    /// Binds `address`, a `HOST:PORT`; port 0 takes a free one.
    pub async fn bind(address: &str) -> Result<Self, Error> {
        let tcp = TcpListener::bind(address).await.map_err(|error| {
            Error::caused(ErrorKind::Local, format!("`http.listen`: can't listen on {address}"), error)
        })?;
        Ok(Self { tcp })
    }

    /// The address that it is bound to.
    pub fn address(&self) -> Result<std::net::SocketAddr, Error> {
        self.tcp
            .local_addr()
            .map_err(|error| Error::caused(ErrorKind::Local, "`http.listen`: no local address", error))
    }

    /// Answers until `stop`, then lets answers that were begun end.
    pub async fn serve(self, metrics: Arc<Metrics>, board: Arc<Board>, stop: CancellationToken) {
        let service = TowerToHyperService::new(super::router(metrics, board));
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = accept(&self.tcp, &places) => accepted,
            };
            let (stream, place) = accepted;
            let (service, stop) = (service.clone(), stop.clone());
            connections.spawn(async move {
                answer(stream, service, stop).await;
                drop(place);
            });
        }
        connections.close();
        connections.wait().await;
    }
}

/// The next connection, when there is a place for it.
async fn accept(
    tcp: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, tokio::sync::OwnedSemaphorePermit) {
    let place = Arc::clone(places).acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match tcp.accept().await {
            Ok((stream, _)) => return (stream, place),
            Err(error) => {
                tracing::debug!(%error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn answer(stream: TcpStream, service: TowerToHyperService<Router>, stop: CancellationToken) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(CLOSE_TIMEOUT, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "an HTTP connection broke");
    }
}
