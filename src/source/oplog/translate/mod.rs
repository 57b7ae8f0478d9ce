//! What one operation means: from its document to a change event. Pure, and never panics, whatever the bytes.
//!
//! - `update`: the three forms of an update;
//! - `command` and `view`: what becomes an event that concerns no document;
//! - `fault`: what can't become an event, and why.

mod command;
mod fault;
mod update;
mod view;

use super::fields::Fields;
use crate::bson::RawDoc;
use crate::event::{Change, ChangeEvent, Images, Key, Namespace};
use crate::source::{Chunk, Namespaces, Op, Problem};

pub(in crate::source::oplog) use fault::Why;

pub use fault::{Fault, FaultKind, unencodable};

/// A change and where it happened; none if it is not published; else why it can't be.
type Meaning<'a> = Result<Option<(Namespace<'a>, Change<'a>)>, Why>;

/// Translates one operation; `None` is one that is not published: another namespace, or the server's own bookkeeping.
pub fn translate<'a>(
    chunk: &'a Chunk,
    op: &Op,
    namespaces: &Namespaces,
    source: &'a str,
) -> Result<Option<ChangeEvent<'a>>, Fault> {
    let fields = Fields::of(chunk, op);
    let meaning = match (op.problem, &fields) {
        (Some(Problem::Unknown(what)), _) => Err(Why::from(what)),
        (Some(Problem::Damaged(error)), _) => Err(Why::from(error)),
        (None, Err(error)) => Err(Why::from(*error)),
        (None, Ok(fields)) => meaning(fields, namespaces),
    };
    let fields = fields.unwrap_or_default();
    let meaning = meaning.map_err(|why| why.at(op.at, fields.ns.unwrap_or_default()))?;
    Ok(meaning.map(|(ns, change)| ChangeEvent {
        at: op.at,
        term: op.term,
        wall_ms: op.wall_ms,
        ns,
        collection_id: fields.ui,
        change,
        images: Images::default(),
        txn: op.txn.and_then(|index| chunk.txns.get(index as usize).copied()),
        source,
    }))
}

fn meaning<'a>(fields: &Fields<'a>, namespaces: &Namespaces) -> Meaning<'a> {
    match fields.op {
        // No-ops, keys of global indexes, container and key operations, the ancient database marker: the server's own.
        b"n" | b"xi" | b"xd" | b"ci" | b"cd" | b"km" | b"db" => Ok(None),
        b"i" | b"u" | b"d" => match fields.namespace(namespaces)? {
            Some(ns) => document(fields, ns, namespaces),
            None => Ok(None),
        },
        b"c" => match fields.namespace(namespaces)? {
            Some(ns) => command::meaning(fields, ns, namespaces),
            None => Ok(None),
        },
        other => match fields.namespace(namespaces)? {
            Some(ns) => unknown("operation", other, ns, namespaces),
            None => Ok(None),
        },
    }
}

/// What happened to one document.
fn document<'a>(fields: &Fields<'a>, ns: Namespace<'a>, namespaces: &Namespaces) -> Meaning<'a> {
    // Copies of a chunk on its way between shards, and the deletion of what has gone: the writes themselves are in the other shard's oplog.
    // On a plain replica set the same mark is on real data, such as that of cloneCollectionAsCapped.
    if fields.from_migrate && namespaces.leave_out_migrations() {
        return Ok(None);
    }
    if ns.coll == view::COLLECTION {
        return view::meaning(fields, ns, namespaces);
    }
    if !namespaces.captures(ns) {
        return Ok(None);
    }
    let o = fields.o()?;
    let change = match fields.op {
        b"i" => Change::Insert { key: insert_key(fields, o)?, after: o },
        b"d" => Change::Delete { key: Key::Document(o) },
        _ => update::meaning(fields, o)?,
    };
    Ok(Some((ns, change)))
}

/// Servers before 5.3 log no key with an insert.
fn insert_key<'a>(fields: &Fields<'a>, o: RawDoc<'a>) -> Result<Key<'a>, Why> {
    match fields.o2 {
        Some(key) => Ok(Key::Document(key)),
        None => o.get("_id").map(Key::Id).ok_or(Why::from("an insert of a document without _id")),
    }
}

/// What is unknown can't be left out: it may be a change. Only where nothing is captured it concerns nobody; not so in `admin.$cmd`, where
/// stands what concerns several databases, as transactions do.
fn unknown<'a>(what: &str, name: &[u8], ns: Namespace<'_>, namespaces: &Namespaces) -> Meaning<'a> {
    let of_any_database = ns.db.is_empty() || ns == Namespace { db: "admin", coll: "$cmd" };
    if of_any_database || namespaces.captures_database(ns.db) {
        return Err(Why::from(format!("unknown {what} `{}`", String::from_utf8_lossy(name))));
    }
    Ok(None)
}
