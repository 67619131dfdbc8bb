//! What a client is shown of networks, and of a container's endpoints in them.

use std::collections::BTreeMap;

use dhow_api::{EndpointResource, EndpointSettings, Filters, Ipam, IpamConfig, Network};

use super::{EndpointRecord, NetworkMode, Networks, Wishes};
use crate::error::{EngineError, Result};
use crate::id::ContainerId;

/// Name, driver.
const NETWORKS: [(&str, &str); 3] = [("bridge", "bridge"), ("host", "host"), ("none", "null")];

/// A running container's place in a network.
pub struct Attached {
    /// The network's name.
    pub network: String,
    pub container: ContainerId,
    pub name: String,
    pub endpoint: Option<EndpointRecord>,
}

impl Networks {
    pub fn list(&self, filters: &Filters) -> Result<Vec<Network>> {
        filters.validate(&["dangling", "driver", "id", "label", "name", "scope", "type"])?;
        let dangling = filters.boolean("dangling")?.unwrap_or(false);
        Ok(NETWORKS
            .iter()
            .filter(|_| !dangling)
            .map(|(name, driver)| self.show(name, driver))
            .filter(|n| {
                filters.prefix_match("id", &n.id)
                    && filters.regex_match("name", &n.name)
                    && filters.exact_match("driver", &n.driver)
                    && filters.exact_match("scope", &n.scope)
                    && filters.exact_match("type", "builtin")
                    && filters.labels_match("label", &n.labels)
            })
            .collect())
    }

    /// By name, id, or the beginning of an id; with those of `attached` that are on it.
    pub fn get(&self, name: &str, attached: Vec<Attached>) -> Result<Network> {
        let (name, driver) = NETWORKS
            .iter()
            .find(|(n, _)| *n == name || (!name.is_empty() && self.id(n).starts_with(name)))
            .ok_or_else(|| EngineError::NoSuchNetwork(name.to_owned()))?;
        let mut network = self.show(name, driver);
        for one in attached.into_iter().filter(|a| a.network == *name) {
            let mut resource = EndpointResource {
                name: one.name,
                ..EndpointResource::default()
            };
            if let Some(e) = one.endpoint {
                resource.ipv4_address = format!("{}/{}", e.ip, e.prefix);
                resource.endpoint_id = e.id;
                resource.mac_address = e.mac;
            }
            network
                .containers
                .get_or_insert_default()
                .insert(one.container.to_string(), resource);
        }
        Ok(network)
    }

    fn show(&self, name: &str, driver: &str) -> Network {
        let mut network = Network {
            name: name.to_owned(),
            id: self.id(name),
            created: dhow_api::time::rfc3339_nano(self.inner.opened),
            scope: "local".into(),
            driver: driver.to_owned(),
            enable_ipv4: true,
            containers: Some(BTreeMap::new()),
            ipam: Ipam {
                driver: "default".into(),
                ..Ipam::default()
            },
            ..Network::default()
        };
        if name == "bridge" {
            let bridge = self.inner.net.bridge();
            network.ipam.config = vec![IpamConfig {
                subnet: bridge.subnet.to_string(),
                gateway: bridge.gateway.to_string(),
                ..IpamConfig::default()
            }];
            let net = &self.inner.config;
            for (key, value) in [
                (
                    "com.docker.network.bridge.default_bridge",
                    "true".to_owned(),
                ),
                ("com.docker.network.bridge.enable_icc", net.icc.to_string()),
                (
                    "com.docker.network.bridge.enable_ip_masquerade",
                    net.masquerade.to_string(),
                ),
                (
                    "com.docker.network.bridge.host_binding_ipv4",
                    net.publish_ip.to_string(),
                ),
                ("com.docker.network.bridge.name", bridge.name.clone()),
                ("com.docker.network.driver.mtu", bridge.mtu.to_string()),
            ] {
                network.options.insert(key.to_owned(), value);
            }
        }
        network
    }

    /// The networks that a container is on, or will be.
    pub fn of(
        &self,
        wishes: &Wishes<'_>,
        endpoint: Option<&EndpointRecord>,
        running: bool,
    ) -> BTreeMap<String, EndpointSettings> {
        let name = match wishes.mode() {
            NetworkMode::Container(_) => return BTreeMap::new(),
            NetworkMode::Bridge => "bridge",
            NetworkMode::Host => "host",
            NetworkMode::None => "none",
            NetworkMode::Named(_) => wishes.host.network_mode.as_str(),
        };
        let mut settings = wishes.endpoints.get(name).cloned().unwrap_or_default();
        if let Some(e) = endpoint {
            settings.endpoint_id = e.id.clone();
            settings.gateway = e.gateway.to_string();
            settings.ip_address = e.ip.to_string();
            settings.ip_prefix_len = e.prefix;
            settings.mac_address = e.mac.clone();
        }
        if running || endpoint.is_some() {
            settings.network_id = self.id(name);
        }
        [(name.to_owned(), settings)].into()
    }
}
