//! Fetching images ahead, from a server that is none.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use futures::{FutureExt as _, TryFutureExt as _};
use tokio::sync::Semaphore;

use super::{IMAGES_AHEAD, ImageLimits, ImageStore, Request, Sought, with_images};
use crate::bson::extjson::parse;
use crate::error::{Error, ErrorKind};
use crate::event::{AfterImages, BeforeImages, Image, ImageSettings, Mark, Position};
use crate::source::oplog::{Cut, Cutter, Pieces, translate};
use crate::source::{Chunk, Namespaces};

const LIMIT: usize = 10_000;

const LOOKUP: ImageSettings = ImageSettings { before: BeforeImages::None, after: AfterImages::Lookup };
const BEFORE: ImageSettings = ImageSettings { before: BeforeImages::Stored, after: AfterImages::None };
const STORED: ImageSettings = ImageSettings { before: BeforeImages::None, after: AfterImages::Stored };
const ALL_STORED: ImageSettings = ImageSettings { before: BeforeImages::Stored, after: AfterImages::Stored };

/// A server's documents, by what is asked for.
#[derive(Debug)]
struct Server {
    /// By the `_id`, a number.
    current: BTreeMap<i32, Vec<u8>>,
    /// Documents of `config.system.preimages`.
    records: Vec<Vec<u8>>,
    /// Entries of the oplog.
    no_ops: Vec<Vec<u8>>,
    keeps_records: bool,
    /// As many requests as it may answer.
    answers: Semaphore,
    asked: AtomicUsize,
    log: Mutex<Vec<String>>,
    /// The request that fails.
    fails_at: usize,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            current: BTreeMap::new(),
            records: Vec::new(),
            no_ops: Vec::new(),
            keeps_records: true,
            answers: Semaphore::new(usize::MAX >> 4),
            asked: AtomicUsize::new(0),
            log: Mutex::default(),
            fails_at: usize::MAX,
        }
    }
}

impl Server {
    fn with_documents(documents: impl IntoIterator<Item = (i32, Vec<u8>)>) -> Self {
        Self { current: documents.into_iter().collect(), ..Self::default() }
    }

    fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    fn answer(&self, sought: &Sought<'_>) -> Vec<Vec<u8>> {
        match sought {
            Sought::Current { ids, .. } => {
                let wanted: Vec<i32> = ids.iter().filter_map(|id| id.as_i32()).collect();
                let all = self.current.iter();
                all.filter(|(id, _)| wanted.contains(id)).map(|(_, document)| document.clone()).collect()
            }
            Sought::Records { .. } => self.records.clone(),
            Sought::NoOps { .. } => self.no_ops.clone(),
        }
    }
}

fn named(sought: &Sought<'_>) -> String {
    match sought {
        Sought::Current { db, collection, ids } => {
            let ids: Vec<i32> = ids.iter().filter_map(|id| id.as_i32()).collect();
            format!("current {db} {} {ids:?}", collection[0])
        }
        Sought::Records { collection, first, last } => {
            format!("records {} {first:?}..{last:?}", collection[0])
        }
        Sought::NoOps { first, last } => format!("no-ops {first:?}..{last:?}"),
    }
}

impl ImageStore for Server {
    fn read<'a>(&'a self, request: &'a Request<'a>) -> BoxStream<'a, Result<Vec<Bytes>, Error>> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst);
        self.log.lock().unwrap().push(format!("{} at {:?}", named(&request.sought), request.not_before));
        let replies = async move {
            self.answers.acquire().await.unwrap().forget();
            if number >= self.fails_at {
                return Err(Error::new(ErrorKind::SourceUnavailable, "no answer"));
            }
            let documents = self.answer(&request.sought);
            let replies: Vec<_> =
                documents.chunks(request.at_once as usize).map(<[Vec<u8>]>::to_vec).collect();
            Ok(futures::stream::iter(replies).map(|reply| Ok(reply.into_iter().map(Bytes::from).collect())))
        };
        replies.try_flatten_stream().boxed()
    }

    fn keeps_records(&self) -> bool {
        self.keeps_records
    }
}

/// The UUID that begins with this byte.
fn uuid(first: u8) -> String {
    format!(r#"{{"$uuid": "{first:02x}000000-0000-4000-8000-000000000000"}}"#)
}

/// An entry of the second 5.
fn entry(i: u32, members: &str) -> Vec<u8> {
    parse(&format!(r#"{{"ts": {{"$timestamp": {{"t": 5, "i": {i}}}}}, "t": 1, {members}}}"#)).expect(members)
}

fn element(op: &str, id: i32, o: &str) -> String {
    let ui = uuid(7);
    format!(r#""op": "{op}", "ns": "shop.a", "ui": {ui}, "o": {o}, "o2": {{"_id": {id}}}"#)
}

/// Sets `n` of the document.
fn set(id: i32) -> String {
    element("u", id, r#"{"$v": 2, "diff": {"u": {"n": 2}}}"#)
}

fn update(i: u32, id: i32) -> Vec<u8> {
    entry(i, &set(id))
}

fn insert(i: u32, id: i32) -> Vec<u8> {
    entry(i, &element("i", id, &format!(r#"{{"_id": {id}}}"#)))
}

/// A document of about that many bytes.
fn document(id: i32, bytes: usize) -> Vec<u8> {
    parse(&format!(r#"{{"_id": {id}, "n": 1, "x": "{}"}}"#, "x".repeat(bytes))).unwrap()
}

fn cut(entries: &[Vec<u8>]) -> Vec<Cut> {
    let mut end = 0;
    let ranges = entries.iter().map(|entry| {
        end += entry.len();
        Ok(end - entry.len()..end)
    });
    Cutter::new(None).cut(&Bytes::from(entries.concat()), ranges).unwrap()
}

fn chunk(entries: &[Vec<u8>]) -> Chunk {
    match cut(entries).pop() {
        Some(Cut::Chunk(chunk)) => chunk,
        other => panic!("one chunk: {other:?}"),
    }
}

fn attach(server: &Arc<Server>, settings: ImageSettings, chunks: Vec<Chunk>) -> crate::source::ChunkStream {
    let chunks = futures::stream::iter(chunks).map(Ok).boxed();
    let store = Arc::clone(server) as Arc<dyn ImageStore>;
    with_images(chunks, store, Arc::new(Namespaces::default()), settings, ImageLimits { chunk_bytes: LIMIT })
}

fn attached(server: &Arc<Server>, settings: ImageSettings, chunks: Vec<Chunk>) -> Vec<Chunk> {
    attach(server, settings, chunks).try_collect().now_or_never().expect("all answers are there").unwrap()
}

/// What the images of a chunk's operations are, and the `n` of each document.
fn images(chunk: &Chunk) -> Vec<String> {
    let namespaces = Namespaces::default();
    let mut computed = Vec::new();
    let mut texts = Vec::new();
    for (index, op) in chunk.ops.iter().enumerate() {
        let event = translate(chunk, op, &namespaces, "rs0").unwrap().unwrap();
        let images =
            chunk.images.as_ref().map(|all| all.images(index, &event.change, event.at, &mut computed));
        let images = images.unwrap_or_default();
        let text = |name: &str, image: Option<Image<'_>>| {
            let image = image?;
            let n = image.document().and_then(|document| document.get("n")?.as_i32());
            Some(format!(" {name} {}{}", image.name(), n.map_or(String::new(), |n| format!(" {n}"))))
        };
        let parts = [text("before", images.before), text("after", images.after)];
        texts.push(format!("{}{}", event.change.name(), parts.into_iter().flatten().collect::<String>()));
    }
    texts
}

fn ends(chunks: &[Chunk]) -> Vec<u32> {
    chunks.iter().map(|chunk| chunk.end.position().i).collect()
}

#[test]
fn what_wants_no_document_passes_as_it_is() {
    let server = Arc::new(Server::default());
    let idle = Chunk::idle(Mark::Tail { at: Position::of_entry(5, 9), term: None });
    let delete = entry(2, &element("d", 1, r#"{"_id": 1}"#));
    let chunks = attached(&server, LOOKUP, vec![chunk(&[insert(1, 1), delete]), idle]);
    assert_eq!((ends(&chunks), server.log()), (vec![2, 9], vec![]));
    assert!(chunks.iter().all(|chunk| chunk.images.is_none()));
}

#[test]
fn updates_get_what_is_there_now_and_are_told_where_nothing_is() {
    let server = Arc::new(Server::with_documents([(1, document(1, 5)), (3, document(3, 5))]));
    let entries = [update(1, 1), insert(2, 9), update(3, 2), update(4, 1), update(5, 3)];
    let chunks = attached(&server, LOOKUP, vec![chunk(&entries)]);
    assert_eq!(
        images(&chunks[0]),
        [
            "update after lookup 1",
            "insert",
            "update after gone",
            "update after lookup 1",
            "update after lookup 1"
        ]
    );
    assert_eq!(server.log(), ["current shop 7 [1, 2, 3] at 5-5-0"]);
    let fetched = chunks[0].images.as_ref().unwrap().fetched;
    assert_eq!((fetched.documents, fetched.bytes), (2, 2 * document(1, 5).len()));
}

#[test]
fn another_document_of_the_same_id_by_some_collation_is_none() {
    // The server takes 1 and 1.0 for the same, and in some collections "a" and "A".
    let found = parse(r#"{"_id": {"$numberLong": "1"}, "n": 1}"#).unwrap();
    let server = Arc::new(Server::with_documents([(1, found)]));
    let chunks = attached(&server, LOOKUP, vec![chunk(&[update(1, 1)])]);
    assert_eq!(images(&chunks[0]), ["update after gone"]);
}

#[test]
fn collections_are_asked_by_their_uuid_and_what_names_none_not_at_all() {
    let server = Arc::new(Server::with_documents([(1, document(1, 5))]));
    let other = set(1).replace("shop.a", "old.b").replace(&uuid(7), &uuid(8));
    let nameless = set(1).replace(&format!(r#""ui": {}, "#, uuid(7)), "");
    let chunks =
        attached(&server, LOOKUP, vec![chunk(&[entry(1, &other), entry(2, &nameless), update(3, 1)])]);
    let expected = ["update after lookup 1", "update after notFound", "update after lookup 1"];
    assert_eq!(images(&chunks[0]), expected);
    let mut log = server.log();
    log.sort();
    assert_eq!(log, ["current old 8 [1] at 5-3-0", "current shop 7 [1] at 5-3-0"]);
}

#[tokio::test]
async fn several_chunks_are_fetched_for_at_once_and_come_in_order() {
    let documents = (1..=20).map(|id| (id, document(id, 5)));
    let server = Arc::new(Server { answers: Semaphore::new(0), ..Server::with_documents(documents) });
    let chunks = (1..=20).map(|i| chunk(&[update(i, i32::try_from(i).unwrap())])).collect();
    let mut stream = attach(&server, LOOKUP, chunks);
    // WHEN no answer comes
    assert!(stream.next().now_or_never().is_none());
    // THEN one is asked for, as nobody knows how large they are
    assert_eq!(server.log().len(), 1);
    // WHEN that one has come
    server.answers.add_permits(1);
    let mut chunks = vec![stream.try_next().await.unwrap().unwrap()];
    assert!(stream.next().now_or_never().is_none());
    // THEN so many are asked for, and no more
    assert_eq!(server.log().len(), 1 + IMAGES_AHEAD);
    // WHEN all come
    server.answers.add_permits(100);
    chunks.extend(stream.try_collect::<Vec<_>>().await.unwrap());
    // THEN the order is that of the source, and each has its own
    assert_eq!(ends(&chunks), (1..=20).collect::<Vec<_>>());
    assert!(chunks.iter().all(|chunk| images(chunk) == ["update after lookup 1"]));
}

#[test]
fn large_documents_come_in_windows_that_have_room() {
    let count = 50;
    let documents = (1..=count).map(|id| (id, document(id, 3000)));
    let server = Arc::new(Server::with_documents(documents));
    let entries: Vec<_> = (1..=count).map(|id| update(id.unsigned_abs(), id)).collect();
    let whole = chunk(&entries);
    let chunks = attached(&server, LOOKUP, vec![whole.clone(), chunk(&[insert(99, 1)])]);
    let sizes: Vec<usize> = chunks.iter().map(|chunk| chunk.weight() - chunk.size).collect();
    assert!(sizes.iter().all(|size| *size <= LIMIT) && sizes.len() > 15, "{sizes:?}");
    // Together they are what the chunk was: operations, positions, sizes, and where entries end.
    let ops: Vec<Position> = chunks.iter().flat_map(|chunk| &chunk.ops).map(|op| op.at).collect();
    let expected: Vec<Position> = (1..=50).chain([99]).map(|i| Position::of_entry(5, i)).collect();
    assert_eq!(ops, expected);
    let (last, pieces) = chunks.split_last().unwrap();
    assert_eq!((last.end.position().i, last.ends_unit), (99, true));
    assert_eq!(pieces.iter().map(|piece| piece.size).sum::<usize>(), whole.size);
    assert_eq!(pieces.iter().map(|piece| piece.entries).sum::<u32>(), whole.entries);
    assert!(pieces.iter().all(|piece| piece.end.position() == piece.ops[piece.ops.len() - 1].at));
    assert_eq!(pieces.iter().filter(|piece| piece.ends_unit).count(), 1);
    assert!(pieces.iter().flat_map(images).all(|text| text == "update after lookup 1"));
}

#[test]
fn one_document_of_many_operations_counts_for_each_of_them() {
    let server = Arc::new(Server::with_documents([(1, document(1, 4000))]));
    let entries: Vec<_> = (1..=9).map(|i| update(i, 1)).collect();
    let chunks = attached(&server, LOOKUP, vec![chunk(&entries)]);
    assert!(chunks.iter().all(|chunk| chunk.ops.len() <= 2), "two of them fill the room");
    assert_eq!(chunks.iter().map(|chunk| chunk.ops.len()).sum::<usize>(), 9);
}

#[test]
fn one_operation_may_take_what_it_takes() {
    let server = Arc::new(Server::with_documents([(1, document(1, 5 * LIMIT)), (2, document(2, 5))]));
    let chunks = attached(&server, LOOKUP, vec![chunk(&[update(1, 2), update(2, 1), update(3, 2)])]);
    let all: Vec<String> = chunks.iter().flat_map(images).collect();
    assert_eq!((all.len(), ends(&chunks).last()), (3, Some(&3)));
    assert!(all.iter().all(|text| text == "update after lookup 1"));
}

#[test]
fn a_failure_ends_it_behind_what_came_before() {
    let documents = (1..=3).map(|id| (id, document(id, 5)));
    let server = Arc::new(Server { fails_at: 1, ..Server::with_documents(documents) });
    let mut stream = attach(&server, LOOKUP, (1..=3).map(|i| chunk(&[update(i, 1)])).collect());
    let mut next = || stream.next().now_or_never().unwrap().unwrap();
    assert_eq!(next().unwrap().end.position().i, 1);
    assert_eq!(next().unwrap_err().kind(), ErrorKind::SourceUnavailable);
}

fn record(first: u8, at: (u32, u32), n: i32) -> Vec<u8> {
    let (i, index) = at;
    let ui = uuid(first);
    let id = format!(
        r#"{{"nsUUID": {ui}, "ts": {{"$timestamp": {{"t": 5, "i": {i}}}}}, "applyOpsIndex": {{"$numberLong": "{index}"}}}}"#
    );
    parse(&format!(r#"{{"_id": {id}, "preImage": {{"_id": 1, "n": {n}}}}}"#)).unwrap()
}

/// An update, a replacement, a delete, an insert, and an update of which nothing is recorded.
fn one_of_each() -> [Vec<u8>; 5] {
    let replace = entry(2, &element("u", 2, r#"{"_id": 2, "n": 5}"#));
    let delete = entry(3, &element("d", 3, r#"{"_id": 3}"#));
    [update(1, 1), replace, delete, insert(4, 4), update(5, 5)]
}

#[test]
fn what_was_there_before_is_found_by_collection_and_place() {
    let strange = record(7, (2, 1), 98);
    let records = vec![record(7, (1, 0), 11), record(7, (2, 0), 12), strange, record(7, (3, 0), 13)];
    for (settings, expected) in [
        (
            BEFORE,
            [
                "update before exact 11",
                "replace before exact 12",
                "delete before exact 13",
                "insert",
                "update before notFound",
            ],
        ),
        (STORED, ["update after exact 2", "replace", "delete", "insert", "update after notFound"]),
        (
            ALL_STORED,
            [
                "update before exact 11 after exact 2",
                "replace before exact 12",
                "delete before exact 13",
                "insert",
                "update before notFound after notFound",
            ],
        ),
    ] {
        let server = Arc::new(Server { records: records.clone(), ..Server::default() });
        let chunks = attached(&server, settings, vec![chunk(&one_of_each())]);
        assert_eq!(images(&chunks[0]), expected);
        assert_eq!(server.log(), ["records 7 5-1-0..5-5-0 at 5-5-0"]);
    }
}

#[test]
fn both_sorts_of_images_come_together() {
    let server = Server::with_documents([(1, document(1, 5))]);
    let server = Arc::new(Server { records: vec![record(7, (1, 0), 11)], ..server });
    let settings = ImageSettings { before: BeforeImages::Stored, after: AfterImages::Lookup };
    let chunks = attached(&server, settings, vec![chunk(&[update(1, 1)])]);
    assert_eq!(images(&chunks[0]), ["update before exact 11 after lookup 1"]);
}

#[test]
fn in_a_transaction_of_several_entries_it_is_the_place_of_the_operation() {
    let apply_ops = |i, previous: u32, rest: &str| {
        let [one, other] = [set(1), set(2)];
        let session = r#""lsid": {"id": {"$uuid": "01000000-0000-4000-8000-000000000000"}}, "txnNumber": {"$numberLong": "1"}"#;
        let link = format!(
            r#""prevOpTime": {{"ts": {{"$timestamp": {{"t": {}, "i": {previous}}}}}, "t": 1}}"#,
            if previous == 0 { 0 } else { 5 }
        );
        entry(
            i,
            &format!(
                r#"{session}, "op": "c", "ns": "admin.$cmd", "o": {{"applyOps": [{{{one}}}, {{{other}}}]{rest}}}, {link}"#
            ),
        )
    };
    let entries = [apply_ops(1, 0, r#", "partialTxn": true"#), apply_ops(4, 1, r#", "count": 4"#)];
    let mut pieces = Pieces::default();
    for entry in &entries {
        pieces.note(&Bytes::from(entry.clone()));
    }
    let Some(Cut::Chain(chain)) = cut(&entries).pop() else { panic!("no chain") };
    let chunks = pieces.resolve(*chain).unwrap();
    let records =
        vec![record(7, (1, 0), 11), record(7, (1, 1), 12), record(7, (4, 0), 13), record(7, (4, 1), 14)];
    let server = Arc::new(Server { records, ..Server::default() });
    let found: Vec<String> = attached(&server, BEFORE, chunks).iter().flat_map(images).collect();
    assert_eq!(found, [11, 12, 13, 14].map(|n| format!("update before exact {n}")));
    // All of it is there only when the transaction is.
    assert_eq!(server.log(), ["records 7 5-1-0..5-1-1 at 5-4-1", "records 7 5-4-0..5-4-1 at 5-4-3"]);
}

#[test]
fn servers_without_that_collection_name_a_no_op_or_have_nothing() {
    let named = |i, id| {
        let link =
            format!(r#""preImageOpTime": {{"ts": {{"$timestamp": {{"t": 5, "i": {}}}}}, "t": 1}}"#, i - 1);
        entry(i, &format!("{}, {link}", set(id)))
    };
    let no_op = entry(1, r#""op": "n", "ns": "shop.a", "o": {"_id": 1, "n": 11}"#);
    for (keeps_records, other) in [(false, "notRecorded"), (true, "notFound")] {
        let no_ops = vec![no_op.clone()];
        let server = Arc::new(Server { no_ops, keeps_records, ..Server::default() });
        let chunks = attached(&server, ALL_STORED, vec![chunk(&[named(2, 1), update(3, 2), named(5, 3)])]);
        let expected = [
            "update before exact 11 after exact 2".to_owned(),
            format!("update before {other} after {other}"),
            "update before notFound after notFound".to_owned(),
        ];
        assert_eq!(images(&chunks[0]), expected);
        assert!(server.log().contains(&"no-ops 5-1-0..5-4-0 at 5-5-0".to_owned()), "{:?}", server.log());
    }
}

#[test]
fn an_update_that_does_not_fit_what_was_recorded_has_no_image() {
    let records = vec![record(7, (1, 0), 11)];
    let server = Arc::new(Server { records, ..Server::default() });
    let strange = set(1).replace(r#"{"n": 2}"#, r#"{"m": 2}"#);
    let chunks = attached(&server, STORED, vec![chunk(&[entry(1, &strange)])]);
    assert_eq!(images(&chunks[0]), ["update after mismatch"]);
}

#[test]
fn what_is_not_captured_or_not_understood_wants_nothing() {
    let server = Arc::new(Server::default());
    let entries = [
        entry(1, &set(1).replace("shop.a", "admin.a")),
        entry(2, r#""op": "z", "ns": "shop.a", "o": {}"#),
        entry(3, r#""op": "n", "ns": "shop.a", "o": {"_id": 1}"#),
    ];
    let chunks = attached(&server, LOOKUP, vec![chunk(&entries)]);
    assert!(server.log().is_empty() && chunks[0].images.is_none());
}
