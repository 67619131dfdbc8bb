//! The engine's errors: what went wrong, sorted as a client must be told, in the words that Docker uses
//! where scripts read them. The daemon maps the variants to HTTP statuses.

use dhow_store::StoreError;

pub type Result<T> = std::result::Result<T, EngineError>;

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("{0}")]
    NotFound(String),
    /// The object's state, or another object, is in the way.
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    InvalidParameter(String),
    /// Nothing was to be done: what was asked for is so already.
    #[error("not modified")]
    NotModified,
    #[error("{0}")]
    Forbidden(String),
    #[error("{0}")]
    NotImplemented(String),
    #[error("{0}")]
    Unavailable(String),
    /// A container's process could not be started; the client derives its exit code from the words.
    #[error("{message}")]
    Start { exit_code: i32, message: String },
    #[error("{0}")]
    System(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Image(#[from] dhow_image::ImageError),
    #[error(transparent)]
    Distribution(#[from] dhow_distribution::DistributionError),
    #[error("failed to set up container networking: {0}")]
    Net(#[from] dhow_net::Error),
}

impl EngineError {
    pub fn invalid(message: impl Into<String>) -> EngineError {
        EngineError::InvalidParameter(message.into())
    }

    pub fn conflict(message: impl Into<String>) -> EngineError {
        EngineError::Conflict(message.into())
    }

    /// An operation of the daemon's own that failed: `what` it was, in the shape "making X".
    pub fn io(what: impl std::fmt::Display) -> impl FnOnce(std::io::Error) -> EngineError {
        move |e| EngineError::System(format!("{what}: {e}"))
    }
}

impl From<dhow_api::FilterError> for EngineError {
    fn from(e: dhow_api::FilterError) -> Self {
        EngineError::InvalidParameter(e.to_string())
    }
}

impl From<getrandom::Error> for EngineError {
    fn from(e: getrandom::Error) -> Self {
        EngineError::System(format!("random numbers: {e}"))
    }
}
