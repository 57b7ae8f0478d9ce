//! Manifests: in the stream once, as long as it keeps them.

use async_nats::HeaderMap;

use super::*;

const ORDERS: Namespace<'static> = Namespace { db: "shop", coll: "orders" };
const SUBJECT: &str = "mongo._namespaces.shop.orders";

/// The record of that number behind a manifest that says `value`, which goes where the router says.
async fn announced(opened: &Opened, number: u32, value: &str) -> RecordBatch {
    let route = opened.router.route(ORDERS).await.unwrap();
    let place = opened.router.manifest(ORDERS, &route).await.unwrap().unwrap();
    assert_eq!((place.route.name.as_str(), place.compacted), (SUBJECT, Some(false)));
    let mut batch = batch([number, number], 1);
    let mut bytes = batch.bytes.to_vec();
    let mut append = |text: &str| {
        let start = u32::try_from(bytes.len()).unwrap();
        bytes.extend_from_slice(text.as_bytes());
        start..u32::try_from(bytes.len()).unwrap()
    };
    let record = &mut batch.records[0];
    record.to = To::Subject(append(&place.route.name));
    record.value = Some(append(value));
    record.route = place.route;
    record.is_manifest = true;
    batch.bytes = bytes.into();
    batch
}

async fn deliver_announced(opened: &mut Opened, number: u32, value: &str) {
    let batch = announced(opened, number, value).await;
    deliver(opened, batch).await.unwrap();
}

/// The manifests in the stream: their numbers, and what they say.
async fn told(server: &Server) -> Vec<(u64, String)> {
    let stream = spy(server).await.get_stream("MONGO").await.unwrap();
    let state = stream.cached_info().state.clone();
    let mut found = Vec::new();
    for number in state.first_sequence..=state.last_sequence {
        // Some were taken away.
        let Ok(message) = stream.get_raw_message(number).await else { continue };
        if message.subject.as_str() == SUBJECT {
            found.push((number, String::from_utf8(message.payload.to_vec()).unwrap()));
        }
    }
    found
}

#[tokio::test]
async fn what_the_stream_holds_is_not_written_again() {
    let server = start().await;
    let sink = sink(settings(&server));
    let mut opened = open(&sink).await;
    deliver_announced(&mut opened, 1, "{one}").await;
    deliver_announced(&mut opened, 2, "{one}").await;
    // Another chain asks the stream.
    let mut opened = open(&sink).await;
    deliver_announced(&mut opened, 3, "{one}").await;
    deliver_announced(&mut opened, 4, "{two}").await;
    let expected = [(1, "{one}".to_owned()), (5, "{two}".to_owned())];
    assert_eq!(told(&server).await, expected);
    let mut opened = open(&sink).await;
    deliver_announced(&mut opened, 5, "{two}").await;
    assert_eq!(told(&server).await, expected);
    assert_eq!(stored(&server).await, [1, 2, 3, 4, 5]);
    // What was there and is not any more is written.
    let stream = spy(&server).await.get_stream("MONGO").await.unwrap();
    stream.purge().filter(SUBJECT).await.unwrap();
    let mut opened = open(&sink).await;
    deliver_announced(&mut opened, 6, "{two}").await;
    let last = stream.get_last_raw_message_by_subject(SUBJECT).await.unwrap();
    assert_eq!((last.sequence, &*last.payload), (8, b"{two}".as_slice()));
}

#[tokio::test]
async fn a_manifest_is_written_again_before_the_stream_forgets_it() {
    const KEPT: i64 = 40;
    let server = start().await;
    let config = stream::Config {
        name: "MONGO".into(),
        subjects: vec!["mongo.>".into()],
        max_messages: KEPT,
        ..Default::default()
    };
    spy(&server).await.create_stream(config).await.unwrap();
    let sink = sink(settings(&server));
    let mut opened = open(&sink).await;
    for number in 1..=150 {
        if number % 50 == 0 {
            opened = open(&sink).await;
        }
        deliver_announced(&mut opened, number, "{one}").await;
        let told = told(&server).await;
        // There is always one, and not one with each event.
        assert!((1..=5).contains(&told.len()), "{number}: {told:?}");
    }
}

#[tokio::test]
async fn a_manifest_in_the_place_of_its_event_is_another_record() {
    let server = start().await;
    let sink = sink(settings(&server));
    let mut opened = open(&sink).await;
    deliver(&mut opened, batch([1], 1)).await.unwrap();
    // GIVEN a message that a chain given up before had under way: the event's manifest, which this chain does not write
    let mut headers = HeaderMap::new();
    for (name, number) in [(Header::NAME, 2), ("before", 1)] {
        let Checkpoint { at, term, source } = checkpoint(number);
        headers.insert(name, Header { at, term, source }.to_string().as_str());
    }
    let context = spy(&server).await;
    context.publish_with_headers(SUBJECT, headers, "{one}".into()).await.unwrap().await.unwrap();
    // WHEN it takes the event's number, and the events behind find the numbers that they expect
    assert_eq!(deliver(&mut opened, batch(2..=5, 1)).await, Err(ErrorKind::SinkUnavailable));
    // THEN they are taken away, and all of them come again
    let state = context.get_stream("MONGO").await.unwrap().cached_info().state.clone();
    assert_eq!((state.messages, state.last_sequence), (2, 5), "stored, and deleted");
    let mut opened = open(&sink).await;
    assert_eq!(opened.tail, SinkTail::At(checkpoint(1)));
    deliver_announced(&mut opened, 2, "{one}").await;
    deliver(&mut opened, batch(3..=5, 1)).await.unwrap();
    assert_eq!(stored(&server).await, [1, 2, 3, 4, 5]);
    assert_eq!(told(&server).await, [(2, "{one}".to_owned())]);
}
