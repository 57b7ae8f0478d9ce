//! Documents that the driver can't hold, and very large ones.

use mongodb::bson::raw::{CString, RawArrayBuf};
use mongodb::bson::{RawBson, RawDocumentBuf, doc, rawdoc};

use crate::place::{Outcome, Place};
use crate::table::{ALL, Situation};

/// Inserts documents as they are.
async fn insert_raw(at: &Place, document: RawDocumentBuf) -> Outcome {
    let mut documents = RawArrayBuf::new();
    documents.push(document);
    at.run_raw(rawdoc! { "insert": "a", "documents": documents }).await.map(drop)
}

fn inserted(name: &'static str, document: fn() -> RawDocumentBuf) -> Situation {
    Situation::new(name, move |at| async move { insert_raw(&at, document()).await })
        .given(|at| async move { at.run(doc! { "create": "a" }).await.map(drop) })
        .events(["insert a"])
}

pub(crate) fn table() -> Vec<Situation> {
    vec![
        inserted("a document that has one name twice", || {
            let mut document = rawdoc! { "_id": 1, "a": 1, "b": 2 };
            document.append(CString::try_from("a").unwrap(), RawBson::Int32(3));
            document
        }),
        inserted("a text that is not UTF-8", || {
            let mut bytes = rawdoc! { "_id": 1, "a": "xyz" }.into_bytes();
            let at = bytes.iter().position(|byte| *byte == b'y').unwrap();
            bytes[at] = 0xff;
            RawDocumentBuf::from_bytes(bytes).unwrap()
        })
        .inexact("fullDocument", "JSON can't hold it: U+FFFD stands in its place")
        .lost(ALL, "JSON can't hold it: U+FFFD stands in its place"),
        Situation::new("a document of the greatest size, which makes a greater entry", |at| async move {
            let head = doc! { "_id": 1, "tooLarge": "" }.to_vec()?.len();
            at.insert("a", [doc! { "_id": 1, "tooLarge": "x".repeat((16 << 20) - head) }]).await?;
            at.insert("a", [doc! { "_id": 2 }]).await
        })
        .given(|at| async move { at.run(doc! { "create": "a" }).await.map(drop) })
        .events(["insert a*2"]),
    ]
}
