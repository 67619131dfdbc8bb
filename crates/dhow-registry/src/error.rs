//! What goes wrong in a request, and what the client is told: status, code and body are decided here alone
//! (distribution specification, "Error Codes").

use std::io;

use dhow_oci::Digest;
use dhow_oci::digest::DigestError;
use http::StatusCode;
use http::header::{ALLOW, CONTENT_RANGE, HeaderValue, LOCATION, RANGE, RETRY_AFTER};
use serde_json::json;

use crate::body::{Body, json_response};
use crate::storage::StorageError;

/// Seconds after which a client that met a limit may come back.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("10");

#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("no such address: {0}")]
    NoRoute(String),
    #[error("{method} is not supported here: use {allow}")]
    MethodNotAllowed {
        method: http::Method,
        allow: &'static str,
    },
    #[error("this registry is read-only")]
    ReadOnly,
    #[error(
        "invalid repository name {0:?}: use lower-case letters, digits and single separators, at most 255 characters"
    )]
    NameInvalid(String),
    #[error("repository {0} not found")]
    NameUnknown(String),
    #[error(
        "invalid tag {0:?}: use letters, digits, '_', '.' and '-', at most 128 characters, not starting with '.' or '-'"
    )]
    TagInvalid(String),
    #[error("{0}")]
    DigestInvalid(#[from] DigestError),
    #[error("the content's digest is {actual}, not {expected}")]
    DigestMismatch { expected: Digest, actual: Digest },
    #[error("blob {0} is not in this repository")]
    BlobUnknown(Digest),
    #[error("the requested range lies outside the blob's {size} bytes, or is malformed")]
    RangeNotSatisfiable { size: u64 },
    #[error("upload {0} not found: it was finished, cancelled or has expired")]
    UploadUnknown(String),
    #[error("{0}")]
    UploadInvalid(String),
    #[error("another request is writing to this upload")]
    UploadBusy,
    #[error("the chunk must start at byte {offset}")]
    ChunkOutOfOrder { location: String, offset: u64 },
    #[error("too many uploads are open: finish or cancel some")]
    TooManyUploads,
    #[error("{0}")]
    SizeInvalid(String),
    #[error("manifest {reference} not found in repository {repository}")]
    ManifestUnknown {
        repository: String,
        reference: String,
    },
    #[error("invalid manifest: {0}")]
    ManifestInvalid(String),
    #[error("the manifest refers to content that is not in this repository")]
    ManifestBlobUnknown(Vec<Digest>),
    #[error("the manifest is larger than {0} bytes")]
    ManifestTooLarge(usize),
    #[error("too many tags for one request: send at most {0}")]
    TooManyTags(usize),
    #[error("invalid value {value:?} for the parameter {name:?}")]
    ParameterInvalid { name: &'static str, value: String },
    #[error("the client sent nothing for too long")]
    Timeout,
    #[error("reading the request's body failed: {0}")]
    Receive(String),
    #[error("the registry's storage failed: {0}")]
    Storage(io::Error),
}

impl From<StorageError> for RegistryError {
    fn from(e: StorageError) -> Self {
        match e {
            StorageError::ReadOnly => RegistryError::ReadOnly,
            StorageError::UploadBusy => RegistryError::UploadBusy,
            StorageError::TooManyUploads => RegistryError::TooManyUploads,
            StorageError::DigestMismatch { expected, actual } => {
                RegistryError::DigestMismatch { expected, actual }
            }
            StorageError::Missing(digests) => RegistryError::ManifestBlobUnknown(digests),
            StorageError::Io(e) => RegistryError::Storage(e),
        }
    }
}

impl RegistryError {
    pub fn status(&self) -> StatusCode {
        match self {
            RegistryError::NoRoute(_)
            | RegistryError::NameUnknown(_)
            | RegistryError::BlobUnknown(_)
            | RegistryError::UploadUnknown(_)
            | RegistryError::ManifestUnknown { .. } => StatusCode::NOT_FOUND,
            RegistryError::MethodNotAllowed { .. } | RegistryError::ReadOnly => {
                StatusCode::METHOD_NOT_ALLOWED
            }
            RegistryError::RangeNotSatisfiable { .. } | RegistryError::ChunkOutOfOrder { .. } => {
                StatusCode::RANGE_NOT_SATISFIABLE
            }
            RegistryError::UploadBusy => StatusCode::CONFLICT,
            RegistryError::TooManyUploads => StatusCode::TOO_MANY_REQUESTS,
            RegistryError::ManifestTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            RegistryError::TooManyTags(_) => StatusCode::URI_TOO_LONG,
            RegistryError::Timeout => StatusCode::REQUEST_TIMEOUT,
            RegistryError::Storage(e) if is_full(e) => StatusCode::INSUFFICIENT_STORAGE,
            RegistryError::Storage(_) => StatusCode::INTERNAL_SERVER_ERROR,
            RegistryError::NameInvalid(_)
            | RegistryError::TagInvalid(_)
            | RegistryError::DigestInvalid(_)
            | RegistryError::DigestMismatch { .. }
            | RegistryError::UploadInvalid(_)
            | RegistryError::SizeInvalid(_)
            | RegistryError::ManifestInvalid(_)
            | RegistryError::ManifestBlobUnknown(_)
            | RegistryError::ParameterInvalid { .. }
            | RegistryError::Receive(_) => StatusCode::BAD_REQUEST,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            RegistryError::NoRoute(_) => "NOT_FOUND",
            RegistryError::MethodNotAllowed { .. }
            | RegistryError::ReadOnly
            | RegistryError::TooManyTags(_) => "UNSUPPORTED",
            RegistryError::NameInvalid(_) => "NAME_INVALID",
            RegistryError::NameUnknown(_) => "NAME_UNKNOWN",
            RegistryError::TagInvalid(_) => "TAG_INVALID",
            RegistryError::DigestInvalid(_) | RegistryError::DigestMismatch { .. } => {
                "DIGEST_INVALID"
            }
            RegistryError::BlobUnknown(_) => "BLOB_UNKNOWN",
            RegistryError::RangeNotSatisfiable { .. } => "RANGE_INVALID",
            RegistryError::UploadUnknown(_) => "BLOB_UPLOAD_UNKNOWN",
            RegistryError::UploadInvalid(_)
            | RegistryError::UploadBusy
            | RegistryError::ChunkOutOfOrder { .. }
            | RegistryError::Timeout
            | RegistryError::Receive(_) => "BLOB_UPLOAD_INVALID",
            RegistryError::TooManyUploads => "TOOMANYREQUESTS",
            RegistryError::SizeInvalid(_) | RegistryError::ManifestTooLarge(_) => "SIZE_INVALID",
            RegistryError::ManifestUnknown { .. } => "MANIFEST_UNKNOWN",
            RegistryError::ManifestInvalid(_) => "MANIFEST_INVALID",
            RegistryError::ManifestBlobUnknown(_) => "MANIFEST_BLOB_UNKNOWN",
            RegistryError::ParameterInvalid { name: "n", .. } => "PAGINATION_NUMBER_INVALID",
            RegistryError::ParameterInvalid { .. } => "UNSUPPORTED",
            RegistryError::Storage(_) => "UNKNOWN",
        }
    }

    pub fn into_response(self) -> http::Response<Body> {
        let errors: Vec<_> = match &self {
            RegistryError::ManifestBlobUnknown(digests) => digests
                .iter()
                .map(|d| {
                    json!({"code": self.code(), "message": self.to_string(), "detail": {"digest": d}})
                })
                .collect(),
            // What the storage said may name paths: that is for the log.
            RegistryError::Storage(e) => {
                let message = if is_full(e) {
                    "the registry has no space left"
                } else {
                    "the registry's storage failed"
                };
                vec![json!({"code": self.code(), "message": message})]
            }
            _ => vec![json!({"code": self.code(), "message": self.to_string(), "detail": self.detail()})],
        };
        let mut response = json_response(self.status(), &json!({ "errors": errors }));
        let headers = response.headers_mut();
        match self {
            RegistryError::MethodNotAllowed { allow, .. } => {
                headers.insert(ALLOW, HeaderValue::from_static(allow));
            }
            RegistryError::ReadOnly => {
                headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            }
            RegistryError::RangeNotSatisfiable { size } => {
                insert(headers, CONTENT_RANGE, format!("bytes */{size}"));
            }
            RegistryError::ChunkOutOfOrder { location, offset } => {
                insert(headers, LOCATION, location);
                insert(headers, RANGE, upload_range(offset));
            }
            RegistryError::TooManyUploads => {
                headers.insert(RETRY_AFTER, RETRY_SECONDS);
            }
            _ => {}
        }
        response
    }

    fn detail(&self) -> serde_json::Value {
        match self {
            RegistryError::ManifestUnknown {
                repository,
                reference,
            } => {
                json!({"name": repository, "reference": reference})
            }
            RegistryError::NameUnknown(name) | RegistryError::NameInvalid(name) => {
                json!({"name": name})
            }
            RegistryError::BlobUnknown(digest) => json!({"digest": digest}),
            RegistryError::DigestMismatch { expected, actual } => {
                json!({"expected": expected, "actual": actual})
            }
            RegistryError::ChunkOutOfOrder { offset, .. } => json!({"offset": offset}),
            _ => serde_json::Value::Null,
        }
    }
}

fn is_full(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// The `Range` header of an upload that holds `offset` bytes. The form can't say "none": clients read `0-0`
/// as that, and the first chunk is checked against what is really there.
pub(crate) fn upload_range(offset: u64) -> String {
    format!("0-{}", offset.saturating_sub(1))
}

/// Values made of checked names, digests and numbers are always valid in a header.
pub(crate) fn insert(headers: &mut http::HeaderMap, name: http::HeaderName, value: String) {
    match HeaderValue::try_from(value) {
        Ok(value) => {
            headers.insert(name, value);
        }
        Err(e) => tracing::error!(%name, error = %e, "a response header could not be made"),
    }
}
