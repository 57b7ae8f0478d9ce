//! Taking over, for exactly-once delivery: claim, fence, and only then read what counts.
//!
//! The first claim tells an earlier instance why it is refused from now on. Then the brokers refuse it, and what it had begun is committed
//! or aborted for good. The second claim's offset is how far the checkpoints have to be read.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;

use super::deliver::{KafkaSink, Parts};
use super::progress::Split;
use crate::checkpoint::kafka::KafkaStore;
use crate::error::Error;
use crate::kafka::{Cluster, transactions};
use crate::pipeline::{CheckpointStore, Stored};

/// What it takes to write transactions: nobody else can from now on.
pub(super) struct Claim {
    pub(super) store: KafkaStore,
    pub(super) sink: KafkaSink,
    /// The MongoDB transaction in whose middle the checkpoint lies.
    pub(super) split: Option<Split>,
}

/// How to claim.
pub(super) struct Claimant {
    /// The cluster, for producers of this sink's transactional id.
    pub(super) cluster: Cluster,
    pub(super) parts: Parts,
    /// Where the checkpoint is, not claimed.
    pub(super) store: KafkaStore,
}

impl Claimant {
    /// Takes over, and says what is stored.
    pub(super) async fn claim(&self) -> Result<(Claim, Option<Stored>), Error> {
        let mut store = self.store.unclaimed();
        store.announce().await?;
        let sink = KafkaSink::new(&self.cluster, self.parts.clone())?;
        self.cluster.reach(sink.producer(), sink.context(), None).await?;
        transactions::init(sink.producer()).await?;
        let kept = store.take_all().await?;
        let end = kept.as_ref().and_then(|kept| kept.stored.checkpoint());
        let split = end.zip(kept.as_ref()).and_then(|(end, kept)| Split::after(end.at, kept.parts));
        Ok((Claim { store, sink, split }, kept.map(|kept| kept.stored)))
    }
}

/// Where a claim waits between the store, which is asked first, and the sink.
#[derive(Clone, Default)]
pub(super) struct Slot(Arc<Mutex<Option<Claim>>>);

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slot")
    }
}

impl Slot {
    fn put(&self, claim: Option<Claim>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = claim;
    }

    pub(super) fn take(&self) -> Option<Claim> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The checkpoint of a sink that stores it with the records.
pub(super) struct ClaimedStore {
    pub(super) claimant: Claimant,
    pub(super) slot: Slot,
}

impl CheckpointStore for ClaimedStore {
    /// Fences earlier instances, too, and leaves the claim to the sink.
    fn take(&mut self) -> BoxFuture<'_, Result<Option<Stored>, Error>> {
        async {
            self.slot.put(None);
            let (claim, stored) = self.claimant.claim().await?;
            self.slot.put(Some(claim));
            Ok(stored)
        }
        .boxed()
    }

    /// With an open sink there is nothing to do: what is delivered is stored. Without one, as for `mongo-observer checkpoint set`, it is
    /// stored now.
    fn save<'a>(&'a mut self, stored: &'a Stored) -> BoxFuture<'a, Result<(), Error>> {
        async {
            let Some(mut claim) = self.slot.take() else { return Ok(()) };
            let result = CheckpointStore::save(&mut claim.store, stored).await;
            self.slot.put(Some(claim));
            result
        }
        .boxed()
    }

    fn peek(&mut self) -> BoxFuture<'_, Result<Option<Stored>, Error>> {
        async { CheckpointStore::peek(&mut self.claimant.store).await }.boxed()
    }
}
