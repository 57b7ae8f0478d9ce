//! What entries mean, as phrases to compare.

use super::{cut, entry};
use crate::bson::extjson::{Mode, write_doc};
use crate::bson::{Malformed, RawDoc, RawValue};
use crate::event::{Change, ChangeEvent, CollectionType, Delta, DeltaVisitor, Key};
use crate::source::oplog::{Cutter, translate};
use crate::source::{Chunk, Namespaces};

pub(super) fn namespaces(include: &[&str]) -> Namespaces {
    let include: Vec<String> = include.iter().map(ToString::to_string).collect();
    Namespaces::parse(&include, &[]).unwrap()
}

/// What the operations of an entry with these members mean: a phrase each, or why they can't be understood.
pub(super) fn meanings(members: &str, namespaces: &Namespaces) -> Vec<Result<String, String>> {
    phrases(&cut(&mut Cutter::new(None), &[entry(1, members)])[0], namespaces)
}

pub(super) fn phrases(chunk: &Chunk, namespaces: &Namespaces) -> Vec<Result<String, String>> {
    chunk
        .ops
        .iter()
        .filter_map(|op| translate(chunk, op, namespaces, "rs0").transpose())
        .map(|event| {
            event
                .map(|event| phrase(&event))
                .map_err(|fault| format!("{}: {}", fault.kind.name(), fault.what))
        })
        .collect()
}

/// The single meaning; empty for what is not published.
pub(super) fn meaning(members: &str) -> Result<String, String> {
    let mut meanings = meanings(members, &Namespaces::default());
    assert!(meanings.len() <= 1, "{meanings:?}");
    meanings.pop().unwrap_or_else(|| Ok(String::new()))
}

fn phrase(event: &ChangeEvent<'_>) -> String {
    let text = |doc: RawDoc<'_>| {
        let mut out = Vec::new();
        write_doc(&mut out, doc, Mode::Relaxed).unwrap();
        String::from_utf8(out).unwrap()
    };
    let key = |key: &Key<'_>| match key {
        Key::Document(key) => text(*key),
        Key::Id(id) => format!("_id:{}", id.as_i64().unwrap()),
    };
    let what = match &event.change {
        Change::Insert { key: of, after } | Change::Replace { key: of, after } => {
            format!("{} {}", key(of), text(*after))
        }
        Change::Update { key: of, delta } => format!("{} {}", key(of), paths(delta)),
        Change::Delete { key: of } => key(of),
        Change::Command(command) => {
            let of = (command.of != CollectionType::Collection).then(|| command.of.name().to_owned());
            let replaced = command.replaced.then(|| "replaced".to_owned());
            let to = command.to.map(|to| format!("to {to}"));
            [Some(text(command.o)), to, of, replaced].into_iter().flatten().collect::<Vec<_>>().join(" ")
        }
        Change::HeaderOnly(_) | Change::Watermark => unreachable!("the oplog has none"),
    };
    format!("{} {} {what}", event.change.name(), event.ns)
}

/// The paths that a delta touches.
fn paths(delta: &Delta<'_>) -> String {
    struct Paths(Vec<u8>);
    impl DeltaVisitor for Paths {
        fn updated(&mut self, path: &[u8], _: RawValue<'_>) -> Result<(), Malformed> {
            self.0.extend([b"+", path].concat());
            Ok(())
        }
        fn removed(&mut self, path: &[u8]) {
            self.0.extend([b"-", path].concat());
        }
        fn truncated(&mut self, path: &[u8], _: i32) {
            self.0.extend([b"<", path].concat());
        }
    }
    let mut paths = Paths(Vec::new());
    delta.visit(&mut Vec::new(), &mut paths).unwrap();
    String::from_utf8(paths.0).unwrap()
}

pub(super) fn update(o: &str) -> Result<String, String> {
    meaning(&format!(r#""op": "u", "ns": "shop.a", "o2": {{"_id": 7}}, "o": {o}"#))
}

pub(super) fn command(o: &str) -> Result<String, String> {
    meaning(&format!(r#""op": "c", "ns": "shop.$cmd", "o": {o}"#))
}
