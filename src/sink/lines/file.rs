//! A file of lines that is cut into pieces, and that knows where it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use futures::future::BoxFuture;

use super::LinesFile;
use super::writer::Output;
use crate::error::{Error, ErrorKind};
use crate::event::Position;
use crate::format::Manifest;
use crate::pipeline::{Checkpoint, CheckpointStore, Said, SinkTail, Stored};

/// The open file. Locked, so that a second instance is refused.
pub(super) struct Rotating {
    settings: LinesFile,
    out: BufWriter<File>,
    length: u64,
    /// The length of what each new file begins with.
    head: u64,
    last: Option<Position>,
    said: Said,
}

impl Rotating {
    /// Opens the file behind its last complete line. A piece of a line that a crash left is cut off: it was never confirmed.
    pub(super) fn open(settings: LinesFile) -> Result<(Self, SinkTail), Error> {
        let tail = tail(&settings)?;
        let file = open_locked(&settings.path)?;
        let length = complete_length(&file).and_then(|length| file.set_len(length).map(|()| length));
        let length = length.map_err(|error| local(&settings.path, "can't be read", error))?;
        let last = if let SinkTail::At(tail) = &tail { Some(tail.at) } else { None };
        let out = BufWriter::with_capacity(256 * 1024, file);
        Ok((Self { settings, out, length, head: 0, last, said: Said::default() }, tail))
    }

    fn write(&mut self, line: &[u8]) -> Result<(), Error> {
        let written = self.out.write_all(line).and_then(|()| self.out.write_all(b"\n"));
        written.map_err(|error| local(&self.settings.path, "can't be written", error))?;
        self.length += line.len() as u64 + 1;
        Ok(())
    }

    /// Gives the full file the name of its last position and begins a new one, with what is known of the namespaces.
    fn rotate(&mut self) -> Result<(), Error> {
        let Some(last) = self.last else { return Ok(()) };
        self.commit()?;
        let path = &self.settings.path;
        let full = piece(path, last);
        std::fs::rename(path, &full).map_err(|error| local(path, "can't be renamed", error))?;
        self.out = BufWriter::with_capacity(256 * 1024, open_locked(path)?);
        self.length = 0;
        let said = std::mem::take(&mut self.said);
        let written = said.values().try_for_each(|manifest| self.write(manifest));
        self.said = said;
        self.head = self.length;
        written.and_then(|()| self.forget_old())
    }

    fn forget_old(&self) -> Result<(), Error> {
        if self.settings.keep == 0 {
            return Ok(());
        }
        let pieces = pieces(&self.settings.path)?;
        let surplus = pieces.len().saturating_sub(self.settings.keep as usize);
        for old in &pieces[..surplus] {
            std::fs::remove_file(old).map_err(|error| local(old, "can't be removed", error))?;
        }
        Ok(())
    }
}

impl Output for Rotating {
    fn line(&mut self, line: &[u8], at: Position) -> Result<(), Error> {
        let length = line.len() as u64 + 1;
        let full = self.settings.rotate_bytes > 0 && self.length + length > self.settings.rotate_bytes;
        if full && self.length > self.head {
            self.rotate()?;
        }
        self.write(line)?;
        self.last = Some(at);
        Ok(())
    }

    fn manifest(&mut self, key: &[u8], line: &[u8]) -> Result<(), Error> {
        if self.said.is_news(key, line) { self.write(line) } else { Ok(()) }
    }

    fn commit(&mut self) -> Result<(), Error> {
        let synced = self.out.flush().and_then(|()| self.out.get_ref().sync_data());
        synced.map_err(|error| local(&self.settings.path, "can't be written", error))
    }
}

/// What the file, or the newest full one, ends with.
pub(super) fn tail(settings: &LinesFile) -> Result<SinkTail, Error> {
    if !settings.tells_position {
        return Ok(SinkTail::Unknown);
    }
    let mut newest_first = pieces(&settings.path)?;
    newest_first.push(settings.path.clone());
    for path in newest_first.iter().rev() {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(local(path, "can't be read", error)),
        };
        if let Some(tail) = tail_of(path, &mut file)? {
            return Ok(tail);
        }
    }
    Ok(SinkTail::Empty)
}

/// What a file's last line says, manifests aside: they stand before the events that they announce.
fn tail_of(path: &Path, file: &mut File) -> Result<Option<SinkTail>, Error> {
    let unreadable = |error| local(path, "can't be read", error);
    let mut end = complete_length(file).map_err(unreadable)?;
    while end > 0 {
        let line = last_line(file, end).map_err(unreadable)?;
        match read_tail(&line) {
            Some(Last::Manifest) => end -= line.len() as u64 + 1,
            Some(Last::Event(tail)) => return Ok(Some(tail)),
            None => {
                return Err(Error::new(
                    ErrorKind::CheckpointUnreadable,
                    format!("the last line of {} is not an event of this program", path.display()),
                ));
            }
        }
    }
    Ok(None)
}

enum Last {
    Manifest,
    Event(SinkTail),
}

fn read_tail(line: &[u8]) -> Option<Last> {
    let event: serde_json::Value = serde_json::from_slice(line).ok()?;
    let op = event.get("op")?;
    if op == Manifest::OP {
        return Some(Last::Manifest);
    }
    if op == "cleared" {
        return Some(Last::Event(SinkTail::Cleared));
    }
    let at = event.get("position")?.as_str()?.parse().ok()?;
    let source = event.get("source")?.as_str()?.to_owned();
    Some(Last::Event(SinkTail::At(Checkpoint { at, term: None, source })))
}

/// `mongo-observer checkpoint` for a file: reads its last line, and moves the place by one more.
pub(super) struct FileTail(pub(super) LinesFile);

impl CheckpointStore for FileTail {
    fn take(&mut self) -> BoxFuture<'_, Result<Option<Stored>, Error>> {
        self.peek()
    }

    fn save<'a>(&'a mut self, stored: &'a Stored) -> BoxFuture<'a, Result<(), Error>> {
        let (settings, line) = (self.0.clone(), marker(stored));
        let at = stored.checkpoint().map_or_else(Position::default, |checkpoint| checkpoint.at);
        Box::pin(async move {
            let write = move || {
                let (mut file, _) = Rotating::open(settings)?;
                file.line(line.as_bytes(), at)?;
                file.commit()
            };
            tokio::task::spawn_blocking(write).await.map_err(broken)?
        })
    }

    fn peek(&mut self) -> BoxFuture<'_, Result<Option<Stored>, Error>> {
        let settings = self.0.clone();
        Box::pin(async move {
            Ok(match tokio::task::spawn_blocking(move || tail(&settings)).await.map_err(broken)?? {
                SinkTail::At(checkpoint) => Some(Stored::Checkpoint(checkpoint)),
                SinkTail::Cleared => Some(Stored::Cleared),
                SinkTail::Empty | SinkTail::Unknown | SinkTail::Within(_) => None,
            })
        })
    }
}

fn marker(stored: &Stored) -> String {
    match stored.checkpoint() {
        Some(checkpoint) => serde_json::json!({
            "op": "watermark", "position": checkpoint.at, "source": checkpoint.source,
        }),
        None => serde_json::json!({ "op": "cleared" }),
    }
    .to_string()
}

pub(super) fn broken(error: tokio::task::JoinError) -> Error {
    Error::caused(ErrorKind::Internal, "the file's task broke off", error)
}

fn open_locked(path: &Path) -> Result<File, Error> {
    let file = OpenOptions::new().create(true).read(true).append(true).open(path);
    let file = file.map_err(|error| local(path, "can't be opened", error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Error::new(ErrorKind::Fenced, format!("another instance writes {}", path.display())))
        }
        Err(TryLockError::Error(error)) => Err(local(path, "can't be locked", error)),
    }
}

/// The name of a full file.
fn piece(path: &Path, last: Position) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{last}"));
    PathBuf::from(name)
}

/// The full files, oldest first: positions sort as text.
fn pieces(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let entries = std::fs::read_dir(folder).map_err(|error| {
        Error::caused(ErrorKind::Local, format!("folder {} can't be listed", folder.display()), error)
    })?;
    let mut pieces: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|entry| {
            let other = entry.file_name().to_string_lossy().into_owned();
            let suffix = other.strip_prefix(&name).and_then(|rest| rest.strip_prefix('.'));
            suffix.is_some_and(|suffix| suffix.parse::<Position>().is_ok())
        })
        .map(|entry| entry.path())
        .collect();
    pieces.sort();
    Ok(pieces)
}

/// The length up to and including the last line end.
fn complete_length(mut file: &File) -> std::io::Result<u64> {
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut block = [0; 4096];
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let size = usize::try_from(end - start).unwrap_or(block.len());
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut block[..size])?;
        if let Some(at) = block[..size].iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// The line that ends there, without its end.
fn last_line(file: &mut File, end: u64) -> std::io::Result<Vec<u8>> {
    let (mut start, mut size) = (end - 1, 4096_u64);
    let mut line = Vec::new();
    loop {
        let from = start.saturating_sub(size);
        line.resize(usize::try_from(end - 1 - from).unwrap_or(usize::MAX), 0);
        file.seek(SeekFrom::Start(from))?;
        file.read_exact(&mut line)?;
        if let Some(at) = line.iter().rposition(|byte| *byte == b'\n') {
            return Ok(line.split_off(at + 1));
        }
        if from == 0 {
            return Ok(line);
        }
        (start, size) = (from, size * 2);
    }
}

fn local(path: &Path, what: &str, error: std::io::Error) -> Error {
    Error::caused(ErrorKind::Local, format!("file {} {what}", path.display()), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(t: u32, filler: usize) -> String {
        format!(
            r#"{{"op":"insert","filler":"{}","position":"{}","source":"rs0"}}"#,
            "x".repeat(filler),
            Position::of_entry(t, 1)
        )
    }

    fn settings(folder: &tempfile::TempDir) -> LinesFile {
        LinesFile {
            path: folder.path().join("events.jsonl"),
            rotate_bytes: 300,
            keep: 2,
            tells_position: true,
            manifest: false,
        }
    }

    fn end(settings: &LinesFile) -> Option<u32> {
        match tail(settings).unwrap() {
            SinkTail::At(tail) => Some(tail.at.t),
            _ => None,
        }
    }

    #[test]
    fn a_full_file_is_renamed_and_only_so_many_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(&folder);
        let (mut file, tail) = Rotating::open(settings.clone()).unwrap();
        assert_eq!(tail, SinkTail::Empty);
        for t in 1..=9 {
            file.line(event(t, 10).as_bytes(), Position::of_entry(t, 1)).unwrap();
        }
        file.commit().unwrap();
        let kept = pieces(&settings.path).unwrap();
        assert_eq!(kept.len(), 2);
        assert!(kept.iter().all(|path| std::fs::metadata(path).unwrap().len() <= 300));
        assert_eq!(end(&settings), Some(9));
    }

    #[test]
    fn half_a_line_is_cut_off_and_the_last_complete_one_counts_however_long_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(&folder);
        let torn = format!("{}\n{}\n{{\"op\":\"ins", event(1, 10), event(2, 20_000));
        std::fs::write(&settings.path, torn).unwrap();
        assert_eq!(end(&settings), Some(2));
        let (mut file, _) = Rotating::open(settings.clone()).unwrap();
        file.line(event(3, 1).as_bytes(), Position::of_entry(3, 1)).unwrap();
        file.commit().unwrap();
        assert_eq!(end(&settings), Some(3));
        assert!(!std::fs::read_to_string(&settings.path).unwrap().contains("\"ins{"));
    }

    #[test]
    fn each_file_begins_with_the_manifests_and_none_is_taken_for_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let settings = LinesFile { keep: 0, ..settings(&folder) };
        let (mut file, _) = Rotating::open(settings.clone()).unwrap();
        let manifest = |ns: char| format!(r#"{{"op":"namespace","ns":"{}"}}"#, ns.to_string().repeat(200));
        let say = |file: &mut Rotating, ns| file.manifest(&[ns as u8], manifest(ns).as_bytes()).unwrap();
        say(&mut file, 'a');
        file.commit().unwrap();
        assert_eq!(tail(&settings).unwrap(), SinkTail::Empty, "nothing was told of the event");
        for t in 1..=4 {
            say(&mut file, 'a');
            file.line(event(t, 100).as_bytes(), Position::of_entry(t, 1)).unwrap();
        }
        say(&mut file, 'b');
        file.commit().unwrap();
        assert_eq!(end(&settings), Some(4));
        // The manifest and one event are more than there is room for: it is one event for each file.
        let mut files = pieces(&settings.path).unwrap();
        assert_eq!(files.len(), 3);
        files.push(settings.path.clone());
        for (t, path) in (1..).zip(&files) {
            let mut expected = vec![manifest('a'), event(t, 100)];
            expected.extend((t == 4).then(|| manifest('b')));
            assert_eq!(std::fs::read_to_string(path).unwrap().lines().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn an_empty_new_file_ends_where_the_newest_full_one_does() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(&folder);
        for t in [4, 12] {
            std::fs::write(piece(&settings.path, Position::of_entry(t, 1)), event(t, 1) + "\n").unwrap();
        }
        std::fs::write(&settings.path, "").unwrap();
        assert_eq!(end(&settings), Some(12));
    }

    #[test]
    fn a_second_writer_is_refused_and_a_foreign_line_is_not_taken_for_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(&folder);
        let first = Rotating::open(settings.clone()).unwrap();
        assert_eq!(Rotating::open(settings.clone()).err().map(|error| error.kind()), Some(ErrorKind::Fenced));
        drop(first);
        std::fs::write(&settings.path, "hello\n").unwrap();
        assert_eq!(tail(&settings).expect_err("foreign").kind(), ErrorKind::CheckpointUnreadable);
    }

    #[tokio::test]
    async fn the_command_line_can_move_and_clear_the_place() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = FileTail(settings(&folder));
        assert_eq!(store.peek().await.unwrap(), None);
        let moved = Stored::Checkpoint(Checkpoint {
            at: Position::of_entry(7, 1),
            term: None,
            source: "rs0".to_owned(),
        });
        store.save(&moved).await.unwrap();
        assert_eq!(store.peek().await.unwrap(), Some(moved));
        store.save(&Stored::Cleared).await.unwrap();
        assert_eq!(store.peek().await.unwrap(), Some(Stored::Cleared));
    }
}
