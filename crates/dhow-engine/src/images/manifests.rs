//! What an image is in a registry: its index or manifest, the platforms that there are of it, what is stated about
//! it, and where it is from.

use std::collections::{BTreeSet, HashMap};

use dhow_api::{
    AttestationStatement, Descriptor, ImageIdentity, ImagePlatform, ManifestAttestation,
    ManifestImage, ManifestSize, ManifestSummary, PullIdentity, UnpackedSize,
};
use dhow_image::{Entry, EntryKind, Image};
use dhow_oci::Platform;

use super::Images;
use crate::error::{EngineError, Result};

/// What BuildKit writes on a statement (in-toto attestation framework).
const PREDICATE_TYPE: &str = "in-toto.io/predicate-type";

/// The ids of the containers of each image, by its id.
pub(super) type Users = HashMap<String, Vec<String>>;

impl Images {
    /// The statements about an image for a platform, this machine's if none is given; of these types, or all. Blocks:
    /// call it where that is allowed.
    pub fn attestations(
        &self,
        name: &str,
        platform: Option<&Platform>,
        types: &[String],
        with_statements: bool,
    ) -> Result<Vec<AttestationStatement>> {
        let store = self.store();
        let host = Platform::host();
        let mut found = Vec::new();
        for layer in store.statements(name, platform.unwrap_or(&host))? {
            let predicate_type = layer.annotations.get(PREDICATE_TYPE);
            let Some(predicate_type) = predicate_type.filter(|t| !t.is_empty()) else {
                continue;
            };
            if !types.is_empty() && !types.contains(predicate_type) {
                continue;
            }
            let statement = match with_statements {
                false => None,
                true if store.blob_size(&layer.digest).is_none() => {
                    return Err(EngineError::Internal(format!(
                        "attestation statement {} is not available locally",
                        layer.digest
                    )));
                }
                true => {
                    let bytes = store.read_document(&layer.digest)?;
                    let parsed = serde_json::from_slice(&bytes).map_err(|e| {
                        EngineError::Internal(format!(
                            "attestation statement {} is no JSON: {e}",
                            layer.digest
                        ))
                    })?;
                    Some(parsed)
                }
            };
            found.push(AttestationStatement {
                predicate_type: predicate_type.clone(),
                descriptor: descriptor(layer),
                statement,
            });
        }
        Ok(found)
    }

    /// The entries of the index that an image came by, or its manifest alone. Blocks: call it where that is allowed.
    pub(super) fn manifests(
        &self,
        image: &Image,
        users: &Users,
        with_identity: bool,
    ) -> Result<Vec<ManifestSummary>> {
        let entries = self.store().entries(image)?;
        let summary = |entry| summary(entry, users, with_identity);
        Ok(entries.into_iter().map(summary).collect())
    }

    /// The containers that were made of each image, or have it mounted.
    pub(super) fn containers_by_image(&self) -> Users {
        let mut users = Users::new();
        for container in self.inner.containers.all() {
            let definition = container.definition();
            let mounted = definition.mounted_images().map(|(id, _)| id);
            let images: BTreeSet<&str> = mounted.chain([definition.image_id.as_str()]).collect();
            for image in images {
                let of_image = users.entry(image.to_owned()).or_default();
                of_image.push(container.id.to_string());
            }
        }
        users
    }
}

fn summary(entry: Entry, users: &Users, with_identity: bool) -> ManifestSummary {
    let content = entry.content as i64;
    let mut summary = ManifestSummary {
        id: entry.descriptor.digest.to_string(),
        descriptor: descriptor(entry.descriptor),
        size: ManifestSize {
            content,
            total: content,
        },
        ..ManifestSummary::default()
    };
    match entry.kind {
        EntryKind::Unknown => summary.kind = "unknown".to_owned(),
        EntryKind::Attestation { about, here } => {
            summary.kind = "attestation".to_owned();
            summary.available = here;
            summary.attestation_data = Some(ManifestAttestation {
                about: about.to_string(),
            });
        }
        EntryKind::Image {
            platform: of,
            image,
        } => {
            let image = image.as_deref();
            let unpacked = image.map_or(0, |image| image.size as i64);
            let containers = image.and_then(|image| users.get(&image.id.to_string()));
            summary.kind = "image".to_owned();
            summary.available = image.is_some();
            summary.size.total += unpacked;
            summary.image_data = Some(ManifestImage {
                platform: platform(of),
                identity: image.filter(|_| with_identity).and_then(identity),
                size: UnpackedSize { unpacked },
                containers: containers.cloned().unwrap_or_default(),
            });
        }
    }
    summary
}

/// The repositories that an image was pulled from or pushed to.
pub(super) fn identity(image: &Image) -> Option<ImageIdentity> {
    let names: BTreeSet<String> = image.digests.iter().map(|d| d.name()).collect();
    let pull: Vec<PullIdentity> = names
        .into_iter()
        .map(|repository| PullIdentity { repository })
        .collect();
    (!pull.is_empty()).then_some(ImageIdentity { pull })
}

pub(super) fn descriptor(of: dhow_oci::Descriptor) -> Descriptor {
    Descriptor {
        media_type: of.media_type,
        digest: of.digest.to_string(),
        size: i64::try_from(of.size).unwrap_or(i64::MAX),
        urls: of.urls,
        annotations: of.annotations,
        platform: of.platform.map(platform),
        artifact_type: of.artifact_type.unwrap_or_default(),
    }
}

fn platform(of: Platform) -> ImagePlatform {
    ImagePlatform {
        architecture: of.architecture,
        os: of.os,
        os_version: of.os_version,
        os_features: of.os_features,
        variant: of.variant,
    }
}
