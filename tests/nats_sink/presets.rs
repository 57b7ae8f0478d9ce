//! A stream as a log, and as a table.

use super::*;

fn latest(server: &Server) -> Settings {
    Settings { preset: Preset::Latest, ..settings(server) }
}

/// A stream like the one that the connector makes for a table.
fn table() -> stream::Config {
    stream::Config {
        name: "MONGO".into(),
        subjects: vec!["mongo.>".into()],
        max_messages_per_subject: 1,
        ..Default::default()
    }
}

/// The same, for a log.
fn log() -> stream::Config {
    stream::Config { max_messages_per_subject: -1, ..table() }
}

#[tokio::test]
async fn a_table_keeps_the_last_message_of_each_subject_and_the_chain_goes_on() {
    let server = start().await;
    let sink = sink(latest(&server));
    let mut opened = open(&sink).await;
    deliver(&mut opened, batch(1..=2500, 20)).await.unwrap();
    // There are a thousand subjects.
    assert_eq!(stored(&server).await, (1501..=2500).collect::<Vec<_>>());
    let mut opened = open(&sink).await;
    assert_eq!(opened.tail, SinkTail::At(checkpoint(2500)));
    deliver(&mut opened, batch(2501..=2600, 20)).await.unwrap();
    assert_eq!(stored(&server).await, (1601..=2600).collect::<Vec<_>>());
    let config = spy(&server).await.get_stream("MONGO").await.unwrap().cached_info().config.clone();
    assert_eq!((config.max_messages_per_subject, config.allow_message_ttl), (1, false));
    let line = sink.check().await.unwrap();
    assert!(line.contains("(preset latest, replicas: 1) holds 1000 messages"), "{line}");
}

#[tokio::test]
async fn a_delete_in_a_table_is_a_marker_which_the_server_forgets_in_time() {
    let server = start().await;
    let sink = sink(Settings { marker_seconds: 1, ..latest(&server) });
    let mut opened = open(&sink).await;
    let mut last = batch([3], 1);
    last.records[0].deletes = true;
    deliver(&mut opened, batch(1..=2, 1)).await.unwrap();
    deliver(&mut opened, last).await.unwrap();
    let stream = spy(&server).await.get_stream("MONGO").await.unwrap();
    let message =
        async |number| stream.get_last_raw_message_by_subject(&format!("mongo.shop.orders.{number}")).await;
    let marker = message(3).await.unwrap();
    assert_eq!(marker.payload, "3", "the event is there all the same");
    let header = |name: &str| marker.headers.get(name).map(|value| value.as_str().to_owned());
    assert_eq!(header("KV-Operation").as_deref(), Some("DEL"));
    assert_eq!(header("Nats-TTL").as_deref(), Some("1s"));
    assert_eq!(message(2).await.unwrap().headers.get("KV-Operation"), None);

    // WHEN the marker is forgotten, the position is that of the message before it, and the chain goes on behind its number
    let begin = Instant::now();
    while message(3).await.is_ok() {
        assert!(begin.elapsed() < Duration::from_secs(30), "the marker stays");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut opened = open(&sink).await;
    assert_eq!(opened.tail, SinkTail::At(checkpoint(2)));
    deliver(&mut opened, batch(3..=4, 1)).await.unwrap();
    assert_eq!(stored(&server).await, [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_log_has_no_markers() {
    let server = start().await;
    let mut opened = open(&sink(settings(&server))).await;
    let mut delete = batch([1], 1);
    delete.records[0].deletes = true;
    deliver(&mut opened, delete).await.unwrap();
    let stream = spy(&server).await.get_stream("MONGO").await.unwrap();
    assert_eq!(stream.get_raw_message(1).await.unwrap().headers.get("KV-Operation"), None);
}

#[tokio::test]
async fn a_stream_that_would_forget_the_wrong_things_is_refused() {
    let server = start().await;
    let context = spy(&server).await;
    let age = Duration::from_secs(60);
    let ttl = Some(age);
    let log_settings = settings(&server);
    let cases = [
        (&log_settings, table(), "keeps 1 of a subject's messages and would lose the others"),
        (&log_settings, stream::Config { max_messages_per_subject: 64, ..log() }, "keeps 64"),
        (
            &log_settings,
            stream::Config {
                subject_delete_marker_ttl: ttl,
                allow_message_ttl: true,
                allow_rollup: true,
                ..log()
            },
            "markers that the server writes",
        ),
        (&latest(&server), log(), "keeps all of a subject's messages"),
        (&latest(&server), stream::Config { max_age: age, ..table() }, "would lose documents"),
        (&latest(&server), stream::Config { max_bytes: 1 << 20, ..table() }, "would lose documents"),
        (&latest(&server), stream::Config { max_messages: 1000, ..table() }, "would lose documents"),
        (
            &latest(&server),
            stream::Config { discard: stream::DiscardPolicy::New, discard_new_per_subject: true, ..table() },
            "refuses a second message of a subject",
        ),
        (
            &Settings { marker_seconds: 9, ..latest(&server) },
            table(),
            "set `allow_msg_ttl`, or marker_seconds = 0",
        ),
    ];
    for (settings, config, why) in cases {
        context.create_stream(config).await.unwrap();
        let sink = sink(settings.clone());
        let (kind, words) = refused(&sink).await;
        assert_eq!(kind, ErrorKind::Refused);
        assert!(words.contains(why), "{words}");
        assert_eq!(sink.check().await.unwrap_err().to_string(), words, "`check` says so, too");
        context.delete_stream("MONGO").await.unwrap();
    }
}

#[tokio::test]
async fn a_stream_that_is_weaker_than_one_might_expect_is_used_and_check_says_so() {
    let server = start().await;
    let context = spy(&server).await;
    let full = stream::Config { max_messages: 9, discard: stream::DiscardPolicy::New, ..table() };
    let asks = Settings { max_age_seconds: 9, max_bytes: 7, replicas: 3, ..settings(&server) };
    let cases = [
        (
            settings(&server),
            stream::Config { storage: stream::StorageType::Memory, ..log() },
            "kept in memory",
        ),
        (
            settings(&server),
            stream::Config { max_age: Duration::from_secs(60), ..log() },
            "for 60 s, not for ever",
        ),
        (asks.clone(), log(), "for ever, not for 9 s"),
        (asks.clone(), log(), "any number of bytes, not 7 bytes"),
        (asks, log(), "1 replicas, not 3"),
        (latest(&server), full, "takes no more messages when it is full"),
    ];
    for (settings, config, what) in cases {
        context.create_stream(config).await.unwrap();
        let sink = sink(settings);
        open(&sink).await;
        let line = sink.check().await.unwrap();
        assert!(line.contains("; but ") && line.contains(what), "{line}");
        context.delete_stream("MONGO").await.unwrap();
    }
    context.create_stream(table()).await.unwrap();
    let line = sink(latest(&server)).check().await.unwrap();
    assert!(!line.contains("; but "), "{line}");
}
