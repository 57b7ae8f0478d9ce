//! From a chunk to a batch of records: translate, route, encode, and the policy for what can't be.
//!
//! Every chunk has a task of its own; the run loop joins them in order. So the only state here is what a namespace's first event found
//! out about its place in the sink.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::announce::{Announced, Announcing};
use super::policy::Aside;
use super::{Counts, OnFault, OnReplaced, OnTooLarge, Policies, Reason, RecordBatch, Router};
use crate::error::{Error, ErrorKind};
use crate::event::{Change, ChangeEvent, HeaderOnly, Image, Images, Mark, Namespace, NoImage, Position};
use crate::format::{DeadLetter, Encoded, Encoder, EventTraits, RecordWriter, Route};
use crate::source::oplog::{Fault, translate, unencodable};
use crate::source::{Chunk, Collations, Namespaces, Op};

/// After that time the router is asked again for a place that there was not.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Prepares chunks.
#[derive(Debug)]
pub struct Stage {
    source: Arc<str>,
    namespaces: Arc<Namespaces>,
    pub(super) router: Arc<dyn Router>,
    encoder: Box<dyn Encoder>,
    /// None where there are no manifests.
    pub(super) announcing: Option<Announcing>,
    policies: Policies,
    places: RwLock<HashMap<String, Place>>,
}

/// What is known of a namespace's place.
#[derive(Debug)]
enum Place {
    Route(Arc<Route>),
    /// It has none, as far as is known.
    Nowhere {
        why: String,
        until: Instant,
    },
}

impl Stage {
    /// A stage for events of `source` that go where `router` says, in the encoder's format.
    pub fn new(
        source: String,
        namespaces: Arc<Namespaces>,
        router: Arc<dyn Router>,
        encoder: Box<dyn Encoder>,
        policies: Policies,
    ) -> Self {
        Self {
            source: source.into(),
            namespaces,
            router,
            encoder,
            announcing: None,
            policies,
            places: RwLock::default(),
        }
    }

    /// The same, with a manifest before a namespace's first event.
    #[must_use]
    pub fn with_manifests(self, traits: EventTraits, collations: Collations) -> Self {
        Self { announcing: Some(Announcing { traits, collations }), ..self }
    }

    /// Encodes a chunk. Routes may be looked up in the sink, once for each namespace; everything else is pure.
    pub async fn prepare(&self, chunk: Chunk) -> Result<RecordBatch, Error> {
        // JSON takes a little more room than BSON, and an event has more beside its document than an entry has. To grow would be to copy.
        let (size, ops) = (chunk.size, chunk.ops.len());
        let mut out = RecordWriter::with_capacity(size + size / 4 + 256 * ops, ops);
        let mut counts = Counts::default();
        let mut last = Last::default();
        for (index, op) in chunk.ops.iter().enumerate() {
            match self.publish(&chunk, index, &mut last, &mut out, &mut counts).await {
                Ok(()) => {}
                Err(Obstacle::Aside(aside)) => {
                    self.set_aside(&chunk, op, *aside, &mut out, &mut counts).await?;
                }
                Err(Obstacle::Error(error)) => return Err(error),
            }
        }
        Ok(self.batch(out.finish(), &chunk, counts))
    }

    /// Encodes the event of the operation at that index for each of its places.
    async fn publish<'c>(
        &'c self,
        chunk: &'c Chunk,
        index: usize,
        last: &mut Last<'c>,
        out: &mut RecordWriter,
        counts: &mut Counts,
    ) -> Result<(), Obstacle> {
        let event = translate(chunk, &chunk.ops[index], &self.namespaces, &self.source)?;
        let Some(event) = event.filter(|event| self.encoder.publishes(&event.change)) else {
            counts.filtered += 1;
            return Ok(());
        };
        self.note_replaced(&event)?;
        let [from, to] = self.places(&event);
        let Last { place, announced, computed } = last;
        let event = match &chunk.images {
            Some(fetched) => {
                ChangeEvent { images: fetched.images(index, &event.change, event.at, computed), ..event }
            }
            None => event,
        };
        if let Some(ns) = from {
            let route = self.find(ns, event.at, place).await?;
            if route.whole_documents {
                check_whole(&event)?;
            }
            self.announce(&event, ns, route, announced, out).await?;
            self.encode(&event, route, out, counts)?;
        }
        if let Some(ns) = to {
            let gone_to = place.take().filter(|_| from.is_some());
            let route = self.find(ns, event.at, place).await?;
            self.announce(&event, ns, route, announced, out).await?;
            // A rename within one place is one event there.
            if gone_to.is_none_or(|(_, other)| !Arc::ptr_eq(&other, route)) {
                self.encode(&event, route, out, counts)?;
            }
        }
        Ok(())
    }

    /// The place of a namespace, which most often is that of the event before.
    async fn find<'c, 'p>(
        &self,
        ns: Namespace<'c>,
        at: Position,
        place: &'p mut Option<(Namespace<'c>, Arc<Route>)>,
    ) -> Result<&'p Arc<Route>, Obstacle> {
        if place.as_ref().is_none_or(|(known, _)| *known != ns) {
            *place = Some((ns, self.route(ns, at).await?));
        }
        Ok(&place.as_ref().expect("it was found just now").1)
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
            images: Images::default(),
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

    fn batch(&self, Encoded { bytes, records }: Encoded, chunk: &Chunk, counts: Counts) -> RecordBatch {
        RecordBatch {
            bytes: Bytes::from(bytes),
            records,
            end: chunk.end,
            ends_unit: chunk.ends_unit,
            wall_ms: chunk.wall_ms,
            counts,
            source: Arc::clone(&self.source),
            hold: None,
        }
    }

    /// The namespaces whose consumers must see an event: its own, and for a rename also where it leads to.
    fn places<'e>(&self, event: &ChangeEvent<'e>) -> [Option<Namespace<'e>>; 2] {
        let Change::Command(command) = event.change else { return [Some(event.ns), None] };
        let Some(to) = command.to else { return [Some(event.ns), None] };
        let [from, to] = [event.ns, to].map(|ns| self.namespaces.captures(ns).then_some(ns));
        if from.is_some() && !self.encoder.tells_where_renames_lead() { [from, None] } else { [from, to] }
    }

    /// The place of a namespace; at its first event the router finds it. Where there is none, it looks again after a while: somebody may
    /// have made one.
    async fn route(&self, ns: Namespace<'_>, at: Position) -> Result<Arc<Route>, Obstacle> {
        let name = ns.to_string();
        match self.places.read().unwrap_or_else(PoisonError::into_inner).get(&name) {
            Some(Place::Route(route)) => return Ok(Arc::clone(route)),
            Some(Place::Nowhere { why, until }) if Instant::now() < *until => {
                return Err(unroutable(name, at, why.clone()));
            }
            _ => {}
        }
        // Several chunks may ask at the same time: the router answers all of them alike.
        let found = self.router.route(ns).await;
        let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
        match found {
            Ok(route) => {
                places.insert(name, Place::Route(Arc::clone(&route)));
                Ok(route)
            }
            Err(error) if self.goes_on_without(&error) => {
                let why = error.what().to_owned();
                let until = Instant::now() + LOOK_AGAIN;
                places.insert(name.clone(), Place::Nowhere { why: why.clone(), until });
                Err(unroutable(name, at, why))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether an error of the router means that a namespace has no place, and that this is not the end.
    fn goes_on_without(&self, error: &Error) -> bool {
        self.policies.unroutable != OnFault::Stop
            && matches!(error.kind(), ErrorKind::Refused | ErrorKind::Collision)
    }

    fn encode(
        &self,
        event: &ChangeEvent<'_>,
        route: &Arc<Route>,
        out: &mut RecordWriter,
        counts: &mut Counts,
    ) -> Result<(), Obstacle> {
        let size = self.write(event, route, out)?;
        if size > route.bytes_max {
            return self.too_large(event, size, route, out, counts);
        }
        if size > 0 {
            counts.add(&event.change);
            counts.add_missing(&event.images);
            if route.tombstones && matches!(event.change, Change::Delete { .. }) {
                out.tombstone();
            }
        }
        Ok(())
    }

    /// Writes an event's records, if they fit. Tells their size.
    fn write(
        &self,
        event: &ChangeEvent<'_>,
        route: &Arc<Route>,
        out: &mut RecordWriter,
    ) -> Result<usize, Fault> {
        let mark = out.mark();
        let encoded = self.encoder.encode(event, route, out);
        encoded.map_err(|error| unencodable(event, error.to_string()))?;
        let size = out.size_since(mark);
        if size > route.bytes_max {
            out.rewind(mark);
        }
        Ok(size)
    }

    /// An event that takes `size` bytes, more than its route takes, goes without its document or is set aside, as its policy says.
    fn too_large(
        &self,
        event: &ChangeEvent<'_>,
        size: usize,
        route: &Arc<Route>,
        out: &mut RecordWriter,
        counts: &mut Counts,
    ) -> Result<(), Obstacle> {
        let Route { name, bytes_max: limit, .. } = &**route;
        let mut what = format!("the event takes {size} bytes, {name} takes {limit} at most");
        if let (OnTooLarge::HeaderOnly, Some(key)) = (self.policies.too_large, event.change.key()) {
            let header = HeaderOnly { op: event.change.name(), key: *key, bytes: size, limit: *limit };
            let header =
                ChangeEvent { change: Change::HeaderOnly(header), images: Images::default(), ..*event };
            if self.write(&header, route, out)? <= *limit {
                tracing::error!(position = %event.at, ns = %event.ns, what, "published without its document, as [on] says");
                counts.add(&event.change);
                counts.add(&header.change);
                return Ok(());
            }
            what += ", even without its document";
        }
        Err(Aside::new(Reason::TooLarge, ErrorKind::TooLarge, event.at, event.ns.to_string(), what).into())
    }

    /// Contents that no events have told: the policy, and a word to the operator.
    fn note_replaced(&self, event: &ChangeEvent<'_>) -> Result<(), Error> {
        let Change::Command(command) = event.change else { return Ok(()) };
        if !command.replaced {
            return Ok(());
        }
        let (by, of) = (command.name, command.to.unwrap_or(event.ns));
        if self.policies.replaced == OnReplaced::Stop {
            let what = format!("a {by} replaced the contents of {of} at position {}", event.at);
            return Err(Error::new(ErrorKind::Replaced, what));
        }
        let position = event.at;
        tracing::warn!(%position, by, collection = %of, "contents were replaced by some that no events have told");
        Ok(())
    }

    /// What can't become an event goes where its policy says.
    async fn set_aside(
        &self,
        chunk: &Chunk,
        op: &Op,
        aside: Aside,
        out: &mut RecordWriter,
        counts: &mut Counts,
    ) -> Result<(), Error> {
        let Aside { at, reason: why, ns, what, error } = aside;
        let reason = why.name();
        match self.policies.on(why) {
            OnFault::Stop => return Err(error),
            OnFault::Skip => {
                tracing::error!(position = %at, ns, reason, what, "left out, as [on] says");
                counts.skipped.add(why);
            }
            OnFault::DeadLetter => {
                tracing::error!(position = %at, ns, reason, what, "published as a dead letter, as [on] says");
                let route = self.router.dead_letters().await?;
                let (ns, mark) = (Namespace::split(&ns), out.mark());
                let (term, wall_ms, source) = (op.term, op.wall_ms, &*self.source);
                let (what, bytes) = (what.as_str(), chunk.document(op));
                let event = translate(chunk, op, &self.namespaces, source).ok().flatten();
                let id = event.and_then(|event| event.change.key()?.id());
                DeadLetter { at, term, wall_ms, source, ns, reason, what, id, bytes }.write(&route, out);
                fits("dead letter", at, out.size_since(mark), &route)?;
                counts.dead_letters.add(why);
            }
        }
        Ok(())
    }
}

/// What one operation of a chunk leaves to the next.
#[derive(Default)]
struct Last<'c> {
    /// Where it went.
    place: Option<(Namespace<'c>, Arc<Route>)>,
    /// The namespaces that manifests have told of.
    announced: Announced<'c>,
    /// Room for a document that has to be computed.
    computed: Vec<u8>,
}

/// Why an operation was not published.
enum Obstacle {
    /// Its policy decides what becomes of it.
    Aside(Box<Aside>),
    /// Nothing can be published.
    Error(Error),
}

impl From<Aside> for Obstacle {
    fn from(aside: Aside) -> Self {
        Self::Aside(Box::new(aside))
    }
}

impl From<Fault> for Obstacle {
    fn from(fault: Fault) -> Self {
        Aside::from(fault).into()
    }
}

impl From<Error> for Obstacle {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<Obstacle> for Error {
    fn from(obstacle: Obstacle) -> Self {
        match obstacle {
            Obstacle::Aside(aside) => aside.error,
            Obstacle::Error(error) => error,
        }
    }
}

/// An event of a namespace that has no place.
fn unroutable(ns: String, at: Position, why: String) -> Obstacle {
    Aside::new(Reason::Unroutable, ErrorKind::Refused, at, ns, why).into()
}

/// Refuses an update whose document is not known, as if the format could not write it. One that is gone has its delete to come.
fn check_whole(event: &ChangeEvent<'_>) -> Result<(), Fault> {
    if !matches!(event.change, Change::Update { .. }) {
        return Ok(());
    }
    let lacking = match event.images.after {
        Some(Image::Missing(NoImage::Gone) | Image::Exact(_) | Image::LookedUp(_)) => return Ok(()),
        Some(Image::Missing(why)) => why.name(),
        None => "none",
    };
    Err(unencodable(event, format!("an update without its document (after: {lacking})")))
}

/// Refuses what the sink would refuse.
fn fits(what: impl fmt::Display, at: Position, bytes: usize, route: &Route) -> Result<(), Error> {
    if bytes <= route.bytes_max {
        return Ok(());
    }
    let Route { name, bytes_max, .. } = route;
    let what = format!("the {what} at position {at} takes {bytes} bytes, {name} takes {bytes_max} at most");
    Err(Error::new(ErrorKind::Refused, what))
}
