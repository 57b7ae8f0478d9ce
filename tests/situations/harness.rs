//! Runs the situations of one version on one server, and judges them.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use mongo_observer::event::Position;
use mongo_observer::servers::{Mongo, MongoVersion};
use mongodb::Client;
use mongodb::bson::{Document, RawDocumentBuf, Timestamp, doc};
use mongodb::options::{Acknowledgment, ReadConcern, WriteConcern};

use crate::compare::{Event, Namespace};
use crate::oracle::Oracle;
use crate::place::{Outcome, Place};
use crate::replay::{self, Collections};
use crate::table::{Situation, Version};
use crate::verdict::{Part, explained, judge};
use crate::{ours, table};

#[allow(dead_code)]
#[path = "../e2e/harness/connector.rs"]
mod connector;

use connector::{Connector, Installation};

/// Far more than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Marks in both streams where a situation begins.
const MARKS: &str = "marks";

/// The server's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    Plain,
    /// An oplog entry holds two operations at most, so that small transactions are chains of entries.
    SmallEntries,
}

/// Looks again and again until `look` finds something.
async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Runs all situations of that version and server, and fails with those that differ.
pub(crate) async fn run(version: Version, server: Server) {
    let all = table();
    let wanted = std::env::var("SITUATIONS").unwrap_or_default();
    let of_server = all.iter().filter(|one| one.server == server && one.name.contains(&wanted));
    let (there, absent): (Vec<_>, Vec<_>) = of_server.partition(|one| one.absent(version).is_none());
    let began = Instant::now();
    let run = Run::start(version, server, there.len()).await;
    let mut done = Vec::new();
    for (number, situation) in there.iter().enumerate() {
        done.push(run.situation(number, situation).await);
    }
    let mut parts = run.parts(2 * there.len() + 1).await.into_iter();
    // What lies before the first mark belongs to none.
    parts.next();
    let mut failed = Vec::new();
    let mut report = String::new();
    for (number, (situation, done)) in there.iter().zip(done).enumerate() {
        let [given, writes] = [parts.next().unwrap(), parts.next().unwrap()];
        let faults = judge(situation, version, &database(number), &given, &writes, done);
        if !faults.is_empty() {
            failed.push(situation.name);
            report += &explained(situation, &faults, &given, &writes);
        }
    }
    let mut summary = format!(
        "{version:?}, {server:?}: {} situations, {} agree, {} differ, {} don't exist there; {:.1} s\n",
        there.len() + absent.len(),
        there.len() - failed.len(),
        failed.len(),
        absent.len(),
        began.elapsed().as_secs_f64()
    );
    for situation in absent {
        let _ = writeln!(summary, "  not there: {}: {}", situation.name, situation.absent(version).unwrap());
    }
    // Not through the test's output, which is shown only when it fails.
    let _ = std::io::stderr().write_all(summary.as_bytes());
    assert!(failed.is_empty(), "\n{report}\n{} differ: {failed:#?}", failed.len());
}

fn database(number: usize) -> String {
    format!("s{number:03}")
}

/// A server, the connector, and the change stream.
///
/// The connector runs twice: `own` reads everything, for `peer` the server leaves out what is not captured.
struct Run {
    version: Version,
    client: Client,
    retryable: Client,
    start: Timestamp,
    own: Publisher,
    peer: Publisher,
    oracle: Oracle,
    // Dropped last.
    mongo: Mongo,
}

impl Run {
    async fn start(version: Version, server: Server, databases: usize) -> Self {
        let mut builder = Mongo::builder().version(match version {
            Version::V44 => MongoVersion::V4_4,
            Version::V50 => MongoVersion::V5_0,
            Version::V60 => MongoVersion::V6_0_27,
        });
        builder = builder.param("periodicNoopIntervalSecs=1").param("ttlMonitorSleepSecs=1");
        if server == Server::SmallEntries {
            builder = builder.param("maxNumberOfTransactionOperationsInSingleOplogEntry=2");
        }
        let mongo = builder.start().await.unwrap();
        let uri = mongo.uri() + "&retryWrites=false&w=1";
        let client = Client::with_uri_str(&uri).await.unwrap();
        let retryable = Client::with_uri_str(&uri).await.unwrap();
        client.database(MARKS).create_collection(MARKS).await.unwrap();
        let start = majority_point(&client).await;
        let own = Publisher::start(&mongo, start, "json-canonical", "").await;
        let mut tables = format!("source.include = [\"{MARKS}.*\"");
        for number in 0..databases {
            let _ = ["", "_other", "-日本"].map(|end| write!(tables, ", \"{}{end}.*\"", database(number)));
        }
        let _ = write!(tables, "]\nsinks.file.expanded_events = {}\n", version == Version::V60);
        let peer = Publisher::start(&mongo, start, "mongodb-extended", &tables).await;
        let oracle = Oracle::start(&client, version, start, |event| is_mark(event, LAST));
        Self { version, client, retryable, start, own, peer, oracle, mongo }
    }

    /// Does what a situation says; says what its collections hold then.
    async fn situation(&self, number: usize, situation: &Situation) -> Outcome<Collections> {
        let at = Place {
            client: self.client.clone(),
            retryable: self.retryable.clone(),
            version: self.version,
            name: database(number),
        };
        self.mark(2 * number + 1).await;
        let given = (situation.given)(at.clone()).await;
        self.mark(2 * number + 2).await;
        given?;
        situation.checked((situation.writes)(at.clone()).await)?;
        replay::stored(&at).await
    }

    async fn mark(&self, number: usize) {
        let number = i64::try_from(number).unwrap();
        self.client.database(MARKS).collection(MARKS).insert_one(doc! { "_id": number }).await.unwrap();
    }

    /// What lies between the marks.
    async fn parts(self, marks: usize) -> Vec<Part> {
        let last = self.client.database(MARKS).collection::<Document>(MARKS);
        let majority = WriteConcern::builder().w(Acknowledgment::Majority).build();
        last.insert_one(doc! { "_id": LAST }).write_concern(majority).await.unwrap();
        let theirs = self.oracle.events().await.unwrap_or_else(|error| {
            let log = self.mongo.log(0);
            let fatal: Vec<&str> = log.lines().filter(|line| line.contains("\"s\":\"F\"")).collect();
            panic!("the change stream: {error}\n{}", fatal.join("\n"))
        });
        let at = theirs[theirs.len() - 1].at;
        let at = Position::of_entry(at.0, at.1);
        let entries = entries(&self.client, self.start).await;
        let version = self.version;
        let ours = self.own.lines(at).await.iter().map(|line| ours::event(line, version)).collect();
        let peers = self.peer.lines(at).await.iter().map(|line| ours::peer(line)).collect();
        let is_mark = |entry: &Document| {
            let is = |name, expected: &str| entry.get_str(name).is_ok_and(|found| found == expected);
            is("op", "i") && is("ns", "marks.marks")
        };
        let [ours, peers, theirs] = [ours, peers, theirs].map(|events| split(events, marks, is_any_mark));
        let entries = split(entries, marks, is_mark);
        let sides = ours.into_iter().zip(peers).zip(theirs).zip(entries);
        sides.map(|(((ours, peers), theirs), entries)| Part { ours, peers, theirs, entries }).collect()
    }
}

/// A connector that writes everything into a file.
struct Publisher {
    connector: Connector,
    installation: Installation,
}

impl Publisher {
    async fn start(mongo: &Mongo, start: Timestamp, format: &str, tables: &str) -> Self {
        let start = Position::of_entry(start.time, start.increment);
        let config = format!(
            "mongodb.uri = {:?}\nsource.start = \"{start}\"\ncheckpoint.store = \"file\"\n\
             on.unknown = \"skip\"\non.unreadable = \"skip\"\n\
             sinks.file.type = \"file\"\nsinks.file.path = \"events\"\nsinks.file.format = \"{format}\"\n{tables}",
            mongo.uri()
        );
        let installation = Installation::new(&config);
        Self { connector: installation.run().await, installation }
    }

    /// Its lines, as soon as it has written everything up to `at`.
    async fn lines(self, at: Position) -> Vec<String> {
        self.connector.done(0, at).await;
        let ended = self.connector.terminate().await;
        let errors: Vec<&str> = ended.stderr.lines().filter(|line| line.contains("ERROR")).collect();
        assert!(ended.code == Some(0) && errors.is_empty(), "{:?} {errors:#?}", ended.code);
        let lines = std::fs::read_to_string(self.installation.path("events")).unwrap();
        lines.lines().filter(|line| !line.contains("\"op\":\"watermark\"")).map(str::to_owned).collect()
    }
}

/// The last mark.
const LAST: i64 = -1;

fn is_any_mark(event: &Event) -> bool {
    event.op == "insert" && event.ns == Namespace { db: MARKS.to_owned(), coll: MARKS.to_owned() }
}

fn is_mark(event: &Event, number: i64) -> bool {
    let key = event.fields.get("documentKey").and_then(crate::values::Value::document);
    is_any_mark(event) && key.is_some_and(|key| key.get_i64("_id").is_ok_and(|id| id == number))
}

/// The items before, between and behind so many marks.
fn split<T>(items: Vec<T>, marks: usize, is_mark: impl Fn(&T) -> bool) -> Vec<Vec<T>> {
    let mut parts = vec![Vec::new()];
    for item in items {
        if is_mark(&item) {
            parts.push(Vec::new());
        } else {
            parts.last_mut().unwrap().push(item);
        }
    }
    assert_eq!(parts.len(), marks + 1, "one side lacks marks");
    parts
}

/// The oplog behind `start`, as far as the driver can read it.
async fn entries(client: &Client, start: Timestamp) -> Vec<Document> {
    let oplog = client.database("local").collection::<RawDocumentBuf>("oplog.rs");
    let found =
        oplog.find(doc! { "ts": { "$gt": start } }).read_concern(ReadConcern::majority()).await.unwrap();
    let found: Vec<RawDocumentBuf> = found.try_collect().await.unwrap();
    found.iter().map(|entry| Document::try_from(entry.as_ref()).unwrap_or_default()).collect()
}

/// What is majority-committed now.
async fn majority_point(client: &Client) -> Timestamp {
    let hello = client.database("admin").run_command(doc! { "hello": 1 }).await.unwrap();
    let optime = hello.get_document("lastWrite").unwrap().get_document("majorityOpTime").unwrap();
    optime.get_timestamp("ts").unwrap()
}
