//! The stream as the checkpoint.

use super::*;

#[tokio::test]
async fn the_operator_sees_sets_and_clears_the_position() {
    let server = start().await;
    let sink = sink(settings(&server));
    let OwnStore::Tail(mut store) = sink.own_store("test").unwrap() else { panic!("not the tail") };
    assert_eq!(store.peek().await.unwrap(), None);
    let mut opened = open(&sink).await;
    deliver(&mut opened, batch(1..=3, 1)).await.unwrap();
    assert_eq!(store.take().await.unwrap(), Some(Stored::Checkpoint(checkpoint(3))));

    store.save(&Stored::Checkpoint(checkpoint(2))).await.unwrap();
    assert_eq!(store.peek().await.unwrap(), Some(Stored::Checkpoint(checkpoint(2))));
    // The connector that runs meanwhile sees it.
    assert_eq!(deliver(&mut opened, batch([4], 1)).await, Err(ErrorKind::SinkUnavailable));
    let mut opened = open(&sink).await;
    assert_eq!(opened.tail, SinkTail::At(checkpoint(2)));
    deliver(&mut opened, batch([3], 1)).await.unwrap();

    store.save(&Stored::Cleared).await.unwrap();
    assert_eq!(store.peek().await.unwrap(), Some(Stored::Cleared));
    let mut opened = open(&sink).await;
    assert_eq!(opened.tail, SinkTail::Cleared);
    deliver(&mut opened, batch([9], 1)).await.unwrap();
    assert_eq!(open(&sink).await.tail, SinkTail::At(checkpoint(9)));
    let last = spy(&server).await.get_stream("MONGO").await.unwrap();
    let marker = last.get_last_raw_message_by_subject("mongo._watermark").await.unwrap();
    assert_eq!(marker.payload, r#"{"op":"watermark","position":null}"#);
}

#[tokio::test]
async fn deleted_messages_leave_the_position_before_them() {
    let server = start().await;
    let sink = sink(settings(&server));
    let mut opened = open(&sink).await;
    deliver(&mut opened, batch(1..=500, 10)).await.unwrap();
    let stream = spy(&server).await.get_stream("MONGO").await.unwrap();
    for sequence in 100..=500 {
        stream.delete_message(sequence).await.unwrap();
    }
    let mut opened = open(&sink).await;
    assert_eq!(opened.tail, SinkTail::At(checkpoint(99)));
    deliver(&mut opened, batch(100..=110, 10)).await.unwrap();
    assert_eq!(stored(&server).await, (1..=110).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stream_emptied_while_we_write_is_continued() {
    let server = start().await;
    let writer = sink(settings(&server));
    let mut opened = open(&writer).await;
    deliver(&mut opened, batch(1..=10, 10)).await.unwrap();
    spy(&server).await.get_stream("MONGO").await.unwrap().purge().await.unwrap();
    // Numbers never fall, so the chain goes on.
    deliver(&mut opened, batch([11], 10)).await.unwrap();
    spy(&server).await.get_stream("MONGO").await.unwrap().purge().await.unwrap();
    // Who was not there can't know where it was left.
    let late = sink(settings(&server));
    let (kind, words) = refused(&late).await;
    assert_eq!(kind, ErrorKind::PositionLost);
    assert!(words.contains("has held 11 messages and holds none any more"), "{words}");
    let known = Stored::Checkpoint(checkpoint(7));
    assert_eq!(late.open(Some(&known)).await.unwrap().tail, SinkTail::Empty);
    let mut opened = open(&writer).await;
    assert_eq!(opened.tail, SinkTail::At(checkpoint(11)));
    deliver(&mut opened, batch([12], 10)).await.unwrap();

    spy(&server).await.delete_stream("MONGO").await.unwrap();
    assert_eq!(deliver(&mut opened, batch([13], 10)).await, Err(ErrorKind::SinkUnavailable));
    let mut opened = open(&writer).await;
    assert_eq!(opened.tail, SinkTail::At(checkpoint(12)));
    deliver(&mut opened, batch([13], 10)).await.unwrap();
    assert_eq!(stored(&server).await, [13]);
}

/// Takes the last message away, as a server does that crashes before it has written it.
async fn lose_last_message(server: &Server) {
    let stream = spy(server).await.get_stream("MONGO").await.unwrap();
    assert!(stream.delete_message(stream.cached_info().state.last_sequence).await.unwrap());
}

#[tokio::test]
async fn an_event_of_which_a_message_is_missing_comes_again() {
    let server = start().await;
    for numbers in [[1, 2, 2].as_slice(), &[2, 3, 4, 4, 4]] {
        // WHEN the stream ends before the last message of an event
        let mut opened = open(&sink(settings(&server))).await;
        deliver(&mut opened, batch(numbers.iter().copied(), 1)).await.unwrap();
        lose_last_message(&server).await;
        // THEN that event is not done
        let last = *numbers.last().unwrap();
        assert_eq!(open(&sink(settings(&server))).await.tail, SinkTail::At(checkpoint(last - 1)));
    }
    // and the event before may be of another batch, or another chain
    let mut opened = open(&sink(settings(&server))).await;
    deliver(&mut opened, batch([4, 4], 1)).await.unwrap();
    deliver(&mut opened, batch([5, 5], 1)).await.unwrap();
    lose_last_message(&server).await;
    let mut opened = open(&sink(settings(&server))).await;
    assert_eq!(opened.tail, SinkTail::At(checkpoint(4)));
    deliver(&mut opened, batch([5, 5], 1)).await.unwrap();
    lose_last_message(&server).await;
    assert_eq!(open(&sink(settings(&server))).await.tail, SinkTail::At(checkpoint(4)));
}

#[tokio::test]
async fn a_stream_that_ends_in_the_middle_of_its_first_event_says_of_which() {
    let server = start().await;
    let mut opened = open(&sink(settings(&server))).await;
    deliver(&mut opened, batch([2, 2], 1)).await.unwrap();
    lose_last_message(&server).await;
    let sink = sink(settings(&server));
    assert_eq!(open(&sink).await.tail, SinkTail::Within(checkpoint(2)));
    assert!(sink.check().await.unwrap().ends_with(&format!("the last a part of the event at {}", at(2))));
    let OwnStore::Tail(mut store) = sink.own_store("test").unwrap() else { panic!("not the tail") };
    store.save(&Stored::Checkpoint(checkpoint(1))).await.unwrap();
    assert_eq!(open(&sink).await.tail, SinkTail::At(checkpoint(1)));
}
