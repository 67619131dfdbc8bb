//! What a client is told when its request fails: the status, decided in one place, and a sentence.

use axum::response::{IntoResponse, Response};
use dhow_api::ErrorResponse;
use dhow_distribution::DistributionError;
use dhow_engine::EngineError;
use dhow_image::ImageError;
use http::StatusCode;

use crate::json::Json;

pub type Result<T> = std::result::Result<T, ApiError>;

/// A failed request.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Distribution(#[from] DistributionError),
    /// A registry does not take the client's credentials.
    #[error("{0}")]
    Unauthorized(String),
    /// What the client sent can't be understood.
    #[error("{0}")]
    BadRequest(String),
    #[error("request body is larger than {0} bytes")]
    TooLarge(usize),
    #[error("{0}")]
    NotImplemented(String),
    #[error("page not found")]
    NoSuchPage,
    /// The daemon failed, and the client can't help it.
    #[error("{0}")]
    Internal(String),
}

impl ApiError {
    pub fn bad(message: impl Into<String>) -> ApiError {
        ApiError::BadRequest(message.into())
    }

    /// The one place where a status is decided.
    pub fn status(&self) -> StatusCode {
        match self {
            ApiError::BadRequest(_) | ApiError::Engine(EngineError::InvalidParameter(_)) => {
                StatusCode::BAD_REQUEST
            }
            ApiError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            ApiError::NoSuchPage | ApiError::Engine(EngineError::NotFound(_)) => {
                StatusCode::NOT_FOUND
            }
            ApiError::NotImplemented(_) | ApiError::Engine(EngineError::NotImplemented(_)) => {
                StatusCode::NOT_IMPLEMENTED
            }
            ApiError::Engine(EngineError::Conflict(_)) => StatusCode::CONFLICT,
            ApiError::Engine(EngineError::NotModified) => StatusCode::NOT_MODIFIED,
            ApiError::Engine(EngineError::Forbidden(_)) => StatusCode::FORBIDDEN,
            ApiError::Engine(EngineError::Unavailable(_)) => StatusCode::SERVICE_UNAVAILABLE,
            // A command that can't be run is the request's fault.
            ApiError::Engine(EngineError::Start {
                exit_code: 126 | 127,
                ..
            }) => StatusCode::BAD_REQUEST,
            ApiError::Engine(EngineError::Image(e)) | ApiError::Image(e) => image_status(e),
            ApiError::Distribution(e) => distribution_status(e),
            ApiError::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

fn image_status(e: &ImageError) -> StatusCode {
    match e {
        ImageError::NotFound(_) => StatusCode::NOT_FOUND,
        ImageError::Reference(_) | ImageError::Invalid(_) | ImageError::Ambiguous(_) => {
            StatusCode::BAD_REQUEST
        }
        ImageError::Conflict(_) => StatusCode::CONFLICT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn distribution_status(e: &DistributionError) -> StatusCode {
    match e {
        DistributionError::NotFound(_) => StatusCode::NOT_FOUND,
        DistributionError::Invalid(_) | DistributionError::Reference(_) => StatusCode::BAD_REQUEST,
        DistributionError::Image(e) => image_status(e),
        // Also a refusal of credentials: a 401 of ours would be about this API.
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        let message = self.to_string();
        if status.is_server_error() {
            tracing::error!(%status, "request failed: {message}");
        } else {
            tracing::debug!(%status, "request refused: {message}");
        }
        if status == StatusCode::NOT_MODIFIED {
            return status.into_response();
        }
        (status, Json(ErrorResponse { message })).into_response()
    }
}
