//! Fetching manifests and indexes, and choosing a platform's manifest from an index.

use dhow_image::ImageError;
use dhow_oci::{
    DOCUMENT_MAX, Descriptor, Digest, Document, Index, Platform, Reference, media_type,
};
use http::header::{ACCEPT, CONTENT_TYPE};

use crate::error::{DistributionError, Result};
use crate::session::{Session, header};

/// Every type that is understood. Registries that get no such list answer in formats of old.
const ACCEPTED: [&str; 4] = [
    media_type::OCI_INDEX,
    media_type::OCI_MANIFEST,
    media_type::DOCKER_INDEX,
    media_type::DOCKER_MANIFEST,
];

/// A document as it was served.
#[derive(Clone, Debug)]
pub(crate) struct Fetched {
    pub bytes: Vec<u8>,
    pub descriptor: Descriptor,
    pub document: Document,
}

/// Fetches what `target`, a tag or a digest, means in `path`.
pub(crate) async fn fetch(
    session: &Session,
    path: &str,
    target: &str,
    expected: Option<&Digest>,
) -> Result<Fetched> {
    let response = session
        .get(
            &format!("{path}/manifests/{target}"),
            header(ACCEPT, &ACCEPTED.join(", "))?,
        )
        .await?;
    let served_as = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .map_or("", |v| v.split(';').next().unwrap_or(v).trim())
        .to_owned();
    let promised: Option<Digest> = response
        .headers()
        .get("docker-content-digest")
        .and_then(|v| v.to_str().ok()?.parse().ok());
    let bytes = session.read(response, DOCUMENT_MAX as usize).await?;
    // A header that differs is a proxy that changed the body.
    let digest = match expected.or(promised.as_ref()) {
        Some(expected) if expected.matches(&bytes) => expected.clone(),
        Some(expected) => {
            return Err(DistributionError::Image(ImageError::WrongDigest {
                what: "the manifest",
                expected: expected.clone(),
                found: Digest::sha256(&bytes),
            }));
        }
        None => Digest::sha256(&bytes),
    };
    let document = Document::parse(&served_as, &bytes)?;
    Ok(Fetched {
        descriptor: Descriptor::new(document.media_type(), digest, bytes.len() as u64),
        bytes: bytes.into(),
        document,
    })
}

/// Which manifest of an index is for `platform`: the best match, the first among equals.
pub(crate) fn choose<'i>(index: &'i Index, platform: &Platform) -> Result<&'i Descriptor> {
    let matcher = platform.matcher();
    let runnable =
        |d: &&Descriptor| media_type::is_manifest(&d.media_type) && !d.is_about_another();
    index
        .manifests
        .iter()
        .filter(runnable)
        .filter_map(|d| Some((matcher.rank(d.platform.as_ref()?)?, d)))
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, d)| d)
        .ok_or_else(|| {
            DistributionError::NotFound(format!(
                "no matching manifest for {platform} in the manifest list entries"
            ))
        })
}

/// A registry's "not there" in Docker's words.
pub(crate) fn explain(e: DistributionError, reference: &Reference) -> DistributionError {
    match e {
        DistributionError::Registry(failure) => {
            let name = reference.familiar_name();
            let text = if failure.has("DENIED") {
                format!(
                    "pull access denied for {name}, repository does not exist or may require 'docker login': {failure}"
                )
            } else if failure.has("MANIFEST_UNKNOWN") {
                format!("manifest for {} not found: {failure}", reference.familiar())
            } else if failure.has("NAME_UNKNOWN") {
                format!("repository {name} not found: {failure}")
            } else if failure.status == http::StatusCode::NOT_FOUND {
                format!(
                    "manifest for {} not found: manifest unknown: {failure}",
                    reference.familiar()
                )
            } else {
                return DistributionError::Registry(failure);
            };
            DistributionError::NotFound(text)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(platforms: &[&str]) -> Index {
        let manifests = platforms
            .iter()
            .map(|p| Descriptor {
                platform: Some(p.parse().unwrap()),
                ..Descriptor::new(media_type::OCI_MANIFEST, Digest::sha256(p.as_bytes()), 1)
            })
            .collect();
        Index {
            schema_version: 2,
            media_type: None,
            artifact_type: None,
            manifests,
            subject: None,
            annotations: Default::default(),
        }
    }

    #[test]
    fn the_best_match_is_chosen() {
        let index = index(&["linux/386", "linux/amd64", "linux/arm/v6", "linux/arm/v7"]);
        let chosen = |p: &str| choose(&index, &p.parse().unwrap()).unwrap().digest.clone();
        assert_eq!(chosen("linux/amd64"), Digest::sha256(b"linux/amd64"));
        assert_eq!(chosen("linux/arm64"), Digest::sha256(b"linux/arm/v7"));
        let error = choose(&index, &"linux/s390x".parse().unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no matching manifest for linux/s390x in the manifest list entries"
        );
    }
}
