//! Batches that were sent and not yet confirmed, in order.

use futures::stream::{FuturesOrdered, StreamExt};
use tokio::time::Instant;

use super::{Counts, Delivery, RecordBatch};
use crate::error::{Error, ErrorKind};
use crate::event::Mark;

/// Deliveries in the order in which they were sent. One is reported only when all before it are done: so what it reports is contiguous
/// by construction.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    deliveries: FuturesOrdered<Waiting>,
}

type Waiting = std::pin::Pin<Box<dyn Future<Output = Result<Durable, Error>> + Send>>;

/// A batch that is durable in the sink, and with it all before.
#[derive(Clone, Copy, Debug)]
pub struct Durable {
    /// Everything up to here is done.
    pub end: Mark,
    /// The newest wall clock among its entries, in milliseconds since 1970.
    pub wall_ms: Option<i64>,
    /// What became of its operations.
    pub counts: Counts,
    /// Its records.
    pub records: usize,
    /// The bytes of its records.
    pub bytes: usize,
    /// When it was sent.
    pub sent: Instant,
}

/// What is kept of a batch until it is confirmed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent(Durable);

impl Sent {
    pub(super) fn of(batch: &RecordBatch) -> Self {
        Self(Durable {
            end: batch.end,
            wall_ms: batch.wall_ms,
            counts: batch.counts,
            records: batch.records.len(),
            bytes: batch.bytes.len(),
            sent: Instant::now(),
        })
    }
}

impl InFlight {
    pub(super) fn push(&mut self, Sent(durable): Sent, delivery: Delivery) {
        self.deliveries.push_back(Box::pin(async move {
            match delivery.await {
                Ok(result) => result.map(|()| durable),
                Err(_) => Err(Error::new(ErrorKind::SinkUnavailable, "the sink gave up without an answer")),
            }
        }));
    }

    /// The next batch that is durable, or why it is not; `None` when nothing is under way. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Result<Durable, Error>> {
        self.deliveries.next().await
    }

    pub(super) fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }
}
