//! The checkpoint in a file of this machine.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind as IoKind, Write};
use std::path::{Path, PathBuf};

use futures::future::BoxFuture;

use super::record;
use crate::error::{Error, ErrorKind};
use crate::pipeline::{CheckpointStore, Stored};

/// One file, replaced as a whole: written beside it, synced, renamed. So it holds the old or the new checkpoint, never half of one.
///
/// The claim is a lock on a second file beside it: the first instance keeps it, a second one is refused.
#[derive(Debug)]
pub struct FileStore {
    path: PathBuf,
    lock: Option<File>,
}

impl FileStore {
    /// The store at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), lock: None }
    }
}

impl CheckpointStore for FileStore {
    fn take(&mut self) -> BoxFuture<'_, Result<Option<Stored>, Error>> {
        Box::pin(async {
            let path = self.path.clone();
            let held = self.lock.take();
            let (lock, stored) = blocking(move || {
                let lock = held.map_or_else(|| claim(&path), Ok)?;
                Ok((lock, read(&path)?))
            })
            .await?;
            self.lock = Some(lock);
            Ok(stored)
        })
    }

    fn save<'a>(&'a mut self, stored: &'a Stored) -> BoxFuture<'a, Result<(), Error>> {
        let (path, text) = (self.path.clone(), record::encode(stored));
        Box::pin(blocking(move || {
            write(&path, &text).map_err(|error| local(&path, "can't be written", error))
        }))
    }

    fn peek(&mut self) -> BoxFuture<'_, Result<Option<Stored>, Error>> {
        let path = self.path.clone();
        Box::pin(blocking(move || read(&path)))
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::caused(ErrorKind::Internal, "the checkpoint file's task broke off", error)),
    }
}

fn claim(path: &Path) -> Result<File, Error> {
    let beside = with_suffix(path, ".lock");
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&beside);
    let lock = lock.map_err(|error| local(&beside, "can't be opened", error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            Err(Error::new(ErrorKind::Fenced, format!("the checkpoint file {} is in use", path.display())))
        }
        Err(TryLockError::Error(error)) => Err(local(&beside, "can't be locked", error)),
    }
}

fn read(path: &Path) -> Result<Option<Stored>, Error> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == IoKind::NotFound => return Ok(None),
        Err(error) => return Err(local(path, "can't be read", error)),
    };
    let unusable =
        |error| Error::caused(ErrorKind::CheckpointUnreadable, format!("file {}", path.display()), error);
    record::decode(&text).map(Some).map_err(unusable)
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let beside = with_suffix(path, ".new");
    let mut file = File::create(&beside)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    // The rename itself is durable when the folder is.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn local(path: &Path, what: &str, error: std::io::Error) -> Error {
    Error::caused(ErrorKind::Local, format!("file {} {what}", path.display()), error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Position;
    use crate::pipeline::Checkpoint;

    fn stored(t: u32) -> Stored {
        Stored::Checkpoint(Checkpoint { at: Position::of_entry(t, 1), term: None, source: "rs0".to_owned() })
    }

    #[tokio::test]
    async fn what_was_saved_is_read_by_the_next_instance() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        let mut first = FileStore::new(&path);
        assert_eq!(first.take().await.unwrap(), None);
        first.save(&stored(1)).await.unwrap();
        first.save(&stored(2)).await.unwrap();
        drop(first);
        assert_eq!(FileStore::new(&path).take().await.unwrap(), Some(stored(2)));
    }

    #[tokio::test]
    async fn a_second_instance_is_refused_while_the_first_one_lives() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        let mut first = FileStore::new(&path);
        first.take().await.unwrap();
        first.take().await.expect("its own claim does not stand in its way");
        let refused = FileStore::new(&path).take().await.expect_err("in use");
        assert_eq!(refused.kind(), ErrorKind::Fenced);
        assert_eq!(FileStore::new(&path).peek().await.unwrap(), None, "looking needs no claim");
        drop(first);
        FileStore::new(&path).take().await.unwrap();
    }

    #[tokio::test]
    async fn a_torn_write_leaves_the_old_checkpoint_and_damage_is_reported_with_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        FileStore::new(&path).save(&stored(1)).await.unwrap();
        std::fs::write(with_suffix(&path, ".new"), "{\"vers").unwrap();
        assert_eq!(FileStore::new(&path).take().await.unwrap(), Some(stored(1)));
        std::fs::write(&path, "{\"vers").unwrap();
        let damaged = FileStore::new(&path).take().await.expect_err("damaged");
        assert_eq!(damaged.kind(), ErrorKind::CheckpointUnreadable);
        assert!(damaged.to_string().contains(path.to_str().unwrap()), "{damaged}");
        assert_eq!(std::fs::read(&path).unwrap(), b"{\"vers", "the bytes are left as they are");
    }
}
