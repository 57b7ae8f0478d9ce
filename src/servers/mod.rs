//! Private servers for the demo, the tests and the benchmarks.
//!
//! [`Mongo`], [`Kafka`] and [`Nats`] start real servers on free ports of 127.0.0.1, with their data in a temporary
//! folder. Dropping a handle kills the servers and removes the folder; when this process dies, however it dies,
//! the same happens. All handles work through `&self`, so one task may disturb a server while others use it.
//!
//! The programs come from the environment (`MONGOD`, `KAFKA_HOME`, `NATS_SERVER`), from the folder that
//! `make services` fills (`SERVICES_DIR`, by default `target/services` next to or above the current directory or
//! this executable), or from `PATH`, in this order.

use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use self::process::last_lines;

mod kafka;
mod mongo;
mod mongo_builder;
mod nats;
mod process;

pub use kafka::{Kafka, KafkaBuilder};
pub use mongo::Mongo;
pub use mongo_builder::{MongoBuilder, MongoVersion, TlsFiles};
pub use nats::{Nats, NatsBuilder};

/// How often a server is started again, on other ports, when a port was taken meanwhile.
const PORT_ATTEMPTS: u32 = 5;

/// Why a server could not be started or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The program is neither named, nor fetched, nor installed.
    #[error("{program} not found: run `{fetch}`, or set {variable}={example}")]
    NotFound {
        /// What was looked for.
        program: &'static str,
        /// The command that brings it.
        fetch: &'static str,
        /// The environment variable that names it.
        variable: &'static str,
        /// What such a variable looks like.
        example: &'static str,
    },
    /// An environment variable names something that is not there.
    #[error("{variable}={}: no such file", path.display())]
    Misnamed {
        /// The environment variable.
        variable: &'static str,
        /// What it names.
        path: PathBuf,
    },
    /// The operating system refused something.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The server ended by itself.
    #[error("{server} ended by itself; its last words:\n{log}")]
    Ended {
        /// Which server.
        server: String,
        /// The last lines of its log.
        log: String,
        /// Whether its log says that another program has its port.
        port_taken: bool,
    },
    /// The server didn't do what it should in time.
    #[error("waited too long for {what}; its last words:\n{log}")]
    Timeout {
        /// Which server, and what it should have done.
        what: String,
        /// The last lines of its log.
        log: String,
    },
    /// Only a running server can be paused or resumed.
    #[error("{server} is not running")]
    NotRunning {
        /// Which server.
        server: String,
    },
    /// A MongoDB server answered with an error.
    #[error("MongoDB failed to {what}: {source}")]
    Mongo {
        /// What was asked for.
        what: &'static str,
        /// Its answer.
        source: Box<mongodb::error::Error>,
    },
}

impl ServerError {
    fn ended(server: &str, log: &str) -> Self {
        let port_taken = log.to_lowercase().contains("address already in use");
        Self::Ended { server: server.to_owned(), log: last_lines(log), port_taken }
    }
}

/// Starts a server again, on other ports, when a port was taken between its choice and its use.
async fn retry_port_clash<S>(start: impl AsyncFn() -> Result<S, ServerError>) -> Result<S, ServerError> {
    for _ in 1..PORT_ATTEMPTS {
        match start().await {
            Err(ServerError::Ended { port_taken: true, .. }) => {}
            result => return result,
        }
    }
    start().await
}

/// A new folder for a server's data.
fn temporary_folder(prefix: &str) -> Result<TempDir, ServerError> {
    tempfile::Builder::new()
        .prefix(prefix)
        .tempdir()
        .map_err(|source| ServerError::Io { what: "make a temporary folder".to_owned(), source })
}

fn write_file(path: &Path, text: &str) -> Result<(), ServerError> {
    std::fs::write(path, text)
        .map_err(|source| ServerError::Io { what: format!("write {}", path.display()), source })
}

fn make_folder(path: &Path) -> Result<(), ServerError> {
    std::fs::create_dir_all(path)
        .map_err(|source| ServerError::Io { what: format!("make {}", path.display()), source })
}

/// What an environment variable names, if it is set; it has to exist.
fn named_by(variable: &'static str) -> Result<Option<PathBuf>, ServerError> {
    let Some(path) = std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from) else {
        return Ok(None);
    };
    if path.exists() { Ok(Some(path)) } else { Err(ServerError::Misnamed { variable, path }) }
}

/// The folders that `make services` may have filled, the likeliest first.
fn service_folders() -> Vec<PathBuf> {
    if let Some(folder) = std::env::var_os("SERVICES_DIR").filter(|value| !value.is_empty()) {
        return vec![PathBuf::from(folder)];
    }
    let starts = [std::env::current_dir().ok(), std::env::current_exe().ok()];
    let above = starts.iter().flatten().flat_map(|start| start.ancestors());
    above.map(|folder| folder.join("target/services")).filter(|folder| folder.is_dir()).collect()
}

/// A file or folder that `make services` has brought, as an absolute path.
fn fetched(relative: &str) -> Option<PathBuf> {
    let found =
        service_folders().into_iter().map(|folder| folder.join(relative)).find(|path| path.exists())?;
    std::path::absolute(found).ok()
}

/// The folder that `make services` has brought whose name starts with `prefix`; the newest, if there are several.
fn newest_fetched(prefix: &str) -> Option<PathBuf> {
    let newest = |folder: PathBuf| {
        let entries = std::fs::read_dir(folder).ok()?.flatten();
        entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
            .map(|entry| entry.path())
            .max()
    };
    std::path::absolute(service_folders().into_iter().find_map(newest)?).ok()
}

/// A program on `PATH`.
fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file())
}
