//! Settings of the sinks that write lines: standard output and files.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use serde::Deserialize;

use super::reading::word;
use crate::event::ImageSettings;
use crate::format::Format;

/// `type = "stdout"`: one event a line, on standard output.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stdout {
    /// How an event is written.
    #[serde(deserialize_with = "word")]
    pub format: Format,
    /// Whether the `mongodb` formats have what change streams show with `showExpandedEvents`.
    pub expanded_events: bool,
    /// Which images events have.
    pub images: ImageSettings,
    /// Whether a namespace's manifest is a line before its first event, and when it changes.
    pub manifest: bool,
    /// Whether lines are coloured.
    #[serde(deserialize_with = "word")]
    pub color: Color,
}

/// Whether lines are coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Color {
    /// Where standard output is a terminal and `NO_COLOR` is not set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Color {
    /// Whether to colour, for the standard output that this process has.
    pub fn is_on(self) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        }
    }
}

/// `type = "file"`: one event a line, in a file that is cut into pieces.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct File {
    /// How an event is written.
    #[serde(deserialize_with = "word")]
    pub format: Format,
    /// Whether the `mongodb` formats have what change streams show with `showExpandedEvents`.
    pub expanded_events: bool,
    /// Which images events have.
    pub images: ImageSettings,
    /// Whether a namespace's manifest is a line before its first event, when it changes, and at the beginning of each further file.
    pub manifest: bool,
    /// The file that is written.
    pub path: PathBuf,
    /// A new file is begun when this one would grow beyond that many bytes; 0: never.
    pub rotate_bytes: u64,
    /// How many full files are kept beside the one that is written; 0: all.
    pub keep: u32,
}

impl File {
    /// Small enough to open in an editor, large enough to last a while.
    const ROTATE_BYTES: u64 = 100 << 20;
}

impl Default for File {
    fn default() -> Self {
        Self {
            format: Format::default(),
            expanded_events: false,
            images: ImageSettings::default(),
            manifest: false,
            path: PathBuf::from("mongo-observer.jsonl"),
            rotate_bytes: Self::ROTATE_BYTES,
            keep: 0,
        }
    }
}
