//! Bytes under way: the one bound on what a pipeline holds.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::Hold;

/// At most so many batches are under way at once, however small they are.
pub const BATCHES_MAX: usize = 1024;

/// A number of bytes that chunks take before they are prepared, and that come back when the sink needs the batch no more.
#[derive(Clone, Debug)]
pub struct Budget {
    bytes: Arc<Semaphore>,
    all: u32,
}

impl Budget {
    /// A budget of that many bytes.
    pub fn new(bytes: u32) -> Self {
        let all = bytes.max(1);
        Self { bytes: Arc::new(Semaphore::new(all as usize)), all }
    }

    /// Waits until `bytes` are free and takes them. What is larger than the whole budget takes it all and passes alone, instead of waiting
    /// for ever. Cancel safe: nothing is taken.
    pub async fn take(&self, bytes: usize) -> Hold {
        let least = self.all / u32::try_from(BATCHES_MAX).unwrap_or(u32::MAX);
        let wanted = u32::try_from(bytes).unwrap_or(u32::MAX).max(least).clamp(1, self.all);
        Arc::clone(&self.bytes).acquire_many_owned(wanted).await.expect("the semaphore is never closed")
    }

    /// Bytes under way.
    pub fn taken(&self) -> usize {
        (self.all as usize).saturating_sub(self.bytes.available_permits())
    }

    /// All of it.
    pub fn all(&self) -> u32 {
        self.all
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::{BATCHES_MAX, Budget};

    #[test]
    fn a_chunk_larger_than_the_budget_passes_alone() {
        let budget = Budget::new(100);
        let small = budget.take(1).now_or_never().expect("there is room");
        assert!(budget.take(1000).now_or_never().is_none());
        drop(small);
        let all = budget.take(1000).now_or_never().expect("it is alone");
        assert_eq!(budget.taken(), 100);
        assert!(budget.take(0).now_or_never().is_none());
        drop(all);
        assert_eq!(budget.taken(), 0);
    }

    #[test]
    fn the_number_of_batches_is_bounded_too() {
        let budget = Budget::new(1 << 20);
        let holds: Vec<_> = std::iter::from_fn(|| budget.take(1).now_or_never()).collect();
        assert_eq!(holds.len(), BATCHES_MAX);
    }
}
