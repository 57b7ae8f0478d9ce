//! Subjects of namespaces.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;

use super::manifests::Manifests;
use super::preset::Preset;
use super::settings::Settings;
use crate::error::{Error, ErrorKind};
use crate::event::Namespace;
use crate::format::{Addressing, Route, SubjectPart, Template};
use crate::pipeline::{ManifestPlace, Router};

/// The longest fixed part of a subject. The server's limit for a whole protocol line is 4096.
const SUBJECT_BYTES_MAX: usize = 1024;

/// What the two headers need beside the position itself.
const HEADER_BYTES: usize = 128;

/// Watermarks, under the prefix.
const WATERMARK: &str = "_watermark";

/// Commands that concern a whole database, under the prefix.
const COMMANDS: &str = "_commands";

/// The subject of watermarks.
pub(crate) fn watermark_subject(prefix: &str) -> String {
    format!("{prefix}.{WATERMARK}")
}

/// Gives every namespace its subject, by the template.
#[derive(Debug)]
pub(super) struct Subjects {
    prefix: String,
    template: Template,
    /// The template does not tell namespaces apart, and is not meant to.
    shared: bool,
    bytes_max: usize,
    preset: Preset,
    watermark: Arc<Route>,
    dead_letters: Arc<Route>,
    /// None where manifests are not wanted.
    manifests: Option<Arc<Manifests>>,
    /// Which namespace has which subject; reserved ones have none.
    taken: Mutex<HashMap<String, Option<String>>>,
}

impl Subjects {
    /// `message_bytes_max` is the largest message, headers included, that the server and the stream take.
    pub(super) fn new(
        settings: &Settings,
        message_bytes_max: usize,
        manifests: Option<Arc<Manifests>>,
    ) -> Result<Self, Error> {
        let prefix = &settings.prefix;
        let bytes_max = message_bytes_max.saturating_sub(HEADER_BYTES);
        let watermark = watermark_subject(prefix);
        let dead_letters = Template::dead_letters(prefix);
        let reserved = [watermark.clone(), dead_letters.clone(), format!("{prefix}.{COMMANDS}")];
        let template = settings.template()?;
        Ok(Self {
            prefix: prefix.clone(),
            shared: !template.tells_namespaces_apart(),
            template,
            bytes_max,
            preset: settings.preset,
            watermark: Arc::new(fixed(watermark, bytes_max)),
            dead_letters: Arc::new(match settings.preset {
                Preset::Log => fixed(dead_letters, bytes_max),
                Preset::Latest => one_by_one(dead_letters, bytes_max),
            }),
            manifests,
            taken: Mutex::new(reserved.into_iter().map(|subject| (subject, None)).collect()),
        })
    }

    fn find(&self, ns: Namespace<'_>) -> Result<Arc<Route>, Error> {
        if ns.coll.is_empty() {
            return Ok(Arc::new(fixed(format!("{}.{COMMANDS}", self.prefix), self.bytes_max)));
        }
        let parts = self.template.subject(&self.prefix, ns);
        let name = display(&parts);
        if name.len() > SUBJECT_BYTES_MAX {
            return Err(Error::new(ErrorKind::Refused, format!("the subject of {ns} is too long: {name}")));
        }
        self.claim(&name, ns)?;
        Ok(Arc::new(Route {
            name,
            addressing: Addressing::Subject(parts),
            bytes_max: self.bytes_max,
            tombstones: false,
            whole_documents: self.preset == Preset::Latest,
        }))
    }

    /// A subject belongs to the first namespace that asks, unless sharing is meant.
    fn claim(&self, subject: &str, ns: Namespace<'_>) -> Result<(), Error> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let owner = taken.entry(subject.to_owned()).or_insert_with(|| Some(ns.to_string()));
        match owner {
            Some(owner) if self.shared || *owner == ns.to_string() => Ok(()),
            Some(owner) => Err(Error::new(
                ErrorKind::Collision,
                format!("{ns} and {owner} would share the subject {subject}"),
            )),
            None => Err(Error::new(
                ErrorKind::Collision,
                format!("{ns} would get the reserved subject {subject}"),
            )),
        }
    }
}

impl Router for Subjects {
    fn route<'a>(&'a self, ns: Namespace<'a>) -> BoxFuture<'a, Result<Arc<Route>, Error>> {
        async move { self.find(ns) }.boxed()
    }

    fn dead_letters(&self) -> BoxFuture<'_, Result<Arc<Route>, Error>> {
        futures::future::ok(Arc::clone(&self.dead_letters)).boxed()
    }

    fn manifest<'a>(
        &'a self,
        ns: Namespace<'a>,
        _: &'a Route,
    ) -> BoxFuture<'a, Result<Option<ManifestPlace>, Error>> {
        async move {
            let Some(manifests) = &self.manifests else { return Ok(None) };
            let subject = Template::manifest_subject(&self.prefix, ns);
            manifests.look_up(&subject).await?;
            let route = Arc::new(fixed(subject, self.bytes_max));
            Ok(Some(ManifestPlace { route, compacted: Some(self.preset == Preset::Latest) }))
        }
        .boxed()
    }

    fn watermark_routes(&self) -> Vec<Arc<Route>> {
        vec![Arc::clone(&self.watermark)]
    }
}

/// A route whose events all have one subject.
fn fixed(subject: String, bytes_max: usize) -> Route {
    let parts = vec![SubjectPart::Literal(subject.clone())];
    Route { bytes_max, ..Route::new(subject, Addressing::Subject(parts)) }
}

/// A route whose events have a subject each, so that none replaces another.
fn one_by_one(subject: String, bytes_max: usize) -> Route {
    let parts = vec![SubjectPart::Literal(subject + "."), SubjectPart::Position];
    Route { bytes_max, ..Route::new(display(&parts), Addressing::Subject(parts)) }
}

/// The subject as people read it.
fn display(parts: &[SubjectPart]) -> String {
    let part = |part: &SubjectPart| match part {
        SubjectPart::Literal(text) => text.clone(),
        SubjectPart::Id => "{id}".to_owned(),
        SubjectPart::Op => "{op}".to_owned(),
        SubjectPart::Position => "{position}".to_owned(),
    };
    parts.iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::{Preset, Settings, Subjects};
    use crate::error::{Error, ErrorKind};
    use crate::event::Namespace;
    use crate::pipeline::Router;

    fn subjects(template: &str) -> Subjects {
        let settings = Settings { subject: Some(template.into()), ..Settings::default() };
        Subjects::new(&settings, 1 << 20, None).unwrap()
    }

    fn name(subjects: &Subjects, ns: &str) -> Result<String, Error> {
        let route = subjects.route(Namespace::split(ns)).now_or_never().expect("no I/O")?;
        Ok(route.name.clone())
    }

    #[test]
    fn every_kind_of_event_has_its_subject() {
        let subjects = subjects("{prefix}.{db}.{coll}.{id}");
        assert_eq!(name(&subjects, "shop.orders").unwrap(), "mongo.shop.orders.{id}");
        assert_eq!(name(&subjects, "shop").unwrap(), "mongo._commands");
        let dead_letters = subjects.dead_letters().now_or_never().expect("no I/O").unwrap();
        assert_eq!(dead_letters.name, "mongo._dead_letters");
        assert_eq!(subjects.watermark_routes()[0].name, "mongo._watermark");
        assert!(subjects.watermark_routes()[0].bytes_max < 1 << 20);
    }

    #[test]
    fn namespaces_meet_only_on_purpose() {
        let glued = subjects("{prefix}.{db}{coll}");
        name(&glued, "a.bc").unwrap();
        name(&glued, "a.bc").unwrap();
        assert_eq!(name(&glued, "ab.c").unwrap_err().kind(), ErrorKind::Collision);

        let shared = subjects("{prefix}.{db}");
        name(&shared, "shop.orders").unwrap();
        name(&shared, "shop.users").unwrap();
        for (ns, subject) in
            [("_watermark.x", "mongo.=5Fwatermark"), ("_dead_letters.x", "mongo.=5Fdead_letters")]
        {
            assert_eq!(name(&shared, ns).unwrap(), subject, "ours stay ours");
        }
    }

    #[test]
    fn in_a_table_no_dead_letter_replaces_another() {
        let settings = Settings { preset: Preset::Latest, ..Settings::default() };
        let subjects = Subjects::new(&settings, 1 << 20, None).unwrap();
        assert_eq!(name(&subjects, "shop.orders").unwrap(), "mongo.shop.orders.{id}");
        let dead_letters = subjects.dead_letters().now_or_never().expect("no I/O").unwrap();
        assert_eq!(dead_letters.name, "mongo._dead_letters.{position}");
    }

    #[test]
    fn an_endless_subject_is_refused() {
        let long = format!("shop.{}", "x".repeat(2000));
        assert_eq!(name(&subjects("{prefix}.{db}.{coll}"), &long).unwrap_err().kind(), ErrorKind::Refused);
    }
}
