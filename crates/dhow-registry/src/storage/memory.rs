//! A read-only storage in memory, for images that are part of a program: they are then served by the same
//! code as any others. Every change is refused.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use dhow_oci::{Algorithm, Descriptor, Digest};
use futures_util::stream;

use super::{
    BlobStream, ManifestRecord, Page, PutManifest, Storage, StorageError, StoredBlob, Upload,
    UploadId, page_of,
};
use crate::manifest::Manifest;
use crate::{RegistryError, RepositoryName, Tag, TagOrDigest};

/// Content that is all here from the start.
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage(Arc<BTreeMap<RepositoryName, Repository>>);

#[derive(Clone, Debug, Default)]
struct Repository {
    blobs: HashMap<Digest, Bytes>,
    manifests: HashMap<Digest, (ManifestRecord, Bytes)>,
    tags: BTreeMap<Tag, Digest>,
}

/// What goes into a [`MemoryStorage`], repository by repository.
#[derive(Debug, Default)]
pub struct MemoryContent(BTreeMap<RepositoryName, Repository>);

impl MemoryContent {
    pub fn blob(&mut self, repository: &RepositoryName, bytes: impl Into<Bytes>) -> &mut Self {
        let bytes = bytes.into();
        self.repository(repository)
            .blobs
            .insert(Digest::sha256(&bytes), bytes);
        self
    }

    /// Adds a manifest, which carries its own type.
    pub fn manifest(
        &mut self,
        repository: &RepositoryName,
        bytes: &[u8],
        tag: Option<Tag>,
    ) -> Result<&mut Self, RegistryError> {
        let digest = Digest::sha256(bytes);
        let kind = Manifest::parse_as(None, bytes)?.kind;
        let size = bytes.len() as u64;
        let record = ManifestRecord {
            digest: digest.clone(),
            kind,
            size,
            subject: None,
        };
        let repository = self.repository(repository);
        repository
            .manifests
            .insert(digest.clone(), (record, Bytes::copy_from_slice(bytes)));
        if let Some(tag) = tag {
            repository.tags.insert(tag, digest);
        }
        Ok(self)
    }

    pub fn build(self) -> MemoryStorage {
        MemoryStorage(Arc::new(self.0))
    }

    fn repository(&mut self, name: &RepositoryName) -> &mut Repository {
        self.0.entry(name.clone()).or_default()
    }
}

pub struct MemoryBlob(Bytes);

impl StoredBlob for MemoryBlob {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn stream(&self, range: Range<u64>) -> BlobStream {
        let part = self.0.slice(range.start as usize..range.end as usize);
        Box::pin(stream::once(async { Ok(part) }))
    }
}

/// There are no uploads here.
pub enum NoUpload {}

impl Upload for NoUpload {
    fn offset(&self) -> u64 {
        match *self {}
    }

    async fn write(&mut self, _: Bytes) -> Result<(), StorageError> {
        match *self {}
    }

    async fn flush(&mut self) -> Result<(), StorageError> {
        match *self {}
    }

    async fn keep(self) -> Result<(), StorageError> {
        match self {}
    }

    async fn commit(self, _: &Digest) -> Result<(), StorageError> {
        match self {}
    }

    async fn discard(self) -> Result<(), StorageError> {
        match self {}
    }
}

impl Storage for MemoryStorage {
    type Blob = MemoryBlob;
    type Upload = NoUpload;

    async fn blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<MemoryBlob>, StorageError> {
        Ok(self
            .0
            .get(repository)
            .and_then(|r| r.blobs.get(digest))
            .cloned()
            .map(MemoryBlob))
    }

    async fn mount_blob(
        &self,
        _: &RepositoryName,
        _: Option<&RepositoryName>,
        _: &Digest,
    ) -> Result<bool, StorageError> {
        Err(StorageError::ReadOnly)
    }

    async fn delete_blob(&self, _: &RepositoryName, _: &Digest) -> Result<bool, StorageError> {
        Err(StorageError::ReadOnly)
    }

    async fn start_upload(
        &self,
        _: &RepositoryName,
        _: Algorithm,
    ) -> Result<(UploadId, NoUpload), StorageError> {
        Err(StorageError::ReadOnly)
    }

    async fn open_upload(
        &self,
        _: &RepositoryName,
        _: UploadId,
    ) -> Result<Option<NoUpload>, StorageError> {
        Ok(None)
    }

    async fn upload_offset(
        &self,
        _: &RepositoryName,
        _: UploadId,
    ) -> Result<Option<u64>, StorageError> {
        Ok(None)
    }

    async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &TagOrDigest,
    ) -> Result<Option<ManifestRecord>, StorageError> {
        let Some(repository) = self.0.get(repository) else {
            return Ok(None);
        };
        let digest = match reference {
            TagOrDigest::Tag(tag) => repository.tags.get(tag),
            TagOrDigest::Digest(digest) => Some(digest),
        };
        Ok(digest
            .and_then(|d| repository.manifests.get(d))
            .map(|(record, _)| record.clone()))
    }

    async fn manifest_bytes(&self, record: &ManifestRecord) -> Result<Bytes, StorageError> {
        self.0
            .values()
            .find_map(|r| r.manifests.get(&record.digest))
            .map(|(_, bytes)| bytes.clone())
            .ok_or_else(|| StorageError::Missing(vec![record.digest.clone()]))
    }

    async fn put_manifest(&self, _: &RepositoryName, _: PutManifest) -> Result<(), StorageError> {
        Err(StorageError::ReadOnly)
    }

    async fn delete_manifest(&self, _: &RepositoryName, _: &Digest) -> Result<bool, StorageError> {
        Err(StorageError::ReadOnly)
    }

    async fn delete_tag(&self, _: &RepositoryName, _: &Tag) -> Result<bool, StorageError> {
        Err(StorageError::ReadOnly)
    }

    async fn tags(
        &self,
        repository: &RepositoryName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Option<Page<String>>, StorageError> {
        Ok(self
            .0
            .get(repository)
            .map(|r| page_of(r.tags.keys().map(Tag::to_string), after, limit)))
    }

    async fn repositories(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<String>, StorageError> {
        Ok(page_of(
            self.0.keys().map(RepositoryName::to_string),
            after,
            limit,
        ))
    }

    async fn referrers(
        &self,
        _: &RepositoryName,
        _: &Digest,
        _: Option<&str>,
        _: Option<&Digest>,
        _: usize,
    ) -> Result<Page<Descriptor>, StorageError> {
        // Nothing that is built into a program refers to anything else.
        Ok(Page {
            items: Vec::new(),
            more: false,
        })
    }
}
