//! Transactions of several entries: put together at the last of them.

use bytes::Bytes;

use super::cutting::{FIRST, SESSION, insert, mark, places, problems, transactions};
use super::{apply_ops, entry};
use crate::bson::{Malformed, RawDoc};
use crate::event::{Mark, Position, Txn};
use crate::source::Chunk;
use crate::source::oplog::{Cut, Cutter, Pieces};

/// The link to the entry of that increment.
fn behind(i: u32) -> String {
    format!(r#""prevOpTime": {{"ts": {{"$timestamp": {{"t": 5, "i": {i}}}}}, "t": 3}},"#)
}

/// A part with that many operations, behind the entry of that increment if there is one.
fn part(i: u32, operations: usize, previous: u32, of_o: &str) -> Vec<u8> {
    let previous = if previous == 0 { FIRST.to_owned() } else { behind(previous) };
    apply_ops(i, operations, &format!("{SESSION} {previous}"), of_o)
}

const PARTIAL: &str = r#", "partialTxn": true"#;
const PREPARE: &str = r#", "prepare": true"#;

fn commit(i: u32, previous: u32) -> Vec<u8> {
    let of_o = r#""commitTransaction": 1, "commitTimestamp": {"$timestamp": {"t": 5, "i": 1}}"#;
    entry(i, &format!(r#"{SESSION} {} "op": "c", "ns": "admin.$cmd", "o": {{{of_o}}}"#, behind(previous)))
}

/// Cuts entries one by one, as a tail that continues behind `done`, and reads again what a chain asks for.
fn tail(done: Option<Mark>, chunk_ops: usize, entries: &[Vec<u8>]) -> Result<Vec<Chunk>, Malformed> {
    let mut cutter = Cutter::with_chunks_of(chunk_ops, done);
    let mut pieces = Pieces::default();
    let mut chunks = Vec::new();
    for entry in entries {
        let bytes = Bytes::from(entry.clone());
        pieces.note(&bytes);
        for cut in cutter.cut(&bytes, std::iter::once(Ok(0..bytes.len())))? {
            match cut {
                Cut::Chunk(chunk) => chunks.push(chunk),
                Cut::Chain(chain) => chunks.extend(pieces.resolve(*chain)?),
            }
        }
    }
    Ok(chunks)
}

fn all(entries: &[Vec<u8>]) -> Vec<Chunk> {
    tail(None, 1024, entries).unwrap()
}

/// Where the operations stand themselves: increment and index of the part.
fn held_by(chunks: &[Chunk]) -> Vec<Option<(u32, u32)>> {
    let piece = |piece: Position| (piece.i, piece.ordinal);
    chunks.iter().flat_map(|chunk| &chunk.ops).map(|op| op.piece.map(piece)).collect()
}

fn three_parts() -> Vec<Vec<u8>> {
    vec![
        part(1, 2, 0, PARTIAL),
        part(2, 2, 1, PARTIAL),
        part(3, 1, 2, r#", "count": {"$numberLong": "5"}"#),
        insert(4),
    ]
}

#[test]
fn a_chain_is_published_at_its_last_entry_and_numbered_through() {
    let chunks = all(&three_parts());
    assert_eq!(places(&chunks), [(3, 0), (3, 1), (3, 2), (3, 3), (3, 4), (4, 0)]);
    assert_eq!(
        held_by(&chunks),
        [Some((1, 0)), Some((1, 1)), Some((2, 0)), Some((2, 1)), Some((3, 0)), None]
    );
    assert!(transactions(&chunks).iter().all(|txn| (txn.number, txn.count) == (9, 5)));
    assert_eq!(transactions(&chunks).len(), 3, "each part lies in a buffer of its own");
    // Term and clock are those of the last entry, too.
    assert!(chunks.iter().flat_map(|chunk| &chunk.ops).take(5).all(|op| op.wall_ms == Some(3000)));
    let ends: Vec<bool> = chunks.iter().map(|chunk| chunk.ends_unit).collect();
    // The two parts before the chain's end are entries themselves, without operations.
    assert_eq!(ends, [true, true, false, false, true, true]);
    let end = &chunks[4];
    assert_eq!((end.end.position(), end.entries), (Position::behind_entry(5, 3), 1));
}

#[test]
fn what_lies_between_the_parts_comes_first() {
    let prepared = [part(1, 2, 0, PREPARE), insert(2), commit(3, 1), insert(4)];
    let chunks = all(&prepared);
    assert_eq!(places(&chunks), [(2, 0), (3, 0), (3, 1), (4, 0)]);
    assert_eq!(held_by(&chunks), [None, Some((1, 0)), Some((1, 1)), None]);
    let one = Txn { session: std::array::from_fn(|byte| byte as u8), user: None, number: 9, count: 2 };
    assert_eq!(transactions(&chunks), [one]);
}

#[test]
fn a_prepared_chain_is_published_at_its_commit() {
    let count = format!("{PREPARE}, \"count\": 5");
    let chunks = all(&[part(1, 3, 0, PARTIAL), insert(2), part(3, 2, 1, &count), insert(4), commit(5, 3)]);
    assert_eq!(places(&chunks), [(2, 0), (4, 0), (5, 0), (5, 1), (5, 2), (5, 3), (5, 4)]);
    assert!(transactions(&chunks).iter().all(|txn| txn.count == 5));
    assert_eq!(problems(&chunks), [""; 0]);
}

#[test]
fn what_was_aborted_or_wrote_nothing_is_nothing() {
    let abort = entry(
        3,
        &format!(r#"{SESSION} {} "op": "c", "ns": "admin.$cmd", "o": {{"abortTransaction": 1}}"#, behind(2)),
    );
    let aborted = all(&[part(1, 2, 0, PARTIAL), part(2, 2, 1, PREPARE), abort]);
    assert_eq!(places(&aborted), []);
    let empty = all(&[part(1, 0, 0, PREPARE), commit(2, 1)]);
    assert_eq!((places(&empty), problems(&empty).len()), (vec![], 0));
    let end = empty.last().unwrap();
    assert_eq!((end.end.position(), end.ends_unit), (Position::behind_entry(5, 2), true));
}

#[test]
fn chains_are_not_mixed() {
    let chunks = all(&[
        part(1, 1, 0, PARTIAL),
        part(2, 1, 0, PARTIAL),
        part(3, 1, 1, r#", "count": 2"#),
        insert(4),
        part(5, 2, 2, r#", "count": 3"#),
    ]);
    let expected = [Some((1, 0)), Some((3, 0)), None, Some((2, 0)), Some((5, 0)), Some((5, 1))];
    assert_eq!(held_by(&chunks), expected);
}

#[test]
fn a_tail_resumes_inside_a_chain() {
    let entries = three_parts();
    for chunk_ops in [1, 2, 1024] {
        for done in 0..5 {
            let chunks = tail(Some(mark(3, done)), chunk_ops, &entries);
            // The tail begins with the entry of its mark; its parts are read again.
            let chunks = chunks.unwrap();
            let expected: Vec<(u32, u32)> =
                (done + 1..5).map(|ordinal| (3, ordinal)).chain([(4, 0)]).collect();
            assert_eq!(places(&chunks), expected, "{done} {chunk_ops}");
            assert!(transactions(&chunks).iter().all(|txn| txn.count == 5));
            let marks: Vec<Position> = chunks.iter().map(|chunk| chunk.end.position()).collect();
            assert!(marks.is_sorted() && marks[0] > mark(3, done).position(), "{marks:?}");
        }
        let after = tail(Some(Mark::Tail { at: Position::behind_entry(5, 3), term: Some(3) }), 2, &entries);
        assert_eq!(places(&after.unwrap()), [(4, 0)]);
    }
}

#[test]
fn a_chain_without_session_is_no_transaction() {
    // Batched deletes above the limit of one entry.
    let first = apply_ops(1, 2, FIRST, PARTIAL);
    let last = apply_ops(2, 1, &behind(1), r#", "count": 3"#);
    let chunks = all(&[first, last]);
    assert_eq!((places(&chunks), transactions(&chunks)), (vec![(2, 0), (2, 1), (2, 2)], vec![]));
}

#[test]
fn a_write_that_names_one_of_another_kind_is_no_end_of_a_chain() {
    // Atomic retryable writes of later servers; the predecessor is a retryable write of the same session.
    for multi_op_type in ["", r#""multiOpType": 0,"#, r#""multiOpType": 2,"#] {
        let members = format!("{SESSION} {} {multi_op_type}", behind(1));
        let before = apply_ops(1, 1, &format!("{SESSION} {FIRST} {multi_op_type}"), "");
        let mut cutter = Cutter::new(Some(mark(1, 0)));
        let bytes = Bytes::from(apply_ops(2, 2, &members, ""));
        let mut cuts = cutter.cut(&bytes, std::iter::once(Ok(0..bytes.len()))).unwrap();
        let Some(Cut::Chain(mut chain)) = cuts.pop() else { panic!("{cuts:?}") };
        chain.walk(crate::bson::RawDoc::new(&before).unwrap()).unwrap();
        let chunks = chain.finish().unwrap();
        assert_eq!((places(&chunks), held_by(&chunks)), (vec![(2, 0), (2, 1)], vec![None, None]));
        assert_eq!(transactions(&chunks), []);
    }
}

#[test]
fn a_missing_part_is_a_problem_that_can_be_passed() {
    for entries in [
        vec![part(3, 1, 2, r#", "count": 5"#), insert(4)],
        vec![part(2, 2, 1, PARTIAL), part(3, 1, 2, r#", "count": 5"#), insert(4)],
        vec![commit(3, 1), insert(4)],
    ] {
        let chunks = all(&entries);
        assert_eq!((places(&chunks), problems(&chunks).len()), (vec![(3, 0), (4, 0)], 1));
        // Once it was passed over, it does not come again.
        let passed = chunks.iter().find(|chunk| !chunk.ops.is_empty()).unwrap().end;
        let again = tail(Some(passed), 1024, &entries).unwrap();
        assert_eq!(places(&again), [(4, 0)]);
    }
    let unprepared = all(&[insert(1), commit(2, 1)]);
    assert_eq!(problems(&unprepared).len(), 1);
}

/// Else the way back would have no end, and what is remembered of it no limit.
#[test]
fn a_part_names_only_what_lies_before_it() {
    for (previous, fits) in [(4, true), (5, false), (7, false)] {
        let end = Bytes::from(part(9, 1, 5, r#", "count": 2"#));
        let mut cuts = Cutter::new(None).cut(&end, std::iter::once(Ok(0..end.len()))).unwrap();
        let Some(Cut::Chain(mut chain)) = cuts.pop() else { panic!("no chain") };
        let middle = part(5, 1, previous, PARTIAL);
        assert_eq!(chain.walk(RawDoc::new(&middle).unwrap()).is_ok(), fits, "{previous}");
    }
}

#[test]
fn parts_that_do_not_fit_together_are_found() {
    let mut other_term = part(2, 1, 1, r#", "count": 2"#);
    let position = other_term.windows(4).rposition(|four| four == b"t\0\x03\0").unwrap();
    other_term[position + 2] = 2;
    for (entries, expected) in [
        (vec![part(1, 1, 0, PARTIAL), other_term], "the entry its successor names"),
        (vec![part(1, 1, 0, PARTIAL), part(2, 1, 1, r#", "count": 3"#)], "another number of operations"),
    ] {
        let error = tail(None, 1024, &entries).unwrap_err();
        assert!(error.what.contains(expected), "{error}");
    }
}
