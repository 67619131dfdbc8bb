//! Reading what a manifest endpoint gave, without taking it for two things.
//!
//! A document's identity is the digest of the bytes it came in. These types read documents and make new
//! ones; they never re-serialize one that exists, for that would change its digest.

use serde::Deserialize;

use crate::{Index, Manifest, media_type};

/// Largest document that is taken in, in bytes; registries refuse larger ones, too.
pub const DOCUMENT_MAX: u64 = 8 << 20;

/// What a manifest endpoint gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    Index(Box<Index>),
    Manifest(Box<Manifest>),
}

impl Document {
    /// Reads `bytes`, which were served as `media_type`; one that gives its own type in the body has
    /// to agree with it, so that no document is taken for two things.
    pub fn parse(media_type: &str, bytes: &[u8]) -> Result<Document, DocumentError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Shape {
            #[serde(default)]
            schema_version: u32,
            #[serde(default)]
            media_type: Option<String>,
            #[serde(default)]
            manifests: Option<serde::de::IgnoredAny>,
            #[serde(default)]
            config: Option<serde::de::IgnoredAny>,
            #[serde(default)]
            layers: Option<serde::de::IgnoredAny>,
        }
        let shape: Shape = serde_json::from_slice(bytes)?;
        if shape.schema_version == 1 || media_type::is_schema1(media_type) {
            return Err(DocumentError::Schema1);
        }
        if shape.schema_version != 2 {
            return Err(DocumentError::SchemaVersion(shape.schema_version));
        }
        let known = |t: &str| media_type::is_index(t) || media_type::is_manifest(t);
        let own = shape.media_type.as_deref().filter(|t| !t.is_empty());
        let served = Some(media_type).filter(|t| known(t));
        let media_type = match (own, served) {
            (Some(own), Some(served)) if own != served => {
                return Err(DocumentError::TypesDiffer {
                    own: own.to_owned(),
                    served: served.to_owned(),
                });
            }
            (Some(t), _) | (None, Some(t)) => t,
            (None, None) if shape.manifests.is_some() => media_type::OCI_INDEX,
            (None, None) => media_type::OCI_MANIFEST,
        };
        let both = shape.manifests.is_some() && (shape.config.is_some() || shape.layers.is_some());
        if both {
            return Err(DocumentError::Ambiguous);
        }
        if media_type::is_index(media_type) {
            Ok(Document::Index(Box::new(serde_json::from_slice(bytes)?)))
        } else if media_type::is_manifest(media_type) {
            Ok(Document::Manifest(Box::new(serde_json::from_slice(bytes)?)))
        } else {
            Err(DocumentError::Unsupported(media_type.to_owned()))
        }
    }

    /// The media type to serve and push it as.
    pub fn media_type(&self) -> &str {
        match self {
            Document::Index(i) => i.media_type.as_deref().unwrap_or(media_type::OCI_INDEX),
            Document::Manifest(m) => m.media_type.as_deref().unwrap_or(media_type::OCI_MANIFEST),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    #[error("the manifest is not valid JSON for its type: {0}")]
    Json(#[from] serde_json::Error),
    #[error(
        "the image is in Docker's image format v1 or manifest version 2 schema 1, which is no longer supported: push it again with a current client"
    )]
    Schema1,
    #[error("unsupported manifest schema version {0}")]
    SchemaVersion(u32),
    #[error("unsupported manifest media type {0:?}")]
    Unsupported(String),
    #[error("the manifest says that it is {own:?}, but the registry served it as {served:?}")]
    TypesDiffer { own: String, served: String },
    #[error("the manifest has the fields of both an index and an image")]
    Ambiguous,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_one_thing() {
        let index = br#"{"schemaVersion":2,"manifests":[]}"#;
        assert!(matches!(
            Document::parse("application/json", index),
            Ok(Document::Index(_))
        ));
        assert!(matches!(
            Document::parse(
                media_type::OCI_MANIFEST,
                br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#
            ),
            Err(DocumentError::TypesDiffer { .. })
        ));
        assert!(matches!(
            Document::parse("", br#"{"schemaVersion":2,"manifests":[],"layers":[]}"#),
            Err(DocumentError::Ambiguous)
        ));
        assert!(matches!(
            Document::parse("", br#"{"schemaVersion":1,"fsLayers":[]}"#),
            Err(DocumentError::Schema1)
        ));
    }
}
