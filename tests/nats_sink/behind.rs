//! Another program's message in the place of a record, and the records behind it.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use super::*;

/// A way to a server that may lose all that the server says. It ends when this is dropped.
struct Way {
    url: String,
    deaf: Arc<AtomicBool>,
    _task: AbortOnDropHandle<()>,
}

impl Way {
    /// For one connection.
    async fn to(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("nats://{}", listener.local_addr().unwrap());
        let target = server.url().strip_prefix("nats://").unwrap().to_owned();
        let deaf = Arc::new(AtomicBool::new(false));
        let is_deaf = Arc::clone(&deaf);
        let task = async move {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(target).await.unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            let up = tokio::io::copy(&mut from_client, &mut to_server);
            let down = async {
                let mut bytes = [0; 4096];
                while let Ok(count @ 1..) = from_server.read(&mut bytes).await {
                    if !is_deaf.load(Ordering::Relaxed) {
                        to_client.write_all(&bytes[..count]).await.unwrap();
                    }
                }
            };
            tokio::select! { _ = up => {}, () = down => {} }
        };
        Self { url, deaf, _task: AbortOnDropHandle::new(tokio::spawn(task)) }
    }
}

/// A stream with record 1, a foreign message, and the records 3 to 9, which a connector has left that never heard what became of them.
async fn left_with_a_hole(server: &Server, preset: Preset) {
    let way = Way::to(server).await;
    let servers = way.url.clone().try_into().unwrap();
    let sink = sink(Settings { servers, preset, ack_timeout_ms: 60_000, ..settings(server) });
    let mut opened = open(&sink).await;
    deliver(&mut opened, batch([1], 1)).await.unwrap();
    spy(server).await.publish("mongo.somebody.else", "x".into()).await.unwrap().await.unwrap();
    way.deaf.store(true, Ordering::Relaxed);
    let delivery = opened.sink.send(batch(2..=9, 1));
    while state(server).await.last_sequence < 9 {}
    drop(way);
    assert_eq!(delivery.await.unwrap().unwrap_err().kind(), ErrorKind::SinkUnavailable);
}

async fn state(server: &Server) -> stream::State {
    spy(server).await.get_stream("MONGO").await.unwrap().cached_info().state.clone()
}

/// The operator's way out: says that it goes on behind record 1.
async fn go_on_behind_the_first(sink: &Nats) {
    let OwnStore::Tail(mut store) = sink.own_store("test").unwrap() else { panic!("not the tail") };
    store.save(&Stored::Checkpoint(checkpoint(1))).await.unwrap();
}

#[tokio::test]
async fn what_was_stored_behind_a_refused_record_is_taken_away_again() {
    let server = start().await;
    let sink = sink(settings(&server));
    let mut opened = open(&sink).await;
    deliver(&mut opened, batch([1], 1)).await.unwrap();
    spy(&server).await.publish("mongo.somebody.else", "x".into()).await.unwrap().await.unwrap();
    // The second is refused, but the others expect the numbers that they find.
    assert_eq!(deliver(&mut opened, batch(2..=9, 1)).await, Err(ErrorKind::SinkUnavailable));
    let state = state(&server).await;
    assert_eq!((state.messages, state.last_sequence), (2, 9), "stored, and deleted");
    assert!(refused(&sink).await.1.contains("mongo.somebody.else"));
    go_on_behind_the_first(&sink).await;
    let mut opened = open(&sink).await;
    deliver(&mut opened, batch(2..=9, 1)).await.unwrap();
    assert_eq!(stored(&server).await, (1..=9).collect::<Vec<_>>());
}

#[tokio::test]
async fn it_is_taken_away_by_the_next_one_where_the_connection_broke_before() {
    for preset in [Preset::Log, Preset::Latest] {
        let server = start().await;
        left_with_a_hole(&server, preset).await;
        // WHEN it is opened again
        let sink = sink(Settings { preset, ..settings(&server) });
        let (kind, words) = refused(&sink).await;
        // THEN nothing stands behind the hole, and the operator is told
        assert_eq!(kind, ErrorKind::Refused, "{words}");
        assert!(words.contains("mongo.somebody.else"), "{words}");
        let left = state(&server).await;
        assert_eq!((left.messages, left.last_sequence), (2, 9), "stored, and deleted");
        // and what is written with the operator's consent stays, however often it is opened
        go_on_behind_the_first(&sink).await;
        for number in 2..=9 {
            deliver(&mut open(&sink).await, batch([number], 1)).await.unwrap();
        }
        assert_eq!(open(&sink).await.tail, SinkTail::At(checkpoint(9)));
        assert_eq!(stored(&server).await, (1..=9).collect::<Vec<_>>());
    }
}
