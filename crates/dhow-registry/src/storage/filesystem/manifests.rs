//! Manifests, tags and referrers on the disk.

use std::fs;
use std::io;
use std::path::Path;

use dhow_oci::{Descriptor, Digest};

use super::content::parent;
use super::{FilesystemStorage, Shared, found, to_its_end};
use crate::storage::{ManifestRecord, Need, Page, PutManifest, StorageError, page_of};
use crate::{RepositoryName, Tag, TagOrDigest};

impl FilesystemStorage {
    pub(super) async fn store_manifest(
        &self,
        repository: &RepositoryName,
        put: PutManifest,
    ) -> Result<(), StorageError> {
        let adding = self.0.adding(repository).await;
        let (storage, name) = (self.clone(), repository.clone());
        to_its_end(async move {
            let _adding = adding;
            let changed = storage
                .blocking(move |shared| {
                    let missing = shared.missing(&name, &put.needs)?;
                    if !missing.is_empty() {
                        return Ok(Err(missing));
                    }
                    let mut changed = Vec::new();
                    let digest = &put.record.digest;
                    let content = shared.content_path(digest);
                    changed.push(parent(&content)?);
                    let there =
                        found(fs::metadata(&content))?.is_some_and(|m| m.len() == put.record.size);
                    if !there {
                        shared.place(&content, &put.bytes, &mut changed)?;
                    }
                    let record = serde_json::to_vec(&put.record)?;
                    shared.place(&shared.record_path(&name, digest), &record, &mut changed)?;
                    if let Some(subject) = &put.record.subject {
                        let path = shared
                            .referrers_path(&name, subject)
                            .join(referrer_name(digest));
                        let descriptor = serde_json::to_vec(&put.descriptor)?;
                        shared.place(&path, &descriptor, &mut changed)?;
                    }
                    for tag in &put.tags {
                        let digest = digest.to_string();
                        shared.place(
                            &shared.tag_path(&name, tag),
                            digest.as_bytes(),
                            &mut changed,
                        )?;
                    }
                    Ok(Ok(changed))
                })
                .await?
                .map_err(StorageError::Missing)?;
            storage.0.directories.sync(changed).await?;
            Ok(())
        })
        .await
    }

    pub(super) async fn remove_manifest(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, StorageError> {
        let removing = self.0.removing(repository).await;
        let (name, digest) = (repository.clone(), digest.clone());
        let paths = self
            .blocking(move |shared| {
                let record_path = shared.record_path(&name, &digest);
                let Some(record) = shared.read_record(&name, &digest)? else {
                    return Ok(Vec::new());
                };
                // The record goes last: a crash in between leaves a manifest that can be deleted again.
                let mut paths = shared.tags_of(&name, &digest)?;
                if let Some(subject) = record.subject {
                    paths.push(
                        shared
                            .referrers_path(&name, &subject)
                            .join(referrer_name(&digest)),
                    );
                }
                paths.push(record_path);
                Ok(paths)
            })
            .await?;
        if paths.is_empty() {
            return Ok(false);
        }
        self.remove(paths, removing).await?;
        Ok(true)
    }
}

impl Shared {
    fn missing(&self, repository: &RepositoryName, needs: &[Need]) -> io::Result<Vec<Digest>> {
        let mut missing = Vec::new();
        for need in needs {
            let there = match need {
                Need::Blob(digest) => self.has_blob(repository, digest)?,
                Need::Manifest(digest) => self.has_manifest(repository, digest)?,
                Need::Either(digest) => {
                    self.has_manifest(repository, digest)? || self.has_blob(repository, digest)?
                }
            };
            let (Need::Blob(digest) | Need::Manifest(digest) | Need::Either(digest)) = need;
            if !there && !missing.contains(digest) {
                missing.push(digest.clone());
            }
        }
        Ok(missing)
    }

    fn has_manifest(&self, repository: &RepositoryName, digest: &Digest) -> io::Result<bool> {
        Ok(self.record_path(repository, digest).try_exists()?
            && self.content_path(digest).try_exists()?)
    }

    pub(super) fn find_manifest(
        &self,
        repository: &RepositoryName,
        reference: &TagOrDigest,
    ) -> io::Result<Option<ManifestRecord>> {
        let digest = match reference {
            TagOrDigest::Digest(digest) => Some(digest.clone()),
            TagOrDigest::Tag(tag) => self.read_tag(repository, tag)?,
        };
        let Some(digest) = digest else {
            return Ok(None);
        };
        let record = self.read_record(repository, &digest)?;
        if record.is_some() && !self.content_path(&digest).try_exists()? {
            return Ok(None);
        }
        Ok(record)
    }

    fn read_record(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> io::Result<Option<ManifestRecord>> {
        found(fs::read(self.record_path(repository, digest)))?
            .map(|bytes| serde_json::from_slice(&bytes).map_err(io::Error::from))
            .transpose()
    }

    fn read_tag(&self, repository: &RepositoryName, tag: &Tag) -> io::Result<Option<Digest>> {
        read_digest(&self.tag_path(repository, tag))
    }

    /// The paths of all tags that point to a manifest.
    fn tags_of(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> io::Result<Vec<std::path::PathBuf>> {
        let directory = self.repository_path(repository).join("_tags");
        let mut paths = Vec::new();
        for name in names_in(&directory)?.unwrap_or_default() {
            let path = directory.join(name);
            if read_digest(&path)?.as_ref() == Some(digest) {
                paths.push(path);
            }
        }
        Ok(paths)
    }

    pub(super) fn list_tags(
        &self,
        repository: &RepositoryName,
        after: Option<&str>,
        limit: usize,
    ) -> io::Result<Option<Page<String>>> {
        let path = self.repository_path(repository);
        match names_in(&path.join("_tags"))? {
            Some(names) => Ok(Some(page_of(names.into_iter(), after, limit))),
            // Without tags it is still a repository if anything was ever pushed to it.
            None => Ok((path.join("_manifests").try_exists()?
                || path.join("_blobs").try_exists()?)
            .then(|| Page {
                items: Vec::new(),
                more: false,
            })),
        }
    }

    /// Walks all repositories for each page: a registry has thousands of them, not millions.
    pub(super) fn list_repositories(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> io::Result<Page<String>> {
        let mut names = Vec::new();
        collect_repositories(&self.root.join("repositories"), "", &mut names)?;
        Ok(page_of(names.into_iter(), after, limit))
    }

    pub(super) fn list_referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<&Digest>,
        limit: usize,
    ) -> io::Result<Page<Descriptor>> {
        let directory = self.referrers_path(repository, subject);
        let mut names = names_in(&directory)?.unwrap_or_default();
        names.sort();
        let after = after.map(referrer_name);
        let mut items = Vec::new();
        for name in names {
            if after.as_ref().is_some_and(|after| name <= *after) {
                continue;
            }
            // One that was deleted meanwhile is no referrer any more.
            let Some(bytes) = found(fs::read(directory.join(&name)))? else {
                continue;
            };
            let descriptor: Descriptor = serde_json::from_slice(&bytes)?;
            if artifact_type
                .is_some_and(|wanted| descriptor.artifact_type.as_deref() != Some(wanted))
            {
                continue;
            }
            if items.len() == limit {
                return Ok(Page {
                    items,
                    more: limit > 0,
                });
            }
            items.push(descriptor);
        }
        Ok(Page { items, more: false })
    }
}

/// A digest as a file's name; sorts as the digest does.
fn referrer_name(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm().as_str(), digest.hex())
}

fn read_digest(path: &Path) -> io::Result<Option<Digest>> {
    found(fs::read_to_string(path))?
        .map(|text| {
            text.parse()
                .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
        })
        .transpose()
}

fn names_in(directory: &Path) -> io::Result<Option<Vec<String>>> {
    let Some(entries) = found(fs::read_dir(directory))? else {
        return Ok(None);
    };
    let mut names = Vec::new();
    for entry in entries {
        // Names that aren't text are not ours.
        if let Ok(name) = entry?.file_name().into_string() {
            names.push(name);
        }
    }
    Ok(Some(names))
}

/// Repositories that have, or had, manifests. A name's depth is bounded by its length.
fn collect_repositories(directory: &Path, prefix: &str, names: &mut Vec<String>) -> io::Result<()> {
    for entry in names_in(directory)?.unwrap_or_default() {
        if entry == "_manifests" {
            names.push(prefix.to_owned());
        } else if !entry.starts_with('_') {
            let name = if prefix.is_empty() {
                entry.clone()
            } else {
                format!("{prefix}/{entry}")
            };
            collect_repositories(&directory.join(entry), &name, names)?;
        }
    }
    Ok(())
}
