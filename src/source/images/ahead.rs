//! Fetching ahead: documents for several chunks at once, and the chunks in their order.
//!
//! A chunk of a few small updates may want documents of 16 MiB each. So a chunk's documents are fetched in windows: as many operations as
//! have room, going by what documents took so far. Where a window turns out too large, it is halved and asked for again; what is left of
//! the chunk comes behind it, as a chunk of its own. One operation alone may take what it takes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use futures::future::{BoxFuture, try_join_all};
use futures::stream::{FuturesOrdered, StreamExt, TryStreamExt};

use super::ImageStore;
use super::attached::{Attached, Fetched, Found, Slot};
use super::wanted::{Request, Wanted, Wants, requests};
use crate::bson::RawDoc;
use crate::error::Error;
use crate::event::{ImageSettings, NoImage, Position};
use crate::source::{Chunk, ChunkStream, Namespaces};

/// For so many chunks documents are fetched at the same time.
pub const IMAGES_AHEAD: usize = 8;
/// So many collections of one chunk are asked at the same time.
const REQUESTS_MAX: usize = 8;
/// What a document is taken for before one was seen.
const FIRST_GUESS: usize = 1024;
/// Nobody has seen one yet.
const UNKNOWN: usize = 0;

/// What bounds the documents that are held.
#[derive(Clone, Copy, Debug)]
pub struct ImageLimits {
    /// For each of the chunks that are fetched for, in bytes. A reply of the server, of up to 16 MiB, may go beyond it, and so may the
    /// documents of one operation.
    pub chunk_bytes: usize,
}

impl ImageLimits {
    /// All chunks together get as many bytes as a pipeline has for everything else.
    pub fn of_budget(bytes: usize) -> Self {
        Self { chunk_bytes: (bytes / IMAGES_AHEAD).max(1) }
    }
}

/// The same chunks in the same order, with the documents that their operations want.
pub fn with_images(
    chunks: ChunkStream,
    store: Arc<dyn ImageStore>,
    namespaces: Arc<Namespaces>,
    settings: ImageSettings,
    limits: ImageLimits,
) -> ChunkStream {
    let average = AtomicUsize::new(UNKNOWN);
    let fetcher = Arc::new(Fetcher { store, namespaces, settings, limits, average });
    let ahead = Ahead { chunks, fetcher, fetching: FuturesOrdered::new() };
    futures::stream::try_unfold(ahead, |mut ahead| async move {
        let chunk = ahead.next().await?;
        Ok(chunk.map(|chunk| (chunk, ahead)))
    })
    .boxed()
}

struct Ahead {
    chunks: ChunkStream,
    fetcher: Arc<Fetcher>,
    /// Not tasks: dropped with the stream, they leave no cursor behind.
    fetching: FuturesOrdered<BoxFuture<'static, Result<Window, Error>>>,
}

/// A chunk with its documents, and what is left of the one it was cut from.
struct Window {
    chunk: Chunk,
    rest: Option<Chunk>,
}

impl Ahead {
    async fn next(&mut self) -> Result<Option<Chunk>, Error> {
        loop {
            let step = tokio::select! { biased;
                Some(window) = self.fetching.next() => Step::Fetched(window?),
                chunk = self.chunks.try_next(), if self.fetching.len() < self.fetcher.ahead() => Step::Read(chunk?),
            };
            match step {
                Step::Fetched(Window { chunk, rest }) => {
                    if let Some(rest) = rest {
                        self.fetching.push_front(Arc::clone(&self.fetcher).fetch(rest));
                    }
                    return Ok(Some(chunk));
                }
                Step::Read(Some(chunk)) => {
                    self.fetching.push_back(Arc::clone(&self.fetcher).fetch(chunk));
                }
                Step::Read(None) => return self.last().await,
            }
        }
    }

    /// Sources never end by themselves; if one does, what was read of it still comes.
    async fn last(&mut self) -> Result<Option<Chunk>, Error> {
        let Some(Window { chunk, rest }) = self.fetching.next().await.transpose()? else { return Ok(None) };
        if let Some(rest) = rest {
            self.fetching.push_front(Arc::clone(&self.fetcher).fetch(rest));
        }
        Ok(Some(chunk))
    }
}

enum Step {
    Fetched(Window),
    Read(Option<Chunk>),
}

#[derive(Debug)]
struct Fetcher {
    store: Arc<dyn ImageStore>,
    namespaces: Arc<Namespaces>,
    settings: ImageSettings,
    limits: ImageLimits,
    /// What the documents of an operation take, as the last window had it.
    average: AtomicUsize,
}

impl Fetcher {
    /// Fetches for as many operations from the first on as there is room for.
    fn fetch(self: Arc<Self>, mut chunk: Chunk) -> BoxFuture<'static, Result<Window, Error>> {
        Box::pin(async move {
            let Some(attached) = self.attached(&chunk).await? else {
                return Ok(Window { chunk, rest: None });
            };
            let rest = chunk.split_off(attached.operations());
            chunk.images = Some(Arc::new(attached));
            Ok(Window { chunk, rest })
        })
    }

    /// The documents for the first operations; nothing if none wants any.
    async fn attached(&self, chunk: &Chunk) -> Result<Option<Attached>, Error> {
        let wants = |op| Wants::of(chunk, op, &self.namespaces, self.settings, self.store.keeps_records());
        let wants: Vec<Wants<'_>> = chunk.ops.iter().map(wants).collect();
        if wants.iter().all(Wants::is_nothing) {
            return Ok(None);
        }
        let mut window = self.promising(&wants);
        loop {
            let last = chunk.ops[window - 1].at;
            let Some(mut attached) = self.window(&wants[..window], last).await? else {
                window /= 2;
                continue;
            };
            // One document may be that of many operations.
            attached.keep_within(self.limits.chunk_bytes);
            let wanting = wants[..attached.operations()].iter().filter(|wants| !wants.is_nothing()).count();
            let each = attached.size().checked_div(wanting).filter(|each| *each > 0);
            self.average.store(each.unwrap_or_else(|| self.average()), Ordering::Relaxed);
            return Ok(Some(attached));
        }
    }

    /// For how many chunks documents may be fetched at the same time. Before it is known how large they are, for one: each could be taken
    /// for too small, and bring a whole reply.
    fn ahead(&self) -> usize {
        if self.average.load(Ordering::Relaxed) == UNKNOWN { 1 } else { IMAGES_AHEAD }
    }

    /// What the documents of an operation should take, at least a byte.
    fn average(&self) -> usize {
        Some(self.average.load(Ordering::Relaxed))
            .filter(|average| *average != UNKNOWN)
            .unwrap_or(FIRST_GUESS)
    }

    /// For how many operations there should be room, at least one.
    fn promising(&self, wants: &[Wants<'_>]) -> usize {
        let mut room = self.limits.chunk_bytes / self.average();
        let fits = |wants: &&Wants<'_>| {
            let left = room.checked_sub(usize::from(!wants.is_nothing()));
            room = left.unwrap_or(0);
            left.is_some()
        };
        wants.iter().take_while(fits).count().max(1)
    }

    /// The documents for these operations, of which the last is at `last`; nothing if there is no room for them.
    async fn window(&self, wants: &[Wants<'_>], last: Position) -> Result<Option<Attached>, Error> {
        let began = Instant::now();
        let limit = if wants.len() == 1 { usize::MAX } else { self.limits.chunk_bytes };
        let room = Room { taken: AtomicUsize::new(0), limit };
        let at_once = self.limits.chunk_bytes / self.average();
        let asked = requests(wants, last, u32::try_from(at_once).unwrap_or(u32::MAX).max(1));
        let wanted: HashSet<Wanted<'_>> = wants.iter().flat_map(Wants::all).collect();
        let mut answers = Vec::new();
        for some in asked.chunks(REQUESTS_MAX) {
            answers.extend(try_join_all(some.iter().map(|request| self.ask(request, &wanted, &room))).await?);
            if room.is_exceeded() {
                return Ok(None);
            }
        }
        let mut found: HashMap<Wanted<'_>, Bytes> = HashMap::new();
        for (request, document) in
            asked.iter().zip(&answers).flat_map(|(request, all)| all.iter().map(move |one| (request, one)))
        {
            if let Some((what, image)) = RawDoc::new(document).ok().and_then(|raw| request.sought.found(raw))
            {
                found.insert(what, document.slice_ref(image.as_bytes()));
            }
        }
        let slots = wants.iter().map(|wants| Slot {
            before: resolved(wants.before, &found, NoImage::NotFound),
            now: resolved(wants.now, &found, NoImage::Gone),
        });
        let documents = u32::try_from(answers.iter().map(Vec::len).sum::<usize>()).unwrap_or(u32::MAX);
        let bytes = room.taken.into_inner();
        let fetched = Fetched { documents, bytes, elapsed: began.elapsed() };
        Ok(Some(Attached::new(self.settings, slots.collect(), fetched)))
    }

    /// Those of the answer's documents that are wanted. A reply that has one of them is held whole, and so it is counted.
    async fn ask(
        &self,
        request: &Request<'_>,
        wanted: &HashSet<Wanted<'_>>,
        room: &Room,
    ) -> Result<Vec<Bytes>, Error> {
        let mut replies = self.store.read(request);
        let mut documents = Vec::new();
        while let Some(mut reply) = replies.try_next().await? {
            let bytes = reply.iter().map(Bytes::len).sum();
            reply.retain(|document| {
                let found = RawDoc::new(document).ok().and_then(|document| request.sought.found(document));
                found.is_some_and(|(what, _)| wanted.contains(&what))
            });
            if !reply.is_empty() {
                room.take(bytes);
            }
            documents.extend(reply);
            if room.is_exceeded() {
                break;
            }
        }
        Ok(documents)
    }
}

fn resolved(
    want: Option<Result<Wanted<'_>, NoImage>>,
    found: &HashMap<Wanted<'_>, Bytes>,
    missing: NoImage,
) -> Found {
    want.map(|want| found.get(&want?).cloned().ok_or(missing))
}

/// Bytes that may be held.
struct Room {
    taken: AtomicUsize,
    limit: usize,
}

impl Room {
    fn take(&self, bytes: usize) {
        self.taken.fetch_add(bytes, Ordering::Relaxed);
    }

    fn is_exceeded(&self) -> bool {
        self.taken.load(Ordering::Relaxed) > self.limit
    }
}
