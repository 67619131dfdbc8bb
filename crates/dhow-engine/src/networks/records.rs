//! Networks that clients have made, in the metadata store: a row each.

use std::collections::BTreeMap;

use dhow_api::IpamConfig;
use dhow_store::rusqlite::{self, params};
use dhow_store::{Durability, Store, Unreadable, set_aside};
use serde::{Deserialize, Serialize};

use crate::error::{EngineError, Result};
use crate::storage::schema::OWNER;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StoredNetwork {
    /// 64 hexadecimal digits.
    pub id: String,
    pub name: String,
    /// Nanoseconds since the epoch.
    pub created: i64,
    pub driver: String,
    pub internal: bool,
    pub attachable: bool,
    /// It has no bridge: others take their settings from it.
    pub config_only: bool,
    /// The network that the settings were taken from.
    pub config_from: String,
    pub ipam_driver: String,
    pub ipam_options: Option<BTreeMap<String, String>>,
    /// Settled: with subnet and gateway.
    pub ipam: Vec<IpamConfig>,
    pub options: BTreeMap<String, String>,
    /// The bridge is somebody else's, and stays when the network goes.
    #[serde(default)]
    pub bridge_was_there: bool,
    pub labels: BTreeMap<String, String>,
}

const TABLE: &str = "engine_networks";

pub async fn insert(store: &Store, network: &StoredNetwork) -> Result<()> {
    let id = network.id.clone();
    let record = serde_json::to_string(network)
        .map_err(|e| EngineError::Internal(format!("the record of network {id}: {e}")))?;
    store
        .write(Durability::Synced, move |c| {
            c.execute(
                "INSERT INTO engine_networks VALUES (?1, ?2)",
                params![id, record],
            )
        })
        .await?;
    Ok(())
}

pub async fn delete(store: &Store, id: &str) -> Result<()> {
    let id = id.to_owned();
    store
        .write(Durability::Synced, move |c| {
            c.execute("DELETE FROM engine_networks WHERE id = ?1", [id])
        })
        .await?;
    Ok(())
}

/// All networks. A record that can't be read is set aside.
pub async fn all(store: &Store) -> Result<Vec<StoredNetwork>> {
    let stored = store
        .write(Durability::Synced, |c| {
            let mut statement = c.prepare("SELECT id, record FROM engine_networks")?;
            let rows: Vec<_> = statement
                .query_map([], |r| {
                    let record = r.get::<_, String>(1).map_err(|e| e.to_string());
                    Ok((r.get_ref(0)?.as_bytes()?.to_vec(), record))
                })?
                .collect::<rusqlite::Result<_>>()?;
            let mut stored = Vec::with_capacity(rows.len());
            for (id, record) in rows {
                let read = record.and_then(|text| {
                    serde_json::from_str::<StoredNetwork>(&text).map_err(|e| e.to_string())
                });
                match read {
                    Ok(network) => stored.push(network),
                    Err(why) => set_aside(
                        c,
                        &Unreadable {
                            owner: OWNER,
                            table: TABLE,
                            key: &[("id", &id)],
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
