//! What operators get wrong: each ends soon, with one line that says what is wrong, where, and what to do about it.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use futures::future::join_all;
use mongo_observer::servers::Mongo;
use mongodb::bson::{Document, doc};

use super::harness::{
    Ended, Installation, PATIENCE, client, file_sink, kafka, kafka_sink, mongo, nats, nats_sink, source,
    source_of,
};

/// No mistake takes longer to be reported, attempts to connect and all.
const SOON: Duration = Duration::from_secs(20);

/// An address where nothing listens.
const NOWHERE: &str = "127.0.0.1:1";

const STDOUT: &str = "[sinks.out]\ntype = \"stdout\"\n";

/// A configuration that can't work: the exit code, and what the line has to say.
struct Mistake {
    what: &'static str,
    config: String,
    code: i32,
    says: Vec<String>,
}

impl Mistake {
    fn new(what: &'static str, config: impl Into<String>, code: i32, says: &[&str]) -> Self {
        let says = says.iter().map(|words| (*words).to_owned()).collect();
        Self { what, config: config.into(), code, says }
    }

    /// Starts the connector and compares what it says with what it should say.
    async fn is_explained(&self) {
        let installation = Installation::new(&self.config);
        let (ended, took) = timed(&installation, &["run", "--http-listen", "127.0.0.1:0"]).await;
        self.assert_explained(ended.failed_with(self.code), took);
        assert_eq!(ended.stdout, "", "{}", self.what);
    }

    fn assert_explained(&self, line: &str, took: Duration) {
        // Neither a server's reply nor a command is repeated.
        assert!(line.len() < 500 && !line.contains("RawDocument"), "{}: {line}", self.what);
        for words in &self.says {
            assert!(line.contains(words), "{}: `{words}` is not in: {line}", self.what);
        }
        assert!(took < SOON, "{}: took {took:?}", self.what);
    }

    /// `check` says the same in the line of what failed, which begins with `failed  {of}: `.
    async fn is_found_by_check(&self, of: &str) {
        let (ended, took) = timed(&Installation::new(&self.config), &["check"]).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(1), ""), "{}: {ended:?}", self.what);
        let failed: Vec<_> = ended.stdout.lines().filter(|line| !line.starts_with("ok ")).collect();
        assert!(!failed.is_empty() && failed.iter().all(|line| line.starts_with("failed  ")), "{ended:?}");
        let line = failed.iter().find(|line| line.starts_with(&format!("failed  {of}: ")));
        self.assert_explained(line.unwrap_or_else(|| panic!("{}: {ended:?}", self.what)), took);
    }
}

async fn timed(installation: &Installation, args: &[&str]) -> (Ended, Duration) {
    let began = Instant::now();
    (installation.ended(args).await, began.elapsed())
}

async fn all_are_explained(mistakes: &[Mistake]) {
    join_all(mistakes.iter().map(Mistake::is_explained)).await;
}

#[tokio::test]
async fn a_configuration_that_cant_be_meant_is_refused_before_anything_is_tried() {
    let pipeline = |line: &str| format!("{line}\n{STDOUT}");
    all_are_explained(&[
        Mistake::new(
            "a key with a typo",
            pipeline("[source]\ninclde = [\"shop.*\"]"),
            2,
            &["config.toml", "`source.inclde`", "did you mean `include`?"],
        ),
        Mistake::new(
            "a sink's key with a typo",
            "[sinks.events]\ntype = \"kafka\"\nbootstrap_server = \"a:1\"\n",
            2,
            &["config.toml", "`sinks.events.bootstrap_server`", "did you mean `bootstrap_servers`?"],
        ),
        Mistake::new(
            "a table with a typo",
            pipeline("[mongo]\nuri = \"mongodb://a\""),
            2,
            &["config.toml", "`mongo`", "did you mean `mongodb`?"],
        ),
        Mistake::new(
            "an unknown type of sink",
            "[sinks.events]\ntype = \"kafak\"\n",
            2,
            &["config.toml", "`sinks.events.type`", "did you mean `kafka`?"],
        ),
        Mistake::new(
            "a sink without a type",
            "[sinks.events]\nprefix = \"a\"\n",
            2,
            &["config.toml", "`sinks.events.type` is missing", "kafka, nats, stdout or file"],
        ),
        Mistake::new("no sinks", "[source]\nstart = \"now\"\n", 2, &["no sink", "add a table [sinks."]),
        Mistake::new(
            "a text for a number",
            pipeline("[pipeline]\nheartbeat_ms = \"soon\""),
            2,
            &["config.toml", "`pipeline.heartbeat_ms` must be a whole number", "`soon`"],
        ),
        Mistake::new("no TOML", pipeline("[source\nstart = 1"), 2, &["config.toml", "line 1"]),
    ])
    .await;
}

#[tokio::test]
async fn a_value_that_cant_work_is_refused_with_its_key_before_anything_is_tried() {
    let pipeline = |line: &str| format!("{line}\n{STDOUT}");
    let uri = |rest: &str| pipeline(&format!("mongodb.uri = \"mongodb://{NOWHERE}/{rest}\""));
    all_are_explained(&[
        Mistake::new(
            "a pattern that is no namespace",
            pipeline("source.include = [\"shop\"]"),
            2,
            &["source.include", "`shop`", "`database.*`"],
        ),
        Mistake::new(
            "a pattern that is no regular expression",
            pipeline("source.exclude = [\"/(/\"]"),
            2,
            &["source.exclude", "`/(/`", "not a regular expression"],
        ),
        Mistake::new(
            "a database that is never captured",
            pipeline("source.include = [\"admin.*\"]"),
            2,
            &["source.include", "`admin.*`", "never captured"],
        ),
        Mistake::new(
            "a setting that librdkafka does not know",
            "[sinks.k]\ntype = \"kafka\"\nlibrdkafka.\"linger.msec\" = 5\n",
            2,
            &["sinks.k.librdkafka.\"linger.msec\"", "no such setting"],
        ),
        Mistake::new(
            "a connection string that is none",
            pipeline("mongodb.uri = \"127.0.0.1:27017\""),
            2,
            &["mongodb.uri", "no scheme"],
        ),
        Mistake::new(
            "an option that connection strings don't have",
            uri("?replicaset=rs0&tls=maybe"),
            2,
            &["mongodb.uri", "tls"],
        ),
        Mistake::new(
            "an authority that can't be read",
            uri("?tls=true&tlsCAFile=/none/such.pem"),
            2,
            &["mongodb.uri", "/none/such.pem", "No such file"],
        ),
        Mistake::new(
            "a password file that can't be read",
            pipeline("mongodb.username = \"me\"\nmongodb.password_file = \"none-such\""),
            2,
            &["mongodb.password_file", "none-such", "No such file"],
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_position_that_is_none_is_refused_by_the_command_line() {
    let installation = Installation::new(STDOUT);
    for position in ["yesterday", "1700000000", "7abc"] {
        let (ended, took) = timed(&installation, &["checkpoint", "set", position]).await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        let line = ended.stderr.lines().next().unwrap();
        assert!(line.contains(position) && line.contains("<POSITION>"), "{line}");
        assert!(took < SOON, "{took:?}");
    }
}

#[tokio::test]
async fn a_server_without_an_oplog_and_a_set_of_another_name_are_told_apart() {
    // GIVEN a standalone server, one whose set was never initiated, and a set that works
    let standalone = Mongo::builder().standalone(true).start();
    let uninitiated = Mongo::builder().standalone(true).arg("--replSet").arg("rs0").start();
    let (standalone, uninitiated) = futures::try_join!(standalone, uninitiated).unwrap();
    let set = mongo().await;
    let host = |mongo: &Mongo| mongo.hosts()[0].clone();
    let plain = |host: &str, rest: &str| source_of(&format!("mongodb://{host}/{rest}"), "a") + STDOUT;
    let mistakes = [
        Mistake::new(
            "a standalone server",
            plain(&host(&standalone), ""),
            1,
            &[&host(&standalone), "is a standalone mongod", "--replSet", "rs.initiate()"],
        ),
        Mistake::new(
            "a standalone server, where a set is asked for",
            plain(&host(&standalone), "?replicaSet=rs0"),
            1,
            &[&host(&standalone), "is a standalone mongod", "rs.initiate()"],
        ),
        Mistake::new(
            "a set that was not initiated",
            plain(&host(&uninitiated), "?replicaSet=rs0"),
            1,
            &[&host(&uninitiated), "not initiated", "rs.initiate()"],
        ),
        Mistake::new(
            "a set that was not initiated, asked directly",
            plain(&host(&uninitiated), "?directConnection=true"),
            1,
            &[&host(&uninitiated), "not initiated", "rs.initiate()"],
        ),
        Mistake::new(
            "another set's name",
            plain(&host(set), "?replicaSet=rs9"),
            2,
            &[&host(set), "`rs0`", "`rs9`", "mongodb.uri"],
        ),
    ];
    // WHEN the connector starts THEN it says which of them it met
    let checks = [0, 2, 4].map(|index| mistakes[index].is_found_by_check("mongodb"));
    futures::join!(all_are_explained(&mistakes), join_all(checks));
}

#[tokio::test]
async fn who_may_not_log_in_or_not_read_the_oplog_is_told_so() {
    // GIVEN a set that asks for credentials, and a user who may read everything but the oplog
    let mongo = Mongo::builder().keyfile_auth(true).start().await.unwrap();
    let admin = client(&mongo).await.database("admin");
    let user = doc! { "createUser": "reader", "pwd": "letmein", "roles": ["readAnyDatabase"] };
    admin.run_command(user).await.unwrap();
    let host = &mongo.hosts()[0];
    let log_in = |credentials: &str| {
        source_of(&format!("mongodb://{credentials}{host}/?replicaSet=rs0"), "a") + STDOUT
    };
    let mistakes = [
        Mistake::new(
            "a user who may not read the oplog",
            log_in("reader:letmein@"),
            1,
            &["local.oplog.rs", "`find`", "grant"],
        ),
        Mistake::new(
            "a wrong password",
            log_in("reader:guessed@"),
            1,
            &["MongoDB", "uthentication failed", "credentials"],
        ),
        Mistake::new("nobody", log_in(""), 1, &["local.oplog.rs", "requires authentication", "credentials"]),
    ];
    // WHEN the connector starts THEN it says what is missing, and never the password
    all_are_explained(&mistakes).await;
    mistakes[0].is_found_by_check("oplog").await;
    mistakes[1].is_found_by_check("mongodb").await;
}

#[tokio::test]
async fn servers_that_are_not_there_are_named_within_seconds() {
    let here = source(mongo().await, "dead");
    let kafka = format!("[sinks.k]\ntype = \"kafka\"\nbootstrap_servers = \"{NOWHERE}\"\n");
    let nats = format!("[sinks.n]\ntype = \"nats\"\nservers = \"nats://{NOWHERE}\"\n");
    let mistakes = [
        Mistake::new(
            "no MongoDB",
            source_of(&format!("mongodb://{NOWHERE}/?replicaSet=rs0"), "a") + STDOUT,
            1,
            &["no MongoDB server answers", NOWHERE, "Connection refused", "check that MongoDB runs"],
        ),
        Mistake::new(
            "no Kafka",
            here.clone() + &kafka,
            1,
            &["no Kafka broker answers", NOWHERE, "Connection refused", "check that"],
        ),
        Mistake::new(
            "no NATS",
            here + &nats,
            1,
            &["no NATS server answers", NOWHERE, "check that the sink runs"],
        ),
    ];
    let checks = ["mongodb", "sink k", "sink n"];
    let checks = mistakes.iter().zip(checks).map(|(mistake, of)| mistake.is_found_by_check(of));
    futures::join!(all_are_explained(&mistakes), join_all(checks));
}

#[tokio::test]
async fn places_that_cant_be_used_are_named() {
    let (mongo, nats) = (mongo().await, nats().await);
    let here = source(mongo, "places");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let mistakes = [
        Mistake::new(
            "a directory for a file",
            here.clone() + "[sinks.file]\ntype = \"file\"\npath = \".\"\n",
            1,
            &["file .", "irectory"],
        ),
        Mistake::new(
            "a folder that is not there",
            here.clone() + "[sinks.file]\ntype = \"file\"\npath = \"none/such.jsonl\"\n",
            1,
            &["none", "No such file"],
        ),
        Mistake::new(
            "a stream that is missing",
            here.clone() + &nats_sink(nats, "absent") + "create_stream = false\n",
            1,
            &["absent", "create_stream"],
        ),
    ];
    let checks = ["sink file", "sink file", "sink nats"];
    let checks = mistakes.iter().zip(checks).map(|(mistake, of)| mistake.is_found_by_check(of));
    futures::join!(all_are_explained(&mistakes), join_all(checks));

    let port = Mistake::new("a port that is taken", "", 1, &["`http.listen`", &taken, "in use"]);
    let installation = Installation::new(&(here + &file_sink()));
    let (ended, took) = timed(&installation, &["run", "--http-listen", &taken]).await;
    port.assert_explained(ended.failed_with(1), took);
}

#[tokio::test]
async fn a_topic_that_is_missing_stops_the_connector_where_it_may_not_create_it() {
    // GIVEN a connector that runs, and may not create topics
    let (mongo, kafka, db) = (mongo().await, kafka().await, "absent");
    let config = source(mongo, db) + "checkpoint.store = \"file\"\n" + &kafka_sink(kafka, "absent", 1);
    let installation = Installation::new(&(config + "create_topics = false\n"));
    let connector = installation.run().await;
    // WHEN something is written that has no topic
    let began = Instant::now();
    client(mongo).await.database(db).collection::<Document>("c").insert_one(doc! { "_id": 1 }).await.unwrap();
    // THEN it ends, and says which
    let ended = connector.ended_within(PATIENCE).await;
    let says = ["sink `kafka`", "absent.absent.c", "does not exist", "sinks.kafka.create_topics"];
    Mistake::new("a topic", "", 1, &says).assert_explained(ended.failed_with(1), began.elapsed());
}
