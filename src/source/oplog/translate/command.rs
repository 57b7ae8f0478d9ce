//! Commands: what changes a collection or a database as a whole.

use super::fault::Why;
use super::{Meaning, unknown};
use crate::bson::{Element, RawDoc, RawValue};
use crate::event::{Change, Command, Namespace};
use crate::source::Namespaces;
use crate::source::oplog::fields::Fields;

/// The commands, by the field that names them, with the change stream's word for the event.
const PUBLISHED: [(&str, &str); 14] = [
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
    // As they were spelled before 4.4.
    ("dropIndex", "dropIndexes"),
    ("deleteIndexes", "dropIndexes"),
    ("deleteIndex", "dropIndexes"),
];

/// The commands that say nothing to a consumer.
const INTERNAL: [&str; 10] = [
    "startIndexBuild",
    "abortIndexBuild",
    "dbCheck",
    "createGlobalIndex",
    "dropGlobalIndex",
    "modifyCollectionShardingIndexCatalog",
    "createDatabaseMetadata",
    "dropDatabaseMetadata",
    "truncateRange",
    "upgradeDowngradeViewlessTimeseries",
];

pub(super) fn meaning<'a>(fields: &Fields<'a>, ns: Namespace<'a>, namespaces: &Namespaces) -> Meaning<'a> {
    let o = fields.o()?;
    let first = o.iter().next().ok_or(Why::from("an empty command"))??;
    let Some((name, value)) = published(o, first)? else {
        return if is_internal(first) { Ok(None) } else { unknown("command", first.name, ns, namespaces) };
    };
    let command = Command { o2: fields.o2, ..Command::new(name, o) };
    match name {
        "rename" => rename(command, value, namespaces),
        _ if !namespaces.captures_database(ns.db) => Ok(None),
        "dropDatabase" => Ok(Some((Namespace { db: ns.db, coll: "" }, Change::Command(command)))),
        "importCollection" => import(command, ns.db, value, namespaces),
        _ => {
            let on = Namespace { db: ns.db, coll: text(value)? };
            Ok(namespaces.captures(on).then_some((on, Change::Command(command))))
        }
    }
}

/// The event's word, and the value of the field that names the command. That is the first one as a rule, but not by promise: any other is
/// taken for it only if it holds the name of a collection.
fn published<'a>(o: RawDoc<'a>, first: Element<'a>) -> Result<Option<(&'static str, RawValue<'a>)>, Why> {
    if is_internal(first) {
        return Ok(None);
    }
    for element in o {
        let element = element?;
        let known = PUBLISHED.iter().find(|(known, _)| known.as_bytes() == element.name);
        if let Some((_, name)) = known
            && (element == first || element.value.as_str_bytes().is_some())
        {
            return Ok(Some((*name, element.value)));
        }
    }
    Ok(None)
}

fn is_internal(first: Element<'_>) -> bool {
    INTERNAL.iter().any(|known| known.as_bytes() == first.name)
}

/// `$out`, `mapReduce` and `convertToCapped` fill a temporary collection, which is not captured, and put it in the place of another.
fn rename<'a>(mut command: Command<'a>, from: RawValue<'a>, namespaces: &Namespaces) -> Meaning<'a> {
    let from = Namespace::split(text(from)?);
    let to = command.o.get("to").ok_or(Why::from("a rename without `to`"))?;
    let to = Namespace::split(text(to)?);
    let (leaves, arrives) = (namespaces.captures(from), namespaces.captures(to));
    if !leaves && !arrives {
        return Ok(None);
    }
    // The UUID of the collection that was there; `true` in the oldest entries.
    let dropped = command.o.get("dropTarget").is_some_and(|target| target.as_bool() != Some(false));
    command.to = Some(to);
    command.replaced = arrives && (dropped || !leaves);
    Ok(Some((from, Change::Command(command))))
}

/// A collection whose files were put into the database; it is named in full.
fn import<'a>(
    mut command: Command<'a>,
    db: &'a str,
    name: RawValue<'a>,
    namespaces: &Namespaces,
) -> Meaning<'a> {
    let name = text(name)?;
    let within = name.strip_prefix(db).and_then(|rest| rest.strip_prefix('.'));
    let on = Namespace { db, coll: within.unwrap_or(name) };
    let is_trial = command.o.get("dryRun").and_then(RawValue::as_bool) == Some(true);
    command.replaced = true;
    Ok((!is_trial && namespaces.captures(on)).then_some((on, Change::Command(command))))
}

fn text(value: RawValue<'_>) -> Result<&str, Why> {
    let text = value.as_str_bytes().ok_or(Why::from("a command without the name of a collection"))?;
    std::str::from_utf8(text).map_err(|_| Why::unreadable("a collection whose name is not UTF-8"))
}
