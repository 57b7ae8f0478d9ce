//! One event a line: standard output, and files that are cut into pieces.

mod file;
mod paint;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;

use self::file::{FileTail, Rotating};
use self::writer::{LineSink, Standard};
use crate::error::Error;
use crate::event::Namespace;
use crate::format::{Addressing, Route};
use crate::pipeline::{ManifestPlace, OpenSink, Opened, OwnStore, Router, SinkTail, Stored};

/// Standard output. It forgets: there is no checkpoint beside it.
#[derive(Clone, Copy, Debug)]
pub struct StandardOutput {
    /// Whether lines are coloured.
    pub color: bool,
    /// Whether manifests of namespaces are among the lines.
    pub manifest: bool,
}

impl OpenSink for StandardOutput {
    fn open<'a>(&'a self, _: Option<&'a Stored>) -> BoxFuture<'a, Result<Opened, Error>> {
        let sink = LineSink::start(Standard::new(self.color));
        let router = Arc::new(Lines { manifests: self.manifest, ..Lines::new("standard output") });
        Box::pin(async { Ok(Opened { sink: Box::new(sink?), router, tail: SinkTail::Unknown }) })
    }

    fn own_store(&self, _: &str) -> Result<OwnStore, Error> {
        Ok(OwnStore::None)
    }

    fn check(&self) -> BoxFuture<'_, Result<String, Error>> {
        Box::pin(async { Ok("standard output".to_owned()) })
    }
}

/// A file; full ones get the position of their last event behind their name. The last complete line says where to go on.
#[derive(Clone, Debug)]
pub struct LinesFile {
    /// The file that is written.
    pub path: PathBuf,
    /// A new file is begun when this one would grow beyond that many bytes; 0: never.
    pub rotate_bytes: u64,
    /// How many full files are kept; 0: all.
    pub keep: u32,
    /// Whether a line tells the position of its event. If not, the file can't tell where it ends.
    pub tells_position: bool,
    /// Whether manifests of namespaces are among the lines: before the first event, and at the beginning of each further file.
    pub manifest: bool,
}

impl OpenSink for LinesFile {
    fn open<'a>(&'a self, _: Option<&'a Stored>) -> BoxFuture<'a, Result<Opened, Error>> {
        Box::pin(async {
            let settings = self.clone();
            let opened = tokio::task::spawn_blocking(move || Rotating::open(settings)).await;
            let (output, tail) = opened.map_err(file::broken)??;
            let lines = Lines::new(&self.path.display().to_string());
            let router = Arc::new(Lines { watermarks: true, manifests: self.manifest, ..lines });
            Ok(Opened { sink: Box::new(LineSink::start(output)?), router, tail })
        })
    }

    fn own_store(&self, _: &str) -> Result<OwnStore, Error> {
        Ok(if self.tells_position {
            OwnStore::Tail(Box::new(FileTail(self.clone())))
        } else {
            OwnStore::None
        })
    }

    fn check(&self) -> BoxFuture<'_, Result<String, Error>> {
        Box::pin(async {
            let settings = self.clone();
            let tail =
                tokio::task::spawn_blocking(move || file::tail(&settings)).await.map_err(file::broken)??;
            Ok(match tail {
                SinkTail::At(tail) => {
                    format!("file {}, which ends at position {}", self.path.display(), tail.at)
                }
                _ => format!("file {}, without events", self.path.display()),
            })
        })
    }
}

/// All namespaces go to the same lines.
#[derive(Debug)]
struct Lines {
    route: Arc<Route>,
    watermarks: bool,
    manifests: bool,
}

impl Lines {
    fn new(name: &str) -> Self {
        let route = Route::new(name, Addressing::Lines);
        Self { route: Arc::new(route), watermarks: false, manifests: false }
    }
}

impl Router for Lines {
    fn route<'a>(&'a self, _: Namespace<'a>) -> BoxFuture<'a, Result<Arc<Route>, Error>> {
        Box::pin(async { Ok(Arc::clone(&self.route)) })
    }

    fn dead_letters(&self) -> BoxFuture<'_, Result<Arc<Route>, Error>> {
        Box::pin(async { Ok(Arc::clone(&self.route)) })
    }

    fn manifest<'a>(
        &'a self,
        _: Namespace<'a>,
        _: &'a Route,
    ) -> BoxFuture<'a, Result<Option<ManifestPlace>, Error>> {
        let place = ManifestPlace { route: Arc::clone(&self.route), compacted: Some(false) };
        Box::pin(async { Ok(self.manifests.then_some(place)) })
    }

    /// A file keeps the position itself, so it wants them; a person who looks at standard output does not.
    fn watermark_routes(&self) -> Vec<Arc<Route>> {
        if self.watermarks { vec![Arc::clone(&self.route)] } else { Vec::new() }
    }
}
