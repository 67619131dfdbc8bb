//! What a client is shown of networks, and of a container's endpoints in them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use dhow_api::{
    ConfigReference, EndpointResource, EndpointSettings, Filters, Ipam, IpamConfig, Network,
};
use dhow_net::IpNet;

use super::made::Made;
use super::{BRIDGE, EndpointRecord, NetworkMode, Networks, PREDEFINED, Wishes};
use crate::error::Result;
use crate::id::ContainerId;

/// A running container's place in a network.
pub struct Attached {
    /// The network's key.
    pub network: String,
    pub container: ContainerId,
    pub name: String,
    pub endpoint: Option<EndpointRecord>,
}

impl Networks {
    pub fn list(&self, filters: &Filters) -> Result<Vec<Network>> {
        filters.validate(&["dangling", "driver", "id", "label", "name", "scope", "type"])?;
        let dangling = filters.boolean("dangling")?;
        let always = PREDEFINED
            .iter()
            .filter(|_| dangling != Some(true))
            .map(|(name, driver)| (self.show(name, driver), "builtin"));
        let made: Vec<Network> = {
            let made = self.made();
            let free = |made: &Made| self.inner.members.is_empty(&made.record.id);
            made.values()
                .filter(|made| dangling.is_none_or(|wanted| wanted == free(made)))
                .map(|made| show_made(made))
                .collect()
        };
        let all = always.chain(made.into_iter().map(|network| (network, "custom")));
        Ok(all
            .filter(|(n, kind)| {
                filters.prefix_match("id", &n.id)
                    && filters.regex_match("name", &n.name)
                    && filters.exact_match("driver", &n.driver)
                    && filters.exact_match("scope", &n.scope)
                    && filters.exact_match("type", kind)
                    && filters.labels_match("label", &n.labels)
            })
            .map(|(network, _)| network)
            .collect())
    }

    /// By name, id, or the beginning of an id; with those of `attached` that are on it.
    pub fn get(&self, name: &str, attached: Vec<Attached>) -> Result<Network> {
        let (key, mut network) = match self.find_made(name) {
            Ok(made) => (made.record.id.clone(), show_made(&made)),
            Err(missing) => {
                let name = self.predefined(name).ok_or(missing)?;
                let driver = PREDEFINED.iter().find(|(n, _)| *n == name);
                let driver = driver.map_or("", |(_, driver)| driver);
                (name.to_owned(), self.show(name, driver))
            }
        };
        for one in attached.into_iter().filter(|a| a.network == key) {
            let mut resource = EndpointResource {
                name: one.name,
                ..EndpointResource::default()
            };
            if let Some(e) = one.endpoint {
                resource.ipv4_address = format!("{}/{}", e.ip, e.prefix);
                if let Some(six) = e.ipv6 {
                    resource.ipv6_address = format!("{}/{}", six.ip, six.prefix);
                }
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
            let bridge = &self.inner.bridge;
            network.ipam.config = vec![IpamConfig {
                subnet: bridge.subnet.to_string(),
                gateway: bridge.gateway.to_string(),
                ..IpamConfig::default()
            }];
            if let Some(own) = bridge.ipv6 {
                network.enable_ipv6 = true;
                network.ipam.config.push(IpamConfig {
                    subnet: own.trunc().to_string(),
                    gateway: own.addr().to_string(),
                    ..IpamConfig::default()
                });
            }
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
        endpoints: &[EndpointRecord],
        running: bool,
    ) -> BTreeMap<String, EndpointSettings> {
        let one = |name: &str| {
            let mut settings = EndpointSettings::default();
            if running {
                settings.network_id = self.id(name);
            }
            [(name.to_owned(), settings)].into()
        };
        match wishes.mode() {
            NetworkMode::Container(_) => return BTreeMap::new(),
            NetworkMode::Host => return one("host"),
            NetworkMode::None => return one("none"),
            NetworkMode::Bridge | NetworkMode::Named(_) => {}
        }
        let mut all = wishes.endpoints.clone();
        for (name, settings) in &mut all {
            if name != BRIDGE {
                settings.dns_names = Some(wishes.names(settings));
            }
            if let Ok(made) = self.find_made(name) {
                settings.network_id.clone_from(&made.record.id);
            }
        }
        for e in endpoints {
            let Some((name, _)) = self.name_and_driver(&e.network) else {
                continue;
            };
            let settings = all.entry(name).or_default();
            settings.endpoint_id = e.id.clone();
            settings.network_id = self.id(&e.network);
            // On an internal network it is nobody's way out.
            let internal = {
                let made = self.made();
                made.get(&e.network)
                    .is_some_and(|made| made.record.internal)
            };
            let gateway = |ip: Option<IpAddr>, prefix| match internal {
                true => String::new(),
                false => gateway(ip, prefix),
            };
            settings.gateway = gateway(e.gateway.map(IpAddr::V4), e.prefix);
            settings.ip_address = e.ip.to_string();
            settings.ip_prefix_len = e.prefix;
            settings.mac_address = e.mac.clone();
            if let Some(six) = e.ipv6 {
                settings.ipv6_gateway = gateway(six.gateway.map(IpAddr::V6), six.prefix);
                settings.global_ipv6_address = six.ip.to_string();
                settings.global_ipv6_prefix_len = six.prefix;
            }
        }
        all
    }
}

/// A subnet's own address stands for none.
fn gateway(ip: Option<IpAddr>, prefix: u8) -> String {
    match ip.and_then(|ip| Some((ip, IpNet::new(ip, prefix).ok()?))) {
        Some((ip, net)) if net.network() != ip => ip.to_string(),
        _ => String::new(),
    }
}

fn show_made(made: &Made) -> Network {
    let record = &made.record;
    Network {
        name: record.name.clone(),
        id: record.id.clone(),
        created: dhow_api::time::rfc3339_nano(record.created),
        scope: "local".into(),
        driver: record.driver.clone(),
        enable_ipv4: true,
        enable_ipv6: record.ipv6,
        ipam: Ipam {
            driver: record.ipam_driver.clone(),
            options: record.ipam_options.clone(),
            config: record.ipam.clone(),
        },
        internal: record.internal,
        attachable: record.attachable,
        config_from: ConfigReference {
            network: record.config_from.clone(),
        },
        config_only: record.config_only,
        containers: Some(BTreeMap::new()),
        options: record.options.clone(),
        labels: record.labels.clone(),
        ..Network::default()
    }
}
