//! Networks that clients make: what is asked for, checked and settled; the bridge of each; and their removal.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dhow_api::{ConfigReference, IpamConfig, NetworkCreateRequest, NetworkCreateResponse};
use dhow_net::{IpNet, Ipv4Net, Ipv6Config, Ipv6Net, NetConfig, Network};

use super::options::{self, flag, host_binding};
use super::records::{self, StoredNetwork};
use super::{Networks, PREDEFINED, ipam, lan};
use crate::error::{EngineError, Result};

/// A network that a client has made.
pub struct Made {
    pub record: StoredNetwork,
    /// Its bridge; one that others take their settings from has none, nor one whose bridge can't be had.
    pub net: Option<Network>,
    /// It was removed: whoever still knows it does not enter it.
    gone: AtomicBool,
}

const BRIDGE_NAME: &str = "com.docker.network.bridge.name";
const ICC: &str = "com.docker.network.bridge.enable_icc";
const MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";
const MTU: &str = "com.docker.network.driver.mtu";

impl Made {
    pub fn new(record: StoredNetwork, net: Option<Network>) -> Made {
        Made {
            record,
            net,
            gone: AtomicBool::new(false),
        }
    }

    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    pub fn subnets(&self) -> Vec<IpNet> {
        subnets(&self.record)
    }
}

/// Those of a network, but for one that others take their settings from.
pub fn subnets(record: &StoredNetwork) -> Vec<IpNet> {
    let all = record.ipam.iter().filter(|_| !record.config_only);
    all.filter_map(|config| config.subnet.parse().ok())
        .collect()
}

fn bridge_name(record: &StoredNetwork) -> String {
    match record.options.get(BRIDGE_NAME).filter(|n| !n.is_empty()) {
        Some(name) => name.clone(),
        // A network's id is 64 digits.
        None => format!("br-{}", &record.id[..12]),
    }
}

fn bad(what: &str, text: &str) -> EngineError {
    EngineError::invalid(format!("invalid {what}: {text}"))
}

/// The addresses of one family of a network: the bridge's own with the subnet's prefix, the range, and what is reserved.
struct Family<N, A> {
    own: N,
    range: Option<N>,
    reserved: Vec<A>,
}

fn family<N: FromStr, A: FromStr + Copy>(
    config: &IpamConfig,
    with_prefix: fn(A, u8) -> Option<N>,
) -> Result<Family<N, A>> {
    let subnet: IpNet = config
        .subnet
        .parse()
        .map_err(|_| bad("subnet", &config.subnet))?;
    // Where there is none, the network's own address is kept from everybody in its place.
    let gateway = match config.gateway.as_str() {
        "" => subnet.network().to_string(),
        gateway => gateway.to_owned(),
    };
    let gateway: A = gateway.parse().map_err(|_| bad("gateway", &gateway))?;
    let range = match config.ip_range.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|_| bad("ip-range", text))?),
    };
    let reserved = config
        .auxiliary_addresses
        .values()
        .map(|text| text.parse().map_err(|_| bad("auxiliary address", text)))
        .collect::<Result<_>>()?;
    Ok(Family {
        own: with_prefix(gateway, subnet.prefix_len())
            .ok_or_else(|| bad("subnet", &config.subnet))?,
        range,
        reserved,
    })
}

/// What a network's bridge and rules are to be; `own` is the default network's.
pub fn net_config(own: &NetConfig, record: &StoredNetwork) -> Result<NetConfig> {
    let nothing = IpamConfig::default();
    let ip = family(record.ipam_of(false).unwrap_or(&nothing), |ip, prefix| {
        Ipv4Net::new(ip, prefix).ok()
    })?;
    let masquerade = flag(&record.options, MASQUERADE, true)?;
    let ipv6 = match record.ipam_of(true).filter(|_| record.ipv6) {
        None => None,
        Some(config) => {
            let ipv6 = family(config, |ip, prefix| Ipv6Net::new(ip, prefix).ok())?;
            Some(Ipv6Config {
                address: Some(ipv6.own),
                range: ipv6.range,
                reserved: ipv6.reserved,
                masquerade,
                ..Ipv6Config::default()
            })
        }
    };
    let mtu = match record.options.get(MTU).filter(|text| !text.is_empty()) {
        None => own.mtu,
        Some(text) => match text.parse() {
            Ok(0) => own.mtu,
            Ok(mtu) if mtu <= 65535 => mtu,
            _ => return Err(bad("MTU", text)),
        },
    };
    host_binding(record)?;
    let mut settings = NetConfig {
        bridge: bridge_name(record),
        bridge_ip: Some(ip.own),
        fixed_cidr: ip.range,
        ipv6,
        mtu,
        masquerade,
        icc: flag(&record.options, ICC, true)?,
        foreign: record.bridge_was_there,
        internal: record.internal,
        reserved: ip.reserved,
        warm: 0,
        ..own.clone()
    };
    options::apply(record, &mut settings)?;
    Ok(settings)
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
        if self.made().named(&name).is_some() {
            return Err(EngineError::Refused(format!(
                "network with name {name} already exists"
            )));
        }
        let mut record = self.read(request)?;
        if !record.config_only && lan::is_lan(&record) {
            let made = self.create_lan(record).await?;
            return Ok(self.announce(made));
        }
        if !record.config_only {
            ipam::check_bridge(&record)?;
            self.settle_subnets(&mut record).await?;
        }
        let config = match record.config_only {
            true => None,
            false => {
                let config = net_config(&self.inner.config, &record)?;
                self.check_bridge(&config)?;
                let there = self.inner.net.addresses_of(config.bridge.clone()).await?;
                record.bridge_was_there = there.is_some();
                let bare = |ipv6| {
                    let of = |net: &&IpNet| matches!(net, IpNet::V6(_)) == ipv6;
                    let there = there.as_ref();
                    there.is_some_and(|addresses| !addresses.iter().any(|net| of(&net)))
                };
                record.bridge_was_bare = bare(false);
                record.bridge_was_bare6 = record.ipv6 && bare(true);
                Some(NetConfig {
                    foreign: record.bridge_was_there,
                    ..config
                })
            }
        };
        // What a crash leaves is a record whose bridge the next daemon makes, and never a bridge that nobody knows.
        records::put(&self.inner.store, &record).await?;
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
        Ok(self.announce(Arc::new(Made::new(record, net))))
    }

    fn announce(&self, made: Arc<Made>) -> NetworkCreateResponse {
        {
            let kept = self.inner.kept.lock();
            if let Some(net) = &made.net {
                self.keep_of(&kept, &made.record.name, net);
            }
            self.made().insert(made.clone());
        }
        self.tell_made(&made, "create");
        NetworkCreateResponse {
            id: made.record.id.clone(),
            warning: String::new(),
        }
    }

    /// The request as a record, without addresses yet.
    fn read(&self, request: NetworkCreateRequest) -> Result<StoredNetwork> {
        let driver = match request.driver.as_str() {
            "" | "bridge" | "default" => "bridge".to_owned(),
            one @ ("macvlan" | "ipvlan") => one.to_owned(),
            one @ ("host" | "null") => {
                return Err(EngineError::NotPermitted(format!(
                    "only one instance of \"{one}\" network is allowed"
                )));
            }
            other @ "overlay" => {
                return Err(EngineError::Unsupported(format!(
                    "network driver {other} is not supported: those that there are are bridge, macvlan and ipvlan"
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
        let mut options = request.options.unwrap_or_default();
        if request
            .config_from
            .as_ref()
            .is_none_or(|from| from.network.is_empty())
        {
            options = options::with_defaults(&self.inner.default_options, &driver, options);
        }
        options::check(&options)?;
        let (ipv4, ipv6) =
            options::families(&mut options, request.enable_ipv4, request.enable_ipv6)?;
        if !ipv4 {
            return Err(EngineError::Unsupported(
                "networks without IPv4 are not supported: leave it on, beside IPv6".to_owned(),
            ));
        }
        let mut record = StoredNetwork {
            id: crate::id::random_hex()?,
            name: request.name,
            created: dhow_api::time::now(),
            driver,
            ipv6,
            internal: request.internal,
            attachable: request.attachable,
            config_only: request.config_only,
            options,
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
                record.ipv6 |= from.record.ipv6;
                record.options.clone_from(&from.record.options);
                record.internal |= from.record.internal;
                record.config_from.clone_from(&from.record.name);
            }
        }
        Ok(record)
    }

    /// Two networks on one bridge would be one network.
    fn check_bridge(&self, config: &NetConfig) -> Result<()> {
        let taken = self.inner.bridge.name == config.bridge
            || self
                .made()
                .values()
                .filter_map(|made| made.net.as_ref()?.bridge())
                .any(|bridge| bridge.name == config.bridge);
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
    pub(super) async fn remove_made(&self, made: &Arc<Made>) -> Result<()> {
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
        let members = &self.inner.members;
        let Some(_closed) = self.inner.doors.close(id, || members.is_empty(id)) else {
            let members: Vec<String> = members
                .of(id)
                .iter()
                .map(|m| format!("name:{:?} id:{:?}", m.name, &m.endpoint.id[..12]))
                .collect();
            return Err(EngineError::NotPermitted(format!(
                "error while removing network: network {name} has active endpoints ({})",
                members.join(", ")
            )));
        };
        match &made.net {
            Some(net) if lan::is_lan(&made.record) => self.remove_lan(made, net).await?,
            Some(net) => self.remove_bridge(made, net).await?,
            None => {}
        }
        if let Err(e) = records::delete(&self.inner.store, id).await {
            // It is still there, then, and so is its bridge again.
            let net = match made.net.is_some() {
                true if lan::is_lan(&made.record) => {
                    Some(Networks::open_lan(&self.inner.net, &made.record, &[]).await?)
                }
                true => {
                    let config = net_config(&self.inner.config, &made.record)?;
                    Some(self.inner.net.add(config).await?)
                }
                false => None,
            };
            let again = Arc::new(Made::new(made.record.clone(), net));
            self.made().insert(again);
            return Err(e);
        }
        made.gone.store(true, Ordering::Release);
        self.made().remove(id);
        self.tell_made(made, "destroy");
        Ok(())
    }

    async fn remove_bridge(&self, made: &Made, net: &Network) -> Result<()> {
        let record = &made.record;
        net.remove(!record.bridge_was_there).await?;
        let Some(bridge) = net.bridge() else {
            return Ok(());
        };
        let ip = Ipv4Net::new(bridge.gateway, bridge.subnet.prefix_len());
        let ip = ip.ok().filter(|_| record.bridge_was_bare).map(IpNet::V4);
        let ipv6 = bridge.ipv6.filter(|_| record.bridge_was_bare6);
        for address in ip.into_iter().chain(ipv6.map(IpNet::V6)) {
            let name = bridge.name.clone();
            self.inner.net.take_address(name, address).await?;
        }
        Ok(())
    }
}
