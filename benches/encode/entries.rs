//! Oplog entries as a server writes them, one behind the other as in its reply.

use std::ops::Range;

use bytes::Bytes;
use mongodb::bson::{Binary, Bson, DateTime, Document, Timestamp, doc, oid::ObjectId, spec::BinarySubtype};

pub(crate) struct Entries {
    pub(crate) bytes: Bytes,
    /// The entries.
    pub(crate) ranges: Vec<Range<usize>>,
    /// The documents in them that have to be written: new documents, or what an update changed.
    pub(crate) documents: Vec<Range<usize>>,
    pub(crate) operations: u64,
}

const COUNT: u32 = 1000;

/// A document of 1 KB, of the usual types.
fn document(number: u32) -> Document {
    let seed = u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    doc! {
        "_id": id(number),
        "name": format!("customer {number}"),
        "state": "new",
        "total": f64::from(number % 10_000) / 8.0,
        "count": i32::try_from(number % 100).unwrap(),
        "at": DateTime::from_millis(1_795_393_406_000 + i64::from(number)),
        "tags": ["a", "b", "c"],
        "address": { "street": "Main Street 1", "city": "Springfield", "zip": 12345 },
        "token": Binary { subtype: BinarySubtype::Generic, bytes: seed.to_be_bytes().repeat(8) },
        "active": number.is_multiple_of(2),
        "text": (0..14).map(|word| format!("{:016x}{seed:016x}", seed ^ word)).collect::<Vec<_>>().join(" "),
    }
}

fn id(number: u32) -> ObjectId {
    ObjectId::from_bytes(std::array::from_fn(|at| number.to_be_bytes()[at % 4]))
}

fn head(number: u32) -> Document {
    doc! { "lsid": { "id": uuid(1), "uid": Binary { subtype: BinarySubtype::Generic, bytes: vec![7; 32] } }, "txnNumber": 1_i64 }
        .into_iter()
        .chain(tail(number))
        .collect()
}

fn tail(number: u32) -> Document {
    doc! {
        "ts": Timestamp { time: 1_795_393_406, increment: number + 1 }, "t": 1_i64, "v": 2_i64,
        "wall": DateTime::from_millis(1_795_393_406_000),
    }
}

fn uuid(byte: u8) -> Binary {
    Binary { subtype: BinarySubtype::Uuid, bytes: vec![byte; 16] }
}

fn insert(number: u32) -> Document {
    doc! { "op": "i", "ns": "shop.orders", "ui": uuid(2), "o": document(number), "o2": { "_id": id(number) } }
}

fn update(number: u32) -> Document {
    let text = document(number).get_str("text").unwrap().to_owned();
    let diff = doc! {
        "u": { "state": "paid", "total": f64::from(number), "text": text },
        "i": { "paid": DateTime::from_millis(1_795_393_406_000) },
        "saddress": { "u": { "zip": 54321 } },
    };
    doc! { "op": "u", "ns": "shop.orders", "ui": uuid(2), "o": { "$v": 2, "diff": diff }, "o2": { "_id": id(number) } }
}

/// Plain inserts.
pub(crate) fn inserts() -> Entries {
    let entries = (0..COUNT).map(|number| insert(number).into_iter().chain(tail(number)).collect());
    lay_out(entries, &["o"])
}

/// Updates of five fields, one of them long: each is written twice, as changed fields and as the diff.
pub(crate) fn updates() -> Entries {
    let entries = (0..COUNT).map(|number| update(number).into_iter().chain(tail(number)).collect());
    lay_out(entries, &["o", "o"])
}

/// Transactions of a hundred inserts.
pub(crate) fn transactions() -> Entries {
    let entries = (0..COUNT / 100).map(|number| {
        let elements: Vec<Bson> = (0..100).map(|index| insert(number * 100 + index).into()).collect();
        let apply = doc! { "op": "c", "ns": "admin.$cmd", "o": { "applyOps": elements } };
        head(number).into_iter().chain(apply).collect()
    });
    lay_out(entries, &["o"])
}

/// Puts entries one behind the other, and finds the documents in them by their names.
fn lay_out(entries: impl Iterator<Item = Document>, names: &[&str]) -> Entries {
    let mut bytes = Vec::new();
    let (mut ranges, mut documents) = (Vec::new(), Vec::new());
    let mut operations = 0;
    for entry in entries {
        let start = bytes.len();
        let raw = entry.to_vec().unwrap();
        bytes.extend_from_slice(&raw);
        ranges.push(start..bytes.len());
        let elements: Vec<&Document> = match entry.get_document("o").and_then(|o| o.get_array("applyOps")) {
            Ok(elements) => elements.iter().filter_map(Bson::as_document).collect(),
            Err(_) => vec![&entry],
        };
        for element in elements {
            operations += 1;
            for name in names {
                let document = element.get_document(name).unwrap().to_vec().unwrap();
                let at = raw.windows(document.len()).position(|window| window == document).unwrap();
                documents.push(start + at..start + at + document.len());
            }
        }
    }
    Entries { bytes: bytes.into(), ranges, documents, operations }
}
