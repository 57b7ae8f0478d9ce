//! The one task that writes: takes what the feed gives, shows what comes of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::evidence::{Needs, needs};
use super::feed::{Changes, Feed, FeedItem, Go, Wanted};
use super::key::Key;
use super::publish::Published;
use super::replica::{Replica, Trouble};
use super::status::State;
use crate::error::{Disposition, Error, ErrorKind};
use crate::retry::{Pauses, jitter};

pub(super) struct Writer<T> {
    feed: Box<dyn Feed>,
    replica: Replica<T>,
    published: Arc<Published<T>>,
    pauses: Pauses,
    started: Instant,
    failures: u32,
    /// Copies that were read one after the other without a change between them.
    copies: u32,
}

/// Why the writer does not go on as it did.
enum Stop {
    /// Something has to be tried again, or can't be.
    Error(Error),
    /// What is held can't be brought forward.
    Trouble(Trouble),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl<T: DeserializeOwned> Writer<T> {
    pub(super) fn new(
        feed: Box<dyn Feed>,
        replica: Replica<T>,
        published: Arc<Published<T>>,
        pauses: Pauses,
    ) -> Self {
        Self { feed, replica, published, pauses, started: Instant::now(), failures: 0, copies: 0 }
    }

    /// Runs until `stop`, or until nothing more can come.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        tokio::select! { biased;
            () = stop.cancelled() => {}
            () = self.follow() => {}
        }
    }

    async fn follow(&mut self) {
        loop {
            let result = match self.feed.next().await {
                Ok(item) => self.take(item).await,
                Err(error) => Err(Stop::Error(error)),
            };
            let ended = match result {
                Ok(()) => false,
                Err(Stop::Error(error)) => self.failed(&error).await,
                Err(Stop::Trouble(Trouble::Lost(reason))) => {
                    self.replica.counts.inconsistencies += 1;
                    self.reload(reason).await
                }
                Err(Stop::Trouble(Trouble::Ended(reason))) => {
                    self.fail(reason);
                    true
                }
            };
            if ended {
                return;
            }
        }
    }

    async fn take(&mut self, item: FeedItem) -> Result<(), Stop> {
        match item {
            FeedItem::Begin { collection } => self.replica.begin(collection),
            FeedItem::Documents(documents) => self.replica.copied(&documents)?,
            FeedItem::Loaded { at, exact_from } => {
                self.replica.loaded(at, exact_from);
                self.look_again().await?;
                show(&mut self.replica, &self.published, None, true);
            }
            FeedItem::Changes(changes) => self.changes(&*changes).await?,
        }
        self.failures = 0;
        Ok(())
    }

    async fn changes(&mut self, changes: &dyn Changes) -> Result<(), Stop> {
        let lost = |reason| Stop::Trouble(Trouble::Lost(reason));
        if self.replica.scope.filter.is_some() {
            let replica = &self.replica;
            let is_known = |key: &Key| replica.state.get(key).is_some() || replica.evidence.contains_key(key);
            let Needs { wanted, recurring } = needs(changes, &replica.scope, is_known).map_err(lost)?;
            self.replica.recurring = recurring;
            self.look_up(wanted).await?;
        }
        let (mut trouble, mut count) = (None, 0_u64);
        let replica = &mut self.replica;
        let visited = changes.visit(&mut |event| match replica.apply(event) {
            Ok(()) => {
                count += 1;
                Go::On
            }
            Err(found) => {
                trouble = Some(found);
                Go::Enough
            }
        });
        if let Some(trouble) = trouble {
            return Err(trouble.into());
        }
        visited.map_err(lost)?;
        if count > 0 {
            self.copies = 0;
        }
        if changes.ends_unit() {
            self.replica.ends(changes.end());
            self.look_again().await?;
            show(&mut self.replica, &self.published, changes.wall_ms(), count == 0);
        }
        Ok(())
    }

    /// Reads what could not be decided.
    async fn look_up(&mut self, wanted: Vec<(Key, Wanted)>) -> Result<(), Stop> {
        if wanted.is_empty() {
            return Ok(());
        }
        self.published.tell(|status| status.pending = wanted.len());
        let list: Vec<Wanted> = wanted.iter().map(|(_, wanted)| wanted.clone()).collect();
        let looked = loop {
            match self.feed.look_up(&list, self.replica.collection()).await {
                Ok(looked) => break looked,
                Err(error) if error.kind().disposition() == Disposition::Retry => {
                    // The changes that it is for wait.
                    self.pause(&error).await;
                }
                Err(error) => return Err(error.into()),
            }
        };
        self.failures = 0;
        self.replica.learn(wanted, looked);
        Ok(())
    }

    async fn look_again(&mut self) -> Result<(), Stop> {
        let wanted = self.replica.wanted_again();
        self.look_up(wanted).await
    }

    /// What an error of the source leads to; whether that is the end.
    async fn failed(&mut self, error: &Error) -> bool {
        match (error.kind(), error.kind().disposition()) {
            (ErrorKind::PositionLost, _) => self.reload(error.what().to_owned()).await,
            (_, Disposition::Retry) => {
                self.pause(error).await;
                false
            }
            (_, Disposition::Halt) => {
                self.fail(error.to_string());
                true
            }
        }
    }

    async fn pause(&mut self, error: &Error) {
        self.failures += 1;
        let pause = self.pauses.behind(self.failures, jitter(self.started));
        tracing::warn!(%error, ?pause, "the collection's source is tried again");
        self.published.tell(|status| {
            if matches!(status.state, State::Live | State::Stale { .. }) {
                status.state = State::Stale { reason: error.to_string() };
            }
        });
        tokio::time::sleep(pause).await;
    }

    /// Begins anew. Where one copy follows the other without end, ever more slowly.
    async fn reload(&mut self, reason: String) -> bool {
        tracing::warn!(reason, "the collection is read again");
        self.copies += 1;
        self.published.tell(|status| {
            status.resyncs += 1;
            status.state = if status.is_ready { State::Resyncing { reason } } else { State::Loading };
        });
        if self.copies > 1 {
            tokio::time::sleep(self.pauses.behind(self.copies - 1, jitter(self.started))).await;
        }
        self.feed.reload();
        false
    }

    fn fail(&self, reason: String) {
        tracing::error!(reason, "the collection has ended");
        self.published.tell(|status| status.state = State::Failed { reason });
    }
}

/// Shows what the replica has come to, if it can be shown.
pub(super) fn show<T: DeserializeOwned>(
    replica: &mut Replica<T>,
    published: &Published<T>,
    wall_ms: Option<i64>,
    is_idle: bool,
) {
    let position = replica.decided();
    let pending = replica.evidence.len();
    let decode_errors = replica.counts.decode_errors.load(Ordering::Relaxed);
    let (filter_errors, inconsistencies, lookups) = {
        let counts = &replica.counts;
        (counts.filter_errors, counts.inconsistencies, counts.lookups)
    };
    let Some((state, messages)) = replica.shown() else { return };
    let documents = state.len();
    published.show(state, messages);
    published.tell(|status| {
        status.state = State::Live;
        status.is_ready = true;
        status.position = Some(position);
        status.lag = if is_idle { None } else { wall_ms.map(since).or(status.lag) };
        status.documents = documents;
        status.pending = pending;
        status.decode_errors = decode_errors;
        status.filter_errors = filter_errors;
        status.inconsistencies = inconsistencies;
        status.lookups = lookups;
    });
}

fn since(wall_ms: i64) -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_millis(u64::try_from(wall_ms).unwrap_or(0)))
}
