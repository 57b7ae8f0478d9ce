//! Attempt after attempt: what to do when one ends.

use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::{Disposition, Error};
use crate::event::Mark;
use crate::retry::{Pauses, jitter};

/// How long to wait between attempts.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The first pause; each further one is twice as long.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
    /// A pipeline that could not be opened once within this time gives up; `None` never does.
    pub startup: Option<Duration>,
}

impl Backoff {
    fn pauses(&self) -> Pauses {
        Pauses { first: self.first, longest: self.longest }
    }
}

/// One attempt: opens everything and runs until it ends. `opened` is to be called when sink and source are open.
pub trait Attempt: Send {
    /// Runs once.
    fn once<'a>(
        &'a mut self,
        stop: &'a CancellationToken,
        opened: &'a (dyn Fn() + Sync),
    ) -> BoxFuture<'a, Result<Option<Mark>, Error>>;

    /// An attempt has failed; the next one comes after `pause`.
    fn retrying(&mut self, error: &Error, pause: Duration);
}

/// Repeats the attempt until it ends well, or with an error that no repetition can mend. `stop` ends a pause at once, and well.
pub async fn supervise(
    attempt: &mut dyn Attempt,
    backoff: Backoff,
    stop: &CancellationToken,
) -> Result<Option<Mark>, Error> {
    let started = Instant::now();
    let mut ever_opened = false;
    let mut failures = 0;
    loop {
        let opened = std::sync::atomic::AtomicBool::new(false);
        let note = || opened.store(true, std::sync::atomic::Ordering::Relaxed);
        let began = Instant::now();
        let error = match attempt.once(stop, &note).await {
            Ok(mark) => return Ok(mark),
            Err(error) => error,
        };
        if opened.into_inner() {
            ever_opened = true;
            // An attempt that ran for a while was a good one.
            if began.elapsed() > backoff.longest {
                failures = 0;
            }
        }
        let too_late = !ever_opened && backoff.startup.is_some_and(|limit| started.elapsed() >= limit);
        if error.kind().disposition() == Disposition::Halt || too_late || stop.is_cancelled() {
            return Err(error);
        }
        failures += 1;
        let mut pause = backoff.pauses().behind(failures, jitter(started.into_std()));
        if let (false, Some(limit)) = (ever_opened, backoff.startup) {
            // The last try comes when the time is up, not after it.
            pause = pause.min(limit.saturating_sub(started.elapsed()));
        }
        attempt.retrying(&error, pause);
        tokio::select! { biased;
            // Nothing is under way: it ends as asked.
            () = stop.cancelled() => return Ok(None),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    struct Script {
        /// What the attempts do: open or not, and their error.
        steps: Vec<(bool, Option<ErrorKind>)>,
        pauses: Vec<Duration>,
        ran: usize,
    }

    impl Attempt for Script {
        fn once<'a>(
            &'a mut self,
            _: &'a CancellationToken,
            opened: &'a (dyn Fn() + Sync),
        ) -> BoxFuture<'a, Result<Option<Mark>, Error>> {
            let (opens, error) = self.steps[self.ran.min(self.steps.len() - 1)];
            self.ran += 1;
            if opens {
                opened();
            }
            Box::pin(async move { error.map_or(Ok(None), |kind| Err(Error::new(kind, "scripted"))) })
        }

        fn retrying(&mut self, _: &Error, pause: Duration) {
            self.pauses.push(pause);
        }
    }

    const BACKOFF: Backoff = Backoff {
        first: Duration::from_millis(100),
        longest: Duration::from_secs(5),
        startup: Some(Duration::from_secs(10)),
    };

    async fn run(steps: &[(bool, Option<ErrorKind>)]) -> (Result<Option<Mark>, ErrorKind>, Script) {
        let mut script = Script { steps: steps.to_vec(), pauses: Vec::new(), ran: 0 };
        let result = supervise(&mut script, BACKOFF, &CancellationToken::new()).await;
        (result.map_err(|error| error.kind()), script)
    }

    #[tokio::test(start_paused = true)]
    async fn passing_trouble_is_retried_with_growing_pauses_and_lasting_trouble_ends() {
        let down = (true, Some(ErrorKind::SinkUnavailable));
        let (result, script) = run(&[down, down, down, (true, Some(ErrorKind::Refused))]).await;
        assert_eq!(result, Err(ErrorKind::Refused));
        assert_eq!(script.ran, 4);
        let bounds = [(50, 100), (100, 200), (200, 400)];
        for (pause, (least, most)) in script.pauses.iter().zip(bounds) {
            assert!((least..=most).contains(&pause.as_millis()), "{pause:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_opened_gives_up_after_the_startup_time_and_not_before() {
        let started = Instant::now();
        let (result, script) = run(&[(false, Some(ErrorKind::SinkUnavailable))]).await;
        assert_eq!(result, Err(ErrorKind::SinkUnavailable));
        assert_eq!(started.elapsed().as_secs(), 10);
        assert!(script.ran > 3);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_open_once_is_retried_for_ever() {
        let mut script =
            Script { steps: vec![(true, Some(ErrorKind::SourceUnavailable))], pauses: Vec::new(), ran: 0 };
        let stop = CancellationToken::new();
        let hour =
            tokio::time::timeout(Duration::from_secs(3600), supervise(&mut script, BACKOFF, &stop)).await;
        assert!(hour.is_err() && script.ran > 700, "{}", script.ran);
    }

    #[tokio::test(start_paused = true)]
    async fn stop_ends_a_pause() {
        let stop = CancellationToken::new();
        let mut script =
            Script { steps: vec![(true, Some(ErrorKind::SinkUnavailable))], pauses: Vec::new(), ran: 0 };
        let stopper = async {
            tokio::time::sleep(Duration::from_secs(30)).await;
            stop.cancel();
        };
        let (result, ()) = tokio::join!(supervise(&mut script, BACKOFF, &stop), stopper);
        assert_eq!(result.map_err(|error| error.kind()), Ok(None));
    }
}
