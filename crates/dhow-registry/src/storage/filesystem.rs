//! A registry in a directory.
//!
//! ```text
//! registry.json                                    the layout's version
//! lock                                             held by the process that serves it
//! blobs/<algorithm>/<hex>                          all content, blobs and manifests, once
//! uploads/<id>.data, <id>.json                     uploads in progress
//! uploads/<id>.tmp                                 files about to be renamed into place
//! repositories/<name>/_blobs/<algorithm>/<hex>     empty: this repository has that blob
//! repositories/<name>/_manifests/<algorithm>/<hex> a manifest's record
//! repositories/<name>/_tags/<tag>                  a digest
//! repositories/<name>/_referrers/<algorithm>/<hex>/<algorithm>-<hex>   a descriptor, by its subject
//! ```
//!
//! No component of a repository's name starts with `_`. Everything appears by rename or by the creation of an
//! empty file, after its content is on the disk, and is acknowledged when the directory is on the disk, too.
//! A link whose content a crash has lost was never acknowledged, and reads as not being there.

mod content;
mod directories;
mod manifests;
mod recovery;
mod upload;

use std::collections::HashMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use dhow_oci::{Algorithm, Descriptor, Digest};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use self::content::FileBlob;
use self::directories::Directories;
pub use self::recovery::Recovered;
use self::upload::{FileUpload, Session};
use super::{ManifestRecord, Page, PutManifest, Storage, StorageError, UploadId};
use crate::{RepositoryName, Tag, TagOrDigest};

/// Repositories share this many locks.
const LOCKS: usize = 64;

/// Bounds of the storage.
#[derive(Clone, Debug)]
pub struct FilesystemLimits {
    /// Uploads that may be open at a time.
    pub uploads: usize,
    /// After how long without a request an upload is given up.
    pub upload_expiry: Duration,
}

impl Default for FilesystemLimits {
    fn default() -> Self {
        FilesystemLimits {
            uploads: 10_000,
            upload_expiry: Duration::from_secs(24 * 3600),
        }
    }
}

/// A registry's content in a directory. Cheap to clone.
#[derive(Clone)]
pub struct FilesystemStorage(Arc<Shared>);

struct Shared {
    root: PathBuf,
    limits: FilesystemLimits,
    directories: Arc<Directories>,
    sessions: Mutex<HashMap<UploadId, Arc<Session>>>,
    /// What adds to a repository holds its lock for reading, what removes for writing: so a manifest never
    /// appears whose blobs are just going, nor a tag whose manifest is. The lock belongs to the work (see
    /// [`to_its_end`]), for a request can go away at any await.
    locks: Vec<Arc<RwLock<()>>>,
    /// Released by the kernel when the process ends, however it ends.
    _lock: File,
}

impl FilesystemStorage {
    /// Opens the registry at `root`, or makes one, and clears up what an earlier process left. Blocks.
    pub fn open(
        root: &Path,
        limits: FilesystemLimits,
    ) -> io::Result<(FilesystemStorage, Recovered)> {
        let lock = recovery::prepare(root)?;
        let (sessions, recovered) = recovery::recover(root, limits.upload_expiry)?;
        let storage = FilesystemStorage(Arc::new(Shared {
            root: root.to_owned(),
            limits,
            directories: Arc::new(Directories::new(root)),
            sessions: Mutex::new(sessions),
            locks: (0..LOCKS).map(|_| Arc::default()).collect(),
            _lock: lock,
        }));
        Ok((storage, recovered))
    }

    /// Runs what blocks where it may.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StorageError> {
        let shared = self.0.clone();
        match tokio::task::spawn_blocking(move || work(&shared)).await {
            Ok(result) => Ok(result?),
            Err(e) => Err(StorageError::Io(io::Error::other(e))),
        }
    }
}

/// Carries a change to its end. The server drops a request's future when its client hangs up; a change that has
/// begun goes on, and what it holds is released when the change is done, not when nobody waits for it any more.
async fn to_its_end<T: Send + 'static>(
    change: impl Future<Output = Result<T, StorageError>> + Send + 'static,
) -> Result<T, StorageError> {
    match tokio::spawn(change).await {
        Ok(result) => result,
        Err(e) => Err(StorageError::Io(io::Error::other(e))),
    }
}

impl Shared {
    fn content_path(&self, digest: &Digest) -> PathBuf {
        self.root
            .join("blobs")
            .join(digest.algorithm().as_str())
            .join(digest.hex())
    }

    fn repository_path(&self, repository: &RepositoryName) -> PathBuf {
        self.root.join("repositories").join(repository.as_str())
    }

    fn blob_link(&self, repository: &RepositoryName, digest: &Digest) -> PathBuf {
        self.repository_path(repository)
            .join("_blobs")
            .join(digest.algorithm().as_str())
            .join(digest.hex())
    }

    fn record_path(&self, repository: &RepositoryName, digest: &Digest) -> PathBuf {
        self.repository_path(repository)
            .join("_manifests")
            .join(digest.algorithm().as_str())
            .join(digest.hex())
    }

    fn tag_path(&self, repository: &RepositoryName, tag: &Tag) -> PathBuf {
        self.repository_path(repository)
            .join("_tags")
            .join(tag.as_str())
    }

    fn referrers_path(&self, repository: &RepositoryName, subject: &Digest) -> PathBuf {
        self.repository_path(repository)
            .join("_referrers")
            .join(subject.algorithm().as_str())
            .join(subject.hex())
    }

    fn upload_path(&self, id: UploadId, kind: &str) -> PathBuf {
        self.root.join("uploads").join(format!("{id}.{kind}"))
    }

    fn lock_of(&self, repository: &RepositoryName) -> Arc<RwLock<()>> {
        let mut hasher = DefaultHasher::new();
        repository.hash(&mut hasher);
        self.locks[hasher.finish() as usize % LOCKS].clone()
    }

    /// To be held by what adds to a repository.
    async fn adding(&self, repository: &RepositoryName) -> OwnedRwLockReadGuard<()> {
        self.lock_of(repository).read_owned().await
    }

    /// To be held by what removes from a repository.
    async fn removing(&self, repository: &RepositoryName) -> OwnedRwLockWriteGuard<()> {
        self.lock_of(repository).write_owned().await
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, HashMap<UploadId, Arc<Session>>> {
        // The map is whole at every instant, whoever panicked.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `None` for what isn't there.
fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

impl Storage for FilesystemStorage {
    type Blob = FileBlob;
    type Upload = FileUpload;

    async fn blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<FileBlob>, StorageError> {
        let (repository, digest) = (repository.clone(), digest.clone());
        self.blocking(move |shared| shared.open_blob(&repository, &digest))
            .await
    }

    async fn mount_blob(
        &self,
        to: &RepositoryName,
        from: Option<&RepositoryName>,
        digest: &Digest,
    ) -> Result<bool, StorageError> {
        let adding = self.0.adding(to).await;
        let storage = self.clone();
        let (repository, from, digest) = (to.clone(), from.cloned(), digest.clone());
        to_its_end(async move {
            let _adding = adding;
            let changed = storage
                .blocking(move |shared| {
                    let there = match &from {
                        Some(from) => shared.has_blob(from, &digest)?,
                        None => shared.content_path(&digest).try_exists()?,
                    };
                    if there {
                        shared.link_blob(&repository, &digest).map(Some)
                    } else {
                        Ok(None)
                    }
                })
                .await?;
            match changed {
                Some(changed) => {
                    storage.0.directories.sync(changed).await?;
                    Ok(true)
                }
                None => Ok(false),
            }
        })
        .await
    }

    async fn delete_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, StorageError> {
        let removing = self.0.removing(repository).await;
        let link = self.0.blob_link(repository, digest);
        self.remove(vec![link], removing).await
    }

    async fn start_upload(
        &self,
        repository: &RepositoryName,
        algorithm: Algorithm,
    ) -> Result<(UploadId, FileUpload), StorageError> {
        self.new_upload(repository, algorithm).await
    }

    async fn open_upload(
        &self,
        repository: &RepositoryName,
        id: UploadId,
    ) -> Result<Option<FileUpload>, StorageError> {
        self.resume_upload(repository, id).await
    }

    async fn upload_offset(
        &self,
        repository: &RepositoryName,
        id: UploadId,
    ) -> Result<Option<u64>, StorageError> {
        Ok(self.session(repository, id).map(|session| session.offset()))
    }

    async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &TagOrDigest,
    ) -> Result<Option<ManifestRecord>, StorageError> {
        let (repository, reference) = (repository.clone(), reference.clone());
        self.blocking(move |shared| shared.find_manifest(&repository, &reference))
            .await
    }

    async fn manifest_bytes(&self, record: &ManifestRecord) -> Result<Bytes, StorageError> {
        let digest = record.digest.clone();
        self.blocking(move |shared| std::fs::read(shared.content_path(&digest)).map(Bytes::from))
            .await
    }

    async fn put_manifest(
        &self,
        repository: &RepositoryName,
        put: PutManifest,
    ) -> Result<(), StorageError> {
        self.store_manifest(repository, put).await
    }

    async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, StorageError> {
        self.remove_manifest(repository, digest).await
    }

    async fn delete_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<bool, StorageError> {
        let removing = self.0.removing(repository).await;
        let path = self.0.tag_path(repository, tag);
        self.remove(vec![path], removing).await
    }

    async fn tags(
        &self,
        repository: &RepositoryName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Option<Page<String>>, StorageError> {
        let (repository, after) = (repository.clone(), after.map(str::to_owned));
        self.blocking(move |shared| shared.list_tags(&repository, after.as_deref(), limit))
            .await
    }

    async fn repositories(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<String>, StorageError> {
        let after = after.map(str::to_owned);
        self.blocking(move |shared| shared.list_repositories(after.as_deref(), limit))
            .await
    }

    async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Page<Descriptor>, StorageError> {
        let (repository, subject) = (repository.clone(), subject.clone());
        let (artifact_type, after) = (artifact_type.map(str::to_owned), after.cloned());
        self.blocking(move |shared| {
            shared.list_referrers(
                &repository,
                &subject,
                artifact_type.as_deref(),
                after.as_ref(),
                limit,
            )
        })
        .await
    }
}

#[cfg(test)]
mod tests;
