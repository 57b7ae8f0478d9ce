//! Who hears what producers say, one after the other, attempt after attempt.

use std::sync::{Arc, Mutex, PoisonError};

use crate::error::ErrorKind;
use crate::pipeline::ClientMonitor;

/// Outlives the producers.
#[derive(Clone, Debug, Default)]
pub(super) struct Listeners {
    /// Is told what librdkafka says of itself.
    pub(super) monitor: Option<Arc<dyn ClientMonitor>>,
    pub(super) refusals: Arc<Refusals>,
}

/// Records that brokers refused for their size, although they had passed: the limit is another one than it was when it was asked for. The
/// next attempt asks anew, and the record follows its policy. If that brings nothing, waiting longer won't, either.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// The last position, as text.
    last: Mutex<Option<String>>,
}

impl Refusals {
    /// The kind of trouble that a refusal at this position is.
    pub(super) fn note(&self, position: &str) -> ErrorKind {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // Positions are sorted as text. Behind the last one there was progress.
        if last.as_deref().is_some_and(|last| position <= last) {
            return ErrorKind::Refused;
        }
        *last = Some(position.to_owned());
        ErrorKind::SinkUnavailable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_final_when_asking_for_the_limit_has_brought_nothing() {
        let refusals = Refusals::default();
        assert_eq!(refusals.note("0000000005-0000000001-0000000000"), ErrorKind::SinkUnavailable);
        assert_eq!(refusals.note("0000000005-0000000002-0000000000"), ErrorKind::SinkUnavailable);
        assert_eq!(refusals.note("0000000005-0000000002-0000000000"), ErrorKind::Refused);
        assert_eq!(refusals.note("0000000005-0000000001-0000000000"), ErrorKind::Refused);
    }
}
