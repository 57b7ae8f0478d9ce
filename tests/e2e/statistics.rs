//! What Kafka's client says of itself arrives among the metrics.

use super::harness::{Installation, eventually, kafka, kafka_sink, mongo, source};

#[tokio::test]
async fn the_brokers_are_among_the_metrics() {
    let sink = kafka_sink(kafka().await, "statistics", 1) + "librdkafka.statistics.interval.ms = 100\n";
    let installation = Installation::new(&(source(mongo().await, "statistics") + &sink));
    let connector = installation.run().await;
    let families = [
        r#"broker_up{broker="1",sink="kafka"} 1"#,
        r#"broker_round_trip_seconds{broker="1",sink="kafka"} "#,
        r#"request_timeouts_total{broker="1",sink="kafka"} 0"#,
        r#"queued_bytes{sink="kafka"} "#,
    ];
    eventually("the brokers are among the metrics", async || {
        let metrics = connector.get("/metrics").await?;
        let is_there = |family: &&str| {
            metrics.lines().any(|line| line.starts_with(&format!("mongo_observer_kafka_{family}")))
        };
        families.iter().all(is_there).then_some(())
    })
    .await;
}
