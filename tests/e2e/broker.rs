//! The sink's server dies or stands still under load.

use std::time::{Duration, Instant};

use mongo_observer::servers::{Kafka, Nats};

use super::harness::{
    Connector, History, Installation, Lanes, Load, Workload, client, eventually, exactly_once_sink,
    kafka_sink, majority_point, mongo, nats_sink, read_kafka, read_nats, source,
};

/// A connector under load, and what it has to bring.
pub(super) struct Running {
    pub(super) db: &'static str,
    pub(super) connector: Connector,
    load: Load,
    pub(super) start: mongo_observer::event::Position,
    _installation: Installation,
}

impl Running {
    pub(super) async fn start(db: &'static str, sink: &str) -> Self {
        let mongo = mongo().await;
        let client = client(mongo).await;
        let start = majority_point(&client).await;
        let installation = Installation::new(&(source(mongo, db) + sink));
        let connector = installation.run().await;
        connector.anchored().await;
        let load = Workload::new(&client, db, 7).start(Duration::from_millis(2)).await;
        Self { db, connector, load, start, _installation: installation }
    }

    /// Waits until everything that was written so far is in the sink.
    pub(super) async fn caught_up(&self) {
        let client = client(mongo().await).await;
        self.connector.done(0, History::read(&client, self.start, self.db).await.end()).await;
    }

    /// Waits until the connector says that the sink is gone.
    pub(super) async fn missed(&self) {
        self.connector
            .until("it misses the sink", |report| report["pipelines"][0]["state"] == "retrying")
            .await;
    }

    /// Ends the load, lets everything arrive, and gives back what that must be.
    pub(super) async fn ended(self) -> History {
        let client = client(mongo().await).await;
        eventually("it is a load", async || {
            let so_far = History::read(&client, self.start, self.db).await;
            (so_far.operations.len() > 200).then_some(())
        })
        .await;
        self.load.stop().await;
        let history = History::read(&client, self.start, self.db).await;
        self.connector.done(0, history.end()).await;
        self.connector.kill().await;
        history
    }
}

#[tokio::test]
async fn a_kafka_broker_may_stand_still_die_and_come_back() {
    let kafka = Kafka::builder().heap_mb(384).start().await.unwrap();
    let sink = kafka_sink(&kafka, "broker", 3);
    disturbed(&kafka, "broker_kafka", &sink).await;
}

#[tokio::test]
async fn a_kafka_broker_that_stands_still_or_dies_gets_everything_once_in_transactions() {
    let kafka = Kafka::builder().heap_mb(384).start().await.unwrap();
    let sink = exactly_once_sink(kafka.bootstrap(), "broker", 3);
    assert_eq!(disturbed(&kafka, "broker_once", &sink).await.repeats(), 0);
}

#[tokio::test]
async fn a_transaction_that_the_broker_has_given_up_is_sent_again() {
    // GIVEN a broker that soon aborts what is not committed
    let soon = ("transaction.abort.timed.out.transaction.cleanup.interval.ms", "200");
    let kafka = Kafka::builder().heap_mb(384).property(soon.0, soon.1).start().await.unwrap();
    let sink = exactly_once_sink(kafka.bootstrap(), "broker", 1)
        + "transaction_interval_ms = 400\nlibrdkafka.\"transaction.timeout.ms\" = 1500\n";
    let running = Running::start("broker_late", &sink).await;
    running.caught_up().await;
    // WHEN the connector stands still in the middle of one, until the broker says that it is over
    let before = kafka.log(0).len();
    let aborted = || kafka.log(0)[before..].contains("due to timeout");
    eventually("the broker has aborted one", async || {
        running.connector.pause();
        let soon = Instant::now() + Duration::from_secs(4);
        while !aborted() && Instant::now() < soon {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        if aborted() {
            return Some(());
        }
        // It stood between two: on, into the middle of the next.
        running.connector.resume();
        tokio::time::sleep(Duration::from_millis(200)).await;
        None
    })
    .await;
    running.connector.resume();
    // THEN the connector knows that nobody has taken over, and goes on
    running.missed().await;
    running.caught_up().await;
    let history = running.ended().await;
    let lanes = read_kafka(kafka.bootstrap(), "broker").await;
    lanes.assert_complete(&history);
    assert_eq!(lanes.repeats(), 0);
}

/// What the broker holds in the end.
async fn disturbed(kafka: &Kafka, db: &'static str, sink: &str) -> Lanes {
    let running = Running::start(db, sink).await;
    running.caught_up().await;
    // WHEN the broker stands still for a while
    kafka.pause(0).unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    kafka.resume(0).unwrap();
    running.caught_up().await;
    // and WHEN it dies and comes back
    kafka.kill(0).await;
    kafka.restart(0).await.unwrap();
    running.caught_up().await;
    // THEN nothing is missing
    let history = running.ended().await;
    let lanes = read_kafka(kafka.bootstrap(), "broker").await;
    lanes.assert_complete(&history);
    lanes
}

#[tokio::test]
async fn a_nats_server_may_stand_still_die_and_come_back() {
    let nats = Nats::builder().start().await.unwrap();
    let running = Running::start("broker_nats", &nats_sink(&nats, "broker")).await;
    running.caught_up().await;
    // WHEN the server stands still until the connector misses it
    nats.pause(0).unwrap();
    running.missed().await;
    nats.resume(0).unwrap();
    running.caught_up().await;
    // and WHEN it dies and comes back
    nats.kill(0).await;
    running.missed().await;
    nats.restart(0).await.unwrap();
    running.caught_up().await;
    // THEN nothing is missing, and nothing is there twice
    let history = running.ended().await;
    let lanes: Lanes = read_nats(nats.url(), "broker").await;
    lanes.assert_complete(&history);
    assert_eq!(lanes.repeats(), 0);
}
