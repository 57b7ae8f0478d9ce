//! Deltas on documents that they were not made for. What a server does then, when it replays its oplog, an `applyOps` shows.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;
use mongo_observer::event::{Delta, Strictness};
use mongodb::bson::{Document, RawArrayBuf, RawDocument, RawDocumentBuf, cstr, doc, rawdoc};

use super::generate::Generator;
use super::server::{Image, Server};
use super::{States, applied, show};

const ROUNDS: i32 = 12;
const DOCUMENTS: i32 = 50;

/// Lenient is what the server does, byte for byte; strict is the same, or an error.
pub(super) async fn check(server: &mut Server, deltas: &[Delta<'_>], states: &States) {
    let states: Vec<&Image> = states.values().flatten().collect();
    let mut refused = 0;
    for round in 0..ROUNDS {
        let pairs: BTreeMap<i32, (Image, Delta<'_>)> = (round * DOCUMENTS..(round + 1) * DOCUMENTS)
            .map(|id| {
                let image = states[server.generator.index(states.len())];
                let delta = deltas[server.generator.index(deltas.len())];
                (id, (document(image, id, &mut server.generator), delta))
            })
            .collect();
        let results = apply_on_server(server, &pairs).await;
        for (id, (before, delta)) in &pairs {
            let after = &results[id];
            let show = || format!("{}\n{delta:?}\n{}", show(before), show(after));
            let lenient = applied(before, delta, Strictness::Lenient);
            assert!(lenient.as_ref() == Ok(after), "{lenient:?}\n{}", show());
            match applied(before, delta, Strictness::Strict) {
                Ok(strict) => assert!(strict == *after, "{}", show()),
                Err(_) => refused += 1,
            }
        }
    }
    let all = ROUNDS * DOCUMENTS;
    eprintln!("{refused} of {all} deltas do not fit");
    assert!(refused > all / 4 && refused < all);
}

/// The document with another identifier, and every fourth one with one of its fields a second time.
fn document(image: &[u8], id: i32, generator: &mut Generator) -> Image {
    let image = RawDocument::from_bytes(image).unwrap();
    let again = if id % 4 == 0 { generator.index(12) } else { usize::MAX };
    let mut document = rawdoc! { "_id": id };
    for (number, element) in image.into_iter().enumerate().skip(1) {
        let (name, value) = element.unwrap();
        document.append(name, value);
        if number == again {
            document.append(name, 1);
        }
    }
    document.into_bytes()
}

/// Inserts the documents, applies the deltas to them, and reads them.
async fn apply_on_server(server: &Server, pairs: &BTreeMap<i32, (Image, Delta<'_>)>) -> BTreeMap<i32, Image> {
    let mut operations = RawArrayBuf::new();
    let raw = |bytes: &[u8]| RawDocumentBuf::from_bytes(bytes.to_vec()).unwrap();
    server.db.collection::<Document>("foreign").insert_one(doc! { "_id": -1 }).await.ok();
    for (id, (before, delta)) in pairs {
        operations.push(rawdoc! { "op": "i", "ns": "shop.foreign", "o": raw(before) });
        let o = match delta {
            Delta::Diff(diff) => rawdoc! { "$v": 2, "diff": raw(diff.as_bytes()) },
            Delta::Modifiers { set, unset } => {
                let mut o = rawdoc! { "$v": 1 };
                for (name, part) in [(cstr!("$set"), set), (cstr!("$unset"), unset)] {
                    if let Some(part) = part {
                        o.append(name, raw(part.as_bytes()));
                    }
                }
                o
            }
        };
        operations.push(rawdoc! { "op": "u", "ns": "shop.foreign", "o2": { "_id": *id }, "o": o });
    }
    let command = rawdoc! { "applyOps": operations, "allowAtomic": false };
    server.client.database("admin").run_raw_command(command).await.unwrap();
    let coll = server.db.collection::<RawDocumentBuf>("foreign");
    let ids: Vec<i32> = pairs.keys().copied().collect();
    let documents = coll.find(doc! { "_id": { "$in": ids } }).await.unwrap();
    let documents: Vec<RawDocumentBuf> = documents.try_collect().await.unwrap();
    documents.into_iter().map(|document| (document.get_i32("_id").unwrap(), document.into_bytes())).collect()
}
