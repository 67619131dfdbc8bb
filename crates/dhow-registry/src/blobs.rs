//! Blobs: download whole or in parts, look up, delete (distribution specification, "Pulling blobs",
//! "Checking if content exists", "Deleting Blobs").

use std::ops::Range;

use bytes::Bytes;
use dhow_oci::Digest;
use futures_util::{StreamExt, stream};
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH,
    IF_RANGE, RANGE,
};
use http::{HeaderMap, Method, Response, StatusCode};

use crate::body::{Body, empty_response};
use crate::error::insert;
use crate::range::{self, Ranges};
use crate::service::{CONTENT_DIGEST, Registry};
use crate::storage::{BlobStream, Storage, StoredBlob};
use crate::{RegistryError, RepositoryName};

/// A blob's own type is known to the manifests that refer to it, not to us.
const BLOB_TYPE: &str = "application/octet-stream";
/// Between the parts of an answer with several ranges. Blobs are checked by digest, never by this.
const BOUNDARY: &str = "dhow-part-7e5c1f4a9b0d4e6f";

impl<S: Storage> Registry<S> {
    pub(crate) async fn get_blob(
        &self,
        method: &Method,
        headers: &HeaderMap,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Response<Body>, RegistryError> {
        let blob = self
            .storage()
            .blob(repository, digest)
            .await?
            .ok_or_else(|| RegistryError::BlobUnknown(digest.clone()))?;
        let size = blob.size();
        let mut response = if matches_etag(headers, digest) {
            empty_response(StatusCode::NOT_MODIFIED)
        } else {
            match wanted_ranges(headers, digest, size) {
                Ranges::Unsatisfiable => return Err(RegistryError::RangeNotSatisfiable { size }),
                Ranges::Whole => whole(&blob),
                Ranges::Parts(parts) => match parts.as_slice() {
                    [part] => single(&blob, part.clone()),
                    _ => multipart(&blob, parts),
                },
            }
        };
        let headers = response.headers_mut();
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        insert(headers, ETAG, etag(digest));
        insert(headers, CONTENT_DIGEST, digest.to_string());
        if method == Method::HEAD {
            *response.body_mut() = Body::empty();
        }
        Ok(response)
    }

    pub(crate) async fn delete_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Response<Body>, RegistryError> {
        if self.storage().delete_blob(repository, digest).await? {
            Ok(empty_response(StatusCode::ACCEPTED))
        } else {
            Err(RegistryError::BlobUnknown(digest.clone()))
        }
    }
}

/// Content never changes under its digest, so the digest is the strongest of tags.
pub(crate) fn etag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}

pub(crate) fn matches_etag(headers: &HeaderMap, digest: &Digest) -> bool {
    let etag = etag(digest);
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|value| value == "*" || value.strip_prefix("W/").unwrap_or(value) == etag)
}

fn wanted_ranges(headers: &HeaderMap, digest: &Digest, size: u64) -> Ranges {
    let Some(range) = headers.get(RANGE) else {
        return Ranges::Whole;
    };
    // If-Range asks for the whole if the content has changed since; only our own tag can say that it hasn't.
    if headers
        .get(IF_RANGE)
        .is_some_and(|value| value.as_bytes() != etag(digest).as_bytes())
    {
        return Ranges::Whole;
    }
    range
        .to_str()
        .map_or(Ranges::Unsatisfiable, |range| range::parse(range, size))
}

fn whole(blob: &impl StoredBlob) -> Response<Body> {
    let size = blob.size();
    streamed(
        StatusCode::OK,
        BLOB_TYPE.to_owned(),
        blob.stream(0..size),
        size,
    )
}

fn single(blob: &impl StoredBlob, part: Range<u64>) -> Response<Body> {
    let length = part.end - part.start;
    let content_range = content_range(&part, blob.size());
    let mut response = streamed(
        StatusCode::PARTIAL_CONTENT,
        BLOB_TYPE.to_owned(),
        blob.stream(part),
        length,
    );
    insert(response.headers_mut(), CONTENT_RANGE, content_range);
    response
}

/// Several ranges in one answer (RFC 9110, section 14.6).
fn multipart(blob: &impl StoredBlob, parts: Vec<Range<u64>>) -> Response<Body> {
    let mut length = 0;
    let mut pieces: Vec<BlobStream> = Vec::with_capacity(parts.len() * 2 + 1);
    let text = |text: String| -> (u64, BlobStream) {
        (
            text.len() as u64,
            Box::pin(stream::once(async { Ok(Bytes::from(text)) })),
        )
    };
    for (i, part) in parts.into_iter().enumerate() {
        let line = if i == 0 { "" } else { "\r\n" };
        let range = content_range(&part, blob.size());
        let (size, head) = text(format!(
            "{line}--{BOUNDARY}\r\nContent-Type: {BLOB_TYPE}\r\nContent-Range: {range}\r\n\r\n"
        ));
        length += size + (part.end - part.start);
        pieces.push(head);
        pieces.push(blob.stream(part));
    }
    let (size, end) = text(format!("\r\n--{BOUNDARY}--\r\n"));
    length += size;
    pieces.push(end);
    let body = Box::pin(stream::iter(pieces).flatten());
    let content_type = format!("multipart/byteranges; boundary={BOUNDARY}");
    streamed(StatusCode::PARTIAL_CONTENT, content_type, body, length)
}

fn content_range(part: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", part.start, part.end - 1)
}

fn streamed(
    status: StatusCode,
    content_type: String,
    body: BlobStream,
    length: u64,
) -> Response<Body> {
    let mut response = Response::new(Body::stream(body, length));
    *response.status_mut() = status;
    insert(response.headers_mut(), CONTENT_TYPE, content_type);
    response
        .headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}
