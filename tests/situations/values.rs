//! BSON values as bytes, which are compared exactly and shown readably.

use std::fmt::{self, Write as _};

use mongodb::bson::raw::{RawBsonRef, RawDocumentBuf};
use mongodb::bson::{Bson, Document, RawDocument, cstr, doc};

use crate::json::Json;

/// How much of a value is shown.
const SHOWN: usize = 1500;

/// A value: its type and its bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Value {
    pub(crate) kind: u8,
    pub(crate) bytes: Vec<u8>,
}

impl Value {
    pub(crate) fn of_raw(value: RawBsonRef<'_>) -> Self {
        let mut holder = RawDocumentBuf::new();
        holder.append(cstr!(""), value);
        Self::only_of(holder.as_bytes())
    }

    pub(crate) fn of(value: impl Into<Bson>) -> Self {
        Self::only_of(&doc! { "": value.into() }.to_vec().unwrap())
    }

    pub(crate) fn of_json(json: &Json) -> Self {
        let (kind, bytes) = json.to_bson();
        Self { kind, bytes }
    }

    /// A whole document.
    pub(crate) fn of_document(document: &RawDocument) -> Self {
        Self { kind: 3, bytes: document.as_bytes().to_vec() }
    }

    /// The only value of a document, whose name is empty.
    fn only_of(holder: &[u8]) -> Self {
        Self { kind: holder[4], bytes: holder[6..holder.len() - 1].to_vec() }
    }

    /// Its document, if it is one that Rust can hold.
    pub(crate) fn document(&self) -> Option<Document> {
        let raw = RawDocument::from_bytes(&self.bytes).ok()?;
        (self.kind == 3).then(|| Document::try_from(raw).ok()).flatten()
    }

    fn decoded(&self) -> Option<Bson> {
        let mut holder = vec![0, 0, 0, 0, self.kind, 0];
        holder.extend_from_slice(&self.bytes);
        holder.push(0);
        let length = i32::try_from(holder.len()).ok()?;
        holder[..4].copy_from_slice(&length.to_le_bytes());
        Document::from_reader(holder.as_slice()).ok()?.remove("")
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        match self.decoded() {
            Some(value) => show(&mut text, &value),
            None => text = format!("type {:#04x}, {}", self.kind, self.bytes.escape_ascii()),
        }
        match text.char_indices().nth(SHOWN) {
            Some((end, _)) => write!(f, "{}… ({} bytes)", &text[..end], self.bytes.len()),
            None => f.write_str(&text),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Writes a value so that its type can be told.
pub(crate) fn show(out: &mut String, value: &Bson) {
    let result = match value {
        Bson::Document(document) => {
            out.push('{');
            for (index, (name, value)) in document.iter().enumerate() {
                let _ = write!(out, "{}{name:?}: ", if index == 0 { "" } else { ", " });
                show(out, value);
            }
            write!(out, "}}")
        }
        Bson::Array(items) => {
            out.push('[');
            for (index, value) in items.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                show(out, value);
            }
            write!(out, "]")
        }
        Bson::Int64(number) => write!(out, "{number}L"),
        Bson::Double(number) => write!(out, "{number:?}"),
        Bson::String(text) => write!(out, "{text:?}"),
        Bson::Timestamp(at) => write!(out, "Timestamp({}, {})", at.time, at.increment),
        Bson::Int32(_) | Bson::Boolean(_) | Bson::Null => write!(out, "{value}"),
        Bson::Binary(binary) => match binary.to_uuid() {
            Ok(uuid) => write!(out, "UUID({uuid})"),
            Err(_) => write!(out, "{value}"),
        },
        Bson::DateTime(date) => write!(out, "Date({})", date.timestamp_millis()),
        other => write!(out, "{other:?}"),
    };
    let _ = result;
}
