//! One connection to a NATS cluster, which lives until its first failure.

use std::fmt;
use std::future::{Future, ready};
use std::time::Duration;

use async_nats::jetstream;
use async_nats::{Client, ConnectOptions, Event, ServerError};
use tokio::sync::watch;
use tokio::time::timeout;

use super::errors;
use super::settings::{Auth, Settings};
use super::window::RECORDS_MAX;
use crate::error::{Error, ErrorKind};

/// For how long one address may stay silent.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// For how long a connection, or the answer to a request, is waited for; all addresses together.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);

/// How often a quiet server is asked whether it still lives. The third time without an answer the connection counts as broken.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// Room in the client's queue beside the window's records: for subscriptions and requests.
const QUEUE_SPARE: usize = 64;

/// An address where nobody can listen.
const NOWHERE: &str = "nats://127.0.0.1:0";

/// A connection that never comes back: what a reconnecting client still has in its queue would go out behind the back of the
/// chain that follows.
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) jetstream: jetstream::Context,
    servers: String,
    trouble: watch::Receiver<Option<Trouble>>,
}

/// What ends a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trouble {
    Broken,
    /// The server said so.
    Said(String),
}

impl Connection {
    /// Connects; fails within seconds. `name` is shown in the server's list of connections.
    pub(crate) async fn open(name: &str, settings: &Settings) -> Result<Self, Error> {
        let (sender, trouble) = watch::channel(None);
        let options = options(name, settings).await?.event_callback(move |event| {
            if let Some(trouble) = Trouble::of(event) {
                sender.send_if_modified(|known| known.is_none() && known.replace(trouble).is_none());
            }
            ready(())
        });
        let servers = &settings.servers;
        let client = timeout(ANSWER_TIMEOUT, options.connect(servers.addresses()))
            .await
            .map_err(|_| {
                Error::new(ErrorKind::SinkUnavailable, format!("no NATS server answers at {servers}"))
            })?
            .map_err(|error| errors::connecting(servers, error))?;
        // There is no switch that forbids reconnecting: take the servers away.
        client.set_server_pool(NOWHERE).await.map_err(|error| {
            Error::caused(
                ErrorKind::SinkUnavailable,
                format!("the connection to NATS at {servers} broke"),
                error,
            )
        })?;
        let jetstream = match &settings.jetstream_domain {
            Some(domain) => jetstream::with_domain(client.clone(), domain),
            None => jetstream::new(client.clone()),
        };
        Ok(Self { client, jetstream, servers: servers.to_string(), trouble })
    }

    /// Waits for the answer to a request, and no longer than the connection works and an answer can be expected.
    pub(crate) async fn answer<T>(&mut self, request: impl Future<Output = T>) -> Result<T, Error> {
        tokio::select! {
            biased;
            answer = timeout(ANSWER_TIMEOUT, request) => answer.map_err(|_| {
                Error::new(ErrorKind::SinkUnavailable, format!("NATS at {} does not answer", self.servers))
            }),
            error = self.trouble() => Err(error),
        }
    }

    /// Waits until the connection is of no more use, and says why.
    pub(super) async fn trouble(&mut self) -> Error {
        let trouble = match self.trouble.wait_for(Option::is_some).await {
            Ok(trouble) => trouble.clone().unwrap_or(Trouble::Broken),
            Err(_) => Trouble::Broken,
        };
        match trouble {
            Trouble::Broken => self.broken(),
            Trouble::Said(words) if is_about_rights(&words) => {
                Error::new(ErrorKind::Unauthorized, format!("NATS at {} says: {words}", self.servers))
            }
            Trouble::Said(words) => {
                Error::new(ErrorKind::SinkUnavailable, format!("NATS at {} says: {words}", self.servers))
            }
        }
    }

    pub(super) fn broken(&self) -> Error {
        Error::new(ErrorKind::SinkUnavailable, format!("the connection to NATS at {} broke", self.servers))
    }

    pub(super) fn servers(&self) -> &str {
        &self.servers
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("servers", &self.servers).finish_non_exhaustive()
    }
}

impl Trouble {
    fn of(event: Event) -> Option<Self> {
        match event {
            Event::Disconnected | Event::Closed | Event::SlowConsumer(_) => Some(Self::Broken),
            Event::ServerError(ServerError::Other(words)) => Some(Self::Said(words)),
            Event::ServerError(error) => Some(Self::Said(error.to_string())),
            Event::Connected | Event::Draining | Event::LameDuckMode | Event::ClientError(_) => None,
        }
    }
}

/// The server's words for missing rights: "Permissions Violation for Publish to …", "User Authentication Expired", and so on.
fn is_about_rights(words: &str) -> bool {
    let words = words.to_lowercase();
    ["permissions violation", "authorization", "authentication"].iter().any(|word| words.contains(word))
}

async fn options(name: &str, settings: &Settings) -> Result<ConnectOptions, Error> {
    let mut options = ConnectOptions::new()
        .name(format!("mongo-observer {name}"))
        .connection_timeout(CONNECT_TIMEOUT)
        .request_timeout(Some(ANSWER_TIMEOUT))
        .ping_interval(PING_INTERVAL)
        // The whole window fits: publishing never waits.
        .client_capacity(RECORDS_MAX + QUEUE_SPARE)
        .subscription_capacity(RECORDS_MAX + QUEUE_SPARE)
        .ignore_discovered_servers()
        .max_reconnects(settings.servers.addresses().len())
        .require_tls(settings.tls.required);
    if settings.tls.handshake_first {
        options = options.tls_first();
    }
    if let Some(prefix) = &settings.inbox_prefix {
        options = options.custom_inbox_prefix(prefix);
    }
    if let Some(file) = &settings.tls.ca_file {
        options = options.add_root_certificates(file.clone());
    }
    if let (Some(cert), Some(key)) = (&settings.tls.cert_file, &settings.tls.key_file) {
        options = options.add_client_certificate(cert.clone(), key.clone());
    }
    Ok(match settings.auth()? {
        Auth::Nobody => options,
        Auth::Password(user, password) => {
            options.user_and_password(user.to_owned(), password.expose().to_owned())
        }
        Auth::Token(token) => options.token(token.expose().to_owned()),
        Auth::NKey(seed) => options.nkey(seed.expose().to_owned()),
        Auth::Jwt(jwt, seed) => {
            let text = credentials(jwt.expose(), seed.expose());
            options.credentials(&text).map_err(|_| {
                // The cause may show what it could not read.
                Error::new(
                    ErrorKind::Config,
                    "jwt: with `nkey_seed` it makes no credentials: is one of them cut?",
                )
            })?
        }
        Auth::Credentials(file) => options.credentials_file(file).await.map_err(|error| {
            Error::caused(ErrorKind::Config, format!("credentials_file: can't use {}", file.display()), error)
        })?,
    })
}

/// A JWT and a seed as they stand in a credentials file.
fn credentials(jwt: &str, seed: &str) -> String {
    format!(
        "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        jwt.trim(),
        seed.trim()
    )
}
