//! Uploads in progress. Each is one file, hashed while it is written, so that the end of an upload of any
//! size only compares. The hash is kept between chunks, and made anew from the file after a restart.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dhow_oci::digest::Hasher;
use dhow_oci::{Algorithm, Digest};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinHandle;

use super::{FilesystemStorage, Shared, to_its_end};
use crate::RepositoryName;
use crate::storage::{StorageError, Upload, UploadId};

/// Bytes that are written and hashed at once. An upload holds at most two such batches.
const BATCH: usize = 128 << 10;
/// A client may send a byte at a time, and each piece has a cost of its own.
const BATCH_PIECES: usize = 256;
/// How long a request waits for one before it to let go of the same upload.
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// An upload between requests.
pub(super) struct Session {
    id: UploadId,
    repository: RepositoryName,
    algorithm: Algorithm,
    offset: AtomicU64,
    touched: Mutex<Instant>,
    /// Who holds this writes to the file.
    state: Arc<tokio::sync::Mutex<State>>,
}

struct State {
    /// Bytes in the file.
    offset: u64,
    /// The hash of those bytes; none after a restart.
    hasher: Option<Hasher>,
    /// Committed, cancelled or expired.
    ended: bool,
}

/// What is written of an upload beside its bytes.
#[derive(Serialize, Deserialize)]
pub(super) struct SessionRecord {
    pub repository: String,
    pub algorithm: String,
}

impl Session {
    /// An upload whose file has `offset` bytes, from this or an earlier process.
    pub fn new(
        id: UploadId,
        repository: RepositoryName,
        algorithm: Algorithm,
        offset: u64,
    ) -> Session {
        let hasher = (offset == 0).then(|| algorithm.hasher());
        Session {
            id,
            repository,
            algorithm,
            offset: AtomicU64::new(offset),
            touched: Mutex::new(Instant::now()),
            state: Arc::new(tokio::sync::Mutex::new(State {
                offset,
                hasher,
                ended: false,
            })),
        }
    }

    pub fn offset(&self) -> u64 {
        self.offset.load(Ordering::Acquire)
    }

    fn touch(&self) {
        *self.touched.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn idle(&self) -> Duration {
        self.touched
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .elapsed()
    }
}

/// The file and the right to write to it.
struct Writer {
    file: File,
    state: OwnedMutexGuard<State>,
}

enum Place {
    Here(Writer),
    /// Writing a batch, in the pool of blocking threads. If the request goes away meanwhile, the batch is
    /// still written, and the right to write is free after it.
    Away(JoinHandle<(Writer, io::Result<()>)>),
    Lost,
}

pub struct FileUpload {
    storage: FilesystemStorage,
    session: Arc<Session>,
    place: Place,
    batch: Vec<Bytes>,
    batched: usize,
    /// Bytes handed to the writer, and then those of the batch.
    offset: u64,
    kept: bool,
}

impl FilesystemStorage {
    pub(super) async fn new_upload(
        &self,
        repository: &RepositoryName,
        algorithm: Algorithm,
    ) -> Result<(UploadId, FileUpload), StorageError> {
        let id = UploadId::random()?;
        let session = Arc::new(Session::new(id, repository.clone(), algorithm, 0));
        let state = session.state.clone().lock_owned().await;
        {
            let mut sessions = self.0.sessions();
            if sessions.len() >= self.0.limits.uploads {
                return Err(StorageError::TooManyUploads);
            }
            sessions.insert(id, session.clone());
        }
        let mut upload = FileUpload {
            storage: self.clone(),
            session,
            place: Place::Lost,
            batch: Vec::new(),
            batched: 0,
            offset: 0,
            kept: false,
        };
        // If nobody waits for it, the upload is dropped at the end of this, and its file with it.
        to_its_end(async move {
            let storage = upload.storage.clone();
            let file = storage
                .blocking(move |shared| {
                    File::options()
                        .read(true)
                        .write(true)
                        .create_new(true)
                        .open(shared.upload_path(id, "data"))
                })
                .await?;
            upload.place = Place::Here(Writer { file, state });
            Ok((id, upload))
        })
        .await
    }

    pub(super) fn session(
        &self,
        repository: &RepositoryName,
        id: UploadId,
    ) -> Option<Arc<Session>> {
        let session = self.0.sessions().get(&id).cloned()?;
        // An upload's name is worth nothing in another repository.
        (session.repository == *repository).then_some(session)
    }

    pub(super) async fn resume_upload(
        &self,
        repository: &RepositoryName,
        id: UploadId,
    ) -> Result<Option<FileUpload>, StorageError> {
        let Some(session) = self.session(repository, id) else {
            return Ok(None);
        };
        session.touch();
        let waiting = session.state.clone().lock_owned();
        let mut state = tokio::time::timeout(BUSY_WAIT, waiting)
            .await
            .map_err(|_| StorageError::UploadBusy)?;
        if state.ended {
            return Ok(None);
        }
        let algorithm = session.algorithm;
        let writer = self
            .blocking(move |shared| {
                let path = shared.upload_path(id, "data");
                let mut file = File::options().read(true).write(true).open(path)?;
                if state.hasher.is_none() {
                    state.hasher = Some(hash_file(&mut file, algorithm, state.offset)?);
                }
                file.seek(SeekFrom::Start(state.offset))?;
                Ok(Writer { file, state })
            })
            .await?;
        Ok(Some(FileUpload {
            storage: self.clone(),
            session,
            offset: writer.state.offset,
            place: Place::Here(writer),
            batch: Vec::new(),
            batched: 0,
            kept: true,
        }))
    }

    /// Ends the uploads that nobody has touched for too long; says how many.
    pub async fn expire_uploads(&self) -> Result<usize, StorageError> {
        let expiry = self.0.limits.upload_expiry;
        let stale: Vec<_> = self
            .0
            .sessions()
            .values()
            .filter(|session| session.idle() > expiry)
            .cloned()
            .collect();
        let mut ended = 0;
        for session in stale {
            // One that is being written to is not stale, however long its request takes.
            let Ok(mut state) = session.state.clone().try_lock_owned() else {
                continue;
            };
            state.ended = true;
            let id = session.id;
            self.blocking(move |shared| {
                let _state = state;
                shared.forget_upload(id)
            })
            .await?;
            ended += 1;
        }
        Ok(ended)
    }
}

impl Shared {
    /// Removes an upload's traces. Its record goes first: data without a record is removed at the next start.
    fn forget_upload(&self, id: UploadId) -> io::Result<()> {
        self.sessions().remove(&id);
        super::found(fs::remove_file(self.upload_path(id, "json")))?;
        super::found(fs::remove_file(self.upload_path(id, "data")))?;
        Ok(())
    }
}

impl FileUpload {
    /// Waits for the batch that is being written.
    async fn writer(&mut self) -> Result<Writer, StorageError> {
        match std::mem::replace(&mut self.place, Place::Lost) {
            Place::Here(writer) => Ok(writer),
            Place::Away(job) => {
                let (writer, written) = job.await.map_err(io::Error::other)?;
                match written {
                    Ok(()) => Ok(writer),
                    Err(e) => {
                        self.place = Place::Here(writer);
                        Err(e.into())
                    }
                }
            }
            Place::Lost => Err(io::Error::other("an upload's writer was lost").into()),
        }
    }

    async fn send_batch(&mut self) -> Result<(), StorageError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let mut writer = self.writer().await?;
        let batch = std::mem::take(&mut self.batch);
        self.batched = 0;
        let session = self.session.clone();
        self.place = Place::Away(tokio::task::spawn_blocking(move || {
            let written = writer.append(&batch);
            session.offset.store(writer.state.offset, Ordering::Release);
            session.touch();
            (writer, written)
        }));
        Ok(())
    }
}

impl Writer {
    /// Writes and hashes a batch. After an error the file is as before it.
    fn append(&mut self, batch: &[Bytes]) -> io::Result<()> {
        for bytes in batch {
            if let Err(e) = self.file.write_all(bytes) {
                // A part of it may be there: a restart would take that for content.
                self.file.set_len(self.state.offset)?;
                self.file.seek(SeekFrom::Start(self.state.offset))?;
                return Err(e);
            }
            let hasher = self
                .state
                .hasher
                .as_mut()
                .ok_or_else(|| io::Error::other("an upload has no hash"))?;
            hasher.update(bytes);
            self.state.offset += bytes.len() as u64;
        }
        Ok(())
    }
}

impl Upload for FileUpload {
    fn offset(&self) -> u64 {
        self.offset
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), StorageError> {
        self.offset += bytes.len() as u64;
        self.batched += bytes.len();
        self.batch.push(bytes);
        if self.batched >= BATCH || self.batch.len() >= BATCH_PIECES {
            self.send_batch().await
        } else {
            Ok(())
        }
    }

    async fn flush(&mut self) -> Result<(), StorageError> {
        self.send_batch().await?;
        let writer = self.writer().await?;
        self.place = Place::Here(writer);
        Ok(())
    }

    async fn keep(mut self) -> Result<(), StorageError> {
        self.flush().await?;
        let (id, session) = (self.session.id, self.session.clone());
        to_its_end(async move {
            let mut upload = self;
            let storage = upload.storage.clone();
            storage
                .blocking(move |shared| {
                    let record = SessionRecord {
                        repository: session.repository.to_string(),
                        algorithm: session.algorithm.as_str().to_owned(),
                    };
                    fs::write(shared.upload_path(id, "json"), serde_json::to_vec(&record)?)
                })
                .await?;
            upload.kept = true;
            Ok(())
        })
        .await
    }

    async fn commit(mut self, digest: &Digest) -> Result<(), StorageError> {
        self.flush().await?;
        let mut writer = self.writer().await?;
        let (id, session, digest) = (self.session.id, self.session.clone(), digest.clone());
        let adding = self.storage.0.adding(&session.repository).await;
        to_its_end(async move {
            let _adding = adding;
            let mut upload = self;
            let storage = upload.storage.clone();
            let changed = storage
                .blocking(move |shared| {
                    // From here on the upload is over, whatever comes.
                    writer.state.ended = true;
                    let placed = shared.place_upload(&mut writer, id, &session, &digest);
                    if !matches!(placed, Ok(Ok(_))) {
                        shared.forget_upload(id)?;
                    }
                    placed
                })
                .await??;
            upload.kept = true; // there is nothing left to remove
            storage.0.directories.sync(changed).await?;
            Ok(())
        })
        .await
    }

    async fn discard(mut self) -> Result<(), StorageError> {
        self.kept = false;
        Ok(())
    }
}

impl Shared {
    /// Checks the digest and makes the upload's file a blob of its repository; returns the directories to flush.
    fn place_upload(
        &self,
        writer: &mut Writer,
        id: UploadId,
        session: &Session,
        expected: &Digest,
    ) -> io::Result<Result<Vec<std::path::PathBuf>, StorageError>> {
        let size = writer.state.offset;
        let actual = match writer.state.hasher.take() {
            Some(hasher) if session.algorithm == expected.algorithm() => hasher.finish(),
            _ => hash_file(&mut writer.file, expected.algorithm(), size)?.finish(),
        };
        if actual != *expected {
            return Ok(Err(StorageError::DigestMismatch {
                expected: expected.clone(),
                actual,
            }));
        }
        let data = self.upload_path(id, "data");
        let content = self.content_path(expected);
        if has_size(&content, size)? {
            fs::remove_file(&data)?;
        } else {
            writer.file.set_len(size)?;
            writer.file.sync_data()?;
            fs::rename(&data, &content)?;
        }
        let changed = self.link_blob(&session.repository, expected)?;
        self.forget_upload(id)?;
        Ok(Ok(changed))
    }
}

fn has_size(path: &Path, size: u64) -> io::Result<bool> {
    Ok(super::found(fs::metadata(path))?.is_some_and(|metadata| metadata.len() == size))
}

/// The hash of a file's first `size` bytes.
fn hash_file(file: &mut File, algorithm: Algorithm, size: u64) -> io::Result<Hasher> {
    let mut hasher = algorithm.hasher();
    let mut buffer = vec![0; BATCH];
    file.seek(SeekFrom::Start(0))?;
    let mut left = size;
    while left > 0 {
        let length = left.min(BATCH as u64) as usize;
        file.read_exact(&mut buffer[..length])?;
        hasher.update(&buffer[..length]);
        left -= length as u64;
    }
    Ok(hasher)
}

impl Drop for FileUpload {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if let Place::Here(writer) = &mut self.place {
            writer.state.ended = true;
        }
        // Two names are removed without waiting for the disk, which is no more than a directory look-up.
        if let Err(e) = self.storage.0.forget_upload(self.session.id) {
            tracing::warn!(upload = %self.session.id, error = %e, "an upload's file could not be removed");
        }
    }
}
