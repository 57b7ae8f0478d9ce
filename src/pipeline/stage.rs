//! From a chunk to a batch of records: translate, route, encode, and the policy for what can't be.
//!
//! Every chunk has a task of its own; the run loop joins them in order. So the only state here is what a namespace's first event found
//! out about its place in the sink.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use bytes::Bytes;

use super::{Counts, RecordBatch, Router};
use crate::error::{Error, ErrorKind};
use crate::event::{Change, ChangeEvent, Mark, Namespace};
use crate::format::{Encoded, Encoder, RecordWriter, Route};
use crate::source::oplog::{Unreadable, translate};
use crate::source::{Chunk, Namespaces};

/// What to do with an entry that can't be understood or encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnUnknown {
    /// Stop, with its position: skipping would lose data, such as with the next version of the server.
    #[default]
    Stop,
    /// Leave it out, log it, count it.
    Skip,
}

/// Prepares chunks.
#[derive(Debug)]
pub struct Stage {
    source: String,
    namespaces: Arc<Namespaces>,
    router: Arc<dyn Router>,
    encoder: Box<dyn Encoder>,
    on_unknown: OnUnknown,
    routes: RwLock<HashMap<String, Arc<Route>>>,
}

impl Stage {
    /// A stage for events of `source` that go where `router` says, in the encoder's format.
    pub fn new(
        source: String,
        namespaces: Arc<Namespaces>,
        router: Arc<dyn Router>,
        encoder: Box<dyn Encoder>,
        on_unknown: OnUnknown,
    ) -> Self {
        Self { source, namespaces, router, encoder, on_unknown, routes: RwLock::default() }
    }

    /// Encodes a chunk. Routes may be looked up in the sink, once for each namespace; everything else is pure.
    pub async fn prepare(&self, chunk: Chunk) -> Result<RecordBatch, Error> {
        // JSON takes a little more room than BSON; the header adds some 60 bytes.
        let mut out =
            RecordWriter::with_capacity(chunk.size + chunk.size / 4 + 96 * chunk.ops.len(), chunk.ops.len());
        let mut counts = Counts::default();
        let mut place: Option<(Namespace<'_>, Arc<Route>)> = None;
        for op in &chunk.ops {
            let event = match translate(&chunk, op, &self.namespaces, &self.source) {
                Ok(Some(event)) => event,
                Ok(None) => {
                    counts.filtered += 1;
                    continue;
                }
                Err(unreadable) => {
                    self.unreadable(&unreadable, &mut counts)?;
                    continue;
                }
            };
            let mut gone_to = None;
            for ns in self.places(&event).into_iter().flatten() {
                let route = match &place {
                    Some((known, route)) if *known == ns => Arc::clone(route),
                    _ => self.route(ns).await?,
                };
                // A rename within one place is one event there.
                if gone_to.as_ref().is_none_or(|other| !Arc::ptr_eq(other, &route)) {
                    self.encode(&event, &route, &mut out, &mut counts)?;
                }
                gone_to = Some(Arc::clone(&route));
                place = Some((ns, route));
            }
        }
        Ok(batch(out.finish(), &chunk, counts))
    }

    /// A batch that says: everything up to `end` has been published. Empty where the sink needs no watermark.
    pub fn watermark(&self, mut idle: RecordBatch) -> Result<RecordBatch, Error> {
        let Mark::Tail { at, term } = idle.end;
        let event = ChangeEvent {
            at,
            term,
            wall_ms: idle.wall_ms,
            ns: Namespace { db: "", coll: "" },
            collection_id: None,
            change: Change::Watermark,
            txn: None,
            source: &self.source,
        };
        let mut out = RecordWriter::default();
        for route in self.router.watermark_routes() {
            self.encode(&event, &route, &mut out, &mut idle.counts)?;
        }
        let Encoded { bytes, records } = out.finish();
        idle.bytes = Bytes::from(bytes);
        idle.records = records;
        Ok(idle)
    }

    /// The namespaces whose consumers must see an event: its own, and for a rename also where it leads to.
    fn places<'e>(&self, event: &ChangeEvent<'e>) -> [Option<Namespace<'e>>; 2] {
        let Change::Command(command) = event.change else { return [Some(event.ns), None] };
        let Some(to) = command.to else { return [Some(event.ns), None] };
        [event.ns, to].map(|ns| self.namespaces.captures(ns).then_some(ns))
    }

    async fn route(&self, ns: Namespace<'_>) -> Result<Arc<Route>, Error> {
        let name = ns.to_string();
        if let Some(route) = self.routes.read().unwrap_or_else(std::sync::PoisonError::into_inner).get(&name)
        {
            return Ok(Arc::clone(route));
        }
        // Several chunks may ask at the same time: the router answers all of them alike.
        let route = self.router.route(ns).await?;
        let mut routes = self.routes.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(Arc::clone(routes.entry(name).or_insert(route)))
    }

    fn encode(
        &self,
        event: &ChangeEvent<'_>,
        route: &Arc<Route>,
        out: &mut RecordWriter,
        counts: &mut Counts,
    ) -> Result<(), Error> {
        let before = out.len();
        if let Err(error) = self.encoder.encode(event, route, out) {
            return self.unreadable(&Unreadable { at: event.at, what: error.to_string() }, counts);
        }
        if out.len() - before > route.bytes_max {
            return Err(Error::new(
                ErrorKind::Refused,
                format!(
                    "the event at position {} of {} takes {} bytes, {} takes {} at most",
                    event.at,
                    event.ns,
                    out.len() - before,
                    route.name,
                    route.bytes_max
                ),
            ));
        }
        counts.add(&event.change);
        Ok(())
    }

    fn unreadable(&self, unreadable: &Unreadable, counts: &mut Counts) -> Result<(), Error> {
        match self.on_unknown {
            OnUnknown::Stop => Err(Error::new(ErrorKind::Unreadable, unreadable.to_string())),
            OnUnknown::Skip => {
                tracing::error!(position = %unreadable.at, reason = %unreadable.what, "entry left out, as [on] says");
                counts.skipped += 1;
                Ok(())
            }
        }
    }
}

fn batch(Encoded { bytes, records }: Encoded, chunk: &Chunk, counts: Counts) -> RecordBatch {
    RecordBatch {
        bytes: Bytes::from(bytes),
        records,
        end: chunk.end,
        ends_unit: chunk.ends_unit,
        wall_ms: chunk.wall_ms,
        counts,
        hold: None,
    }
}
