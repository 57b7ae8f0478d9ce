//! Metrics of a sink's client: what it tells of the brokers that it talks to.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Registry};

use super::{opts, register};
use crate::pipeline::{BrokerStatistics, ClientStatistics};

/// The families that have the labels `sink` and, for what concerns a broker, `broker`: its number in the cluster.
#[derive(Clone, Debug)]
pub(super) struct ClientFamilies {
    queued: IntGaugeVec,
    queued_bytes: IntGaugeVec,
    sent: IntCounterVec,
    sent_bytes: IntCounterVec,
    broker_up: IntGaugeVec,
    round_trip: GaugeVec,
    throttled: GaugeVec,
    errors: IntCounterVec,
    retries: IntCounterVec,
    timeouts: IntCounterVec,
}

impl ClientFamilies {
    pub(super) fn registered(registry: &Registry) -> Self {
        let name = |name: &str| format!("kafka_{name}");
        let (sink, broker) = (&["sink"][..], &["sink", "broker"][..]);
        let counter = |which: &str, help: &str, labels: &[&str]| {
            register(registry, IntCounterVec::new(opts(&name(which), help), labels))
        };
        let count = |which: &str, help: &str, labels: &[&str]| {
            register(registry, IntGaugeVec::new(opts(&name(which), help), labels))
        };
        let seconds =
            |which: &str, help: &str| register(registry, GaugeVec::new(opts(&name(which), help), broker));
        Self {
            queued: count("queued_messages", "Messages that the client holds.", sink),
            queued_bytes: count("queued_bytes", "Bytes of messages that the client holds.", sink),
            sent: counter("messages_sent_total", "Messages sent to brokers, retries included.", sink),
            sent_bytes: counter("message_bytes_sent_total", "Bytes of messages sent to brokers.", sink),
            broker_up: count("broker_up", "1 while the connection to the broker is usable.", broker),
            round_trip: seconds("broker_round_trip_seconds", "99 of 100 requests were answered as fast."),
            throttled: seconds("broker_throttle_seconds", "How long the broker's quotas held requests up."),
            errors: counter("request_errors_total", "Requests that failed.", broker),
            retries: counter("request_retries_total", "Requests sent again.", broker),
            timeouts: counter("request_timeouts_total", "Requests that were not answered in time.", broker),
        }
    }
}

/// What one pipeline's clients tell, one client after the other.
#[derive(Debug)]
pub(super) struct ClientMetrics {
    families: ClientFamilies,
    sink: String,
    last: Mutex<Last>,
}

/// What was told last: a client counts from its own beginning.
#[derive(Debug, Default)]
struct Last {
    client: String,
    sent: (u64, u64),
    brokers: HashMap<i32, BrokerStatistics>,
}

impl ClientMetrics {
    pub(super) fn new(families: &ClientFamilies, sink: &str) -> Self {
        Self { families: families.clone(), sink: sink.to_owned(), last: Mutex::default() }
    }

    pub(super) fn tell(&self, told: &ClientStatistics) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.client != told.client {
            self.forget(&mut last);
            last.client.clone_from(&told.client);
        }
        let (families, sink) = (&self.families, &[self.sink.as_str()]);
        families.queued.with_label_values(sink).set(signed(told.queued));
        families.queued_bytes.with_label_values(sink).set(signed(told.queued_bytes));
        families.sent.with_label_values(sink).inc_by(told.sent.saturating_sub(last.sent.0));
        families.sent_bytes.with_label_values(sink).inc_by(told.sent_bytes.saturating_sub(last.sent.1));
        last.sent = (told.sent, told.sent_bytes);
        let before = std::mem::take(&mut last.brokers);
        for broker in &told.brokers {
            self.broker(broker, before.get(&broker.id));
            last.brokers.insert(broker.id, broker.clone());
        }
        for gone in before.keys().filter(|id| !last.brokers.contains_key(id)) {
            self.remove(*gone);
        }
    }

    fn broker(&self, broker: &BrokerStatistics, before: Option<&BrokerStatistics>) {
        let (families, id) = (&self.families, broker.id.to_string());
        let labels = &[self.sink.as_str(), id.as_str()];
        families.broker_up.with_label_values(labels).set(broker.is_up.into());
        families.throttled.with_label_values(labels).set(broker.throttled_seconds);
        if let Some(seconds) = broker.round_trip_seconds {
            families.round_trip.with_label_values(labels).set(seconds);
        }
        let counted = |family: &IntCounterVec, of: fn(&BrokerStatistics) -> u64| {
            family.with_label_values(labels).inc_by(of(broker).saturating_sub(before.map_or(0, of)));
        };
        counted(&families.errors, |broker| broker.errors);
        counted(&families.retries, |broker| broker.retries);
        counted(&families.timeouts, |broker| broker.timeouts);
    }

    /// The client is closed: what it held is gone, and nobody knows of its brokers.
    pub(super) fn closed(&self) {
        self.forget(&mut self.last.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn forget(&self, last: &mut Last) {
        if last.client.is_empty() {
            return;
        }
        for id in last.brokers.keys() {
            self.remove(*id);
        }
        let sink = &[self.sink.as_str()];
        self.families.queued.with_label_values(sink).set(0);
        self.families.queued_bytes.with_label_values(sink).set(0);
        *last = Last::default();
    }

    /// Of a broker that nobody talks to any more only the counters are left.
    fn remove(&self, id: i32) {
        let id = id.to_string();
        let labels = &[self.sink.as_str(), id.as_str()];
        self.families.broker_up.with_label_values(labels).set(0);
        // What was never set can't be removed.
        let _ = self.families.round_trip.remove_label_values(labels);
        let _ = self.families.throttled.remove_label_values(labels);
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use crate::metrics::Metrics;
    use crate::pipeline::{BrokerStatistics, ClientMonitor as _, ClientStatistics};

    fn told(client: &str, sent: u64, brokers: &[(i32, bool, u64)]) -> ClientStatistics {
        let brokers = brokers.iter().map(|(id, is_up, timeouts)| BrokerStatistics {
            id: *id,
            is_up: *is_up,
            round_trip_seconds: Some(0.5),
            throttled_seconds: 0.0,
            errors: 0,
            retries: 0,
            timeouts: *timeouts,
        });
        let brokers = brokers.collect();
        ClientStatistics {
            client: client.to_owned(),
            queued: 3,
            queued_bytes: 30,
            sent,
            sent_bytes: 10 * sent,
            brokers,
        }
    }

    #[track_caller]
    fn expect(metrics: &Metrics, present: &[&str], absent: &[&str]) {
        let text = metrics.render();
        let has = |line: &str| text.lines().any(|found| found == format!("mongo_observer_kafka_{line}"));
        for line in present {
            assert!(has(line), "{line}\n{text}");
        }
        for beginning in absent {
            assert!(!text.contains(&format!("mongo_observer_kafka_{beginning}")), "{beginning}\n{text}");
        }
    }

    #[test]
    fn counters_go_on_over_clients_and_gauges_do_not() {
        let metrics = Metrics::new();
        let pipeline = metrics.pipeline("k", 1);
        expect(&metrics, &[], &["broker_up", "messages_sent_total"]);
        pipeline.client(&told("a#1", 10, &[(1, true, 2), (2, false, 0)]));
        pipeline.client(&told("a#1", 15, &[(1, true, 3), (2, true, 0)]));
        expect(
            &metrics,
            &[
                r#"messages_sent_total{sink="k"} 15"#,
                r#"message_bytes_sent_total{sink="k"} 150"#,
                r#"queued_bytes{sink="k"} 30"#,
                r#"request_timeouts_total{broker="1",sink="k"} 3"#,
                r#"broker_up{broker="2",sink="k"} 1"#,
                r#"broker_round_trip_seconds{broker="2",sink="k"} 0.5"#,
            ],
            &[],
        );
        // The next attempt's client begins at zero; its cluster has lost a broker.
        pipeline.up(false);
        expect(
            &metrics,
            &[r#"queued_messages{sink="k"} 0"#, r#"broker_up{broker="1",sink="k"} 0"#],
            &["broker_round"],
        );
        pipeline.client(&told("a#2", 20, &[(1, true, 1)]));
        expect(
            &metrics,
            &[
                r#"messages_sent_total{sink="k"} 35"#,
                r#"request_timeouts_total{broker="1",sink="k"} 4"#,
                r#"broker_up{broker="1",sink="k"} 1"#,
                r#"broker_up{broker="2",sink="k"} 0"#,
            ],
            &[r#"broker_round_trip_seconds{broker="2""#],
        );
    }
}
