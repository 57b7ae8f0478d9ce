//! Whether the brokers still have what they had confirmed.

use std::collections::HashSet;
use std::time::Duration;

use rdkafka::Offset;

use super::tail;
use crate::checkpoint::kafka::{Acknowledged, Partition};
use crate::error::Error;
use crate::kafka::{Cluster, kafka_error};
use crate::pipeline::{Checkpoint, SinkTail};

/// Nothing is fetched.
const NO_WAIT: Duration = Duration::from_millis(10);

/// A partition and the offset of its last confirmed record.
type Confirmed = (Partition, i64);

/// What is expected of the partitions that are there. The others were deleted, which needs somebody who wants that.
pub(super) fn still_there(
    expected: Vec<Confirmed>,
    there: &HashSet<Partition>,
    acknowledged: &Acknowledged,
) -> Vec<Confirmed> {
    let (expected, deleted): (Vec<_>, Vec<_>) =
        expected.into_iter().partition(|(partition, _)| there.contains(partition));
    for (partition, _) in deleted {
        let (topic, number) = &partition;
        tracing::warn!(topic, partition = number, "deleted by somebody: what it held is not sent again");
        acknowledged.forget(&partition);
    }
    expected
}

/// Compares the ends of partitions with what was confirmed. A partition that ends before has lost the records behind its end: then one has
/// to go back to the last one that it has. Blocks for a round trip, where nothing is lost.
pub(super) fn find(
    cluster: &Cluster,
    acknowledged: &Acknowledged,
    checkpoint: &Checkpoint,
    expected: Vec<Confirmed>,
) -> Result<SinkTail, Error> {
    if expected.is_empty() {
        return Ok(SinkTail::Unknown);
    }
    // The end of the log, not the end of what is committed: that may lie before records of others.
    let consumer = cluster.with("isolation.level", "read_uncommitted").consumer("latest", NO_WAIT)?;
    let partitions = expected.iter().map(|(partition, _)| partition);
    let ends = tail::offsets(&consumer, partitions, Offset::End)
        .map_err(|error| kafka_error("can't look up where this connector's topics end", &error))?;
    let mut back: Option<Checkpoint> = None;
    for (partition, last) in expected {
        let Some(end) = ends.get(&partition).filter(|end| **end <= last) else { continue };
        let (topic, number) = &partition;
        tracing::warn!(
            topic,
            partition = number,
            end,
            confirmed = last,
            "the brokers have lost records that they had confirmed"
        );
        let place = place(cluster, acknowledged, checkpoint, &partition)?;
        if back.as_ref().is_none_or(|back| place.at < back.at) {
            back = Some(place);
        }
        acknowledged.forget(&partition);
    }
    Ok(back.filter(|back| back.at < checkpoint.at).map_or(SinkTail::Unknown, SinkTail::At))
}

/// Behind what everything that a partition has lost came. Its last record does not tell where that is behind the checkpoint: then it was
/// written after the loss, or the partition has lost nothing that is not sent anyway.
fn place(
    cluster: &Cluster,
    acknowledged: &Acknowledged,
    checkpoint: &Checkpoint,
    partition: &Partition,
) -> Result<Checkpoint, Error> {
    if let SinkTail::At(last) = tail::find(cluster, std::slice::from_ref(partition))?
        && last.at < checkpoint.at
    {
        return Ok(last);
    }
    let settled = acknowledged.settled();
    Ok(settled.map_or_else(
        || checkpoint.clone(),
        |settled| Checkpoint { at: settled.at, term: settled.term, source: checkpoint.source.clone() },
    ))
}
