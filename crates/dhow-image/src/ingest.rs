//! An ingest: the making of an image from what comes in. What it has put in place, or found there, is
//! safe from collection until it is committed or dropped; what a dropped one put in place is removed,
//! unless somebody else uses it by then.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use dhow_oci::{Algorithm, Descriptor, Digest, ImageConfig, Reference, chain_ids};
use dhow_store::Durability;

use crate::blob::{BlobWriter, StagedBlob};
use crate::catalog::{Held, Image, Layer};
use crate::error::{ImageError, Result};
use crate::images::{self, Images, strings};
use crate::layer_stream::{self, LayerBlob, LayerSink, LayerSpec, NewLayer};

#[derive(Debug)]
pub struct Ingest {
    images: Images,
    held: Mutex<Holds>,
}

#[derive(Debug, Default)]
struct Holds {
    layers: Vec<Digest>,
    blobs: Vec<Digest>,
    /// Of the blobs those that are kept with the image, and are not of it.
    attached: BTreeSet<Digest>,
}

/// What an ingest came to.
#[derive(Clone, Debug)]
pub struct Committed {
    pub image: Arc<Image>,
    /// False if everything was as it is before: the image, and all its names.
    pub changed: bool,
}

impl Images {
    /// Begins an ingest. Does not block.
    pub fn begin(&self) -> Ingest {
        Ingest {
            images: self.clone(),
            held: Mutex::default(),
        }
    }
}

impl Ingest {
    pub(crate) fn images(&self) -> &Images {
        &self.images
    }

    /// Whether the layer with this chain id is here; if so it stays. Does not block.
    pub fn has_layer(&self, chain: &Digest) -> bool {
        let mut catalog = self.images.inner.catalog();
        let Some(layer) = catalog.layers.get_mut(chain) else {
            return false;
        };
        layer.holds += 1;
        self.held().layers.push(chain.clone());
        true
    }

    /// Whether the blob is here; if so it stays. Does not block.
    pub fn has_blob(&self, digest: &Digest) -> bool {
        let mut catalog = self.images.inner.catalog();
        let Some(blob) = catalog.blobs.get_mut(digest) else {
            return false;
        };
        blob.holds += 1;
        self.held().blobs.push(digest.clone());
        true
    }

    /// Puts a small document in place.
    pub fn put_document(&self, bytes: &[u8]) -> Result<Digest> {
        self.put_document_as(bytes, Algorithm::Sha256)
    }

    /// As [`Ingest::put_document`], with a digest of the given kind.
    pub fn put_document_as(&self, bytes: &[u8], algorithm: Algorithm) -> Result<Digest> {
        let inner = &self.images.inner;
        let mut hasher = algorithm.hasher();
        hasher.update(bytes);
        let digest = hasher.finish();
        if self.has_blob(&digest) {
            return Ok(digest);
        }
        let mut writer = BlobWriter::create(inner.temporary(), algorithm)?;
        writer.write(bytes)?;
        let blob = writer.finish();
        let _change = inner.change();
        self.place_blob(blob)?;
        Ok(digest)
    }

    /// Puts what is stated about the image in place, or a part of it; it is kept as long as the image.
    pub fn attach(&self, bytes: &[u8], algorithm: Algorithm) -> Result<()> {
        let digest = self.put_document_as(bytes, algorithm)?;
        self.held().attached.insert(digest);
        Ok(())
    }

    /// Begins to take in a layer's stream.
    pub fn layer(&self, spec: LayerSpec) -> Result<LayerSink> {
        layer_stream::start(self.images.inner.clone(), spec)
    }

    /// Unpacks a layer from its blob, which is here and stays.
    pub fn layer_from_blob(&self, blob: &Digest, spec: LayerSpec) -> Result<NewLayer> {
        layer_stream::from_blob(&self.images.inner, blob, spec, &|_| true)
    }

    /// Puts a layer in place above `parent`, which is in place, and returns its chain id.
    pub fn place_layer(&self, layer: NewLayer, parent: Option<&Digest>) -> Result<Digest> {
        let inner = &self.images.inner;
        let chain = match parent {
            None => layer.diff_id.clone(),
            Some(parent) => Digest::sha256(format!("{parent} {}", layer.diff_id).as_bytes()),
        };
        let below = match parent {
            None => Vec::new(),
            Some(parent) => self.images.pin_chain(parent)?.lower_dirs(),
        };
        layer.unfinished.finish(&layer.dir.tree(), &below)?;
        let _change = inner.change();
        if self.has_layer(&chain) {
            // Somebody else was first; this one is dropped.
            return Ok(chain);
        }
        let record = Layer {
            diff_id: layer.diff_id,
            parent: parent.cloned(),
            size: layer.size,
            blob: Some((layer.blob.digest().clone(), layer.media_type)),
        };
        match layer.blob {
            LayerBlob::Staged(blob) => self.place_blob(blob)?,
            LayerBlob::Kept(digest) if self.has_blob(&digest) => {}
            LayerBlob::Kept(digest) => return Err(ImageError::NotFound(digest.to_string())),
        }
        let place = inner.layers.join(chain.hex());
        // What no record names may have been left there.
        inner.remove_tree(&place)?;
        layer.dir.publish(&place)?;
        let held = Held {
            value: record,
            recorded: false,
            holds: 1,
        };
        inner.catalog().layers.insert(chain.clone(), held);
        self.held().layers.push(chain.clone());
        Ok(chain)
    }

    /// Puts a blob in place that is all there.
    pub(crate) fn keep_blob(&self, blob: StagedBlob) -> Result<()> {
        let _change = self.images.inner.change();
        self.place_blob(blob)
    }

    /// With the change lock held.
    fn place_blob(&self, blob: StagedBlob) -> Result<()> {
        let inner = &self.images.inner;
        if self.has_blob(&blob.digest) {
            return Ok(());
        }
        let (digest, size) = (blob.digest.clone(), blob.size);
        inner.blobs.publish(blob)?;
        let held = Held {
            value: size,
            recorded: false,
            holds: 1,
        };
        inner.catalog().blobs.insert(digest.clone(), held);
        self.held().blobs.push(digest);
        Ok(())
    }

    /// Makes an image of the configuration `id` and the layers that it names, which are all in place,
    /// with the documents that it came by and new names for it. Once it returns, the image survives
    /// power loss.
    pub fn commit(
        self,
        id: &Digest,
        documents: &[Descriptor],
        names: &[Reference],
    ) -> Result<Committed> {
        self.commit_child(id, None, documents, names)
    }

    /// As [`Ingest::commit`], of an image that was made of another one.
    pub(crate) fn commit_child(
        self,
        id: &Digest,
        parent: Option<&Digest>,
        documents: &[Descriptor],
        names: &[Reference],
    ) -> Result<Committed> {
        let inner = &self.images.inner;
        let config =
            ImageConfig::parse(&inner.blobs.read(id)?).map_err(|e| ImageError::Document {
                what: "configuration",
                reason: e.to_string(),
            })?;
        let chain = chain_ids(&config.rootfs.diff_ids);
        self.flush_blobs(&chain)?;
        let change = inner.change();
        let attached = self.held().attached.clone();
        let (known, rows) = self.rows(id, &chain, documents, &attached)?;
        let new_layers = rows.unsettled.clone();
        let unchanged = known.as_ref().is_some_and(|image| {
            names.iter().all(|n| image.references().any(|r| r == n))
                && documents
                    .iter()
                    .all(|d| image.documents.iter().any(|k| k.digest == d.digest))
                && attached.is_subset(&image.attached)
        });
        if let (Some(image), true) = (&known, unchanged) {
            return Ok(Committed {
                image: image.clone(),
                changed: false,
            });
        }
        let at = images::now();
        let (image_id, name_rows) = (id.to_string(), strings(names));
        let document_rows = documents.to_vec();
        let parent_row = parent.map(Digest::to_string);
        let attached_rows: Vec<String> = attached.iter().map(Digest::to_string).collect();
        let (unsettled, boot) = (strings(&rows.unsettled), inner.settler.boot.clone());
        inner.store.write_blocking(Durability::Synced, move |c| {
            for (digest, size) in &rows.blobs {
                c.prepare_cached("INSERT OR IGNORE INTO image_blobs VALUES (?1, ?2)")?
                    .execute((digest, size))?;
            }
            for l in &rows.layers {
                c.prepare_cached(
                    "INSERT OR REPLACE INTO image_layers VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute((&l.0, &l.1, &l.2, l.3, &l.4, &l.5))?;
            }
            for chain in &unsettled {
                c.prepare_cached("INSERT OR REPLACE INTO image_unsettled VALUES (?1, ?2)")?
                    .execute((chain, &boot))?;
            }
            c.prepare_cached("INSERT OR IGNORE INTO image_images VALUES (?1, 0)")?
                .execute([&image_id])?;
            images::insert_documents(c, &image_id, &document_rows)?;
            for digest in &attached_rows {
                c.prepare_cached("INSERT OR IGNORE INTO image_attached VALUES (?1, ?2)")?
                    .execute([&image_id, digest])?;
            }
            if let Some(parent) = &parent_row {
                c.prepare_cached("INSERT OR REPLACE INTO image_parents VALUES (?1, ?2)")?
                    .execute([&image_id, parent])?;
            }
            if name_rows.is_empty() {
                return Ok(());
            }
            images::insert_names(c, &image_id, &name_rows, at)
        })?;
        let mut catalog = inner.catalog();
        for chain in &chain {
            if let Some(layer) = catalog.layers.get_mut(chain) {
                layer.recorded = true;
                let blob = layer.value.blob.as_ref().map(|(digest, _)| digest.clone());
                if let Some(blob) = blob.and_then(|b| catalog.blobs.get_mut(&b)) {
                    blob.recorded = true;
                }
            }
        }
        let of_documents = documents.iter().map(|d| &d.digest);
        for digest in of_documents.chain([id]).chain(&attached) {
            if let Some(blob) = catalog.blobs.get_mut(digest) {
                blob.recorded = true;
            }
        }
        catalog.insert(id, &config, documents);
        catalog.attach(id, attached);
        if let Some(parent) = parent {
            catalog.set_parent(id, parent);
        }
        for name in names {
            catalog.set_name(name, id);
        }
        if !names.is_empty() {
            catalog.set_last_tagged(id, at);
        }
        let image = catalog.image(id).cloned();
        drop(catalog);
        inner.settle_later(new_layers);
        drop(change);
        Ok(Committed {
            image: image.ok_or_else(|| ImageError::NotFound(id.to_string()))?,
            changed: true,
        })
    }

    /// Puts the blobs that no record keeps yet on the disk, those of layers too that another ingest has put in
    /// place and not committed. The trees of new layers come later: see [`crate::settle`].
    fn flush_blobs(&self, chain: &[Digest]) -> Result<()> {
        let new: Vec<Digest> = {
            let catalog = self.images.inner.catalog();
            let held = self.held();
            let of_layers = chain
                .iter()
                .filter_map(|c| catalog.layers.get(c)?.value.blob.as_ref())
                .map(|(blob, _)| blob);
            let new = |d: &&Digest| catalog.blobs.get(d).is_some_and(|b| !b.recorded);
            let mut new: Vec<_> = held.blobs.iter().chain(of_layers).filter(new).collect();
            new.sort();
            new.dedup();
            new.into_iter().cloned().collect()
        };
        self.images.inner.blobs.flush(&new)
    }

    /// The rows of all that the image is made of.
    fn rows(
        &self,
        id: &Digest,
        chain: &[Digest],
        documents: &[Descriptor],
        attached: &BTreeSet<Digest>,
    ) -> Result<(Option<Arc<Image>>, Rows)> {
        let catalog = self.images.inner.catalog();
        let missing = |what: &Digest| ImageError::Document {
            what: "content",
            reason: format!("{what} is not here"),
        };
        let mut rows = Rows::default();
        let of_documents = documents.iter().map(|d| &d.digest);
        for digest in of_documents.chain([id]).chain(attached) {
            let blob = catalog.blobs.get(digest).ok_or_else(|| missing(digest))?;
            rows.blobs.push((digest.to_string(), blob.value as i64));
        }
        for chain in chain {
            let layer = catalog.layers.get(chain).ok_or_else(|| missing(chain))?;
            let l = &layer.value;
            if let Some((digest, _)) = &l.blob
                && let Some(blob) = catalog.blobs.get(digest)
            {
                rows.blobs.push((digest.to_string(), blob.value as i64));
            }
            if !layer.recorded {
                rows.unsettled.push(chain.clone());
            }
            rows.layers.push((
                chain.to_string(),
                l.diff_id.to_string(),
                l.parent.as_ref().map(Digest::to_string),
                l.size as i64,
                l.blob.as_ref().map(|(d, _)| d.to_string()),
                l.blob.as_ref().map(|(_, m)| m.clone()),
            ));
        }
        Ok((catalog.image(id).cloned(), rows))
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Holds> {
        self.held.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// Chain id, diff id, parent, size, blob and its media type.
type LayerRow = (
    String,
    String,
    Option<String>,
    i64,
    Option<String>,
    Option<String>,
);

#[derive(Default)]
struct Rows {
    blobs: Vec<(String, i64)>,
    layers: Vec<LayerRow>,
    /// Those that are new.
    unsettled: Vec<Digest>,
}

impl Drop for Ingest {
    fn drop(&mut self) {
        let inner = &self.images.inner;
        let held = std::mem::take(self.held.get_mut().unwrap_or_else(|e| e.into_inner()));
        let mut leftovers = false;
        {
            let mut catalog = inner.catalog();
            for chain in &held.layers {
                if let Some(layer) = catalog.layers.get_mut(chain) {
                    layer.holds -= 1;
                    leftovers |= layer.holds == 0 && !layer.recorded;
                }
            }
            for digest in &held.blobs {
                if let Some(blob) = catalog.blobs.get_mut(digest) {
                    blob.holds -= 1;
                    leftovers |= blob.holds == 0 && !blob.recorded;
                }
            }
        }
        if !leftovers {
            return;
        }
        let inner = inner.clone();
        let discard = move || {
            if let Err(e) = inner.discard_unrecorded(&inner.change()) {
                tracing::warn!(error = %e, "could not remove all of an unfinished image");
            }
        };
        // The change's lock is held over work on the disk: a task that is dropped must not wait for it.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(discard)),
            Err(_) => discard(),
        }
    }
}
