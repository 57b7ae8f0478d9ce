//! Least privileges, certificates, passwords: seen working, and never shown.

use std::path::{Path, PathBuf};

use mongo_observer::servers::{Mongo, TlsFiles};
use mongodb::bson::doc;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::harness::{
    History, Installation, Workload, client, file_sink, majority_point, read_file, source_of,
};

const CANARY: &str = "c4n4ry";

/// A few changes of `shop` arrive through that connection string; gives the source that the events name.
async fn changes_arrive(mongo: &Mongo, uri: &str, more: &str) -> String {
    let client = client(mongo).await;
    let start = majority_point(&client).await;
    let installation = Installation::new(&(source_of(uri, "shop") + more + &file_sink()));
    let connector = installation.run().await;
    Workload::new(&client, "shop", 61).write(30).await;
    let history = History::read(&client, start, "shop").await;
    connector.done(0, history.end()).await;
    let lanes = read_file(&installation.path("events.jsonl"));
    lanes.assert_complete(&history);
    let shown = connector.get("/status").await.unwrap() + &connector.get("/metrics").await.unwrap();
    let ended = connector.terminate().await;
    assert!(!shown.contains(CANARY) && !ended.stderr.contains(CANARY), "{}", ended.stderr);
    lanes.events().next().unwrap().event["source"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn find_on_the_oplog_is_all_that_is_needed_and_the_password_is_never_shown() {
    // GIVEN the role of the README, and a user who has no other
    let mongo = Mongo::builder().keyfile_auth(true).start().await.unwrap();
    let admin = mongo.client().await.unwrap().database("admin");
    let oplog = doc! { "resource": { "db": "local", "collection": "oplog.rs" }, "actions": ["find"] };
    admin
        .run_command(doc! { "createRole": "oplogTailer", "roles": [], "privileges": [oplog] })
        .await
        .unwrap();
    admin
        .run_command(doc! { "createUser": "tailer", "pwd": CANARY, "roles": ["oplogTailer"] })
        .await
        .unwrap();
    let host = &mongo.hosts()[0];
    // WHEN it is used, with the password in the connection string or in a file, THEN changes arrive, and the set is known by its name
    let uri = format!("mongodb://tailer:{CANARY}@{host}/?replicaSet=rs0&authSource=admin");
    assert_eq!(changes_arrive(&mongo, &uri, "").await, "rs0");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, format!("{CANARY}\n")).unwrap();
    let uri = format!("mongodb://{host}/?replicaSet=rs0&authSource=admin");
    let more = format!("mongodb.username = \"tailer\"\nmongodb.password_file = {file:?}\n");
    assert_eq!(changes_arrive(&mongo, &uri, &more).await, "rs0");
}

#[tokio::test]
async fn of_several_seeds_one_that_answers_is_enough() {
    let mongo = Mongo::builder().start().await.unwrap();
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let uri = format!("mongodb://{dead},{}/?replicaSet=rs0", mongo.hosts()[0]);
    assert!(changes_arrive(&mongo, &uri, "").await.starts_with("rs0/"));
}

/// An authority of one's own.
struct Authority {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority");
        std::fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate and its key in one file.
    fn issue(&self, name: &str, unit: &str) -> PathBuf {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationalUnitName, unit);
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let file = self.folder.path().join(format!("{name}.pem"));
        std::fs::write(&file, certificate.pem() + &key.serialize_pem()).unwrap();
        file
    }
}

fn with_tls(mongo: &Mongo, authority: &Path) -> String {
    format!("mongodb://{}/?replicaSet=rs0&tls=true&tlsCAFile={}", mongo.hosts()[0], authority.display())
}

#[tokio::test]
async fn a_certificate_of_ones_own_authority_is_trusted_and_another_is_not() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let files = TlsFiles { server: ours.issue("server", "servers"), authority: ours.file(), client: None };
    let mongo = Mongo::builder().tls(files).start().await.unwrap();
    changes_arrive(&mongo, &with_tls(&mongo, &ours.file()), "").await;
    // A foreign authority, and none that can be read, are refused within seconds.
    for (file, code, word) in
        [(theirs.file(), 1, "certificate"), (PathBuf::from("/none/such.pem"), 2, "mongodb.uri")]
    {
        let config = format!(
            "retry.startup_ms = 1000\n{}{}",
            source_of(&with_tls(&mongo, &file), "shop"),
            file_sink()
        );
        let ended = Installation::new(&config).ended(&["run", "--http-listen", "127.0.0.1:0"]).await;
        let line = ended.failed_with(code).to_lowercase();
        assert!(line.contains(word), "{line}");
    }
}

#[tokio::test]
async fn a_client_certificate_is_a_login() {
    // GIVEN a set with TLS and users, one of whom is the subject of a certificate
    let ours = Authority::new();
    let client = ours.issue("tailer", "clients");
    let files = TlsFiles {
        server: ours.issue("server", "servers"),
        authority: ours.file(),
        client: Some(client.clone()),
    };
    let mongo = Mongo::builder().keyfile_auth(true).tls(files).start().await.unwrap();
    let all = mongo.client().await.unwrap();
    let role = doc! { "role": "clusterMonitor", "db": "admin" };
    let user = doc! { "createUser": "CN=tailer,OU=clients", "roles": [role] };
    all.database("$external").run_command(user).await.unwrap();
    // WHEN it logs in with it, THEN changes arrive
    let uri = format!(
        "{}&tlsCertificateKeyFile={}&authMechanism=MONGODB-X509&authSource=$external",
        with_tls(&mongo, &ours.file()),
        client.display()
    );
    assert!(changes_arrive(&mongo, &uri, "").await.starts_with("rs0/"));
}
