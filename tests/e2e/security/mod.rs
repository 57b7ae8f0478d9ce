//! Credentials, privileges and encryption, on both sides; and what is never shown.

mod nats;

use std::time::{Duration, Instant};

use async_nats::ConnectOptions;
use mongo_observer::servers::{Kafka, Mongo, Nats};
use mongodb::Client;
use mongodb::bson::doc;

use super::harness::{
    Connector, History, Installation, Lanes, Workload, client, file_sink, majority_point, mongo, read_file,
    read_kafka, read_nats_with, source, source_of,
};
use crate::authority::{Authority, CLIENT};

/// A password that nothing else looks like, with what connection strings must escape.
const CANARY: &str = "canary/7:4@2%";
const CANARY_ESCAPED: &str = "canary%2F7%3A4%402%25";

/// No wrong setting takes longer to be reported, attempts to connect and all.
const SOON: Duration = Duration::from_secs(20);

/// A user who may do nothing but what the documentation asks for: read the oplog.
async fn create_tailer(mongo: &Mongo) {
    let admin = client(mongo).await.database("admin");
    let oplog = doc! { "resource": { "db": "local", "collection": "oplog.rs" }, "actions": ["find"] };
    let role = doc! { "createRole": "oplogTailer", "roles": [], "privileges": [oplog] };
    admin.run_command(role).await.unwrap();
    let user = doc! { "createUser": "tailer", "pwd": CANARY, "roles": ["oplogTailer"] };
    admin.run_command(user).await.unwrap();
}

/// Lets the connector begin, writes a load to `db`, and waits until all of it is acknowledged.
async fn all_of_a_load_arrives(connector: &Connector, writer: &Client, db: &str) -> History {
    connector.anchored().await;
    let start = majority_point(writer).await;
    Workload::new(writer, db, 17).write(50).await;
    let history = History::read(writer, start, db).await;
    connector.done(0, history.end()).await;
    history
}

#[track_caller]
fn assert_holds(lanes: &Lanes, history: &History) {
    assert!(history.operations.len() > 30, "{} operations are no load", history.operations.len());
    lanes.assert_complete(history);
    assert_eq!(lanes.repeats(), 0);
}

/// The password is neither in the log, at its most talkative, nor in anything that HTTP shows.
async fn assert_discreet(connector: &Connector) {
    let mut shown = vec![connector.stderr()];
    for path in ["/", "/status", "/metrics", "/readyz"] {
        shown.push(connector.get(path).await.unwrap());
    }
    for text in shown {
        assert!(!text.is_empty() && !text.contains("canary"), "{text}");
    }
}

/// The connector can't work like this: it ends within seconds and says why, without the password.
async fn assert_refused(config: String, says: [&str; 2]) {
    let began = Instant::now();
    let ended = Installation::new(&config).ended(&["run", "--http-listen", "127.0.0.1:0"]).await;
    let line = ended.failed_with(1);
    assert!(says.iter().all(|words| line.contains(words)), "{line}");
    assert!(!ended.stderr.contains("canary"), "{}", ended.stderr);
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_user_who_may_only_read_the_oplog_is_enough_however_the_password_is_given() {
    // GIVEN a set with such a user
    let mongo = Mongo::builder().set_name("closed").keyfile_auth(true).start().await.unwrap();
    create_tailer(&mongo).await;
    let writer = client(&mongo).await;
    let host = &mongo.hosts()[0];
    let config = |uri: &str, db: &str, tables: &str| {
        source_of(uri, db) + "mongodb.username = \"tailer\"\nlog.level = \"trace\"\n" + tables + &file_sink()
    };
    let uri = format!("mongodb://{host}/?replicaSet=closed");
    let inside = format!("mongodb://tailer:{CANARY_ESCAPED}@{host}/?replicaSet=closed");
    let from_file = Installation::new(&config(&uri, "by_file", "mongodb.password_file = \"password\"\n"));
    std::fs::write(from_file.path("password"), format!("{CANARY}\n")).unwrap();
    let from_environment = Installation::new(&config(&uri, "by_variable", ""))
        .with_variable("MONGO_OBSERVER_MONGODB__PASSWORD", CANARY);
    let from_uri = Installation::new(&config(&inside, "by_uri", ""));
    // WHEN the password comes from a file, from the environment, or from the connection string
    for (installation, db) in
        [(from_file, "by_file"), (from_environment, "by_variable"), (from_uri, "by_uri")]
    {
        let connector = installation.run().await;
        let history = all_of_a_load_arrives(&connector, &writer, db).await;
        // THEN everything arrives, the source is the set's name, and nothing shows the password
        let lanes = read_file(&installation.path("events.jsonl"));
        assert_holds(&lanes, &history);
        assert!(lanes.events().all(|seen| seen.event["source"] == "closed"), "{lanes:?}");
        assert_discreet(&connector).await;
        let ended = connector.terminate().await;
        assert_eq!(ended.code, Some(0));
        assert!(!ended.stderr.contains("canary"), "{}", ended.stderr);
    }
    // and WHEN it is wrong THEN the reason does not show it, either
    let wrong = config(&inside, "wrong", "mongodb.password = \"canary?\"\n");
    assert_refused(wrong, ["MongoDB", "login failed"]).await;
}

#[tokio::test]
async fn mongodb_is_read_through_tls_and_a_wrong_authority_is_refused_with_the_reason() {
    // GIVEN a set that takes TLS only, and two authorities
    let (right, wrong) = (Authority::new(), Authority::new());
    let mongo = Mongo::builder().tls(right.server()).start().await.unwrap();
    let writer = client(&mongo).await;
    let uri = |rest: &str| format!("mongodb://{}/?replicaSet=rs0{rest}", mongo.hosts()[0]);
    let trusting = |authority: &Authority| uri(&format!("&tls=true&tlsCAFile={}", authority.ca().display()));
    // WHEN the right one is trusted THEN everything arrives
    let installation = Installation::new(&(source_of(&trusting(&right), "tls") + &file_sink()));
    let connector = installation.run().await;
    let history = all_of_a_load_arrives(&connector, &writer, "tls").await;
    assert_holds(&read_file(&installation.path("events.jsonl")), &history);
    // and WHEN the wrong one is, or TLS is forgotten, THEN it ends within seconds and says why
    let config = |uri: &str| source_of(uri, "tls") + &file_sink();
    let host = mongo.hosts()[0].as_str();
    tokio::join!(
        assert_refused(config(&trusting(&wrong)), [host, "UnknownIssuer"]),
        assert_refused(config(&uri("")), [host, "no MongoDB server answers"]),
    );
}

#[tokio::test]
async fn a_client_certificate_is_enough_to_log_in() {
    // GIVEN a set that knows a certificate's subject as a user
    let authority = Authority::new();
    let mongo =
        Mongo::builder().keyfile_auth(true).tls(authority.server_with_client()).start().await.unwrap();
    create_tailer(&mongo).await;
    let writer = client(&mongo).await;
    let user = doc! { "createUser": CLIENT, "roles": [{ "role": "oplogTailer", "db": "admin" }] };
    writer.database("$external").run_command(user).await.unwrap();
    // WHEN the connector has that certificate
    let uri = format!(
        "mongodb://{}/?replicaSet=rs0&authMechanism=MONGODB-X509&authSource=%24external&tls=true&tlsCAFile={}\
         &tlsCertificateKeyFile={}",
        mongo.hosts()[0],
        authority.ca().display(),
        authority.path("client.pem").display()
    );
    let installation = Installation::new(&(source_of(&uri, "x509") + &file_sink()));
    let connector = installation.run().await;
    // THEN everything arrives
    let history = all_of_a_load_arrives(&connector, &writer, "x509").await;
    assert_holds(&read_file(&installation.path("events.jsonl")), &history);
}

#[tokio::test]
async fn a_seed_list_may_begin_with_a_dead_host() {
    let mongo = mongo().await;
    let uri = format!("mongodb://127.0.0.1:1,{}/?replicaSet=rs0", mongo.hosts()[0]);
    let installation = Installation::new(&(source_of(&uri, "seeds") + &file_sink()));
    let began = Instant::now();
    let connector = installation.run().await;
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    let history = all_of_a_load_arrives(&connector, &client(mongo).await, "seeds").await;
    assert_holds(&read_file(&installation.path("events.jsonl")), &history);
}

#[tokio::test]
async fn kafka_is_written_through_tls_after_a_login() {
    // GIVEN a broker with a listener for that
    let authority = Authority::new();
    let pem = |name: &str| authority.path(name).display().to_string();
    let scram = format!("SCRAM-SHA-512=[name=observer,password={CANARY}]");
    let kafka = Kafka::builder()
        .heap_mb(384)
        .listener("SECURE", "SASL_SSL")
        .property("listener.name.secure.sasl.enabled.mechanisms", "SCRAM-SHA-512")
        .property(
            "listener.name.secure.scram-sha-512.sasl.jaas.config",
            "org.apache.kafka.common.security.scram.ScramLoginModule required;",
        )
        .property("listener.name.secure.ssl.keystore.type", "PEM")
        .property("listener.name.secure.ssl.keystore.location", &pem("server.pem"))
        .format_arg("--add-scram")
        .format_arg(&scram)
        .start()
        .await
        .unwrap();
    let sink = |password: &str, authority: &str| {
        format!(
            "[sinks.kafka]\ntype = \"kafka\"\nbootstrap_servers = {:?}\nprefix = \"secure\"\n\
             [sinks.kafka.librdkafka]\n\"security.protocol\" = \"SASL_SSL\"\n\"sasl.mechanism\" = \"SCRAM-SHA-512\"\n\
             \"sasl.username\" = \"observer\"\n\"sasl.password\" = {password:?}\n\"ssl.ca.location\" = {authority:?}\n",
            kafka.bootstrap_of("SECURE")
        )
    };
    let mongo = mongo().await;
    let config = |sink: &str| source(mongo, "kafka_tls") + "log.level = \"trace\"\n" + sink;
    // WHEN the connector has the credentials THEN everything arrives, and nothing shows the password
    let installation = Installation::new(&config(&sink(CANARY, &pem("ca.pem"))));
    let connector = installation.run().await;
    let history = all_of_a_load_arrives(&connector, &client(mongo).await, "kafka_tls").await;
    assert_holds(&read_kafka(kafka.bootstrap(), "secure").await, &history);
    assert_discreet(&connector).await;
    // and WHEN the password or the authority is another one THEN it ends within seconds and says why
    let other = Authority::new();
    tokio::join!(
        assert_refused(config(&sink("canary?", &pem("ca.pem"))), ["Kafka", "refuse the credentials"]),
        assert_refused(config(&sink(CANARY, &other.ca().display().to_string())), ["Kafka", "certificate"]),
    );
}

#[tokio::test]
async fn nats_is_written_through_tls_after_a_login() {
    // GIVEN a server that asks for a password and takes TLS only
    let authority = Authority::new();
    let nats = Nats::builder()
        .config(&format!(
            "tls {{ cert_file: {:?}, key_file: {:?} }}\nauthorization {{ user: observer, password: {CANARY:?} }}",
            authority.path("server.crt"),
            authority.path("server.key")
        ))
        .start()
        .await
        .unwrap();
    let sink = |password: &str, authority: &Authority| {
        format!(
            "[sinks.nats]\ntype = \"nats\"\nservers = {:?}\nprefix = \"secure\"\nstream = \"secure\"\nuser = \"observer\"\n\
             {password}\ntls = {{ ca_file = {:?}, required = true }}\n",
            nats.url(),
            authority.ca()
        )
    };
    let mongo = mongo().await;
    let config = |sink: &str| source(mongo, "nats_tls") + "log.level = \"trace\"\n" + sink;
    // WHEN the connector has the password and trusts the authority THEN everything arrives, and nothing shows the password
    let installation = Installation::new(&config(&sink("password_file = \"password\"", &authority)));
    std::fs::write(installation.path("password"), format!("{CANARY}\n")).unwrap();
    let connector = installation.run().await;
    let history = all_of_a_load_arrives(&connector, &client(mongo).await, "nats_tls").await;
    let reader = ConnectOptions::with_user_and_password("observer".into(), CANARY.into())
        .add_root_certificates(authority.ca());
    let reader = reader.connect(nats.url()).await.unwrap();
    assert_holds(&read_nats_with(reader, "secure").await, &history);
    assert_discreet(&connector).await;
    // and WHEN one of them is wrong THEN it ends within seconds and says why
    let other = Authority::new();
    tokio::join!(
        assert_refused(
            config(&sink("password = \"canary?\"", &authority)),
            ["NATS", "refused the credentials"]
        ),
        assert_refused(config(&sink("password = \"canary?\"", &other)), ["NATS", "UnknownIssuer"]),
    );
}
