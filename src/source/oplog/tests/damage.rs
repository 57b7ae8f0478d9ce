//! Bytes that no server should send: an error, or something else, but never a panic.

use bytes::Bytes;
use proptest::prelude::*;

use super::super::entry::Entry;
use super::{apply_ops, cut, entry};
use crate::bson::extjson::{Mode, parse, write_doc, write_value};
use crate::bson::{Malformed, RawDoc, RawValue};
use crate::event::{Change, DeltaVisitor, Key, Mark};
use crate::source::Namespaces;
use crate::source::oplog::{Cut, Cutter, FaultKind, Pieces, translate};

/// An entry of every shape.
fn entries() -> Vec<Vec<u8>> {
    let session = r#""lsid": {"id": {"$binary": {"base64": "AAECAwQFBgcICQoLDA0ODw==", "subType": "04"}}}, "txnNumber": 9,"#;
    vec![
        entry(1, r#""op": "i", "ns": "shop.a", "o": {"_id": 1, "a": [1, {"b": "c"}]}, "o2": {"_id": 1}"#),
        entry(
            2,
            r#""op": "u", "ns": "shop.a", "o2": {"_id": 1}, "o": {"$v": 2, "diff": {"u": {"a": 1}, "sb": {"a": true, "l": 1, "u0": 2}}}"#,
        ),
        entry(
            3,
            r#""op": "u", "ns": "shop.a", "o2": {"_id": 1}, "o": {"$v": 1, "$set": {"a": 1}, "$unset": {"b": true}}"#,
        ),
        entry(4, r#""op": "c", "ns": "shop.$cmd", "o": {"renameCollection": "shop.a", "to": "shop.b"}"#),
        apply_ops(5, 3, session, ""),
        entry(6, r#""op": "n", "ns": "", "o": {"msg": "periodic noop"}"#),
    ]
}

/// Cuts, translates, and reads what came out.
fn use_up(bytes: Vec<u8>) {
    let bytes = Bytes::from(bytes);
    let whole = 0..bytes.len();
    let Ok(cuts) = Cutter::with_chunks_of(2, None).cut(&bytes, std::iter::once(Ok(whole))) else { return };
    // What a chain asks for is the same bytes once more: sometimes a part of it, sometimes not.
    let mut pieces = Pieces::default();
    pieces.note(&bytes);
    let mut resolve = |cut| match cut {
        Cut::Chunk(chunk) => vec![chunk],
        Cut::Chain(chain) => pieces.resolve(*chain).unwrap_or_default(),
    };
    for chunk in &cuts.into_iter().flat_map(&mut resolve).collect::<Vec<_>>() {
        for op in &chunk.ops {
            if let Ok(Some(event)) = translate(chunk, op, &Namespaces::default(), "") {
                read(&event.change);
            }
        }
    }
}

fn read(change: &Change<'_>) {
    let mut out = Vec::new();
    let _ = change.key().and_then(Key::id).map(|id| write_value(&mut out, id, Mode::Relaxed));
    let _ = match change {
        Change::Insert { after: doc, .. } | Change::Replace { after: doc, .. } => {
            write_doc(&mut out, *doc, Mode::Relaxed)
        }
        Change::Command(command) => write_doc(&mut out, command.o, Mode::Relaxed),
        Change::Update { delta, .. } => delta.visit(&mut Vec::new(), &mut Values(out)),
        Change::Delete { .. } | Change::HeaderOnly(_) | Change::Watermark => Ok(()),
    };
}

/// Reads the values of a delta.
struct Values(Vec<u8>);

impl DeltaVisitor for Values {
    fn updated(&mut self, _: &[u8], value: RawValue<'_>) -> Result<(), Malformed> {
        write_value(&mut self.0, value, Mode::Relaxed)
    }
    fn removed(&mut self, _: &[u8]) {}
    fn truncated(&mut self, _: &[u8], _: i32) {}
}

#[test]
fn an_entry_that_is_cut_off_is_refused() {
    for entry in entries() {
        for length in 0..entry.len() {
            let bytes = Bytes::copy_from_slice(&entry[..length]);
            assert!(Cutter::new(None).cut(&bytes, std::iter::once(Ok(0..length))).is_err());
        }
    }
}

/// The bytes with an element of a type that BSON does not have: the one whose name is `x~`.
fn damaged(mut bytes: Vec<u8>) -> Vec<u8> {
    let name = bytes.windows(2).position(|two| two == b"x~").unwrap();
    bytes[name - 1] = 0x55;
    bytes
}

#[test]
fn a_damaged_entry_is_unreadable_in_its_place() {
    let insert = |i| entry(i, r#""op": "i", "ns": "shop.a", "o": {"_id": 1}"#);
    let session = r#""lsid": {"id": {"$binary": {"base64": "AAECAwQFBgcICQoLDA0ODw==", "subType": "04"}}}, "txnNumber": 9,"#;
    let of_array = |members: &str| {
        let operations = r#"[{"op": "i", "ns": "shop.a", "o": {"_id": 1}}], "x~": 1"#;
        entry(2, &format!(r#"{members} "op": "c", "ns": "admin.$cmd", "o": {{"applyOps": {operations}}}"#))
    };
    let mut within_array = apply_ops(2, 3, session, "");
    let at = within_array.windows(3).position(|three| three == b"\x031\0").unwrap();
    within_array[at] = 0x55;
    for bad in [
        damaged(entry(2, r#""op": "i", "ns": "shop.a", "o": {"_id": 1}, "x~": 1"#)),
        damaged(entry(2, r#""x~": 1, "op": "n", "ns": "", "o": {"msg": "periodic noop"}"#)),
        damaged(of_array("")),
        damaged(of_array(session)),
        within_array,
    ] {
        let entries = [insert(1), bad.clone(), insert(3)];
        let chunks = cut(&mut Cutter::new(None), &entries);
        let [chunk] = &chunks[..] else { panic!("not one chunk") };
        let places: Vec<_> = chunk.ops.iter().map(|op| (op.at.i, op.at.ordinal)).collect();
        assert_eq!((places, chunk.entries), (vec![(1, 0), (2, 0), (3, 0)], 3));
        let results = chunk.ops.iter().map(|op| translate(chunk, op, &Namespaces::default(), ""));
        let faults: Vec<_> = results.map(Result::err).collect();
        let [None, Some(fault), None] = &faults[..] else { panic!("{faults:?}") };
        assert_eq!((fault.kind, fault.at), (FaultKind::Unreadable, chunk.ops[1].at));
        assert!(fault.what.starts_with("malformed BSON at byte "), "{}", fault.what);
        assert_eq!(chunk.document(&chunk.ops[1]), bad);
        // AND it is not met again
        let rest = cut(&mut Cutter::new(Some(Mark::Tail { at: fault.at, term: None })), &entries);
        assert_eq!(rest.iter().flat_map(|chunk| &chunk.ops).map(|op| op.at.i).collect::<Vec<_>>(), [3]);
    }
}

#[test]
fn an_entry_that_is_damaged_before_its_timestamp_has_no_place() {
    let bytes = parse(r#"{"x~": 1, "ts": {"$timestamp": {"t": 5, "i": 6}}, "op": "n"}"#).unwrap();
    let bytes = Bytes::from(damaged(bytes));
    let error = Cutter::new(None).cut(&bytes, std::iter::once(Ok(0..bytes.len()))).unwrap_err();
    assert_eq!(error.what, "unknown type of value");
}

#[test]
fn an_entry_closed_too_early_never_panics() {
    for entry in entries() {
        for length in 4..entry.len() {
            let mut bytes = [&entry[..length], &[0]].concat();
            let prefix = i32::try_from(bytes.len()).unwrap().to_le_bytes();
            bytes[..4].copy_from_slice(&prefix);
            use_up(bytes);
        }
    }
}

#[test]
fn fields_of_an_entry_come_in_any_order_and_unknown_ones_are_ignored() {
    let text = r#"{"rid": 1, "o": {"a": 1}, "multiOpType": 1, "wall": {"$date": {"$numberLong": "8"}}, "op": "i", "versionContext": {},
        "prevOpTime": {"t": 1, "ts": {"$timestamp": {"t": 2, "i": 3}}}, "t": {"$numberLong": "4"}, "ts": {"$timestamp": {"t": 5, "i": 6}}}"#;
    let bytes = parse(text).unwrap();
    let entry = Entry::parse(RawDoc::new(&bytes).unwrap()).unwrap();
    assert_eq!(
        (entry.at.timestamp(), entry.term, entry.wall_ms, entry.fields.op),
        ((5, 6), Some(4), Some(8), &b"i"[..])
    );
    assert_eq!(entry.previous.map(|link| (link.at.timestamp(), link.term)), Some(((2, 3), Some(1))));
    assert!(
        entry.multi_op_type == Some(1)
            && entry.fields.o.is_some()
            && entry.version.is_none()
            && entry.session.is_none()
    );
}

#[test]
fn an_entry_without_its_timestamp_has_no_place() {
    for text in ["{}", r#"{"ts": 1, "op": "n"}"#, r#"{"ts": {"$date": {"$numberLong": "1"}}}"#] {
        let bytes = parse(text).unwrap();
        let error = Entry::parse(RawDoc::new(&bytes).unwrap()).unwrap_err();
        assert_eq!(error.what, "an oplog entry without `ts`", "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn a_damaged_entry_never_panics(
        which in any::<prop::sample::Index>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let entries = entries();
        let mut bytes = which.get(&entries).clone();
        for (place, byte) in damage {
            let place = 4 + place.index(bytes.len() - 5);
            bytes[place] = byte;
        }
        use_up(bytes);
    }
}
