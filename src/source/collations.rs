//! Collations: by which rules a collection's texts are equal and sorted, where a query names none.
//!
//! A collection has one from its creation to its end. The oplog tells it only there; of older collections the server is asked, each once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use mongodb::Client;
use mongodb::bson::{Bson, Document, doc, rawdoc};
use mongodb::error::{Error as DriverError, ErrorKind as DriverKind};

use super::client::{self, Deployment};
use crate::bson::{RawDoc, RawValue};
use crate::event::Namespace;

/// How long an answer is waited for: to know is good, to go on is better.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many are remembered. Then all are forgotten: the server can be asked again.
const KNOWN_MAX: usize = 10_000;
const UNAUTHORIZED: i32 = 13;

/// What is known of collections, by their UUIDs.
#[derive(Debug)]
pub struct Collations {
    client: Client,
    may_ask: AtomicBool,
    known: Mutex<HashMap<[u8; 16], Option<Bytes>>>,
}

impl Collations {
    /// Those of a deployment.
    pub fn new(deployment: &Deployment) -> Self {
        Self { client: deployment.client().clone(), may_ask: AtomicBool::new(true), known: Mutex::default() }
    }

    /// The collation of a collection that is being created with these options: a document, as the server writes it.
    pub fn created(&self, id: [u8; 16], options: RawDoc<'_>) -> Bytes {
        let own = options.get("collation").and_then(RawValue::as_doc);
        let collation = own.map_or_else(simple, |own| Bytes::copy_from_slice(own.as_bytes()));
        self.remember(id, Some(collation.clone()));
        collation
    }

    /// The collation of the collection with that UUID, which had that name. None where it can't be found out: it has another name by now,
    /// or is gone; or the user may not list collections; or there is no answer.
    pub async fn of(&self, ns: Namespace<'_>, id: [u8; 16]) -> Option<Bytes> {
        let known = self.known().get(&id).cloned();
        if let Some(known) = known {
            return known;
        }
        if !self.may_ask.load(Ordering::Relaxed) {
            return None;
        }
        match tokio::time::timeout(PATIENCE, self.ask(ns)).await {
            Ok(Ok(Some((of, collation)))) if of == id => {
                self.remember(id, Some(collation.clone()));
                return Some(collation);
            }
            // It may be found under another name.
            Ok(Ok(_)) => return None,
            Ok(Err(error)) => self.note(&error),
            Err(_) => tracing::warn!(%ns, "the server does not say which collation a collection has"),
        }
        self.remember(id, None);
        None
    }

    async fn ask(&self, ns: Namespace<'_>) -> Result<Option<([u8; 16], Bytes)>, DriverError> {
        let list = doc! { "listCollections": 1, "filter": { "name": ns.coll }, "cursor": {} };
        let database = self.client.database(ns.db);
        let list = database.run_command(list);
        let reply = match client::selection(&self.client) {
            Some(criteria) => list.selection_criteria(criteria).await?,
            None => list.await?,
        };
        let first = reply.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
        Ok(first.ok().and_then(|list| list.first()).and_then(Bson::as_document).and_then(described))
    }

    fn note(&self, error: &DriverError) {
        match error.kind.as_ref() {
            DriverKind::Command(command) if command.code == UNAUTHORIZED => {
                if self.may_ask.swap(false, Ordering::Relaxed) {
                    tracing::info!(
                        "the user may not list collections: manifests don't tell which collations they have"
                    );
                }
            }
            _ => tracing::warn!(%error, "manifests don't tell the collation of a collection"),
        }
    }

    fn remember(&self, id: [u8; 16], collation: Option<Bytes>) {
        let mut known = self.known();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        let known = known.entry(id).or_default();
        *known = collation.or_else(|| known.take());
    }

    fn known(&self) -> MutexGuard<'_, HashMap<[u8; 16], Option<Bytes>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Byte by byte, in the server's own words.
fn simple() -> Bytes {
    Bytes::from(rawdoc! { "locale": "simple" }.into_bytes())
}

/// UUID and collation of a collection in the server's list.
fn described(listed: &Document) -> Option<([u8; 16], Bytes)> {
    let Some(Bson::Binary(uuid)) = listed.get_document("info").ok()?.get("uuid") else { return None };
    let id = uuid.bytes.as_slice().try_into().ok()?;
    let collation = match listed.get_document("options").ok()?.get_document("collation") {
        Ok(own) => Bytes::from(own.to_vec().ok()?),
        Err(_) => simple(),
    };
    Some((id, collation))
}
