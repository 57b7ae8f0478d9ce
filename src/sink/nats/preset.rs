//! What a stream is for: a log of everything that happened, or a table of what there is.
//!
//! Both are the same chain of messages. They differ in what the server forgets, so a stream that exists must fit.

use std::time::Duration;

use async_nats::jetstream::stream::{
    Config, DiscardPolicy, Info, PersistenceMode, RetentionPolicy, StorageType,
};
use serde::Deserialize;

use super::settings::Settings;
use crate::error::{Error, ErrorKind};

/// What a stream keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Every event, as long as age and size allow.
    #[default]
    Log,
    /// The last message of each document: a live table. A new subscriber that asks for the last message per subject gets all of it, and
    /// then every change. A deleted document's last message is a marker, with the header `KV-Operation: DEL` of NATS's key-value
    /// buckets; what a collection's last `_drop` or `_rename` came after is gone, too.
    Latest,
}

impl Preset {
    /// The subject of an event, where no other is set.
    pub(super) fn subject(self) -> &'static str {
        match self {
            Self::Log => "{prefix}.{db}.{coll}",
            Self::Latest => "{prefix}.{db}.{coll}.{id}",
        }
    }

    /// The word for it.
    fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Latest => "latest",
        }
    }
}

/// Refuses settings that contradict the preset; the key, and why.
pub(super) fn contradiction(settings: &Settings) -> Option<(&'static str, String)> {
    let refuse = |key, why: &str| Some((key, why.to_owned()));
    match settings.preset {
        Preset::Log if settings.marker_seconds > 0 => {
            refuse("marker_seconds", "there are no markers without preset = \"latest\"")
        }
        Preset::Log => None,
        Preset::Latest if settings.max_age_seconds > 0 => {
            refuse("max_age_seconds", "documents don't grow old in the preset `latest`: leave it 0")
        }
        Preset::Latest if settings.max_bytes > 0 => {
            refuse("max_bytes", "the preset `latest` would lose documents: leave it 0")
        }
        Preset::Latest => {
            let subject = settings.subject_template();
            let lacking = ["{db}", "{coll}", "{id}"].into_iter().find(|part| !subject.contains(part));
            if let Some(part) = lacking {
                let why =
                    format!("needs {part} in the preset `latest`: each document has a subject of its own");
                return Some(("subject", why));
            }
            let splits = subject.contains("{op}");
            splits.then(|| {
                ("subject", "can't hold {op} in the preset `latest`: a document has one subject".into())
            })
        }
    }
}

/// The stream that is created.
pub(super) fn config(settings: &Settings) -> Config {
    let latest = settings.preset == Preset::Latest;
    Config {
        name: settings.stream.clone(),
        description: Some("Changes of a MongoDB deployment, written by mongo-observer".to_owned()),
        subjects: vec![settings.subjects()],
        storage: StorageType::File,
        num_replicas: settings.replicas,
        max_age: Duration::from_secs(settings.max_age_seconds),
        max_bytes: if settings.max_bytes == 0 { -1 } else { settings.max_bytes.cast_signed() },
        max_messages_per_subject: if latest { 1 } else { -1 },
        allow_message_ttl: settings.marker_seconds > 0,
        allow_direct: true,
        ..Config::default()
    }
}

/// Refuses a stream that can't hold the records, or would not keep what it must.
pub(super) fn check(info: &Info, settings: &Settings) -> Result<(), Error> {
    let config = &info.config;
    let unfit = unfit(config, settings).or_else(|| match settings.preset {
        Preset::Log => unfit_for_log(config),
        Preset::Latest => unfit_for_latest(config, settings),
    });
    match unfit {
        Some(why) => Err(Error::new(ErrorKind::Refused, format!("the stream {} {why}", config.name))),
        None => Ok(()),
    }
}

fn unfit(config: &Config, settings: &Settings) -> Option<String> {
    let wanted = settings.subjects();
    if !config.subjects.iter().any(|pattern| covers(pattern, &wanted)) {
        let taken = config.subjects.join(", ");
        return Some(format!("takes {taken}, but not {wanted}: add it, or use another prefix"));
    }
    let has_sources = config.sources.as_ref().is_some_and(|sources| !sources.is_empty());
    let why = if config.mirror.is_some() || has_sources {
        "is filled from other streams: one stream, one connector"
    } else if config.sealed {
        "is sealed"
    } else if config.no_ack {
        "is set not to acknowledge messages"
    } else if config.retention != RetentionPolicy::Limits {
        "forgets messages once they are consumed: its retention must be `limits`"
    } else if config.discard_new_per_subject {
        "refuses a second message of a subject: unset `discard_new_per_subject`"
    } else if config.subject_delete_marker_ttl.is_some_and(|ttl| !ttl.is_zero()) {
        "gets markers that the server writes: unset `subject_delete_marker_ttl`; one stream, one connector"
    } else {
        return None;
    };
    Some(why.to_owned())
}

fn unfit_for_log(config: &Config) -> Option<String> {
    let kept = config.max_messages_per_subject;
    (kept > 0).then(|| {
        format!(
            "keeps {kept} of a subject's messages and would lose the others: unset `max_msgs_per_subject`, or set preset = \"latest\""
        )
    })
}

fn unfit_for_latest(config: &Config, settings: &Settings) -> Option<String> {
    let kept = config.max_messages_per_subject;
    if kept != 1 {
        return Some(format!(
            "keeps {} of a subject's messages: the preset `latest` needs `max_msgs_per_subject` = 1",
            if kept > 0 { kept.to_string() } else { "all".to_owned() }
        ));
    }
    if settings.marker_seconds > 0 && !config.allow_message_ttl {
        return Some("does not let messages expire: set `allow_msg_ttl`, or marker_seconds = 0".to_owned());
    }
    let forgets = !config.max_age.is_zero()
        || (config.discard == DiscardPolicy::Old && (config.max_bytes > 0 || config.max_messages > 0));
    forgets.then(|| {
        "would lose documents: unset `max_age`, and `max_bytes` and `max_msgs`, or set `discard` = new"
            .to_owned()
    })
}

/// What a stream that can be used promises less of than one might expect.
pub(super) fn weaknesses(info: &Info, settings: &Settings) -> Vec<String> {
    let config = &info.config;
    let mut found = Vec::new();
    if config.storage == StorageType::Memory {
        found.push("it is kept in memory: a restart of the server loses it".to_owned());
    }
    if config.persist_mode == Some(PersistenceMode::Async) {
        found.push(
            "it acknowledges messages before they are written: a crash of the server loses some".to_owned(),
        );
    }
    if config.num_replicas < settings.replicas {
        found.push(format!("it has {} replicas, not {}", config.num_replicas, settings.replicas));
    }
    if config.discard == DiscardPolicy::New && (config.max_bytes > 0 || config.max_messages > 0) {
        found.push("it takes no more messages when it is full, and everything waits".to_owned());
    }
    if settings.preset == Preset::Log {
        found.extend(other_limits(config, settings));
    }
    found
}

/// A stream that exists is never changed, so settings that say something else are not true of it.
fn other_limits(config: &Config, settings: &Settings) -> Vec<String> {
    let mut found = Vec::new();
    let (has, set) = (config.max_age.as_secs(), settings.max_age_seconds);
    if has != set && (set > 0 || has > 0) {
        found.push(format!("it keeps messages {}, not {}", age(has), age(set)));
    }
    let (has, set) = (u64::try_from(config.max_bytes).unwrap_or(0), settings.max_bytes);
    if has != set {
        found.push(format!("it keeps {}, not {}", bytes(has), bytes(set)));
    }
    found
}

fn age(seconds: u64) -> String {
    if seconds == 0 { "for ever".to_owned() } else { format!("for {seconds} s") }
}

fn bytes(bytes: u64) -> String {
    if bytes == 0 { "any number of bytes".to_owned() } else { format!("{bytes} bytes") }
}

/// The stream as a person reads it.
pub(super) fn describe(config: &Config, settings: &Settings) -> String {
    format!("preset {}, replicas: {}", settings.preset.name(), config.num_replicas)
}

/// Whether a stream's subject takes everything that `subject` stands for.
fn covers(pattern: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for part in pattern.split('.') {
        match (part, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(token)) if token != ">" => {}
            (part, Some(token)) if part == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn subjects_cover_what_they_match() {
        for (pattern, subject) in
            [("mongo.>", "mongo.>"), (">", "mongo.>"), ("*.>", "mongo.>"), ("a.>", "a.b.>")]
        {
            assert!(covers(pattern, subject), "{pattern} {subject}");
        }
        for (pattern, subject) in
            [("mongo.*", "mongo.>"), ("mongo", "mongo.>"), ("a.b.>", "a.>"), ("b.>", "a.>")]
        {
            assert!(!covers(pattern, subject), "{pattern} {subject}");
        }
    }
}
