//! Manifests and tags: pull, push, delete (distribution specification, "Pulling manifests", "Pushing
//! Manifests", "Deleting tags", "Deleting Manifests").

use bytes::{Bytes, BytesMut};
use dhow_oci::{Descriptor, Digest};
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, LOCATION,
};
use http::{HeaderMap, Method, Response, StatusCode, Uri};

use crate::blobs::{etag, matches_etag};
use crate::body::{Body, empty_response};
use crate::error::insert;
use crate::manifest::Manifest;
use crate::query::Query;
use crate::service::{BoxError, CONTENT_DIGEST, Registry, next_frame};
use crate::storage::{ManifestRecord, PutManifest, Storage};
use crate::{RegistryError, RepositoryName, Tag, TagOrDigest};

/// The specification asks for at least 4 megabytes.
const MANIFEST_MAX: usize = 4 << 20;
/// Tags that one push by digest may set.
const TAGS_MAX: usize = 100;
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const TAG: HeaderName = HeaderName::from_static("oci-tag");

impl<S: Storage> Registry<S> {
    pub(crate) async fn get_manifest(
        &self,
        method: &Method,
        headers: &HeaderMap,
        repository: &RepositoryName,
        reference: &TagOrDigest,
    ) -> Result<Response<Body>, RegistryError> {
        let record = self
            .storage()
            .manifest(repository, reference)
            .await?
            .ok_or_else(|| unknown(repository, reference))?;
        let mut response = if matches_etag(headers, &record.digest) {
            empty_response(StatusCode::NOT_MODIFIED)
        } else if method == Method::HEAD {
            described(Body::empty(), &record)
        } else {
            described(
                Body::bytes(self.storage().manifest_bytes(&record).await?),
                &record,
            )
        };
        let headers = response.headers_mut();
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("none"));
        insert(headers, ETAG, etag(&record.digest));
        insert(headers, CONTENT_DIGEST, record.digest.to_string());
        Ok(response)
    }

    pub(crate) async fn put_manifest<B>(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
        body: B,
        repository: &RepositoryName,
        reference: &TagOrDigest,
    ) -> Result<Response<Body>, RegistryError>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
        B::Error: Into<BoxError>,
    {
        let bytes = self.receive_manifest(body).await?;
        let (digest, tags) = match reference {
            TagOrDigest::Tag(tag) => (Digest::sha256(&bytes), vec![tag.clone()]),
            TagOrDigest::Digest(expected) => {
                let mut hasher = expected.algorithm().hasher();
                hasher.update(&bytes);
                let actual = hasher.finish();
                if actual != *expected {
                    let expected = expected.clone();
                    return Err(RegistryError::DigestMismatch { expected, actual });
                }
                (actual, tag_parameters(uri)?)
            }
        };
        let manifest = Manifest::parse(headers, &bytes)?;
        let needs = if self.config().sparse {
            Vec::new()
        } else {
            manifest.needs
        };
        let size = bytes.len() as u64;
        let descriptor = Descriptor {
            artifact_type: manifest.artifact_type,
            annotations: manifest.annotations,
            ..Descriptor::new(manifest.kind.media_type(), digest.clone(), size)
        };
        let subject = manifest.subject;
        let record = ManifestRecord {
            digest: digest.clone(),
            kind: manifest.kind,
            size,
            subject: subject.clone(),
        };
        let put = PutManifest {
            record,
            bytes,
            needs,
            descriptor,
            tags: tags.clone(),
        };
        self.storage().put_manifest(repository, put).await?;

        let mut response = empty_response(StatusCode::CREATED);
        let answer = response.headers_mut();
        insert(
            answer,
            LOCATION,
            format!("/v2/{repository}/manifests/{digest}"),
        );
        insert(answer, CONTENT_DIGEST, digest.to_string());
        if let Some(subject) = subject {
            insert(answer, SUBJECT, subject.to_string());
        }
        if matches!(reference, TagOrDigest::Digest(_)) {
            for tag in tags {
                if let Ok(value) = HeaderValue::from_str(tag.as_str()) {
                    answer.append(TAG, value);
                }
            }
        }
        Ok(response)
    }

    pub(crate) async fn delete_manifest(
        &self,
        repository: &RepositoryName,
        reference: &TagOrDigest,
    ) -> Result<Response<Body>, RegistryError> {
        let deleted = match reference {
            TagOrDigest::Tag(tag) => self.storage().delete_tag(repository, tag).await?,
            TagOrDigest::Digest(digest) => {
                self.storage().delete_manifest(repository, digest).await?
            }
        };
        if deleted {
            Ok(empty_response(StatusCode::ACCEPTED))
        } else {
            Err(unknown(repository, reference))
        }
    }

    async fn receive_manifest<B>(&self, mut body: B) -> Result<Bytes, RegistryError>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
        B::Error: Into<BoxError>,
    {
        if body.size_hint().lower() > MANIFEST_MAX as u64 {
            return Err(RegistryError::ManifestTooLarge(MANIFEST_MAX));
        }
        let mut bytes = BytesMut::new();
        while let Some(frame) = next_frame(&mut body, self.config().receive_timeout).await? {
            if bytes.len() + frame.len() > MANIFEST_MAX {
                return Err(RegistryError::ManifestTooLarge(MANIFEST_MAX));
            }
            bytes.extend_from_slice(&frame);
        }
        Ok(bytes.freeze())
    }
}

fn described(body: Body, record: &ManifestRecord) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(record.kind.media_type()),
    );
    headers.insert(CONTENT_LENGTH, HeaderValue::from(record.size));
    response
}

fn unknown(repository: &RepositoryName, reference: &TagOrDigest) -> RegistryError {
    RegistryError::ManifestUnknown {
        repository: repository.to_string(),
        reference: reference.to_string(),
    }
}

fn tag_parameters(uri: &Uri) -> Result<Vec<Tag>, RegistryError> {
    let query = Query::of(uri);
    let tags = query
        .all("tag")
        .map(str::parse)
        .collect::<Result<Vec<Tag>, _>>()?;
    if tags.len() > TAGS_MAX {
        return Err(RegistryError::TooManyTags(TAGS_MAX));
    }
    Ok(tags)
}
