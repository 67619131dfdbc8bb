//! Who is on which network while it runs, and under what names: what keeps a network from being removed, and what
//! its containers are told when they ask for each other.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard};

use super::EndpointRecord;
use crate::id::ContainerId;

/// A container on a network.
#[derive(Clone, Debug)]
pub struct Member {
    pub container: ContainerId,
    /// The container's name.
    pub name: String,
    pub endpoint: EndpointRecord,
    /// What others on the network find it by.
    pub names: Vec<String>,
    /// What it alone calls others, in lower case, and what these are called there.
    pub links: BTreeMap<String, String>,
}

/// Those of one network.
#[derive(Debug, Default)]
struct Segment {
    members: BTreeMap<ContainerId, Member>,
    /// In lower case.
    names: HashMap<String, Vec<(ContainerId, IpAddr)>>,
    addresses: HashMap<IpAddr, ContainerId>,
}

impl Segment {
    fn enter(&mut self, member: Member) {
        self.leave(&member.container);
        for name in &member.names {
            let holders = self.names.entry(name.to_lowercase()).or_default();
            let ips = member.endpoint.addresses();
            holders.extend(ips.map(|ip| (member.container.clone(), ip)));
        }
        for ip in member.endpoint.addresses() {
            self.addresses.insert(ip, member.container.clone());
        }
        self.members.insert(member.container.clone(), member);
    }

    fn leave(&mut self, container: &ContainerId) {
        let Some(member) = self.members.remove(container) else {
            return;
        };
        for name in &member.names {
            let name = name.to_lowercase();
            if let Some(holders) = self.names.get_mut(&name) {
                holders.retain(|(holder, _)| holder != container);
                if holders.is_empty() {
                    self.names.remove(&name);
                }
            }
        }
        for ip in member.endpoint.addresses() {
            if self.addresses.get(&ip) == Some(container) {
                self.addresses.remove(&ip);
            }
        }
    }
}

#[derive(Debug, Default)]
struct Table {
    /// By the networks' keys.
    segments: HashMap<String, Segment>,
    /// The networks that each container is on, in the order in which it came to them: the first is its mode's.
    on: HashMap<ContainerId, Vec<String>>,
}

#[derive(Debug, Default)]
pub struct Members {
    table: Mutex<Table>,
}

impl Members {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub fn enter(&self, member: Member) {
        let mut table = self.lock();
        let network = member.endpoint.network.clone();
        let on = table.on.entry(member.container.clone()).or_default();
        if !on.contains(&network) {
            on.push(network.clone());
        }
        table.segments.entry(network).or_default().enter(member);
    }

    pub fn leave(&self, network: &str, container: &ContainerId) {
        let mut table = self.lock();
        if let Some(segment) = table.segments.get_mut(network) {
            segment.leave(container);
            if segment.members.is_empty() {
                table.segments.remove(network);
            }
        }
        if let Some(on) = table.on.get_mut(container) {
            on.retain(|key| key != network);
            if on.is_empty() {
                table.on.remove(container);
            }
        }
    }

    pub fn of(&self, network: &str) -> Vec<Member> {
        let table = self.lock();
        let members = table.segments.get(network).map(|s| s.members.values());
        members.into_iter().flatten().cloned().collect()
    }

    pub fn is_empty(&self, network: &str) -> bool {
        !self.lock().segments.contains_key(network)
    }

    /// The keys of the networks that a container is on, in order.
    pub fn networks_of(&self, container: &ContainerId) -> Vec<String> {
        let table = self.lock();
        let on = table.on.get(container);
        on.into_iter().flatten().cloned().collect()
    }

    /// The addresses that a name has on one network, as a container finds it there. `None` if it is nobody's.
    pub fn addresses(
        &self,
        network: &str,
        asked_by: &ContainerId,
        name: &str,
    ) -> Option<Vec<IpAddr>> {
        let table = self.lock();
        let segment = table.segments.get(network)?;
        let own = segment.members.get(asked_by)?;
        let name = own.links.get(name).map_or(name, String::as_str);
        let holders = segment.names.get(name)?;
        Some(holders.iter().map(|(_, ip)| *ip).collect())
    }

    /// The name of whoever has an address on a network.
    pub fn name_of(&self, network: &str, address: IpAddr) -> Option<String> {
        let table = self.lock();
        let segment = table.segments.get(network)?;
        let member = segment.members.get(segment.addresses.get(&address)?)?;
        Some(member.name.clone())
    }
}
