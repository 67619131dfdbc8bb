//! Volumes in the metadata store: a row each.

use std::collections::BTreeMap;

use dhow_store::rusqlite::{self, params};
use dhow_store::{Durability, Store};
use serde::{Deserialize, Serialize};

use crate::error::{EngineError, Result};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredVolume {
    pub name: String,
    /// Nanoseconds since the epoch.
    pub created: i64,
    pub labels: BTreeMap<String, String>,
    pub options: BTreeMap<String, String>,
    pub anonymous: bool,
}

pub async fn put(store: &Store, volume: &StoredVolume, durability: Durability) -> Result<()> {
    let name = volume.name.clone();
    let record = serde_json::to_string(volume)
        .map_err(|e| EngineError::Internal(format!("the record of volume {name}: {e}")))?;
    store
        .write(durability, move |c| {
            c.execute(
                "INSERT OR REPLACE INTO engine_volumes VALUES (?1, ?2)",
                params![name, record],
            )
        })
        .await?;
    Ok(())
}

pub async fn delete(store: &Store, name: &str) -> Result<()> {
    let name = name.to_owned();
    store
        .write(Durability::Synced, move |c| {
            c.execute("DELETE FROM engine_volumes WHERE name = ?1", [name])
        })
        .await?;
    Ok(())
}

pub async fn all(store: &Store) -> Result<Vec<StoredVolume>> {
    let texts = store
        .write(Durability::Process, |c| {
            let mut statement = c.prepare("SELECT record FROM engine_volumes")?;
            let rows = statement.query_map([], |r| r.get::<_, String>(0))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })
        .await?;
    texts
        .iter()
        .map(|t| {
            serde_json::from_str(t)
                .map_err(|e| EngineError::Internal(format!("the record of a volume: {e}")))
        })
        .collect()
}
