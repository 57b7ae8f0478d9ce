//! Applying what the oplog says gives the documents that the server has, byte for byte: random updates on real servers.

mod generate;

use std::collections::BTreeMap;

use futures::TryStreamExt as _;
use mongo_observer::bson::RawDoc;
use mongo_observer::event::{Delta, NotApplicable, Strictness, apply, id_first};
use mongo_observer::servers::{Mongo, MongoVersion};
use mongodb::bson::{Document, RawDocumentBuf, doc};
use mongodb::options::{ClientOptions, ReturnDocument};
use mongodb::{Client, Collection};

use super::harness::Random;
use generate::{Generator, Update};

const DOCUMENTS: i32 = 40;
const UPDATES: u64 = 8000;
/// A document that has grown larger is replaced.
const BYTES_MAX: usize = 4000;

type Image = Vec<u8>;

/// A server, and what is known of its documents.
struct Fixture {
    client: Client,
    coll: Collection<RawDocumentBuf>,
    /// By `_id`: what the server said the document was, after each attempt at an update.
    images: BTreeMap<i32, Vec<Image>>,
    generator: Generator,
    _mongo: Mongo,
}

impl Fixture {
    async fn new(version: MongoVersion) -> Self {
        let mongo = Mongo::builder().version(version).start().await.unwrap();
        let mut options = ClientOptions::parse(mongo.uri()).await.unwrap();
        options.retry_writes = Some(false);
        let client = Client::with_options(options).unwrap();
        let coll = client.database("shop").collection("items");
        let odd = version != MongoVersion::V4_4;
        let generator =
            Generator { random: Random::new(std::env::var("SEED").map_or(7, |s| s.parse().unwrap())), odd };
        let mut fixture = Self { client, coll, images: BTreeMap::new(), generator, _mongo: mongo };
        for id in 0..DOCUMENTS {
            let document = fixture.document(id);
            fixture.coll.insert_one(document).await.unwrap();
            let stored = fixture.coll.find_one(doc! { "_id": id }).await.unwrap().unwrap();
            fixture.images.insert(id, vec![stored.into_bytes()]);
        }
        fixture
    }

    /// A random document. Every tenth has a field twice, where the server handles that alike at first and in a replay.
    fn document(&mut self, id: i32) -> RawDocumentBuf {
        let mut document = RawDocumentBuf::new();
        let content = self.generator.document();
        document.append(mongodb::bson::cstr!("_id"), id);
        for (name, value) in content {
            let name: mongodb::bson::raw::CString = name.try_into().unwrap();
            let value: mongodb::bson::RawBson = value.try_into().unwrap();
            if !self.generator.odd && id % 10 == 0 && name.as_str() == "b" {
                document.append(&name, 1);
            }
            document.append(&name, value);
        }
        document
    }

    /// Attempts an update of one document; says whether the server took it.
    async fn update(&mut self, id: i32) -> bool {
        let image = self.images[&id].last().unwrap();
        let document = Document::from_reader(image.as_slice()).unwrap();
        let update = if image.len() > BYTES_MAX {
            Update::Replace(self.generator.document())
        } else {
            self.generator.update(&document)
        };
        let mut filter = doc! { "_id": id };
        let after = match update {
            Update::Replace(mut document) => {
                // The server keeps the place that the client gives to the identifier.
                if document.len() % 2 == 0 {
                    document.insert("_id", id);
                }
                document.extend(self.generator.document());
                let document: RawDocumentBuf = RawDocumentBuf::try_from(&document).unwrap();
                self.coll.find_one_and_replace(filter, document).return_document(ReturnDocument::After).await
            }
            Update::Pipeline(stages) => {
                self.coll.find_one_and_update(filter, stages).return_document(ReturnDocument::After).await
            }
            Update::Modifiers { also, update, filters } => {
                filter.extend(also);
                let action = self.coll.find_one_and_update(filter, update);
                let action = if filters.is_empty() { action } else { action.array_filters(filters) };
                action.return_document(ReturnDocument::After).await
            }
        };
        let Ok(Some(after)) = after else { return false };
        self.images.get_mut(&id).unwrap().push(after.into_bytes());
        true
    }

    /// The entries of the oplog that update the documents.
    async fn updates(&self) -> Vec<Image> {
        let oplog = self.client.database("local").collection::<RawDocumentBuf>("oplog.rs");
        let entries: Vec<_> =
            oplog.find(doc! { "op": "u", "ns": "shop.items" }).await.unwrap().try_collect().await.unwrap();
        entries.into_iter().map(RawDocumentBuf::into_bytes).collect()
    }
}

/// The document's identifier and the second document of an update's entry.
fn update_of(entry: &[u8]) -> (i32, RawDoc<'_>) {
    let entry = RawDoc::new(entry).unwrap();
    let id = entry.get("o2").unwrap().as_doc().unwrap().get("_id").unwrap().as_i32().unwrap();
    (id, entry.get("o").unwrap().as_doc().unwrap())
}

/// What an update's entry changes; none if it has the whole document.
fn delta(o: RawDoc<'_>) -> Option<Delta<'_>> {
    let part = |name| o.get(name).and_then(|value| value.as_doc());
    match (o.get("_id"), part("diff")) {
        (Some(_), _) => None,
        (None, Some(diff)) => Some(Delta::Diff(diff)),
        (None, None) => Some(Delta::Modifiers { set: part("$set"), unset: part("$unset") }),
    }
}

fn applied(before: &[u8], delta: &Delta<'_>, mode: Strictness) -> Result<Image, NotApplicable> {
    let mut out = Vec::new();
    apply(RawDoc::new(before).unwrap(), delta, mode, &mut out)?;
    Ok(out)
}

fn show(document: &[u8]) -> String {
    Document::from_reader(document).map_or_else(|error| error.to_string(), |document| format!("{document}"))
}

/// Each update's delta, applied to what was there before, gives what is there afterwards.
async fn deltas_give_the_servers_documents(version: MongoVersion) {
    // GIVEN documents, and random updates of them
    let mut fixture = Fixture::new(version).await;
    let mut taken = 0;
    for _ in 0..UPDATES {
        let id = fixture.generator.random.below(DOCUMENTS as u64) as i32;
        taken += u64::from(fixture.update(id).await);
    }
    // WHEN the oplog's deltas are applied, one after the other
    let mut now: BTreeMap<i32, (usize, &Image)> =
        fixture.images.iter().map(|(id, images)| (*id, (0, &images[0]))).collect();
    let mut deltas = 0;
    for entry in fixture.updates().await {
        let (id, o) = update_of(&entry);
        let (step, before) = now[&id];
        let after = match delta(o) {
            None => id_first(o, &mut Vec::new()).unwrap().as_bytes().to_vec(),
            Some(delta) => {
                deltas += 1;
                applied(before, &delta, Strictness::Strict)
                    .unwrap_or_else(|error| panic!("{error}: {}\n{}", show(before), show(o.as_bytes())))
            }
        };
        // THEN each gives the document that the server said it was then; attempts that changed nothing have no entry
        let images = &fixture.images[&id];
        let next = (step + 1..images.len()).find(|at| images[*at] == after || images[*at] != *before);
        let Some(next) = next.filter(|at| images[*at] == after) else {
            let server = next.map(|at| show(&images[at]));
            panic!("{}\n{}\n{}\n{server:?}", show(before), show(o.as_bytes()), show(&after));
        };
        now.insert(id, (next, &images[next]));
    }
    for (id, (_, last)) in now {
        assert_eq!(Some(last), fixture.images[&id].last(), "{id}");
    }
    eprintln!("{taken} taken, {deltas} deltas");
    assert!(
        taken > UPDATES * 6 / 10 && deltas > UPDATES / 4,
        "{taken} updates were taken, {deltas} as deltas"
    );
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
async fn deltas_of_the_newest_6_0_give_the_servers_documents() {
    deltas_give_the_servers_documents(MongoVersion::V6_0_27).await;
}
