//! Encryption and logins, each as a real broker asks for it; and what is said where they fail.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use mongo_observer::config::{Config, Sink};
use mongo_observer::error::ErrorKind;
use mongo_observer::secret::Secret;
use mongo_observer::sink::kafka::{Mechanism, Property, Tls};
use tokio::time::Instant;

use super::*;
use crate::authority::{Authority, LOCK};

/// Nothing else looks like it.
const CANARY: &str = "canary/7:4@2%";

/// No wrong setting takes longer to be told.
const SOON: Duration = Duration::from_secs(15);

/// A broker with a listener for each way to come in.
struct Fortress {
    server: Server,
    authority: Authority,
    folder: tempfile::TempDir,
}

async fn fortress() -> &'static Fortress {
    static FORTRESS: tokio::sync::OnceCell<Fortress> = tokio::sync::OnceCell::const_new();
    FORTRESS.get_or_init(Fortress::start).await
}

impl Fortress {
    async fn start() -> Self {
        let authority = Authority::new();
        authority.sign_bad_servers();
        authority.sign_locked_client();
        let pem = |name: &str| authority.path(name).display().to_string();
        let plain = "org.apache.kafka.common.security.plain.PlainLoginModule required";
        let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
        let token = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required";
        let mut builder = Server::builder()
            .property("num.partitions", "1")
            .listener("TLS", "SSL")
            .listener("EXPIRED", "SSL")
            .listener("ELSEWHERE", "SSL")
            .listener("MUTUAL", "SSL")
            .property("listener.name.mutual.ssl.client.auth", "required")
            .property("listener.name.mutual.ssl.truststore.type", "PEM")
            .property("listener.name.mutual.ssl.truststore.location", &pem("ca.pem"))
            .listener("PLAIN", "SASL_PLAINTEXT")
            .property("listener.name.plain.sasl.enabled.mechanisms", "PLAIN")
            .property(
                "listener.name.plain.plain.sasl.jaas.config",
                &format!("{plain} user_observer=\"{CANARY}\";"),
            )
            .listener("SCRAM", "SASL_SSL")
            .property("listener.name.scram.sasl.enabled.mechanisms", "SCRAM-SHA-256,SCRAM-SHA-512")
            .property("listener.name.scram.scram-sha-256.sasl.jaas.config", scram)
            .property("listener.name.scram.scram-sha-512.sasl.jaas.config", scram)
            .listener("TOKEN", "SASL_PLAINTEXT")
            .property("listener.name.token.sasl.enabled.mechanisms", "OAUTHBEARER")
            .property(
                "listener.name.token.oauthbearer.sasl.jaas.config",
                &format!("{token} unsecuredLoginStringClaim_sub=\"broker\";"),
            )
            .property("listener.name.token.oauthbearer.connections.max.reauth.ms", "3600000");
        for (listener, certificate) in [
            ("tls", "server"),
            ("expired", "expired"),
            ("elsewhere", "elsewhere"),
            ("mutual", "server"),
            ("scram", "server"),
        ] {
            builder =
                builder.property(&format!("listener.name.{listener}.ssl.keystore.type"), "PEM").property(
                    &format!("listener.name.{listener}.ssl.keystore.location"),
                    &pem(&format!("{certificate}.pem")),
                );
        }
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
            builder = builder
                .format_arg("--add-scram")
                .format_arg(&format!("{mechanism}=[name=observer,password={CANARY}]"));
        }
        let server = builder.start().await.unwrap();
        Self { server, authority, folder: tempfile::tempdir().unwrap() }
    }

    /// Settings that come in by a listener; the prefix is the test's own.
    fn by(&self, listener: &str, prefix: &str) -> Settings {
        settings(self.server.bootstrap_of(listener), prefix)
    }

    fn trusted(&self) -> Tls {
        Tls { ca_file: Some(self.authority.ca()), ..Tls::default() }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Records and checkpoints get through.
    async fn lets_in(&self, settings: Settings) {
        let prefix = settings.prefix.clone();
        let mut checkpoints = store(settings.clone());
        checkpoints.take().await.unwrap();
        checkpoints.save(&checkpoint(7)).await.unwrap();
        let mut opened = kafka(settings).open(None).await.unwrap();
        let route = opened.router.route(ns("shop.orders")).await.unwrap();
        let batch = Batch::default().keyed(&route, 7, "a", Some("1")).finish();
        delivered(opened.sink.send(batch)).await.unwrap();
        let plain = self.server.bootstrap();
        let seen = read(plain, &format!("{prefix}.shop.orders")).await;
        assert_eq!(seen.last().unwrap().at, Some(at(7)));
        let stored = store(self::settings(plain, &prefix)).peek().await.unwrap();
        assert_eq!(stored, Some(checkpoint(7)));
    }

    /// The reason why these settings don't get in: one line, soon, without secrets.
    async fn refuses(&self, settings: Settings) -> Error {
        let began = Instant::now();
        let error = kafka(settings).open(None).await.unwrap_err();
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        let text = error.to_string();
        assert!(!text.contains('\n') && !text.contains("canary"), "{text}");
        error
    }
}

#[track_caller]
fn assert_says(error: &Error, kind: ErrorKind, words: &[&str]) {
    assert_eq!(error.kind(), kind, "{error}");
    assert!(words.iter().all(|words| error.to_string().contains(words)), "{error}");
}

#[tokio::test]
async fn tls_trusts_who_it_is_told_to_and_nobody_else() {
    let fortress = fortress().await;
    let with = |listener, tls| Settings { tls, ..fortress.by(listener, "tls") };
    fortress.lets_in(with("TLS", fortress.trusted())).await;
    let (other, system) = (Authority::new(), Tls { required: true, ..Tls::default() });
    let unknown = Tls { ca_file: Some(other.ca()), ..Tls::default() };
    let refused = tokio::join!(
        fortress.refuses(with("TLS", unknown)),
        fortress.refuses(with("TLS", system)),
        fortress.refuses(with("EXPIRED", fortress.trusted())),
        fortress.refuses(with("ELSEWHERE", fortress.trusted())),
    );
    let refused = [(refused.0, "TLS"), (refused.1, "TLS"), (refused.2, "EXPIRED"), (refused.3, "ELSEWHERE")];
    for (error, listener) in refused {
        let words = [fortress.server.bootstrap_of(listener), "the broker's certificate is not to be trusted"];
        assert_says(&error, ErrorKind::SinkUnavailable, &words);
    }
}

#[tokio::test]
async fn a_client_certificate_lets_in_and_nothing_else_does() {
    let fortress = fortress().await;
    let with = |tls| Settings { tls, ..fortress.by("MUTUAL", "mutual") };
    let pair = |name: &str| Tls {
        cert_file: Some(fortress.authority.path(&format!("{name}.crt"))),
        key_file: Some(fortress.authority.path(&format!("{name}.key"))),
        ..fortress.trusted()
    };
    fortress.lets_in(with(pair("client"))).await;
    let locked = Tls { key_password_file: Some(fortress.file("lock", LOCK)), ..pair("locked") };
    fortress.lets_in(with(locked)).await;

    let stranger = Authority::new();
    let strange = Tls {
        cert_file: Some(stranger.path("client.crt")),
        key_file: Some(stranger.path("client.key")),
        ..fortress.trusted()
    };
    let refused = tokio::join!(fortress.refuses(with(fortress.trusted())), fortress.refuses(with(strange)));
    for error in [refused.0, refused.1] {
        assert_says(&error, ErrorKind::SinkUnavailable, &["alert", "certificate"]);
    }
    let wrong = Tls { key_password: Some(Secret::new("canary?")), ..pair("locked") };
    assert_says(&fortress.refuses(with(wrong)).await, ErrorKind::Config, &["ssl.key.location"]);
}

#[tokio::test]
async fn user_and_password_let_in_by_every_mechanism() {
    let fortress = fortress().await;
    let with = |listener, sasl_mechanism, password: &str| Settings {
        user: Some("observer".to_owned()),
        password: Some(Secret::new(password)),
        sasl_mechanism,
        ..fortress.by(listener, "login")
    };
    let encrypted = |settings| Settings { tls: fortress.trusted(), ..settings };
    fortress.lets_in(with("PLAIN", Mechanism::Plain, CANARY)).await;
    fortress.lets_in(encrypted(with("SCRAM", Mechanism::ScramSha256, CANARY))).await;
    let by_file = Settings {
        password: None,
        password_file: Some(fortress.file("password", &format!("{CANARY}\n"))),
        ..encrypted(with("SCRAM", Mechanism::ScramSha512, ""))
    };
    fortress.lets_in(by_file).await;

    let refused = tokio::join!(
        fortress.refuses(with("PLAIN", Mechanism::Plain, "canary?")),
        fortress.refuses(encrypted(with("SCRAM", Mechanism::ScramSha256, "canary?"))),
        fortress.refuses(encrypted(with("SCRAM", Mechanism::ScramSha512, "canary?"))),
        fortress.refuses(with("PLAIN", Mechanism::ScramSha512, CANARY)),
    );
    for error in [&refused.0, &refused.1, &refused.2, &refused.3] {
        assert_says(error, ErrorKind::Unauthorized, &["refuse the credentials"]);
    }
    assert_says(&refused.3, ErrorKind::Unauthorized, &["PLAIN"]);
}

#[tokio::test]
async fn a_password_that_is_changed_on_disk_is_used_by_the_next_attempt() {
    let fortress = fortress().await;
    let file = fortress.file("rotated", "canary?");
    let sink = kafka(Settings {
        user: Some("observer".to_owned()),
        password_file: Some(file.clone()),
        sasl_mechanism: Mechanism::Plain,
        ..fortress.by("PLAIN", "rotated")
    });
    assert_says(&sink.open(None).await.unwrap_err(), ErrorKind::Unauthorized, &[]);
    std::fs::write(file, CANARY).unwrap();
    sink.open(None).await.unwrap();
}

/// A token as Kafka's own unsecured ones are.
fn token(life: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed();
    let part = |json: String| BASE64_URL_SAFE_NO_PAD.encode(json);
    let claims = format!(r#"{{"sub":"observer","iat":{},"exp":{}}}"#, now.min(now + life - 1), now + life);
    format!("{}.{}.", part(r#"{"alg":"none"}"#.to_owned()), part(claims))
}

#[tokio::test]
async fn a_token_from_a_file_lets_in_where_the_topics_are_there() {
    let fortress = fortress().await;
    let by_plain = settings(fortress.server.bootstrap(), "token");
    open(by_plain.clone()).await.router.route(ns("shop.orders")).await.unwrap();
    store(by_plain).take().await.unwrap();
    let with = |file: &Path| Settings {
        token_file: Some(file.to_owned()),
        create_topics: false,
        ..fortress.by("TOKEN", "token")
    };
    fortress.lets_in(with(&fortress.file("token", &token(3600)))).await;
    let expired = fortress.refuses(with(&fortress.file("expired", &token(-10)))).await;
    assert_says(&expired, ErrorKind::Unauthorized, &["expired"]);
    let missing = fortress.refuses(with(&fortress.folder.path().join("none"))).await;
    assert_says(&missing, ErrorKind::Unauthorized, &["can't read the token file", "none"]);
    let foreign = fortress.refuses(with(&fortress.file("foreign", "no-web-token"))).await;
    assert_says(&foreign, ErrorKind::Unauthorized, &["refuse the credentials"]);
    let opened = kafka(with(&fortress.file("token", &token(3600)))).open(None).await.unwrap();
    let error = opened.router.route(ns("shop.other")).await.unwrap_err();
    assert_says(&error, ErrorKind::Refused, &["token.shop.other does not exist"]);
}

#[tokio::test]
async fn a_token_that_ends_is_replaced_by_what_the_file_holds_then() {
    let fortress = fortress().await;
    let by_plain = settings(fortress.server.bootstrap(), "renewed");
    open(by_plain).await.router.route(ns("shop.orders")).await.unwrap();
    let file = fortress.file("renewed", &token(4));
    let sink = kafka(Settings {
        token_file: Some(file.clone()),
        create_topics: false,
        ..fortress.by("TOKEN", "renewed")
    });
    let mut opened = sink.open(None).await.unwrap();
    let route = opened.router.route(ns("shop.orders")).await.unwrap();
    std::fs::write(&file, token(3600)).unwrap();
    // The broker ends what the first token has let in.
    let began = Instant::now();
    for t in 1.. {
        delivered(opened.sink.send(Batch::default().keyed(&route, t, "a", Some("1")).finish()))
            .await
            .unwrap();
        if began.elapsed() > Duration::from_secs(7) {
            break;
        }
    }
}

#[tokio::test]
async fn tokens_that_librdkafka_makes_itself_work_too() {
    let fortress = fortress().await;
    let librdkafka = [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "OAUTHBEARER"),
        ("enable.sasl.oauthbearer.unsecure.jwt", "true"),
        ("sasl.oauthbearer.config", "principal=observer"),
    ];
    let librdkafka = librdkafka.map(|(key, value)| (key.to_owned(), Property::new(value))).into();
    fortress.lets_in(Settings { librdkafka, ..fortress.by("TOKEN", "unsecured") }).await;
}

#[tokio::test]
async fn what_the_readme_shows_lets_in() {
    let fortress = fortress().await;
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let shown = readme.split("```toml\n").find(|block| block.contains("sasl_mechanism")).unwrap();
    let mut text = shown.split("```").next().unwrap().to_owned();
    // There is one broker.
    let (ca, password) = (fortress.authority.ca(), fortress.file("shown", CANARY));
    for (shown, here) in [
        ("kafka.example:9093", fortress.server.bootstrap_of("SCRAM")),
        ("replication_factor = 3", "replication_factor = 1"),
        ("\"min.insync.replicas\" = 2", "\"min.insync.replicas\" = 1"),
        ("/etc/kafka/ca.pem", ca.to_str().unwrap()),
        ("/run/secrets/kafka-password", password.to_str().unwrap()),
    ] {
        assert!(text.contains(shown), "{shown}");
        text = text.replace(shown, here);
    }
    let file = fortress.file("shown.toml", &text);
    let config = Config::load(Some(&file), Vec::new(), &[]).unwrap();
    let Some(Sink::Kafka(settings)) = config.sinks.get("events") else { panic!("{config:?}") };
    fortress.lets_in(Settings { prefix: "shown".to_owned(), ..settings.clone() }).await;
}
