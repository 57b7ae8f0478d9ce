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

    fn meaning(&self, namespaces: &Namespaces) -> Result<Option<(Namespace<'a>, Change<'a>)>, String> {
        let ns = Namespace::split(self.ns.ok_or("no namespace in UTF-8")?);
        let o = self.o.ok_or("no `o` document")?;
        let change = match self.op {
            b"i" | b"u" | b"d" if !namespaces.captures(ns) => return Ok(None),
            b"i" => Change::Insert { key: self.insert_key(o)?, after: o },
            b"u" => self.update(o)?,
            b"d" => Change::Delete { key: Key::Document(o) },
            b"c" => return command(ns, o, self.o2, namespaces),
            // No-ops, keys of global indexes, container and key operations, the ancient database marker: the server's own.
            b"n" | b"xi" | b"xd" | b"ci" | b"cd" | b"km" | b"db" => return Ok(None),
            other => return Err(format!("unknown operation `{}`", String::from_utf8_lossy(other))),
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
    let (mut set, mut unset) = (None, None);
    for element in o {
        let element = element.map_err(|error| error.to_string())?;
        match element.name {
            b"$set" => set = element.value.as_doc(),
            b"$unset" => unset = element.value.as_doc(),
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
const INTERNAL: [&str; 9] = [
    "startIndexBuild",
    "abortIndexBuild",
    "dbCheck",
    "modifyCollectionShardingIndexCatalog",
    "createDatabaseMetadata",
    "dropDatabaseMetadata",
    "truncateRange",
    "upgradeDowngradeViewlessTimeseries",
    "commitTransaction",
];

fn command<'a>(
    ns: Namespace<'a>,
    o: RawDoc<'a>,
    o2: Option<RawDoc<'a>>,
    namespaces: &Namespaces,
) -> Result<Option<(Namespace<'a>, Change<'a>)>, String> {
    let mut names = o.iter();
    let first = names.next().and_then(Result::ok).ok_or("an empty command")?;
    let written = std::str::from_utf8(first.name).map_err(|_| "a command whose name is not UTF-8")?;
    if INTERNAL.contains(&written) {
        return Ok(None);
    }
    let Some((_, name)) = PUBLISHED.iter().find(|(known, _)| *known == written) else {
        // Internal databases have commands of their own, which concern nobody.
        let concerned = namespaces.captures_database(ns.db);
        return if concerned { Err(format!("unknown command `{written}`")) } else { Ok(None) };
    };
    let (on, to) = match written {
        "dropDatabase" => (Namespace { db: ns.db, coll: "" }, None),
        "renameCollection" => {
            (full_name(first.value)?, Some(full_name(o.get("to").ok_or("a rename without `to`")?)?))
        }
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
