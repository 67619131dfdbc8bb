//! What an image is made of in an archive: the manifest that it came by, if all that it names is here, or else a
//! new one of what is.

use dhow_oci::{Descriptor, Digest, Document, Index, Manifest, media_type};

use crate::catalog::Image;
use crate::error::{ImageError, Result};
use crate::images::Images;
use crate::ingest::Ingest;

#[derive(Clone, Debug)]
pub(super) struct Parts {
    pub manifest: Descriptor,
    pub bytes: Vec<u8>,
    pub config: Descriptor,
    /// Bottom first.
    pub layers: Vec<Descriptor>,
}

impl Parts {
    /// Reads the manifest or makes one; `held` holds all of its blobs then. Blocks.
    pub fn of(images: &Images, image: &Image, held: &Ingest) -> Result<Parts> {
        let known = image
            .documents
            .iter()
            .filter(|d| media_type::is_manifest(&d.media_type));
        for descriptor in known {
            let Ok(bytes) = images.read_document(&descriptor.digest) else {
                continue;
            };
            let Ok(Document::Manifest(manifest)) = Document::parse(&descriptor.media_type, &bytes)
            else {
                continue;
            };
            let all = manifest.layers.iter().chain([&manifest.config]);
            if manifest.config.digest == image.id
                && all.clone().count() > 0
                && all.into_iter().all(|d| is_here(images, held, d))
            {
                return Ok(Parts {
                    manifest: Descriptor::new(
                        &descriptor.media_type,
                        descriptor.digest.clone(),
                        bytes.len() as u64,
                    ),
                    bytes,
                    config: manifest.config,
                    layers: manifest.layers,
                });
            }
        }
        Parts::made(images, image, held)
    }

    fn made(images: &Images, image: &Image, held: &Ingest) -> Result<Parts> {
        let mut layers = Vec::new();
        for chain in &image.chain {
            let blob = images.layer(chain).and_then(|layer| layer.blob);
            let layer = blob.and_then(|(digest, media_type)| {
                let size = images.blob_size(&digest)?;
                Some(Descriptor::new(&media_type, digest, size))
            });
            match layer.filter(|d| is_here(images, held, d)) {
                Some(layer) => layers.push(layer),
                None => {
                    return Err(ImageError::Conflict(format!(
                        "cannot save {}: the layer {} is not kept here as an archive any more: pull the image again",
                        image.id.short(),
                        chain.short()
                    )));
                }
            }
        }
        let size = images.blob_size(&image.id).unwrap_or(0);
        let config = Descriptor::new(media_type::OCI_CONFIG, image.id.clone(), size);
        if !is_here(images, held, &config) {
            return Err(ImageError::NotFound(image.id.to_string()));
        }
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(media_type::OCI_MANIFEST.to_owned()),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: Default::default(),
        };
        let bytes = document(&manifest)?;
        let size = bytes.len() as u64;
        Ok(Parts {
            manifest: Descriptor::new(media_type::OCI_MANIFEST, Digest::sha256(&bytes), size),
            bytes,
            config: manifest.config,
            layers: manifest.layers,
        })
    }
}

/// The index that the image came by, if it leads to this manifest.
pub(super) fn index_of(
    images: &Images,
    image: &Image,
    manifest: &Digest,
) -> Option<(Descriptor, Vec<u8>, Index)> {
    let indexes = image
        .documents
        .iter()
        .filter(|d| media_type::is_index(&d.media_type));
    for descriptor in indexes {
        let Ok(bytes) = images.read_document(&descriptor.digest) else {
            continue;
        };
        if let Ok(Document::Index(index)) = Document::parse(&descriptor.media_type, &bytes)
            && index.manifests.iter().any(|d| d.digest == *manifest)
        {
            let size = bytes.len() as u64;
            let descriptor =
                Descriptor::new(&descriptor.media_type, descriptor.digest.clone(), size);
            return Some((descriptor, bytes, *index));
        }
    }
    None
}

/// A new document's bytes.
pub(super) fn document(document: &impl serde::Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(document).map_err(|e| ImageError::Document {
        what: "manifest",
        reason: e.to_string(),
    })
}

/// Whether a blob is here, on the disk too, as it is described; if so it stays while `held` is kept.
fn is_here(images: &Images, held: &Ingest, blob: &Descriptor) -> bool {
    let on_disk = || {
        let file = images.open_blob(&blob.digest).ok()?;
        Some(file.metadata().ok()?.len())
    };
    held.has_blob(&blob.digest) && on_disk() == Some(blob.size)
}
