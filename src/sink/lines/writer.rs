//! The thread that writes lines, and standard output as one of its outputs.

use std::io::{self, BufWriter, Stdout, Write};
use std::ops::Range;

use tokio::sync::{mpsc, oneshot};

use super::paint::paint;
use crate::error::{Error, ErrorKind};
use crate::event::Position;
use crate::pipeline::{BATCHES_MAX, Delivery, RecordBatch, Said, Sink};

/// Something that takes lines.
pub(super) trait Output: Send + 'static {
    /// Takes one line, without its end.
    fn line(&mut self, line: &[u8], at: Position) -> Result<(), Error>;
    /// Takes a manifest, which is a line unless the one before with that key has said the same.
    fn manifest(&mut self, key: &[u8], line: &[u8]) -> Result<(), Error>;
    /// Makes everything taken so far durable.
    fn commit(&mut self) -> Result<(), Error>;
}

struct Job {
    batch: RecordBatch,
    done: oneshot::Sender<Result<(), Error>>,
}

/// Writes in a thread of its own: output may block for as long as it likes.
pub(super) struct LineSink {
    jobs: mpsc::Sender<Job>,
}

impl LineSink {
    pub(super) fn start(output: impl Output) -> Result<Self, Error> {
        // As many as the budget lets through, so there is always room.
        let (jobs, waiting) = mpsc::channel(BATCHES_MAX + 1);
        std::thread::Builder::new()
            .name("lines".to_owned())
            .spawn(move || write(output, waiting))
            .map_err(|error| Error::caused(ErrorKind::Local, "no thread can be started", error))?;
        Ok(Self { jobs })
    }
}

impl Sink for LineSink {
    fn send(&mut self, batch: RecordBatch) -> Delivery {
        let (done, delivery) = oneshot::channel();
        if let Err(refused) = self.jobs.try_send(Job { batch, done }) {
            let job = refused.into_inner();
            let _ = job
                .done
                .send(Err(Error::new(ErrorKind::Internal, "more batches under way than the budget allows")));
        }
        delivery
    }
}

/// Takes what waits, writes it, commits once, and answers all of it. After a failure everything fails.
fn write(mut output: impl Output, mut waiting: mpsc::Receiver<Job>) {
    let mut jobs = Vec::new();
    while waiting.blocking_recv_many(&mut jobs, BATCHES_MAX) > 0 {
        let result =
            jobs.iter().try_for_each(|job| lines(&mut output, &job.batch)).and_then(|()| output.commit());
        let failed = result.is_err();
        let mut result = Some(result);
        for job in jobs.drain(..) {
            drop(job.batch);
            // The first one carries the reason; the others are behind it.
            let answer = result.take().unwrap_or_else(|| if failed { Err(behind()) } else { Ok(()) });
            let _ = job.done.send(answer);
        }
        if failed {
            return;
        }
    }
}

fn lines(output: &mut impl Output, batch: &RecordBatch) -> Result<(), Error> {
    let part = |range: &Range<u32>| &batch.bytes[range.start as usize..range.end as usize];
    batch.records.iter().try_for_each(|record| match &record.value {
        Some(value) if record.is_manifest => output.manifest(part(&record.key), part(value)),
        Some(value) => output.line(part(value), record.at),
        None => Ok(()),
    })
}

fn behind() -> Error {
    Error::new(ErrorKind::SinkUnavailable, "an earlier line could not be written")
}

/// Standard output.
pub(super) struct Standard {
    out: BufWriter<Stdout>,
    color: bool,
    said: Said,
}

impl Standard {
    pub(super) fn new(color: bool) -> Self {
        Self { out: BufWriter::with_capacity(256 * 1024, io::stdout()), color, said: Said::default() }
    }

    fn write(&mut self, line: &[u8]) -> Result<(), Error> {
        let written = if self.color { paint(line, &mut self.out) } else { self.out.write_all(line) };
        written.and_then(|()| self.out.write_all(b"\n")).map_err(closed)
    }
}

impl Output for Standard {
    fn line(&mut self, line: &[u8], _: Position) -> Result<(), Error> {
        self.write(line)
    }

    fn manifest(&mut self, key: &[u8], line: &[u8]) -> Result<(), Error> {
        if self.said.is_news(key, line) { self.write(line) } else { Ok(()) }
    }

    fn commit(&mut self) -> Result<(), Error> {
        self.out.flush().map_err(closed)
    }
}

fn closed(error: io::Error) -> Error {
    Error::caused(ErrorKind::Local, "standard output takes no more", error)
}
