//! The images of one data-root: what is here, under which names, and what may go.
//!
//! A change is made under one lock by one writer at a time: in the metadata store first, then in memory.
//! Readers look at memory only. Files come before their record and go after it, so that a record never
//! names what is not there; what a crash leaves between the two is removed when the data-root is next
//! opened.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use dhow_oci::{Descriptor, Digest, Reference};
use dhow_store::{Durability, Store};
use jiff::Timestamp;

use crate::blob::BlobStore;
use crate::catalog::{Catalog, Garbage, Image, Layer};
use crate::error::{Context, ImageError, Result};
use crate::load;
use crate::pin::Pin;
use crate::settle::{self, Settler};
use crate::unpack::Limits;

/// A handle to the images; clones share one state. Methods block on the disk unless they say otherwise.
#[derive(Clone, Debug)]
pub struct Images {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub blobs: BlobStore,
    pub layers: PathBuf,
    /// Where things are made before they move to their place, and go before they are removed.
    pub ingest: PathBuf,
    pub store: Store,
    pub limits: Limits,
    catalog: Mutex<Catalog>,
    /// Held for the length of a change, with the disk and all. Taken before `catalog`.
    change: Mutex<()>,
    next_temporary: AtomicU64,
    pub settler: Settler,
    recovered: OnceLock<Recovered>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Images")
            .field("layers", &self.layers)
            .finish_non_exhaustive()
    }
}

/// What a crash had left half done, counted when the data-root was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Ingests and removals that had not come to their end.
    pub unfinished: usize,
    /// Layers and blobs that no record named.
    pub strays: usize,
    /// Layers that were unpacked again because power was lost before they were on the disk.
    pub rebuilt: usize,
    /// Records that were dropped because their content was gone.
    pub lost: usize,
    /// Records that can't be read: they were set aside in the store.
    pub set_aside: usize,
}

/// How the images of a data-root are kept.
#[derive(Clone, Debug)]
pub struct Options {
    pub limits: Limits,
    /// What names the time since the machine last lost its memory; the kernel's `boot_id` if `None`.
    pub boot: Option<String>,
    /// After how long without a new image a flush settles what is not yet on the disk.
    pub settle_after: std::time::Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            limits: Limits::default(),
            boot: None,
            settle_after: settle::AFTER,
        }
    }
}

impl Images {
    /// The tables that this needs.
    pub fn schema() -> dhow_store::Schema {
        crate::schema::SCHEMA
    }

    /// Opens `data_root`, making its directories, and puts in order what a crash left half done.
    pub fn open(data_root: &Path, store: Store) -> Result<Images> {
        Images::open_with(data_root, store, Options::default())
    }

    pub fn open_with(data_root: &Path, store: Store, options: Options) -> Result<Images> {
        let layers = data_root.join("layers");
        let ingest = data_root.join("ingest");
        for dir in [&layers, &ingest] {
            fs::create_dir_all(dir).context(|| format!("making {}", dir.display()))?;
        }
        let boot = options.boot.map_or_else(settle::boot_id, Ok)?;
        let images = Images {
            inner: Arc::new(Inner {
                blobs: BlobStore::open(data_root.join("blobs"))?,
                layers,
                ingest,
                store,
                limits: options.limits,
                catalog: Mutex::default(),
                change: Mutex::new(()),
                next_temporary: AtomicU64::new(0),
                settler: Settler::new(boot, options.settle_after),
                recovered: OnceLock::new(),
            }),
        };
        let recovered = load::load(&images)?;
        if recovered != Recovered::default() {
            tracing::info!(
                unfinished = recovered.unfinished,
                strays = recovered.strays,
                rebuilt = recovered.rebuilt,
                lost = recovered.lost,
                set_aside = recovered.set_aside,
                "the image store was put in order"
            );
        }
        images.inner.recovered.get_or_init(|| recovered);
        Ok(images)
    }

    /// What opening had to put in order. Does not block.
    pub fn recovered(&self) -> Recovered {
        self.inner.recovered.get().copied().unwrap_or_default()
    }

    /// Every image, newest first. Does not block.
    pub fn list(&self) -> Vec<Arc<Image>> {
        let mut list: Vec<_> = self.inner.catalog().images().cloned().collect();
        list.sort_by_cached_key(|i| (std::cmp::Reverse(i.config.created_seconds()), i.id.clone()));
        list
    }

    /// How many images there are. Does not block.
    pub fn count(&self) -> usize {
        self.inner.catalog().images().count()
    }

    /// The image with this id. Does not block.
    pub fn get(&self, id: &Digest) -> Option<Arc<Image>> {
        self.inner.catalog().image(id).cloned()
    }

    /// Where the layers of an image are, topmost first. Does not block.
    pub fn lower_dirs(&self, id: &Digest) -> Result<Vec<PathBuf>> {
        let image = self
            .get(id)
            .ok_or_else(|| ImageError::NotFound(id.to_string()))?;
        Ok(image
            .chain
            .iter()
            .rev()
            .map(|chain| self.inner.layer_dir(chain))
            .collect())
    }

    /// Keeps the layers of an image on disk while the result lives, whatever becomes of the image.
    /// Does not block.
    pub fn pin(&self, id: &Digest) -> Result<Pin> {
        let mut catalog = self.inner.catalog();
        let image = catalog
            .image(id)
            .cloned()
            .ok_or_else(|| ImageError::NotFound(id.to_string()))?;
        Ok(Pin::take(self, &mut catalog, image.chain.clone()))
    }

    /// As [`Images::pin`], for a container whose image may have been removed since: by the chain id of
    /// the topmost layer. To be taken for every container before the first [`Images::collect`].
    pub fn pin_chain(&self, top: &Digest) -> Result<Pin> {
        let mut catalog = self.inner.catalog();
        let mut chain = Vec::new();
        let mut next = Some(top.clone());
        while let Some(id) = next {
            let layer = catalog
                .layers
                .get(&id)
                .ok_or_else(|| ImageError::NotFound(id.to_string()))?;
            next = layer.value.parent.clone();
            chain.push(id);
        }
        chain.reverse();
        Ok(Pin::take(self, &mut catalog, chain))
    }

    /// The record of a layer. Does not block.
    pub fn layer(&self, chain: &Digest) -> Option<Layer> {
        self.inner
            .catalog()
            .layers
            .get(chain)
            .map(|l| l.value.clone())
    }

    /// Bytes that the unpacked layers take, each counted once. Does not block.
    pub fn layers_size(&self) -> u64 {
        self.inner
            .catalog()
            .layers
            .values()
            .map(|l| l.value.size)
            .sum()
    }

    /// How many images have this layer. Does not block.
    pub fn users_of_layer(&self, chain: &Digest) -> usize {
        self.inner
            .catalog()
            .images()
            .filter(|i| i.chain.contains(chain))
            .count()
    }

    /// The size of a blob, if it is here. Does not block.
    pub fn blob_size(&self, digest: &Digest) -> Option<u64> {
        self.inner.catalog().blobs.get(digest).map(|b| b.value)
    }

    /// The whole of a document: a configuration, a manifest or an index.
    pub fn read_document(&self, digest: &Digest) -> Result<Vec<u8>> {
        self.inner.blobs.read(digest)
    }

    /// A blob's file, for streaming.
    pub fn open_blob(&self, digest: &Digest) -> Result<fs::File> {
        self.inner.blobs.open_blob(digest)
    }

    /// The repositories that are known to have this blob, as full names. Does not block.
    pub fn sources(&self, blob: &Digest) -> Vec<String> {
        self.inner
            .catalog()
            .sources
            .get(blob)
            .map_or_else(Vec::new, |s| s.iter().cloned().collect())
    }

    /// Remembers that `repository` has these blobs.
    pub fn add_sources(&self, repository: &Reference, blobs: &[Digest]) -> Result<()> {
        let _change = self.inner.change();
        let name = repository.name();
        let (rows, blobs_) = (name.clone(), blobs.to_vec());
        self.inner
            .store
            .write_blocking(Durability::Process, move |c| {
                for blob in &blobs_ {
                    c.prepare_cached("INSERT OR IGNORE INTO image_sources VALUES (?1, ?2)")?
                        .execute([&blob.to_string(), &rows])?;
                }
                Ok(())
            })?;
        let mut catalog = self.inner.catalog();
        for blob in blobs {
            let known = catalog.sources.entry(blob.clone()).or_default();
            known.insert(name.clone());
        }
        Ok(())
    }

    /// Gives the image `id` the name `target`, which a former bearer loses.
    pub fn tag(&self, id: &Digest, target: &Reference) -> Result<()> {
        if target.digest().is_some() {
            return Err(ImageError::Invalid(
                "refusing to create a tag with a digest reference".into(),
            ));
        }
        let target = target.clone().with_default_tag();
        self.set_names(id, &[target])
    }

    /// Gives an image names, tags and digests alike.
    pub fn set_names(&self, id: &Digest, names: &[Reference]) -> Result<()> {
        let _change = self.inner.change();
        if self.inner.catalog().image(id).is_none() {
            return Err(ImageError::NotFound(id.to_string()));
        }
        let at = now();
        let (rows, image) = (strings(names), id.to_string());
        self.inner
            .store
            .write_blocking(Durability::Synced, move |c| {
                insert_names(c, &image, &rows, at)
            })?;
        let mut catalog = self.inner.catalog();
        for name in names {
            catalog.set_name(name, id);
        }
        catalog.set_last_tagged(id, at);
        Ok(())
    }

    /// Adds the documents that an image was pushed with to those it came by.
    pub fn add_documents(&self, id: &Digest, documents: &[Descriptor]) -> Result<()> {
        let _change = self.inner.change();
        let Some(image) = self.get(id) else {
            return Err(ImageError::NotFound(id.to_string()));
        };
        let (rows, image_id) = (documents.to_vec(), id.to_string());
        self.inner
            .store
            .write_blocking(Durability::Synced, move |c| {
                insert_documents(c, &image_id, &rows)
            })?;
        self.inner.catalog().insert(id, &image.config, documents);
        Ok(())
    }

    /// Removes every layer and blob that no image, pin or ingest refers to any more, and returns the
    /// chain ids of the layers.
    pub fn collect(&self) -> Result<Vec<Digest>> {
        let change = self.inner.change();
        let removed = self.inner.collect(&change)?;
        Ok(removed)
    }
}

impl Inner {
    pub fn catalog(&self) -> MutexGuard<'_, Catalog> {
        self.catalog.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub fn change(&self) -> MutexGuard<'_, ()> {
        self.change.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The tree of a layer.
    pub fn layer_dir(&self, chain: &Digest) -> PathBuf {
        self.layers.join(chain.hex()).join("fs")
    }

    /// The init layer of a chain of layers: it goes with the topmost one.
    pub fn init_dir(&self, chain: &Digest) -> PathBuf {
        self.layers.join(chain.hex()).join("init")
    }

    /// A path for something new in the ingest directory.
    pub fn temporary(&self) -> PathBuf {
        let n = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        self.ingest.join(n.to_string())
    }

    /// See [`Images::collect`]. The records go first, then the files.
    pub fn collect(&self, _change: &MutexGuard<'_, ()>) -> Result<Vec<Digest>> {
        let garbage = self.catalog().take_garbage();
        self.dispose(garbage)
    }

    /// As [`Inner::collect`], but of blobs alone: safe before containers have pinned their layers.
    pub fn collect_blobs(&self, _change: &MutexGuard<'_, ()>) -> Result<()> {
        let mut catalog = self.catalog();
        let garbage = catalog.take_garbage_blobs();
        drop(catalog);
        self.dispose(garbage)?;
        Ok(())
    }

    fn dispose(&self, garbage: Garbage) -> Result<Vec<Digest>> {
        if garbage.is_empty() {
            return Ok(Vec::new());
        }
        if let Err(e) = self.forget(&garbage) {
            self.catalog().put_back(garbage);
            return Err(e);
        }
        let mut removed = Vec::new();
        for (chain, _) in garbage.layers {
            self.remove_tree(&self.layers.join(chain.hex()))?;
            removed.push(chain);
        }
        for (digest, _) in garbage.blobs {
            self.blobs
                .remove(&digest)
                .context(|| format!("removing blob {digest}"))?;
        }
        Ok(removed)
    }

    /// Removes what a dropped ingest had put in place and no record or hold keeps. Leaves alone what was
    /// recorded, for that may wait for its containers' pins.
    pub fn discard_unrecorded(&self, _change: &MutexGuard<'_, ()>) -> Result<()> {
        let (layers, blobs) = self.catalog().take_unrecorded();
        for chain in layers {
            self.remove_tree(&self.layers.join(chain.hex()))?;
        }
        for digest in blobs {
            self.blobs
                .remove(&digest)
                .context(|| format!("removing blob {digest}"))?;
        }
        Ok(())
    }

    fn forget(&self, garbage: &Garbage) -> Result<()> {
        let recorded = |r: bool, d: &Digest| r.then(|| d.to_string());
        let layers: Vec<String> = garbage
            .layers
            .iter()
            .filter_map(|(d, l)| recorded(l.recorded, d))
            .collect();
        let blobs: Vec<String> = garbage
            .blobs
            .iter()
            .filter_map(|(d, b)| recorded(b.recorded, d))
            .collect();
        if layers.is_empty() && blobs.is_empty() {
            return Ok(());
        }
        self.store.write_blocking(Durability::Process, move |c| {
            for chain in &layers {
                c.prepare_cached("DELETE FROM image_layers WHERE chain = ?1")?
                    .execute([chain])?;
                c.prepare_cached("DELETE FROM image_unsettled WHERE chain = ?1")?
                    .execute([chain])?;
            }
            for digest in &blobs {
                c.prepare_cached("DELETE FROM image_blobs WHERE digest = ?1")?
                    .execute([digest])?;
                c.prepare_cached("DELETE FROM image_sources WHERE blob = ?1")?
                    .execute([digest])?;
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Takes a tree out of its place at once, then removes it.
    pub fn remove_tree(&self, path: &Path) -> Result<()> {
        let doomed = self.temporary();
        match fs::rename(path, &doomed) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            r => r.context(|| format!("moving {} away", path.display()))?,
        }
        fs::remove_dir_all(&doomed).context(|| format!("removing {}", doomed.display()))
    }
}

pub(crate) fn now() -> i64 {
    i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

pub(crate) fn strings<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(T::to_string).collect()
}

pub(crate) fn insert_names(
    c: &dhow_store::rusqlite::Connection,
    image: &str,
    names: &[String],
    at: i64,
) -> dhow_store::rusqlite::Result<()> {
    for name in names {
        c.prepare_cached("INSERT OR REPLACE INTO image_names VALUES (?1, ?2)")?
            .execute([name.as_str(), image])?;
    }
    c.prepare_cached("UPDATE image_images SET last_tagged = ?2 WHERE id = ?1")?
        .execute((image, at))?;
    Ok(())
}

pub(crate) fn insert_documents(
    c: &dhow_store::rusqlite::Connection,
    image: &str,
    documents: &[Descriptor],
) -> dhow_store::rusqlite::Result<()> {
    for d in documents {
        c.prepare_cached("INSERT OR REPLACE INTO image_documents VALUES (?1, ?2, ?3, ?4)")?
            .execute((image, d.digest.to_string(), &d.media_type, d.size as i64))?;
        c.prepare_cached("INSERT OR IGNORE INTO image_blobs VALUES (?1, ?2)")?
            .execute((d.digest.to_string(), d.size as i64))?;
    }
    Ok(())
}
