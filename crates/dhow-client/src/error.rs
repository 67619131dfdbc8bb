//! Why a call failed. The texts are the ones that Docker's client uses, as scripts look for them.

use std::io;
use std::path::PathBuf;

use http::StatusCode;

use crate::host::HostError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The daemon refused: its status and its sentence.
    #[error("Error response from daemon: {message}")]
    Api { status: StatusCode, message: String },

    /// Nobody listens there.
    #[error("Cannot connect to the Dhow daemon at {host}. Is the dhow daemon running?")]
    NotRunning { host: String, source: io::Error },

    /// The socket is there, but not for this user.
    #[error(
        "permission denied while trying to connect to the Dhow daemon socket at {host}: {source}"
    )]
    Permission { host: String, source: io::Error },

    #[error("error during connect: {host}: {source}")]
    Connect { host: String, source: io::Error },

    #[error("error during connect: {host}: {source}")]
    Tls {
        host: String,
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    #[error("could not read the TLS file {path}: {source}", path = path.display())]
    TlsFile { path: PathBuf, source: io::Error },

    #[error("{0}")]
    Host(#[from] HostError),

    #[error("the connection to the daemon failed: {0}")]
    Http(#[from] hyper::Error),

    #[error("the connection to the daemon failed: {0}")]
    Io(#[from] io::Error),

    #[error("the daemon's answer to {path} is not what the API says: {source}")]
    Malformed {
        path: String,
        source: serde_json::Error,
    },

    #[error("unable to decode container path stat header of {path}")]
    NoStat { path: String },

    /// A stream of messages ended with one that says why.
    #[error("{0}")]
    Stream(String),

    #[error("the daemon did not turn the connection to {path} into a stream: it answered {status}")]
    NotHijacked { path: String, status: StatusCode },

    #[error("the request to {path} could not be made: {source}")]
    Request { path: String, source: http::Error },
}

impl Error {
    /// The status with which the daemon refused.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Error::Api { status, .. } => Some(*status),
            _ => None,
        }
    }

    pub fn is_not_found(&self) -> bool {
        self.status() == Some(StatusCode::NOT_FOUND)
    }

    pub(crate) fn connect(host: String, source: io::Error) -> Error {
        match source.kind() {
            io::ErrorKind::PermissionDenied => Error::Permission { host, source },
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                Error::NotRunning { host, source }
            }
            _ => Error::Connect { host, source },
        }
    }
}
