//! The files of an archive on the disk, each hashed, by their paths in it.

use std::collections::HashMap;
use std::io::{Read, Seek};
use std::sync::{Mutex, MutexGuard};

use dhow_archive::Member;
use dhow_oci::{Algorithm, DOCUMENT_MAX, Digest};
use serde::de::DeserializeOwned;
use tar::EntryType;

use super::layout;
use crate::blob::{BlobWriter, StagedBlob};
use crate::compression::Compression;
use crate::error::{Context, ImageError, Result};
use crate::images::Images;
use crate::unpack::{Limits, RelPath};

/// More files and links are not taken. Docker's older layout has four for a layer.
const MAX_ENTRIES: usize = 1 << 16;
/// Bytes of memory for all their paths.
const MAX_PATHS: usize = 16 << 20;
/// Links that lead to one another.
const MAX_LINKS: usize = 8;
const BUFFER: usize = 256 << 10;

/// A file of the archive.
pub(super) type FileId = usize;

#[derive(Debug)]
pub(super) struct Spool {
    images: Images,
    max_bytes: u64,
    begun: bool,
    bytes: u64,
    paths: usize,
    entries: HashMap<RelPath, Entry>,
    files: Mutex<Vec<Stored>>,
    taking: Mutex<()>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
enum Entry {
    File(FileId),
    Link(RelPath),
}

#[derive(Debug)]
struct Stored {
    digest: Digest,
    size: u64,
    /// Until it is taken.
    blob: Option<StagedBlob>,
}

impl Spool {
    pub fn new(images: &Images, limits: &Limits) -> Spool {
        Spool {
            images: images.clone(),
            max_bytes: limits.max_bytes,
            begun: false,
            bytes: 0,
            paths: 0,
            entries: HashMap::new(),
            files: Mutex::default(),
            taking: Mutex::default(),
            buffer: vec![0; BUFFER],
        }
    }

    /// Takes in what the archive has next. Of two entries with one path the last counts.
    pub fn take<R: Read>(&mut self, mut member: Member<'_, '_, R>) -> Result<()> {
        self.begun = true;
        let path = RelPath::clean(&member.path)?;
        let entry = match member.kind {
            EntryType::Directory => return Ok(()),
            EntryType::Regular | EntryType::Continuous if !member.is_sparse() => {
                Entry::File(self.store(&path, &mut member)?)
            }
            // From the archive's root.
            EntryType::Link => Entry::Link(RelPath::clean(&member.link)?),
            EntryType::Symlink => Entry::Link(symlink_target(&path, &member.link)?),
            _ => {
                return Err(ImageError::Archive(format!(
                    "{path} is neither a plain file nor a directory or a link"
                )));
            }
        };
        self.paths += path.len();
        if let Entry::Link(target) = &entry {
            self.paths += target.len();
        }
        if self.entries.len() >= MAX_ENTRIES || self.paths > MAX_PATHS {
            return Err(ImageError::Archive(format!(
                "it has more than {MAX_ENTRIES} files, or their names are longer than {MAX_PATHS} bytes together"
            )));
        }
        if let Some(Entry::File(replaced)) = self.entries.insert(path, entry) {
            self.files()[replaced].blob = None;
        }
        Ok(())
    }

    /// Whether there was anything in the archive.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    fn store<R: Read>(&mut self, path: &RelPath, member: &mut Member<'_, '_, R>) -> Result<FileId> {
        self.bytes = self.bytes.saturating_add(member.size());
        if self.bytes > self.max_bytes {
            return Err(ImageError::Archive(format!(
                "its files are larger than the limit of {} bytes",
                self.max_bytes
            )));
        }
        let promised = layout::promised(&path.to_text());
        let algorithm = promised
            .as_ref()
            .map_or(Algorithm::Sha256, Digest::algorithm);
        let mut writer = BlobWriter::create(self.images.inner.temporary(), algorithm)?;
        member.copy_to(&mut self.buffer, |bytes| writer.write(bytes))?;
        let blob = writer.finish();
        if let Some(promised) = promised
            && promised != blob.digest
        {
            return Err(ImageError::Archive(format!(
                "it is damaged: the content of {path} has the digest {}",
                blob.digest
            )));
        }
        let mut files = self.files();
        files.push(Stored {
            digest: blob.digest.clone(),
            size: blob.size,
            blob: Some(blob),
        });
        Ok(files.len() - 1)
    }

    fn files(&self) -> MutexGuard<'_, Vec<Stored>> {
        self.files.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The file with this path, also through links.
    pub fn find(&self, path: &str) -> Option<FileId> {
        let mut path = RelPath::clean(path.as_bytes()).ok()?;
        for _ in 0..MAX_LINKS {
            match self.entries.get(&path)? {
                Entry::File(id) => return Some(*id),
                Entry::Link(target) => path = target.clone(),
            }
        }
        None
    }

    pub fn find_blob(&self, digest: &Digest) -> Option<FileId> {
        self.find(&layout::blob_path(digest))
    }

    pub fn digest(&self, id: FileId) -> Digest {
        self.files()[id].digest.clone()
    }

    pub fn size(&self, id: FileId) -> u64 {
        self.files()[id].size
    }

    /// The whole of a document.
    pub fn document(&self, what: &str, id: FileId) -> Result<Vec<u8>> {
        let (mut file, size) = {
            let files = self.files();
            let stored = &files[id];
            let blob = stored.blob.as_ref().ok_or(ImageError::Abandoned)?;
            (blob.open()?, stored.size)
        };
        if size > DOCUMENT_MAX {
            return Err(ImageError::Archive(format!(
                "its {what} has {size} bytes, and more than {DOCUMENT_MAX} are not taken"
            )));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)
            .context(|| format!("reading the archive's {what}"))?;
        Ok(bytes)
    }

    /// A document that is JSON, if it is there.
    pub fn json<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>> {
        let Some(id) = self.find(path) else {
            return Ok(None);
        };
        let bytes = self.document(path, id)?;
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| ImageError::Archive(format!("its {path} can't be read: {e}")))
    }

    /// How a file is compressed.
    pub fn compression(&self, id: FileId) -> Result<Compression> {
        let Some(mut file) = self.open(id)? else {
            return Ok(Compression::None);
        };
        let mut front = Vec::new();
        file.by_ref()
            .take(6)
            .read_to_end(&mut front)
            .and_then(|_| file.rewind())
            .context(|| "reading the archive".into())?;
        Ok(Compression::detect(&front))
    }

    /// A file; `None` if it was taken.
    pub fn open(&self, id: FileId) -> Result<Option<std::fs::File>> {
        self.files()[id]
            .blob
            .as_ref()
            .map(StagedBlob::open)
            .transpose()
    }

    /// To be held while a file is taken out and put elsewhere.
    pub fn taking(&self) -> MutexGuard<'_, ()> {
        self.taking.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Takes a file out, once.
    pub fn take_out(&self, id: FileId) -> Option<StagedBlob> {
        self.files()[id].blob.take()
    }
}

fn symlink_target(link: &RelPath, target: &[u8]) -> Result<RelPath> {
    let parent = link.split().map(|(parent, _)| parent).unwrap_or_default();
    match target.starts_with(b"/") {
        true => RelPath::clean(target),
        false => RelPath::clean(&[parent.to_text().as_bytes(), b"/", target].concat()),
    }
}
