//! Uploads of blobs: in one request, in two, in chunks, as a stream, or by mounting what another repository
//! has (distribution specification, "Pushing blobs").

use bytes::Bytes;
use dhow_oci::{Algorithm, Digest};
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderName, LOCATION, RANGE};
use http::{HeaderMap, Response, StatusCode, Uri};

use crate::body::{Body, empty_response};
use crate::error::{insert, upload_range};
use crate::query::Query;
use crate::service::{BoxError, CONTENT_DIGEST, Registry, next_frame};
use crate::storage::{Storage, Upload, UploadId};
use crate::{RegistryError, RepositoryName};

/// Docker's clients read an upload's name from here, not from the location.
const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");

impl<S: Storage> Registry<S> {
    /// `POST`: begins an upload, or is one, or mounts a blob.
    pub(crate) async fn start_upload<B>(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
        body: B,
        repository: &RepositoryName,
    ) -> Result<Response<Body>, RegistryError>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
        B::Error: Into<BoxError>,
    {
        let query = Query::of(uri);
        if let Some(digest) = query.get("mount") {
            let digest = digest.parse()?;
            let from = query
                .get("from")
                .filter(|s| !s.is_empty())
                .map(str::parse)
                .transpose()?;
            if self
                .storage()
                .mount_blob(repository, from.as_ref(), &digest)
                .await?
            {
                return Ok(created(repository, &digest));
            }
            // Can't be mounted: the client goes on with an upload.
            return self.begin(repository, digest.algorithm()).await;
        }
        if let Some(digest) = query.get("digest") {
            let digest: Digest = digest.parse()?;
            let (id, mut upload) = self
                .storage()
                .start_upload(repository, digest.algorithm())
                .await?;
            // Nobody learns this upload's name, so it isn't kept if it fails.
            self.receive(&mut upload, headers, body, repository, id)
                .await?;
            upload.commit(&digest).await?;
            return Ok(created(repository, &digest));
        }
        let algorithm = match query.get("digest-algorithm") {
            Some(algorithm) => algorithm.parse()?,
            None => Algorithm::Sha256,
        };
        self.begin(repository, algorithm).await
    }

    async fn begin(
        &self,
        repository: &RepositoryName,
        algorithm: Algorithm,
    ) -> Result<Response<Body>, RegistryError> {
        let (id, upload) = self.storage().start_upload(repository, algorithm).await?;
        upload.keep().await?;
        Ok(progress(StatusCode::ACCEPTED, repository, id, 0))
    }

    /// `PATCH`: the next chunk, or a stream of unknown length.
    pub(crate) async fn append_upload<B>(
        &self,
        headers: &HeaderMap,
        body: B,
        repository: &RepositoryName,
        id: UploadId,
    ) -> Result<Response<Body>, RegistryError>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
        B::Error: Into<BoxError>,
    {
        let mut upload = self.open_upload(repository, id).await?;
        self.receive(&mut upload, headers, body, repository, id)
            .await?;
        Ok(progress(
            StatusCode::ACCEPTED,
            repository,
            id,
            upload.offset(),
        ))
    }

    /// `PUT`: the last chunk or the whole blob or nothing, and the digest that ends the upload.
    pub(crate) async fn finish_upload<B>(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
        body: B,
        repository: &RepositoryName,
        id: UploadId,
    ) -> Result<Response<Body>, RegistryError>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
        B::Error: Into<BoxError>,
    {
        let query = Query::of(uri);
        let digest = query.get("digest").ok_or_else(|| {
            RegistryError::UploadInvalid(
                "the parameter digest is missing: an upload ends with it".to_owned(),
            )
        })?;
        let digest: Digest = digest.parse()?;
        let mut upload = self.open_upload(repository, id).await?;
        self.receive(&mut upload, headers, body, repository, id)
            .await?;
        upload.commit(&digest).await?;
        Ok(created(repository, &digest))
    }

    /// `GET`: how far an upload is.
    pub(crate) async fn upload_status(
        &self,
        repository: &RepositoryName,
        id: UploadId,
    ) -> Result<Response<Body>, RegistryError> {
        let offset = self
            .storage()
            .upload_offset(repository, id)
            .await?
            .ok_or_else(|| RegistryError::UploadUnknown(id.to_string()))?;
        Ok(progress(StatusCode::NO_CONTENT, repository, id, offset))
    }

    /// `DELETE`: gives an upload up.
    pub(crate) async fn cancel_upload(
        &self,
        repository: &RepositoryName,
        id: UploadId,
    ) -> Result<Response<Body>, RegistryError> {
        self.open_upload(repository, id).await?.discard().await?;
        Ok(empty_response(StatusCode::NO_CONTENT))
    }

    async fn open_upload(
        &self,
        repository: &RepositoryName,
        id: UploadId,
    ) -> Result<S::Upload, RegistryError> {
        self.storage()
            .open_upload(repository, id)
            .await?
            .ok_or_else(|| RegistryError::UploadUnknown(id.to_string()))
    }

    /// Takes a request's body into an upload. What arrived before a failure stays there: the client asks how
    /// much that is, and goes on from it.
    async fn receive<B>(
        &self,
        upload: &mut S::Upload,
        headers: &HeaderMap,
        mut body: B,
        repository: &RepositoryName,
        id: UploadId,
    ) -> Result<(), RegistryError>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
        B::Error: Into<BoxError>,
    {
        let expected = match chunk_range(headers)? {
            Some((start, length)) => {
                let offset = upload.offset();
                if start != offset {
                    let location = upload_path(repository, id);
                    return Err(RegistryError::ChunkOutOfOrder { location, offset });
                }
                Some(length)
            }
            None => None,
        };
        let mut received = 0;
        let outcome = loop {
            match next_frame(&mut body, self.config().receive_timeout).await {
                Ok(Some(bytes)) => {
                    received += bytes.len() as u64;
                    if expected.is_some_and(|expected| received > expected) {
                        break Err(RegistryError::SizeInvalid(
                            "the chunk is longer than its Content-Range says".to_owned(),
                        ));
                    }
                    upload.write(bytes).await?;
                }
                Ok(None) if expected.is_some_and(|expected| received < expected) => {
                    break Err(RegistryError::SizeInvalid(
                        "the chunk is shorter than its Content-Range says".to_owned(),
                    ));
                }
                Ok(None) => break Ok(()),
                Err(e) => break Err(e),
            }
        };
        upload.flush().await?;
        outcome
    }
}

/// The start and the length that a chunk's `Content-Range` declares: `<first>-<last>`, without the unit that
/// HTTP itself would have.
fn chunk_range(headers: &HeaderMap) -> Result<Option<(u64, u64)>, RegistryError> {
    let Some(value) = headers.get(CONTENT_RANGE) else {
        return Ok(None);
    };
    let invalid = || {
        RegistryError::UploadInvalid(format!(
            "invalid Content-Range {value:?}: use <first>-<last>"
        ))
    };
    let text = value.to_str().map_err(|_| invalid())?;
    let (first, last) = text.split_once('-').ok_or_else(invalid)?;
    let number = |s: &str| -> Option<u64> {
        s.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| s.parse().ok())
            .flatten()
    };
    let (first, last) = number(first).zip(number(last)).ok_or_else(invalid)?;
    // An empty body can't be written in this form; some clients send "0-0" or "n-(n-1)" for it.
    let length = last
        .checked_add(1)
        .and_then(|end| end.checked_sub(first))
        .ok_or_else(invalid)?;
    if let Some(declared) = headers.get(CONTENT_LENGTH) {
        let declared = declared
            .to_str()
            .ok()
            .and_then(number)
            .ok_or_else(invalid)?;
        if declared == 0 && length <= 1 {
            return Ok(Some((first, 0)));
        }
        if declared != length {
            return Err(RegistryError::SizeInvalid(format!(
                "the Content-Range {text} has {length} bytes, but the Content-Length is {declared}"
            )));
        }
    }
    Ok(Some((first, length)))
}

fn upload_path(repository: &RepositoryName, id: UploadId) -> String {
    format!("/v2/{repository}/blobs/uploads/{id}")
}

fn progress(
    status: StatusCode,
    repository: &RepositoryName,
    id: UploadId,
    offset: u64,
) -> Response<Body> {
    let mut response = empty_response(status);
    let headers = response.headers_mut();
    insert(headers, LOCATION, upload_path(repository, id));
    insert(headers, RANGE, upload_range(offset));
    insert(headers, UPLOAD_UUID, id.to_string());
    response
}

fn created(repository: &RepositoryName, digest: &Digest) -> Response<Body> {
    let mut response = empty_response(StatusCode::CREATED);
    let headers = response.headers_mut();
    insert(
        headers,
        LOCATION,
        format!("/v2/{repository}/blobs/{digest}"),
    );
    insert(headers, CONTENT_DIGEST, digest.to_string());
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn range(value: &str, length: Option<u64>) -> Result<Option<(u64, u64)>, RegistryError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_RANGE, HeaderValue::from_str(value).unwrap());
        if let Some(length) = length {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        chunk_range(&headers)
    }

    #[test]
    fn chunks_declare_what_they_are() {
        assert_eq!(range("0-9", Some(10)).unwrap(), Some((0, 10)));
        assert_eq!(range("10-10", None).unwrap(), Some((10, 1)));
        assert_eq!(range("0-0", Some(0)).unwrap(), Some((0, 0)));
        for (bad, length) in [
            ("0-9", Some(9)),
            ("9-0", None),
            ("bytes 0-9/10", None),
            ("-", None),
            ("a-b", None),
            ("0-18446744073709551616", None),
        ] {
            assert!(range(bad, length).is_err(), "{bad}");
        }
    }
}
