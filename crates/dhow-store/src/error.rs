//! What can go wrong with the store.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the metadata store {path}: {source}")]
    Open {
        path: PathBuf,
        source: rusqlite::Error,
    },
    #[error(
        "the metadata store {path} has {owner} records of version {found}, and this daemon knows up to {known}: start the newer daemon that wrote it"
    )]
    Newer {
        path: PathBuf,
        owner: String,
        found: u32,
        known: u32,
    },
    #[error(
        "the metadata store {path} could not be upgraded, and is as it was: {owner} records, version {version} ({brings}): {source}"
    )]
    Upgrade {
        path: PathBuf,
        owner: &'static str,
        version: u32,
        brings: &'static str,
        source: Box<rusqlite::Error>,
    },
    #[error("the metadata store: {0}")]
    Sql(rusqlite::Error),
    #[error("the metadata store can't be written: no space left on device")]
    Full,
    #[error("the metadata store has been closed")]
    Closed,
}

impl From<rusqlite::Error> for StoreError {
    fn from(e: rusqlite::Error) -> StoreError {
        match e.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => StoreError::Full,
            _ => StoreError::Sql(e),
        }
    }
}

pub type Result<T> = std::result::Result<T, StoreError>;
