//! What can go wrong with images, in the words that Docker's users know.

use std::io;

use dhow_oci::Digest;
use dhow_oci::reference::ReferenceError;

#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("No such image: {0}")]
    NotFound(String),
    /// The image is here, but not for the platform that was asked for.
    #[error("{0}")]
    NoPlatform(String),
    #[error("{0}")]
    Reference(#[from] ReferenceError),
    /// The caller's input is at fault.
    #[error("{0}")]
    Invalid(String),
    #[error("the id prefix {0} matches several images: give more of its digits")]
    Ambiguous(String),
    #[error("{0}")]
    Conflict(String),
    /// Content that is not what its digest says.
    #[error("{what}: expected digest {expected}, but the content has {found}")]
    WrongDigest {
        what: &'static str,
        expected: Digest,
        found: Digest,
    },
    #[error("{what}: expected {expected} bytes, got {found}")]
    WrongSize {
        what: &'static str,
        expected: u64,
        found: u64,
    },
    /// A layer that must not be unpacked, or can't be.
    #[error("refusing the layer: {0}")]
    Layer(String),
    /// An archive of images that can't be taken.
    #[error("invalid archive: {0}")]
    Archive(String),
    #[error("the image's {what} is not valid: {reason}")]
    Document { what: &'static str, reason: String },
    /// The stream of a layer ended because its sender gave up.
    #[error("the layer's transfer was abandoned")]
    Abandoned,
    #[error("{context}: {source}")]
    Io { context: String, source: io::Error },
    #[error(transparent)]
    Store(#[from] dhow_store::StoreError),
}

pub type Result<T> = std::result::Result<T, ImageError>;

impl ImageError {
    /// The error of this crate that an I/O error carries through a reader, if it does.
    pub(crate) fn carried(e: io::Error) -> std::result::Result<ImageError, io::Error> {
        e.downcast::<ImageError>()
    }
}

/// Says what an I/O error was about.
pub(crate) trait Context<T> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| ImageError::Io {
            context: what(),
            source: e.into(),
        })
    }
}
