//! Opening: what the records say, and what is on the disk, brought together.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use dhow_oci::{Descriptor, Digest, ImageConfig};

use crate::blob::BlobStore;
use crate::catalog::{Catalog, Held, Layer};
use crate::error::{Context, ImageError, Result};
use crate::images::{Images, Inner, Recovered};
use crate::records;
use crate::settle::{self, Unsettled};

/// Reads the records into the catalog, and brings the directories into line with them.
pub(crate) fn load(images: &Images) -> Result<Recovered> {
    let inner = &images.inner;
    let mut recovered = Recovered {
        unfinished: empty(&inner.ingest)?,
        ..Recovered::default()
    };
    let records = records::read(&inner.store)?;
    recovered.set_aside = records.unreadable;
    let unsettled = records.unsettled;
    load_content(
        inner,
        records.blobs,
        records.layers,
        &unsettled,
        &mut recovered,
    );
    settle::rebuild(images, unsettled, &mut recovered)?;
    let mut catalog = inner.catalog();
    load_images(
        inner,
        &mut catalog,
        records.images,
        records.documents,
        &mut recovered,
    );
    for (name, image) in records.names {
        catalog.set_name(&name, &image);
    }
    for (image, parent) in records.parents {
        catalog.set_parent(&image, &parent);
    }
    for (image, blob) in records.attached {
        // What is gone of it is missed by nobody but who asks for it.
        if catalog.blobs.contains_key(&blob) {
            catalog.attach(&image, [blob]);
        }
    }
    for (blob, repository) in records.sources {
        catalog.sources.entry(blob).or_default().insert(repository);
    }
    if records.aside > 0 {
        tracing::warn!(
            records = records.aside,
            "records of images lie aside: layers and blobs without a record are kept, for they may be theirs"
        );
        return Ok(recovered);
    }
    let known = |d: &Digest| catalog.blobs.contains_key(d);
    recovered.strays += inner.blobs.remove_strays(known)?;
    recovered.strays += remove_stray_layers(&inner.layers, &catalog)?;
    Ok(recovered)
}

fn load_content(
    inner: &Inner,
    blobs: Vec<(Digest, u64)>,
    layers: Vec<(Digest, Layer)>,
    unsettled: &Unsettled,
    recovered: &mut Recovered,
) {
    let mut catalog = inner.catalog();
    for (digest, size) in blobs {
        if !inner.blobs.path(&digest).exists() {
            recovered.lost += 1;
            continue;
        }
        catalog.blobs.insert(digest, recorded(size));
    }
    for (chain, mut layer) in layers {
        // What power loss took from before it was settled is made again.
        let expected = inner.layer_dir(&chain).exists()
            || unsettled
                .get(&chain)
                .is_some_and(|boot| *boot != inner.settler.boot);
        if !expected {
            recovered.lost += 1;
            continue;
        }
        layer.blob = layer.blob.filter(|(b, _)| catalog.blobs.contains_key(b));
        catalog.layers.insert(chain, recorded(layer));
    }
}

fn load_images(
    inner: &Inner,
    catalog: &mut Catalog,
    images: Vec<(Digest, i64)>,
    mut documents: HashMap<Digest, Vec<Descriptor>>,
    recovered: &mut Recovered,
) {
    for (id, last_tagged) in images {
        let documents = documents.remove(&id).unwrap_or_default();
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

fn recorded<T>(value: T) -> Held<T> {
    Held {
        value,
        recorded: true,
        holds: 0,
    }
}
