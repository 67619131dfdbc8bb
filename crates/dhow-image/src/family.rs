//! What an image's index leads to: the same image for other platforms, and what is stated about each.
//!
//! An image here is that of one platform. Those that came by one index are a family: by the name of one, each can be
//! had by its platform.

use std::sync::Arc;

use dhow_oci::{Descriptor, Digest, Document, Index, Manifest, Platform, media_type};

use crate::catalog::Image;
use crate::error::{ImageError, Result};
use crate::images::Images;

/// One entry of an index, or the manifest of an image that has none.
#[derive(Clone, Debug)]
pub struct Entry {
    pub descriptor: Descriptor,
    /// Bytes of it and of what it names that are here, as they are in a registry.
    pub content: u64,
    pub kind: EntryKind,
}

#[derive(Clone, Debug)]
pub enum EntryKind {
    Image {
        platform: Platform,
        /// If it is here.
        image: Option<Arc<Image>>,
    },
    /// Statements about the image with this manifest.
    Attestation {
        about: Digest,
        here: bool,
    },
    Unknown,
}

impl Images {
    /// What an image is in a registry, or would be: the index that it came by, or else its manifest. `None` where its
    /// layers are not kept as they came. Does not block.
    pub fn target(&self, image: &Image) -> Option<Descriptor> {
        let indexes = &mut image.documents.iter();
        let index = indexes.find(|d| media_type::is_index(&d.media_type));
        match index.or(image.manifest()) {
            Some(known) => Some(known.clone()),
            None => self.made_manifest(image),
        }
    }

    /// The manifest that an image came by, or the one that it would be pushed with. Does not block.
    pub fn manifest_of(&self, image: &Image) -> Option<Descriptor> {
        match image.manifest() {
            Some(known) => Some(known.clone()),
            None => self.made_manifest(image),
        }
    }

    fn made_manifest(&self, image: &Image) -> Option<Descriptor> {
        let layer = |chain: &Digest| {
            let (digest, media_type) = self.layer(chain)?.blob?;
            let size = self.blob_size(&digest)?;
            Some(Descriptor::new(&media_type, digest, size))
        };
        let config_size = self.blob_size(&image.id)?;
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(media_type::OCI_MANIFEST.to_owned()),
            artifact_type: None,
            config: Descriptor::new(media_type::OCI_CONFIG, image.id.clone(), config_size),
            layers: image.chain.iter().map(layer).collect::<Option<_>>()?,
            subject: None,
            annotations: Default::default(),
        };
        let bytes = serde_json::to_vec(&manifest).ok()?;
        let size = bytes.len() as u64;
        Some(Descriptor::new(
            media_type::OCI_MANIFEST,
            Digest::sha256(&bytes),
            size,
        ))
    }

    /// The image, and those that came by an index of its. Does not block.
    pub fn family(&self, image: &Arc<Image>) -> Vec<Arc<Image>> {
        let is_index = |d: &&Descriptor| media_type::is_index(&d.media_type);
        let own: Vec<&Digest> = image
            .documents
            .iter()
            .filter(is_index)
            .map(|d| &d.digest)
            .collect();
        let mut family = vec![image.clone()];
        if !own.is_empty() {
            family.extend(self.list().into_iter().filter(|other| {
                other.id != image.id && other.documents.iter().any(|d| own.contains(&&d.digest))
            }));
        }
        family
    }

    /// What a name means for a platform, which has to be that one and no other that it can run. Does not block.
    pub fn variant(&self, name: &str, platform: &Platform) -> Result<Arc<Image>> {
        let image = self.resolve(name)?;
        let wanted = platform.normalized();
        let mut family = self.family(&image).into_iter();
        let is_it = |image: &Arc<Image>| is_same(&wanted, &image.config.platform());
        family
            .find(is_it)
            .ok_or_else(|| not_provided(name, platform))
    }

    /// The entries of the index that an image came by, or its manifest. Blocks.
    pub fn entries(&self, image: &Image) -> Result<Vec<Entry>> {
        let Some(index) = self.index_of(image)? else {
            let Some(descriptor) = self.manifest_of(image) else {
                return Ok(Vec::new());
            };
            return Ok(vec![Entry {
                content: self.content(&descriptor, image),
                descriptor,
                kind: EntryKind::Image {
                    platform: image.config.platform(),
                    image: self.get(&image.id),
                },
            }]);
        };
        let all = self.list();
        let entry = |descriptor: Descriptor| self.entry(descriptor, &all);
        Ok(index.manifests.into_iter().map(entry).collect())
    }

    fn entry(&self, descriptor: Descriptor, all: &[Arc<Image>]) -> Entry {
        let about = descriptor.attests().and_then(|about| about.parse().ok());
        if let Some(about) = about {
            let described = |image: &&Arc<Image>| image.attached.contains(&descriptor.digest);
            let content = all.iter().find(described).map(|image| {
                let sizes = image.attached.iter().filter_map(|d| self.blob_size(d));
                sizes.sum()
            });
            return Entry {
                content: content.unwrap_or(0),
                kind: EntryKind::Attestation {
                    about,
                    here: content.is_some(),
                },
                descriptor,
            };
        }
        if !media_type::is_manifest(&descriptor.media_type) || descriptor.is_about_another() {
            return Entry {
                descriptor,
                content: 0,
                kind: EntryKind::Unknown,
            };
        }
        let came_by = |image: &&Arc<Image>| {
            let mut documents = image.documents.iter();
            documents.any(|d| d.digest == descriptor.digest)
        };
        let image = all.iter().find(came_by).cloned();
        let own = image.as_ref().map(|image| image.config.platform());
        let platform = descriptor.platform.clone().or(own).unwrap_or_default();
        Entry {
            content: image
                .as_ref()
                .map_or(0, |image| self.content(&descriptor, image)),
            descriptor,
            kind: EntryKind::Image { platform, image },
        }
    }

    /// The bytes of a manifest, a configuration and layers that are here as they came.
    fn content(&self, manifest: &Descriptor, image: &Image) -> u64 {
        let layers = image.chain.iter().filter_map(|chain| {
            let (digest, _) = self.layer(chain)?.blob?;
            self.blob_size(&digest)
        });
        manifest.size + self.blob_size(&image.id).unwrap_or(0) + layers.sum::<u64>()
    }

    /// The index that an image came by. Blocks.
    fn index_of(&self, image: &Image) -> Result<Option<Index>> {
        let indexes = &mut image.documents.iter();
        let Some(known) = indexes.find(|d| media_type::is_index(&d.media_type)) else {
            return Ok(None);
        };
        let bytes = self.read_document(&known.digest)?;
        match Document::parse(&known.media_type, &bytes) {
            Ok(Document::Index(index)) => Ok(Some(*index)),
            Ok(Document::Manifest(_)) => Ok(None),
            Err(e) => Err(ImageError::Document {
                what: "index",
                reason: e.to_string(),
            }),
        }
    }

    /// The statements about what a name means for a platform, as their manifest lists them. None where there are none;
    /// an error where the platform's image, or what is stated about it, is not there. Blocks.
    pub fn statements(&self, name: &str, platform: &Platform) -> Result<Vec<Descriptor>> {
        let image = self.resolve(name)?;
        let Some(index) = self.index_of(&image)? else {
            return Ok(Vec::new());
        };
        let matcher = platform.matcher();
        let rank = |d: &&Descriptor| matcher.rank(d.platform.as_ref()?);
        let manifests = index.manifests.iter().filter(|d| {
            media_type::is_manifest(&d.media_type) && !d.is_about_another() && rank(d).is_some()
        });
        let Some(chosen) = manifests.min_by_key(rank) else {
            return Err(not_provided(name, platform));
        };
        let Some(about) = index.attestation_of(&chosen.digest) else {
            return Ok(Vec::new());
        };
        if self.blob_size(&about.digest).is_none() {
            return Err(ImageError::NoPlatform(format!(
                "the attestation manifest {} of {name} is not here: pull the image for {platform}",
                about.digest
            )));
        }
        let bytes = self.read_document(&about.digest)?;
        match Document::parse(&about.media_type, &bytes) {
            Ok(Document::Manifest(manifest)) => Ok(manifest.layers),
            Ok(Document::Index(_)) => Ok(Vec::new()),
            Err(e) => Err(ImageError::Document {
                what: "attestation",
                reason: e.to_string(),
            }),
        }
    }
}

fn not_provided(name: &str, platform: &Platform) -> ImageError {
    ImageError::NoPlatform(format!(
        "image with reference {name} was found but does not provide the specified platform ({platform})"
    ))
}

/// Whether an image of this platform is what was asked for, which is normalized.
fn is_same(wanted: &Platform, found: &Platform) -> bool {
    let found = found.normalized();
    found.os == wanted.os
        && found.architecture == wanted.architecture
        && found.variant == wanted.variant
        && (wanted.os_version.is_empty() || wanted.os_version == found.os_version)
}
