//! What can't work is said at once: one line that names what, where and what to do, and the exit code.

use std::time::Duration;

use mongo_observer::servers::Mongo;
use mongodb::bson::doc;
use tokio::time::Instant;

use super::harness::{
    Ended, Installation, file_sink, kafka, kafka_sink, mongo, nats, nats_sink, source, source_of,
};

/// Longer than any of this takes, shorter than anybody's patience.
const SECONDS: Duration = Duration::from_secs(25);

async fn run(config: &str) -> Ended {
    let installation = Installation::new(config);
    let began = Instant::now();
    let ended = installation.ended(&["run", "--http-listen", "127.0.0.1:0"]).await;
    assert!(began.elapsed() < SECONDS, "it took {:?}: {ended:?}", began.elapsed());
    ended
}

/// Fails with that code, and the line says all of that.
#[track_caller]
fn assert_says(ended: &Ended, code: i32, words: &[&str]) {
    let line = ended.failed_with(code);
    for word in words {
        assert!(line.contains(word), "`{word}` is missing in: {line}");
    }
}

/// A port on which nobody listens.
fn dead_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn a_mistake_in_the_configuration_is_named_with_its_place_and_its_remedy() {
    let uri = mongo().await.uri();
    let with = |line: &str| format!("mongodb.uri = {uri:?}\n{line}\n{}", file_sink());
    let cases = [
        (with("source.inclde = [\"shop.*\"]"), vec!["config.toml", "source.inclde", "include"]),
        (with("source.include = [\"orders\"]"), vec!["source.include", "database.collection"]),
        (with("source.start = \"yesterday\""), vec!["source.start", "earliest"]),
        (with("pipeline.budget_bytes = \"much\""), vec!["pipeline.budget_bytes"]),
        ("[sinks.a]\ntype = \"redis\"\n".to_owned(), vec!["sinks.a.type", "redis", "kafka"]),
        ("[source]\nstart = \"now\"\n".to_owned(), vec!["[sinks."]),
        (
            "[sinks.a]\ntype = \"kafka\"\nlibrdkafka = { acks = \"1\" }\n".to_owned(),
            vec!["sinks.a.librdkafka.\"acks\""],
        ),
        (
            "[sinks.a]\ntype = \"nats\"\nreplicas = 9\n".to_owned(),
            vec!["sinks.a.replicas", "between 1 and 5"],
        ),
        ("[sinks.a]\ntype = \"stdout\"\n[".to_owned(), vec!["config.toml"]),
    ];
    for (config, words) in cases {
        assert_says(&run(&config).await, 2, &words);
    }
}

#[tokio::test]
async fn a_server_that_has_no_oplog_is_called_what_it_is() {
    // GIVEN a server of its own, one whose set was not initiated, and a set of another name
    let alone = Mongo::builder().standalone(true).start().await.unwrap();
    let of_itself = format!("mongodb://{}/", alone.hosts()[0]);
    let of_a_set = format!("mongodb://{}/?replicaSet=rs0", alone.hosts()[0]);
    let misnamed = mongo().await.uri().replace("replicaSet=rs0", "replicaSet=rs7");
    for (uri, code, words) in [
        (of_itself, 1, ["standalone", "--replSet"]),
        (of_a_set, 1, ["standalone", "--replSet"]),
        (misnamed, 2, ["`rs0`", "`rs7`"]),
        (
            format!("mongodb://127.0.0.1:{}/?replicaSet=rs0", dead_port()),
            1,
            ["no MongoDB server answers", "127.0.0.1"],
        ),
    ] {
        let config = format!("retry.startup_ms = 1000\n{}{}", source_of(&uri, "shop"), file_sink());
        // WHEN it is read, THEN it is called what it is
        assert_says(&run(&config).await, code, &words);
    }
}

#[tokio::test]
async fn a_user_without_rights_and_a_wrong_password_are_told_apart() {
    // GIVEN a set with users, one of whom may read everything but the oplog
    let mongo = Mongo::builder().keyfile_auth(true).start().await.unwrap();
    let admin = mongo.client().await.unwrap().database("admin");
    let roles = doc! { "createUser": "reader", "pwd": "pw", "roles": ["readAnyDatabase"] };
    admin.run_command(roles).await.unwrap();
    let host = &mongo.hosts()[0];
    for (user, words) in [
        ("reader:pw", vec!["may not read local.oplog.rs", "find"]),
        ("reader:wrong", vec!["credentials"]),
        ("nobody:pw", vec!["credentials"]),
    ] {
        let uri = format!("mongodb://{user}@{host}/?replicaSet=rs0&authSource=admin");
        let config = source_of(&uri, "shop") + &file_sink();
        // WHEN such a user is configured, THEN that is said, and the password is not
        let ended = run(&config).await;
        assert_says(&ended, 1, &words);
        assert!(!ended.stderr.contains("wrong"), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_named_within_seconds() {
    let (mongo, port) = (mongo().await, dead_port());
    let head = source(mongo, "dead");
    let kafka = format!("[sinks.a]\ntype = \"kafka\"\nbootstrap_servers = \"127.0.0.1:{port}\"\n");
    let nats = format!("[sinks.a]\ntype = \"nats\"\nservers = \"nats://127.0.0.1:{port}\"\n");
    let address = format!("127.0.0.1:{port}");
    let (kafka, nats) = (head.clone() + &kafka, head + &nats);
    let (kafka, nats) = tokio::join!(run(&kafka), run(&nats));
    assert_says(&kafka, 1, &["sink `a`", "no Kafka broker answers", &address]);
    assert_says(&nats, 1, &["sink `a`", "NATS", &address]);
}

#[tokio::test]
async fn a_place_that_may_not_be_made_and_one_that_can_not_be_written_stop_the_connector() {
    // GIVEN sinks that may not make what is missing, and a change
    let (mongo, kafka, nats) = (mongo().await, kafka().await, nats().await);
    let head = source(mongo, "places") + "source.start = \"earliest\"\n";
    let client = mongo.client().await.unwrap();
    client.database("places").collection("a").insert_one(doc! {}).await.unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("http.listen = {:?}\n", taken.local_addr().unwrap().to_string());
    for (tables, words) in [
        (
            kafka_sink(kafka, "places", 1) + "create_topics = false\n",
            vec!["places.places.a", "does not exist", "sinks.kafka.create_topics = true"],
        ),
        (
            nats_sink(nats, "places") + "create_stream = false\n",
            vec!["no stream places", "create_stream", "places.>"],
        ),
        ("[sinks.f]\ntype = \"file\"\npath = \"/\"\n".to_owned(), vec!["sink `f`"]),
        (
            "checkpoint.store = \"file\"\ncheckpoint.path = \"/none/such\"\n[sinks.o]\ntype = \"stdout\"\n"
                .to_owned(),
            vec!["/none/such"],
        ),
    ] {
        assert_says(&run(&(head.clone() + &tables)).await, 1, &words);
    }
    let installation = Installation::new(&(head + &listen + &file_sink()));
    assert_says(&installation.ended(&["run"]).await, 1, &["http.listen", "127.0.0.1"]);
}

#[tokio::test]
async fn check_looks_at_everything_and_fails_with_what_is_wrong() {
    let (mongo, port) = (mongo().await, dead_port());
    let good = Installation::new(&(source(mongo, "check") + &file_sink()));
    let checked = good.ended(&["check"]).await;
    assert!(checked.succeeded().lines().all(|line| line.starts_with("ok ")), "{checked:?}");

    let nats = format!("[sinks.n]\ntype = \"nats\"\nservers = \"nats://127.0.0.1:{port}\"\n");
    let bad = Installation::new(&(source(mongo, "check") + &file_sink() + &nats)).ended(&["check"]).await;
    assert_eq!(bad.code, Some(1));
    let failed: Vec<_> = bad.stdout.lines().filter(|line| line.starts_with("failed ")).collect();
    assert_eq!(failed.len(), 1, "{bad:?}");
    assert!(failed[0].contains("sink n") && failed[0].contains("NATS"), "{bad:?}");
    assert!(bad.stdout.lines().filter(|line| line.starts_with("ok ")).count() >= 4, "{bad:?}");
}

#[tokio::test]
async fn a_checkpoint_that_can_not_be_meant_is_bad_usage() {
    let mongo = mongo().await;
    let installation = Installation::new(&(source(mongo, "usage") + &file_sink()));
    for args in [
        &["checkpoint", "set", "yesterday"][..],
        &["checkpoint", "set", "7-8", "--sink", "other"],
        &["checkpoint", "show", "--sink", "other"],
    ] {
        let ended = installation.ended(args).await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(!ended.stderr.is_empty());
    }
}
