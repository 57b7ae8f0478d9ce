//! What users write: one method for each kind of operation.

use std::future::Future;

use super::{Fault, Operation};

/// Whether an operation was taken. An error stops the observer, or brings the operation again: see [`super::Observer::on_error`].
pub type Handled = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Takes operations, one at a time, in the oplog's order.
///
/// After a lost connection, and after a restart from a stored position, the observer goes on behind the last operation that was taken; one
/// whose handling was broken off comes again. So handling the same operation twice must do no harm.
pub trait OperationHandler: Send {
    /// A document was inserted: `op.o` is the document.
    fn on_insert(&mut self, op: &Operation<'_>) -> impl Future<Output = Handled> + Send;

    /// A document was changed: `op.o2` is its key, `op.o` the new document, or what changed as the server's version writes it. As it was
    /// meant, whatever the version, `op.event` has it.
    fn on_update(&mut self, op: &Operation<'_>) -> impl Future<Output = Handled> + Send;

    /// A document was deleted: `op.o2` is its key.
    fn on_delete(&mut self, op: &Operation<'_>) -> impl Future<Output = Handled> + Send;

    /// A command: a collection was created, dropped, renamed, … `op.event` has its name. Ignored by default.
    fn on_command(&mut self, op: &Operation<'_>) -> impl Future<Output = Handled> + Send {
        let _ = op;
        async { Ok(()) }
    }

    /// An operation that can't be understood: damaged, or of a kind that a later version of the server has brought. By default that stops
    /// the observer, whatever [`super::Observer::on_error`] says; `Ok` goes on without it.
    fn on_fault(&mut self, fault: &Fault) -> impl Future<Output = Handled> + Send {
        let _ = fault;
        async { Err("it is not understood, and not skipped".into()) }
    }
}
