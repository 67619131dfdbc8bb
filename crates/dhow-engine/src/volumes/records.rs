//! Volumes in the metadata store: a row each.

use std::collections::BTreeMap;

use dhow_store::rusqlite::{self, params};
use dhow_store::{Durability, Store, Unreadable, set_aside};
use serde::{Deserialize, Serialize};

use crate::error::{EngineError, Result};
use crate::storage::schema::OWNER;

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

const TABLE: &str = "engine_volumes";

/// All volumes. A record that can't be read is set aside.
pub async fn all(store: &Store) -> Result<Vec<StoredVolume>> {
    let stored = store
        .write(Durability::Synced, |c| {
            let mut statement = c.prepare("SELECT name, record FROM engine_volumes")?;
            let rows: Vec<_> = statement
                .query_map([], |r| {
                    let record = r.get::<_, String>(1).map_err(|e| e.to_string());
                    Ok((r.get_ref(0)?.as_bytes()?.to_vec(), record))
                })?
                .collect::<rusqlite::Result<_>>()?;
            let mut stored = Vec::with_capacity(rows.len());
            for (name, record) in rows {
                let read = record.and_then(|text| {
                    serde_json::from_str::<StoredVolume>(&text).map_err(|e| e.to_string())
                });
                match read {
                    Ok(volume) => stored.push(volume),
                    Err(why) => set_aside(
                        c,
                        &Unreadable {
                            owner: OWNER,
                            table: TABLE,
                            key: &[("name", &name)],
                            why: &why,
                        },
                    )?,
                }
            }
            Ok(stored)
        })
        .await?;
    Ok(stored)
}

/// Whether this volume's record was set aside: what it holds must be kept.
pub async fn is_aside(store: &Store, name: &str) -> Result<bool> {
    let name = name.to_owned();
    let aside = store
        .write(Durability::Process, move |c| {
            dhow_store::is_aside(c, TABLE, &[("name", name.as_bytes())])
        })
        .await?;
    Ok(aside)
}
