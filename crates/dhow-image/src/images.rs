//! The images of one data-root: what is here, under which names, and what may go.
//!
//! A change is made under one lock by one writer at a time: in the metadata store first, then in memory.
//! Readers look at memory only. Files come before their record and go after it, so that a record never
//! names what is not there; what a crash leaves between the two is removed when the data-root is next
//! opened.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use dhow_store::{Durability, Store};
use jiff::Timestamp;

use crate::blob::BlobStore;
use crate::catalog::{Catalog, Garbage, Held, Image, Layer};
use crate::digest::Digest;
use crate::error::{Context, ImageError, Result};
use crate::manifest::{Descriptor, ImageConfig};
use crate::pin::Pin;
use crate::reference::Reference;
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
    recovered: Recovered,
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
    /// Records that were dropped because their content was gone.
    pub lost: usize,
}

impl Images {
    /// The first migration step of the tables this needs.
    pub fn schema() -> &'static str {
        crate::schema::SCHEMA
    }

    /// Opens `data_root`, making its directories, and removes what a crash left half done.
    pub fn open(data_root: &Path, store: Store) -> Result<Images> {
        Images::open_with_limits(data_root, store, Limits::default())
    }

    pub fn open_with_limits(data_root: &Path, store: Store, limits: Limits) -> Result<Images> {
        let layers = data_root.join("layers");
        let ingest = data_root.join("ingest");
        for dir in [&layers, &ingest] {
            fs::create_dir_all(dir).context(|| format!("making {}", dir.display()))?;
        }
        let blobs = BlobStore::open(data_root.join("blobs"))?;
        let mut recovered = Recovered {
            unfinished: empty(&ingest)?,
            ..Recovered::default()
        };
        let mut catalog = Catalog::default();
        load(&store, &blobs, &layers, &mut catalog, &mut recovered)?;
        recovered.strays += blobs.remove_strays(|d| catalog.blobs.contains_key(d))?;
        recovered.strays += remove_stray_layers(&layers, &catalog)?;
        if recovered != Recovered::default() {
            tracing::info!(
                unfinished = recovered.unfinished,
                strays = recovered.strays,
                lost = recovered.lost,
                "the image store was put in order"
            );
        }
        Ok(Images {
            inner: Arc::new(Inner {
                blobs,
                layers,
                ingest,
                store,
                limits,
                catalog: Mutex::new(catalog),
                change: Mutex::new(()),
                next_temporary: AtomicU64::new(0),
                recovered,
            }),
        })
    }

    /// What opening had to put in order. Does not block.
    pub fn recovered(&self) -> Recovered {
        self.inner.recovered
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

/// Removes what is in the directory, and returns how many things there were.
fn empty(dir: &Path) -> Result<usize> {
    let mut removed = 0;
    for entry in fs::read_dir(dir).context(|| format!("listing {}", dir.display()))? {
        let entry = entry.context(|| format!("listing {}", dir.display()))?;
        let path = entry.path();
        let is_dir = entry
            .file_type()
            .context(|| format!("looking at {}", path.display()))?
            .is_dir();
        if is_dir {
            fs::remove_dir_all(&path).context(|| format!("removing {}", path.display()))?;
        } else {
            fs::remove_file(&path).context(|| format!("removing {}", path.display()))?;
        }
        removed += 1;
    }
    Ok(removed)
}

fn remove_stray_layers(layers: &Path, catalog: &Catalog) -> Result<usize> {
    let known: std::collections::HashSet<&str> = catalog.layers.keys().map(Digest::hex).collect();
    let mut removed = 0;
    for entry in fs::read_dir(layers).context(|| format!("listing {}", layers.display()))? {
        let entry = entry.context(|| format!("listing {}", layers.display()))?;
        let stray = entry
            .file_name()
            .to_str()
            .is_none_or(|n| !known.contains(n));
        if stray {
            let path = entry.path();
            fs::remove_dir_all(&path).context(|| format!("removing {}", path.display()))?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Chain id, diff id, parent, size, blob and its media type.
pub(crate) type LayerRow = (
    String,
    String,
    Option<String>,
    i64,
    Option<String>,
    Option<String>,
);

/// The rows of the image tables, as they are.
#[derive(Default)]
struct Rows {
    images: Vec<(String, i64)>,
    documents: Vec<(String, String, String, i64)>,
    names: Vec<(String, String)>,
    layers: Vec<LayerRow>,
    blobs: Vec<(String, i64)>,
    sources: Vec<(String, String)>,
}

fn read_rows(store: &Store) -> Result<Rows> {
    Ok(store.write_blocking(Durability::Process, |c| {
        let mut rows = Rows::default();
        let mut q = c.prepare("SELECT id, last_tagged FROM image_images")?;
        for r in q.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))? {
            rows.images.push(r?);
        }
        let mut q = c.prepare("SELECT image, digest, media_type, size FROM image_documents")?;
        for r in q.query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?)))? {
            rows.documents.push(r?);
        }
        let mut q = c.prepare("SELECT name, image FROM image_names")?;
        for r in q.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))? {
            rows.names.push(r?);
        }
        let mut q =
            c.prepare("SELECT chain, diff_id, parent, size, blob, media_type FROM image_layers")?;
        let layer = |r: &dhow_store::rusqlite::Row<'_>| {
            Ok((
                r.get(0)?,
                r.get(1)?,
                r.get(2)?,
                r.get(3)?,
                r.get(4)?,
                r.get(5)?,
            ))
        };
        for r in q.query_map([], layer)? {
            rows.layers.push(r?);
        }
        let mut q = c.prepare("SELECT digest, size FROM image_blobs")?;
        for r in q.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))? {
            rows.blobs.push(r?);
        }
        let mut q = c.prepare("SELECT blob, repository FROM image_sources")?;
        for r in q.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))? {
            rows.sources.push(r?);
        }
        Ok(rows)
    })?)
}

fn load(
    store: &Store,
    blobs: &BlobStore,
    layers: &Path,
    catalog: &mut Catalog,
    recovered: &mut Recovered,
) -> Result<()> {
    let rows = read_rows(store)?;
    for (digest, size) in rows.blobs {
        let digest = digest_of(&digest)?;
        if !blobs.path(&digest).exists() {
            recovered.lost += 1;
            continue;
        }
        catalog.blobs.insert(digest, recorded(size as u64));
    }
    for (chain, diff_id, parent, size, blob, media_type) in rows.layers {
        let chain = digest_of(&chain)?;
        if !layers.join(chain.hex()).join("fs").exists() {
            recovered.lost += 1;
            continue;
        }
        let blob = match (blob, media_type) {
            (Some(blob), Some(media_type)) => Some((digest_of(&blob)?, media_type)),
            _ => None,
        };
        let layer = Layer {
            diff_id: digest_of(&diff_id)?,
            parent: parent.as_deref().map(digest_of).transpose()?,
            size: size as u64,
            blob: blob.filter(|(b, _)| catalog.blobs.contains_key(b)),
        };
        catalog.layers.insert(chain, recorded(layer));
    }
    let mut documents: HashMap<String, Vec<Descriptor>> = HashMap::new();
    for (image, digest, media_type, size) in rows.documents {
        let descriptor = Descriptor::new(&media_type, digest_of(&digest)?, size as u64);
        documents.entry(image).or_default().push(descriptor);
    }
    for (id, last_tagged) in rows.images {
        let documents = documents.remove(&id).unwrap_or_default();
        let id = digest_of(&id)?;
        match read_config(blobs, &id) {
            Ok(config)
                if config
                    .chain_ids()
                    .iter()
                    .all(|c| catalog.layers.contains_key(c)) =>
            {
                catalog.insert(&id, &config, &documents);
                catalog.set_last_tagged(&id, last_tagged);
            }
            Ok(_) => {
                recovered.lost += 1;
                tracing::error!(image = %id, "an image is out of use: some of its layers are gone; pull it again");
            }
            Err(e) => {
                recovered.lost += 1;
                tracing::error!(image = %id, error = %e, "an image is out of use; pull it again");
            }
        }
    }
    for (name, image) in rows.names {
        let name: Reference = name.parse()?;
        catalog.set_name(&name, &digest_of(&image)?);
    }
    for (blob, repository) in rows.sources {
        let known = catalog.sources.entry(digest_of(&blob)?).or_default();
        known.insert(repository);
    }
    Ok(())
}

fn read_config(blobs: &BlobStore, id: &Digest) -> Result<ImageConfig> {
    ImageConfig::parse(&blobs.read(id)?).map_err(|e| ImageError::Document {
        what: "configuration",
        reason: e.to_string(),
    })
}

fn digest_of(s: &str) -> Result<Digest> {
    s.parse().map_err(|e| ImageError::Document {
        what: "record",
        reason: format!("{e}"),
    })
}

fn recorded<T>(value: T) -> Held<T> {
    Held {
        value,
        recorded: true,
        holds: 0,
    }
}
