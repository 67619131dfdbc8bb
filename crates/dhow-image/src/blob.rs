//! The content store: `blobs/<algorithm>/<hex>`, one file a blob, named for what it holds.
//!
//! A blob appears in its place whole and verified, by rename, or not at all. Being in its place does not
//! make it kept: the metadata store's record does, which is committed after [`BlobStore::flush`]; a file
//! without a record is removed when the store is next opened.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use dhow_oci::digest::Hasher;
use dhow_oci::{Algorithm, Digest};

use crate::error::{Context, ImageError, Result};
use crate::writeback;

#[derive(Debug)]
pub(crate) struct BlobStore {
    dir: PathBuf,
}

impl BlobStore {
    pub fn open(dir: PathBuf) -> Result<BlobStore> {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let dir = dir.join(algorithm.as_str());
            fs::create_dir_all(&dir).context(|| format!("making {}", dir.display()))?;
        }
        Ok(BlobStore { dir })
    }

    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.dir
            .join(digest.algorithm().as_str())
            .join(digest.hex())
    }

    pub fn open_blob(&self, digest: &Digest) -> Result<File> {
        File::open(self.path(digest)).context(|| format!("opening blob {digest}"))
    }

    /// The whole of a small blob.
    pub fn read(&self, digest: &Digest) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open_blob(digest)?
            .read_to_end(&mut bytes)
            .context(|| format!("reading blob {digest}"))?;
        if !digest.matches(&bytes) {
            return Err(ImageError::Document {
                what: "stored document",
                reason: format!("{digest} was damaged on disk"),
            });
        }
        Ok(bytes)
    }

    /// Moves a finished blob into its place. A second copy of the same content replaces the first.
    pub fn publish(&self, staged: StagedBlob) -> Result<()> {
        let to = self.path(&staged.digest);
        fs::rename(&staged.path, &to).context(|| format!("moving a blob to {}", to.display()))
        // Dropping `staged` finds nothing at its old path.
    }

    /// Puts blobs that are in their place on the disk, so that they survive power loss.
    pub fn flush(&self, blobs: &[Digest]) -> Result<()> {
        for digest in blobs {
            self.open_blob(digest)?
                .sync_all()
                .context(|| format!("flushing blob {digest}"))?;
        }
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            if blobs.iter().any(|d| d.algorithm() == algorithm) {
                let dir = self.dir.join(algorithm.as_str());
                File::open(&dir)
                    .and_then(|d| d.sync_all())
                    .context(|| format!("flushing {}", dir.display()))?;
            }
        }
        Ok(())
    }

    pub fn remove(&self, digest: &Digest) -> io::Result<()> {
        match fs::remove_file(self.path(digest)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    /// Removes every file that `known` does not claim, and returns how many.
    pub fn remove_strays(&self, known: impl Fn(&Digest) -> bool) -> Result<usize> {
        let mut removed = 0;
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let dir = self.dir.join(algorithm.as_str());
            let entries = fs::read_dir(&dir).context(|| format!("listing {}", dir.display()))?;
            for entry in entries {
                let entry = entry.context(|| format!("listing {}", dir.display()))?;
                let name = entry.file_name();
                let digest = name
                    .to_str()
                    .and_then(|hex| format!("{}:{hex}", algorithm.as_str()).parse().ok());
                if !digest.is_some_and(|d| known(&d)) {
                    let path = entry.path();
                    fs::remove_file(&path).context(|| format!("removing {}", path.display()))?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }
}

/// A blob on its way in.
#[derive(Debug)]
pub(crate) struct BlobWriter {
    file: File,
    hasher: Hasher,
    size: u64,
    /// How much of it has been sent on its way to the disk.
    begun: u64,
    path: PathBuf,
    armed: bool,
}

impl BlobWriter {
    pub fn create(path: PathBuf, algorithm: Algorithm) -> Result<BlobWriter> {
        let file = File::options()
            .write(true)
            .create_new(true)
            .open(&path)
            .context(|| format!("making {}", path.display()))?;
        Ok(BlobWriter {
            file,
            hasher: algorithm.hasher(),
            size: 0,
            begun: 0,
            path,
            armed: true,
        })
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.file
            .write_all(bytes)
            .context(|| "writing a blob".to_owned())?;
        self.size += bytes.len() as u64;
        if self.size - self.begun >= writeback::STRIDE {
            writeback::begin(&self.file, self.begun, self.size - self.begun);
            self.begun = self.size;
        }
        Ok(())
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn finish(mut self) -> StagedBlob {
        self.armed = false;
        writeback::begin(&self.file, self.begun, self.size - self.begun);
        StagedBlob {
            path: std::mem::take(&mut self.path),
            digest: self.hasher.clone().finish(),
            size: self.size,
        }
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if self.armed {
            discard(&self.path);
        }
    }
}

/// A whole blob that is not yet in its place; dropped, it is removed.
#[derive(Debug)]
pub(crate) struct StagedBlob {
    path: PathBuf,
    pub digest: Digest,
    pub size: u64,
}

impl StagedBlob {
    pub fn open(&self) -> Result<File> {
        File::open(&self.path).context(|| format!("opening {}", self.path.display()))
    }

    /// Refuses content that is not what was asked for.
    pub fn verify(&self, what: &'static str, digest: &Digest, size: u64) -> Result<()> {
        if self.size != size {
            return Err(ImageError::WrongSize {
                what,
                expected: size,
                found: self.size,
            });
        }
        if self.digest != *digest {
            return Err(ImageError::WrongDigest {
                what,
                expected: digest.clone(),
                found: self.digest.clone(),
            });
        }
        Ok(())
    }
}

impl Drop for StagedBlob {
    fn drop(&mut self) {
        discard(&self.path);
    }
}

fn discard(path: &Path) {
    if let Err(e) = fs::remove_file(path)
        && e.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), error = %e, "could not remove an unfinished blob");
    }
}
