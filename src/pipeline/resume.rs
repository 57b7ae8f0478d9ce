//! Where to go on: one decision, from what the checkpoint store and the sink say. Pure.

use super::{SinkTail, Stored};
use crate::error::{Error, ErrorKind};
use crate::event::{Mark, Position};
use crate::source::Resume;
use crate::source::client::same_source;

/// Where to begin when there is no checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// Behind what is majority-committed at that moment.
    #[default]
    Now,
    /// With the oldest entry of the oplog.
    Earliest,
    /// Behind that position.
    At(Position),
    /// At the first entry at or behind that time.
    From(Position),
}

impl Start {
    fn resume(self) -> Resume {
        match self {
            Self::Now => Resume::Now,
            Self::Earliest => Resume::Earliest,
            Self::At(at) => Resume::After(Mark::Tail { at, term: None }),
            Self::From(at) => Resume::From(at),
        }
    }
}

/// Decides where reading begins.
///
/// | stored | sink's tail | |
/// |---|---|---|
/// | of another replica set, or a tail of another | any | refuse |
/// | cleared | any | as configured |
/// | checkpoint | unknown, empty, cleared | behind the checkpoint |
/// | checkpoint | a position | behind the tail: if it lies before the checkpoint, the sink has lost what it had acknowledged |
/// | nothing | unknown, empty, cleared | as configured |
/// | checkpoint | within an event | behind the checkpoint |
/// | nothing | a position, and the sink is its own checkpoint | behind the tail |
/// | nothing | within an event, and the sink is its own checkpoint | with the entry of that event |
/// | nothing | a position, or within an event | refuse: the checkpoint is lost |
pub fn resume_point(
    stored: Option<&Stored>,
    tail: &SinkTail,
    tail_is_checkpoint: bool,
    start: Start,
    source: &str,
) -> Result<Resume, Error> {
    let last = match tail {
        SinkTail::At(last) | SinkTail::Within(last) => Some(last),
        SinkTail::Unknown | SinkTail::Empty | SinkTail::Cleared => None,
    };
    for (what, checkpoint) in
        [("checkpoint", stored.and_then(Stored::checkpoint)), ("last record in the sink", last)]
    {
        if let Some(checkpoint) = checkpoint.filter(|checkpoint| !same_source(&checkpoint.source, source)) {
            return Err(Error::new(
                ErrorKind::OtherSource,
                format!("the {what} is of the replica set `{}`, this is `{source}`", checkpoint.source),
            ));
        }
    }
    match (stored, tail) {
        (Some(Stored::Cleared), _) | (None, SinkTail::Unknown | SinkTail::Empty | SinkTail::Cleared) => {
            Ok(start.resume())
        }
        (Some(Stored::Checkpoint(checkpoint)), SinkTail::At(tail)) => {
            if tail.at < checkpoint.at {
                tracing::warn!(checkpoint = %checkpoint.at, tail = %tail.at, "the sink ends before the checkpoint: going back");
            }
            Ok(Resume::After(tail.mark()))
        }
        (Some(Stored::Checkpoint(checkpoint)), _) => Ok(Resume::After(checkpoint.mark())),
        (None, SinkTail::At(tail)) if tail_is_checkpoint => Ok(Resume::After(tail.mark())),
        (None, SinkTail::Within(tail)) if tail_is_checkpoint => Ok(Resume::From(tail.at)),
        (None, SinkTail::At(tail) | SinkTail::Within(tail)) => Err(Error::new(
            ErrorKind::CheckpointLost,
            format!(
                "there is no checkpoint, but the sink holds records of this connector, up to position {}",
                tail.at
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Checkpoint;

    fn at(t: u32, source: &str) -> Checkpoint {
        Checkpoint { at: Position::of_entry(t, 1), term: Some(1), source: source.to_owned() }
    }

    fn decide(stored: Option<&Stored>, tail: &SinkTail, own: bool) -> Result<Resume, ErrorKind> {
        resume_point(stored, tail, own, Start::Earliest, "rs0/a").map_err(|error| error.kind())
    }

    fn after(t: u32) -> Resume {
        Resume::After(Mark::Tail { at: Position::of_entry(t, 1), term: Some(1) })
    }

    #[test]
    fn without_checkpoint_and_without_records_the_configuration_decides() {
        for tail in [SinkTail::Unknown, SinkTail::Empty, SinkTail::Cleared] {
            assert_eq!(decide(None, &tail, false), Ok(Resume::Earliest));
            assert_eq!(decide(None, &tail, true), Ok(Resume::Earliest));
        }
        let start = resume_point(None, &SinkTail::Empty, false, Start::At(Position::of_entry(7, 1)), "rs0/a");
        assert_eq!(start.ok(), Some(Resume::After(Mark::Tail { at: Position::of_entry(7, 1), term: None })));
    }

    #[test]
    fn the_checkpoint_decides_where_the_sink_can_not_tell() {
        for tail in [SinkTail::Unknown, SinkTail::Empty, SinkTail::Cleared] {
            assert_eq!(decide(Some(&Stored::Checkpoint(at(5, "rs0/a"))), &tail, false), Ok(after(5)));
        }
    }

    #[test]
    fn the_sink_decides_where_it_can_tell_and_a_sink_that_lost_records_gets_them_again() {
        for tail in [3, 5, 9] {
            let stored = Stored::Checkpoint(at(5, "rs0/a"));
            assert_eq!(decide(Some(&stored), &SinkTail::At(at(tail, "rs0/a")), true), Ok(after(tail)));
        }
    }

    #[test]
    fn records_without_a_checkpoint_stop_unless_the_records_are_the_checkpoint() {
        let tail = SinkTail::At(at(9, "rs0/a"));
        assert_eq!(decide(None, &tail, true), Ok(after(9)));
        assert_eq!(decide(None, &tail, false), Err(ErrorKind::CheckpointLost));
        let error = resume_point(None, &tail, false, Start::Now, "rs0").expect_err("lost").to_string();
        assert!(
            error.contains("0000000009-0000000001-0000000000") && error.contains("checkpoint set"),
            "{error}"
        );
    }

    #[test]
    fn an_event_that_the_sink_has_a_part_of_comes_again() {
        let tail = SinkTail::Within(at(9, "rs0/a"));
        assert_eq!(decide(None, &tail, true), Ok(Resume::From(Position::of_entry(9, 1))));
        assert_eq!(decide(None, &tail, false), Err(ErrorKind::CheckpointLost));
        assert_eq!(decide(Some(&Stored::Checkpoint(at(5, "rs0/a"))), &tail, true), Ok(after(5)));
        assert_eq!(decide(Some(&Stored::Cleared), &tail, true), Ok(Resume::Earliest));
        let other = SinkTail::Within(at(9, "rs0/b"));
        assert_eq!(decide(None, &other, true), Err(ErrorKind::OtherSource));
    }

    #[test]
    fn cleared_means_as_configured_whatever_the_sink_holds() {
        assert_eq!(
            decide(Some(&Stored::Cleared), &SinkTail::At(at(9, "rs0/a")), false),
            Ok(Resume::Earliest)
        );
    }

    #[test]
    fn positions_of_another_replica_set_are_refused() {
        let other = at(5, "rs0/b");
        assert_eq!(
            decide(Some(&Stored::Checkpoint(other.clone())), &SinkTail::Unknown, false),
            Err(ErrorKind::OtherSource)
        );
        assert_eq!(decide(None, &SinkTail::At(other), true), Err(ErrorKind::OtherSource));
    }
}
