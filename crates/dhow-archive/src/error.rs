//! What can be wrong with an archive, or with the files that it is made of or becomes.

use std::io;

#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is not what it should be: a sentence about it.
    #[error("{0}")]
    Malformed(String),
    /// The stream that it comes from failed, or is no archive.
    #[error("its archive can't be read: {0}")]
    Read(io::Error),
    /// The contents of a file could not be read from it, or not be written.
    #[error("{}", words(_0))]
    Copy(io::Error),
    /// What it is to become was in the way: a sentence.
    #[error("{0}")]
    Conflict(String),
    /// A file that could not be read or written.
    #[error("{what}: {}", words(source))]
    File { what: String, source: io::Error },
    /// What reads the archive that is made is gone.
    #[error("nobody reads the archive: {0}")]
    Write(io::Error),
}

pub type Result<T> = std::result::Result<T, ArchiveError>;

impl ArchiveError {
    /// An error of the tar library: one of ours that came through a reader, or the stream's.
    pub(crate) fn read(e: io::Error) -> ArchiveError {
        e.downcast::<ArchiveError>()
            .unwrap_or_else(ArchiveError::Read)
    }

    /// The system's error, where it is one.
    pub fn code(&self) -> Option<i32> {
        match self {
            ArchiveError::File { source, .. }
            | ArchiveError::Copy(source)
            | ArchiveError::Read(source)
            | ArchiveError::Write(source) => source.raw_os_error(),
            ArchiveError::Malformed(_) | ArchiveError::Conflict(_) => None,
        }
    }

    pub(crate) fn malformed(message: impl Into<String>) -> ArchiveError {
        ArchiveError::Malformed(message.into())
    }
}

/// An error of the system as Go says it, and so Docker: scripts look for `no such file or directory`.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    let Some(code) = error.raw_os_error() else {
        return text;
    };
    let text = text.trim_end_matches(&format!(" (os error {code})"));
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}

/// Says which file an error is about.
pub(crate) trait Of<T> {
    fn of(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> Of<T> for std::result::Result<T, E> {
    fn of(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| ArchiveError::File {
            what: what(),
            source: e.into(),
        })
    }
}
