//! What the server records, and no longer has.

use std::collections::BTreeMap;

use mongo_observer::servers::{Mongo, MongoVersion};
use mongodb::bson::doc;
use serde_json::{Value, json};

use super::super::harness::{Installation, client, eventually, majority_point};
use super::{coll, config, create_recording, events};

const STORED: &str = "images.before = \"stored\"\nimages.after = \"stored\"\n";

/// How often each word stands there.
fn words(events: &[Value], field: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for event in events {
        let word = event.get(field).map_or("-", |word| word.as_str().unwrap());
        *counts.entry(word.to_owned()).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn what_has_expired_is_missing_and_counted() {
    // GIVEN images that the server has dropped again
    let often = "expiredChangeStreamPreImageRemovalJobSleepSecs=1";
    let mongo = Mongo::builder().version(MongoVersion::V6_0_27).param(often).start().await.unwrap();
    let client = client(&mongo).await;
    create_recording(&client, MongoVersion::V6_0_27, "a").await;
    let all = coll(&client, "a");
    let start = majority_point(&client).await;
    for id in 0..5 {
        all.insert_one(doc! { "_id": id, "n": 0 }).await.unwrap();
        all.update_one(doc! { "_id": id }, doc! { "$set": { "n": 1 } }).await.unwrap();
    }
    let expire = doc! { "setClusterParameter": { "changeStreamOptions": { "preAndPostImages": { "expireAfterSeconds": 1 } } } };
    client.database("admin").run_command(expire).await.unwrap();
    let records = client.database("config").collection::<mongodb::bson::Document>("system.preimages");
    eventually("the images have expired", async || {
        (records.count_documents(doc! {}).await.unwrap() == 0).then_some(())
    })
    .await;
    let never = doc! { "setClusterParameter": { "changeStreamOptions": { "preAndPostImages": { "expireAfterSeconds": "off" } } } };
    client.database("admin").run_command(never).await.unwrap();
    all.update_one(doc! { "_id": 1 }, doc! { "$set": { "n": 2 } }).await.unwrap();
    all.delete_one(doc! { "_id": 1 }).await.unwrap();
    // WHEN a connector reads them
    let installation = Installation::new(&config(&mongo, Some(start), STORED));
    let connector = installation.run().await;
    // THEN events come without the images that are gone, say so, and are counted
    let found = events(&connector, &installation, &client).await;
    let expected = |counts: &[(&str, usize)]| {
        counts.iter().map(|(word, count)| ((*word).to_owned(), *count)).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(words(&found, "beforeIs"), expected(&[("-", 5), ("exact", 2), ("notFound", 5)]));
    assert_eq!(words(&found, "afterIs"), expected(&[("-", 6), ("exact", 1), ("notFound", 5)]));
    let count = connector.metric("images_missing_total{reason=\"not_found\",sink=\"file\"}").await;
    assert!((count - 10.0).abs() < 0.1, "{count}");
    assert!(connector.metric("images_fetched_total{sink=\"file\"}").await > 1.0);
    let [.., update, delete] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(
        (&update["before"], &update["after"]),
        (&json!({ "_id": 1, "n": 1 }), &json!({ "_id": 1, "n": 2 }))
    );
    assert_eq!((&delete["before"], delete.get("after")), (&json!({ "_id": 1, "n": 2 }), None));
}

/// Every event has the state before it, which is that behind the last one.
async fn states_follow_one_another(version: MongoVersion, expected_of_others: &str) {
    let mongo = Mongo::builder().version(version).start().await.unwrap();
    let client = client(&mongo).await;
    create_recording(&client, version, "a").await;
    let installation = Installation::new(&config(&mongo, None, STORED));
    let connector = installation.run().await;
    // WHEN documents change in a collection that records and in one that does not
    for name in ["a", "other"] {
        let all = coll(&client, name);
        let list: Vec<i32> = (0..200).collect();
        all.insert_one(doc! { "_id": 1, "n": 0, "list": list }).await.unwrap();
        for n in 1..40 {
            let change = match n % 4 {
                0 => doc! { "$set": { "n": n, format!("list.{n}"): { "x": n } } },
                1 => doc! { "$unset": { "n": "" }, "$inc": { "m": 1 } },
                2 => doc! { "$push": { "list": n }, "$rename": { "m": "k" } },
                _ => doc! { "$set": { "o.p.q": n } },
            };
            all.update_one(doc! { "_id": 1 }, change).await.unwrap();
        }
        all.replace_one(doc! { "_id": 1 }, doc! { "r": 1 }).await.unwrap();
        all.delete_one(doc! { "_id": 1 }).await.unwrap();
    }
    // THEN each event goes on where the one before it ended
    let found = events(&connector, &installation, &client).await;
    let (of_a, of_others): (Vec<_>, Vec<_>) = found.into_iter().partition(|event| event["ns"]["coll"] == "a");
    let mut state = None;
    for event in &of_a {
        assert_eq!(event.get("before"), state.as_ref(), "{event}");
        assert!(state.is_none() || event["beforeIs"] == "exact");
        state = event.get("after").cloned();
    }
    assert_eq!((of_a.len(), state), (42, None));
    let words = words(&of_others, "beforeIs");
    assert_eq!((of_others.len(), words.get(expected_of_others)), (42, Some(&41)), "{words:?}");
}

#[tokio::test]
async fn states_follow_one_another_on_4_4() {
    states_follow_one_another(MongoVersion::V4_4, "notRecorded").await;
}

#[tokio::test]
async fn states_follow_one_another_on_5_0() {
    states_follow_one_another(MongoVersion::V5_0, "notRecorded").await;
}

#[tokio::test]
async fn states_follow_one_another_on_6_0() {
    states_follow_one_another(MongoVersion::V6_0_27, "notFound").await;
}
