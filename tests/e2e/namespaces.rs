//! What is captured and under which name: views, time series, temporary collections and what they leave behind, moved collections.

use mongo_observer::servers::{Mongo, MongoVersion};
use mongodb::Client;
use mongodb::bson::{Document, doc};
use mongodb::options::{Acknowledgment, WriteConcern};

use super::harness::{
    Installation, Seen, client, file_sink, majority_point, mongo, read_file, source, source_of,
};

/// What happens in a database, and which events come of it. Their names lack the database, temporary ones are `tmp`.
struct Scenario {
    db: &'static str,
    run: fn(Client, &'static str) -> futures::future::BoxFuture<'static, ()>,
    expected: &'static [&'static str],
}

macro_rules! scenario {
    ($db:literal, $run:ident, $expected:expr) => {
        Scenario { db: $db, run: |client, db| Box::pin($run(client, db)), expected: &$expected }
    };
}

const SCENARIOS: [Scenario; 8] = [
    scenario!(
        "out_new",
        out_to_a_new_collection,
        ["create from", "insert from/1", "insert from/2", "rename tmp to fresh replaced", "insert fresh/3",]
    ),
    scenario!(
        "out_old",
        out_to_an_existing_collection,
        [
            "create old",
            "insert old/9",
            "create from",
            "insert from/1",
            "insert from/2",
            "rename tmp to old replaced",
        ]
    ),
    scenario!(
        "map_reduce",
        map_reduce,
        ["create from", "insert from/1", "insert from/2", "rename tmp to reduced replaced",]
    ),
    scenario!(
        "merge",
        merge,
        [
            "create to",
            "insert to/1",
            "create from",
            "insert from/1",
            "insert from/2",
            "update to/1",
            "insert to/2",
        ]
    ),
    scenario!(
        "capped",
        to_capped,
        ["create a", "insert a/1", "insert a/2", "rename tmp to a replaced", "insert a/3", "truncate a",]
    ),
    // The server marks these inserts as its own.
    scenario!(
        "cloned",
        clone_as_capped,
        ["create a", "insert a/1", "insert a/2", "create copy", "insert copy/1", "insert copy/2",]
    ),
    scenario!("views", views, ["create a", "insert a/1", "create v view", "modify v view", "drop v view",]),
    scenario!(
        "renamed",
        renamed,
        ["create a", "insert a/1", "create b", "insert b/2", "rename a to b replaced", "rename b to c",]
    ),
];

/// Two documents, 1 and 2.
async fn fill(client: &Client, db: &str, coll: &str) {
    let coll = client.database(db).collection::<Document>(coll);
    for id in [1, 2] {
        coll.insert_one(doc! { "_id": id, "n": 10 * id }).await.unwrap();
    }
}

async fn insert(client: &Client, db: &str, coll: &str, id: i32) {
    client.database(db).collection::<Document>(coll).insert_one(doc! { "_id": id }).await.unwrap();
}

async fn run(client: &Client, db: &str, command: Document) {
    client.database(db).run_command(command).await.unwrap();
}

async fn aggregate(client: &Client, db: &str, stage: Document) {
    client.database(db).collection::<Document>("from").aggregate([stage]).await.unwrap();
}

async fn out_to_a_new_collection(client: Client, db: &str) {
    fill(&client, db, "from").await;
    aggregate(&client, db, doc! { "$out": "fresh" }).await;
    insert(&client, db, "fresh", 3).await;
}

async fn out_to_an_existing_collection(client: Client, db: &str) {
    insert(&client, db, "old", 9).await;
    fill(&client, db, "from").await;
    aggregate(&client, db, doc! { "$out": "old" }).await;
}

async fn map_reduce(client: Client, db: &str) {
    fill(&client, db, "from").await;
    let (map, reduce) = ("function() { emit(this._id, 1) }", "function(key, values) { return 1 }");
    run(
        &client,
        db,
        doc! { "mapReduce": "from", "map": map, "reduce": reduce, "out": { "replace": "reduced" } },
    )
    .await;
}

async fn merge(client: Client, db: &str) {
    insert(&client, db, "to", 1).await;
    fill(&client, db, "from").await;
    aggregate(&client, db, doc! { "$merge": { "into": "to" } }).await;
}

async fn to_capped(client: Client, db: &str) {
    fill(&client, db, "a").await;
    run(&client, db, doc! { "convertToCapped": "a", "size": 4096 }).await;
    insert(&client, db, "a", 3).await;
    run(&client, db, doc! { "emptycapped": "a" }).await;
}

async fn clone_as_capped(client: Client, db: &str) {
    fill(&client, db, "a").await;
    run(&client, db, doc! { "cloneCollectionAsCapped": "a", "toCollection": "copy", "size": 4096 }).await;
}

async fn views(client: Client, db: &str) {
    insert(&client, db, "a", 1).await;
    run(&client, db, doc! { "create": "v", "viewOn": "a", "pipeline": [] }).await;
    run(&client, db, doc! { "collMod": "v", "viewOn": "a", "pipeline": [{ "$match": { "n": 1 } }] }).await;
    run(&client, db, doc! { "drop": "v" }).await;
}

async fn renamed(client: Client, db: &str) {
    let rename = async |from: &str, to: &str, drop_target: bool| {
        let command = doc! { "renameCollection": format!("{db}.{from}"), "to": format!("{db}.{to}"), "dropTarget": drop_target };
        run(&client, "admin", command).await;
    };
    insert(&client, db, "a", 1).await;
    insert(&client, db, "b", 2).await;
    rename("a", "b", true).await;
    rename("b", "c", false).await;
}

/// An event as a phrase: operation, what it is about, where it leads to, and what is said of it.
fn phrase(seen: &Seen) -> String {
    let ns = |value: &serde_json::Value| {
        let coll = value["coll"].as_str().unwrap_or_default();
        if coll.starts_with("tmp") { "tmp".to_owned() } else { coll.to_owned() }
    };
    let event = &seen.event;
    let id = event.get("key").map(|key| format!("/{}", key["_id"])).unwrap_or_default();
    let to = event.get("to").map(|to| format!(" to {}", ns(to))).unwrap_or_default();
    let of = event.get("nsType").map(|of| format!(" {}", of.as_str().unwrap())).unwrap_or_default();
    let replaced = if event.get("replaced").is_some() { " replaced" } else { "" };
    format!("{} {}{id}{to}{of}{replaced}", seen.op, ns(&event["ns"]))
}

/// Everything so far is majority-committed, and the sink has acknowledged it.
async fn settle(client: &Client, connector: &super::harness::Connector) {
    let fence = client.database("fence").collection::<Document>("fence");
    let majority = WriteConcern::builder().w(Acknowledgment::Majority).build();
    fence.insert_one(doc! {}).write_concern(majority).await.unwrap();
    connector.done(0, majority_point(client).await).await;
}

fn phrases(installation: &Installation, db: &str) -> Vec<String> {
    let lanes = read_file(&installation.path("events.jsonl"));
    let concerns = |seen: &&Seen| seen.event["ns"]["db"] == db || seen.event["to"]["db"] == db;
    lanes.events().filter(concerns).map(phrase).collect()
}

/// A configuration that captures these, into a file.
fn capturing(mongo: &Mongo, include: &[&str]) -> Installation {
    let include: Vec<String> = include.iter().map(|ns| format!("{ns:?}")).collect();
    let config = source(mongo, "x").replace("[\"x.*\"]", &format!("[{}]", include.join(",")));
    Installation::new(&(config + &file_sink()))
}

async fn every_scenario(version: MongoVersion) {
    let mongo = Mongo::builder().version(version).start().await.unwrap();
    let client = client(&mongo).await;
    let all = SCENARIOS.map(|scenario| format!("{}.*", scenario.db));
    let installation = capturing(&mongo, &all.each_ref().map(String::as_str));
    let connector = installation.run().await;
    for scenario in &SCENARIOS {
        (scenario.run)(client.clone(), scenario.db).await;
    }
    settle(&client, &connector).await;
    for scenario in &SCENARIOS {
        assert_eq!(phrases(&installation, scenario.db), scenario.expected, "{}", scenario.db);
    }
    let log = connector.stderr();
    assert!(log.contains("contents were replaced") && log.contains("collection=out_new.fresh"), "{log}");
}

#[tokio::test]
async fn what_the_server_does_behind_a_command_is_told_by_4_4() {
    every_scenario(MongoVersion::V4_4).await;
}

#[tokio::test]
async fn what_the_server_does_behind_a_command_is_told_by_5_0() {
    every_scenario(MongoVersion::V5_0).await;
}

#[tokio::test]
async fn what_the_server_does_behind_a_command_is_told_by_6_0() {
    every_scenario(MongoVersion::V6_0_27).await;
}

#[tokio::test]
async fn a_rename_to_another_database_brings_contents_and_then_drops_them_where_they_were() {
    // GIVEN two databases, in one of them a collection with an index
    let mongo = mongo().await;
    let client = client(mongo).await;
    let installation = capturing(mongo, &["moved_from.*", "moved_to.*"]);
    let connector = installation.run().await;
    fill(&client, "moved_from", "a").await;
    let index = mongodb::IndexModel::builder().keys(doc! { "n": 1 }).build();
    client.database("moved_from").collection::<Document>("a").create_index(index).await.unwrap();
    // WHEN it is moved to the other one
    let rename = doc! { "renameCollection": "moved_from.a", "to": "moved_to.b" };
    run(&client, "admin", rename).await;
    insert(&client, "moved_to", "b", 3).await;
    settle(&client, &connector).await;
    // THEN there its contents are replaced, and here it is dropped
    assert_eq!(phrases(&installation, "moved_to"), ["rename tmp to b replaced", "insert b/3"]);
    assert_eq!(
        phrases(&installation, "moved_from"),
        ["create a", "insert a/1", "insert a/2", "createIndexes a", "drop a"]
    );
}

#[tokio::test]
async fn a_collection_that_leaves_or_enters_what_is_captured_says_so() {
    // GIVEN a connector that captures two names of a database
    let mongo = mongo().await;
    let client = client(mongo).await;
    let installation = capturing(mongo, &["doors.a", "doors.v"]);
    let connector = installation.run().await;
    // WHEN a collection is renamed out of them and back, others and a view come and go
    insert(&client, "doors", "a", 1).await;
    for (from, to) in [("doors.a", "doors.hidden"), ("doors.hidden", "doors.seen"), ("doors.seen", "doors.a")]
    {
        run(&client, "admin", doc! { "renameCollection": from, "to": to }).await;
    }
    for view in ["v", "w"] {
        run(&client, "doors", doc! { "create": view, "viewOn": "a", "pipeline": [] }).await;
    }
    client.database("doors").collection::<Document>("a").aggregate([doc! { "$out": "other" }]).await.unwrap();
    settle(&client, &connector).await;
    // THEN only what concerns the two is told
    assert_eq!(
        phrases(&installation, "doors"),
        ["create a", "insert a/1", "rename a to hidden", "rename seen to a replaced", "create v view"]
    );
}

#[tokio::test]
async fn a_time_series_is_told_by_its_name_and_its_buckets_only_where_they_are_named() {
    // GIVEN one connector that captures a database, and another one that names the buckets
    let mongo = mongo().await;
    let client = client(mongo).await;
    let usual = capturing(mongo, &["series.*"]);
    let raw = capturing(mongo, &["series.system.buckets.weather"]);
    let (of_usual, of_raw) = futures::join!(usual.run(), raw.run());
    // WHEN a time series lives
    run(
        &client,
        "series",
        doc! { "create": "weather", "timeseries": { "timeField": "t", "metaField": "m" } },
    )
    .await;
    let now = mongodb::bson::DateTime::now();
    let weather = client.database("series").collection::<Document>("weather");
    for degrees in [20, 21] {
        weather.insert_one(doc! { "t": now, "m": 1, "degrees": degrees }).await.unwrap();
    }
    weather.delete_many(doc! { "m": 1 }).await.unwrap();
    weather.drop().await.unwrap();
    futures::join!(settle(&client, &of_usual), settle(&client, &of_raw));
    // THEN the first sees it as one thing, and the other the documents that hold it
    assert_eq!(phrases(&usual, "series"), ["create weather timeseries", "drop weather view"]);
    let raw: Vec<String> =
        read_file(&raw.path("events.jsonl")).events().map(|seen| seen.op.clone()).collect();
    assert_eq!(raw, ["create", "insert", "update", "delete", "drop"]);
}

#[tokio::test]
async fn replaced_contents_stop_it_where_that_is_asked_for() {
    // GIVEN a connector that is to stop
    let mongo = mongo().await;
    let client = client(mongo).await;
    let config = source(mongo, "guarded") + "on.replaced = \"stop\"\n" + &file_sink();
    let installation = Installation::new(&config);
    let connector = installation.run().await;
    // WHEN a collection is put into the place of another
    fill(&client, "guarded", "from").await;
    settle(&client, &connector).await;
    aggregate(&client, "guarded", doc! { "$out": "target" }).await;
    // THEN it ends before that, again and again, and says what to do
    let ended = connector.ended_within(super::harness::PATIENCE).await;
    let line = ended.failed_with(1);
    for words in ["guarded.target", "at position", "[on] replaced = \"mark\""] {
        assert!(line.contains(words), "{line}");
    }
    assert_eq!(phrases(&installation, "guarded"), ["create from", "insert from/1", "insert from/2"]);
    let again = installation.start().ended_within(super::harness::PATIENCE).await;
    assert!(again.failed_with(1).contains("guarded.target"));
    // and goes on once it may
    installation.configure(&config.replace("\"stop\"", "\"mark\""));
    let connector = installation.run().await;
    settle(&client, &connector).await;
    assert_eq!(phrases(&installation, "guarded").last().unwrap(), "rename tmp to target replaced");
}

/// A cluster of two shards without a mongos: its config servers and both shards, and where `moved.a` is split between them.
async fn cluster() -> (Mongo, [Mongo; 2]) {
    let config = Mongo::builder().standalone(true).arg("--configsvr").arg("--replSet").arg("config").start();
    let shard = |name: &str| {
        Mongo::builder().set_name(name).arg("--shardsvr").param("orphanCleanupDelaySecs=0").start()
    };
    let (config, one, two) = futures::try_join!(config, shard("one"), shard("two")).unwrap();
    let control = config.member_client(0).await.unwrap();
    let members =
        doc! { "_id": "config", "configsvr": true, "members": [{ "_id": 0, "host": &config.hosts()[0] }] };
    run(&control, "admin", doc! { "replSetInitiate": members }).await;
    let is_primary = async || {
        let hello = control.database("admin").run_command(doc! { "hello": 1 }).await.unwrap();
        hello.get_bool("isWritablePrimary").unwrap().then_some(())
    };
    super::harness::eventually("the config servers have a primary", is_primary).await;
    let majority = doc! { "w": "majority" };
    for shard in [&one, &two] {
        let place = format!("{}/{}", shard.set_name(), shard.hosts()[0]);
        let add = doc! { "_configsvrAddShard": place, "name": shard.set_name(), "writeConcern": &majority };
        run(&control, "admin", add).await;
    }
    let create =
        doc! { "_configsvrCreateDatabase": "moved", "primaryShardId": "one", "writeConcern": &majority };
    run(&control, "admin", create).await;
    let databases = control.database("config").collection::<Document>("databases");
    let database = databases.find_one(doc! { "_id": "moved" }).await.unwrap().unwrap();
    let version = database.get_document("version").unwrap();
    let create = doc! {
        "_shardsvrCreateCollection": "a", "shardKey": { "k": 1 },
        "databaseVersion": version, "writeConcern": &majority
    };
    run(&one.client().await.unwrap(), "moved", create).await;
    (config, [one, two])
}

#[tokio::test]
async fn a_chunk_that_moves_between_shards_is_no_change() {
    // GIVEN two shards of a cluster, and a connector on each
    let (config, [one, two]) = cluster().await;
    let [of_one, of_two] =
        [&one, &two].map(|shard| Installation::new(&(source_of(&shard.uri(), "moved") + &file_sink())));
    let (reads_one, reads_two) = futures::join!(of_one.run(), of_two.run());
    let (client_one, client_two) = (client(&one).await, client(&two).await);
    let documents = client_one.database("moved").collection::<Document>("a");
    for k in [1, 700] {
        documents.insert_one(doc! { "_id": k, "k": k }).await.unwrap();
    }
    // WHEN a range moves from one to the other, and a client writes there
    let control = config.member_client(0).await.unwrap();
    let range = doc! {
        "_configsvrMoveRange": "moved.a", "toShard": "two", "min": { "k": 500 },
        "max": { "k": mongodb::bson::Bson::MaxKey }, "waitForDelete": true, "writeConcern": { "w": "majority" }
    };
    run(&control, "admin", range).await;
    for (client, op, what) in [(&client_two, "i", "copied"), (&client_one, "d", "deleted")] {
        let filter = doc! { "ns": "moved.a", "op": op, "fromMigrate": true };
        let oplog = client.database("local").collection::<Document>("oplog.rs");
        super::harness::eventually(what, async || oplog.find_one(filter.clone()).await.unwrap()).await;
    }
    let there = client_two.database("moved").collection::<Document>("a");
    there.update_one(doc! { "_id": 700 }, doc! { "$set": { "n": 1 } }).await.unwrap();
    futures::join!(settle(&client_one, &reads_one), settle(&client_two, &reads_two));
    // THEN neither the copy nor the deletion of what was copied is an event
    let documents = |installation: &Installation| {
        let phrases = phrases(installation, "moved").into_iter();
        phrases.filter(|phrase| phrase.contains('/')).collect::<Vec<_>>()
    };
    assert_eq!(documents(&of_one), ["insert a/1", "insert a/700"]);
    assert_eq!(documents(&of_two), ["update a/700"]);
}
