//! Cutting and translating, on entries written as Extended JSON.

mod chains;
mod commands;
mod cutting;
mod damage;
mod faults;
mod meaning;
mod moved;
mod phrase;
mod shapes;

use bytes::Bytes;

use super::{Cut, Cutter};
use crate::bson::extjson::parse;
use crate::source::Chunk;

/// An entry of the second 5 with these members, written at `i` seconds.
fn entry(i: u32, members: &str) -> Vec<u8> {
    let head = format!(
        r#""ts": {{"$timestamp": {{"t": 5, "i": {i}}}}}, "t": 3, "v": 2, "wall": {{"$date": {{"$numberLong": "{i}000"}}}}"#
    );
    parse(&format!("{{{head}, {members}}}")).expect(members)
}

/// Entries as a reply holds them: in one buffer, with something in front.
fn cut(cutter: &mut Cutter, entries: &[Vec<u8>]) -> Vec<Chunk> {
    let mut bytes = b"head".to_vec();
    let mut ranges = Vec::new();
    for entry in entries {
        let start = bytes.len();
        bytes.extend_from_slice(entry);
        ranges.push(Ok(start..bytes.len()));
    }
    let chunk = |cut| match cut {
        Cut::Chunk(chunk) => chunk,
        Cut::Chain(chain) => panic!("the end of a chain: {chain:?}"),
    };
    cutter.cut(&Bytes::from(bytes), ranges.into_iter()).expect("entries").into_iter().map(chunk).collect()
}

/// An `applyOps` of inserts of the documents 0, 1, … in shop.a, and further members of the entry and of its `o`.
fn apply_ops(i: u32, count: usize, members: &str, of_o: &str) -> Vec<u8> {
    let inserts: Vec<String> =
        (0..count).map(|id| format!(r#"{{"op": "i", "ns": "shop.a", "o": {{"_id": {id}}}}}"#)).collect();
    let inserts = inserts.join(",");
    entry(i, &format!(r#"{members} "op": "c", "ns": "admin.$cmd", "o": {{"applyOps": [{inserts}]{of_o}}}"#))
}
