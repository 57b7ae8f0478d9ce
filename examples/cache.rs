//! A cache behind HTTP that is never stale for long and never asked for a refresh: the open orders of a shop, kept in memory by a partial
//! collection, answered without asking MongoDB.
//!
//! ```sh
//! cargo run --example cache -- 'mongodb://127.0.0.1:27017/?replicaSet=rs0'
//! curl 127.0.0.1:8080/orders/7
//! curl 127.0.0.1:8080/customers/Ada
//! curl 127.0.0.1:8080/status
//! ```
//!
//! Another address to listen on may follow the connection string.
//!
//! Orders are documents of `shop.orders` such as `{_id: 7, customer: "Ada", state: "new", total: 12.5}`; those that are not `archived` are open.

use std::fmt::Write as _;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use mongo_observer::bson::extjson::{Mode, write_doc};
use mongo_observer::reactive::{Change, Doc, Next, ReactivePartialCollection};
use mongodb::Client;
use mongodb::bson::doc;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Order {
    customer: String,
    total: f64,
}

type Orders = ReactivePartialCollection<Order>;
type Answer = Result<String, (StatusCode, String)>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let uri = args.next().unwrap_or_else(|| "mongodb://127.0.0.1:27017/?replicaSet=rs0".to_owned());
    let listen = args.next().unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let client = Client::with_uri_str(uri).await?;

    // What is cached: a filter as `find` takes it, and an index over the typed documents.
    let orders: Orders = ReactivePartialCollection::builder(&client, "shop.orders")
        .filter(doc! { "state": { "$ne": "archived" } })
        .index("customer", |order: &Order| [order.customer.clone()])
        .start()
        .await?;
    orders.ready().await?;
    println!("{} open orders are cached", orders.snapshot().len());

    // What happens to it, as it happens.
    tokio::spawn(report(orders.clone()));

    let app = Router::new()
        .route("/orders/{id}", get(order))
        .route("/customers/{name}", get(customer))
        .route("/status", get(status))
        .with_state(orders);
    let listener = tokio::net::TcpListener::bind(listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

/// One order, from memory.
async fn order(State(orders): State<Orders>, Path(id): Path<i64>) -> Answer {
    match orders.get(id) {
        Some(order) => json(&order),
        None => Err((StatusCode::NOT_FOUND, format!("there is no open order {id}\n"))),
    }
}

/// The orders of a customer and their sum, which belong together: both come from one snapshot.
async fn customer(State(orders): State<Orders>, Path(name): Path<String>) -> Answer {
    let snapshot = orders.snapshot();
    let index = snapshot.by("customer").map_err(internal)?;
    let (mut text, mut sum) = (String::new(), 0.0);
    for order in index.eq(name) {
        text.push_str(&json(order)?);
        sum += order.typed().map_err(internal)?.total;
    }
    let _ = writeln!(text, "sum: {sum}, as of {}", snapshot.position());
    Ok(text)
}

async fn status(State(orders): State<Orders>) -> String {
    format!("{:#?}\n", *orders.status().borrow())
}

/// Prints what moves in and out.
async fn report(orders: Orders) {
    let (_, mut changes) = orders.subscribe();
    while let Some(next) = changes.next().await {
        match next {
            Next::Batch(batch) => batch.iter().for_each(|change| match change {
                Change::Inserted { new, cause } => println!("in ({cause:?}): {:?}", new.typed()),
                Change::Updated { new, .. } => println!("changed: {:?}", new.typed()),
                Change::Removed { old, cause } => println!("out ({cause:?}): {:?}", old.typed()),
            }),
            Next::Reset(snapshot) => println!("anew: {} orders", snapshot.len()),
        }
    }
}

fn json(order: &Doc<Order>) -> Answer {
    let mut text = Vec::new();
    write_doc(&mut text, order.raw(), Mode::Relaxed).map_err(internal)?;
    text.push(b'\n');
    String::from_utf8(text).map_err(internal)
}

fn internal(error: impl std::fmt::Display) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"))
}
