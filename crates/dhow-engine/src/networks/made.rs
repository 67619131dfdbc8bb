//! Networks that clients make: what is asked for, checked and settled; the bridge of each; and their removal.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use dhow_api::{
    ConfigReference, Filters, NetworkCreateRequest, NetworkCreateResponse, NetworksPruneReport,
};
use dhow_net::{Ipv4Net, NetConfig, Network};

use super::records::{self, StoredNetwork};
use super::{Networks, PREDEFINED, ipam};
use crate::error::{EngineError, Result};
use crate::until;
use crate::volumes::excluded;

/// A network that a client has made.
pub struct Made {
    pub record: StoredNetwork,
    /// Its bridge; one that others take their settings from has none, nor one whose bridge can't be had.
    pub net: Option<Network>,
}

const BRIDGE_NAME: &str = "com.docker.network.bridge.name";
const ICC: &str = "com.docker.network.bridge.enable_icc";
const MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";
const MTU: &str = "com.docker.network.driver.mtu";
const GATEWAY_MODE: &str = "com.docker.network.bridge.gateway_mode_ipv4";
pub const HOST_BINDING: &str = "com.docker.network.bridge.host_binding_ipv4";

impl Made {
    pub fn subnet(&self) -> Option<Ipv4Net> {
        if self.record.config_only {
            return None;
        }
        self.record.ipam.first()?.subnet.parse().ok()
    }
}

fn flag(options: &BTreeMap<String, String>, name: &str, default: bool) -> Result<bool> {
    match options.get(name).map(|text| text.to_lowercase()).as_deref() {
        None => Ok(default),
        Some("1" | "t" | "true") => Ok(true),
        Some("0" | "f" | "false") => Ok(false),
        Some(text) => Err(EngineError::invalid(format!(
            "failed to parse {name} value: {text:?}: invalid syntax"
        ))),
    }
}

fn bridge_name(record: &StoredNetwork) -> String {
    match record.options.get(BRIDGE_NAME).filter(|n| !n.is_empty()) {
        Some(name) => name.clone(),
        // A network's id is 64 digits.
        None => format!("br-{}", &record.id[..12]),
    }
}

/// What a network's bridge and rules are to be; `own` is the default network's.
pub fn net_config(own: &NetConfig, record: &StoredNetwork) -> Result<NetConfig> {
    let bad = |what: &str, text: &str| EngineError::invalid(format!("invalid {what}: {text}"));
    let config = record.ipam.first().cloned().unwrap_or_default();
    let subnet: Ipv4Net = config
        .subnet
        .parse()
        .map_err(|_| bad("subnet", &config.subnet))?;
    let gateway: Ipv4Addr = config
        .gateway
        .parse()
        .map_err(|_| bad("gateway", &config.gateway))?;
    let bridge_ip =
        Ipv4Net::new(gateway, subnet.prefix_len()).map_err(|_| bad("subnet", &config.subnet))?;
    let range = match config.ip_range.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|_| bad("ip-range", text))?),
    };
    let reserved = config
        .auxiliary_addresses
        .values()
        .map(|text| text.parse().map_err(|_| bad("auxiliary address", text)))
        .collect::<Result<_>>()?;
    let mtu = match record.options.get(MTU).filter(|text| !text.is_empty()) {
        None => own.mtu,
        Some(text) => match text.parse() {
            Ok(0) => own.mtu,
            Ok(mtu) if mtu <= 65535 => mtu,
            _ => return Err(bad("MTU", text)),
        },
    };
    if let Some(mode) = record.options.get(GATEWAY_MODE)
        && !matches!(mode.as_str(), "" | "nat")
    {
        return Err(EngineError::Unsupported(format!(
            "gateway mode {mode} is not supported: the one there is is nat"
        )));
    }
    Ok(NetConfig {
        bridge: bridge_name(record),
        bridge_ip: Some(bridge_ip),
        fixed_cidr: range,
        mtu,
        masquerade: flag(&record.options, MASQUERADE, true)?,
        icc: flag(&record.options, ICC, true)?,
        internal: record.internal,
        reserved,
        warm: 0,
        ..own.clone()
    })
}

impl Networks {
    pub async fn create(&self, request: NetworkCreateRequest) -> Result<NetworkCreateResponse> {
        let name = request.name.clone();
        if name.trim().is_empty() || name.trim() != name {
            return Err(EngineError::invalid(format!(
                "invalid network name {name:?}: it is empty, or begins or ends with white space"
            )));
        }
        // A container's mode is told by such a word.
        if name == "default" || name.starts_with("container:") {
            return Err(EngineError::NotPermitted(format!(
                "operation is not permitted on predefined {name} network"
            )));
        }
        if PREDEFINED.iter().any(|(n, _)| *n == name) {
            return Err(EngineError::NotPermitted(format!(
                "operation is not permitted on predefined {name} network"
            )));
        }
        let _turn = self.inner.making.lock().await;
        if self.made().values().any(|made| made.record.name == name) {
            return Err(EngineError::Refused(format!(
                "network with name {name} already exists"
            )));
        }
        let mut record = self.read(request)?;
        if !record.config_only {
            self.settle_subnet(&mut record).await?;
        }
        let config = match record.config_only {
            true => None,
            false => {
                let config = net_config(&self.inner.config, &record)?;
                self.check_bridge(&config)?;
                record.bridge_was_there = Path::new("/sys/class/net").join(&config.bridge).exists();
                Some(config)
            }
        };
        // What a crash leaves is a record whose bridge the next daemon makes, and never a bridge that nobody knows.
        records::insert(&self.inner.store, &record).await?;
        let net = match config {
            None => None,
            Some(config) => match self.inner.net.add(config).await {
                Ok(net) => Some(net),
                Err(e) => {
                    records::delete(&self.inner.store, &record.id).await?;
                    return Err(e.into());
                }
            },
        };
        let id = record.id.clone();
        let made = Arc::new(Made { record, net });
        self.made().insert(id.clone(), made.clone());
        self.tell_made(&made, "create");
        Ok(NetworkCreateResponse {
            id,
            warning: String::new(),
        })
    }

    /// The request as a record, without addresses yet.
    fn read(&self, request: NetworkCreateRequest) -> Result<StoredNetwork> {
        let driver = match request.driver.as_str() {
            "" | "bridge" | "default" => "bridge".to_owned(),
            one @ ("host" | "null") => {
                return Err(EngineError::NotPermitted(format!(
                    "only one instance of \"{one}\" network is allowed"
                )));
            }
            other @ ("macvlan" | "ipvlan" | "overlay") => {
                return Err(EngineError::Unsupported(format!(
                    "network driver {other} is not supported: the one there is is bridge"
                )));
            }
            other => {
                return Err(EngineError::NoSuchPath(format!(
                    "could not find plugin {other} in v1 plugin registry: plugin \"{other}\" not found"
                )));
            }
        };
        if !matches!(request.scope.as_str(), "" | "local") {
            return Err(EngineError::invalid(format!(
                "network scope {} needs a swarm, and this engine is in none",
                request.scope
            )));
        }
        if request.ingress {
            return Err(EngineError::invalid(
                "an ingress network needs a swarm, and this engine is in none",
            ));
        }
        if request.enable_ipv6 == Some(true) || request.enable_ipv4 == Some(false) {
            return Err(EngineError::Unsupported(
                "networks with IPv6 are not supported yet".to_owned(),
            ));
        }
        let mut record = StoredNetwork {
            id: crate::id::random_hex()?,
            name: request.name,
            created: dhow_api::time::now(),
            driver,
            internal: request.internal,
            attachable: request.attachable,
            config_only: request.config_only,
            options: request.options.unwrap_or_default(),
            labels: request.labels.unwrap_or_default(),
            ipam_driver: "default".to_owned(),
            ..StoredNetwork::default()
        };
        let wanted = request.ipam.unwrap_or_default();
        match request.config_from.unwrap_or_default() {
            ConfigReference { network } if network.is_empty() => ipam::read(wanted, &mut record)?,
            ConfigReference { network } => {
                if record.config_only {
                    return Err(EngineError::NotPermitted(
                        "a configuration network cannot depend on another configuration network"
                            .to_owned(),
                    ));
                }
                if !wanted.config.is_empty() || !record.options.is_empty() {
                    return Err(EngineError::NotPermitted(
                        "user-specified configurations are not supported if the network depends on a configuration network"
                            .to_owned(),
                    ));
                }
                let from = self.find_made(&network)?;
                if !from.record.config_only {
                    return Err(EngineError::NotPermitted(format!(
                        "{network} is not a configuration network"
                    )));
                }
                record.ipam.clone_from(&from.record.ipam);
                record.options.clone_from(&from.record.options);
                record.internal |= from.record.internal;
                record.config_from.clone_from(&from.record.name);
            }
        }
        Ok(record)
    }

    /// Two networks on one bridge would be one network.
    fn check_bridge(&self, config: &NetConfig) -> Result<()> {
        let taken = self.inner.net.bridge().name == config.bridge
            || self
                .made()
                .values()
                .filter_map(|made| made.net.as_ref())
                .any(|net| net.bridge().name == config.bridge);
        match taken {
            true => Err(EngineError::NotPermitted(format!(
                "networks have same bridge name: {}",
                config.bridge
            ))),
            false => Ok(()),
        }
    }

    /// By name, id, or the beginning of an id.
    pub async fn remove(&self, name: &str) -> Result<()> {
        if let Some(name) = self.predefined(name) {
            return Err(EngineError::NotPermitted(format!(
                "{name} is a pre-defined network and cannot be removed"
            )));
        }
        let _turn = self.inner.making.lock().await;
        let made = self.find_made(name)?;
        self.remove_made(&made).await
    }

    /// The caller has the turn.
    async fn remove_made(&self, made: &Arc<Made>) -> Result<()> {
        let StoredNetwork { id, name, .. } = &made.record;
        let dependent = self
            .made()
            .values()
            .find(|other| made.record.config_only && other.record.config_from == *name)
            .map(|other| other.record.name.clone());
        if let Some(dependent) = dependent {
            return Err(EngineError::NotPermitted(format!(
                "configuration network {name} is in use by network {dependent}"
            )));
        }
        // Nobody enters any more: who has entered is seen.
        self.made().remove(id);
        let members = self.inner.members.of(id);
        if !members.is_empty() || self.entering(id) {
            self.made().insert(id.clone(), made.clone());
            let members: Vec<String> = members
                .iter()
                .map(|m| format!("name:{:?} id:{:?}", m.name, &m.endpoint.id[..12]))
                .collect();
            return Err(EngineError::NotPermitted(format!(
                "error while removing network: network {name} has active endpoints ({})",
                members.join(", ")
            )));
        }
        let removed = match &made.net {
            Some(net) => net.remove(!made.record.bridge_was_there).await,
            None => Ok(()),
        };
        let removed = match removed {
            Ok(()) => records::delete(&self.inner.store, id).await,
            Err(e) => Err(e.into()),
        };
        if let Err(e) = removed {
            self.made().insert(id.clone(), made.clone());
            return Err(e);
        }
        self.tell_made(made, "destroy");
        Ok(())
    }

    pub async fn prune(&self, filters: &Filters) -> Result<NetworksPruneReport> {
        filters.validate(&["label", "label!", "until"])?;
        let until = match filters.get("until").next() {
            None => None,
            Some(text) => Some(until::parse(text)?),
        };
        let Ok(_turn) = self.inner.making.try_lock() else {
            return Err(EngineError::Refused(
                "a prune operation is already running".to_owned(),
            ));
        };
        let all: Vec<Arc<Made>> = self.made().values().cloned().collect();
        let mut deleted = Vec::new();
        for made in all {
            let record = &made.record;
            if until.is_some_and(|until| record.created >= until)
                || !filters.labels_match("label", &record.labels)
                || excluded(filters, &record.labels)
            {
                continue;
            }
            // One that is in use is left alone.
            match self.remove_made(&made).await {
                Ok(()) => deleted.push(record.name.clone()),
                Err(EngineError::NotPermitted(_)) => {}
                Err(e) => return Err(e),
            }
        }
        let actor = dhow_api::Actor {
            id: String::new(),
            attributes: [("reclaimed".to_owned(), "0".to_owned())].into(),
        };
        self.inner.events.publish("network", "prune", actor);
        Ok(NetworksPruneReport {
            networks_deleted: Some(deleted).filter(|d| !d.is_empty()),
        })
    }
}
