//! The manifest: what a consumer must know of a namespace before it reads the namespace's events.
//!
//! ```text
//! {"op":"namespace","ns":{"db":"shop","coll":"orders"},"collectionId":"…","place":"mongo.shop.orders","format":"json",
//!  "images":{"before":"none","after":"none"},"compacted":false,"tombstones":false,"source":"…","collation":{"locale":"simple"}}
//! ```
//!
//! One record for each namespace, the same in every format, with the key `{"db":…,"coll":…}`. Its header tells the position from which on it
//! holds. `compacted` and `collation`, the rules by which texts are equal and sorted where a query names none, are left out where they can't
//! be seen. A shard key is not there: a replica set has none, and a shard does not know it, the cluster's config servers do.

use std::sync::Arc;

use super::{Format, RecordWriter, Route};
use crate::bson::RawDoc;
use crate::bson::extjson::{Mode, write_doc, write_string, write_uuid};
use crate::event::{AfterImages, BeforeImages, Change, ChangeEvent, ImageSettings, Images, Namespace};

/// What is to be known of a namespace.
#[derive(Clone, Copy, Debug)]
pub struct Manifest<'a> {
    /// The namespace.
    pub ns: Namespace<'a>,
    /// The collection's UUID.
    pub collection_id: [u8; 16],
    /// Where its events go.
    pub place: &'a Route,
    /// Whether only the last event of each document is sure to stay there.
    pub compacted: Option<bool>,
    /// The collection's collation, as the server writes it, in BSON; none where it is not known.
    pub collation: Option<&'a [u8]>,
    /// What its events are like.
    pub traits: EventTraits,
}

/// What all events of a pipeline have in common.
#[derive(Clone, Copy, Debug)]
pub struct EventTraits {
    /// Their format.
    pub format: Format,
    /// Which images they have.
    pub images: ImageSettings,
}

impl Manifest<'_> {
    /// The `op` of a manifest's record.
    pub const OP: &'static str = "namespace";

    /// Whether a manifest of a namespace tells all that another one of it does: the same, or a collation, too, which is not always known and
    /// never changes.
    pub fn tells_all_of(value: &[u8], other: &[u8]) -> bool {
        other.strip_suffix(b"}").is_some_and(|members| value.starts_with(members))
    }

    /// Appends its record, which stands before `event`.
    pub fn write(&self, event: &ChangeEvent<'_>, route: &Arc<Route>, out: &mut RecordWriter) {
        let place =
            ChangeEvent { ns: self.ns, change: Change::Watermark, images: Images::default(), ..*event };
        let mut record = out.begin(&place, route).manifest();
        let appended = record
            .key(|out| {
                namespace(out, self.ns);
                Ok::<(), std::convert::Infallible>(())
            })
            .and_then(|()| {
                record.value(|out| {
                    self.value(out, event.source);
                    Ok(())
                })
            });
        match appended {
            Ok(()) => record.finish(),
        }
    }

    fn value(&self, out: &mut Vec<u8>, source: &str) {
        let member = |out: &mut Vec<u8>, name: &str| {
            out.extend_from_slice(b",\"");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
        };
        let text = |out: &mut Vec<u8>, name: &str, text: &str| {
            member(out, name);
            write_string(out, text.as_bytes());
        };
        let truth = |out: &mut Vec<u8>, name: &str, truth: bool| {
            member(out, name);
            out.extend_from_slice(if truth { b"true" } else { b"false" });
        };
        out.extend_from_slice(b"{\"op\":\"");
        out.extend_from_slice(Self::OP.as_bytes());
        out.push(b'"');
        member(out, "ns");
        namespace(out, self.ns);
        member(out, "collectionId");
        out.push(b'"');
        write_uuid(out, self.collection_id);
        out.push(b'"');
        text(out, "place", &self.place.name);
        text(out, "format", self.traits.format.name());
        let ImageSettings { before, after } = self.traits.images;
        let before = if before == BeforeImages::None { "none" } else { "stored" };
        let after = match after {
            AfterImages::None => "none",
            AfterImages::Stored => "stored",
            AfterImages::Lookup => "lookup",
        };
        out.extend_from_slice(b",\"images\":{\"before\":");
        write_string(out, before.as_bytes());
        text(out, "after", after);
        out.push(b'}');
        if let Some(compacted) = self.compacted {
            truth(out, "compacted", compacted);
        }
        truth(out, "tombstones", self.place.tombstones);
        text(out, "source", source);
        if let Some(collation) = self.collation.and_then(|bytes| RawDoc::new(bytes).ok()) {
            let start = out.len();
            member(out, "collation");
            // Comes last, for `tells_all_of`. Better none than a part of one.
            if write_doc(out, collation, Mode::Relaxed).is_err() {
                out.truncate(start);
            }
        }
        out.push(b'}');
    }
}

fn namespace(out: &mut Vec<u8>, ns: Namespace<'_>) {
    out.extend_from_slice(b"{\"db\":");
    write_string(out, ns.db.as_bytes());
    out.extend_from_slice(b",\"coll\":");
    write_string(out, ns.coll.as_bytes());
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::Manifest;

    #[test]
    fn a_collation_is_more_and_all_else_is_other() {
        let [bare, french] =
            [r#"{"id":1,"source":"rs"}"#, r#"{"id":1,"source":"rs","collation":{"locale":"fr"}}"#];
        for (value, other, tells) in [
            (bare, bare, true),
            (french, french, true),
            (french, bare, true),
            (bare, french, false),
            (french, r#"{"id":1,"source":"rs","collation":{"locale":"de"}}"#, false),
            (french, r#"{"id":2,"source":"rs"}"#, false),
            (r#"{"id":1,"source":"rs0"}"#, bare, false),
            ("", bare, false),
        ] {
            assert_eq!(Manifest::tells_all_of(value.as_bytes(), other.as_bytes()), tells, "{value} {other}");
        }
    }
}
