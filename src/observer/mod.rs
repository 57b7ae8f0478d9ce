//! Observers: every change of a namespace, or of all, straight from MongoDB's oplog, handed to a handler in order.
//!
//! ```no_run
//! use mongo_observer::observer::{Handled, Observer, Operation, OperationHandler};
//!
//! struct Printer;
//!
//! impl OperationHandler for Printer {
//!     async fn on_insert(&mut self, op: &Operation<'_>) -> Handled {
//!         println!("{} {}: a new document of {} bytes", op.position, op.ns, op.o.as_bytes().len());
//!         Ok(())
//!     }
//!     async fn on_update(&mut self, op: &Operation<'_>) -> Handled {
//!         println!("{} {}: an update", op.position, op.ns);
//!         Ok(())
//!     }
//!     async fn on_delete(&mut self, op: &Operation<'_>) -> Handled {
//!         println!("{} {}: gone", op.position, op.ns);
//!         Ok(())
//!     }
//! }
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = mongodb::Client::with_uri_str("mongodb://127.0.0.1:27017/?replicaSet=rs0").await?;
//! let observing = Observer::of(&client, "shop.orders")?.spawn(Printer);
//! observing.ready().await?;
//! // … whatever is written from here on is handed over …
//! let (_printer, position) = observing.stop().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! - Operations come one at a time, in the oplog's order, each at least once, and only when they are majority-committed. Those of a
//!   transaction come at its commit, together, however many oplog entries it has.
//! - With [`Start::After`] an operation's position, the next one is that which follows it: positions are the handler's to keep. A position
//!   that the oplog no longer has is an error ([`ErrorKind::PositionLost`](crate::error::ErrorKind)), never a gap.
//! - A lost connection, an election, a restart of the server are waited out; the tail goes on behind the last operation that was handled.
//! - What the handler refuses stops the observer or is handed over again, as [`Observer::on_error`] says. Nothing is skipped.

mod handler;
mod operation;
mod run;
mod spawned;

use mongodb::Client;

use crate::error::Error;
use crate::event::Position;
use crate::retry::Pauses;
use crate::source::Namespaces;
use crate::source::oplog::TailSettings;

pub use crate::source::oplog::Fault;
pub use handler::{Handled, OperationHandler};
pub use operation::Operation;
pub use spawned::Observing;

/// Where to begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// Behind what is majority-committed when the observer starts.
    #[default]
    Now,
    /// With the oldest operation that the oplog still has.
    Earliest,
    /// Behind the operation with that position.
    After(Position),
}

/// What becomes of an operation that the handler refuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// The observer ends with an error that names the position.
    #[default]
    Stop,
    /// It is handed over again after a pause, until it is taken.
    Retry,
}

/// Hands the changes of some namespaces to a handler.
#[derive(Clone, Debug)]
pub struct Observer {
    client: Client,
    namespaces: Namespaces,
    start: Start,
    on_error: OnError,
    pauses: Pauses,
    tail: TailSettings,
}

impl Observer {
    /// Observes what the pattern names: `database.collection`, `database.*`, or `/regex/` over both.
    pub fn of(client: &Client, pattern: &str) -> Result<Self, Error> {
        Ok(Self::with(client, Namespaces::parse(&[pattern.to_owned()], &[])?))
    }

    /// Observes all namespaces but the server's own: `admin`, `config`, `local`, and system collections.
    pub fn of_all(client: &Client) -> Self {
        Self::with(client, Namespaces::default())
    }

    fn with(client: &Client, namespaces: Namespaces) -> Self {
        Self {
            client: client.clone(),
            namespaces,
            start: Start::default(),
            on_error: OnError::default(),
            pauses: Pauses::default(),
            tail: TailSettings::default(),
        }
    }

    /// Where to begin; with what is written from now on by default.
    #[must_use]
    pub fn start(self, start: Start) -> Self {
        Self { start, ..self }
    }

    /// What becomes of an operation that the handler refuses; by default the observer stops.
    #[must_use]
    pub fn on_error(self, on_error: OnError) -> Self {
        Self { on_error, ..self }
    }

    /// How long to wait before something is tried again.
    #[must_use]
    pub fn pauses(self, pauses: Pauses) -> Self {
        Self { pauses, ..self }
    }
}
