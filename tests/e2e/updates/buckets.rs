//! The buckets of a time-series collection: measurements go into a bucket as diffs of its columns, which the server makes itself.

use futures::TryStreamExt as _;
use mongo_observer::servers::MongoVersion;
use mongodb::bson::{DateTime, Document, RawDocumentBuf, doc};

use super::server::Server;
use super::{Images, again_changes_nothing, history, older_changes_converge, replayed};

async fn buckets_follow_from_their_deltas(version: MongoVersion) {
    // GIVEN measurements, which fill some buckets
    let mut server = Server::start(version, 3).await;
    let options = doc! { "create": "weather", "timeseries": { "timeField": "at", "metaField": "place" } };
    server.db.run_command(options).await.unwrap();
    let (weather, buckets) =
        (server.db.collection("weather"), server.db.collection("system.buckets.weather"));
    let mut images = Images::new();
    for number in 0..200 {
        let mut measurement = doc! { "at": DateTime::from_millis(number * 1000), "place": number % 3 };
        let more =
            server.generator.document().into_iter().filter(|(name, _)| !measurement.contains_key(name));
        measurement.extend(more.take(4).collect::<Document>());
        let _ = weather.insert_one(measurement).await;
        let found: Vec<RawDocumentBuf> = buckets.find(doc! {}).await.unwrap().try_collect().await.unwrap();
        for bucket in found {
            let id = bucket.get_object_id("_id").unwrap().bytes().to_vec();
            let images = images.entry(id).or_default();
            images.extend(Some(bucket.into_bytes()).filter(|bucket| images.last() != Some(bucket)));
        }
    }
    // WHEN the oplog's changes are applied THEN they give the buckets
    let chunks = server.oplog().await;
    let history = history(&chunks, "shop.system.buckets.weather");
    let states = replayed(&history, &images);
    again_changes_nothing(&history, &states);
    older_changes_converge(&history, &states, &mut server.generator);
    assert!(history.values().map(Vec::len).sum::<usize>() > 100);
}

#[tokio::test]
async fn buckets_of_5_0_follow_from_their_deltas() {
    buckets_follow_from_their_deltas(MongoVersion::V5_0).await;
}

#[tokio::test]
async fn buckets_of_6_0_follow_from_their_deltas() {
    buckets_follow_from_their_deltas(MongoVersion::V6_0_27).await;
}
