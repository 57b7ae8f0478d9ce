//! What NATS holds.

use async_nats::jetstream;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use futures::StreamExt as _;
use mongo_observer::format::Header;

use super::{Lanes, Seen};

/// All messages of a stream, one lane. The message with which the operator moved a position says nothing.
pub(crate) async fn read_nats(url: &str, stream: &str) -> Lanes {
    read_nats_with(async_nats::connect(url).await.unwrap(), stream).await
}

/// The same, with a client that the server lets in.
pub(crate) async fn read_nats_with(client: async_nats::Client, stream: &str) -> Lanes {
    let jetstream = jetstream::new(client);
    let stream = jetstream.get_stream(stream).await.unwrap();
    let state = &stream.cached_info().state;
    let last = state.last_sequence;
    if state.messages == 0 {
        return Lanes(vec![Vec::new()]);
    }
    let config = OrderedConfig { deliver_policy: DeliverPolicy::All, ..OrderedConfig::default() };
    let mut messages = stream.create_consumer(config).await.unwrap().messages().await.unwrap();
    let mut lane = Vec::new();
    loop {
        let message = messages.next().await.unwrap().unwrap();
        let header = message.headers.as_ref().unwrap().get(Header::NAME).unwrap();
        if let Some(seen) = Seen::of(&message.payload, &message.subject, None) {
            let header: Header = header.as_str().parse().unwrap();
            assert_eq!(header.at, seen.at, "header and value disagree");
            lane.push(seen);
        }
        if message.info().unwrap().stream_sequence == last {
            return Lanes(vec![lane]);
        }
    }
}
