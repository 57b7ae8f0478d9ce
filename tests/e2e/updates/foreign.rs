//! Deltas on documents that they were not made for. What a server does then, when it replays its oplog, an `applyOps` shows.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;
use mongo_observer::bson::RawDoc;
use mongo_observer::event::{Delta, Strictness};
use mongodb::bson::{Document, RawArrayBuf, RawDocument, RawDocumentBuf, cstr, doc, rawdoc};

use super::generate::Generator;
use super::server::{Image, Server};
use super::{Images, applied, show, show_delta};

/// Deltas from the log, and others.
const LOGGED: usize = 600;
const BY_HAND: usize = 300;

/// Documents and what is applied to them, by `_id`.
type Pairs<'a> = BTreeMap<i32, (Image, Delta<'a>)>;

/// Lenient is what the server does, byte for byte; strict is the same, or an error.
pub(super) async fn check(server: &mut Server, deltas: &[Delta<'_>], states: &Images) {
    let states: Vec<&Image> = states.values().flatten().collect();
    let by_hand: Vec<Document> = (0..BY_HAND).map(|_| by_hand(&states, &mut server.generator)).collect();
    let by_hand: Vec<[Vec<u8>; 2]> = by_hand
        .iter()
        .map(|o| ["$set", "$unset"].map(|name| o.get_document(name).unwrap().to_vec().unwrap()))
        .collect();
    let modifiers = by_hand.iter().map(|[set, unset]| {
        let part = |bytes| Some(RawDoc::new(bytes).unwrap()).filter(|part| !part.is_empty());
        Delta::Modifiers { set: part(set), unset: part(unset) }
    });
    let (mut all, mut refused) = (0, 0);
    let deltas: Vec<Delta<'_>> =
        deltas.iter().copied().filter(|delta| server.generator.odd || is_in_order(delta)).collect();
    let mut deltas: Vec<Delta<'_>> =
        (0..LOGGED).map(|_| server.generator.pick(&deltas)).chain(modifiers).collect();
    for deltas in deltas.chunks_mut(50) {
        let mut pairs = Pairs::new();
        for delta in deltas {
            all += 1;
            let image = states[server.generator.index(states.len())];
            pairs.insert(all, (document(image, all, &mut server.generator), *delta));
        }
        let results = apply_on_server(server, &pairs).await;
        for (id, (before, delta)) in &pairs {
            refused += i32::from(!is_applied(before, delta, &results[id]));
        }
    }
    eprintln!("{refused} of {all} deltas do not fit");
    assert!(refused > all / 4 && refused < all * 3 / 4);
}

/// Modifiers that fit some document, as a rule.
fn by_hand(states: &[&Image], generator: &mut Generator) -> Document {
    let image = states[generator.index(states.len())];
    generator.by_hand(&Document::from_reader(image.as_slice()).unwrap())
}

/// Whether `$set` is in the order in which 4.4 replays it. Only the elements of an array it logs by number; where they are none it replays
/// them by name, and 5.0 by number.
fn is_in_order(delta: &Delta<'_>) -> bool {
    let Delta::Modifiers { set: Some(set), .. } = delta else { return true };
    set.iter()
        .is_sorted_by_key(|element| element.unwrap().name.split(|sign| *sign == b'.').collect::<Vec<_>>())
}

/// Compares with what the server made of it; says whether the delta fits.
fn is_applied(before: &[u8], delta: &Delta<'_>, after: &Image) -> bool {
    let texts = || format!("{}\n{}\n{}", show(before), show_delta(delta), show(after));
    let lenient = applied(before, delta, Strictness::Lenient);
    assert!(lenient.as_ref() == Ok(after), "{}\nand not {:?}", texts(), lenient.map(|image| show(&image)));
    let strict = applied(before, delta, Strictness::Strict);
    assert!(strict.as_ref().is_ok_and(|strict| strict == after) || strict.is_err(), "{}", texts());
    strict.is_ok()
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
