//! Which namespaces a chunk has to announce, and where.
//!
//! Chunks are prepared side by side, so none knows what another one has announced: each announces a namespace before its own first event of
//! it. The sink, which gets them in order, leaves out what says nothing new.

use std::sync::Arc;

use bytes::Bytes;

use super::Stage;
use crate::error::Error;
use crate::event::{Change, ChangeEvent, Command, Namespace};
use crate::format::{EventTraits, Manifest, RecordWriter, Route};
use crate::source::Collations;

/// What manifests are made of, beside what events tell.
#[derive(Debug)]
pub(super) struct Announcing {
    pub(super) traits: EventTraits,
    pub(super) collations: Collations,
}

/// Where manifests go.
#[derive(Clone, Debug)]
pub struct ManifestPlace {
    /// Their place.
    pub route: Arc<Route>,
    /// Whether the place of the namespace's events is compacted, where it can be seen.
    pub compacted: Option<bool>,
}

/// What one chunk has announced: a few collections at most.
#[derive(Debug, Default)]
pub(super) struct Announced<'c>(Vec<(Namespace<'c>, [u8; 16])>);

impl Stage {
    /// Writes the manifest of a namespace before the chunk's first event of it that goes to `route`.
    pub(super) async fn announce<'c>(
        &self,
        event: &ChangeEvent<'_>,
        ns: Namespace<'c>,
        route: &Arc<Route>,
        announced: &mut Announced<'c>,
        out: &mut RecordWriter,
    ) -> Result<(), Error> {
        let Some(Announcing { traits, collations }) = &self.announcing else { return Ok(()) };
        let Some(collection_id) = collection_of(event, ns) else { return Ok(()) };
        // The newest is the likeliest.
        if announced.0.iter().rev().any(|known| *known == (ns, collection_id)) {
            return Ok(());
        }
        // Where another collection has taken the name, that is new again.
        announced.0.retain(|(known, _)| *known != ns);
        announced.0.push((ns, collection_id));
        if let Some(ManifestPlace { route: place, compacted }) = self.router.manifest(ns, route).await? {
            let collation = collation(collations, event, ns, collection_id).await;
            let (traits, collation) = (*traits, collation.as_deref());
            Manifest { ns, collection_id, place: route, compacted, collation, traits }
                .write(event, &place, out);
        }
        Ok(())
    }
}

/// What the event says of the collection's collation, or else the server.
async fn collation(
    collations: &Collations,
    event: &ChangeEvent<'_>,
    ns: Namespace<'_>,
    id: [u8; 16],
) -> Option<Bytes> {
    match event.change {
        Change::Command(Command { name: "create", o, .. }) => Some(collations.created(id, o)),
        _ => collations.of(ns, id).await,
    }
}

/// The collection that a namespace is from this event on; none where the event does not make it one.
fn collection_of(event: &ChangeEvent<'_>, ns: Namespace<'_>) -> Option<[u8; 16]> {
    let is_there = match &event.change {
        Change::Command(command) => {
            command.name == "create" && ns == event.ns || command.name == "rename" && Some(ns) == command.to
        }
        change => change.is_document(),
    };
    event.own_collection_id().filter(|_| is_there)
}
