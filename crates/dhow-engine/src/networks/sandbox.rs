//! A container's places in networks: the namespace that it has, its endpoints there, the way out, and its published
//! ports.
//!
//! One endpoint is the way out: the container's default route leads to its network's gateway, and its ports are published
//! for its address.

use std::os::fd::{AsFd, OwnedFd};

use dhow_api::EndpointSettings;
use dhow_net::dns::Sockets;
use dhow_net::{EndpointRequest, LinkWishes, Network};

use super::endpoint::{EndpointRecord, PublishedPort};
use super::publish::not_published;
use super::target::Target;
use super::ways::{gateways, of_ports, way_out};
use super::{BRIDGE, NetworkMode, Networks, Wishes, ports};
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

/// What a running container has of the networks after one was added.
pub struct Joined {
    pub endpoints: Vec<EndpointRecord>,
    /// Sockets for the shim to hold beside those that it holds.
    pub holders: Vec<OwnedFd>,
}

impl Networks {
    /// Whether a container can be on a network with these settings.
    pub fn check(&self, name: &str, settings: &EndpointSettings) -> Result<()> {
        let target = self.target(name, settings)?;
        target.mac()?;
        target.link_name()?;
        target.link_wishes()?;
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
            let number = next_link(&sandbox.endpoints);
            let request = request(wishes, target)?;
            let record = match &sandbox.netns {
                // One that is ready made, with its address.
                None if target.key == BRIDGE && request.link.is_none() => {
                    let id = request.id.clone();
                    let endpoint = self.inner.net.connect(request).await?;
                    sandbox.netns = Some(endpoint.netns);
                    EndpointRecord {
                        id,
                        network: target.key.clone(),
                        link: 0,
                        chosen_link: None,
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
            if let (Some(netns), Some(record)) = (&sandbox.netns, sandbox.endpoints.last()) {
                self.adapt_link(target, netns, record).await?;
            }
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
        if self.wants_names(&sandbox.endpoints) {
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

    async fn adapt_link(
        &self,
        target: &Target,
        netns: &OwnedFd,
        record: &EndpointRecord,
    ) -> Result<()> {
        let wishes = target.link_wishes()?;
        if wishes == LinkWishes::default() {
            return Ok(());
        }
        let net = &self.inner.net;
        Ok(net.adapt(clone(netns)?, record.link_name(), wishes).await?)
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
        let (id, chosen_link) = (request.id.clone(), request.link.clone());
        let (place, link) = net.join(clone(netns)?, number, request).await?;
        Ok(EndpointRecord {
            id,
            network: target.key.clone(),
            link,
            chosen_link,
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
        let number = next_link(endpoints);
        let request = request(wishes, &target)?;
        let record = self.join(&target, &netns, number, request).await?;
        self.enter_member(wishes, &record);
        let added = self.adapt_link(&target, &netns, &record).await;
        let mut all = endpoints.to_vec();
        all.push(record);
        let turned = match added {
            Ok(()) => self.turn_way_out(wishes, &netns, &mut all).await,
            Err(e) => Err(e),
        };
        match turned {
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

    /// Takes a running container from a network, by its key, and gives what it has then, with sockets for the shim to hold. What
    /// can't be turned to another way out is said: the endpoint is gone.
    pub async fn disconnect(
        &self,
        wishes: &Wishes<'_>,
        netns: OwnedFd,
        endpoints: &[EndpointRecord],
        key: &str,
    ) -> Joined {
        let (gone, mut rest): (Vec<_>, Vec<_>) =
            endpoints.iter().cloned().partition(|e| e.network == key);
        for endpoint in gone {
            // Its ports go with the way out, where there is another.
            if !endpoint.ports.is_empty()
                && let Some(heir) = rest.iter_mut().find(|e| !self.is_lan(&e.network))
                && self.modes(&heir.network) == self.modes(key)
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
        let holders = match self.turn_way_out(wishes, &netns, &mut rest).await {
            Ok(holders) => holders,
            Err(e) => {
                tracing::warn!(container = wishes.name, error = %e, "its way out is not as it should be");
                Vec::new()
            }
        };
        Joined {
            endpoints: rest,
            holders,
        }
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
                let parted = net.part(netns, endpoint.link_name(), endpoint.ip, &endpoint.id);
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
            Some(from) if self.modes(&targets[from].key) != self.modes(&targets[at].key) => {
                self.publish_elsewhere(wishes, &targets, endpoints, (from, at))
                    .await
            }
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
        link: target.link_name()?,
    })
}

/// The number of the next link that has one in its name.
fn next_link(endpoints: &[EndpointRecord]) -> u32 {
    let numbered = endpoints.iter().filter(|e| e.chosen_link.is_none());
    numbered.map(|e| e.link + 1).max().unwrap_or(0)
}

fn clone(netns: &OwnedFd) -> Result<OwnedFd> {
    netns
        .as_fd()
        .try_clone_to_owned()
        .map_err(EngineError::io("keeping a network namespace open"))
}
