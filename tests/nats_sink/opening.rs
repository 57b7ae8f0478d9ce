//! What is refused when the sink is opened, and how soon.

use super::*;

#[tokio::test]
async fn where_nobody_answers_opening_fails_within_seconds() {
    let server = start().await;
    let settings = settings(&server);
    pause(&server).await;
    let begin = Instant::now();
    let (kind, words) = refused(&sink(settings.clone())).await;
    assert_eq!(kind, ErrorKind::SinkUnavailable);
    assert!(words.contains("no NATS server answers at 127.0.0.1:"), "{words}");
    server.kill(0).await;
    assert_eq!(refused(&sink(settings)).await.0, ErrorKind::SinkUnavailable);
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_missing_stream_is_not_created_against_the_settings() {
    let server = start().await;
    let sink = sink(Settings { create_stream: false, ..settings(&server) });
    let (kind, words) = refused(&sink).await;
    assert_eq!(kind, ErrorKind::Refused);
    assert!(
        words.contains("no stream MONGO") && words.contains("create it with the subjects mongo.>"),
        "{words}"
    );
    assert_eq!(sink.check().await.unwrap_err().to_string(), words);
}

#[tokio::test]
async fn a_stream_that_can_not_hold_the_records_is_refused() {
    let server = start().await;
    let context = spy(&server).await;
    let config =
        || stream::Config { name: "MONGO".into(), subjects: vec!["mongo.>".into()], ..Default::default() };
    let cases = [
        (
            stream::Config { subjects: vec!["mongo.shop.*".into()], ..config() },
            "takes mongo.shop.*, but not mongo.>",
        ),
        (stream::Config { no_ack: true, ..config() }, "not to acknowledge"),
        (
            stream::Config { retention: stream::RetentionPolicy::WorkQueue, ..config() },
            "retention must be `limits`",
        ),
    ];
    for (config, why) in cases {
        context.create_stream(config).await.unwrap();
        let (kind, words) = refused(&sink(settings(&server))).await;
        assert_eq!(kind, ErrorKind::Refused);
        assert!(words.contains(why), "{words}");
        context.delete_stream("MONGO").await.unwrap();
    }
    context.create_stream(stream::Config { name: "OTHER".into(), ..config() }).await.unwrap();
    let (kind, words) = refused(&sink(settings(&server))).await;
    assert_eq!(kind, ErrorKind::Refused, "{words}");
    assert!(words.contains("overlap"), "{words}");
}

#[tokio::test]
async fn the_created_stream_is_what_the_settings_say() {
    let server = start().await;
    let settings =
        Settings { max_age_seconds: 3600, max_bytes: 1 << 20, prefix: "a.b".into(), ..settings(&server) };
    open(&sink(settings)).await;
    let stream = spy(&server).await.get_stream("MONGO").await.unwrap();
    let config = &stream.cached_info().config;
    assert_eq!(config.subjects, ["a.b.>"]);
    assert_eq!((config.max_age, config.max_bytes), (Duration::from_secs(3600), 1 << 20));
    assert_eq!((config.storage, config.num_replicas), (stream::StorageType::File, 1));
}

#[tokio::test]
async fn a_record_above_the_limit_is_refused_and_the_router_knows_the_limit() {
    let server = Server::builder().max_payload(4096).start().await.unwrap();
    let sink = sink(settings(&server));
    let mut opened = open(&sink).await;
    let route = opened.router.route(Namespace::split("shop.orders")).await.unwrap();
    let header = Header { at: at(1), term: Some(1), source: SOURCE.to_owned() }.to_string();
    deliver(&mut opened, batch([1], route.bytes_max - header.len())).await.unwrap();
    assert_eq!(deliver(&mut opened, batch([2], 4096)).await, Err(ErrorKind::Refused));
}

#[tokio::test]
async fn credentials_and_rights_are_checked_within_seconds() {
    let rights = r#"accounts { A { jetstream: enabled, users: [
        { user: full, password: right },
        { user: mute, password: right, permissions { publish { allow: ["$JS.API.>"] } } },
        { user: deaf, password: right, permissions { publish { allow: ["mongo.>"] } } },
    ] }, B { users: [ { user: poor, password: right } ] } }"#;
    let server = Server::builder().config(rights).start().await.unwrap();
    let user = |user: &str, password: &str| {
        let (user, password) = (Some(user.to_owned()), Some(password.into()));
        sink(Settings { user, password, ..settings(&server) })
    };
    let begin = Instant::now();
    for sink in [user("full", "wrong"), sink(settings(&server))] {
        let (kind, words) = refused(&sink).await;
        assert_eq!(kind, ErrorKind::Unauthorized, "{words}");
        assert!(!words.contains("wrong"), "{words}");
    }
    open(&user("full", "right")).await;

    let mut opened = open(&user("mute", "right")).await;
    let error = opened.sink.send(batch([1], 1)).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(error.what().contains("Permissions Violation for Publish to \"mongo.shop.orders.1\""), "{error}");
    assert_eq!(refused(&user("deaf", "right")).await.0, ErrorKind::Unauthorized);
    let (kind, words) = refused(&user("poor", "right")).await;
    assert_eq!(kind, ErrorKind::Refused, "{words}");
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_token_may_come_from_a_file() {
    let server = Server::builder().config("authorization { token: sesame }").start().await.unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "sesame\n").unwrap();
    open(&sink(Settings { token_file: Some(file.path().into()), ..settings(&server) })).await;
    let wrong = sink(Settings { token: Some("open".into()), ..settings(&server) });
    assert_eq!(refused(&wrong).await.0, ErrorKind::Unauthorized);
}
