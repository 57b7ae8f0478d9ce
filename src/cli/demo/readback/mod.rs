//! The broker of a demo, and a consumer that prints what arrives there.

#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "nats")]
mod nats;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cli::args::DemoSink;
use crate::error::Error;

/// Where the demo's events go.
pub(super) enum Broker {
    /// Standard output.
    None,
    #[cfg(feature = "kafka")]
    Kafka(crate::servers::Kafka),
    #[cfg(feature = "nats")]
    Nats(crate::servers::Nats),
}

/// Ends with the number of records that were read.
pub(super) type Reader = JoinHandle<Result<Option<u64>, Error>>;

impl Broker {
    #[allow(clippy::unused_async, reason = "awaits where a broker is built in")]
    pub(super) async fn start(sink: DemoSink) -> Result<Self, Error> {
        match sink {
            DemoSink::Stdout => Ok(Self::None),
            #[cfg(feature = "kafka")]
            DemoSink::Kafka => {
                crate::servers::Kafka::builder().start().await.map(Self::Kafka).map_err(super::failed)
            }
            #[cfg(feature = "nats")]
            DemoSink::Nats => {
                crate::servers::Nats::builder().start().await.map(Self::Nats).map_err(super::failed)
            }
            #[cfg(not(all(feature = "kafka", feature = "nats")))]
            _ => Err(Error::new(
                crate::error::ErrorKind::Config,
                "this program was built without that sink; build it with all features",
            )),
        }
    }

    /// The settings of the sink, by their keys.
    pub(super) fn settings(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::None => vec![("type", "stdout".to_owned())],
            #[cfg(feature = "kafka")]
            Self::Kafka(kafka) => {
                vec![("type", "kafka".to_owned()), ("bootstrap_servers", kafka.bootstrap().to_owned())]
            }
            #[cfg(feature = "nats")]
            Self::Nats(nats) => vec![("type", "nats".to_owned()), ("servers", nats.url().to_owned())],
        }
    }

    /// Prints what arrives until `stop`, and then what is still there.
    pub(super) fn read_back(&self, stop: CancellationToken) -> Reader {
        match self {
            Self::None => tokio::spawn(async move {
                stop.cancelled().await;
                Ok(None)
            }),
            #[cfg(feature = "kafka")]
            Self::Kafka(server) => {
                let bootstrap = server.bootstrap().to_owned();
                tokio::task::spawn_blocking(move || kafka::read(&bootstrap, &stop).map(Some))
            }
            #[cfg(feature = "nats")]
            Self::Nats(server) => {
                let url = server.url().to_owned();
                tokio::spawn(async move { nats::read(&url, &stop).await.map(Some) })
            }
        }
    }

    #[allow(clippy::unused_async, reason = "awaits where a broker is built in")]
    pub(super) async fn stop(self) {
        match self {
            Self::None => {}
            #[cfg(feature = "kafka")]
            Self::Kafka(kafka) => kafka.stop().await,
            #[cfg(feature = "nats")]
            Self::Nats(nats) => nats.stop().await,
        }
    }
}
