//! Images: the whole document as it was before a change, and behind it.

use serde::{Deserialize, Serialize};

use crate::bson::RawDoc;

/// The images of a change, where they were asked for. What a change carries anyway, as an insert does its document, is none of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Images<'a> {
    /// The document before an update, a replacement or a delete.
    pub before: Option<Image<'a>>,
    /// The document behind an update.
    pub after: Option<Image<'a>>,
}

/// A document before or behind a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image<'a> {
    /// Exactly as it was.
    Exact(RawDoc<'a>),
    /// As it was when somebody looked, later: what the change led to, or what changes behind it have made of that.
    LookedUp(RawDoc<'a>),
    /// There is none.
    Missing(NoImage),
}

/// Why there is no image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoImage {
    /// The document, or its collection, was gone when somebody looked.
    Gone,
    /// The server did not record what was there before: the collection is not set up for that. Only servers before 6.0 tell.
    NotRecorded,
    /// The server has no record of what was there before: there never was one, or it has expired.
    NotFound,
    /// What was there before is known, and the update does not fit it.
    Mismatch,
}

impl<'a> Image<'a> {
    /// The document, if there is one.
    pub fn document(&self) -> Option<RawDoc<'a>> {
        match self {
            Self::Exact(document) | Self::LookedUp(document) => Some(*document),
            Self::Missing(_) => None,
        }
    }

    /// What it is, as one word of an event.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Exact(_) => "exact",
            Self::LookedUp(_) => "lookup",
            Self::Missing(why) => why.name(),
        }
    }
}

impl NoImage {
    /// The word of an event for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::NotRecorded => "notRecorded",
            Self::NotFound => "notFound",
            Self::Mismatch => "mismatch",
        }
    }
}

/// Which images events shall have. Each sink says so for itself: it reads the source on its own, and what one needs should not slow another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageSettings {
    /// The document before an update, a replacement or a delete.
    pub before: BeforeImages,
    /// The document behind an update.
    pub after: AfterImages,
}

impl ImageSettings {
    /// Whether there are any.
    pub fn are_wanted(self) -> bool {
        self != Self::default()
    }

    /// Whether the server must have recorded what was there before.
    pub fn need_records(self) -> bool {
        self.before == BeforeImages::Stored || self.after == AfterImages::Stored
    }
}

/// Where the document before a change comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", try_from = "String")]
pub enum BeforeImages {
    /// Nowhere: events have none.
    #[default]
    None,
    /// The server has recorded it.
    Stored,
}

/// Where the document behind an update comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", try_from = "String")]
pub enum AfterImages {
    /// Nowhere: events have what changed.
    #[default]
    None,
    /// From what was there before, as the server has recorded it, and what changed: exact.
    Stored,
    /// It is looked up, later.
    Lookup,
}

// Not by serde alone: some readers of configurations would take a number for the index of a word.

impl TryFrom<String> for BeforeImages {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        match word.as_str() {
            "none" => Ok(Self::None),
            "stored" => Ok(Self::Stored),
            _ => Err(format!("can't be `{word}`: use none or stored")),
        }
    }
}

impl TryFrom<String> for AfterImages {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        match word.as_str() {
            "none" => Ok(Self::None),
            "stored" => Ok(Self::Stored),
            "lookup" => Ok(Self::Lookup),
            _ => Err(format!("can't be `{word}`: use none, stored or lookup")),
        }
    }
}
