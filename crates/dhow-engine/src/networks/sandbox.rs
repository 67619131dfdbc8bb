//! A container's places in networks: the namespace that it has, its endpoints there, the way out, and its published
//! ports.
//!
//! One endpoint is the way out: the container's default route leads to its network's gateway, and its ports are published
//! for its address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::str::FromStr;
use std::sync::Arc;

use dhow_api::{EndpointIpamConfig, EndpointSettings};
use dhow_net::dns::Sockets;
use dhow_net::{EndpointRequest, MacAddr, Network};

use super::doors::Entering;
use super::endpoint::{EndpointRecord, PublishedPort, parse_mac};
use super::made::Made;
use super::publish::not_published;
use super::ways::{gateways, of_ports, way_out};
use super::{BRIDGE, NetworkMode, Networks, Wishes, lan, names, ports};
use crate::error::{EngineError, Result};
use crate::id::ContainerId;

/// What a start gets of the networks.
#[derive(Default)]
pub struct Sandbox {
    /// `None` is the host's namespace.
    pub netns: Option<OwnedFd>,
    pub endpoints: Vec<EndpointRecord>,
    /// Sockets for the shim to hold: those that keep the published ports, and the name server's.
    pub holders: Vec<OwnedFd>,
    /// Those of the name server, where there is one.
    pub names: Option<Sockets>,
}

/// A network that a container is to be on. It is not removed meanwhile.
pub(super) struct Target {
    pub key: String,
    pub name: String,
    pub settings: EndpointSettings,
    /// `None` is the default network.
    pub made: Option<Arc<Made>>,
    _entering: Option<Entering>,
}

/// What a running container has of the networks after one was added.
pub struct Joined {
    pub endpoints: Vec<EndpointRecord>,
    /// Sockets for the shim to hold beside those that it holds.
    pub holders: Vec<OwnedFd>,
}

impl Target {
    pub fn internal(&self) -> bool {
        self.made
            .as_ref()
            .is_some_and(|m| lan::is_internal(&m.record))
    }

    /// Its containers are on a wire of the host's, and have no ports on the host.
    pub fn is_lan(&self) -> bool {
        self.made.as_ref().is_some_and(|m| lan::is_lan(&m.record))
    }

    /// Its containers' default route leads to their link.
    pub fn routes_by_link(&self) -> bool {
        self.made
            .as_ref()
            .is_some_and(|m| lan::routes_by_link(&m.record))
    }

    fn mac(&self) -> Result<Option<MacAddr>> {
        match self.settings.mac_address.as_str() {
            "" => Ok(None),
            text => parse_mac(text).map(Some),
        }
    }

    /// The addresses that were asked for.
    fn ips(&self) -> Result<(Option<Ipv4Addr>, Option<Ipv6Addr>)> {
        let config = self.settings.ipam_config.as_ref();
        let asked = |field: fn(&EndpointIpamConfig) -> &String| {
            config.map(|c| field(c).as_str()).filter(|t| !t.is_empty())
        };
        Ok((
            self.ip(asked(|c| &c.ipv4_address), "IPv4")?,
            self.ip(asked(|c| &c.ipv6_address), "IPv6")?,
        ))
    }

    fn ip<A: FromStr + Into<IpAddr> + Copy>(
        &self,
        text: Option<&str>,
        family: &str,
    ) -> Result<Option<A>> {
        let Some(text) = text else {
            return Ok(None);
        };
        let refuse = |why: &str| {
            EngineError::invalid(format!(
                "invalid config for network {}: invalid endpoint settings:\n{why}",
                self.name
            ))
        };
        let ip: A = text
            .parse()
            .map_err(|_| refuse(&format!("invalid {family} address: {text}")))?;
        let subnets = self.made.as_ref().map(|made| made.subnets());
        if subnets.is_some_and(|all| !all.iter().any(|subnet| subnet.contains(&ip.into()))) {
            return Err(refuse(&format!(
                "no configured subnet contains IP address {text}"
            )));
        }
        Ok(Some(ip))
    }
}

impl Networks {
    /// A network that a container is to be on, by name or id.
    fn target(&self, name: &str, settings: &EndpointSettings) -> Result<Target> {
        let found = match self.predefined(name) {
            Some(BRIDGE) => None,
            Some(name) => {
                return Err(EngineError::NotPermitted(format!(
                    "container cannot be connected to {name} network: it shares no namespace, and has none of another's"
                )));
            }
            None => Some(self.find_made(name)?),
        };
        let key = found.as_ref().map_or(BRIDGE, |m| m.record.id.as_str());
        let entering = match &found {
            None => None,
            Some(made) => Some(self.inner.doors.enter(made)?),
        };
        if let Some(made) = &found
            && made.record.config_only
        {
            return Err(EngineError::NotPermitted(format!(
                "cannot connect to network {}: it is a configuration network",
                made.record.name
            )));
        }
        Ok(Target {
            key: key.to_owned(),
            name: found
                .as_ref()
                .map_or(BRIDGE, |m| m.record.name.as_str())
                .to_owned(),
            settings: settings.clone(),
            made: found,
            _entering: entering,
        })
    }

    /// Whether a container can be on a network with these settings.
    pub fn check(&self, name: &str, settings: &EndpointSettings) -> Result<()> {
        let target = self.target(name, settings)?;
        target.mac()?;
        target.ips().map(|_| ())
    }

    pub(super) fn net_of(&self, target: &Target) -> Result<Network> {
        match &target.made {
            None => Ok(self.inner.net.clone()),
            Some(made) => made.net.clone().ok_or_else(|| {
                EngineError::Internal(format!(
                    "the bridge of network {} can't be had: the daemon's log says why",
                    target.name
                ))
            }),
        }
    }

    /// The network of an endpoint, if it is still there.
    pub(super) fn net_by_key(&self, key: &str) -> Option<Network> {
        match key {
            BRIDGE => Some(self.inner.net.clone()),
            key => self.made().get(key)?.net.clone(),
        }
    }

    /// Connects a container that is about to start. What was made is undone by [`Networks::leave`] or, on an
    /// error, here. Another container's namespace is that container's to give.
    pub async fn enter(&self, wishes: &Wishes<'_>) -> Result<Sandbox> {
        match wishes.mode() {
            NetworkMode::Host => Ok(Sandbox::default()),
            NetworkMode::None => Ok(Sandbox {
                netns: Some(self.inner.net.isolated().await?),
                ..Sandbox::default()
            }),
            NetworkMode::Container(name) => Err(EngineError::NoSuchNetwork(name)),
            NetworkMode::Bridge | NetworkMode::Named(_) => {
                let mut sandbox = Sandbox::default();
                match self.enter_all(wishes, &mut sandbox).await {
                    Ok(()) => Ok(sandbox),
                    Err(e) => {
                        self.leave(wishes.id, &sandbox.endpoints).await;
                        Err(e)
                    }
                }
            }
        }
    }

    async fn enter_all(&self, wishes: &Wishes<'_>, sandbox: &mut Sandbox) -> Result<()> {
        let requests = ports::requests(wishes.config, wishes.host)?;
        // The network of its mode is first, and the others follow by their names.
        let first = self.settled_name(&wishes.host.network_mode);
        let mut targets = Vec::with_capacity(wishes.endpoints.len());
        for (name, settings) in wishes.endpoints {
            let target = self.target(name, settings)?;
            if *name == first {
                targets.insert(0, target);
            } else {
                targets.push(target);
            }
        }
        for target in &targets {
            let number = sandbox.endpoints.len() as u32;
            let request = request(wishes, target)?;
            let record = match &sandbox.netns {
                // One that is ready made, with its address.
                None if target.key == BRIDGE => {
                    let id = request.id.clone();
                    let endpoint = self.inner.net.connect(request).await?;
                    sandbox.netns = Some(endpoint.netns);
                    EndpointRecord {
                        id,
                        network: target.key.clone(),
                        link: 0,
                        ip: endpoint.ip,
                        prefix: endpoint.prefix,
                        gateway: Some(endpoint.gateway),
                        ipv6: endpoint.ipv6.map(Into::into),
                        mac: endpoint.mac.to_string(),
                        host_link: endpoint.host_link,
                        ports: Vec::new(),
                    }
                }
                None => {
                    let netns = self.inner.net.isolated().await?;
                    let joined = self.join(target, &netns, number, request).await;
                    sandbox.netns = Some(netns);
                    joined?
                }
                Some(netns) => self.join(target, netns, number, request).await?,
            };
            self.enter_member(wishes, &record);
            sandbox.endpoints.push(record);
        }
        let Some(netns) = &sandbox.netns else {
            sandbox.netns = Some(self.inner.net.isolated().await?);
            return Ok(());
        };
        let only_default = targets.len() == 1 && targets[0].key == BRIDGE;
        if !only_default {
            let gateways = gateways(&targets, &sandbox.endpoints);
            self.inner.net.set_gateways(clone(netns)?, gateways).await?;
        }
        if names::wanted(&sandbox.endpoints) {
            let sockets = self.name_sockets(clone(netns)?).await?;
            let held = sockets
                .try_clone()
                .map_err(EngineError::io("keeping a name server's sockets"))?;
            sandbox.holders = vec![held.udp, held.tcp];
            sandbox.names = Some(sockets);
        }
        if requests.is_empty() {
            return Ok(());
        }
        if let Some(at) = of_ports(&targets) {
            let holders = self
                .publish_ports(wishes, &targets[at], &mut sandbox.endpoints[at], requests)
                .await?;
            sandbox.holders.extend(holders);
            self.enter_member(wishes, &sandbox.endpoints[at]);
        } else {
            not_published(wishes, &targets);
        }
        Ok(())
    }

    async fn join(
        &self,
        target: &Target,
        netns: &OwnedFd,
        number: u32,
        request: EndpointRequest,
    ) -> Result<EndpointRecord> {
        let net = self.net_of(target)?;
        self.check_shared(target, &request)?;
        let id = request.id.clone();
        let (place, link) = net.join(clone(netns)?, number, request).await?;
        Ok(EndpointRecord {
            id,
            network: target.key.clone(),
            link,
            ip: place.ip,
            prefix: place.prefix,
            gateway: place.gateway,
            ipv6: place.ipv6.map(Into::into),
            mac: place.mac.map(|mac| mac.to_string()).unwrap_or_default(),
            host_link: place.host_link,
            ports: Vec::new(),
        })
    }

    /// Gives endpoints back, with what is published of them. Works on those that are gone already.
    pub async fn leave(&self, container: &ContainerId, endpoints: &[EndpointRecord]) {
        for endpoint in endpoints {
            if let Some(net) = self.net_by_key(&endpoint.network)
                && let Err(e) = net.disconnect(endpoint.ip, &endpoint.id).await
            {
                tracing::error!(ip = %endpoint.ip, error = %e, "its address is not free again");
            }
            // The network can be removed from now on.
            self.inner.members.leave(&endpoint.network, container);
        }
        self.end_names(container);
    }

    /// Connects a running container to another network. `endpoints` are what it has; `wishes` has the other's settings.
    pub async fn connect(
        &self,
        wishes: &Wishes<'_>,
        netns: OwnedFd,
        endpoints: &[EndpointRecord],
        name: &str,
    ) -> Result<Joined> {
        let none = EndpointSettings::default();
        let target = self.target(name, wishes.endpoints.get(name).unwrap_or(&none))?;
        let number = endpoints.iter().map(|e| e.link + 1).max().unwrap_or(0);
        let request = request(wishes, &target)?;
        let record = self.join(&target, &netns, number, request).await?;
        self.enter_member(wishes, &record);
        let mut all = endpoints.to_vec();
        all.push(record);
        match self.turn_way_out(wishes, &netns, &mut all).await {
            Ok(holders) => Ok(Joined {
                endpoints: all,
                holders,
            }),
            Err(e) => {
                if let Some(last) = all.pop() {
                    self.part(wishes.id, &netns, &last).await;
                }
                Err(e)
            }
        }
    }

    /// Takes a running container from a network, by its key, and gives what it has then. What can't be turned to another way
    /// out is said: the endpoint is gone.
    pub async fn disconnect(
        &self,
        wishes: &Wishes<'_>,
        netns: OwnedFd,
        endpoints: &[EndpointRecord],
        key: &str,
    ) -> Vec<EndpointRecord> {
        let (gone, mut rest): (Vec<_>, Vec<_>) =
            endpoints.iter().cloned().partition(|e| e.network == key);
        for endpoint in gone {
            // Its ports go with the way out, where there is another.
            if !endpoint.ports.is_empty()
                && let Some(heir) = rest.iter_mut().find(|e| !self.is_lan(&e.network))
                && let Some(net) = self.net_by_key(&heir.network)
            {
                match net.take_ports(endpoint.ip, heir.ip).await {
                    Ok(ports) => heir.ports = ports.iter().map(PublishedPort::new).collect(),
                    Err(e) => {
                        tracing::warn!(container = wishes.name, error = %e, "its ports are no longer published");
                    }
                }
            }
            self.part(wishes.id, &netns, &endpoint).await;
        }
        if let Err(e) = self.turn_way_out(wishes, &netns, &mut rest).await {
            tracing::warn!(container = wishes.name, error = %e, "its way out is not as it should be");
        }
        rest
    }

    /// Takes endpoints that nobody was told of from a namespace that stays.
    pub async fn part_all(
        &self,
        container: &ContainerId,
        netns: &OwnedFd,
        endpoints: &[EndpointRecord],
    ) {
        for endpoint in endpoints {
            self.part(container, netns, endpoint).await;
        }
    }

    /// Takes an endpoint from a namespace that stays.
    async fn part(&self, container: &ContainerId, netns: &OwnedFd, endpoint: &EndpointRecord) {
        if let Some(net) = self.net_by_key(&endpoint.network)
            && let Err(e) = async {
                let netns = clone(netns)?;
                let parted = net.part(netns, endpoint.link, endpoint.ip, &endpoint.id);
                Ok::<_, EngineError>(parted.await?)
            }
            .await
        {
            tracing::error!(ip = %endpoint.ip, error = %e, "its link stays");
        }
        self.inner.members.leave(&endpoint.network, container);
    }

    /// The networks that a running container is on, in the order of its endpoints.
    pub(super) fn targets(
        &self,
        wishes: &Wishes<'_>,
        endpoints: &[EndpointRecord],
    ) -> Result<Vec<Target>> {
        let mut targets = Vec::with_capacity(endpoints.len());
        for endpoint in endpoints {
            let name = self
                .name_and_driver(&endpoint.network)
                .map(|(name, _)| name);
            let name = name.unwrap_or_else(|| endpoint.network.clone());
            let none = EndpointSettings::default();
            let settings = wishes.endpoints.get(&name).unwrap_or(&none);
            targets.push(self.target(&endpoint.network, settings)?);
        }
        Ok(targets)
    }

    /// Sets the way out of a running container, and has its ports follow, or published if they are not: then there are sockets
    /// for the shim to hold.
    async fn turn_way_out(
        &self,
        wishes: &Wishes<'_>,
        netns: &OwnedFd,
        endpoints: &mut [EndpointRecord],
    ) -> Result<Vec<OwnedFd>> {
        let targets = self.targets(wishes, endpoints)?;
        let gateways = gateways(&targets, endpoints);
        self.inner.net.set_gateways(clone(netns)?, gateways).await?;
        let Some(at) = of_ports(&targets) else {
            if way_out(&targets).is_some() {
                self.unpublish_all(wishes, endpoints).await?;
            }
            return Ok(Vec::new());
        };
        match endpoints.iter().position(|e| !e.ports.is_empty()) {
            Some(from) if from == at => Ok(Vec::new()),
            Some(from) => {
                let net = self.net_of(&targets[at])?;
                let ports = net.take_ports(endpoints[from].ip, endpoints[at].ip);
                endpoints[at].ports = ports.await?.iter().map(PublishedPort::new).collect();
                endpoints[from].ports.clear();
                Ok(Vec::new())
            }
            None => {
                let requests = ports::requests(wishes.config, wishes.host)?;
                if requests.is_empty() {
                    return Ok(Vec::new());
                }
                self.publish_ports(wishes, &targets[at], &mut endpoints[at], requests)
                    .await
            }
        }
    }
}

/// What an endpoint is asked for with.
fn request(wishes: &Wishes<'_>, target: &Target) -> Result<EndpointRequest> {
    let (ip, ipv6) = target.ips()?;
    Ok(EndpointRequest {
        id: crate::id::random_hex()?,
        name: wishes.name.to_owned(),
        mac: target.mac()?,
        ip,
        ipv6,
    })
}

fn clone(netns: &OwnedFd) -> Result<OwnedFd> {
    netns
        .as_fd()
        .try_clone_to_owned()
        .map_err(EngineError::io("keeping a network namespace open"))
}
