//! Exactly-once delivery: what is committed, and when.

use std::sync::Arc;

use mongo_observer::error::ErrorKind;
use mongo_observer::sink::kafka::DeliveryMode;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::*;

/// Commits wherever a MongoDB transaction ends.
fn exactly_once(servers: &str, prefix: &str) -> Settings {
    let delivery = DeliveryMode::ExactlyOnce;
    Settings { delivery, transaction_interval_ms: 0, partitions: 1, ..settings(servers, prefix) }
}

fn in_the_middle(batch: Batch) -> RecordBatch {
    RecordBatch { ends_unit: false, ..batch.finish() }
}

#[tokio::test]
async fn a_mongodb_transaction_is_committed_as_a_whole_and_needs_no_budget_until_then() {
    let servers = broker().await;
    let mut opened = open(exactly_once(servers, "whole")).await;
    let route = opened.router.route(ns("shop.orders")).await.unwrap();
    // GIVEN a budget that takes one batch
    let budget = Arc::new(Semaphore::new(1));
    let mut deliveries = Vec::new();
    for t in 1..=20 {
        let hold = timeout(PATIENCE, Arc::clone(&budget).acquire_owned()).await;
        let hold = Some(hold.expect("the hold comes back before the commit").unwrap());
        let batch = in_the_middle(Batch::default().keyed(&route, t, "a", Some("x")));
        deliveries.push(opened.sink.send(RecordBatch { hold, ..batch }));
    }
    // THEN nobody sees a part of it
    drop(timeout(PATIENCE, budget.acquire()).await.expect("all of it is stored").unwrap());
    assert_eq!(read(servers, "whole.shop.orders").await, []);
    assert!(deliveries[0].try_recv().is_err(), "delivered means committed");
    // and WHEN it ends, all of it is there, and the checkpoint with it
    deliveries.push(opened.sink.send(Batch::default().keyed(&route, 21, "a", Some("x")).finish()));
    for delivery in deliveries {
        delivered(delivery).await.unwrap();
    }
    assert_eq!(read(servers, "whole.shop.orders").await.len(), 21);
    assert_eq!(store(exactly_once(servers, "whole")).peek().await.unwrap(), Some(checkpoint(21)));
}

#[tokio::test]
async fn nothing_of_a_transaction_remains_in_which_a_record_was_refused() {
    let servers = broker().await;
    let mut opened = open(exactly_once(servers, "refused")).await;
    let route = opened.router.route(ns("shop.orders")).await.unwrap();
    delivered(opened.sink.send(Batch::default().keyed(&route, 1, "a", Some("1")).finish())).await.unwrap();
    let before = opened.sink.send(in_the_middle(Batch::default().keyed(&route, 2, "a", Some("2"))));
    // As if the limit had been lowered meanwhile.
    let large = "x".repeat(2_000_000);
    let refused = opened.sink.send(Batch::default().keyed(&route, 3, "a", Some(&large)).finish());
    let behind = opened.sink.send(Batch::default().keyed(&route, 4, "a", Some("4")).finish());
    for delivery in [before, refused, behind] {
        let error = delivered(delivery).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SinkUnavailable, "the limit is asked for again: {error}");
        assert!(error.to_string().contains(&at(3).to_string()), "{error}");
    }
    let times = |seen: Vec<Seen>| seen.iter().map(|seen| seen.at.unwrap().t).collect::<Vec<_>>();
    assert_eq!(times(read(servers, "refused.shop.orders").await), [1]);
    // It holds nobody up: the next one goes on where the checkpoint says.
    let mut store = store(exactly_once(servers, "refused"));
    assert_eq!(store.take().await.unwrap(), Some(checkpoint(1)));
    let mut opened = open(exactly_once(servers, "refused")).await;
    delivered(opened.sink.send(Batch::default().keyed(&route, 2, "a", Some("2")).finish())).await.unwrap();
    assert_eq!(times(read(servers, "refused.shop.orders").await), [1, 2]);
}

#[tokio::test]
async fn whoever_opens_the_sink_later_ends_the_earlier_one_and_what_it_had_begun() {
    let servers = broker().await;
    let mut first = open(exactly_once(servers, "later")).await;
    let route = first.router.route(ns("shop.orders")).await.unwrap();
    delivered(first.sink.send(Batch::default().keyed(&route, 1, "a", Some("1")).finish())).await.unwrap();
    let begun = first.sink.send(in_the_middle(Batch::default().keyed(&route, 2, "a", Some("2"))));

    let mut second = open(exactly_once(servers, "later")).await;
    delivered(second.sink.send(Batch::default().keyed(&route, 5, "a", Some("5")).finish())).await.unwrap();
    let late = first.sink.send(Batch::default().keyed(&route, 3, "a", Some("3")).finish());
    for delivery in [begun, late] {
        let error = delivered(delivery).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
        assert!(error.to_string().contains("claimed by another instance"), "{error}");
    }
    delivered(second.sink.send(Batch::default().keyed(&route, 6, "a", Some("6")).finish())).await.unwrap();
    let times: Vec<u32> =
        read(servers, "later.shop.orders").await.iter().map(|seen| seen.at.unwrap().t).collect();
    assert_eq!(times, [1, 5, 6]);
    assert_eq!(store(exactly_once(servers, "later")).peek().await.unwrap(), Some(checkpoint(6)));
}
