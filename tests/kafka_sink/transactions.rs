//! Exactly-once delivery: what is committed, and when.

use std::sync::Arc;

use mongo_observer::error::ErrorKind;
use mongo_observer::sink::kafka::DeliveryMode;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::*;

/// Commits wherever a MongoDB transaction ends.
pub(super) fn exactly_once(servers: &str, prefix: &str) -> Settings {
    let delivery = DeliveryMode::ExactlyOnce;
    Settings { delivery, transaction_interval_ms: 0, partitions: 1, ..settings(servers, prefix) }
}

/// Takes over as the connector does when it starts: the sink, and up to where everything is committed.
pub(super) async fn take_over(settings: Settings) -> (Opened, u32) {
    let kafka = kafka(settings);
    let OwnStore::Beside(mut store) = kafka.own_store("events").unwrap() else { panic!("no store") };
    let stored = store.take().await.unwrap();
    let upto = stored.as_ref().and_then(Stored::checkpoint).map_or(0, |checkpoint| checkpoint.at.t);
    (kafka.open(stored.as_ref()).await.unwrap(), upto)
}

/// Delivers one record after the other, from that one on, until one is refused. Which one, and why.
async fn write_until_refused(opened: &mut Opened, from: u32) -> (u32, Error) {
    let route = opened.router.route(ns("shop.orders")).await.unwrap();
    let all = async {
        for t in from.. {
            let batch = Batch::default().keyed(&route, t, "a", Some("x")).finish();
            if let Err(error) = delivered(opened.sink.send(batch)).await {
                return (t, error);
            }
        }
        unreachable!("there are enough numbers")
    };
    timeout(PATIENCE, all).await.expect("it is refused")
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
    assert_eq!(times(servers, "refused.shop.orders").await, [1]);
    // It holds nobody up: the next one goes on where the checkpoint says.
    let mut store = store(exactly_once(servers, "refused"));
    assert_eq!(store.take().await.unwrap(), Some(checkpoint(1)));
    let mut opened = open(exactly_once(servers, "refused")).await;
    delivered(opened.sink.send(Batch::default().keyed(&route, 2, "a", Some("2")).finish())).await.unwrap();
    assert_eq!(times(servers, "refused.shop.orders").await, [1, 2]);
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
    assert_eq!(times(servers, "later.shop.orders").await, [1, 5, 6]);
    assert_eq!(store(exactly_once(servers, "later")).peek().await.unwrap(), Some(checkpoint(6)));
}

#[tokio::test]
async fn whoever_takes_over_at_any_moment_goes_on_behind_what_was_delivered() {
    const ROUNDS: u32 = 20;
    let servers = broker().await;
    let settings = || exactly_once(servers, "moment");
    let (mut opened, mut upto) = take_over(settings()).await;
    for _ in 0..ROUNDS {
        // WHEN one commits record after record, and another one comes
        let writes = write_until_refused(&mut opened, upto + 1);
        let ((refused, error), (next, found)) = tokio::join!(writes, take_over(settings()));
        // THEN that one finds everything that was delivered, and perhaps what was committed and could not be told
        assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
        assert!(
            found == refused - 1 || found == refused,
            "{refused} was refused, up to {found} is committed"
        );
        (opened, upto) = (next, found);
    }
    let all: Vec<u32> = (1..=upto).collect();
    assert!(all.len() > ROUNDS as usize, "{upto} records are no load");
    assert_eq!(times(servers, "moment.shop.orders").await, all);
}

#[tokio::test]
async fn events_are_not_committed_without_their_checkpoint() {
    let servers = broker().await;
    let mut opened = open(exactly_once(servers, "together")).await;
    let limit = async |bytes: &str| {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", servers).create().unwrap();
        let topic = AlterConfig::new(ResourceSpecifier::Topic("together._checkpoints"))
            .set("cleanup.policy", "compact")
            .set("max.message.bytes", bytes);
        let altered = admin.alter_configs([&topic], &AdminOptions::new()).await.unwrap();
        assert!(altered.iter().all(Result::is_ok), "{altered:?}");
    };
    // WHEN the topic of the checkpoints takes none any more, as they are larger than the marks of transactions
    let ((), (refused, _)) = tokio::join!(limit("100"), write_until_refused(&mut opened, 1));
    // THEN what came with it is not there
    let before: Vec<u32> = (1..refused).collect();
    assert_eq!(times(servers, "together.shop.orders").await, before);
    limit("1000000").await;
    let (_, upto) = take_over(exactly_once(servers, "together")).await;
    assert_eq!(upto, refused - 1);
}

#[tokio::test]
async fn the_rest_of_a_split_transaction_is_marked_whoever_writes_it() {
    let servers = broker().await;
    let settings = || Settings { transaction_max_bytes: 10, ..exactly_once(servers, "marked") };
    // GIVEN a MongoDB transaction above the limit, of which one instance has written two parts
    let mut first = open(settings()).await;
    let route = first.router.route(ns("shop.orders")).await.unwrap();
    let part = |key| Batch::default().keyed(&route, 7, key, Some("a part of it"));
    for key in ["a", "b"] {
        delivered(first.sink.send(in_the_middle(part(key)))).await.unwrap();
    }
    // WHEN another one writes the rest, and something else behind it
    let (mut second, upto) = take_over(settings()).await;
    assert_eq!(upto, 7);
    delivered(second.sink.send(part("c").finish())).await.unwrap();
    delivered(second.sink.send(Batch::default().keyed(&route, 8, "d", Some("x")).finish())).await.unwrap();
    // THEN it is marked as the rest of that one
    let marks = |message: &BorrowedMessage<'_>| {
        let part = message.headers().unwrap().try_get(1).map(|part| text(part.value).unwrap());
        (text(message.key()).unwrap(), part)
    };
    let seen = read_with(servers, "marked.shop.orders", marks).await;
    let seen: Vec<_> = seen.iter().map(|(key, part)| (key.as_str(), part.as_deref())).collect();
    assert_eq!(seen, [("a", None), ("b", Some("1")), ("c", Some("2")), ("d", None)]);
}
