//! What becomes of a container's output: the file that is kept of it, and the server that it goes to.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Neither is a container without a log.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LogSink {
    pub file: Option<LogFile>,
}

/// A file on this machine, and those that it became before.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LogFile {
    pub path: PathBuf,
    pub format: LogFormat,
    /// Rotation size in bytes; `None` never rotates.
    pub max_size: Option<u64>,
    /// How many files to keep, at least 1.
    pub max_file: u32,
    /// Whether files are compressed that are written no more.
    pub compress: bool,
    /// What each entry says beside its text: a JSON object in one line, or nothing.
    pub attrs: String,
}

/// How an entry is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogFormat {
    /// Docker's json-file format.
    JsonFile,
    /// See [`crate::logfile`].
    Local,
}
