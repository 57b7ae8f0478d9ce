//! The demo's writes: a shop's orders, of every kind that there is.

use std::fmt;
use std::time::Duration;

use mongodb::bson::{DateTime, Document, doc};
use mongodb::{Client, Collection};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind};

/// Slow enough to read along.
const PAUSE: Duration = Duration::from_millis(120);

const NAMES: [&str; 6] = ["Ada", "Grace", "Edsger", "Barbara", "Donald", "Frances"];

/// What was written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    inserts: u64,
    updates: u64,
    replaces: u64,
    deletes: u64,
    transactions: u64,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} inserts, {} updates, {} replacements, {} deletes, {} of them in {} transactions",
            self.inserts,
            self.updates,
            self.replaces,
            self.deletes,
            2 * self.transactions,
            self.transactions
        )
    }
}

/// Writes until `stop`; what was begun is finished.
pub(super) async fn write(uri: &str, stop: &CancellationToken) -> Result<Written, Error> {
    let client = Client::with_uri_str(uri).await.map_err(failed)?;
    let orders = client.database("shop").collection("orders");
    let mut written = Written::default();
    let mut number = 0;
    while !stop.is_cancelled() {
        step(&client, &orders, number, &mut written).await.map_err(failed)?;
        number += 1;
        let _ = tokio::time::timeout(PAUSE, stop.cancelled()).await;
    }
    client.shutdown().await;
    Ok(written)
}

async fn step(
    client: &Client,
    orders: &Collection<Document>,
    number: i32,
    written: &mut Written,
) -> Result<(), mongodb::error::Error> {
    let earlier = doc! { "_id": number / 7 * 7 };
    match number % 7 {
        2 => {
            orders
                .update_one(earlier, doc! { "$set": { "state": "paid" }, "$push": { "log": "paid" } })
                .await?;
            written.updates += 1;
        }
        4 => {
            orders.replace_one(earlier, doc! { "state": "archived", "total": 0 }).await?;
            written.replaces += 1;
        }
        5 => {
            orders.delete_one(earlier).await?;
            written.deletes += 1;
        }
        6 => {
            let mut session = client.start_session().await?;
            session.start_transaction().await?;
            orders.insert_one(order(number)).session(&mut session).await?;
            orders
                .update_one(doc! { "_id": number - 3 }, doc! { "$inc": { "total": 1.5 } })
                .session(&mut session)
                .await?;
            session.commit_transaction().await?;
            written.inserts += 1;
            written.updates += 1;
            written.transactions += 1;
        }
        _ => {
            orders.insert_one(order(number)).await?;
            written.inserts += 1;
        }
    }
    Ok(())
}

fn order(number: i32) -> Document {
    let name = NAMES[usize::try_from(number).unwrap_or(0) % NAMES.len()];
    doc! {
        "_id": number,
        "customer": name,
        "total": f64::from(number) * 2.5,
        "state": "new",
        "log": ["new"],
        "at": DateTime::now(),
    }
}

fn failed(error: mongodb::error::Error) -> Error {
    Error::caused(ErrorKind::SourceUnavailable, "the demo's writes failed", error)
}
