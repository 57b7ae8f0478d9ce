//! A bare publisher to NATS: the same chain and headers as the connector's, and nothing else.

use std::collections::VecDeque;

use async_nats::jetstream::{self, stream};
use async_nats::{Client, HeaderMap, HeaderName, HeaderValue, Subject, Subscriber, header};
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};

use super::bare::{HEADER, UNDER_WAY_MAX};

/// The connector's own limit.
const RECORDS_MAX: usize = 8192;
/// How many records are published before acknowledgements are looked at again.
const BURST: u64 = 64;

/// A stream's only writer.
pub(crate) struct Chain {
    client: Client,
    inbox: Subject,
    acks: Subscriber,
    subject: Subject,
    last: u64,
    sizes: VecDeque<u64>,
    under_way: u64,
}

impl Chain {
    /// Makes a stream like the connector's.
    pub(crate) async fn new(url: &str, name: &str) -> Self {
        let options = async_nats::ConnectOptions::new()
            .client_capacity(RECORDS_MAX + 64)
            .subscription_capacity(RECORDS_MAX + 64);
        let client = options.connect(url).await.unwrap();
        let config = stream::Config {
            name: name.replace('.', "-"),
            subjects: vec![name.to_owned()],
            allow_direct: true,
            ..stream::Config::default()
        };
        jetstream::new(client.clone()).create_stream(config).await.unwrap();
        let inbox = Subject::from(client.new_inbox());
        let acks = client.subscribe(inbox.clone()).await.unwrap();
        Self { client, inbox, acks, subject: name.into(), last: 0, sizes: VecDeque::new(), under_way: 0 }
    }

    /// Publishes a record, as soon as there is room for it.
    pub(crate) async fn send(&mut self, entry: &[u8]) {
        while self.sizes.len() >= RECORDS_MAX || self.under_way > UNDER_WAY_MAX {
            self.acknowledged().await;
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::NATS_EXPECTED_LAST_SEQUENCE, HeaderValue::from(self.last));
        headers.insert(HeaderName::from_static("position"), HeaderValue::from(HEADER));
        let (subject, inbox, value) =
            (self.subject.clone(), self.inbox.clone(), Bytes::copy_from_slice(entry));
        self.client.publish_with_reply_and_headers(subject, inbox, headers, value).await.unwrap();
        self.last += 1;
        self.sizes.push_back(entry.len() as u64);
        self.under_way += entry.len() as u64;
        if self.last.is_multiple_of(BURST) {
            while self.acknowledged().now_or_never().is_some() {}
        }
    }

    /// Waits until everything is acknowledged.
    pub(crate) async fn flush(&mut self) {
        while !self.sizes.is_empty() {
            self.acknowledged().await;
        }
    }

    async fn acknowledged(&mut self) {
        let answer = self.acks.next().await.unwrap();
        assert!(!answer.payload.windows(7).any(|part| part == b"\"error\""), "{answer:?}");
        self.under_way -= self.sizes.pop_front().unwrap_or(0);
    }
}
