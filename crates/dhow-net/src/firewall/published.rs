//! What endpoints have published: ports that come, go, change and move.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use super::Firewall;
use crate::config::GatewayMode;
use crate::endpoint::{Addresses, PortBinding, PortChange, PortRequest, Published};
use crate::error::{Doing, PortError, Result};
use crate::nft::ruleset::{BridgeRules, FamilyRules};
use crate::ports::{Routed, Spare, forwards};

impl Firewall {
    pub(super) fn publish(
        &mut self,
        endpoint: Addresses,
        name: &str,
        requests: &[PortRequest],
    ) -> Result<Published, PortError> {
        let mut change = PortChange {
            added: requests.to_vec(),
            ..PortChange::default()
        };
        self.change_ports(endpoint, name, &mut change)
    }

    /// All of it or nothing. Of what goes, only what the endpoint has is left in the change.
    pub(super) fn change_ports(
        &mut self,
        endpoint: Addresses,
        name: &str,
        change: &mut PortChange,
    ) -> Result<Published, PortError> {
        let own = HashSet::<_>::from_iter(self.ports.of(endpoint.ip));
        change.gone.retain(|binding| own.contains(binding));
        let spare = Spare {
            bindings: &change.gone,
            sockets: &change.held,
        };
        let routed = self.routed(endpoint.ip);
        let chosen = self
            .ports
            .choose(&change.added, endpoint, self.publish_ip, routed, spare)?;
        let holders = chosen
            .holders
            .finish()
            .doing(|| "cannot keep the ports bound".to_owned())
            .map_err(|error| PortError::Rules(Box::new(error)))?;
        self.exchange(endpoint, name, &change.gone, &chosen.bindings)
            .map_err(|error| PortError::Rules(Box::new(error)))?;
        Ok(Published {
            bindings: chosen.bindings,
            holders,
        })
    }

    /// Some ports of an endpoint go, and others come. When it fails, all is as it was.
    pub(super) fn exchange(
        &mut self,
        endpoint: Addresses,
        name: &str,
        gone: &[PortBinding],
        come: &[PortBinding],
    ) -> Result<()> {
        let before = forwards(endpoint, &self.ports.of(endpoint.ip));
        self.ports.leave(endpoint.ip, gone);
        self.ports.enter(endpoint, name, come);
        let after = forwards(endpoint, &self.ports.of(endpoint.ip));
        if let Err(error) = self.change(&before, &after) {
            self.ports.leave(endpoint.ip, come);
            self.ports.enter(endpoint, name, gone);
            return Err(error);
        }
        self.forget_flows(endpoint, gone, false);
        self.forget_flows(endpoint, come, true);
        Ok(())
    }

    pub(super) fn unpublish(
        &mut self,
        endpoint: Ipv4Addr,
        bindings: Option<&[PortBinding]>,
    ) -> Result<()> {
        let own = self.ports.of(endpoint);
        let addresses = self.ports.addresses(endpoint);
        let gone: Vec<PortBinding> = match bindings {
            None => own.clone(),
            Some(bindings) => {
                let own: HashSet<_> = own.iter().collect();
                let of_it = bindings.iter().filter(|binding| own.contains(binding));
                of_it.copied().collect()
            }
        };
        if gone.is_empty() {
            return Ok(());
        }
        self.ports.leave(endpoint, &gone);
        let after = forwards(addresses, &self.ports.of(endpoint));
        self.change(&forwards(addresses, &own), &after)?;
        self.forget_flows(addresses, &gone, false);
        Ok(())
    }

    /// By the network that an endpoint is on.
    fn routed(&self, endpoint: Ipv4Addr) -> Routed {
        let of = |bridge: &&BridgeRules| bridge.subnet.contains(&endpoint);
        let bridge = self.bridges.iter().filter(of);
        let nearest = bridge.max_by_key(|bridge| bridge.subnet.prefix_len());
        let is_routed = |family: FamilyRules| family.mode == GatewayMode::Routed;
        nearest.map_or(Routed::default(), |bridge| Routed {
            ip: is_routed(bridge.ip),
            ipv6: is_routed(bridge.ip6),
        })
    }

    /// Gives what the heir has then. What its network translates and the other's does not, or the other way round, is no more.
    pub(super) fn move_ports(
        &mut self,
        from: Ipv4Addr,
        to: Addresses,
        name: &str,
    ) -> Result<Vec<PortBinding>> {
        let moved = self.ports.of(from);
        let (from, own) = (self.ports.addresses(from), self.ports.of(to.ip));
        let mut before = forwards(from, &moved);
        before.extend(forwards(to, &own));
        self.ports.leave(from.ip, &moved);
        let routed = self.routed(to.ip);
        let taken: Vec<PortBinding> = moved
            .iter()
            .filter(|binding| to.behind(binding.host_ip).is_some())
            .filter(|binding| routed.has(binding.host_ip) == (binding.host_port == 0))
            .copied()
            .collect();
        self.ports.enter(to, name, &taken);
        let now = self.ports.of(to.ip);
        self.change(&before, &forwards(to, &now))?;
        self.forget_flows(from, &moved, false);
        Ok(now)
    }
}
