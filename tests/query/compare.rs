//! Our answers, and how they differ from a server's.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;

use mongo_observer::bson::RawDoc;
use mongo_observer::bson::extjson::{Mode, write_doc};
use mongo_observer::query::{Filter, FilterErrorKind, MatchError, SortSpec};
use mongodb::bson::RawDocumentBuf;

pub(crate) fn text(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    write_doc(&mut out, RawDoc::new(bytes).unwrap(), Mode::Canonical).unwrap();
    String::from_utf8(out).unwrap()
}

/// What we say to a filter.
pub(crate) enum Answer {
    Refused(String),
    Unsupported,
    /// For one of the documents there is no answer.
    Failed(String),
    /// The places of the documents that match.
    Found(BTreeSet<usize>),
}

pub(crate) fn find(filter: &[u8], documents: &[RawDocumentBuf]) -> Answer {
    let filter = match Filter::parse(RawDoc::new(filter).unwrap()) {
        Ok(filter) => filter,
        Err(error) if error.kind == FilterErrorKind::Unsupported => return Answer::Unsupported,
        Err(error) => return Answer::Refused(error.to_string()),
    };
    let mut found = BTreeSet::new();
    for (id, document) in documents.iter().enumerate() {
        match filter.matches(RawDoc::new(document.as_bytes()).unwrap()) {
            Ok(true) => drop(found.insert(id)),
            Ok(false) => {}
            Err(MatchError::Unsupported(_)) => return Answer::Unsupported,
            Err(error) => return Answer::Failed(error.to_string()),
        }
    }
    Answer::Found(found)
}

impl Answer {
    /// How it differs from a server's; nothing if it doesn't.
    pub(crate) fn difference(
        &self,
        theirs: &Result<BTreeSet<usize>, String>,
        documents: &[RawDocumentBuf],
    ) -> Option<String> {
        match (self, theirs) {
            (Self::Unsupported, _) | (Self::Refused(_) | Self::Failed(_), Err(_)) => None,
            (Self::Refused(why) | Self::Failed(why), Ok(_)) => Some(format!("only ours refuses: {why}")),
            (Self::Found(_), Err(why)) => Some(format!("only the server refuses: {why}")),
            (Self::Found(ours), Ok(theirs)) if ours == theirs => None,
            (Self::Found(ours), Ok(theirs)) => {
                let mut report = String::new();
                for id in ours.symmetric_difference(theirs).take(2) {
                    let whose = if ours.contains(id) { "ours" } else { "theirs" };
                    let _ = write!(report, "\n    only {whose}: {}", text(documents[*id].as_bytes()));
                }
                Some(report)
            }
        }
    }
}

/// The places of the documents of that range, in our order.
pub(crate) fn order(
    sort: &[u8],
    range: Range<usize>,
    documents: &[RawDocumentBuf],
) -> Result<Vec<usize>, String> {
    let sort = SortSpec::parse(RawDoc::new(sort).unwrap()).map_err(|error| error.to_string())?;
    let key = |id: usize| sort.key(RawDoc::new(documents[id].as_bytes()).unwrap()).map(|key| (key, id));
    let mut keys = range.map(key).collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    keys.sort();
    Ok(keys.into_iter().map(|(_, id)| id).collect())
}

/// How two orders differ.
pub(crate) fn difference_in_order(
    ours: &Result<Vec<usize>, String>,
    theirs: &Result<Vec<usize>, String>,
    documents: &[RawDocumentBuf],
) -> Option<String> {
    match (ours, theirs) {
        (Err(_), Err(_)) => None,
        (Err(why), Ok(_)) => Some(format!("only ours refuses: {why}")),
        (Ok(_), Err(why)) => Some(format!("only the server refuses: {why}")),
        (Ok(ours), Ok(theirs)) => {
            let (ours, theirs) = ours.iter().zip(theirs).find(|(ours, theirs)| ours != theirs)?;
            let text = |id: &usize| text(documents[*id].as_bytes());
            Some(format!("\n    ours:   {}\n    theirs: {}", text(ours), text(theirs)))
        }
    }
}
