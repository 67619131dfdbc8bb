//! Volumes in the metadata store: a row each.

use std::collections::BTreeMap;

use dhow_store::{Durability, Store};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::storage::Rows;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredVolume {
    pub name: String,
    /// Nanoseconds since the epoch.
    pub created: i64,
    pub labels: BTreeMap<String, String>,
    pub options: BTreeMap<String, String>,
    pub anonymous: bool,
}

const ROWS: Rows = Rows {
    table: "engine_volumes",
    key: "name",
};

pub async fn put(store: &Store, volume: &StoredVolume, durability: Durability) -> Result<()> {
    ROWS.put(store, &volume.name, volume, durability).await
}

pub async fn delete(store: &Store, name: &str) -> Result<()> {
    ROWS.delete(store, name).await
}

/// All volumes. A record that can't be read is set aside.
pub async fn all(store: &Store) -> Result<Vec<StoredVolume>> {
    ROWS.all(store).await
}

/// Whether this volume's record was set aside: what it holds must be kept.
pub async fn is_aside(store: &Store, name: &str) -> Result<bool> {
    ROWS.is_aside(store, name).await
}
