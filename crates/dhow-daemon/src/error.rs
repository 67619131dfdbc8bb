//! What a client is told when its request fails: the status, decided in one place, and a sentence.

use axum::response::{IntoResponse, Response};
use dhow_api::ErrorResponse;
use dhow_archive::ArchiveError;
use dhow_distribution::DistributionError;
use dhow_engine::EngineError;
use dhow_image::ImageError;
use dhow_net::Error as NetError;
use http::StatusCode;
use rustix::io::Errno;

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
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Forbidden(String),
    /// Not in this state of the engine.
    #[error("{0}")]
    Unavailable(String),
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
            ApiError::BadRequest(_) => StatusCode::BAD_REQUEST,
            ApiError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            ApiError::NoSuchPage | ApiError::NotFound(_) => StatusCode::NOT_FOUND,
            ApiError::Forbidden(_) => StatusCode::FORBIDDEN,
            ApiError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            ApiError::NotImplemented(_) => StatusCode::NOT_IMPLEMENTED,
            ApiError::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            ApiError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
            ApiError::Engine(e) => engine_status(e),
            ApiError::Image(e) => image_status(e),
            ApiError::Distribution(e) => distribution_status(e),
        }
    }
}

fn engine_status(e: &EngineError) -> StatusCode {
    use EngineError as E;
    match e {
        E::NoSuchContainer(_)
        | E::NoSuchExec(_)
        | E::NoSuchVolume(_)
        | E::NoSuchPath(_)
        | E::NoSuchNetwork(_)
        | E::NoSuchVolumeDriver(_)
        | E::NoSuchFile { .. }
        | E::OtherPlatform { .. } => StatusCode::NOT_FOUND,
        E::NameTaken { .. }
        | E::VolumeInUse { .. }
        | E::DataRootInUse { .. }
        | E::SetAside { .. }
        | E::Refused(_)
        | E::NotRunning(_)
        | E::Restarting(_)
        | E::Paused { .. }
        | E::CannotJoin { .. }
        | E::CannotShare { .. }
        | E::Leftovers { .. }
        | E::ExecState { .. }
        | E::Resize { .. } => StatusCode::CONFLICT,
        E::NotPermitted(_) => StatusCode::FORBIDDEN,
        E::NotModified => StatusCode::NOT_MODIFIED,
        E::Invalid(_) => StatusCode::BAD_REQUEST,
        E::Unsupported(_) => StatusCode::NOT_IMPLEMENTED,
        E::NewName(why) | E::Cannot { why, .. } => engine_status(why),
        // A command that can't be run is the request's fault.
        E::Start {
            exit_code: 126 | 127,
            ..
        } => StatusCode::BAD_REQUEST,
        E::Archive(e) => archive_status(e),
        E::Image(e) => image_status(e),
        E::Distribution(e) => distribution_status(e),
        E::Unreachable(_) => StatusCode::SERVICE_UNAVAILABLE,
        E::Net(e) => net_status(e),
        E::Start { .. } | E::NoEnd | E::Io { .. } | E::Internal(_) | E::Store(_) => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

fn net_status(e: &NetError) -> StatusCode {
    use NetError as E;
    match e {
        E::InvalidBridgeName(_)
        | E::InvalidBridgeAddress(_)
        | E::InvalidBridgeAddress6(_)
        | E::NoIpv6(..)
        | E::NoSubnet
        | E::NoOwnMac
        | E::MasterMissing(_)
        | E::RangeOutsideSubnet { .. }
        | E::AddressOutsideSubnet { .. }
        | E::UnusableMac(_) => StatusCode::BAD_REQUEST,
        E::NotABridge(_)
        | E::OthersBridge { .. }
        | E::NoFreeSubnet { .. }
        | E::AddressInUse(_)
        | E::Exhausted { .. }
        | E::BridgeFull(_)
        | E::HostNamespace
        | E::ParentMissing(_)
        | E::ParentBusy { .. }
        | E::LinkNameTaken(_) => StatusCode::CONFLICT,
        E::NoSuchKind(_) => StatusCode::NOT_IMPLEMENTED,
        // Clients know a port that is taken by its words, and by this number.
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// What is in the way of an archive is the client's to know; a disk that is full or broken is not.
fn archive_status(e: &ArchiveError) -> StatusCode {
    let code = e.code().map(Errno::from_raw_os_error);
    let own = [
        Errno::IO,
        Errno::NOSPC,
        Errno::DQUOT,
        Errno::NOMEM,
        Errno::NFILE,
        Errno::MFILE,
    ];
    match e {
        ArchiveError::Write(_) => StatusCode::INTERNAL_SERVER_ERROR,
        _ if code.is_some_and(|code| own.contains(&code)) => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    }
}

fn image_status(e: &ImageError) -> StatusCode {
    match e {
        ImageError::NotFound(_) | ImageError::NoPlatform(_) => StatusCode::NOT_FOUND,
        ImageError::Reference(_)
        | ImageError::Invalid(_)
        | ImageError::Ambiguous(_)
        | ImageError::Archive(_) => StatusCode::BAD_REQUEST,
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
        // What is not to be had here is no fault of the daemon's, whatever its number.
        let foreseen = matches!(self, ApiError::Unavailable(_) | ApiError::NotImplemented(_));
        if status.is_server_error() && !foreseen {
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
