//! The host ports that containers have: which are taken, by whom, and which one a request gets.
//!
//! Invariant: a port of an address and protocol belongs to one endpoint at most; the unspecified address is every address.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use crate::endpoint::{Addresses, PortBinding, PortRequest, Protocol};
use crate::error::{BindError, PortError, PortRange};
use crate::held::{Holders, HostPort};
use crate::hold::hold;
use crate::nft::ruleset::Forward;

/// Where the kernel takes ports from for whoever doesn't care, and so do we; with the kernel's default.
const EPHEMERAL_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
const EPHEMERAL_DEFAULT: (u16, u16) = (32768, 60999);

/// An endpoint with published ports.
#[derive(Clone, Debug, Default)]
pub(crate) struct Owner {
    pub name: String,
    pub ipv6: Option<Ipv6Addr>,
    pub bindings: Vec<PortBinding>,
}

#[derive(Debug, Default)]
pub(crate) struct Ports {
    owners: HashMap<Ipv4Addr, Owner>,
    /// Addresses of the host and the endpoint behind each, by port.
    taken: HashMap<(Protocol, u16), Vec<(IpAddr, Ipv4Addr)>>,
    /// The ephemeral port given last.
    last: Option<u16>,
}

/// Ports that were chosen, with their sockets, not yet entered.
#[derive(Debug, Default)]
pub(crate) struct Chosen {
    pub bindings: Vec<PortBinding>,
    pub holders: Holders,
    /// Addresses of the host, by port.
    taken: HashMap<(Protocol, u16), Vec<IpAddr>>,
}

/// Ports of an endpoint that go as others are chosen: it may have them again.
#[derive(Clone, Copy, Default)]
pub(crate) struct Spare<'a> {
    pub bindings: &'a [PortBinding],
    /// What holds them. Somebody keeps duplicates for as long as they are wanted.
    pub sockets: &'a [(HostPort, OwnedFd)],
}

/// The families in which ports of the host lead nowhere: those of an endpoint are reached at its own address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Routed {
    pub ip: bool,
    pub ipv6: bool,
}

impl Routed {
    pub fn has(self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(_) => self.ip,
            IpAddr::V6(_) => self.ipv6,
        }
    }
}

impl Spare<'_> {
    fn has(&self, port: HostPort) -> bool {
        self.bindings.iter().any(|own| HostPort::from(own) == port)
    }

    fn holds(&self, port: HostPort) -> bool {
        self.sockets.iter().any(|(own, _)| *own == port)
    }

    /// Those that are in the way of binding it.
    fn beside(&self, port: HostPort) -> Vec<&OwnedFd> {
        let clashes = |own: &HostPort| {
            own.protocol == port.protocol && own.port == port.port && clash(own.ip, port.ip)
        };
        let all = self.sockets.iter().filter(|(own, _)| clashes(own));
        all.map(|(_, fd)| fd).collect()
    }
}

impl Ports {
    /// The endpoint that has the port, or a port that a request for this one would clash with.
    fn holder(&self, wanted: HostPort, spare: Spare<'_>) -> Option<Ipv4Addr> {
        let is_spare = |ip: IpAddr| spare.has(HostPort { ip, ..wanted });
        self.taken
            .get(&(wanted.protocol, wanted.port))?
            .iter()
            .find(|(ip, _)| clash(*ip, wanted.ip) && !is_spare(*ip))
            .map(|(_, container)| *container)
    }

    fn holder_name(&self, container: Ipv4Addr) -> String {
        self.owners
            .get(&container)
            .map(|owner| owner.name.clone())
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| container.to_string())
    }

    /// Chooses a port for every request and binds it, or none at all.
    pub fn choose(
        &mut self,
        requests: &[PortRequest],
        endpoint: Addresses,
        default_ip: Ipv4Addr,
        routed: Routed,
        spare: Spare<'_>,
    ) -> Result<Chosen, PortError> {
        let mut chosen = Chosen::default();
        for request in requests {
            let all_ips = host_ips(request, endpoint, default_ip)?;
            if request.container_port == 0 {
                return Err(PortError::InvalidPort);
            }
            let (routed_ips, host_ips): (Vec<_>, _) =
                all_ips.into_iter().partition(|ip| routed.has(*ip));
            for ip in routed_ips {
                let binding = at_own_address(request, ip);
                let had = self.of(endpoint.ip).contains(&binding);
                if !(chosen.bindings.contains(&binding)
                    || had && !spare.bindings.contains(&binding))
                {
                    chosen.bindings.push(binding);
                }
            }
            if host_ips.is_empty() {
                continue;
            }
            let host_port = match request.host_ports {
                None | Some((0, 0)) => {
                    self.ephemeral(request.protocol, &host_ips, spare, &mut chosen)?
                }
                Some((first, last)) if first > last => {
                    return Err(PortError::InvalidRange(PortRange(first, last)));
                }
                Some((0, _)) => return Err(PortError::InvalidPort),
                Some(ports) => {
                    self.first_free(request.protocol, &host_ips, ports, spare, &mut chosen)?
                }
            };
            let binding = |host_ip| PortBinding {
                protocol: request.protocol,
                container_port: request.container_port,
                host_ip,
                host_port,
            };
            let key = (request.protocol, host_port);
            let taken = chosen.taken.entry(key).or_default();
            taken.extend_from_slice(&host_ips);
            chosen.bindings.extend(host_ips.into_iter().map(binding));
        }
        Ok(chosen)
    }

    /// Tries the ports in order; of those that can't be had, the last one's reason is the error.
    fn first_free(
        &self,
        protocol: Protocol,
        host_ips: &[IpAddr],
        (first, last): (u16, u16),
        spare: Spare<'_>,
        chosen: &mut Chosen,
    ) -> Result<u16, PortError> {
        let ports = PortRange(first, last);
        let mut failure = None;
        for port in first..=last {
            let held = host_ips
                .iter()
                .map(|ip| HostPort {
                    protocol,
                    ip: *ip,
                    port,
                })
                .find_map(|wanted| Some((wanted.ip, self.holder(wanted, spare)?)));
            if let Some((host_ip, container)) = held {
                failure = Some(PortError::Allocated {
                    host_ip,
                    ports,
                    holder: self.holder_name(container),
                });
                continue;
            }
            match take(protocol, host_ips, port, spare, chosen) {
                Ok(()) => return Ok(port),
                Err((host_ip, error)) => {
                    let in_use = error.kind() == io::ErrorKind::AddrInUse;
                    failure = Some(PortError::Bind {
                        host_ip,
                        ports,
                        protocol,
                        source: BindError(error),
                    });
                    if !in_use {
                        break;
                    }
                }
            }
        }
        Err(failure.unwrap_or(PortError::InvalidRange(ports)))
    }

    /// The next free port after the one given last.
    fn ephemeral(
        &mut self,
        protocol: Protocol,
        host_ips: &[IpAddr],
        spare: Spare<'_>,
        chosen: &mut Chosen,
    ) -> Result<u16, PortError> {
        let (low, high) = ephemeral_range();
        let start = self
            .last
            .and_then(|last| last.checked_add(1))
            .filter(|next| (low..=high).contains(next))
            .unwrap_or(low);
        for port in (start..=high).chain(low..start) {
            let held = |ip: &IpAddr| {
                let wanted = HostPort {
                    protocol,
                    ip: *ip,
                    port,
                };
                self.holder(wanted, spare).is_some()
            };
            if host_ips.iter().any(held) {
                continue;
            }
            match take(protocol, host_ips, port, spare, chosen) {
                Ok(()) => {
                    self.last = Some(port);
                    return Ok(port);
                }
                Err((_, error)) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err((host_ip, error)) => {
                    return Err(PortError::Bind {
                        host_ip,
                        ports: PortRange(port, port),
                        protocol,
                        source: BindError(error),
                    });
                }
            }
        }
        Err(PortError::NoneFree {
            host_ip: host_ips
                .first()
                .copied()
                .unwrap_or(Ipv4Addr::UNSPECIFIED.into()),
        })
    }

    /// Adds ports to those of an endpoint.
    pub fn enter(&mut self, endpoint: Addresses, name: &str, bindings: &[PortBinding]) {
        if bindings.is_empty() {
            return;
        }
        let container = endpoint.ip;
        let owner = self.owners.entry(container).or_default();
        name.clone_into(&mut owner.name);
        owner.ipv6 = endpoint.ipv6;
        for binding in bindings {
            owner.bindings.push(*binding);
            if binding.host_port == 0 {
                continue;
            }
            self.taken
                .entry((binding.protocol, binding.host_port))
                .or_default()
                .push((binding.host_ip, container));
        }
    }

    /// Enters the ports of an endpoint that an earlier daemon published, but for those that another has. Gives these.
    pub fn adopt(
        &mut self,
        endpoint: Addresses,
        name: &str,
        bindings: &[PortBinding],
    ) -> Vec<PortBinding> {
        let mut doubled = Vec::new();
        for binding in bindings {
            if self.holder(binding.into(), Spare::default()).is_some() {
                doubled.push(*binding);
            } else {
                self.enter(endpoint, name, std::slice::from_ref(binding));
            }
        }
        doubled
    }

    /// Takes ports from an endpoint; those that it hasn't are passed over.
    pub fn leave(&mut self, container: Ipv4Addr, bindings: &[PortBinding]) {
        let Some(owner) = self.owners.get_mut(&container) else {
            return;
        };
        let gone: HashSet<&PortBinding> = bindings.iter().collect();
        for binding in owner.bindings.extract_if(.., |own| gone.contains(own)) {
            let key = (binding.protocol, binding.host_port);
            if let Some(holders) = self.taken.get_mut(&key) {
                holders.retain(|holder| *holder != (binding.host_ip, container));
                if holders.is_empty() {
                    self.taken.remove(&key);
                }
            }
        }
        if owner.bindings.is_empty() {
            self.owners.remove(&container);
        }
    }

    /// What an endpoint has.
    pub fn of(&self, container: Ipv4Addr) -> Vec<PortBinding> {
        self.owners
            .get(&container)
            .map(|owner| owner.bindings.clone())
            .unwrap_or_default()
    }

    /// An endpoint's addresses, as far as its ports need them.
    pub fn addresses(&self, container: Ipv4Addr) -> Addresses {
        Addresses {
            ip: container,
            ipv6: self.owners.get(&container).and_then(|owner| owner.ipv6),
        }
    }

    /// All of them.
    pub fn forwards(&self) -> Vec<Forward> {
        let of = |(ip, owner): (&Ipv4Addr, &Owner)| {
            let endpoint = Addresses {
                ip: *ip,
                ipv6: owner.ipv6,
            };
            forwards(endpoint, &owner.bindings)
        };
        self.owners.iter().flat_map(of).collect()
    }
}

pub(crate) fn forwards(endpoint: Addresses, bindings: &[PortBinding]) -> Vec<Forward> {
    let forward = |binding: &PortBinding| {
        Some(Forward {
            binding: *binding,
            container: endpoint.behind(binding.host_ip)?,
        })
    };
    bindings.iter().filter_map(forward).collect()
}

/// Whether two cannot have one port: the unspecified address is every address of its family.
fn clash(a: IpAddr, b: IpAddr) -> bool {
    a.is_ipv4() == b.is_ipv4() && (a == b || a.is_unspecified() || b.is_unspecified())
}

/// The host's addresses that a request is about.
fn host_ips(
    request: &PortRequest,
    endpoint: Addresses,
    default_ip: Ipv4Addr,
) -> Result<Vec<IpAddr>, PortError> {
    let host_ip = match request.host_ip {
        Some(ip) => ip,
        None if default_ip.is_unspecified() && endpoint.ipv6.is_some() => {
            return Ok(vec![default_ip.into(), Ipv6Addr::UNSPECIFIED.into()]);
        }
        None => default_ip.into(),
    };
    match endpoint.behind(host_ip) {
        Some(_) => Ok(vec![host_ip]),
        None => Err(PortError::Ipv6(host_ip)),
    }
}

/// What is published of a port that is reached at the container's own address, whatever was asked of the host.
fn at_own_address(request: &PortRequest, host_ip: IpAddr) -> PortBinding {
    PortBinding {
        protocol: request.protocol,
        container_port: request.container_port,
        host_ip: match host_ip {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        },
        host_port: 0,
    }
}

/// Binds the port on all of the addresses, or gives the one on which it can't be had. A clash within one request is one with
/// our own socket.
fn take(
    protocol: Protocol,
    host_ips: &[IpAddr],
    port: u16,
    spare: Spare<'_>,
    chosen: &mut Chosen,
) -> Result<(), (IpAddr, io::Error)> {
    let mut held = Vec::with_capacity(host_ips.len());
    for host_ip in host_ips {
        let mut taken = chosen.taken.get(&(protocol, port)).into_iter().flatten();
        let clash = taken.any(|ip| clash(*ip, *host_ip));
        if clash {
            return Err((*host_ip, io::ErrorKind::AddrInUse.into()));
        }
        let wanted = HostPort {
            protocol,
            ip: *host_ip,
            port,
        };
        if spare.holds(wanted) {
            continue;
        }
        let fd = hold(protocol, *host_ip, port, &spare.beside(wanted))
            .map_err(|error| (*host_ip, error))?;
        held.extend(fd.map(|fd| (*host_ip, fd)));
    }
    for (host_ip, fd) in held {
        chosen.holders.push(fd).map_err(|error| (host_ip, error))?;
    }
    Ok(())
}

fn ephemeral_range() -> (u16, u16) {
    fs::read_to_string(EPHEMERAL_RANGE)
        .ok()
        .and_then(|text| parse_range(&text))
        .unwrap_or(EPHEMERAL_DEFAULT)
}

fn parse_range(text: &str) -> Option<(u16, u16)> {
    let mut numbers = text.split_whitespace().map(str::parse);
    let (low, high) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    (0 < low && low <= high).then_some((low, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_as_the_kernel_prints_them() {
        assert_eq!(parse_range("32768\t60999\n"), Some((32768, 60999)));
        for bad in ["", "1", "5 4", "0 9", "a b", "1 99999"] {
            assert_eq!(parse_range(bad), None, "{bad}");
        }
    }

    fn binding(host_ip: &str, port: u16) -> PortBinding {
        PortBinding {
            protocol: Protocol::Tcp,
            container_port: 80,
            host_ip: host_ip.parse().unwrap(),
            host_port: port,
        }
    }

    #[test]
    fn the_unspecified_address_is_every_address() {
        let mut ports = Ports::default();
        let [a, b] = [2, 3].map(|n| Addresses {
            ip: Ipv4Addr::new(172, 17, 0, n),
            ipv6: None,
        });
        ports.enter(a, "one", &[binding("127.0.0.1", 80)]);
        assert_eq!(
            ports.adopt(b, "two", &[binding("0.0.0.0", 80), binding("10.0.0.1", 80)]),
            [binding("0.0.0.0", 80)]
        );
        assert_eq!(ports.forwards().len(), 2);
        ports.leave(a.ip, &[binding("127.0.0.1", 80)]);
        ports.leave(a.ip, &[binding("127.0.0.1", 80)]);
        assert_eq!(ports.of(a.ip), []);
        assert_eq!(ports.of(b.ip), [binding("10.0.0.1", 80)]);
    }
}
