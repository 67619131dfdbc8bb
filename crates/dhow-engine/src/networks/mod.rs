//! Networks: the three that are always there (bridge, host and none), and the place that a container has in
//! one of them.

pub mod endpoint;
mod files;
mod mode;
pub mod ports;
mod sandbox;
mod show;

use std::collections::BTreeMap;
use std::sync::Arc;

use dhow_api::{Actor, ContainerConfig, EndpointSettings, HostConfig};
use dhow_net::{LiveEndpoint, NetConfig, Network};
use dhow_oci::Digest;

use crate::config::DnsConfig;
use crate::error::{EngineError, Result};
use crate::events::EventBus;

pub use endpoint::{EndpointRecord, PublishedPort, parse_mac};
pub use files::EtcFiles;
pub use mode::NetworkMode;
pub use sandbox::Sandbox;
pub use show::Attached;

/// All networks. A handle; clones are the same.
#[derive(Clone)]
pub struct Networks {
    inner: Arc<Inner>,
}

struct Inner {
    net: Network,
    config: NetConfig,
    dns: DnsConfig,
    events: EventBus,
    /// The data-root's id: networks have theirs of it.
    root_id: String,
    /// Nanoseconds since the epoch.
    opened: i64,
}

/// What a container's definition says of networks.
#[derive(Clone, Copy)]
pub struct Wishes<'a> {
    /// The container's name.
    pub name: &'a str,
    pub config: &'a ContainerConfig,
    pub host: &'a HostConfig,
    /// What was asked of each network, by the network's name.
    pub endpoints: &'a BTreeMap<String, EndpointSettings>,
}

impl Wishes<'_> {
    pub fn mode(&self) -> NetworkMode {
        NetworkMode::parse(&self.host.network_mode)
    }
}

impl Networks {
    /// Makes the bridge, or adopts it; `live` are the endpoints that may still be in use.
    pub async fn open(
        config: NetConfig,
        dns: DnsConfig,
        live: Vec<LiveEndpoint>,
        events: EventBus,
        root_id: String,
    ) -> Result<Networks> {
        let net = Network::open(config.clone(), live)
            .await
            .map_err(|e| EngineError::Internal(e.to_string()))?;
        Ok(Networks {
            inner: Arc::new(Inner {
                net,
                config,
                dns,
                events,
                root_id,
                opened: dhow_api::time::now(),
            }),
        })
    }

    /// A network's id: the same as long as the data-root is.
    pub fn id(&self, name: &str) -> String {
        Digest::sha256(format!("{}/{name}", self.inner.root_id).as_bytes())
            .hex()
            .to_owned()
    }

    /// Tells that a container has come to its network, or left it.
    pub fn tell(&self, container: &str, mode: &NetworkMode, action: &str) {
        let (name, driver) = match mode {
            NetworkMode::Bridge => ("bridge", "bridge"),
            NetworkMode::Host => ("host", "host"),
            NetworkMode::None => ("none", "null"),
            NetworkMode::Container(_) | NetworkMode::Named(_) => return,
        };
        let attributes = [
            ("container".to_owned(), container.to_owned()),
            ("name".to_owned(), name.to_owned()),
            ("type".to_owned(), driver.to_owned()),
        ];
        self.inner.events.publish(
            "network",
            action,
            Actor {
                id: self.id(name),
                attributes: attributes.into(),
            },
        );
    }
}
