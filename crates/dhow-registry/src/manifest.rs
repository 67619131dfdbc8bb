//! What a registry must know of a manifest: its kind, what it refers to, its subject. Everything else in it is
//! the clients' business, and the bytes are kept as they came (image specification 1.1, manifest.md and
//! image-index.md; Docker's image manifest version 2, schema 2).

use std::collections::BTreeMap;

use dhow_oci::Digest;
use dhow_oci::media_type::{DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};

use crate::RegistryError;
use crate::storage::Need;

/// The kinds of manifest that are accepted, by media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ManifestKind {
    #[serde(rename = "application/vnd.oci.image.manifest.v1+json")]
    OciImage,
    #[serde(rename = "application/vnd.oci.image.index.v1+json")]
    OciIndex,
    #[serde(rename = "application/vnd.docker.distribution.manifest.v2+json")]
    DockerImage,
    #[serde(rename = "application/vnd.docker.distribution.manifest.list.v2+json")]
    DockerList,
}

impl ManifestKind {
    pub fn media_type(self) -> &'static str {
        match self {
            ManifestKind::OciImage => OCI_MANIFEST,
            ManifestKind::OciIndex => OCI_INDEX,
            ManifestKind::DockerImage => DOCKER_MANIFEST,
            ManifestKind::DockerList => DOCKER_INDEX,
        }
    }

    fn from_media_type(s: &str) -> Option<ManifestKind> {
        [
            ManifestKind::OciImage,
            ManifestKind::OciIndex,
            ManifestKind::DockerImage,
            ManifestKind::DockerList,
        ]
        .into_iter()
        .find(|kind| kind.media_type().eq_ignore_ascii_case(s))
    }

    fn is_index(self) -> bool {
        matches!(self, ManifestKind::OciIndex | ManifestKind::DockerList)
    }
}

/// A reference within a manifest. Its digest is checked where it is needed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    #[serde(default)]
    media_type: String,
    digest: Digest,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: u64,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Reference>,
    layers: Option<Vec<Reference>>,
    manifests: Option<Vec<Reference>>,
    subject: Option<Reference>,
    annotations: Option<BTreeMap<String, String>>,
}

/// A manifest that holds together.
#[derive(Debug)]
pub(crate) struct Manifest {
    pub kind: ManifestKind,
    pub subject: Option<Digest>,
    pub needs: Vec<Need>,
    pub artifact_type: Option<String>,
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// Reads `bytes`, which came with `headers`.
    pub fn parse(headers: &HeaderMap, bytes: &[u8]) -> Result<Manifest, RegistryError> {
        Manifest::parse_as(declared_type(headers)?, bytes)
    }

    /// Reads `bytes`, which somebody says are of the type `declared`. Lists may be null: some writers put
    /// that for an empty one.
    pub fn parse_as(declared: Option<String>, bytes: &[u8]) -> Result<Manifest, RegistryError> {
        let invalid = |why: String| RegistryError::ManifestInvalid(why);
        let document: Document =
            serde_json::from_slice(bytes).map_err(|e| invalid(format!("it can't be read: {e}")))?;
        if document.schema_version != 2 {
            return Err(invalid(format!(
                "schema version {} is not supported, only 2 is",
                document.schema_version
            )));
        }
        if let (Some(header), Some(field)) = (&declared, &document.media_type)
            && !header.eq_ignore_ascii_case(field)
        {
            return Err(invalid(format!(
                "its mediaType is {field:?}, but the Content-Type says {header:?}"
            )));
        }
        let kind = match declared.as_deref().or(document.media_type.as_deref()) {
            Some(media_type) => ManifestKind::from_media_type(media_type).ok_or_else(|| {
                invalid(format!(
                    "the media type {media_type:?} is not supported: use an OCI image manifest or index, or Docker's schema 2"
                ))
            })?,
            None if document.manifests.is_some() => ManifestKind::OciIndex,
            None => ManifestKind::OciImage,
        };
        // A document that reads as both kinds means different things to different clients (CVE-2021-41190).
        let needs = if kind.is_index() {
            if document.config.is_some() || document.layers.is_some() {
                return Err(invalid("an index has neither config nor layers".to_owned()));
            }
            let manifests = document.manifests.unwrap_or_default();
            manifests.iter().map(index_need).collect()
        } else {
            if document.manifests.is_some() {
                return Err(invalid(
                    "an image manifest has no field manifests".to_owned(),
                ));
            }
            let config = document
                .config
                .as_ref()
                .ok_or_else(|| invalid("an image manifest needs a config".to_owned()))?;
            let layers = document.layers.as_deref().unwrap_or_default();
            std::iter::once(config)
                .chain(
                    layers
                        .iter()
                        .filter(|layer| !is_nondistributable(&layer.media_type)),
                )
                .map(|reference| Need::Blob(reference.digest.clone()))
                .collect()
        };
        let artifact_type = document
            .artifact_type
            .filter(|s| !s.is_empty())
            .or_else(|| document.config.map(|config| config.media_type));
        Ok(Manifest {
            kind,
            subject: document.subject.map(|subject| subject.digest),
            needs,
            artifact_type,
            annotations: document.annotations.unwrap_or_default(),
        })
    }
}

/// The Content-Type without parameters; a generic one says nothing.
fn declared_type(headers: &HeaderMap) -> Result<Option<String>, RegistryError> {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Ok(None);
    };
    let value = value
        .to_str()
        .map_err(|_| RegistryError::ManifestInvalid("the Content-Type is not text".to_owned()))?;
    let base = value.split(';').next().unwrap_or_default().trim();
    let generic = ["", "application/json", "application/octet-stream"];
    Ok((!generic.contains(&base)).then(|| base.to_owned()))
}

fn index_need(child: &Reference) -> Need {
    match ManifestKind::from_media_type(&child.media_type) {
        Some(_) => Need::Manifest(child.digest.clone()),
        None => Need::Either(child.digest.clone()),
    }
}

/// Layers that by their media type lie elsewhere.
fn is_nondistributable(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.nondistributable.")
        || media_type.starts_with("application/vnd.docker.image.rootfs.foreign.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use serde_json::json;

    fn parse(content_type: &str, value: serde_json::Value) -> Result<Manifest, RegistryError> {
        let mut headers = HeaderMap::new();
        if !content_type.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap());
        }
        Manifest::parse(&headers, value.to_string().as_bytes())
    }

    fn image() -> serde_json::Value {
        let digest = Digest::sha256(b"");
        json!({"schemaVersion": 2, "config": {"mediaType": "a/b", "digest": digest, "size": 0}, "layers": []})
    }

    #[test]
    fn an_image_without_a_media_type_is_told_by_its_shape() {
        let manifest = parse("", image()).unwrap();
        assert_eq!(manifest.kind, ManifestKind::OciImage);
        assert_eq!(manifest.artifact_type.as_deref(), Some("a/b"));
        let index = parse(
            "application/json",
            json!({"schemaVersion": 2, "manifests": []}),
        )
        .unwrap();
        assert_eq!(index.kind, ManifestKind::OciIndex);
        assert_eq!(index.artifact_type, None);
    }

    #[test]
    fn parameters_of_the_content_type_are_ignored() {
        let manifest = parse(&format!("{OCI_MANIFEST}; charset=utf-8"), image()).unwrap();
        assert_eq!(manifest.kind, ManifestKind::OciImage);
    }

    #[test]
    fn what_does_not_hold_together_is_refused() {
        let digest = Digest::sha256(b"");
        let mut both = image();
        both["manifests"] = json!([]);
        assert!(parse(OCI_MANIFEST, both.clone()).is_err());
        assert!(parse(OCI_INDEX, both).is_err());
        assert!(parse(OCI_INDEX, image()).is_err());
        let mut other = image();
        other["mediaType"] = json!(DOCKER_MANIFEST);
        assert!(parse(OCI_MANIFEST, other).is_err());
        let mut one = image();
        one["schemaVersion"] = json!(1);
        assert!(parse(OCI_MANIFEST, one).is_err());
        let mut bad = image();
        bad["layers"] = json!([{"digest": "sha256:../../x"}]);
        assert!(parse(OCI_MANIFEST, bad).is_err());
        assert!(parse("text/html", image()).is_err());
        assert!(parse(OCI_MANIFEST, json!([])).is_err());
        assert!(
            parse(
                OCI_INDEX,
                json!({"schemaVersion": 2, "manifests": [{"digest": digest, "size": 1}]})
            )
            .is_ok()
        );
    }
}
