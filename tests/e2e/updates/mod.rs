//! Applying what the oplog says gives the documents that the server has, byte for byte: random updates on real servers.
//!
//! `UPDATES_SEED` chooses other updates, `UPDATES` how many.

mod buckets;
mod foreign;
mod generate;
mod operators;
pub(crate) mod server;

use std::collections::BTreeMap;

use mongo_observer::bson::RawDoc;
use mongo_observer::event::{Change, Delta, NotApplicable, Strictness, apply, id_first};
use mongo_observer::servers::MongoVersion;
use mongo_observer::source::oplog::translate;
use mongo_observer::source::{Chunk, Namespaces};
use mongodb::bson::{Bson, Document};

use generate::Generator;
use server::{Image, Server};

/// A document's identifier, as bytes.
type Id = Vec<u8>;
/// What happened to each document.
type History<'a> = BTreeMap<Id, Vec<Change<'a>>>;
/// What each document was, one image after the other.
type Images = BTreeMap<Id, Vec<Image>>;

/// What the oplog tells of one collection.
fn history<'a>(chunks: &'a [Chunk], collection: &str) -> History<'a> {
    let namespaces = Namespaces::parse(&[collection.to_owned()], &[]).unwrap();
    let mut history = History::new();
    for (chunk, op) in chunks.iter().flat_map(|chunk| chunk.ops.iter().map(move |op| (chunk, op))) {
        let event = translate(chunk, op, &namespaces, "rs0").expect("understood");
        let id = event.and_then(|event| Some(event.change.key()?.id()?.as_bytes().to_vec()));
        if let (Some(event), Some(id)) = (event, id) {
            history.entry(id).or_default().push(event.change);
        }
    }
    history
}

fn applied(before: &[u8], delta: &Delta<'_>, mode: Strictness) -> Result<Image, NotApplicable> {
    let mut out = Vec::new();
    apply(RawDoc::new(before).unwrap(), delta, mode, &mut out)?;
    Ok(out)
}

/// The document after the change.
fn changed(before: &[u8], change: &Change<'_>, mode: Strictness) -> Result<Image, NotApplicable> {
    match change {
        Change::Update { delta, .. } => applied(before, delta, mode),
        Change::Insert { after, .. } | Change::Replace { after, .. } => {
            Ok(id_first(*after, &mut Vec::new())?.as_bytes().to_vec())
        }
        other => panic!("{}", other.name()),
    }
}

fn show(document: &[u8]) -> String {
    Document::from_reader(document).map_or_else(|error| error.to_string(), |document| format!("{document}"))
}

fn show_delta(delta: &Delta<'_>) -> String {
    match delta {
        Delta::Diff(diff) => show(diff.as_bytes()),
        Delta::Modifiers { set, unset } => {
            let text = |part: &Option<RawDoc<'_>>| part.map(|part| show(part.as_bytes()));
            format!("$set {:?} $unset {:?}", text(set), text(unset))
        }
    }
}

fn show_change(change: &Change<'_>) -> String {
    delta(change).map_or_else(|| change.name().to_owned(), |delta| show_delta(&delta))
}

/// Applies each change strictly, and finds the result among what the server said. Attempts that changed nothing have no entry. Gives what
/// each document was after each change.
fn replayed(history: &History<'_>, images: &Images) -> Images {
    let mut states = Images::new();
    for (id, changes) in history {
        let images = &images[id];
        let mut at = 0;
        let states = states.entry(id.clone()).or_default();
        for change in changes {
            let before = states.last().cloned().unwrap_or_default();
            let after = changed(&before, change, Strictness::Strict)
                .unwrap_or_else(|error| panic!("{error}: {}\n{}", show(&before), show_change(change)));
            let next = (at..images.len()).find(|at| images[*at] == after || images[*at] != before);
            let Some(next) = next.filter(|at| images[*at] == after) else {
                let server = next.map(|at| show(&images[at]));
                let (before, after) = (show(&before), show(&after));
                panic!("of\n{before}\nand\n{}\nwe make\n{after}\n{server:?}", show_change(change));
            };
            at = next + 1;
            states.push(after);
        }
        assert_eq!(states.last(), images.last(), "{id:?}");
    }
    assert_eq!(states.len(), images.len());
    states
}

/// A delta that has been applied changes nothing when it is applied again.
fn again_changes_nothing(history: &History<'_>, states: &Images) {
    for (id, changes) in history.iter().filter(|(id, _)| !has_had_a_field_twice(&states[*id])) {
        for (change, after) in changes.iter().zip(&states[id]) {
            let again = changed(after, change, Strictness::Lenient);
            assert!(again.as_ref() == Ok(after), "{}\n{}", show(after), show_change(change));
        }
    }
}

/// Older changes of a document and all that follow them end in what it is, as when a server copies a collection that is being written to.
/// With `$v: 1` that is not so of the order of fields.
fn older_changes_converge(history: &History<'_>, states: &Images, generator: &mut Generator) {
    for (id, changes) in history.iter().filter(|(id, _)| !has_had_a_field_twice(&states[*id])) {
        let states = &states[id];
        let last = states.last().unwrap();
        for _ in 0..6 {
            let newer = generator.index(states.len());
            let first = generator.index(newer + 1);
            let end = changes[first..].iter().fold(states[newer].clone(), |state, change| {
                changed(&state, change, Strictness::Lenient).unwrap()
            });
            if generator.odd {
                assert!(end == *last, "{first} {newer}\n{}\n{}", show(&end), show(last));
            } else {
                assert!(sorted(&end) == sorted(last), "{first} {newer}\n{}\n{}", show(&end), show(last));
            }
        }
    }
}

/// Of two fields of one name an `$unset` removes the first one, each time that it is done.
fn has_had_a_field_twice(states: &[Image]) -> bool {
    states.iter().any(|state| {
        let names = RawDoc::new(state).unwrap().iter().map(|element| element.unwrap().name);
        names.filter(|name| *name == b"b").count() > 1
    })
}

/// The document with its fields in the order of their names.
fn sorted(document: &[u8]) -> Vec<u8> {
    fn value(of: Bson) -> Bson {
        match of {
            Bson::Document(document) => Bson::Document(fields(document)),
            Bson::Array(array) => array.into_iter().map(value).collect::<Vec<_>>().into(),
            other => other,
        }
    }
    fn fields(document: Document) -> Document {
        let sorted: BTreeMap<String, Bson> = document.into_iter().collect();
        sorted.into_iter().map(|(name, of)| (name, value(of))).collect()
    }
    fields(Document::from_reader(document).unwrap()).to_vec().unwrap()
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect(variable))
}

async fn deltas_give_the_servers_documents(version: MongoVersion) {
    let (seed, updates) = (number("UPDATES_SEED", 7), number("UPDATES", 4000));
    eprintln!("{}: UPDATES_SEED={seed} UPDATES={updates}", version.as_str());
    // GIVEN documents, and random updates of them
    let mut server = Server::start(version, seed).await;
    let mut attempts = 0;
    while attempts < updates {
        attempts += server.step().await;
    }
    // WHEN the oplog's changes are applied, one after the other
    let chunks = server.oplog().await;
    let history = history(&chunks, "shop.items");
    // THEN each gives the document that the server said it was then
    let states = replayed(&history, &server.by_id());
    again_changes_nothing(&history, &states);
    older_changes_converge(&history, &states, &mut server.generator);
    let changes: usize = history.values().map(Vec::len).sum();
    let deltas: Vec<Delta<'_>> = history.values().flatten().filter_map(delta).collect();
    eprintln!("{}: {changes} changes, {} of them deltas", version.as_str(), deltas.len());
    assert!(changes as u64 > updates / 2 && deltas.len() as u64 > updates / 4);
    // AND on documents that they were not made for they do what they do there
    foreign::check(&mut server, &deltas, &states).await;
}

fn delta<'a>(change: &Change<'a>) -> Option<Delta<'a>> {
    if let Change::Update { delta, .. } = change { Some(*delta) } else { None }
}

#[tokio::test]
async fn deltas_of_4_4_give_the_servers_documents() {
    deltas_give_the_servers_documents(MongoVersion::V4_4).await;
}

#[tokio::test]
async fn deltas_of_5_0_give_the_servers_documents() {
    deltas_give_the_servers_documents(MongoVersion::V5_0).await;
}

#[tokio::test]
async fn deltas_of_6_0_give_the_servers_documents() {
    deltas_give_the_servers_documents(MongoVersion::V6_0_27).await;
}
