//! Who is on which network while it runs, and under what names: what keeps a network from being removed, and what
//! its containers are told when they ask for each other.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};
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
}

/// Those of one network.
#[derive(Debug, Default)]
struct Segment {
    members: BTreeMap<ContainerId, Member>,
    /// In lower case.
    names: HashMap<String, Vec<(ContainerId, Ipv4Addr)>>,
    addresses: HashMap<Ipv4Addr, ContainerId>,
}

impl Segment {
    fn enter(&mut self, member: Member) {
        self.leave(&member.container);
        let ip = member.endpoint.ip;
        for name in &member.names {
            let holders = self.names.entry(name.to_lowercase()).or_default();
            holders.push((member.container.clone(), ip));
        }
        self.addresses.insert(ip, member.container.clone());
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
        if self.addresses.get(&member.endpoint.ip) == Some(container) {
            self.addresses.remove(&member.endpoint.ip);
        }
    }
}

/// By the networks' keys.
#[derive(Debug, Default)]
pub struct Members {
    segments: Mutex<HashMap<String, Segment>>,
}

impl Members {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Segment>> {
        self.segments.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub fn enter(&self, member: Member) {
        let network = member.endpoint.network.clone();
        self.lock().entry(network).or_default().enter(member);
    }

    pub fn leave(&self, network: &str, container: &ContainerId) {
        let mut segments = self.lock();
        if let Some(segment) = segments.get_mut(network) {
            segment.leave(container);
            if segment.members.is_empty() {
                segments.remove(network);
            }
        }
    }

    /// A container has another name: `others` are what else it is found by, of each network.
    pub fn rename(&self, container: &ContainerId, old: &str, new: &str) {
        for segment in self.lock().values_mut() {
            if let Some(mut member) = segment.members.get(container).cloned() {
                new.clone_into(&mut member.name);
                for name in &mut member.names {
                    if name == old {
                        new.clone_into(name);
                    }
                }
                segment.enter(member);
            }
        }
    }

    pub fn of(&self, network: &str) -> Vec<Member> {
        let segments = self.lock();
        let members = segments.get(network).map(|s| s.members.values());
        members.into_iter().flatten().cloned().collect()
    }

    pub fn is_empty(&self, network: &str) -> bool {
        !self.lock().contains_key(network)
    }

    /// The addresses that a name has on these networks. `None` if it is nobody's there.
    pub fn addresses(&self, networks: &[String], name: &str) -> Option<Vec<IpAddr>> {
        let segments = self.lock();
        let found: Vec<IpAddr> = networks
            .iter()
            .filter_map(|network| segments.get(network)?.names.get(name))
            .flatten()
            .map(|(_, ip)| IpAddr::V4(*ip))
            .collect();
        Some(found).filter(|found| !found.is_empty())
    }

    /// The address that a container has on these networks, the first that it is on.
    pub fn address_of(&self, networks: &[String], container: &ContainerId) -> Option<IpAddr> {
        let segments = self.lock();
        networks.iter().find_map(|network| {
            let member = segments.get(network)?.members.get(container)?;
            Some(IpAddr::V4(member.endpoint.ip))
        })
    }

    /// The name of an address on these networks, with the network's key.
    pub fn name_of(&self, networks: &[String], address: IpAddr) -> Option<(String, String)> {
        let IpAddr::V4(address) = address else {
            return None;
        };
        let segments = self.lock();
        networks.iter().find_map(|network| {
            let segment = segments.get(network)?;
            let member = segment.members.get(segment.addresses.get(&address)?)?;
            Some((member.name.clone(), network.clone()))
        })
    }
}
