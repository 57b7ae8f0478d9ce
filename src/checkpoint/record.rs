//! The text of a stored checkpoint, the same in every store: JSON with a version.

use serde::{Deserialize, Serialize};

use crate::pipeline::{Checkpoint, Stored};

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Record {
    version: u32,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    cleared: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checkpoint: Option<Checkpoint>,
}

/// Text that is no checkpoint of a version that this program knows.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// Not the JSON that was written.
    #[error("the checkpoint is damaged: {0}")]
    Damaged(String),
    /// Written by a newer program.
    #[error(
        "the checkpoint has version {0}, this program knows version {VERSION}: use the program that wrote it, or a newer one"
    )]
    Newer(u32),
}

/// The text form.
pub fn encode(stored: &Stored) -> String {
    let record = Record {
        version: VERSION,
        cleared: *stored == Stored::Cleared,
        checkpoint: stored.checkpoint().cloned(),
    };
    serde_json::to_string(&record).expect("plain fields can be written as JSON")
}

/// Reads the text form.
pub fn decode(text: &[u8]) -> Result<Stored, Unusable> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let damaged = |error: serde_json::Error| Unusable::Damaged(error.to_string());
    let Versioned { version } = serde_json::from_slice(text).map_err(damaged)?;
    if version != VERSION {
        return Err(Unusable::Newer(version));
    }
    match serde_json::from_slice(text).map_err(damaged)? {
        Record { checkpoint: Some(checkpoint), cleared: false, .. } => Ok(Stored::Checkpoint(checkpoint)),
        Record { checkpoint: None, cleared: true, .. } => Ok(Stored::Cleared),
        _ => Err(Unusable::Damaged("neither a position nor cleared".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Position;

    #[test]
    fn text_round_trips_and_reads_well() {
        let at = Position { t: 1_795_393_406, i: 3, ordinal: 2 };
        let stored = Stored::Checkpoint(Checkpoint { at, term: Some(1), source: "rs0/65f0".to_owned() });
        let text = encode(&stored);
        assert_eq!(
            text,
            r#"{"version":1,"checkpoint":{"at":"1795393406-0000000003-0000000002","term":1,"source":"rs0/65f0"}}"#
        );
        assert_eq!(decode(text.as_bytes()).ok(), Some(stored));
        assert_eq!(decode(encode(&Stored::Cleared).as_bytes()).ok(), Some(Stored::Cleared));
    }

    #[test]
    fn damage_and_newer_versions_are_told_apart() {
        for text in
            ["", "{", "{}", r#"{"version":1}"#, r#"{"version":1,"checkpoint":{"at":"x","source":"rs0"}}"#]
        {
            assert!(matches!(decode(text.as_bytes()), Err(Unusable::Damaged(_))), "{text}");
        }
        assert!(matches!(decode(br#"{"version":2,"new":true}"#), Err(Unusable::Newer(2))));
    }
}
