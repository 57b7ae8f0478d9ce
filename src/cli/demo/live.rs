//! The demo's live collection: the orders that are not archived, in memory, beside the events.

use mongodb::Client;
use mongodb::bson::{Document, Timestamp, doc};

use super::PATIENCE;
use crate::error::{Error, ErrorKind};
use crate::event::Position;
use crate::reactive::ReactivePartialCollection;

/// A part of `shop.orders` that follows every change.
pub(super) struct Live {
    client: Client,
    orders: ReactivePartialCollection<Document>,
}

impl Live {
    pub(super) async fn start(uri: &str) -> Result<Self, Error> {
        let client = Client::with_uri_str(uri).await.map_err(|error| failed(&error))?;
        let orders =
            ReactivePartialCollection::builder(&client, "shop.orders").filter(filter()).start().await?;
        orders.ready().await?;
        Ok(Self { client, orders })
    }

    /// What it holds now.
    pub(super) fn line(&self) -> String {
        let snapshot = self.orders.snapshot();
        let totals = snapshot.iter().filter_map(|order| order.typed().ok()?.get_f64("total").ok());
        format!("live: {} open orders, {:.1} in all", snapshot.len(), totals.sum::<f64>())
    }

    /// Waits until it has come that far, and compares it with what MongoDB finds.
    pub(super) async fn compare(&self, newest: Position) -> Result<String, Error> {
        let time = Timestamp { time: newest.t, increment: newest.i };
        let in_time = tokio::time::timeout(PATIENCE, self.orders.wait_for(time)).await;
        in_time
            .map_err(|_| Error::new(ErrorKind::SourceUnavailable, "the live collection did not get on"))??;
        let orders = self.client.database("shop").collection::<Document>("orders");
        let found = orders.count_documents(filter()).await.map_err(|error| failed(&error))?;
        Ok(format!("{} open orders in memory, {found} in MongoDB", self.orders.snapshot().len()))
    }

    pub(super) async fn stop(self) {
        drop(self.orders);
        self.client.shutdown().await;
    }
}

fn filter() -> Document {
    doc! { "state": { "$ne": "archived" } }
}

fn failed(error: &mongodb::error::Error) -> Error {
    Error::mongodb(ErrorKind::SourceUnavailable, "the demo's live collection", error)
}
