//! Every way to prove who the connector is, and how little it needs to be allowed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

use super::*;

/// Opens, writes and opens again.
async fn works(settings: Settings) {
    let sink = sink(settings);
    let mut opened = open(&sink).await;
    deliver(&mut opened, batch(1..=3, 10)).await.unwrap();
    assert_eq!(open(&sink).await.tail, SinkTail::At(checkpoint(3)));
    assert!(sink.check().await.unwrap().contains("holds 3 messages"));
}

async fn assert_unauthorized(settings: Settings) {
    let (kind, words) = refused(&sink(settings)).await;
    assert_eq!(kind, ErrorKind::Unauthorized, "{words}");
}

#[tokio::test]
async fn an_nkey_is_enough() {
    let user = KeyPair::new_user();
    let config = format!("authorization {{ users: [ {{ nkey: {} }} ] }}", user.public_key());
    let server = Server::builder().config(&config).start().await.unwrap();
    works(Settings { nkey_seed: Some(user.seed().unwrap().as_str().into()), ..settings(&server) }).await;
    let other = KeyPair::new_user().seed().unwrap();
    assert_unauthorized(Settings { nkey_seed: Some(other.as_str().into()), ..settings(&server) }).await;
    assert_unauthorized(settings(&server)).await;
}

/// A JWT as NATS wants it: what `by` says of `subject`.
fn signed(by: &KeyPair, subject: &KeyPair, nats: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = part(&json!({ "typ": "JWT", "alg": "ed25519-nkey" }));
    let claims = json!({
        "jti": subject.public_key(), "iat": 1_700_000_000, "iss": by.public_key(), "sub": subject.public_key(),
        "name": "test", "nats": nats,
    });
    let signed = format!("{head}.{}", part(&claims));
    let signature = URL_SAFE_NO_PAD.encode(by.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

/// What an account may have: everything.
fn account() -> Value {
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
        "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1,
    });
    json!({ "type": "account", "version": 2, "limits": limits })
}

#[tokio::test]
async fn a_user_of_an_operator_has_a_credentials_file_or_a_jwt_and_a_seed() {
    // GIVEN a server that knows its operator and two accounts, but no users
    let [operator, owner, system, user] =
        [KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account(), KeyPair::new_user()];
    let of_system = json!({ "type": "account", "version": 2, "limits": { "subs": -1, "data": -1, "payload": -1, "conn": -1 } });
    let config = format!(
        "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{ {}: {}, {}: {} }}",
        signed(&operator, &operator, &json!({ "type": "operator", "version": 2 })),
        system.public_key(),
        system.public_key(),
        signed(&operator, &system, &of_system),
        owner.public_key(),
        signed(&operator, &owner, &account()),
    );
    let server = Server::builder().config(&config).start().await.unwrap();
    // WHEN the account has signed a user
    let limits = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 });
    let jwt = signed(&owner, &user, &limits);
    let seed = user.seed().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let credentials = format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    );
    std::fs::write(file.path(), credentials).unwrap();
    works(Settings { credentials_file: Some(file.path().into()), ..settings(&server) }).await;
    let with = |jwt: &str, seed: &str| Settings {
        jwt: Some(jwt.into()),
        nkey_seed: Some(seed.into()),
        ..settings(&server)
    };
    assert!(matches!(open(&sink(with(&jwt, &seed))).await.tail, SinkTail::At(_)));
    let written = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(written.path(), format!("{jwt}\n")).unwrap();
    let from_file = Settings { jwt: None, jwt_file: Some(written.path().into()), ..with("", &seed) };
    assert!(matches!(open(&sink(from_file)).await.tail, SinkTail::At(_)));
    // THEN nobody else gets in: neither with another seed, nor signed by another account
    assert_unauthorized(with(&jwt, &KeyPair::new_user().seed().unwrap())).await;
    assert_unauthorized(with(&signed(&KeyPair::new_account(), &user, &limits), &seed)).await;
    assert_unauthorized(settings(&server)).await;
    let (kind, words) = refused(&sink(with(&jwt, "SUAcut"))).await;
    assert_eq!(kind, ErrorKind::Config);
    assert!(words.contains("is one of them cut?") && !words.contains("SUAcut"), "{words}");
    let (kind, words) =
        refused(&sink(Settings { credentials_file: Some("/none".into()), ..settings(&server) })).await;
    assert_eq!(kind, ErrorKind::Config);
    assert!(words.contains("credentials_file: can't use /none"), "{words}");
}

/// What the README says a connector must be allowed to publish to: its records, and four requests about its stream.
const PUBLISH: [&str; 4] =
    ["mongo.>", "$JS.API.STREAM.INFO.MONGO", "$JS.API.STREAM.MSG.GET.MONGO", "$JS.API.STREAM.CREATE.MONGO"];
const SUBSCRIBE: &str = "_INBOX_observer.>";

/// A server whose user `observer` may do that and nothing else; another one may do all.
async fn strict(publish: &[&str], subscribe: &str) -> Server {
    let config = format!(
        "accounts {{ A {{ jetstream: enabled, users: [ {{ user: admin, password: x }}, {{ user: observer, password: x, permissions {{ \
         publish {{ allow: {publish:?} }}, subscribe {{ allow: [{subscribe:?}] }} }} }} ] }} }}"
    );
    Server::builder().config(&config).start().await.unwrap()
}

fn observer(server: &Server) -> Settings {
    Settings {
        user: Some("observer".into()),
        password: Some("x".into()),
        inbox_prefix: Some("_INBOX_observer".into()),
        ..settings(server)
    }
}

#[tokio::test]
async fn the_documented_permissions_are_enough() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    for subject in PUBLISH.into_iter().chain([SUBSCRIBE]) {
        assert!(readme.contains(&format!("\"{subject}\"")), "README.md lacks {subject}");
    }
    let server = strict(&PUBLISH, SUBSCRIBE).await;
    works(observer(&server)).await;
    // The operator's commands need no more.
    let OwnStore::Tail(mut store) = sink(observer(&server)).own_store("test").unwrap() else {
        panic!("not the tail")
    };
    store.save(&Stored::Checkpoint(checkpoint(2))).await.unwrap();
    assert_eq!(store.peek().await.unwrap(), Some(Stored::Checkpoint(checkpoint(2))));
}

#[tokio::test]
async fn each_permission_that_is_missing_is_named() {
    for missing in PUBLISH {
        let rest: Vec<_> = PUBLISH.into_iter().filter(|subject| *subject != missing).collect();
        let server = strict(&rest, SUBSCRIBE).await;
        // The end of a stream is read only where there is one with messages.
        if missing.contains("MSG.GET") {
            let admin = Settings { user: Some("admin".into()), inbox_prefix: None, ..observer(&server) };
            deliver(&mut open(&sink(admin)).await, batch([1], 1)).await.unwrap();
        }
        let sink = sink(observer(&server));
        let error = match sink.open(None).await {
            Ok(mut opened) => opened.sink.send(batch([1], 1)).await.unwrap().expect_err(missing),
            Err(error) => error,
        };
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
        let subject = missing.trim_end_matches('>');
        assert!(
            error.what().contains(&format!("Permissions Violation for Publish to \"{subject}")),
            "{error}"
        );
    }
    let server = strict(&PUBLISH, "_INBOX.>").await;
    let (kind, words) = refused(&sink(observer(&server))).await;
    assert_eq!(kind, ErrorKind::Unauthorized, "{words}");
    assert!(words.contains("Permissions Violation for Subscription to \"_INBOX_observer."), "{words}");
    works(Settings { inbox_prefix: None, ..observer(&server) }).await;
}

#[tokio::test]
async fn a_stream_behind_a_leaf_node_is_reached_by_its_domain() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let domain = |name: &str| format!("jetstream {{ store_dir: \"{{folder}}/{name}\", domain: {name} }}\n");
    let hub = domain("hub") + &format!("leafnodes {{ listen: \"127.0.0.1:{port}\" }}");
    let hub = Server::builder().config(&hub).start().await.unwrap();
    let leaf =
        domain("leaf") + &format!("leafnodes {{ remotes: [ {{ url: \"nats://127.0.0.1:{port}\" }} ] }}");
    let leaf = Server::builder().config(&leaf).start().await.unwrap();
    let at_leaf = |domain: &str| Settings { jetstream_domain: Some(domain.into()), ..settings(&leaf) };
    let begin = Instant::now();
    while sink(at_leaf("hub")).check().await.is_err() {
        assert!(begin.elapsed() < Duration::from_secs(30), "the leaf does not find the hub");
    }
    works(at_leaf("hub")).await;
    // It is there, and not at the leaf.
    assert_eq!(stored(&hub).await, [1, 2, 3]);
    assert!(sink(settings(&leaf)).check().await.unwrap().contains("does not exist"));
    let (kind, words) = refused(&sink(at_leaf("nowhere"))).await;
    assert_eq!(kind, ErrorKind::SinkUnavailable);
    assert!(words.contains("nobody answers for the JetStream domain nowhere"), "{words}");
}
