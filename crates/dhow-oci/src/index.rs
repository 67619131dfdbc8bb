//! Indexes (OCI image specification, image-index.md), and manifest lists in Docker's form.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::absent::null_as_default;
use crate::{Descriptor, Digest};

/// An index (OCI image-index.md) or a manifest list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    pub schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    #[serde(default, deserialize_with = "null_as_default")]
    pub manifests: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}

/// What BuildKit writes on an index's entries that are statements about another entry
/// (buildkit docs/attestations/attestation-storage.md).
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";
const ATTESTATION: &str = "attestation-manifest";

impl Index {
    /// The manifest of what is stated about the image with this manifest: of several the last.
    pub fn attestation_of(&self, manifest: &Digest) -> Option<&Descriptor> {
        let about = manifest.to_string();
        let mut all = self.manifests.iter().rev();
        all.find(|d| d.attests() == Some(about.as_str()))
    }
}

impl Descriptor {
    /// Whether it is about another entry of its index, and no image.
    pub fn is_about_another(&self) -> bool {
        self.annotations.contains_key(REFERENCE_TYPE)
    }

    /// The digest of the manifest that it makes statements about, if that is what it does.
    pub fn attests(&self) -> Option<&str> {
        let kind = self.annotations.get(REFERENCE_TYPE)?;
        let about = self.annotations.get(REFERENCE_DIGEST)?;
        (kind == ATTESTATION).then_some(about.as_str())
    }
}
