//! Whether a saved position is still in the oplog. Nothing is ever read behind a position that was not found.

use std::time::Duration;

use mongodb::Client;
use mongodb::bson::{Timestamp, doc};

use crate::error::{Error, ErrorKind};
use crate::event::{Mark, Position};
use crate::source::client::{Deployment, first_entry, newest_entry, oldest_entry};

/// How long a member may lag behind a position before the attempt is given up.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(200);

/// What a member's oplog says of a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The entry is there.
    Found,
    /// The member has not come that far.
    Behind,
    /// Its oldest entry is younger.
    Truncated { oldest: Position },
    /// It has older entries, but not this one: rolled back, or another history.
    Foreign,
}

/// Judges by the first entry at or behind the position, and the oldest entry of all.
fn judge(
    wanted: Position,
    term: Option<i64>,
    first: Option<(Position, Option<i64>)>,
    oldest: Option<Position>,
) -> Verdict {
    let Some((at, found_term)) = first else { return Verdict::Behind };
    if at.timestamp() == wanted.timestamp() {
        let same = term.is_none() || found_term.is_none() || term == found_term;
        return if same { Verdict::Found } else { Verdict::Foreign };
    }
    match oldest {
        Some(oldest) if oldest.timestamp() > wanted.timestamp() => Verdict::Truncated { oldest },
        _ => Verdict::Foreign,
    }
}

/// Finds a member whose oplog has `mark`: the preferred one, else any other. The client returned speaks with that member, if need be with
/// it alone.
pub(super) async fn member_with(deployment: &Deployment, mark: Mark) -> Result<Client, Error> {
    let first = ask(deployment.client(), mark).await?;
    if first == Verdict::Found {
        return Ok(deployment.client().clone());
    }
    for host in &deployment.hosts {
        let Some(client) = deployment.member(host) else { break };
        let client = client?;
        match ask(&client, mark).await {
            Ok(Verdict::Found) => {
                tracing::warn!(member = %host, position = %mark.position(), "only this member still has the position");
                return Ok(client);
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(member = %host, %error, "member could not be asked for the position");
            }
        }
        client.shutdown().await;
    }
    Err(lost(mark.position(), first))
}

/// The last entry before that time: what is read behind it is everything from then on.
pub(crate) async fn entry_before(client: &Client, at: Position) -> Result<Mark, Error> {
    let before = doc! { "ts": { "$lt": Timestamp { time: at.t, increment: at.i } } };
    match newest_entry(client, before).await? {
        Some((Position { t, i, .. }, term)) => Ok(Mark::Tail { at: Position::behind_entry(t, i), term }),
        None => Err(Error::new(
            ErrorKind::PositionLost,
            format!("the oplog does not reach back to {}-{}: its oldest entry is younger", at.t, at.i),
        )),
    }
}

async fn ask(client: &Client, mark: Mark) -> Result<Verdict, Error> {
    let Mark::Tail { at, term } = mark;
    let timestamp = Timestamp { time: at.t, increment: at.i };
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let first = first_entry(client, doc! { "ts": { "$gte": timestamp } }).await?;
        let oldest = match first {
            Some((found, _)) if found.timestamp() != at.timestamp() => oldest_entry(client).await?,
            _ => None,
        };
        let verdict = judge(at, term, first, oldest);
        // A member that lags shows nothing yet, and so does one whose majority point has not come that far.
        if verdict != Verdict::Behind || tokio::time::Instant::now() > deadline {
            return Ok(verdict);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn lost(position: Position, verdict: Verdict) -> Error {
    match verdict {
        Verdict::Truncated { oldest } => Error::new(
            ErrorKind::PositionLost,
            format!(
                "position {position} is no longer in the oplog of any reachable member, whose oldest entry is {oldest}"
            ),
        ),
        Verdict::Behind => Error::new(
            ErrorKind::SourceUnavailable,
            format!(
                "no reachable member has come as far as position {position} within {} s",
                PATIENCE.as_secs()
            ),
        ),
        Verdict::Foreign | Verdict::Found => Error::new(
            ErrorKind::PositionLost,
            format!(
                "position {position} is not in the oplog, though older entries are: it was rolled back, or belongs to another deployment"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_saved_entry_itself_counts_as_found() {
        let at = |t| Position::of_entry(t, 1);
        let cases = [
            (Some((at(5), Some(1))), None, Verdict::Found),
            (Some((at(5), None)), None, Verdict::Found),
            (Some((at(5), Some(2))), None, Verdict::Foreign),
            (None, None, Verdict::Behind),
            (Some((at(6), Some(1))), Some(at(6)), Verdict::Truncated { oldest: at(6) }),
            (Some((at(6), Some(1))), Some(at(4)), Verdict::Foreign),
        ];
        for (first, oldest, expected) in cases {
            assert_eq!(judge(at(5), Some(1), first, oldest), expected, "{first:?} {oldest:?}");
        }
        assert_eq!(judge(at(5), None, Some((at(5), Some(9))), None), Verdict::Found);
    }

    #[test]
    fn an_ordinal_does_not_matter_to_the_entry() {
        let wanted = Position { t: 5, i: 1, ordinal: 7 };
        assert_eq!(judge(wanted, None, Some((Position::of_entry(5, 1), None)), None), Verdict::Found);
    }
}
