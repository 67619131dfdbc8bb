//! Opening: what the records say, and what is on the disk, brought together.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use dhow_oci::{Descriptor, Digest, ImageConfig, Reference};
use dhow_store::{Durability, Store};

use crate::blob::BlobStore;
use crate::catalog::{Catalog, Held, Layer};
use crate::error::{Context, ImageError, Result};
use crate::images::{Images, Inner, Recovered};
use crate::settle::{self, Unsettled};

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
    unsettled: Vec<(String, String)>,
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
        let mut q = c.prepare("SELECT chain, boot FROM image_unsettled")?;
        for r in q.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))? {
            rows.unsettled.push(r?);
        }
        Ok(rows)
    })?)
}

/// Reads the records into the catalog, and brings the directories into line with them.
pub(crate) fn load(images: &Images) -> Result<Recovered> {
    let inner = &images.inner;
    let mut recovered = Recovered {
        unfinished: empty(&inner.ingest)?,
        ..Recovered::default()
    };
    let rows = read_rows(&inner.store)?;
    let unsettled = settle::unsettled(&rows.unsettled)?;
    load_content(inner, rows.blobs, rows.layers, &unsettled, &mut recovered)?;
    settle::rebuild(images, unsettled, &mut recovered)?;
    let mut catalog = inner.catalog();
    load_images(
        inner,
        &mut catalog,
        rows.images,
        rows.documents,
        &mut recovered,
    )?;
    for (name, image) in rows.names {
        let name: Reference = name.parse()?;
        catalog.set_name(&name, &digest_of(&image)?);
    }
    for (blob, repository) in rows.sources {
        let known = catalog.sources.entry(digest_of(&blob)?).or_default();
        known.insert(repository);
    }
    let known = |d: &Digest| catalog.blobs.contains_key(d);
    recovered.strays += inner.blobs.remove_strays(known)?;
    recovered.strays += remove_stray_layers(&inner.layers, &catalog)?;
    Ok(recovered)
}

fn load_content(
    inner: &Inner,
    blobs: Vec<(String, i64)>,
    layers: Vec<LayerRow>,
    unsettled: &Unsettled,
    recovered: &mut Recovered,
) -> Result<()> {
    let mut catalog = inner.catalog();
    for (digest, size) in blobs {
        let digest = digest_of(&digest)?;
        if !inner.blobs.path(&digest).exists() {
            recovered.lost += 1;
            continue;
        }
        catalog.blobs.insert(digest, recorded(size as u64));
    }
    for (chain, diff_id, parent, size, blob, media_type) in layers {
        let chain = digest_of(&chain)?;
        // What power loss took from before it was settled is made again.
        let expected = inner.layer_dir(&chain).exists()
            || unsettled
                .get(&chain)
                .is_some_and(|boot| *boot != inner.settler.boot);
        if !expected {
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
    Ok(())
}

fn load_images(
    inner: &Inner,
    catalog: &mut Catalog,
    images: Vec<(String, i64)>,
    of_images: Vec<(String, String, String, i64)>,
    recovered: &mut Recovered,
) -> Result<()> {
    let mut documents: HashMap<String, Vec<Descriptor>> = HashMap::new();
    for (image, digest, media_type, size) in of_images {
        let descriptor = Descriptor::new(&media_type, digest_of(&digest)?, size as u64);
        documents.entry(image).or_default().push(descriptor);
    }
    for (id, last_tagged) in images {
        let documents = documents.remove(&id).unwrap_or_default();
        let id = digest_of(&id)?;
        match read_config(&inner.blobs, &id) {
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

fn read_config(blobs: &BlobStore, id: &Digest) -> Result<ImageConfig> {
    ImageConfig::parse(&blobs.read(id)?).map_err(|e| ImageError::Document {
        what: "configuration",
        reason: e.to_string(),
    })
}

pub(crate) fn digest_of(s: &str) -> Result<Digest> {
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
