//! Positions, chunks, transactions, and where a resumed tail goes on.

use super::{apply_ops, cut, entry};
use crate::event::{Mark, Position, Txn};
use crate::source::oplog::Cutter;
use crate::source::{Chunk, Problem};

pub(super) const SESSION: &str = r#""lsid": {"id": {"$binary": {"base64": "AAECAwQFBgcICQoLDA0ODw==", "subType": "04"}}}, "txnNumber": 9,"#;
pub(super) const FIRST: &str =
    r#""prevOpTime": {"ts": {"$timestamp": {"t": 0, "i": 0}}, "t": {"$numberLong": "-1"}},"#;
const BEHIND: &str = r#""prevOpTime": {"ts": {"$timestamp": {"t": 4, "i": 9}}, "t": 3},"#;

pub(super) fn insert(i: u32) -> Vec<u8> {
    entry(i, r#""op": "i", "ns": "shop.a", "o": {"_id": 1}"#)
}

fn noop(i: u32) -> Vec<u8> {
    entry(i, r#""op": "n", "ns": "", "o": {"msg": "periodic noop"}"#)
}

pub(super) fn mark(i: u32, ordinal: u32) -> Mark {
    Mark::Tail { at: Position { t: 5, i, ordinal }, term: Some(3) }
}

/// The operations: increment, ordinal.
pub(super) fn places(chunks: &[Chunk]) -> Vec<(u32, u32)> {
    chunks.iter().flat_map(|chunk| &chunk.ops).map(|op| (op.at.i, op.at.ordinal)).collect()
}

pub(super) fn problems(chunks: &[Chunk]) -> Vec<&'static str> {
    let problems = chunks.iter().flat_map(|chunk| &chunk.ops).filter_map(|op| op.problem);
    let whats = problems.map(|problem| match problem {
        Problem::Unknown(what) => what,
        Problem::Damaged(error) => error.what,
    });
    whats.collect()
}

pub(super) fn transactions(chunks: &[Chunk]) -> Vec<Txn> {
    chunks.iter().flat_map(|chunk| chunk.txns.clone()).collect()
}

#[test]
fn plain_entries_are_one_operation_each_in_one_chunk() {
    let mut cutter = Cutter::new(None);
    let chunks = cut(&mut cutter, &[insert(1), insert(2), insert(3)]);
    assert_eq!(places(&chunks), [(1, 0), (2, 0), (3, 0)]);
    let [chunk] = &chunks[..] else { panic!("{chunks:?}") };
    assert_eq!((chunk.end, chunk.ends_unit, chunk.entries), (mark(3, 0), true, 3));
    assert_eq!((chunk.wall_ms, chunk.ops[1].wall_ms, chunk.ops[1].term), (Some(3000), Some(2000), Some(3)));
    assert_eq!(chunk.size, 3 * insert(1).len());
    let doc = &chunk.ops[1].doc;
    assert_eq!(chunk.bytes[doc.start as usize..doc.end as usize], insert(2));
    assert_eq!(cutter.done(), Some(mark(3, 0)));
    assert!(cut(&mut cutter, &[]).is_empty());
}

#[test]
fn a_no_op_has_no_operation_but_moves_the_mark() {
    let mut cutter = Cutter::new(None);
    let chunks = cut(&mut cutter, &[noop(1)]);
    assert_eq!((places(&chunks), chunks[0].end, chunks[0].ends_unit), (vec![], mark(1, 0), true));
    let chunks = cut(&mut cutter, &[insert(2), noop(3)]);
    assert_eq!((chunks.len(), places(&chunks), chunks[0].end), (1, vec![(2, 0)], mark(3, 0)));
    assert_eq!(chunks[0].wall_ms, Some(3000));
    assert_eq!(cutter.done(), Some(mark(3, 0)));
}

#[test]
fn operations_are_numbered_within_their_entry() {
    let chunks = cut(&mut Cutter::new(None), &[apply_ops(1, 3, "", ""), insert(2)]);
    assert_eq!(places(&chunks), [(1, 0), (1, 1), (1, 2), (2, 0)]);
    assert_eq!(chunks[0].ops[2].wall_ms, Some(1000), "inherited from the entry");
    assert_eq!(problems(&chunks), [""; 0]);
    let empty = cut(&mut Cutter::new(None), &[apply_ops(1, 0, "", "")]);
    assert_eq!((places(&empty), empty[0].end), (vec![], mark(1, 0)));
}

#[test]
fn a_chunk_ends_at_its_limit_and_says_whether_a_unit_ends_there_too() {
    let mut cutter = Cutter::with_chunks_of(2, None);
    let ends = |chunks: &[Chunk]| {
        chunks
            .iter()
            .map(|chunk| {
                (chunk.end.position().i, chunk.end.position().ordinal, chunk.ends_unit, chunk.entries)
            })
            .collect::<Vec<_>>()
    };
    let inside = cut(&mut cutter, &[insert(1), apply_ops(2, 4, "", ""), noop(3)]);
    assert_eq!(ends(&inside), [(2, 0, false, 1), (2, 2, false, 0), (3, 0, true, 2)]);
    // The limit is met by the last operation of an entry: that chunk ends the unit, and there is no empty one behind it.
    let exact = cut(&mut cutter, &[apply_ops(4, 4, "", "")]);
    assert_eq!(ends(&exact), [(4, 1, false, 0), (4, 3, true, 1)]);
    let then = cut(&mut cutter, &[insert(5), insert(6), noop(7)]);
    assert_eq!(ends(&then), [(6, 0, true, 2), (7, 0, true, 1)]);
}

#[test]
fn large_operations_close_a_chunk_before_there_are_many() {
    let large = |i| {
        entry(
            i,
            &format!(r#""op": "i", "ns": "shop.a", "o": {{"_id": 1, "text": "{}"}}"#, "x".repeat(100_000)),
        )
    };
    let chunks = cut(&mut Cutter::new(None), &[large(1), large(2), large(3), large(4)]);
    let counts: Vec<usize> = chunks.iter().map(|chunk| chunk.ops.len()).collect();
    assert_eq!(counts, [3, 1]);
    let many: Vec<_> = (1..=1025).map(insert).collect();
    let counts: Vec<usize> = cut(&mut Cutter::new(None), &many).iter().map(|chunk| chunk.ops.len()).collect();
    assert_eq!(counts, [1024, 1]);
}

#[test]
fn what_was_done_is_dropped() {
    let mut cutter = Cutter::new(Some(mark(2, 0)));
    let chunks = cut(&mut cutter, &[insert(1), apply_ops(1, 2, "", ""), insert(2), insert(3)]);
    assert_eq!(places(&chunks), [(3, 0)]);
    let again = cut(&mut cutter, &[insert(3)]);
    assert_eq!((places(&again), cutter.done()), (vec![], Some(mark(3, 0))));
}

#[test]
fn a_tail_resumes_inside_an_entry() {
    for (ordinal, expected) in [(0, vec![1, 2, 3]), (1, vec![2, 3]), (2, vec![3]), (3, vec![])] {
        let mut cutter = Cutter::new(Some(mark(2, ordinal)));
        let chunks = cut(&mut cutter, &[apply_ops(2, 4, SESSION, "")]);
        let expected: Vec<(u32, u32)> = expected.into_iter().map(|ordinal| (2, ordinal)).collect();
        assert_eq!(places(&chunks), expected);
        assert_eq!((chunks[0].end, chunks[0].ends_unit, cutter.done()), (mark(2, 3), true, Some(mark(2, 3))));
        // Counted before anything is dropped.
        assert!(transactions(&chunks).iter().all(|txn| txn.count == 4));
    }
}

#[test]
fn a_mark_never_moves_back() {
    let mut cutter = Cutter::new(Some(mark(2, 9)));
    let chunks = cut(&mut cutter, &[apply_ops(2, 3, "", ""), insert(3)]);
    assert_eq!(places(&chunks), [(3, 0)]);
    let mut cutter = Cutter::new(Some(mark(2, 9)));
    assert_eq!(cut(&mut cutter, &[apply_ops(2, 3, "", "")])[0].end, mark(2, 9));
    cutter.pass(mark(1, 0));
    assert_eq!(cutter.done(), Some(mark(2, 9)));
    cutter.pass(mark(4, 0));
    assert_eq!(cutter.done(), Some(mark(4, 0)));
}

#[test]
fn a_transaction_has_a_session_and_a_number() {
    let one = Txn { session: std::array::from_fn(|byte| byte as u8), user: None, number: 9, count: 3 };
    let of = |members: &str| transactions(&cut(&mut Cutter::new(None), &[apply_ops(1, 3, members, "")]));
    assert_eq!(of(&format!("{SESSION} {FIRST}")), [one]);
    assert_eq!(of(&format!(r#"{SESSION} {FIRST} "multiOpType": 0,"#)), [one]);
    // A batched delete has a session on 6.0, and none later.
    assert_eq!(of(""), []);
    assert_eq!(of(&SESSION.replace(r#""txnNumber": 9,"#, "")), []);
    // Retryable writes of several operations.
    assert_eq!(of(&format!(r#"{SESSION} {FIRST} "multiOpType": 1,"#)), []);
    assert_eq!(of(&format!(r#"{SESSION} {FIRST} "multiOpType": 2,"#)), []);
}

#[test]
fn every_chunk_of_a_transaction_knows_it() {
    let mut cutter = Cutter::with_chunks_of(2, None);
    let chunks = cut(&mut cutter, &[insert(1), apply_ops(2, 3, SESSION, ""), apply_ops(3, 1, SESSION, "")]);
    let of_ops: Vec<_> = chunks
        .iter()
        .flat_map(|chunk| chunk.ops.iter().map(|op| op.txn.map(|txn| chunk.txns[txn as usize].count)))
        .collect();
    assert_eq!(of_ops, [None, Some(3), Some(3), Some(3), Some(1)]);
}

#[test]
fn a_retryable_vectored_insert_is_no_end_of_a_chain() {
    let members = format!(r#"{SESSION} {BEHIND} "multiOpType": 1,"#);
    let chunks = cut(&mut Cutter::new(None), &[apply_ops(1, 2, &members, "")]);
    assert_eq!((places(&chunks), problems(&chunks).len()), (vec![(1, 0), (1, 1)], 0));
}

#[test]
fn a_user_applyops_is_published_as_it_is() {
    let of_o = r#", "lsid": {"id": {"$binary": {"base64": "AAECAwQFBgcICQoLDA0ODw==", "subType": "04"}}}, "$db": "admin""#;
    let chunks = cut(&mut Cutter::new(None), &[apply_ops(1, 2, "", of_o)]);
    assert_eq!((places(&chunks), transactions(&chunks)), (vec![(1, 0), (1, 1)], vec![]));
}

#[test]
fn pieces_of_a_transaction_hold_nothing_and_move_the_mark() {
    for (members, of_o) in [
        (SESSION, r#", "partialTxn": true"#),
        ("", r#", "partialTxn": true"#),
        (SESSION, r#", "prepare": true"#),
        (SESSION, r#", "prepare": true, "count": 5"#),
    ] {
        for previous in [FIRST, BEHIND] {
            let chunks =
                cut(&mut Cutter::new(None), &[apply_ops(1, 2, &format!("{members} {previous}"), of_o)]);
            assert_eq!((places(&chunks), chunks[0].end), (vec![], mark(1, 0)), "{of_o}");
        }
    }
    let abort = entry(
        2,
        &format!(r#"{SESSION} {BEHIND} "op": "c", "ns": "admin.$cmd", "o": {{"abortTransaction": 1}}"#),
    );
    assert!(places(&cut(&mut Cutter::new(None), &[abort])).is_empty());
}

#[test]
fn an_entry_of_an_unknown_version_is_a_problem() {
    for version in ["1", "3", "2.5", "\"2\"", "null"] {
        let members = format!(r#"{{"ts": {{"$timestamp": {{"t": 5, "i": 1}}}}, "v": {version}, "op": "n"}}"#);
        let unknown = crate::bson::extjson::parse(&members).unwrap();
        let chunks = cut(&mut Cutter::new(None), &[unknown]);
        assert_eq!(problems(&chunks), ["an oplog entry of an unknown version"], "{version}");
    }
}

#[test]
fn an_unknown_kind_of_applyops_is_a_problem() {
    for kind in ["3", "-1"] {
        for members in [format!("{SESSION} {FIRST}"), format!("{SESSION} {BEHIND}"), String::new()] {
            let unknown = apply_ops(1, 2, &format!(r#"{members} "multiOpType": {kind},"#), "");
            let chunks = cut(&mut Cutter::new(None), &[unknown]);
            assert_eq!(problems(&chunks), ["an `applyOps` of an unknown `multiOpType`"], "{kind} {members}");
        }
    }
}

#[test]
fn what_should_hold_operations_and_does_not_is_a_problem() {
    for (members, expected) in [
        (r#""o": {"applyOps": {"0": {}}}"#, "an `applyOps` that is not an array"),
        (r#""o": {"applyOps": 1}"#, "an `applyOps` that is not an array"),
        (r#""o": {"applyOps": [null]}"#, "an element of `applyOps` that is not a document"),
        (r#""o": 1"#, "a command without `o`"),
        (r#""o2": {}"#, "a command without `o`"),
    ] {
        let chunks =
            cut(&mut Cutter::new(None), &[entry(1, &format!(r#""op": "c", "ns": "admin.$cmd", {members}"#))]);
        assert_eq!(problems(&chunks), [expected], "{members}");
    }
}
