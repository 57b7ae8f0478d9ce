//! What a topic has to be like, and what can be lost where it is otherwise. Pure.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use crate::kafka::Description;

/// When a delete is followed by a tombstone: a record with the same key and no value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tombstones {
    /// In compacted topics, which forget by it that there was a document.
    #[default]
    Auto,
    /// In every topic.
    Always,
    /// Nowhere.
    Never,
}

/// What Kafka does with old records of the topics that are created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum CleanupPolicy {
    /// They are deleted.
    Delete,
    /// The last record of each key is kept.
    Compact,
    /// The last record of each key is kept until it is old, too.
    CompactAndDelete,
}

impl CleanupPolicy {
    const ALL: [Self; 3] = [Self::Delete, Self::Compact, Self::CompactAndDelete];

    /// As Kafka writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Compact => "compact",
            Self::CompactAndDelete => "compact,delete",
        }
    }

    /// Whether a consumer that comes late reads only the last record of each key.
    pub fn is_compacted(self) -> bool {
        self != Self::Delete
    }
}

impl TryFrom<String> for CleanupPolicy {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        let plain: String = word.chars().filter(|c| !c.is_whitespace()).collect();
        let plain = if plain == "delete,compact" { "compact,delete" } else { plain.as_str() };
        Self::ALL
            .into_iter()
            .find(|known| known.name() == plain)
            .ok_or_else(|| format!("can't be `{word}`: use delete, compact or \"compact,delete\""))
    }
}

/// Something about a topic that can cost events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weakness {
    /// It has one replica.
    OneReplica,
    /// It has several, and one is enough to confirm a record.
    OneConfirms,
    /// A replica that lacks records may become the leader.
    UncleanElection,
    /// Its records are taken away by size or time, and compacted.
    ForgetsStates,
}

impl Weakness {
    /// What can be lost, and what to do.
    fn sentence(self) -> &'static str {
        match self {
            Self::OneReplica => {
                "one replica: what was acknowledged is lost with that broker's disk; use a replication factor of 3"
            }
            Self::OneConfirms => {
                "min.insync.replicas=1: one broker confirms while others lag, and what it confirmed is lost with it; \
                 set it to 2"
            }
            Self::UncleanElection => {
                "unclean.leader.election.enable=true: an election may throw acknowledged records away; set it to false"
            }
            Self::ForgetsStates => {
                "compact,delete: documents that have not changed for retention.ms are missing to consumers that come later"
            }
        }
    }
}

/// The topics with a weakness, as one warning.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Warning {
    weakness: Weakness,
    topics: Vec<String>,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.topics.as_slice() {
            [topic] => write!(f, "the topic {topic} has ")?,
            topics => write!(f, "{} topics, such as {}, have ", topics.len(), topics[0])?,
        }
        f.write_str(self.weakness.sentence())
    }
}

/// What can be lost in these topics.
pub(super) fn warnings<'a>(topics: impl IntoIterator<Item = &'a Description>) -> Vec<Warning> {
    let mut found: BTreeMap<Weakness, Vec<String>> = BTreeMap::new();
    for topic in topics {
        for weakness in weaknesses(topic) {
            found.entry(weakness).or_default().push(topic.name.clone());
        }
    }
    found.into_iter().map(|(weakness, topics)| Warning { weakness, topics }).collect()
}

fn weaknesses(topic: &Description) -> Vec<Weakness> {
    let is = |key: &str, value: &str| topic.setting(key).is_some_and(|found| found == value);
    let mut found = Vec::new();
    if topic.replicas == 1 {
        found.push(Weakness::OneReplica);
    } else if is("min.insync.replicas", "1") {
        found.push(Weakness::OneConfirms);
    }
    if is("unclean.leader.election.enable", "true") && topic.replicas > 1 {
        found.push(Weakness::UncleanElection);
    }
    if policy(topic) == Some(CleanupPolicy::CompactAndDelete) {
        found.push(Weakness::ForgetsStates);
    }
    found
}

/// What a topic is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Events of documents, each with the whole document.
    Documents,
    /// Events of documents, some of which tell only what has changed.
    Deltas,
    /// Commands on databases.
    Commands,
    /// Dead letters, each with a key of its own.
    DeadLetters,
    /// Manifests, the last one of each namespace.
    Manifests,
}

/// Why a topic can't be used so.
pub(super) fn check(topic: &Description, used: Use) -> Result<(), String> {
    let in_sync: Option<usize> = topic.number("min.insync.replicas");
    if let Some(in_sync) = in_sync.filter(|in_sync| *in_sync > topic.replicas) {
        return Err(format!(
            "has {} replicas and min.insync.replicas={in_sync}, so that it takes no record: lower that, or add replicas",
            topic.replicas
        ));
    }
    match used {
        Use::Deltas if is_compacted(topic) => Err(COMPACTED_DELTAS.to_owned()),
        Use::Commands if is_compacted(topic) => {
            Err("is compacted, which leaves the last command of each sort: set cleanup.policy=delete"
                .to_owned())
        }
        Use::Manifests if topic.settings.is_some() && !is_compacted(topic) => Err(
            "is not compacted: what is said of quiet namespaces would be deleted; set cleanup.policy=compact"
                .to_owned(),
        ),
        _ => Ok(()),
    }
}

/// Why a compacted topic takes whole documents only.
pub(super) const COMPACTED_DELTAS: &str = "is compacted, which leaves the last event of each document, and updates tell \
                                           only what has changed: set images.after = \"lookup\" or \"stored\", or \
                                           cleanup.policy=delete";

/// Whether only the last record of each key is sure to stay.
pub(super) fn is_compacted(topic: &Description) -> bool {
    policy(topic).is_some_and(CleanupPolicy::is_compacted)
}

fn policy(topic: &Description) -> Option<CleanupPolicy> {
    CleanupPolicy::try_from(topic.setting("cleanup.policy")?.to_owned()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str, replicas: usize, settings: &[(&str, &str)]) -> Description {
        let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Description { name: name.to_owned(), partitions: 1, replicas, settings: Some(settings) }
    }

    #[test]
    fn what_can_be_lost_is_said_once_for_all_topics() {
        let safe = [("min.insync.replicas", "2"), ("cleanup.policy", "delete")];
        let weak = [("min.insync.replicas", "1"), ("unclean.leader.election.enable", "true")];
        let topics = [topic("a", 3, &safe), topic("b", 3, &weak), topic("c", 1, &weak), topic("d", 1, &[])];
        let said: Vec<String> = warnings(&topics).iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 3, "{said:?}");
        for (text, begins) in said.iter().zip([
            "2 topics, such as c, have one replica: ",
            "the topic b has min.insync.replicas=1: ",
            "the topic b has unclean.leader.election.enable=true: ",
        ]) {
            assert!(text.starts_with(begins), "{text}");
        }
        let hidden = Description { settings: None, ..topic("e", 3, &[]) };
        assert_eq!(warnings([&hidden]), []);
    }

    #[test]
    fn what_takes_no_record_and_what_would_lose_documents_is_refused() {
        let stuck = topic("a", 1, &[("min.insync.replicas", "2")]);
        assert!(check(&stuck, Use::Documents).unwrap_err().contains("min.insync.replicas=2"));
        for policy in ["compact", "compact,delete", "delete, compact"] {
            let compacted = topic("a", 3, &[("cleanup.policy", policy)]);
            assert!(check(&compacted, Use::Deltas).unwrap_err().contains("images.after"), "{policy}");
            assert!(check(&compacted, Use::Commands).unwrap_err().contains("command"));
            assert_eq!(check(&compacted, Use::Documents), Ok(()));
        }
        assert_eq!(check(&topic("a", 3, &[("cleanup.policy", "delete")]), Use::Deltas), Ok(()));
        assert_eq!(check(&topic("a", 1, &[("min.insync.replicas", "1")]), Use::Deltas), Ok(()));
    }

    #[test]
    fn policies_are_read_as_kafka_writes_them() {
        for (word, policy) in [
            ("delete", CleanupPolicy::Delete),
            ("compact", CleanupPolicy::Compact),
            ("delete,compact", CleanupPolicy::CompactAndDelete),
            ("compact, delete", CleanupPolicy::CompactAndDelete),
        ] {
            assert_eq!(CleanupPolicy::try_from(word.to_owned()), Ok(policy));
        }
        assert!(CleanupPolicy::try_from("keep".to_owned()).unwrap_err().contains("`keep`"));
    }
}
