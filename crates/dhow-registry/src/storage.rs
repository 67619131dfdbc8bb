//! The boundary between the protocol and where content is kept. A storage knows repositories, blobs, uploads,
//! manifests, tags and referrers; it doesn't know HTTP. Blobs are shared by all repositories, but a repository
//! has only those that were linked to it.
//!
//! What every storage promises: when a call that changes something returns success, the change survives a
//! power loss (an upload in progress survives only the end of the process); readers never see half of a change.

pub mod filesystem;
pub mod memory;

use std::fmt;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::str::FromStr;

use bytes::Bytes;
use dhow_oci::{Algorithm, Descriptor, Digest};
use futures_util::Stream;
use serde::{Deserialize, Serialize};

use crate::manifest::ManifestKind;
use crate::{RepositoryName, Tag, TagOrDigest};

/// A blob's bytes, in order.
pub type BlobStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error("the storage is read-only")]
    ReadOnly,
    #[error("another request is writing to this upload")]
    UploadBusy,
    #[error("too many uploads are open")]
    TooManyUploads,
    #[error("the content's digest is {actual}, not {expected}")]
    DigestMismatch { expected: Digest, actual: Digest },
    #[error("content is missing: {0:?}")]
    Missing(Vec<Digest>),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// An upload's name: 128 random bits, so that nobody can guess another's, written as a UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UploadId([u8; 16]);

impl UploadId {
    pub fn random() -> io::Result<UploadId> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|e| io::Error::other(e.to_string()))?;
        bytes[6] = bytes[6] & 0x0f | 0x40; // RFC 9562, version 4
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Ok(UploadId(bytes))
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = hex::encode(self.0);
        let (a, b, c, d, e) = (
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..],
        );
        write!(f, "{a}-{b}-{c}-{d}-{e}")
    }
}

impl FromStr for UploadId {
    type Err = ();

    fn from_str(s: &str) -> Result<Self, ()> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(s.replace('-', ""), &mut bytes).map_err(|_| ())?;
        let id = UploadId(bytes);
        // One upload has one spelling.
        if id.to_string() == s { Ok(id) } else { Err(()) }
    }
}

/// What is known of a manifest beside its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestRecord {
    pub digest: Digest,
    #[serde(rename = "mediaType")]
    pub kind: ManifestKind,
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Digest>,
}

/// A reference of a manifest to content that its repository must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    Blob(Digest),
    Manifest(Digest),
    /// An index may list content that is no manifest, as build caches do.
    Either(Digest),
}

/// A checked manifest, about to be stored.
#[derive(Clone, Debug)]
pub struct PutManifest {
    pub record: ManifestRecord,
    pub bytes: Bytes,
    /// What must be in the repository at the moment that the manifest appears.
    pub needs: Vec<Need>,
    /// How the manifest is listed among its subject's referrers; there is one if the record has a subject.
    pub descriptor: Descriptor,
    pub tags: Vec<Tag>,
}

/// One page of a listing, and whether there is more behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub more: bool,
}

/// A blob that is open for reading.
pub trait StoredBlob: Send + Sync {
    fn size(&self) -> u64;
    /// The bytes of `range`, which lies within the size.
    fn stream(&self, range: Range<u64>) -> BlobStream;
}

/// An upload that this request alone writes to. Dropped, it goes on with what was flushed if it was kept, and
/// is gone otherwise.
pub trait Upload: Send {
    /// Bytes taken so far, written or not.
    fn offset(&self) -> u64;
    fn write(&mut self, bytes: Bytes) -> impl Future<Output = Result<(), StorageError>> + Send;
    fn flush(&mut self) -> impl Future<Output = Result<(), StorageError>> + Send;
    /// Lets the upload outlive this request, and the process.
    fn keep(self) -> impl Future<Output = Result<(), StorageError>> + Send;
    /// Makes the upload the blob `digest` of its repository; a mismatch ends the upload as well.
    fn commit(self, digest: &Digest) -> impl Future<Output = Result<(), StorageError>> + Send;
    fn discard(self) -> impl Future<Output = Result<(), StorageError>> + Send;
}

type Answer<T> = Result<T, StorageError>;

pub trait Storage: Send + Sync + 'static {
    type Blob: StoredBlob;
    type Upload: Upload;

    /// A blob that `repository` has.
    fn blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> impl Future<Output = Answer<Option<Self::Blob>>> + Send;

    /// Gives `to` a blob that `from` has, or that is anywhere; false if it isn't there.
    fn mount_blob(
        &self,
        to: &RepositoryName,
        from: Option<&RepositoryName>,
        digest: &Digest,
    ) -> impl Future<Output = Answer<bool>> + Send;

    /// Takes a blob from a repository; false if it had none.
    fn delete_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> impl Future<Output = Answer<bool>> + Send;

    /// Begins an upload, whose bytes are hashed with `algorithm` on the way. It isn't kept yet.
    fn start_upload(
        &self,
        repository: &RepositoryName,
        algorithm: Algorithm,
    ) -> impl Future<Output = Answer<(UploadId, Self::Upload)>> + Send;

    /// Takes up an upload again, waiting a moment for a request before this one to let go of it.
    fn open_upload(
        &self,
        repository: &RepositoryName,
        id: UploadId,
    ) -> impl Future<Output = Answer<Option<Self::Upload>>> + Send;

    /// How many bytes an upload holds, also while another request writes to it.
    fn upload_offset(
        &self,
        repository: &RepositoryName,
        id: UploadId,
    ) -> impl Future<Output = Answer<Option<u64>>> + Send;

    fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &TagOrDigest,
    ) -> impl Future<Output = Answer<Option<ManifestRecord>>> + Send;

    /// The bytes of a manifest whose record was just looked up.
    fn manifest_bytes(&self, record: &ManifestRecord)
    -> impl Future<Output = Answer<Bytes>> + Send;

    /// Stores a manifest, its entry among the referrers and its tags, if all that it needs is there.
    fn put_manifest(
        &self,
        repository: &RepositoryName,
        put: PutManifest,
    ) -> impl Future<Output = Answer<()>> + Send;

    /// Removes a manifest with every tag that points to it; false if there is none.
    fn delete_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> impl Future<Output = Answer<bool>> + Send;

    fn delete_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> impl Future<Output = Answer<bool>> + Send;

    /// Up to `limit` tags after `after`, in byte order; None if there is no such repository.
    fn tags(
        &self,
        repository: &RepositoryName,
        after: Option<&str>,
        limit: usize,
    ) -> impl Future<Output = Answer<Option<Page<String>>>> + Send;

    /// Up to `limit` names of repositories with manifests after `after`, in byte order.
    fn repositories(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> impl Future<Output = Answer<Page<String>>> + Send;

    /// Up to `limit` manifests after the digest `after` whose subject is `subject`, by digest.
    fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<&Digest>,
        limit: usize,
    ) -> impl Future<Output = Answer<Page<Descriptor>>> + Send;
}

/// The first `limit` of `names` that come after `after`, in byte order, in memory for a page only.
pub(crate) fn page_of(
    names: impl Iterator<Item = String>,
    after: Option<&str>,
    limit: usize,
) -> Page<String> {
    let mut first = std::collections::BTreeSet::new();
    for name in names {
        if after.is_some_and(|after| name.as_str() <= after) {
            continue;
        }
        first.insert(name);
        if first.len() > limit.saturating_add(1) {
            first.pop_last();
        }
    }
    let more = first.len() > limit;
    if more {
        first.pop_last();
    }
    Page {
        items: first.into_iter().collect(),
        more: more && limit > 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_id_has_one_spelling() {
        let id = UploadId::random().unwrap();
        let text = id.to_string();
        assert_eq!(text.len(), 36);
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(text.to_uppercase().parse::<UploadId>(), Err(()));
        assert_eq!(text.replace('-', "").parse::<UploadId>(), Err(()));
        assert_eq!("../../../etc/passwd".parse::<UploadId>(), Err(()));
    }

    #[test]
    fn pages_are_in_byte_order() {
        let names = || ["b", "a", "B", "c"].into_iter().map(String::from);
        let page = page_of(names(), None, 2);
        assert_eq!(
            (page.items, page.more),
            (vec!["B".to_owned(), "a".to_owned()], true)
        );
        let page = page_of(names(), Some("a"), 2);
        assert_eq!(
            (page.items, page.more),
            (vec!["b".to_owned(), "c".to_owned()], false)
        );
        assert_eq!(
            page_of(names(), None, 0),
            Page {
                items: vec![],
                more: false
            }
        );
    }
}
