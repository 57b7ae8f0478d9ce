//! What the fuzz targets do with arbitrary bytes; the ordinary tests do the same with the corpus and damaged copies of it.
//!
//! Each of these must return, whatever the bytes; what must hold besides is asserted.

use std::sync::Arc;

use bytes::Bytes;

use crate::bson::extjson::{Mode, parse, write_doc};
use crate::bson::{self, Malformed, RawDoc, RawValue};
use crate::event::{self, Delta, DeltaVisitor, Mark, Strictness};
use crate::format::{Addressing, Encoder, Json, RecordWriter, Route};
use crate::query::{Filter, SortSpec};
use crate::source::oplog::{Cut, Cutter, Pieces, translate};
use crate::source::{Chunk, Namespaces};

/// A document: walked and written in both forms; what was written is text, and an error leaves nothing behind.
pub fn walker(data: &[u8]) {
    let Ok(doc) = RawDoc::new(data) else { return };
    for mode in [Mode::Relaxed, Mode::Canonical] {
        let mut out = Vec::new();
        match write_doc(&mut out, doc, mode) {
            Err(_) => assert!(out.is_empty(), "half a document is left behind"),
            // Not every text is read back: a document may look like a typed value.
            Ok(()) => drop(parse(std::str::from_utf8(&out).expect("JSON is UTF-8"))),
        }
    }
}

/// Oplog entries, one behind the other: cut, put together, translated and encoded. Marks never move back.
pub fn entries(data: &[u8]) {
    let route = Route::new("t", Addressing::Partitions(3));
    let (route, namespaces) = (Arc::new(route), Namespaces::default());
    let mut cutter = Cutter::new(None);
    let mut pieces = Pieces::default();
    let mut last: Option<Mark> = None;
    for entry in documents(data) {
        let entry = Bytes::copy_from_slice(entry.as_bytes());
        pieces.note(&entry);
        let Ok(cuts) = cutter.cut(&entry, std::iter::once(Ok(0..entry.len()))) else { continue };
        for cut in cuts {
            let chunks = match cut {
                Cut::Chunk(chunk) => vec![chunk],
                Cut::Chain(chain) => pieces.resolve(*chain).unwrap_or_default(),
            };
            for chunk in chunks {
                assert!(last.is_none_or(|last| last.position() <= chunk.end.position()), "a mark moved back");
                last = Some(chunk.end);
                encode(&chunk, &namespaces, &route);
            }
        }
    }
}

/// The documents that stand one behind the other; what follows the last whole one is ignored.
fn documents(data: &[u8]) -> impl Iterator<Item = RawDoc<'_>> {
    let mut rest = data;
    std::iter::from_fn(move || {
        let doc = RawDoc::first_in(rest).ok()?;
        rest = &rest[doc.as_bytes().len()..];
        Some(doc)
    })
}

fn encode(chunk: &Chunk, namespaces: &Namespaces, route: &Arc<Route>) {
    for op in &chunk.ops {
        assert!(op.at <= chunk.end.position(), "an operation lies behind its chunk's end");
        let Ok(Some(event)) = translate(chunk, op, namespaces, "rs0") else { continue };
        for json in [Json::relaxed(), Json::canonical()] {
            let mut out = RecordWriter::default();
            if json.encode(&event, route, &mut out).is_err() {
                assert_eq!(out.len(), 0, "half a record is left behind");
            }
        }
    }
}

/// A structured diff, or modifiers.
pub fn delta(data: &[u8]) {
    let Ok(doc) = RawDoc::new(data) else { return };
    let modifiers = Delta::Modifiers { set: Some(doc), unset: Some(doc) };
    for delta in [Delta::Diff(doc), modifiers] {
        let _ = delta.visit(&mut Vec::new(), &mut Values(Vec::new()));
    }
}

/// A document, and behind it `o` of an update: applied in every way. Strictly applied, it is what it is leniently, or an error; an error leaves
/// nothing behind.
pub fn apply(data: &[u8]) {
    let mut documents = documents(data);
    let (Some(before), Some(o)) = (documents.next(), documents.next()) else { return };
    let part = |name| o.get(name).and_then(RawValue::as_doc);
    let modifiers = Delta::Modifiers { set: part("$set"), unset: part("$unset") };
    for delta in [part("diff").map(Delta::Diff), Some(modifiers)].into_iter().flatten() {
        let [strict, lenient] = [Strictness::Strict, Strictness::Lenient].map(|mode| {
            let mut out = b"before".to_vec();
            let applied = event::apply(before, &delta, mode, &mut out);
            assert!(
                out.starts_with(b"before") && (applied.is_ok() || out.len() == 6),
                "half a document is left behind"
            );
            applied.map(|()| out)
        });
        assert!(strict.is_err() || strict == lenient, "strict is lenient, or an error");
        if let Ok(after) = lenient {
            RawDoc::new(&after[6..]).expect("a document");
        }
    }
}

/// Looks at every value.
struct Values(Vec<u8>);

impl DeltaVisitor for Values {
    fn updated(&mut self, path: &[u8], value: RawValue<'_>) -> Result<(), Malformed> {
        self.0.clear();
        self.0.extend_from_slice(path);
        crate::bson::extjson::write_value(&mut self.0, value, Mode::Relaxed)
    }

    fn removed(&mut self, _: &[u8]) {}

    fn truncated(&mut self, _: &[u8], _: i32) {}
}

/// A filter, a sort and the documents to try them on, one behind the other.
pub fn filter(data: &[u8]) {
    let mut documents = documents(data);
    let (Some(filter), Some(sort)) = (documents.next(), documents.next()) else { return };
    let (filter, sort) = (Filter::parse(filter), SortSpec::parse(sort));
    for doc in documents {
        if let Ok(filter) = &filter {
            let _ = filter.matches(doc);
        }
        if let Ok(sort) = &sort {
            let _ = sort.key(doc);
        }
        for element in doc.iter().map_while(Result::ok) {
            let (Ok(key), Ok(order)) =
                (bson::key(element.value), bson::compare(element.value, element.value))
            else {
                continue;
            };
            assert!(order.is_eq() && !key.is_empty(), "a value is not equal to itself");
        }
    }
}
