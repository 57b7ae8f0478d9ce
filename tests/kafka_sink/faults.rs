//! Brokers that refuse, die or are not there.

use std::sync::Arc;
use std::time::Duration;

use mongo_observer::error::ErrorKind;
use mongo_observer::sink::kafka::Property;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::*;

#[tokio::test]
async fn nothing_is_stored_behind_a_record_that_the_topic_refuses_and_a_second_refusal_halts() {
    let servers = broker().await;
    let sink = kafka(Settings { partitions: 1, ..settings(servers, "large") });
    let mut opened = sink.open(Some(&Stored::Cleared)).await.unwrap();
    let route = opened.router.route(ns("shop.orders")).await.unwrap();
    assert!((900_000..1_048_588).contains(&route.bytes_max), "{}", route.bytes_max);

    let fits = "x".repeat(route.bytes_max - 200);
    delivered(opened.sink.send(Batch::default().keyed(&route, 1, "a", Some(&fits)).finish())).await.unwrap();

    // As if the limit had been lowered meanwhile: the broker is the one that refuses.
    let large = "x".repeat(2_000_000);
    let refused = || Batch::default().keyed(&route, 2, "a", Some("2")).keyed(&route, 3, "a", Some(&large));
    let bad = opened.sink.send(refused().finish());
    let behind: Vec<Delivery> = (4..200)
        .map(|t| opened.sink.send(Batch::default().keyed(&route, t, "a", Some("x")).finish()))
        .collect();
    let error = delivered(bad).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SinkUnavailable, "another attempt asks for the limit: {error}");
    assert!(error.to_string().contains("large.shop.orders"), "{error}");
    assert!(error.to_string().contains(&at(3).to_string()), "{error}");
    for delivery in behind {
        let error = delivered(delivery).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SinkUnavailable, "{error}");
    }
    let late = opened.sink.send(Batch::default().keyed(&route, 200, "a", Some("x")).finish());
    delivered(late).await.unwrap_err();
    delivered(opened.sink.send(Batch::default().finish())).await.unwrap_err();

    let seen = read(servers, "large.shop.orders").await;
    assert_eq!(seen.iter().map(|seen| seen.at.unwrap().t).collect::<Vec<_>>(), [1, 2]);

    // The limit is what it was, and so is the answer.
    let mut opened = sink.open(Some(&Stored::Cleared)).await.unwrap();
    let error = delivered(opened.sink.send(refused().finish())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    assert!(error.to_string().contains(&at(3).to_string()), "{error}");
}

#[tokio::test]
async fn a_topic_with_a_low_limit_gets_small_batches() {
    let servers = broker().await;
    let low = [("max.message.bytes".to_owned(), Property::new(20_000))].into();
    let mut opened = open(Settings { partitions: 1, topic_config: low, ..settings(servers, "low") }).await;
    let route = opened.router.route(ns("shop.orders")).await.unwrap();
    assert!((19_000..20_000).contains(&route.bytes_max), "{route:?}");
    // Tiny ones, for which what a broker adds counts most, and one that just fits.
    let batch = (1..=5000).fold(Batch::default(), |batch, t| batch.keyed(&route, t, "", Some("")));
    let largest = "x".repeat(route.bytes_max - 60);
    let batch = batch.keyed(&route, 5001, "", Some(&largest)).keyed(&route, 5002, "", Some("x"));
    delivered(opened.sink.send(batch.finish())).await.unwrap();
    assert_eq!(read(servers, "low.shop.orders").await.len(), 5002);
}

#[tokio::test]
async fn a_dead_broker_is_named_within_seconds() {
    let started = Instant::now();
    let kafka = kafka(settings("127.0.0.1:9", "dead"));
    let error = kafka.open(None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SinkUnavailable);
    assert!(error.what().starts_with("no Kafka broker answers at 127.0.0.1:9: "), "{error}");
    assert!(error.what().contains("refused"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    let error = store(settings("127.0.0.1:9", "dead")).take().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StoreUnavailable, "{error}");
    assert!(error.what().contains("no Kafka broker answers at 127.0.0.1:9: "), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_dies_under_load_leaves_no_hole() {
    let server = Server::builder().start().await.unwrap();
    let mut opened = open(settings(server.bootstrap(), "killed")).await;
    let route = opened.router.route(ns("shop.orders")).await.unwrap();
    let value = "x".repeat(1000);
    let mut deliveries = Vec::new();
    let mut send = |from: u32| {
        for t in from..from + 3000 {
            deliveries.push(opened.sink.send(Batch::default().keyed(&route, t, "a", Some(&value)).finish()));
        }
    };
    send(1);
    server.kill(0).await;
    send(3001);
    server.restart(0).await.unwrap();
    send(6001);
    let mut stored = 0;
    for delivery in deliveries {
        match delivered(delivery).await {
            Ok(()) => stored += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::SinkUnavailable, "{error}");
                break;
            }
        }
    }
    // What was acknowledged is there, nothing is out of order, and nothing is missing in between.
    let seen = read(server.bootstrap(), "killed.shop.orders").await;
    let times: Vec<u32> = seen.iter().map(|seen| seen.at.unwrap().t).collect();
    assert!(times.len() >= stored, "{} of {stored}", times.len());
    assert!(times.iter().zip(1..).all(|(seen, t)| *seen == t), "a hole or a repeat among {}", times.len());
    assert_eq!(stored, 9000, "the broker came back in time");
}

#[tokio::test]
async fn wrong_credentials_are_told_at_once() {
    let jaas = "org.apache.kafka.common.security.plain.PlainLoginModule required user_me=\"right\";";
    let server = Server::builder()
        .listener("SECURE", "SASL_PLAINTEXT")
        .property("sasl.enabled.mechanisms", "PLAIN")
        .property("listener.name.secure.plain.sasl.jaas.config", jaas)
        .start()
        .await
        .unwrap();
    let with = |password: &str| {
        let librdkafka = [
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", "me"),
            ("sasl.password", password),
        ];
        let librdkafka = librdkafka.map(|(key, value)| (key.to_owned(), Property::new(value))).into();
        kafka(Settings { librdkafka, ..settings(server.bootstrap_of("SECURE"), "sasl") })
    };
    let mut opened = with("right").open(None).await.unwrap();
    let route = opened.router.route(ns("a.b")).await.unwrap();
    delivered(opened.sink.send(Batch::default().keyed(&route, 1, "a", None).finish())).await.unwrap();
    let started = Instant::now();
    let error = with("wrong").open(None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    assert!(!error.to_string().contains("wrong"), "{error}");
    let OwnStore::Beside(mut store) = with("wrong").own_store("events").unwrap() else { panic!() };
    assert_eq!(store.take().await.unwrap_err().kind(), ErrorKind::Unauthorized);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_right_that_is_revoked_halts_and_nothing_is_stored_behind() {
    // GIVEN a broker that asks who may write
    let jaas = "org.apache.kafka.common.security.plain.PlainLoginModule required user_me=\"right\";";
    let server = Server::builder()
        .listener("SECURE", "SASL_PLAINTEXT")
        .property("sasl.enabled.mechanisms", "PLAIN")
        .property("listener.name.secure.plain.sasl.jaas.config", jaas)
        .property("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer")
        .property("super.users", "User:ANONYMOUS")
        .property("allow.everyone.if.no.acl.found", "true")
        .start()
        .await
        .unwrap();
    let acl = async |args: &[&str]| {
        let of = [
            "--bootstrap-server",
            server.bootstrap(),
            "--operation",
            "Write",
            "--topic",
            "revoked.shop.orders",
        ];
        server.tool("org.apache.kafka.tools.AclCommand", &[args, &of].concat()).await.unwrap();
    };
    let librdkafka = [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", "me"),
        ("sasl.password", "right"),
    ];
    let librdkafka = librdkafka.map(|(key, value)| (key.to_owned(), Property::new(value))).into();
    let settings = Settings { librdkafka, ..settings(server.bootstrap_of("SECURE"), "revoked") };
    let mut opened = open(settings.clone()).await;
    let route = opened.router.route(ns("shop.orders")).await.unwrap();
    // WHEN the right is taken away under load
    let mut t = 0;
    let mut send = |opened: &mut Opened| {
        t += 1;
        opened.sink.send(Batch::default().keyed(&route, t, "a", Some("x")).finish())
    };
    for _ in 0..100 {
        delivered(send(&mut opened)).await.unwrap();
    }
    let mut revoked = std::pin::pin!(acl(&["--add", "--deny-principal", "User:me"]));
    let mut done = false;
    // THEN it halts, with the remedy, and nothing that is sent later is stored
    let error = timeout(PATIENCE, async {
        loop {
            tokio::select! { biased;
                () = &mut revoked, if !done => done = true,
                result = delivered(send(&mut opened)) => if let Err(error) = result { return error },
            }
        }
    });
    let error = error.await.unwrap();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    assert!(error.to_string().contains("grant this user WRITE"), "{error}");
    for _ in 0..10 {
        assert_eq!(delivered(send(&mut opened)).await.unwrap_err().kind(), ErrorKind::Refused);
    }
    acl(&["--remove", "--force", "--deny-principal", "User:me"]).await;
    let late = send(&mut opened);
    assert_eq!(delivered(late).await.unwrap_err().kind(), ErrorKind::Refused, "for good");
    let seen = read(server.bootstrap(), "revoked.shop.orders").await;
    let times: Vec<u32> = seen.iter().map(|seen| seen.at.unwrap().t).collect();
    assert!(times.len() >= 100 && times.iter().zip(1..).all(|(seen, t)| *seen == t), "{times:?}");
    // and WHEN it is opened again with that right, it goes on behind that
    let mut opened = open(settings).await;
    let next = u32::try_from(times.len()).unwrap() + 1;
    let batch = Batch::default().keyed(&route, next, "a", Some("x"));
    delivered(opened.sink.send(batch.finish())).await.unwrap();
    assert_eq!(read(server.bootstrap(), "revoked.shop.orders").await.len(), times.len() + 1);
}

#[tokio::test]
async fn a_sink_that_is_dropped_fails_what_is_under_way_and_holds_nobody_up() {
    let server = Server::builder().start().await.unwrap();
    let mut opened = open(settings(server.bootstrap(), "dropped")).await;
    let route = opened.router.route(ns("shop.orders")).await.unwrap();
    delivered(opened.sink.send(Batch::default().keyed(&route, 1, "a", Some("1")).finish())).await.unwrap();
    server.kill(0).await;
    let budget = Arc::new(Semaphore::new(1));
    let mut batch = Batch::default().keyed(&route, 2, "a", Some("2")).finish();
    batch.hold = Some(Arc::clone(&budget).acquire_owned().await.unwrap());
    let delivery = opened.sink.send(batch);
    let started = Instant::now();
    drop(opened);
    assert!(started.elapsed() < Duration::from_millis(50), "{:?}", started.elapsed());
    assert_eq!(delivered(delivery).await.unwrap_err().kind(), ErrorKind::SinkUnavailable);
    drop(timeout(PATIENCE, budget.acquire()).await.expect("the hold is released").unwrap());
}
