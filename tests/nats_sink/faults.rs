//! Servers that die, stand still or are not alone.

use super::*;

/// Sends until a delivery fails; returns the error of the oldest that failed.
async fn send_until_failure(opened: &mut Opened, from: u32, count: u32) -> Option<ErrorKind> {
    let numbers: Vec<u32> = (from..from + count).collect();
    let deliveries: Vec<_> =
        numbers.chunks(50).map(|chunk| opened.sink.send(batch(chunk.iter().copied(), 3000))).collect();
    for delivery in deliveries {
        if let Err(error) = delivery.await.unwrap() {
            return Some(error.kind());
        }
    }
    None
}

/// Writes the records 1 to `last` as the connector does: after each failure it opens the sink again and goes on behind the tail.
/// Returns how often that was.
async fn write_all(sink: &Nats, last: u32) -> usize {
    let mut failures = 0;
    loop {
        let mut opened = match sink.open(None).await {
            Ok(opened) => opened,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::SinkUnavailable, "{error}");
                continue;
            }
        };
        let next = match &opened.tail {
            SinkTail::Empty => 1,
            SinkTail::At(checkpoint) => checkpoint.at.i + 1,
            other => panic!("{other:?}"),
        };
        if next > last {
            return failures;
        }
        match send_until_failure(&mut opened, next, last + 1 - next).await {
            Some(kind) => assert_eq!(kind, ErrorKind::SinkUnavailable),
            None => return failures,
        }
        failures += 1;
    }
}

#[tokio::test]
async fn a_server_killed_under_load_loses_repeats_and_reorders_nothing() {
    const LAST: u32 = 30_000;
    let server = start().await;
    let sink = sink(settings(&server));
    let disturb = async {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            pause(&server).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
            server.kill(0).await;
            server.restart(0).await.unwrap();
        }
    };
    let ((), failures) = tokio::join!(disturb, write_all(&sink, LAST));
    assert!(failures > 0, "the server was killed too late");
    assert_eq!(stored(&server).await, (1..=LAST).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_table_whose_server_is_killed_under_load_holds_the_last_value_of_each_key() {
    const LAST: u32 = 20_000;
    let server = start().await;
    let sink = sink(Settings { preset: Preset::Latest, ..settings(&server) });
    let disturb = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        pause(&server).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        server.kill(0).await;
        server.restart(0).await.unwrap();
    };
    let ((), failures) = tokio::join!(disturb, write_all(&sink, LAST));
    assert!(failures > 0, "the server was killed too late");
    // There are a thousand keys.
    assert_eq!(stored(&server).await, (LAST - 999..=LAST).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_cluster_that_loses_the_leader_of_the_stream_loses_repeats_and_reorders_nothing() {
    const LAST: u32 = 20_000;
    let cluster = Server::builder().nodes(3).start().await.unwrap();
    let sink = sink(Settings {
        servers: cluster.urls().join(",").try_into().unwrap(),
        replicas: 3,
        ..settings(&cluster)
    });
    open(&sink).await;
    let disturb = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let leader = leader(&cluster).await;
        cluster.kill(leader).await;
        cluster.restart(leader).await.unwrap();
    };
    let ((), failures) = tokio::join!(disturb, write_all(&sink, LAST));
    assert!(failures > 0, "the leader was killed too late");
    leader(&cluster).await;
    assert_eq!(stored(&cluster).await, (1..=LAST).collect::<Vec<_>>());
}

/// Which server leads the stream; waits until one does.
async fn leader(cluster: &Server) -> usize {
    loop {
        let client = async_nats::connect(cluster.urls());
        let stream = jetstream::new(client.await.unwrap()).get_stream("MONGO").await;
        let info = stream.ok().and_then(|stream| stream.cached_info().cluster.clone());
        if let Some(name) = info.and_then(|cluster| cluster.leader) {
            return name.strip_prefix("node-").unwrap().parse::<usize>().unwrap() - 1;
        }
    }
}

#[tokio::test]
async fn a_silent_server_fails_the_delivery_and_all_that_follow() {
    let server = start().await;
    let sink = sink(Settings { ack_timeout_ms: 300, ..settings(&server) });
    let mut opened = open(&sink).await;
    deliver(&mut opened, batch([1], 1)).await.unwrap();
    pause(&server).await;
    let begin = Instant::now();
    let first = opened.sink.send(batch([2], 1));
    let second = opened.sink.send(batch([], 0));
    let error = first.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SinkUnavailable);
    assert!(error.what().contains("acknowledged nothing for 300ms"), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    assert!(second.await.unwrap().is_err());
    server.resume(0).unwrap();
    assert_eq!(deliver(&mut opened, batch([3], 1)).await, Err(ErrorKind::SinkUnavailable));

    let opened = open(&sink).await;
    let SinkTail::At(tail) = opened.tail else { panic!("{:?}", opened.tail) };
    // The record may have come through, only the answer did not.
    assert!([at(1), at(2)].contains(&tail.at), "{tail:?}");
}

#[tokio::test]
async fn a_broken_connection_fails_the_delivery_at_once() {
    let server = start().await;
    let sink = sink(Settings { ack_timeout_ms: 60_000, ..settings(&server) });
    let mut opened = open(&sink).await;
    pause(&server).await;
    let delivery = opened.sink.send(batch([1], 1));
    let begin = Instant::now();
    server.kill(0).await;
    assert_eq!(delivery.await.unwrap().unwrap_err().kind(), ErrorKind::SinkUnavailable);
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());

    // What the old client had in its queue must not come through when the server is back.
    server.restart(0).await.unwrap();
    assert_eq!(deliver(&mut opened, batch([2], 1)).await, Err(ErrorKind::SinkUnavailable));
    assert_eq!(stored(&server).await, Vec::<u32>::new());
}

#[tokio::test]
async fn of_two_connectors_one_is_told_that_it_is_the_second() {
    let server = start().await;
    let sinks = [sink(settings(&server)), sink(settings(&server))];
    let mut opened = [open(&sinks[0]).await, open(&sinks[1]).await];
    let mut fenced = None;
    for number in 1..100 {
        let which = number as usize % 2;
        match opened[which].sink.send(batch([number], 1)).await.unwrap() {
            Ok(()) => continue,
            Err(error) if error.kind() == ErrorKind::Fenced => {
                fenced = Some(error.to_string());
                break;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::SinkUnavailable),
        }
        opened[which] = open(&sinks[which]).await;
    }
    let words = fenced.expect("nobody was fenced");
    assert!(
        words.contains("another program writes to the stream MONGO; one stream, one connector"),
        "{words}"
    );
    let stored = stored(&server).await;
    assert!(stored.is_sorted_by(|a, b| a < b), "{stored:?}");
}

#[tokio::test]
async fn a_foreign_program_is_named_by_its_subject() {
    let server = start().await;
    let sink = sink(settings(&server));
    let mut opened = open(&sink).await;
    deliver(&mut opened, batch([1], 1)).await.unwrap();
    spy(&server).await.publish("mongo.somebody.else", "x".into()).await.unwrap().await.unwrap();
    assert_eq!(deliver(&mut opened, batch([2], 1)).await, Err(ErrorKind::SinkUnavailable));
    let (kind, words) = refused(&sink).await;
    assert_eq!(kind, ErrorKind::Refused);
    assert!(words.contains("mongo.somebody.else") && words.contains("one stream, one connector"), "{words}");

    // The way out: the operator says where to go on.
    let OwnStore::Tail(mut store) = sink.own_store("test").unwrap() else { panic!("not the tail") };
    assert_eq!(store.peek().await.unwrap_err().kind(), ErrorKind::Refused);
    store.save(&Stored::Checkpoint(checkpoint(1))).await.unwrap();
    assert_eq!(open(&sink).await.tail, SinkTail::At(checkpoint(1)));
}

#[tokio::test]
async fn what_a_second_connector_has_written_in_the_same_place_stays() {
    let server = start().await;
    let sinks = [sink(settings(&server)), sink(settings(&server))];
    let mut opened = [open(&sinks[0]).await, open(&sinks[1]).await];
    deliver(&mut opened[0], batch([1], 1)).await.unwrap();
    // The first is refused, for it is there; the others find the number that they expect.
    assert_eq!(deliver(&mut opened[1], batch(1..=5, 1)).await, Err(ErrorKind::SinkUnavailable));
    assert_eq!(stored(&server).await, (1..=5).collect::<Vec<_>>());
    assert_eq!(open(&sinks[1]).await.tail, SinkTail::At(checkpoint(5)));
}
