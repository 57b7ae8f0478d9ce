//! Records in order, and what a batch gives back.

use super::*;

#[tokio::test]
async fn records_arrive_in_order_and_the_tail_tells_where_to_go_on() {
    let server = start().await;
    let sink = sink(settings(&server));
    let mut opened = open(&sink).await;
    assert_eq!(opened.tail, SinkTail::Empty);

    let deliveries: Vec<_> =
        (0..40).map(|round| opened.sink.send(batch(round * 50 + 1..=round * 50 + 50, 200))).collect();
    for delivery in deliveries {
        delivery.await.unwrap().unwrap();
    }
    assert_eq!(stored(&server).await, (1..=2000).collect::<Vec<_>>());

    drop(opened);
    let mut opened = open(&sink).await;
    assert_eq!(opened.tail, SinkTail::At(checkpoint(2000)));
    deliver(&mut opened, batch([2001], 1)).await.unwrap();
    assert_eq!(stored(&server).await.len(), 2001);
    let line = sink.check().await.unwrap();
    assert!(line.contains("holds 2001 messages, the last at 1700000000-0000002001-0000000000"), "{line}");
}

#[tokio::test]
async fn a_batch_larger_than_the_window_passes_and_gives_its_budget_back() {
    let server = start().await;
    let mut opened = open(&sink(settings(&server))).await;
    let budget = Arc::new(Semaphore::new(3));
    let hold = || Some(Arc::clone(&budget).try_acquire_owned().unwrap());

    let large = opened.sink.send(RecordBatch { hold: hold(), ..batch(1..=20_000, 20) });
    let empty = opened.sink.send(RecordBatch { hold: hold(), ..batch([], 0) });
    let small = opened.sink.send(RecordBatch { hold: hold(), ..batch([20_001], 20) });
    assert_eq!(budget.available_permits(), 0);
    small.await.unwrap().unwrap();
    // Deliveries resolve in order: the others have.
    large.now_or_never().expect("before the last").unwrap().unwrap();
    empty.now_or_never().expect("before the last").unwrap().unwrap();
    assert_eq!(budget.available_permits(), 3);
    assert_eq!(stored(&server).await, (1..=20_001).collect::<Vec<_>>());

    deliver(&mut opened, batch([], 0)).await.unwrap();
}
