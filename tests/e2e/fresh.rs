//! Topics that are being made while their first records arrive.

use mongodb::bson::{Document, doc};

use super::harness::{
    History, Installation, client, kafka, kafka_sink, majority_point, mongo, read_kafka, source,
};

/// So many, because the broker needs some milliseconds to begin each partition, and records have to arrive in these.
const COLLECTIONS: u32 = 40;
const DOCUMENTS: u32 = 40;

#[tokio::test]
async fn the_first_records_of_a_new_topic_are_not_lost_while_its_partitions_begin() {
    // GIVEN a connector that makes topics
    let (mongo, kafka, db) = (mongo().await, kafka().await, "fresh");
    let client = client(mongo).await;
    let start = majority_point(&client).await;
    let installation = Installation::new(&(source(mongo, db) + &kafka_sink(kafka, db, 6)));
    let connector = installation.run().await;
    // WHEN documents arrive one after the other in one new collection after the other
    for number in 0..COLLECTIONS {
        let collection = client.database(db).collection::<Document>(&format!("c{number}"));
        for id in 0..DOCUMENTS {
            collection.insert_one(doc! { "_id": id }).await.unwrap();
        }
    }
    // THEN all of them are there
    let history = History::read(&client, start, db).await;
    connector.done(0, history.end()).await;
    read_kafka(kafka.bootstrap(), db).await.assert_complete(&history);
}
