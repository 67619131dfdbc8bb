//! Importing: an image of one layer, made of a tar archive.

use dhow_oci::{Digest, History, ImageConfig, Platform, Reference, RootFs, RunConfig};
use jiff::Timestamp;

use crate::changes;
use crate::error::{ImageError, Result};
use crate::ingest::{Committed, Ingest};
use crate::layer_stream::{LayerSpec, NewLayer};

/// What an import makes of its archive.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// The name to give it.
    pub reference: Option<Reference>,
    /// Dockerfile instructions, one each.
    pub changes: Vec<String>,
    pub message: String,
    /// This machine's if none is given.
    pub platform: Option<Platform>,
}

impl ImportOptions {
    /// Refuses what can't be imported before its archive is read.
    pub fn check(&self) -> Result<()> {
        if self
            .reference
            .as_ref()
            .is_some_and(|r| r.digest().is_some())
        {
            return Err(ImageError::Invalid("cannot import digest reference".into()));
        }
        changes::apply(&mut RunConfig::default(), &self.changes)
    }
}

impl LayerSpec {
    /// A layer of which nothing is known before it comes.
    pub fn unknown() -> LayerSpec {
        LayerSpec {
            blob: None,
            diff_id: None,
            media_type: String::new(),
        }
    }
}

impl Ingest {
    /// Makes an image of `layer`, which was begun with [`LayerSpec::unknown`].
    pub fn import(self, layer: NewLayer, options: &ImportOptions) -> Result<Committed> {
        options.check()?;
        let diff_id = layer.diff_id.clone();
        self.place_layer(layer, None)?;
        let created = Some(Timestamp::now().to_string());
        let mut config = RunConfig::default();
        changes::apply(&mut config, &options.changes)?;
        let platform = options.platform.clone().unwrap_or_else(Platform::host);
        let config = ImageConfig {
            created: created.clone(),
            architecture: platform.architecture,
            os: platform.os,
            variant: platform.variant,
            comment: options.message.clone(),
            config,
            rootfs: RootFs {
                diff_ids: vec![diff_id],
                ..RootFs::default()
            },
            history: vec![History {
                created,
                comment: options.message.clone(),
                ..History::default()
            }],
            ..ImageConfig::default()
        };
        let bytes = serde_json::to_vec(&config).map_err(|e| ImageError::Document {
            what: "configuration",
            reason: e.to_string(),
        })?;
        let id: Digest = self.put_document(&bytes)?;
        let names: Vec<_> = options
            .reference
            .iter()
            .map(|r| r.clone().with_default_tag())
            .collect();
        self.commit(&id, &[], &names)
    }
}
