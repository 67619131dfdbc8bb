//! The three networks that are always there: bridge, host and none.

pub mod ports;
pub mod sandbox;

use dhow_api::{EndpointResource, Filters, Ipam, IpamConfig, Network};
use dhow_image::Digest;

use crate::engine::Engine;
use crate::error::{EngineError, Result};

/// Name, driver.
const NETWORKS: [(&str, &str); 3] = [("bridge", "bridge"), ("host", "host"), ("none", "null")];

impl Engine {
    /// A network's id: the same as long as the data-root is.
    pub(crate) fn network_id(&self, name: &str) -> String {
        Digest::sha256(format!("{}/{name}", self.inner.id).as_bytes())
            .hex()
            .to_owned()
    }

    pub fn networks(&self, filters: &Filters) -> Result<Vec<Network>> {
        filters.validate(&["dangling", "driver", "id", "label", "name", "scope", "type"])?;
        let dangling = filters.boolean("dangling")?.unwrap_or(false);
        Ok(NETWORKS
            .iter()
            .filter(|_| !dangling)
            .map(|(name, driver)| self.show_network(name, driver, false))
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

    /// By name, id, or the beginning of an id.
    pub fn network(&self, name: &str) -> Result<Network> {
        NETWORKS
            .iter()
            .find(|(n, _)| *n == name || (!name.is_empty() && self.network_id(n).starts_with(name)))
            .map(|(n, driver)| self.show_network(n, driver, true))
            .ok_or_else(|| EngineError::NotFound(format!("network {name} not found")))
    }

    fn show_network(&self, name: &str, driver: &str, with_containers: bool) -> Network {
        let mut network = Network {
            name: name.to_owned(),
            id: self.network_id(name),
            created: dhow_api::time::rfc3339_nano(self.inner.opened),
            scope: "local".into(),
            driver: driver.to_owned(),
            enable_ipv4: true,
            ipam: Ipam {
                driver: "default".into(),
                ..Ipam::default()
            },
            ..Network::default()
        };
        if name == "bridge" {
            let bridge = self.inner.network.bridge();
            network.ipam.config = vec![IpamConfig {
                subnet: bridge.subnet.to_string(),
                gateway: bridge.gateway.to_string(),
                ..IpamConfig::default()
            }];
            let net = &self.inner.config.net;
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
        if with_containers {
            for container in self.inner.containers.all() {
                let view = container.view();
                if view.life.state.run().is_none()
                    || view.definition.host_config.network_mode != name
                {
                    continue;
                }
                let mut resource = EndpointResource {
                    name: view.name.to_string(),
                    ..EndpointResource::default()
                };
                if let Some(e) = &view.life.endpoint {
                    resource.endpoint_id = e.id.clone();
                    resource.mac_address = e.mac.clone();
                    resource.ipv4_address = format!("{}/{}", e.ip, e.prefix);
                }
                network
                    .containers
                    .insert(container.id.to_string(), resource);
            }
        }
        network
    }
}
