//! The names and documents of an archive's layouts.

use dhow_oci::{Digest, Reference};
use serde::{Deserialize, Deserializer, Serialize};

/// Docker's list of images.
pub(super) const MANIFEST: &str = "manifest.json";
/// That of an OCI layout, and the file that tells it (OCI image-layout.md).
pub(super) const INDEX: &str = "index.json";
pub(super) const OCI_LAYOUT: &str = "oci-layout";
pub(super) const OCI_LAYOUT_CONTENT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
pub(super) const OCI_LAYOUT_MAJOR: &str = "1.";
pub(super) const BLOBS: &str = "blobs";

/// The whole name of an image.
pub(super) const IMAGE_NAME: &str = "io.containerd.image.name";
/// By the specification a tag (OCI annotations.md); some write a whole name.
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// One image in Docker's list.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listed {
    pub config: String,
    /// Null without any.
    #[serde(default)]
    pub repo_tags: Option<Vec<String>>,
    #[serde(default, deserialize_with = "or_none")]
    pub layers: Vec<String>,
}

fn or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// What tells an OCI layout.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OciLayout {
    pub image_layout_version: String,
}

pub(super) fn blob_path(digest: &Digest) -> String {
    format!("{BLOBS}/{}/{}", digest.algorithm().as_str(), digest.hex())
}

/// The digest that a blob's path promises.
pub(super) fn promised(path: &str) -> Option<Digest> {
    let (algorithm, hex) = path.strip_prefix("blobs/")?.split_once('/')?;
    format!("{algorithm}:{hex}").parse().ok()
}

/// The reference of a digest in the repository of a name.
pub(super) fn by_digest(name: &Reference, digest: &Digest) -> Reference {
    name.name_only().with_digest(digest.clone())
}
