//! What the sink's client says of itself.

use std::sync::Mutex;

use mongo_observer::pipeline::{ClientMonitor, ClientStatistics};
use mongo_observer::sink::kafka::Property;
use tokio::sync::Notify;

use super::*;

/// Keeps what was told last.
#[derive(Debug, Default)]
struct Listener {
    told: Mutex<Option<ClientStatistics>>,
    news: Notify,
}

impl ClientMonitor for Listener {
    fn client(&self, statistics: &ClientStatistics) {
        *self.told.lock().unwrap() = Some(statistics.clone());
        self.news.notify_one();
    }
}

impl Listener {
    async fn until(&self, what: &str, reached: impl Fn(&ClientStatistics) -> bool) {
        let reached = async {
            while !self.told.lock().unwrap().as_ref().is_some_and(&reached) {
                self.news.notified().await;
            }
        };
        let waited = timeout(PATIENCE, reached).await;
        assert!(waited.is_ok(), "waited in vain until {what}: {:?}", self.told.lock().unwrap());
    }
}

#[tokio::test]
async fn a_client_tells_of_its_brokers_and_of_what_it_sends() {
    // GIVEN a sink whose client tells often
    let server = Server::builder().start().await.unwrap();
    let interval = [("statistics.interval.ms".to_owned(), Property::new(100))].into();
    let mut sink = kafka(Settings { librdkafka: interval, ..settings(server.bootstrap(), "told") });
    let listener = Arc::new(Listener::default());
    sink.watched_by(Arc::clone(&listener) as _);
    let mut opened = sink.open(Some(&Stored::Cleared)).await.unwrap();
    let route = opened.router.route(ns("shop.orders")).await.unwrap();
    // WHEN it sends THEN it tells what, to whom and how fast
    let batch = (1..=100).fold(Batch::default(), |batch, t| batch.keyed(&route, t, "a", Some("1")));
    delivered(opened.sink.send(batch.finish())).await.unwrap();
    listener
        .until("it has sent all", |told| {
            let broker = told.brokers.iter().find(|broker| broker.id == 1);
            told.sent == 100 && told.sent_bytes > 100 && broker.is_some_and(|broker| broker.is_up)
        })
        .await;
    listener
        .until("an answer took its time", |told| {
            told.brokers
                .iter()
                .any(|broker| broker.round_trip_seconds.is_some_and(|time| time > 0.0 && time < 10.0))
        })
        .await;
    // WHEN the broker dies THEN that is told, and what waits for it
    server.kill(0).await;
    let _waiting = opened.sink.send(Batch::default().keyed(&route, 101, "a", Some("1")).finish());
    listener
        .until("it misses the broker", |told| {
            told.queued == 1 && told.queued_bytes > 0 && told.brokers.iter().all(|broker| !broker.is_up)
        })
        .await;
}
