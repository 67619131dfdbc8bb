//! Publishing a container's ports at its way out, from its start or while it runs.

use std::os::fd::OwnedFd;

use dhow_net::held::HostPort;
use dhow_net::{Error, GatewayMode, PortBinding, PortChange, PortError, PortRequest};

use super::endpoint::{EndpointRecord, PublishedPort};
use super::options::{self, host_binding};
use super::port_changes::Change;
use super::target::Target;
use super::ways::{of_ports, way_out};
use super::{BRIDGE, Networks, Wishes, ports};
use crate::error::{EngineError, Result};

/// Other ports of a running container, which nobody knows of yet.
pub struct ChangedPorts {
    /// All endpoints as they are now.
    pub endpoints: Vec<EndpointRecord>,
    /// Sockets for the shim to hold beside those that it holds.
    pub holders: Vec<OwnedFd>,
    /// Which of the endpoints has the ports.
    at: usize,
    gone: Vec<PortBinding>,
    added: Vec<PortBinding>,
}

impl Networks {
    pub(super) async fn publish_ports(
        &self,
        wishes: &Wishes<'_>,
        target: &Target,
        record: &mut EndpointRecord,
        mut requests: Vec<PortRequest>,
    ) -> Result<Vec<OwnedFd>> {
        default_address(target, &mut requests)?;
        match self.net_of(target)?.publish(record.ip, &requests).await {
            Ok(published) => {
                record.ports = published.bindings.iter().map(PublishedPort::new).collect();
                Ok(published.holders)
            }
            Err(e) => {
                tracing::info!(container = wishes.name, error = ?e, "its ports can't be published");
                Err(e.into())
            }
        }
    }

    /// A running container's ports are published no more: its way out is on a wire of the host's now.
    pub(super) async fn unpublish_all(
        &self,
        wishes: &Wishes<'_>,
        endpoints: &mut [EndpointRecord],
    ) -> Result<()> {
        for endpoint in endpoints.iter_mut().filter(|e| !e.ports.is_empty()) {
            if let Some(net) = self.net_by_key(&endpoint.network) {
                net.unpublish(endpoint.ip, &endpoint.bindings()).await?;
            }
            endpoint.ports.clear();
            self.enter_member(wishes, endpoint);
        }
        Ok(())
    }

    /// Of IPv4 and IPv6. What is published on a network is another's as it is where both are translated, or neither is.
    pub(super) fn modes(&self, key: &str) -> [GatewayMode; 2] {
        let made = self.made();
        made.get(key)
            .map(|made| options::modes(&made.record))
            .unwrap_or_default()
    }

    /// What was published by one endpoint is published anew by another, in the way of that one's network.
    pub(super) async fn publish_elsewhere(
        &self,
        wishes: &Wishes<'_>,
        targets: &[Target],
        endpoints: &mut [EndpointRecord],
        (from, to): (usize, usize),
    ) -> Result<Vec<OwnedFd>> {
        let before = endpoints[from].clone();
        self.net_of(&targets[from])?
            .unpublish(before.ip, &before.bindings())
            .await?;
        endpoints[from].ports.clear();
        let requests = || ports::requests(wishes.config, wishes.host);
        let published = self
            .publish_ports(wishes, &targets[to], &mut endpoints[to], requests()?)
            .await;
        if published.is_err()
            && let Err(e) = self
                .publish_ports(wishes, &targets[from], &mut endpoints[from], requests()?)
                .await
        {
            tracing::error!(container = wishes.name, error = %e, "its ports are no longer published");
        }
        published
    }

    /// Whether a port that names no address would be published in both families, of a container on networks of these names.
    pub fn has_both_families<'a>(&self, mut names: impl Iterator<Item = &'a String>) -> bool {
        names.any(|name| match self.predefined(name) {
            Some(BRIDGE) => self.inner.bridge.ipv6.is_some(),
            Some(_) => false,
            None => self
                .find_made(name)
                .is_ok_and(|made| made.subnets().iter().any(|net| net.addr().is_ipv6())),
        })
    }

    /// Changes what a running container has published; `held` are sockets of what goes. `None` where nothing is published: it has
    /// no way out.
    pub async fn change_ports(
        &self,
        wishes: &Wishes<'_>,
        endpoints: &[EndpointRecord],
        change: Change,
        held: Vec<(HostPort, OwnedFd)>,
    ) -> Result<Option<ChangedPorts>> {
        let targets = self.targets(wishes, endpoints)?;
        let has_ports = endpoints.iter().position(|e| !e.ports.is_empty());
        let Some(at) = has_ports.or_else(|| of_ports(&targets)) else {
            return Ok(None);
        };
        let mut added = change.added;
        default_address(&targets[at], &mut added)?;
        let mut endpoints = endpoints.to_vec();
        let record = &mut endpoints[at];
        let gone: Vec<PortBinding> = change
            .gone
            .iter()
            .filter_map(PublishedPort::binding)
            .collect();
        let wanted = PortChange {
            gone: gone.clone(),
            added,
            held,
        };
        let net = self.net_of(&targets[at])?;
        let published = net.change_ports(record.ip, &record.id, wanted).await;
        let published = published.map_err(|e| {
            tracing::info!(container = wishes.name, error = ?e, "its ports can't be changed");
            match e {
                // At a start it is what was asked for long before; here it is this very request's fault.
                Error::Publish {
                    cause: cause @ (PortError::Ipv6(_) | PortError::InvalidPort),
                    ..
                } => EngineError::invalid(cause.to_string()),
                e => e.into(),
            }
        })?;
        record.ports.retain(|port| !change.gone.contains(port));
        let new = published.bindings.iter().map(PublishedPort::new);
        record.ports.extend(new);
        record
            .ports
            .sort_by_key(|p| (p.container_port, p.protocol.clone()));
        self.enter_member(wishes, record);
        Ok(Some(ChangedPorts {
            endpoints,
            holders: published.holders,
            at,
            gone,
            added: published.bindings,
        }))
    }

    /// Takes a change back that nobody was told of, while what has gone is still held. `before` are the endpoints as they were.
    pub async fn change_ports_back(
        &self,
        wishes: &Wishes<'_>,
        before: &[EndpointRecord],
        changed: ChangedPorts,
    ) {
        let Some(record) = before.get(changed.at) else {
            return;
        };
        let Some(net) = self.net_by_key(&record.network) else {
            return;
        };
        let (gone, back) = (changed.added, changed.gone);
        match net
            .change_ports_back(record.ip, &record.id, gone, back)
            .await
        {
            Ok(()) => self.enter_member(wishes, record),
            // Where it has ended, all of them are gone.
            Err(Error::UnknownEndpoint(_)) => {
                self.inner.members.leave(&record.network, wishes.id);
            }
            Err(e) => {
                tracing::error!(container = wishes.name, error = %e, "a change of its ports is not taken back");
            }
        }
    }
}

/// Says why the ports of a container that starts are not published.
pub(super) fn not_published(wishes: &Wishes<'_>, targets: &[Target]) {
    if let Some(at) = way_out(targets) {
        let network = &targets[at].name;
        tracing::warn!(
            container = wishes.name,
            network,
            "its driver does not support port mappings: whoever reaches its wire asks the container itself"
        );
    }
}

/// Where the network says so, what names no address is published on its own.
fn default_address(target: &Target, requests: &mut [PortRequest]) -> Result<()> {
    let own = target.made.as_ref().map(|m| host_binding(&m.record));
    if let Some(ip) = own.transpose()? {
        for request in requests {
            request.host_ip = request.host_ip.or(ip);
        }
    }
    Ok(())
}
