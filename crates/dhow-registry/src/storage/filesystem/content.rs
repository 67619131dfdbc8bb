//! Blobs on the disk, and how they are read: in large pieces, from the page cache without leaving the thread.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use dhow_oci::Digest;
use futures_util::stream;
use tokio::sync::OwnedRwLockWriteGuard;

use super::{FilesystemStorage, Shared, found, to_its_end};
use crate::RepositoryName;
use crate::storage::{BlobStream, StorageError, StoredBlob, UploadId};

/// Bytes read at a time. A download holds one such piece, and what the socket hasn't taken of the last.
const PIECE: u64 = 128 << 10;

pub struct FileBlob {
    file: Arc<File>,
    size: u64,
}

impl StoredBlob for FileBlob {
    fn size(&self) -> u64 {
        self.size
    }

    fn stream(&self, range: Range<u64>) -> BlobStream {
        let reading = Reading {
            file: self.file.clone(),
            left: range,
        };
        Box::pin(stream::try_unfold(reading, |mut reading| async move {
            let piece = reading.next().await?;
            Ok(piece.map(|piece| (piece, reading)))
        }))
    }
}

struct Reading {
    file: Arc<File>,
    left: Range<u64>,
}

impl Reading {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let start = self.left.start;
        let length = PIECE.min(self.left.end - start);
        if length == 0 {
            return Ok(None);
        }
        self.left.start += length;
        let mut piece = vec![0; length as usize];
        if read_cached(&self.file, &mut piece, start) {
            return Ok(Some(piece.into()));
        }
        let file = self.file.clone();
        let read = tokio::task::spawn_blocking(move || {
            file.read_exact_at(&mut piece, start)?;
            Ok(Some(Bytes::from(piece)))
        });
        read.await.map_err(io::Error::other)?
    }
}

/// Fills `piece` if the whole of it is in the page cache, which saves the way over another thread. An
/// incomplete answer, or a file system that can't say, leads to the ordinary read.
#[cfg(target_os = "linux")]
fn read_cached(file: &File, piece: &mut [u8], offset: u64) -> bool {
    use rustix::io::{ReadWriteFlags, preadv2};
    let length = piece.len();
    let buffer = &mut [io::IoSliceMut::new(piece)];
    preadv2(file, buffer, offset, ReadWriteFlags::NOWAIT).is_ok_and(|read| read == length)
}

#[cfg(not(target_os = "linux"))]
fn read_cached(_: &File, _: &mut [u8], _: u64) -> bool {
    false
}

impl Shared {
    pub(super) fn has_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> io::Result<bool> {
        Ok(self.blob_link(repository, digest).try_exists()?
            && self.content_path(digest).try_exists()?)
    }

    pub(super) fn open_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> io::Result<Option<FileBlob>> {
        if !self.blob_link(repository, digest).try_exists()? {
            return Ok(None);
        }
        let Some(file) = found(File::open(self.content_path(digest)))? else {
            return Ok(None);
        };
        let size = file.metadata()?.len();
        Ok(Some(FileBlob {
            file: Arc::new(file),
            size,
        }))
    }

    /// Links a blob that is in place to a repository; returns the directories to flush.
    pub(super) fn link_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> io::Result<Vec<PathBuf>> {
        let link = self.blob_link(repository, digest);
        let mut changed = vec![parent(&self.content_path(digest))?, parent(&link)?];
        self.directories.make(&parent(&link)?, &mut changed)?;
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&link)?;
        Ok(changed)
    }

    /// Puts a small file in place, whole and on the disk; its directory is for the caller to flush.
    pub(super) fn place(
        &self,
        path: &Path,
        bytes: &[u8],
        changed: &mut Vec<PathBuf>,
    ) -> io::Result<()> {
        use io::Write;
        let directory = parent(path)?;
        self.directories.make(&directory, changed)?;
        changed.push(directory);
        let temporary = self.upload_path(UploadId::random()?, "tmp");
        let mut file = File::create_new(&temporary)?;
        let written = file
            .write_all(bytes)
            .and_then(|()| file.sync_data())
            .and_then(|()| fs::rename(&temporary, path));
        if written.is_err() {
            // Otherwise the next start removes it.
            let _ = fs::remove_file(&temporary);
        }
        written
    }
}

impl FilesystemStorage {
    /// Removes files and makes that durable; says whether the first was there.
    pub(super) async fn remove(
        &self,
        paths: Vec<PathBuf>,
        removing: OwnedRwLockWriteGuard<()>,
    ) -> Result<bool, StorageError> {
        let storage = self.clone();
        to_its_end(async move {
            let _removing = removing;
            let (was_there, changed) = storage
                .blocking(move |_| {
                    let mut was_there = Vec::new();
                    let mut changed = Vec::new();
                    for path in &paths {
                        let removed = found(fs::remove_file(path))?.is_some();
                        was_there.push(removed);
                        if removed {
                            changed.push(parent(path)?);
                        }
                    }
                    Ok((was_there.first() == Some(&true), changed))
                })
                .await?;
            storage.0.directories.sync(changed).await?;
            Ok(was_there)
        })
        .await
    }
}

pub(super) fn parent(path: &Path) -> io::Result<PathBuf> {
    path.parent()
        .map(Path::to_owned)
        .ok_or_else(|| io::ErrorKind::InvalidInput.into())
}
