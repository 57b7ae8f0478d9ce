//! What librdkafka tells of itself now and then, as metrics have it.

use std::collections::HashMap;

use serde::Deserialize;

use crate::pipeline::{BrokerStatistics, ClientStatistics};

/// How often it tells: often enough for a scraper, rarely enough to cost nothing.
pub(super) const INTERVAL_MS: &str = "5000";

/// The part of librdkafka's JSON that is looked at.
#[derive(Deserialize)]
struct Statistics {
    name: String,
    #[serde(default)]
    msg_cnt: u64,
    #[serde(default)]
    msg_size: u64,
    #[serde(default)]
    txmsgs: u64,
    #[serde(default)]
    txmsg_bytes: u64,
    #[serde(default)]
    brokers: HashMap<String, Broker>,
}

#[derive(Deserialize)]
struct Broker {
    nodeid: i32,
    state: String,
    #[serde(default)]
    txerrs: u64,
    #[serde(default)]
    txretries: u64,
    #[serde(default)]
    req_timeouts: u64,
    #[serde(default)]
    rtt: Window,
    #[serde(default)]
    throttle: Window,
}

/// What was measured since the last time; microseconds, of throttling milliseconds.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Window {
    avg: i64,
    p99: i64,
    cnt: i64,
}

/// Reads it; none if it is no such thing.
pub(super) fn read(json: &[u8]) -> Option<ClientStatistics> {
    let found: Statistics = serde_json::from_slice(json).ok()?;
    // Those that are not known yet, and the coordinators' second names, have no number.
    let mut brokers: Vec<_> =
        found.brokers.values().filter(|broker| broker.nodeid >= 0).map(statistics).collect();
    brokers.sort_by_key(|broker| broker.id);
    Some(ClientStatistics {
        client: found.name,
        queued: found.msg_cnt,
        queued_bytes: found.msg_size,
        sent: found.txmsgs,
        sent_bytes: found.txmsg_bytes,
        brokers,
    })
}

fn statistics(broker: &Broker) -> BrokerStatistics {
    BrokerStatistics {
        id: broker.nodeid,
        is_up: broker.state == "UP",
        round_trip_seconds: (broker.rtt.cnt > 0).then(|| seconds(broker.rtt.p99, 1e6)),
        throttled_seconds: seconds(broker.throttle.avg, 1e3),
        errors: broker.txerrs,
        retries: broker.txretries,
        timeouts: broker.req_timeouts,
    }
}

#[expect(clippy::cast_precision_loss, reason = "some microseconds of many hours")]
fn seconds(value: i64, per_second: f64) -> f64 {
    value.max(0) as f64 / per_second
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_is_read_and_anything_else_passed_over() {
        let json = br#"{"name":"x#producer-1","type":"producer","msg_cnt":3,"msg_size":700,"txmsgs":40,"txmsg_bytes":9000,
            "brokers":{
              "b:9092/2":{"name":"b:9092/2","nodeid":2,"state":"UP","txerrs":1,"txretries":2,"req_timeouts":3,
                "rtt":{"min":1,"avg":900,"p99":2500,"cnt":8},"throttle":{"avg":20,"cnt":1}},
              "a:9092/1":{"nodeid":1,"state":"CONNECT","rtt":{"p99":0,"cnt":0}},
              "a:9092/bootstrap":{"nodeid":-1,"state":"UP"}},
            "topics":{"t":{"partitions":{"0":{"partition":0}}}}}"#;
        let found = read(json).unwrap();
        assert_eq!((found.queued, found.queued_bytes, found.sent, found.sent_bytes), (3, 700, 40, 9000));
        let [one, two] = &found.brokers[..] else { panic!("{found:?}") };
        assert_eq!((one.id, one.is_up, one.round_trip_seconds), (1, false, None));
        assert_eq!((two.id, two.is_up, two.round_trip_seconds), (2, true, Some(0.0025)));
        assert_eq!((two.errors, two.retries, two.timeouts), (1, 2, 3));
        assert!((two.throttled_seconds - 0.02).abs() < 1e-9);
        assert!(read(b"{}").is_none() && read(b"").is_none());
    }
}
