//! Networks that clients have made, in the metadata store: a row each.

use std::collections::BTreeMap;

use dhow_api::IpamConfig;
use dhow_store::{Durability, Store};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::storage::Rows;

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
    /// Containers have IPv6 addresses too.
    #[serde(default)]
    pub ipv6: bool,
    /// Settled: with subnet and gateway, IPv4's before IPv6's.
    pub ipam: Vec<IpamConfig>,
    pub options: BTreeMap<String, String>,
    /// The bridge is somebody else's, and stays when the network goes.
    #[serde(default)]
    pub bridge_was_there: bool,
    /// It had no address before: the one that it has is the network's, and goes with it.
    #[serde(default)]
    pub bridge_was_bare: bool,
    /// As that, of IPv6 addresses.
    #[serde(default)]
    pub bridge_was_bare6: bool,
    /// The parent is no link of the host's own: it was made for networks, and goes with the last of them.
    #[serde(default)]
    pub parent_was_made: bool,
    pub labels: BTreeMap<String, String>,
}

impl StoredNetwork {
    /// The addresses of a family, once settled.
    pub fn ipam_of(&self, ipv6: bool) -> Option<&IpamConfig> {
        self.ipam
            .iter()
            .find(|config| config.subnet.contains(':') == ipv6)
    }
}

const ROWS: Rows = Rows {
    table: "engine_networks",
    key: "id",
};

pub async fn put(store: &Store, network: &StoredNetwork) -> Result<()> {
    ROWS.put(store, &network.id, network, Durability::Synced)
        .await
}

pub async fn delete(store: &Store, id: &str) -> Result<()> {
    ROWS.delete(store, id).await
}

/// All networks. A record that can't be read is set aside.
pub async fn all(store: &Store) -> Result<Vec<StoredNetwork>> {
    ROWS.all(store).await
}
