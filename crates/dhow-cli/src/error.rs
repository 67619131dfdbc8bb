//! How a command fails: what is said, and with which exit status.

use std::io;

use crate::format::template::FormatError;
use crate::reference::ReferenceError;

/// The status of a template that isn't one (EX_USAGE of sysexits.h).
const BAD_TEMPLATE: u8 = 64;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Client(#[from] dhow_client::Error),

    #[error("{0}")]
    Format(#[from] FormatError),

    #[error("{0}")]
    Reference(#[from] ReferenceError),

    #[error("{0}")]
    Io(#[from] io::Error),

    /// A sentence of this program.
    #[error("{0}")]
    Message(String),

    /// A sentence and a status of its own.
    #[error("{message}")]
    Status { code: u8, message: String },

    /// A status without a word: what the container's process ended with.
    #[error("exit status {0}")]
    Exit(u8),
}

/// Why a flag's value is refused; the texts are Docker's.
pub type Refusal = String;

pub type Result<T> = std::result::Result<T, Error>;

pub fn message(text: impl Into<String>) -> Error {
    Error::Message(text.into())
}

/// A sentence that no command adds anything to.
pub fn plain(text: impl Into<String>) -> Error {
    Error::Status {
        code: 1,
        message: text.into(),
    }
}

/// What the system says is wrong, as Go has it.
pub fn system_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

/// The end of a command that does one thing to each of many: what failed is said together.
pub fn all_done(failures: Vec<String>) -> Result<()> {
    match failures.is_empty() {
        true => Ok(()),
        false => Err(message(failures.join("\n"))),
    }
}

impl Error {
    pub fn code(&self) -> u8 {
        match self {
            Error::Status { code, .. } | Error::Exit(code) => *code,
            // As Docker, where one thing is shown by a template of its own.
            Error::Format(FormatError::Parse(_) | FormatError::ParseEvents(_)) => BAD_TEMPLATE,
            _ => 1,
        }
    }

    /// What to print; nothing for a bare status.
    pub fn text(&self) -> Option<String> {
        match self {
            Error::Exit(_) => None,
            Error::Status { message, .. } if message.is_empty() => None,
            // A pager that was closed is no error of ours.
            Error::Io(error) if error.kind() == io::ErrorKind::BrokenPipe => None,
            other => Some(other.to_string()),
        }
    }
}
