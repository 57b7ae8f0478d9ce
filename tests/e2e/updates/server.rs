//! A server that takes random updates, and all that it said of its documents.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::TryStreamExt as _;
use mongo_observer::servers::{Mongo, MongoVersion};
use mongo_observer::source::Chunk;
use mongo_observer::source::oplog::{Cut, Cutter, Pieces};
use mongodb::bson::{Document, RawArrayBuf, RawDocumentBuf, cstr, doc, rawdoc};
use mongodb::error::Result;
use mongodb::options::ClientOptions;
use mongodb::{Client, ClientSession, Collection, Database};

use super::Images;
use super::generate::Generator;
use super::operators::Update;

/// Identifiers that no random value equals: a pipeline may give one another type.
const DOCUMENTS: std::ops::Range<i32> = 100..140;
/// A document that has grown larger is replaced.
const BYTES_MAX: usize = 40_000;
/// One that has grown larger than this is replaced now and then.
const BYTES_FEW: usize = 4000;

pub(super) type Image = Vec<u8>;
type Looked = Vec<(i32, Image)>;

pub(crate) struct Server {
    pub(crate) client: Client,
    pub(crate) db: Database,
    coll: Collection<RawDocumentBuf>,
    /// By `_id`: what the document was after each attempt to change it.
    pub(super) images: BTreeMap<i32, Vec<Image>>,
    pub(super) generator: Generator,
    _mongo: Mongo,
}

impl Server {
    pub(crate) async fn start(version: MongoVersion, seed: u64) -> Self {
        let mongo = Mongo::builder().version(version).start().await.unwrap();
        let mut options = ClientOptions::parse(mongo.uri()).await.unwrap();
        options.retry_writes = Some(false);
        let client = Client::with_options(options).unwrap();
        let db = client.database("shop");
        let coll = db.collection("items");
        let mut generator = Generator::new(seed, version != MongoVersion::V4_4);
        coll.insert_many(DOCUMENTS.map(|id| generator.stored(id))).await.unwrap();
        let mut server = Self { client, db, coll, images: BTreeMap::new(), generator, _mongo: mongo };
        let all: Vec<i32> = DOCUMENTS.collect();
        server.look(&all).await;
        assert_eq!(server.images.len(), all.len());
        server
    }

    /// Attempts some updates; says how many.
    pub(crate) async fn step(&mut self) -> u64 {
        match self.generator.random.below(16) {
            0..9 => self.several(12).await,
            9..12 => self.find_and_modify().await,
            12 => self.one_for_many().await,
            13 => self.upsert().await,
            _ => self.transaction().await,
        }
    }

    /// Some documents, each at most once.
    fn some(&mut self, count: usize) -> Vec<i32> {
        let ids: Vec<i32> = self.images.keys().copied().collect();
        let first = self.generator.index(ids.len());
        ids.into_iter().cycle().skip(first).take(count).collect()
    }

    /// Updates of several documents in one command.
    async fn several(&mut self, count: usize) -> u64 {
        let ids = self.some(count);
        let command = self.command(&ids, false);
        let _ = self.db.run_raw_command(command).await;
        self.look(&ids).await;
        ids.len() as u64
    }

    async fn find_and_modify(&mut self) -> u64 {
        let id = self.some(1)[0];
        let Update { mut also, u, array_filters } = self.update(id);
        also.insert("_id", id);
        let mut command = rawdoc! { "findAndModify": "items" };
        command.append(cstr!("query"), RawDocumentBuf::try_from(&also).unwrap());
        command.append(cstr!("update"), u);
        if !array_filters.is_empty() {
            command.append(cstr!("arrayFilters"), RawArrayBuf::try_from(array_filters).unwrap());
        }
        let _ = self.db.run_raw_command(command).await;
        self.look(&[id]).await;
        1
    }

    async fn one_for_many(&mut self) -> u64 {
        let ids = self.some(4);
        let document = self.now(ids[0]);
        let update = self.generator.modifiers(&document);
        let _ = self.coll.update_many(doc! { "_id": { "$in": &ids } }, update).await;
        self.look(&ids).await;
        ids.len() as u64
    }

    async fn upsert(&mut self) -> u64 {
        let id = self.images.last_key_value().map_or(0, |(last, _)| last + 1);
        let Update { u, .. } = self.generator.update(id, &doc! {});
        let mut statement = rawdoc! { "q": { "_id": id }, "upsert": true };
        statement.append(cstr!("u"), u);
        let _ = self.db.run_raw_command(rawdoc! { "update": "items", "updates": [statement] }).await;
        self.look(&[id]).await;
        1
    }

    /// A transaction with several updates, also of the same documents. One that fails is nothing.
    async fn transaction(&mut self) -> u64 {
        let ids = self.some(2);
        let mut session = self.client.start_session().await.unwrap();
        session.start_transaction().await.unwrap();
        let Ok(looked) = self.in_transaction(&ids, &mut session).await else {
            let _ = session.abort_transaction().await;
            return 0;
        };
        session.commit_transaction().await.unwrap();
        let count = looked.len() as u64;
        self.note(looked);
        count
    }

    async fn in_transaction(&mut self, ids: &[i32], session: &mut ClientSession) -> Result<Looked> {
        let mut looked = Looked::new();
        for _ in 0..=self.generator.random.below(2) {
            let command = self.command(ids, true);
            self.db.run_raw_command(command).session(&mut *session).await?;
            let documents = self.coll.find(doc! { "_id": { "$in": ids } }).session(&mut *session);
            let documents: Vec<_> = documents.await?.stream(session).try_collect().await?;
            looked.extend(documents.into_iter().map(identified));
        }
        Ok(looked)
    }

    fn command(&mut self, ids: &[i32], ordered: bool) -> RawDocumentBuf {
        let mut updates = RawArrayBuf::new();
        for id in ids {
            let Update { mut also, u, array_filters } = self.update(*id);
            also.insert("_id", *id);
            let mut statement = RawDocumentBuf::new();
            statement.append(cstr!("q"), RawDocumentBuf::try_from(&also).unwrap());
            statement.append(cstr!("u"), u);
            if !array_filters.is_empty() {
                statement.append(cstr!("arrayFilters"), RawArrayBuf::try_from(array_filters).unwrap());
            }
            updates.push(statement);
        }
        rawdoc! { "update": "items", "updates": updates, "ordered": ordered }
    }

    fn update(&mut self, id: i32) -> Update {
        let size = self.images[&id].last().unwrap().len();
        if size > BYTES_MAX || (size > BYTES_FEW && self.generator.one_in(4)) {
            return self.generator.replacement(id);
        }
        let document = self.now(id);
        self.generator.update(id, &document)
    }

    fn now(&self, id: i32) -> Document {
        Document::from_reader(self.images[&id].last().unwrap().as_slice()).unwrap()
    }

    /// Notes what these documents are.
    async fn look(&mut self, ids: &[i32]) {
        let documents = self.coll.find(doc! { "_id": { "$in": ids } }).await.unwrap();
        let documents: Vec<_> = documents.try_collect().await.unwrap();
        self.note(documents.into_iter().map(identified).collect());
    }

    fn note(&mut self, looked: Looked) {
        for (id, image) in looked {
            self.images.entry(id).or_default().push(image);
        }
    }

    /// The images by the bytes of the identifier.
    pub(super) fn by_id(&self) -> Images {
        self.images.iter().map(|(id, images)| (id.to_le_bytes().to_vec(), images.clone())).collect()
    }

    /// All operations that the oplog holds.
    pub(super) async fn oplog(&self) -> Vec<Chunk> {
        let oplog = self.client.database("local").collection::<RawDocumentBuf>("oplog.rs");
        let mut entries = oplog.find(doc! {}).await.unwrap();
        let (mut cutter, mut pieces, mut chunks) = (Cutter::new(None), Pieces::default(), Vec::new());
        while let Some(entry) = entries.try_next().await.unwrap() {
            let entry = Bytes::from(entry.into_bytes());
            pieces.note(&entry);
            for cut in cutter.cut(&entry, std::iter::once(Ok(0..entry.len()))).unwrap() {
                match cut {
                    Cut::Chunk(chunk) => chunks.push(chunk),
                    Cut::Chain(chain) => chunks.extend(pieces.resolve(*chain).unwrap()),
                }
            }
        }
        chunks
    }
}

fn identified(document: RawDocumentBuf) -> (i32, Image) {
    (document.get_i32("_id").unwrap(), document.into_bytes())
}
