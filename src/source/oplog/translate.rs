//! What one operation means: from its document to a change event. Pure, and never panics, whatever the bytes.

use crate::bson::{Malformed, RawDoc, RawValue};
use crate::event::{Change, ChangeEvent, Command, Delta, Key, Namespace, Position};
use crate::source::{Chunk, Namespaces, Op};

/// An operation that can't be understood, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("oplog entry {at}: {what}")]
pub struct Unreadable {
    /// The operation's position.
    pub at: Position,
    /// What is wrong with it.
    pub what: String,
}

/// Translates one operation; `None` is one that is not published: another namespace, or the server's own bookkeeping.
pub fn translate<'a>(
    chunk: &'a Chunk,
    op: &Op,
    namespaces: &Namespaces,
    source: &'a str,
) -> Result<Option<ChangeEvent<'a>>, Unreadable> {
    let unreadable = |what: String| Unreadable { at: op.at, what };
    if let Some(problem) = op.problem {
        return Err(unreadable(problem.to_owned()));
    }
    let bytes = &chunk.bytes[op.doc.start as usize..op.doc.end as usize];
    let fields = RawDoc::new(bytes).and_then(Fields::parse).map_err(|error| unreadable(error.to_string()))?;
    let meaning = fields.meaning(namespaces).map_err(unreadable)?;
    Ok(meaning.map(|(ns, change)| ChangeEvent {
        at: op.at,
        term: op.term,
        wall_ms: op.wall_ms,
        ns,
        collection_id: fields.ui,
        change,
        txn: op.txn.and_then(|index| chunk.txns.get(index as usize).copied()),
        source,
    }))
}

/// A change and where it happened; none if it is not published; else why it can't be understood.
type Meaning<'a> = Result<Option<(Namespace<'a>, Change<'a>)>, String>;

/// The fields of an operation that say what it is.
#[derive(Default)]
struct Fields<'a> {
    op: &'a [u8],
    ns: Option<&'a str>,
    ui: Option<[u8; 16]>,
    o: Option<RawDoc<'a>>,
    o2: Option<RawDoc<'a>>,
}

impl<'a> Fields<'a> {
    fn parse(doc: RawDoc<'a>) -> Result<Self, Malformed> {
        let mut fields = Self::default();
        for element in doc {
            let element = element?;
            match element.name {
                b"op" => fields.op = element.value.as_str_bytes().unwrap_or_default(),
                b"ns" => fields.ns = element.value.as_str(),
                b"ui" => fields.ui = element.value.as_uuid(),
                b"o" => fields.o = element.value.as_doc(),
                b"o2" => fields.o2 = element.value.as_doc(),
                _ => {}
            }
        }
        Ok(fields)
    }

    fn meaning(&self, namespaces: &Namespaces) -> Meaning<'a> {
        // No-ops, keys of global indexes, container and key operations, the ancient database marker: the server's own.
        if let b"n" | b"xi" | b"xd" | b"ci" | b"cd" | b"km" | b"db" = self.op {
            return Ok(None);
        }
        let ns = Namespace::split(self.ns.ok_or("no namespace in UTF-8")?);
        let o = self.o.ok_or("no `o` document")?;
        let change = match self.op {
            b"i" | b"u" | b"d" if !namespaces.captures(ns) => return Ok(None),
            b"i" => Change::Insert { key: self.insert_key(o)?, after: o },
            b"u" => self.update(o)?,
            b"d" => Change::Delete { key: Key::Document(o) },
            b"c" => return command(ns, o, self.o2, namespaces),
            other => return unknown("operation", other, ns, namespaces),
        };
        Ok(Some((ns, change)))
    }

    /// Servers before 5.3 log no key with an insert.
    fn insert_key(&self, o: RawDoc<'a>) -> Result<Key<'a>, String> {
        match (self.o2, o.get("_id")) {
            (Some(key), _) => Ok(Key::Document(key)),
            (None, Some(id)) => Ok(Key::Id(id)),
            (None, None) => Err("an insert of a document without _id".to_owned()),
        }
    }

    /// The order of these tests matters: a document may have fields of its own named `$v` and `diff`, but then it has an `_id` too.
    fn update(&self, o: RawDoc<'a>) -> Result<Change<'a>, String> {
        let key = Key::Document(self.o2.ok_or("an update without the document's key")?);
        if o.get("_id").is_some() {
            return Ok(Change::Replace { key, after: o });
        }
        let delta = match o.get("$v").map(crate::bson::RawValue::as_i64) {
            Some(Some(2)) => Delta::Diff(
                o.get("diff").and_then(RawValue::as_doc).ok_or("an update of $v 2 without `diff`")?,
            ),
            None | Some(Some(1)) => modifiers(o)?,
            Some(_) => return Err("an update of an unknown version ($v)".to_owned()),
        };
        Ok(Change::Update { key, delta })
    }
}

fn modifiers(o: RawDoc<'_>) -> Result<Delta<'_>, String> {
    if o.is_empty() {
        return Err("an update that changes nothing".to_owned());
    }
    let (mut set, mut unset) = (None, None);
    for element in o {
        let element = element.map_err(|error| error.to_string())?;
        match element.name {
            b"$set" => set = Some(paths(element.value)?),
            b"$unset" => unset = Some(paths(element.value)?),
            b"$v" => {}
            other => {
                return Err(format!(
                    "an update with the unknown modifier `{}`",
                    String::from_utf8_lossy(other)
                ));
            }
        }
    }
    Ok(Delta::Modifiers { set, unset })
}

fn paths(value: RawValue<'_>) -> Result<RawDoc<'_>, String> {
    value.as_doc().ok_or_else(|| "an update whose modifier is not a document".to_owned())
}

/// What is unknown can't be left out: it may be a change. Only where nothing is captured it concerns nobody; not so in `admin.$cmd`, where
/// stands what concerns several databases, as transactions do.
fn unknown<'a>(what: &str, name: &[u8], ns: Namespace<'_>, namespaces: &Namespaces) -> Meaning<'a> {
    let of_any_database = ns.db.is_empty() || ns == Namespace { db: "admin", coll: "$cmd" };
    if of_any_database || namespaces.captures_database(ns.db) {
        return Err(format!("unknown {what} `{}`", String::from_utf8_lossy(name)));
    }
    Ok(None)
}

/// The commands that become events, by the name of their first field, with the change stream's word for them.
const PUBLISHED: [(&str, &str); 11] = [
    ("create", "create"),
    ("drop", "drop"),
    ("dropDatabase", "dropDatabase"),
    ("renameCollection", "rename"),
    ("createIndexes", "createIndexes"),
    ("commitIndexBuild", "createIndexes"),
    ("dropIndexes", "dropIndexes"),
    ("collMod", "modify"),
    ("convertToCapped", "convertToCapped"),
    ("emptycapped", "truncate"),
    ("importCollection", "importCollection"),
];

/// The commands that say nothing to a consumer.
const INTERNAL: [&str; 8] = [
    "startIndexBuild",
    "abortIndexBuild",
    "dbCheck",
    "modifyCollectionShardingIndexCatalog",
    "createDatabaseMetadata",
    "dropDatabaseMetadata",
    "truncateRange",
    "upgradeDowngradeViewlessTimeseries",
];

fn command<'a>(
    ns: Namespace<'a>,
    o: RawDoc<'a>,
    o2: Option<RawDoc<'a>>,
    namespaces: &Namespaces,
) -> Meaning<'a> {
    let first = o.iter().next().and_then(Result::ok).ok_or("an empty command")?;
    if INTERNAL.iter().any(|known| known.as_bytes() == first.name) {
        return Ok(None);
    }
    let Some((_, name)) = PUBLISHED.iter().find(|(known, _)| known.as_bytes() == first.name) else {
        return unknown("command", first.name, ns, namespaces);
    };
    let (on, to) = match *name {
        "dropDatabase" => (Namespace { db: ns.db, coll: "" }, None),
        "rename" => (full_name(first.value)?, Some(full_name(o.get("to").ok_or("a rename without `to`")?)?)),
        _ => (
            Namespace { db: ns.db, coll: first.value.as_str().ok_or("a command without a collection name")? },
            None,
        ),
    };
    let captured = if on.coll.is_empty() {
        namespaces.captures_database(on.db)
    } else {
        namespaces.captures(on) || to.is_some_and(|to| namespaces.captures(to))
    };
    Ok(captured.then_some((on, Change::Command(Command { name, o, o2, to }))))
}

fn full_name(value: RawValue<'_>) -> Result<Namespace<'_>, String> {
    value.as_str().map(Namespace::split).ok_or_else(|| "a rename without full names".to_owned())
}
