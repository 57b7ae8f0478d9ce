//! What becomes of records that are sent.

use std::sync::Arc;

use mongo_observer::event::Namespace;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::*;

#[tokio::test]
async fn records_arrive_in_order_where_the_java_client_would_put_them() {
    let servers = broker().await;
    let mut opened = open(settings(servers, "order")).await;
    let route = opened.router.route(ns("shop.orders")).await.unwrap();
    assert_eq!((route.name.as_str(), partition_count(&route)), ("order.shop.orders", 3));

    let keys = ["21", "foobar", "a-little-bit-long-string"];
    // The hashes that Kafka's own tests state: -973932308, -790332482, -985981536.
    let expected = [-973_932_308_i32, -790_332_482, -985_981_536].map(|hash| (hash & 0x7fff_ffff) % 3);
    let mut deliveries = Vec::new();
    for t in 1..=300 {
        let batch = keys.iter().fold(Batch::default(), |batch, key| {
            let value = t.to_string();
            batch.keyed(&route, t, key, (t != 300).then_some(&value))
        });
        deliveries.push(opened.sink.send(batch.finish()));
    }
    for delivery in deliveries {
        delivered(delivery).await.unwrap();
    }

    let seen = read(servers, "order.shop.orders").await;
    for (key, partition) in keys.iter().zip(expected) {
        let of_key: Vec<&Seen> = seen.iter().filter(|seen| seen.key == *key).collect();
        assert_eq!(of_key.len(), 300);
        for (seen, t) in of_key.iter().zip(1..) {
            let value = (t != 300).then(|| t.to_string());
            assert_eq!((seen.partition, seen.at, &seen.value), (partition, Some(at(t)), &value), "{key}");
        }
    }
}

#[tokio::test]
async fn commands_reach_every_partition_and_watermarks_only_topics_that_need_one() {
    let servers = broker().await;
    let mut opened = open(settings(servers, "every")).await;
    let route = opened.router.route(ns("shop.orders")).await.unwrap();
    let commands = opened.router.route(Namespace { db: "shop", coll: "" }).await.unwrap();
    assert_eq!(commands.name, "every._commands");
    assert!(opened.router.watermark_routes().is_empty());

    let batch = Batch::default().keyed(&route, 1, "a", Some("1")).add(&commands, None, 2, "c", Some("2"));
    delivered(opened.sink.send(batch.finish())).await.unwrap();
    let routes = opened.router.watermark_routes();
    assert_eq!(routes.iter().map(|route| route.name.as_str()).collect::<Vec<_>>(), ["every.shop.orders"]);
    let watermark = Batch::default().add(&routes[0], None, 3, "w", Some("3"));
    delivered(opened.sink.send(watermark.finish())).await.unwrap();
    assert!(opened.router.watermark_routes().is_empty());

    for (topic, key) in [("every._commands", "c"), ("every.shop.orders", "w")] {
        let seen = read(servers, topic).await;
        let partitions: Vec<i32> =
            seen.iter().filter(|seen| seen.key == key).map(|seen| seen.partition).collect();
        assert_eq!(partitions, [0, 1, 2], "{topic}");
    }
}

#[tokio::test]
async fn an_empty_batch_is_done_at_once_and_the_budget_comes_back_with_the_last_report() {
    let servers = broker().await;
    let mut opened = open(settings(servers, "budget")).await;
    delivered(opened.sink.send(Batch::default().finish())).await.unwrap();

    let route = opened.router.route(ns("a.b")).await.unwrap();
    let budget = Arc::new(Semaphore::new(1));
    let mut batch = Batch::default().keyed(&route, 1, "a", Some("1")).finish();
    batch.hold = Some(Arc::clone(&budget).acquire_owned().await.unwrap());
    let delivery = opened.sink.send(batch);
    delivered(delivery).await.unwrap();
    drop(timeout(PATIENCE, budget.acquire()).await.expect("the hold is released").unwrap());
}
