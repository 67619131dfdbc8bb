//! What can go wrong between a registry and its client, in the words that Docker's users know.

use std::fmt;
use std::io;

use dhow_image::ImageError;
use dhow_oci::DocumentError;
use dhow_oci::reference::ReferenceError;
use http::StatusCode;
use serde::Deserialize;

#[derive(Debug, thiserror::Error)]
pub enum DistributionError {
    /// What was asked for is not at the registry, or not for these credentials.
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Unauthorized(String),
    /// The caller's input is at fault.
    #[error("{0}")]
    Invalid(String),
    /// The registry answered, but not as was hoped.
    #[error("{0}")]
    Registry(RegistryFailure),
    /// No answer.
    #[error("{0}")]
    Unreachable(String),
    #[error("{0}")]
    Document(#[from] DocumentError),
    #[error("{0}")]
    Reference(#[from] ReferenceError),
    #[error(transparent)]
    Image(#[from] ImageError),
}

pub type Result<T> = std::result::Result<T, DistributionError>;

impl DistributionError {
    /// Whether the same request may succeed a little later.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            DistributionError::Unreachable(_) => true,
            DistributionError::Registry(f) => {
                f.status.is_server_error()
                    || f.status == StatusCode::TOO_MANY_REQUESTS
                    || f.status == StatusCode::REQUEST_TIMEOUT
            }
            _ => false,
        }
    }
}

/// A registry's error answer (distribution specification, "Error Codes").
#[derive(Clone, Debug)]
pub struct RegistryFailure {
    pub status: StatusCode,
    pub errors: Vec<ErrorEntry>,
    /// The beginning of a body that is not as specified.
    pub text: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct ErrorEntry {
    #[serde(default)]
    pub code: String,
    #[serde(default)]
    pub message: String,
}

impl RegistryFailure {
    pub(crate) fn parse(status: StatusCode, body: &[u8]) -> RegistryFailure {
        #[derive(Deserialize)]
        struct Body {
            #[serde(default)]
            errors: Vec<ErrorEntry>,
            // Of token servers and of gateways.
            #[serde(default)]
            details: String,
            #[serde(default)]
            message: String,
        }
        match serde_json::from_slice::<Body>(body) {
            Ok(body) => RegistryFailure {
                status,
                errors: body.errors,
                text: if body.details.is_empty() {
                    body.message
                } else {
                    body.details
                },
            },
            Err(_) => {
                let text = String::from_utf8_lossy(body);
                RegistryFailure {
                    status,
                    errors: Vec::new(),
                    text: text.chars().take(200).collect(),
                }
            }
        }
    }

    pub(crate) fn has(&self, code: &str) -> bool {
        self.errors.iter().any(|e| e.code == code)
    }
}

impl fmt::Display for ErrorEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.to_lowercase().replace('_', " ");
        let message = if self.message.is_empty() {
            &code
        } else {
            &self.message
        };
        write!(f, "{code}: {message}")
    }
}

impl fmt::Display for RegistryFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.errors[..] {
            [] if self.text.trim().is_empty() => {
                write!(f, "received unexpected HTTP status: {}", self.status)
            }
            [] => write!(
                f,
                "received unexpected HTTP status: {}: {}",
                self.status,
                self.text.trim()
            ),
            [one] => write!(f, "{one}"),
            many => {
                f.write_str("errors:")?;
                many.iter().try_for_each(|e| write!(f, "\n{e}"))
            }
        }
    }
}

/// The whole chain of causes in one line: hyper's own messages name none.
pub(crate) fn chain(e: &(dyn std::error::Error + 'static)) -> String {
    let mut text = e.to_string();
    let mut next = e.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

pub(crate) fn unreachable(what: &str, e: &(dyn std::error::Error + 'static)) -> DistributionError {
    DistributionError::Unreachable(format!("{what}: {}", chain(e)))
}

/// For a blocking task that did not come to its end.
pub(crate) fn joined<T>(r: std::result::Result<T, tokio::task::JoinError>) -> Result<T> {
    r.map_err(|e| {
        DistributionError::Image(ImageError::Io {
            context: "a task of this transfer".into(),
            source: io::Error::other(e),
        })
    })
}
