//! `mongo-observer decode`: oplog entries in, change events out; offline, and by the same code as the tail.

use std::fmt;
use std::iter;
use std::ops::Range;
use std::process::ExitCode;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::args::Decode as Args;
use super::lines;
use crate::bson::Malformed;
use crate::bson::RawDoc;
use crate::bson::extjson::{Mode, parse, write_doc, write_string};
use crate::error::{Error, ErrorKind};
use crate::event::Namespace;
use crate::format::{Addressing, Format, Options, Record, Route, Template};
use crate::pipeline::{Policies, RecordBatch, Router, Stage};
use crate::source::oplog::{Cut, Cutter, Pieces};
use crate::source::{Chunk, Namespaces};

/// What events name as their source: entries don't say which replica set they come from.
const SOURCE: &str = "offline";

pub(super) fn decode(args: &Args) -> Result<ExitCode, Error> {
    let mut decoder = Decoder::new(args)?;
    lines::run(|line, out| decoder.line(line, out))
}

/// Turns lines into lines.
struct Decoder {
    stage: Stage,
    format: Format,
    records: bool,
    /// Entries of transactions whose end is still to come.
    pieces: Pieces,
}

impl Decoder {
    fn new(args: &Args) -> Result<Self, Error> {
        let Args { format, records, prefix, expanded_events } = args;
        let options = Options { expanded_events: *expanded_events, ..Options::default() };
        let topics = Topics::new(prefix, *format)?;
        let router: Arc<dyn Router> = if *records { Arc::new(topics) } else { Arc::new(Lines::new()) };
        let namespaces = Arc::new(Namespaces::default());
        let encoder = format.encoder_with(options);
        let stage = Stage::new(SOURCE.to_owned(), namespaces, router, encoder, Policies::default());
        Ok(Self { stage, format: *format, records: *records, pieces: Pieces::default() })
    }

    /// Decodes all of `input`; says how many lines were bad. What was decoded is written before more input is waited for.
    /// Appends the records of the entry on a line: all of them, or none and the reason.
    fn line(&mut self, text: &str, out: &mut Vec<u8>) -> Result<(), String> {
        let entry = Bytes::from(parse(text).map_err(|error| error.to_string())?);
        let whole = 0..entry.len();
        // A cutter for each line: one that remembers would drop entries that come in another order, or again.
        // What is read is well-formed, as the parser made it: where in its bytes an entry lacks something would tell nothing.
        let what = |error: Malformed| error.what.to_owned();
        let cuts = Cutter::new(None).cut(&entry, iter::once(Ok(whole))).map_err(what)?;
        self.pieces.note(&entry);
        let mut batches = Vec::new();
        for cut in cuts {
            let chunks = match cut {
                Cut::Chunk(chunk) => vec![chunk],
                Cut::Chain(chain) => self.pieces.resolve(*chain).map_err(what)?,
            };
            for chunk in chunks {
                batches.push(self.prepare(chunk)?);
            }
        }
        batches.iter().try_for_each(|batch| self.write(batch, out).map_err(what))
    }

    fn prepare(&self, chunk: Chunk) -> Result<RecordBatch, String> {
        let prepared = self.stage.prepare(chunk).now_or_never();
        prepared.expect("places offline are found without waiting").map_err(|error| error.what().to_owned())
    }

    fn write(&self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), Malformed> {
        for record in &batch.records {
            let record = Parts::of(record, &batch.bytes);
            if self.records {
                record.write_whole(out, self.format);
            } else {
                record.write_event(out, self.format)?;
            }
        }
        Ok(())
    }
}

/// A record's bytes.
struct Parts<'a> {
    topic: &'a str,
    key: &'a [u8],
    value: Option<&'a [u8]>,
}

impl<'a> Parts<'a> {
    fn of(record: &'a Record, bytes: &'a [u8]) -> Self {
        let part = |range: &Range<u32>| &bytes[range.start as usize..range.end as usize];
        Self { topic: &record.route.name, key: part(&record.key), value: record.value.as_ref().map(part) }
    }

    /// The event alone, as JSON on one line; a tombstone is no event.
    fn write_event(&self, out: &mut Vec<u8>, format: Format) -> Result<(), Malformed> {
        let Some(value) = self.value else { return Ok(()) };
        if format.is_text() {
            out.extend_from_slice(value);
        } else {
            write_doc(out, RawDoc::new(value)?, Mode::Canonical)?;
        }
        out.push(b'\n');
        Ok(())
    }

    /// `{"topic", "key", "value"}`, key and value as text; if one of them is none, both in base64, and `encoding` says so.
    fn write_whole(&self, out: &mut Vec<u8>, format: Format) {
        let parts = [Some(self.key), self.value];
        let is_text =
            format.is_text() && parts.into_iter().flatten().all(|part| str::from_utf8(part).is_ok());
        let string = |out: &mut Vec<u8>, part: &[u8]| {
            if is_text {
                write_string(out, part);
            } else {
                write_string(out, BASE64_STANDARD.encode(part).as_bytes());
            }
        };
        out.extend_from_slice(b"{\"topic\":");
        write_string(out, self.topic.as_bytes());
        out.extend_from_slice(b",\"key\":");
        string(out, self.key);
        out.extend_from_slice(b",\"value\":");
        match self.value {
            Some(value) => string(out, value),
            None => out.extend_from_slice(b"null"),
        }
        if !is_text {
            out.extend_from_slice(b",\"encoding\":\"base64\"");
        }
        out.extend_from_slice(b"}\n");
    }
}

/// One place for all namespaces: a rename is one event.
#[derive(Debug)]
struct Lines(Arc<Route>);

impl Lines {
    fn new() -> Self {
        Self(Arc::new(route("standard output".to_owned(), Addressing::Lines)))
    }
}

impl Router for Lines {
    fn route<'a>(&'a self, _: Namespace<'a>) -> BoxFuture<'a, Result<Arc<Route>, Error>> {
        futures::future::ok(Arc::clone(&self.0)).boxed()
    }

    fn dead_letters(&self) -> BoxFuture<'_, Result<Arc<Route>, Error>> {
        futures::future::ok(Arc::clone(&self.0)).boxed()
    }

    fn watermark_routes(&self) -> Vec<Arc<Route>> {
        Vec::new()
    }
}

/// A Kafka topic for each namespace. One partition stands for all: what goes to every partition is one record.
#[derive(Debug)]
struct Topics {
    template: Template,
    prefix: String,
    format: Format,
}

impl Topics {
    fn new(prefix: &str, format: Format) -> Result<Self, Error> {
        let template: Template = "{prefix}.{db}.{coll}".parse().expect("a valid template");
        template.check_topic(prefix).map_err(|error| refused(&error))?;
        Ok(Self { template, prefix: prefix.to_owned(), format })
    }
}

impl Router for Topics {
    fn route<'a>(&'a self, ns: Namespace<'a>) -> BoxFuture<'a, Result<Arc<Route>, Error>> {
        let topic = self.format.topic(&self.template, &self.prefix, ns).map_err(|error| refused(&error));
        futures::future::ready(topic.map(|topic| Arc::new(route(topic, Addressing::Partitions(1))))).boxed()
    }

    fn dead_letters(&self) -> BoxFuture<'_, Result<Arc<Route>, Error>> {
        let topic = Template::dead_letters(&self.prefix);
        futures::future::ok(Arc::new(route(topic, Addressing::Partitions(1)))).boxed()
    }

    fn watermark_routes(&self) -> Vec<Arc<Route>> {
        Vec::new()
    }
}

fn route(name: String, addressing: Addressing) -> Route {
    Route::new(name, addressing)
}

fn refused(why: &impl fmt::Display) -> Error {
    Error::new(ErrorKind::Config, format!("--prefix: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line_of(key: &[u8], value: Option<&[u8]>) -> String {
        line_in(Format::Json, key, value)
    }

    fn line_in(format: Format, key: &[u8], value: Option<&[u8]>) -> String {
        let mut line = Vec::new();
        Parts { topic: "a", key, value }.write_whole(&mut line, format);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_record_is_text_where_it_can_be_and_base64_where_not() {
        assert_eq!(
            line_of(b"k\"", Some("v\u{e9}\n".as_bytes())),
            "{\"topic\":\"a\",\"key\":\"k\\\"\",\"value\":\"v\u{e9}\\n\"}\n"
        );
        assert_eq!(line_of(b"k", None), "{\"topic\":\"a\",\"key\":\"k\",\"value\":null}\n");
        assert_eq!(
            line_of(b"k", Some(b"\xff")),
            "{\"topic\":\"a\",\"key\":\"aw==\",\"value\":\"/w==\",\"encoding\":\"base64\"}\n"
        );
        assert_eq!(
            line_of(b"\xff", None),
            "{\"topic\":\"a\",\"key\":\"/w==\",\"value\":null,\"encoding\":\"base64\"}\n"
        );
    }

    #[test]
    fn a_binary_record_is_base64_even_where_its_bytes_are_text() {
        let empty = [5, 0, 0, 0, 0];
        assert_eq!(
            line_in(Format::Bson, &empty, Some(&empty)),
            "{\"topic\":\"a\",\"key\":\"BQAAAAA=\",\"value\":\"BQAAAAA=\",\"encoding\":\"base64\"}\n"
        );
    }
}
