//! What a change of published ports makes of a definition, and of what a running container has published.
//!
//! An entry of a definition and a published port are two things: an entry without an address can be published in both families,
//! one without a port on any that was free. A removal names what a user sees, and finds both.

mod removal;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dhow_api::{ContainerConfig, Empty, HostConfig, PortBinding, PortMap};
use dhow_net::{PortRequest, Protocol};

use super::PublishedPort;
use super::ports::{parse_host_ip, parse_host_ports, parse_port};
use crate::error::{EngineError, Result};
use removal::{removals, within};

/// What a change does to a container that runs.
#[derive(Debug, Default, PartialEq)]
pub struct Change {
    pub gone: Vec<PublishedPort>,
    pub added: Vec<PortRequest>,
}

impl Change {
    pub fn is_empty(&self) -> bool {
        self.gone.is_empty() && self.added.is_empty()
    }
}

/// What is published of a container.
#[derive(Clone, Copy)]
pub enum Now<'a> {
    /// It runs, and has this.
    Published(&'a [PublishedPort]),
    /// It does not run; whether an entry without an address will be published in both families.
    Idle { both_families: bool },
}

/// One entry of a definition.
struct Entry {
    /// As the definition has it, or would.
    key: String,
    binding: PortBinding,
    request: PortRequest,
    /// It is not in the definition: all exposed ports are published.
    is_automatic: bool,
    /// What of it is published, or will be.
    published: Vec<PublishedPort>,
    gone: bool,
}

/// Changes a definition. A key of `remove` that is a protocol alone is about every port of it, and one without bindings about
/// all bindings of its port.
pub fn plan(
    config: &mut ContainerConfig,
    host: &mut HostConfig,
    now: Now<'_>,
    add: &PortMap,
    remove: &PortMap,
) -> Result<Change> {
    let mut entries = entries(config, host)?;
    let mut change = Change::default();
    let mut orphans = assign(&mut entries, now);
    let mut removed = Vec::new();
    let by_port = by_port(&entries);
    let all: Vec<usize> = (0..entries.len()).collect();
    for removal in removals(remove)? {
        let mut found = false;
        let of_port = match removal.container_port {
            Some(port) => by_port.get(&(port, removal.protocol)).map(Vec::as_slice),
            None => Some(all.as_slice()),
        };
        for &at in of_port.unwrap_or_default() {
            let entry = &mut entries[at];
            if entry.published.is_empty() {
                let is_meant = removal.means(&entry.request);
                entry.gone |= is_meant;
                found |= is_meant;
            }
            for port in entry.published.iter().filter(|port| removal.hits(port)) {
                found = true;
                removed.push((at, port.clone()));
            }
        }
        // What no entry speaks of.
        let hit = |port: &PublishedPort| removal.hits(port);
        found |= orphans.iter().any(hit) || change.gone.iter().any(hit);
        change
            .gone
            .extend(orphans.extract_if(.., |port| removal.hits(port)));
        if !found {
            return Err(EngineError::Refused(format!("{removal} is not published")));
        }
    }
    let mut turned = false;
    for (at, port) in removed {
        let entry = &mut entries[at];
        let before = entry.published.len();
        entry.published.retain(|own| *own != port);
        if entry.published.len() == before {
            continue;
        }
        turned |= entry.is_automatic;
        match entry.published.first() {
            None => entry.gone = true,
            Some(rest) => entry.binding.host_ip = rest.host_ip.to_string(),
        }
        if let Now::Published(_) = now {
            change.gone.push(port);
        }
    }
    entries.retain(|entry| !entry.gone);
    let mut by_port = self::by_port(&entries);
    let mut by_host_port: HashMap<(u16, Protocol), Vec<usize>> = HashMap::new();
    for (at, entry) in entries.iter().enumerate() {
        if let Some(key) = entry.host_port() {
            by_host_port.entry(key).or_default().push(at);
        }
    }
    let exposed = config.exposed_ports.keys();
    let exposed: HashSet<_> = exposed.filter_map(|text| parse_port(text).ok()).collect();
    for (port, bindings) in add {
        let (number, protocol) = parse_port(port)?;
        let key = format!("{number}/{}", protocol.name());
        let of_port = by_port.entry((number, protocol)).or_default();
        let key = match of_port.first() {
            Some(at) => {
                turned |= entries[*at].is_automatic;
                entries[*at].key.clone()
            }
            None => key,
        };
        let any = [PortBinding::default()];
        let bindings = match bindings.as_deref() {
            None | Some([]) => any.as_slice(),
            Some(bindings) => bindings,
        };
        for binding in bindings {
            let entry = Entry::read(&key, binding, false)?;
            if let Some(key) = entry.host_port() {
                let same = by_host_port.entry(key).or_default();
                if same.iter().any(|at| entries[*at].clashes(&entry)) {
                    return Err(EngineError::Refused(format!(
                        "port {}/{} of the host is published by this container already",
                        key.0,
                        protocol.name()
                    )));
                }
                same.push(entries.len());
            }
            of_port.push(entries.len());
            change.added.push(entry.request.clone());
            entries.push(entry);
        }
        if !exposed.contains(&(number, protocol)) {
            config.exposed_ports.insert(key, Empty {});
        }
    }
    change.added.sort_by_key(|r| (r.container_port, r.protocol));
    // One automatic entry that is no more, or is another: from now on all of them are entries like others.
    host.publish_all_ports &= !turned;
    let all = host.publish_all_ports;
    let mut bindings: PortMap = BTreeMap::new();
    // A port that is said to have no bindings stays so.
    let none = host.port_bindings.take().unwrap_or_default().into_iter();
    bindings.extend(none.filter(|(_, b)| b.as_ref().is_none_or(Vec::is_empty)));
    for entry in entries.into_iter().filter(|e| !(all && e.is_automatic)) {
        let of_port = bindings.entry(entry.key).or_default();
        of_port.get_or_insert_default().push(entry.binding);
    }
    host.port_bindings = Some(bindings);
    Ok(change)
}

/// Those of a definition, also those that it has without saying so.
fn entries(config: &ContainerConfig, host: &HostConfig) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for (key, bindings) in host.port_bindings.iter().flatten() {
        for binding in bindings.iter().flatten() {
            entries.push(Entry::read(key, binding, false)?);
        }
    }
    if host.publish_all_ports {
        let mut said: HashSet<_> = entries.iter().map(Entry::port).collect();
        for key in config.exposed_ports.keys() {
            let entry = Entry::read(key, &PortBinding::default(), true)?;
            if said.insert(entry.port()) {
                entries.push(entry);
            }
        }
    }
    Ok(entries)
}

/// Which of the entries are about each port of the container.
fn by_port(entries: &[Entry]) -> HashMap<(u16, Protocol), Vec<usize>> {
    let mut by_port: HashMap<_, Vec<usize>> = HashMap::new();
    for (at, entry) in entries.iter().enumerate() {
        by_port.entry(entry.port()).or_default().push(at);
    }
    by_port
}

/// Says of each entry what of it is published, or will be. Gives what none of them speaks of.
fn assign(entries: &mut [Entry], now: Now<'_>) -> Vec<PublishedPort> {
    let published = match now {
        Now::Idle { both_families } => {
            for entry in entries {
                entry.published = entry.foreseen(both_families);
            }
            return Vec::new();
        }
        Now::Published(published) => published,
    };
    // By port of the container.
    let mut rest: BTreeMap<(u16, String), Vec<PublishedPort>> = BTreeMap::new();
    for port in published {
        let key = (port.container_port, port.protocol.clone());
        rest.entry(key).or_default().push(port.clone());
    }
    // What says most has the first choice.
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by_key(|at| {
        let request = &entries[*at].request;
        let width = request
            .host_ports
            .map_or(u32::MAX, |(first, last)| u32::from(last) - u32::from(first));
        (width, request.host_ip.is_none())
    });
    for at in order {
        let entry = &mut entries[at];
        let (number, protocol) = entry.port();
        let Some(rest) = rest.get_mut(&(number, protocol.name().to_owned())) else {
            continue;
        };
        let Some(first) = rest.iter().position(|port| entry.may_be(port)) else {
            continue;
        };
        let first = rest.remove(first);
        let twin = rest.iter().position(|port| {
            entry.request.host_ip.is_none()
                && entry.may_be(port)
                && (port.host_port == first.host_port
                    || port.host_port == 0
                    || first.host_port == 0)
                && port.host_ip.is_unspecified()
                && first.host_ip.is_unspecified()
                && port.host_ip.is_ipv4() != first.host_ip.is_ipv4()
        });
        entry.published.push(first);
        entry.published.extend(twin.map(|at| rest.remove(at)));
    }
    rest.into_values().flatten().collect()
}

impl Entry {
    fn read(key: &str, binding: &PortBinding, is_automatic: bool) -> Result<Entry> {
        let (container_port, protocol) = parse_port(key)?;
        Ok(Entry {
            key: key.to_owned(),
            binding: binding.clone(),
            request: PortRequest {
                protocol,
                container_port,
                host_ip: parse_host_ip(&binding.host_ip)?,
                host_ports: parse_host_ports(&binding.host_port)?,
            },
            is_automatic,
            published: Vec::new(),
            gone: false,
        })
    }

    /// The container's.
    fn port(&self) -> (u16, Protocol) {
        (self.request.container_port, self.request.protocol)
    }

    fn may_be(&self, port: &PublishedPort) -> bool {
        let request = &self.request;
        // What is reached at the container's own address has nothing of the host's but the family.
        let routed = port.host_port == 0;
        let same =
            |ip: IpAddr| ip == port.host_ip || (routed && ip.is_ipv4() == port.host_ip.is_ipv4());
        port.container_port == request.container_port
            && port.protocol == request.protocol.name()
            && request.host_ip.is_none_or(same)
            && (routed || within(request.host_ports, port.host_port))
    }

    /// What will be published of it, as far as that can be known.
    fn foreseen(&self, both_families: bool) -> Vec<PublishedPort> {
        let request = &self.request;
        let host_port = match request.host_ports {
            Some((first, last)) if first == last => first,
            _ => return Vec::new(),
        };
        let ips = match request.host_ip {
            Some(ip) => vec![ip],
            None if both_families => {
                vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]
            }
            None => vec![Ipv4Addr::UNSPECIFIED.into()],
        };
        let published = |host_ip| PublishedPort {
            protocol: request.protocol.name().to_owned(),
            container_port: request.container_port,
            host_ip,
            host_port,
        };
        ips.into_iter().map(published).collect()
    }

    /// The only port of the host's that it can have.
    fn host_port(&self) -> Option<(u16, Protocol)> {
        let (first, last) = self.request.host_ports?;
        (first == last).then_some((first, self.request.protocol))
    }

    /// Whether two that want one port can't have it at the same time, whatever the defaults are.
    fn clashes(&self, other: &Entry) -> bool {
        match (self.request.host_ip, other.request.host_ip) {
            (None, None) => true,
            (Some(a), Some(b)) => {
                a == b || a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified())
            }
            _ => false,
        }
    }
}
