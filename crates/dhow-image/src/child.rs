//! An image that is another one and a layer more, or only another configuration: what a commit makes of a container.

use std::io;

use dhow_archive::Chunks;
use dhow_oci::{Digest, History, ImageConfig, Platform, Reference, RunConfig};
use jiff::Timestamp;

use crate::error::{ImageError, Result};
use crate::images::Images;
use crate::ingest::{Committed, Ingest};
use crate::layer_stream::{LayerSpec, NewLayer};
use crate::snapshot::Snapshot;

/// What there is to say of a new image beside what it has of the one below.
#[derive(Clone, Debug, Default)]
pub struct ChildOptions {
    /// The image below, which may be gone by now.
    pub parent: Option<Digest>,
    /// The chain id of the topmost layer below; none for an image without layers. It is held by the caller.
    pub top: Option<Digest>,
    pub config: RunConfig,
    /// The parent's if empty.
    pub author: String,
    pub comment: String,
    /// The command that made the layer.
    pub created_by: String,
    /// The name to give it.
    pub name: Option<Reference>,
}

impl Ingest {
    /// Takes in what a container has changed; `None` if that is nothing. Blocks.
    pub fn layer_of(&self, snapshot: &Snapshot) -> Result<Option<NewLayer>> {
        let sink = self.layer(LayerSpec::unknown())?;
        let to = Chunks::new(|piece| match sink.send_blocking(piece) {
            true => Ok(()),
            false => Err(io::Error::other(ImageError::Abandoned)),
        });
        match snapshot.write_layer(to) {
            Ok(0) => {
                sink.abandon_blocking();
                Ok(None)
            }
            // If it was refused on the way, the end of it says why.
            Ok(_) | Err(ImageError::Abandoned) => sink.finish_blocking().map(Some),
            Err(e) => {
                sink.abandon_blocking();
                Err(e)
            }
        }
    }

    /// Makes an image of the one below and the new layer, if there is one. Blocks; once it returns, the image
    /// survives power loss.
    pub fn child(self, layer: Option<NewLayer>, options: ChildOptions) -> Result<Committed> {
        let mut config = base(self.images(), &options)?;
        let created = Some(Timestamp::now().to_string());
        let author = match options.author.is_empty() {
            true => config.author.clone(),
            false => options.author,
        };
        config.history.push(History {
            created: created.clone(),
            created_by: options.created_by,
            author: author.clone(),
            comment: options.comment,
            empty_layer: layer.is_none(),
        });
        if let Some(layer) = layer {
            config.rootfs.diff_ids.push(layer.diff_id.clone());
            self.place_layer(layer, options.top.as_ref())?;
        }
        config.created = created;
        config.author = author;
        config.config = options.config;
        let bytes = serde_json::to_vec(&config).map_err(|e| ImageError::Document {
            what: "configuration",
            reason: e.to_string(),
        })?;
        let id = self.put_document(&bytes)?;
        let names: Vec<_> = options
            .name
            .into_iter()
            .map(Reference::with_default_tag)
            .collect();
        self.commit_child(&id, options.parent.as_ref(), &[], &names)
    }
}

/// What a new image has of the one below: its platform, layers and history.
fn base(images: &Images, options: &ChildOptions) -> Result<ImageConfig> {
    if let Some(parent) = options.parent.as_ref().and_then(|id| images.get(id)) {
        let config = &parent.config;
        return Ok(ImageConfig {
            author: config.author.clone(),
            architecture: config.architecture.clone(),
            os: config.os.clone(),
            os_version: config.os_version.clone(),
            os_features: config.os_features.clone(),
            variant: config.variant.clone(),
            rootfs: config.rootfs.clone(),
            history: config.history.clone(),
            ..ImageConfig::default()
        });
    }
    // The image was removed, and the container keeps its layers: how they were made is forgotten.
    let platform = Platform::host();
    let mut config = ImageConfig {
        architecture: platform.architecture,
        os: platform.os,
        variant: platform.variant,
        ..ImageConfig::default()
    };
    let mut next = options.top.clone();
    while let Some(chain) = next {
        let layer = images
            .layer(&chain)
            .ok_or_else(|| ImageError::NotFound(chain.to_string()))?;
        config.rootfs.diff_ids.push(layer.diff_id);
        config.history.push(History::default());
        next = layer.parent;
    }
    config.rootfs.diff_ids.reverse();
    Ok(config)
}
