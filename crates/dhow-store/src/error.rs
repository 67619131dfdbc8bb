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
    Sql(#[from] rusqlite::Error),
    #[error("the metadata store has been closed")]
    Closed,
}

pub type Result<T> = std::result::Result<T, StoreError>;
