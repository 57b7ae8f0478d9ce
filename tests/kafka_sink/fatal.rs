//! What librdkafka calls fatal: errors after which a producer is of no more use.

use std::fs::OpenOptions;

use mongo_observer::error::{Disposition, ErrorKind};
use mongo_observer::pipeline::SinkTail;
use rdkafka::producer::{BaseProducer, Producer};

use super::transactions::{exactly_once, take_over};
use super::*;

#[tokio::test]
async fn records_that_the_broker_has_forgotten_end_the_producer_and_come_again() {
    // GIVEN records that are confirmed
    let server = Server::builder().start().await.unwrap();
    let kafka = kafka(settings(server.bootstrap(), "forgot"));
    let mut opened = kafka.open(Some(&Stored::Cleared)).await.unwrap();
    let route = opened.router.route(ns("shop.orders")).await.unwrap();
    let one = |t| Batch::default().keyed(&route, t, "a", Some("x")).finish();
    for t in 1..=50 {
        delivered(opened.sink.send(one(t))).await.unwrap();
    }
    let seen = read(server.bootstrap(), "forgot.shop.orders").await;
    // WHEN the broker comes back without the second half of them
    server.kill(0).await;
    let log = format!("broker-1/forgot.shop.orders-{}/00000000000000000000.log", seen[0].partition);
    let log = OpenOptions::new().write(true).open(server.folder().join(log)).unwrap();
    log.set_len(log.metadata().unwrap().len() / 2).unwrap();
    server.restart(0).await.unwrap();
    // THEN it misses numbers of this producer: nothing that is sent from now on is stored
    let [first, second] = [51, 52].map(|t| opened.sink.send(one(t)));
    let error = delivered(first).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SinkUnavailable, "{error}");
    for words in [
        "Kafka did not store the record of position 0000000051-0000000001-0000000000 for the topic forgot.shop.orders",
        "OutOfOrderSequenceNumber",
        "sending starts again behind the last acknowledged record",
    ] {
        assert!(error.what().contains(words), "{error}");
    }
    assert_eq!(delivered(second).await.unwrap_err().kind(), ErrorKind::SinkUnavailable);
    assert_eq!(delivered(opened.sink.send(one(53))).await.unwrap_err().what(), error.what(), "for good");
    drop(opened);
    // and a new one goes on behind what is still there
    let mut opened = kafka.open(Some(&checkpoint(50))).await.unwrap();
    let SinkTail::At(tail) = &opened.tail else { panic!("{:?}", opened.tail) };
    assert!((10..50).contains(&tail.at.t), "{tail:?}");
    for t in tail.at.t + 1..=53 {
        delivered(opened.sink.send(one(t))).await.unwrap();
    }
    assert_eq!(times(server.bootstrap(), "forgot.shop.orders").await, (1..=53).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_foreign_producer_with_the_transactional_id_costs_one_attempt() {
    let servers = broker().await;
    let settings = || exactly_once(servers, "foreign");
    let (mut opened, _) = take_over(settings()).await;
    let route = opened.router.route(ns("shop.orders")).await.unwrap();
    let one = |t| Batch::default().keyed(&route, t, "a", Some("x")).finish();
    delivered(opened.sink.send(one(1))).await.unwrap();
    // WHEN a program that has claimed no checkpoint takes the transactional id
    let takes = move || {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", servers)
            .set("transactional.id", "mongo-observer.foreign.events")
            .create()
            .unwrap();
        producer.init_transactions(PATIENCE).unwrap();
    };
    tokio::task::spawn_blocking(takes).await.unwrap();
    let error = delivered(opened.sink.send(one(2))).await.unwrap_err();
    // THEN that is no reason to give up for good
    assert_eq!(error.kind(), ErrorKind::SinkUnavailable, "{error}");
    assert_eq!(error.kind().disposition(), Disposition::Retry);
    for words in [
        "This instance has been fenced by a newer instance",
        "no other instance has claimed the checkpoint",
        "another program has its transactional.id",
    ] {
        assert!(error.what().contains(words), "{error}");
    }
    // and the next attempt goes on behind what is committed
    let (mut opened, upto) = take_over(settings()).await;
    assert_eq!(upto, 1);
    for t in 2..=3 {
        delivered(opened.sink.send(one(t))).await.unwrap();
    }
    assert_eq!(times(servers, "foreign.shop.orders").await, [1, 2, 3]);
}
