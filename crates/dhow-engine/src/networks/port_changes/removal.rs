//! What is to be published no more, as a client names it.

use std::net::IpAddr;

use dhow_api::{PortBinding, PortMap};
use dhow_net::{PortRequest, Protocol};

use super::super::PublishedPort;
use super::super::ports::{parse_host_ip, parse_host_ports, parse_port};
use crate::error::Result;

/// One port to remove, or several.
pub struct Removal {
    pub protocol: Protocol,
    /// Every one without.
    pub container_port: Option<u16>,
    host_ip: Option<IpAddr>,
    host_ports: Option<(u16, u16)>,
}

/// Reads all of them. A key that is a protocol alone is about every port of it.
pub fn removals(map: &PortMap) -> Result<Vec<Removal>> {
    let mut removals = Vec::new();
    for (key, bindings) in map {
        let (container_port, protocol) = match Protocol::from_name(key) {
            Some(protocol) => (None, protocol),
            None => {
                let (port, protocol) = parse_port(key)?;
                (Some(port), protocol)
            }
        };
        let any = [PortBinding::default()];
        let bindings = match bindings.as_deref() {
            None | Some([]) => any.as_slice(),
            Some(bindings) => bindings,
        };
        for binding in bindings {
            removals.push(Removal {
                protocol,
                container_port,
                host_ip: parse_host_ip(&binding.host_ip)?,
                host_ports: parse_host_ports(&binding.host_port)?,
            });
        }
    }
    Ok(removals)
}

/// Whether a range has the port; none has every one.
pub fn within(range: Option<(u16, u16)>, port: u16) -> bool {
    range.is_none_or(|(first, last)| (first..=last).contains(&port))
}

impl Removal {
    pub fn hits(&self, port: &PublishedPort) -> bool {
        port.protocol == self.protocol.name()
            && self.container_port.is_none_or(|p| p == port.container_port)
            && self.host_ip.is_none_or(|ip| ip == port.host_ip)
            && within(self.host_ports, port.host_port)
    }

    /// Whether it is about an entry of which nobody knows what will be published.
    pub fn means(&self, entry: &PortRequest) -> bool {
        let ports = match (self.host_ports, entry.host_ports) {
            (None, _) => true,
            (Some((first, last)), Some(wanted)) => first <= wanted.0 && wanted.1 <= last,
            (Some(_), None) => false,
        };
        ports
            && entry.protocol == self.protocol
            && self
                .container_port
                .is_none_or(|p| p == entry.container_port)
            && self.host_ip.is_none_or(|ip| match entry.host_ip {
                Some(own) => own == ip,
                None => ip.is_unspecified(),
            })
    }
}

/// `port 0.0.0.0:8080->80/tcp`, as far as it is said.
impl std::fmt::Display for Removal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("port ")?;
        match self.host_ip {
            Some(IpAddr::V6(ip)) => write!(f, "[{ip}]:")?,
            Some(ip) => write!(f, "{ip}:")?,
            None => {}
        }
        match self.host_ports {
            Some((first, last)) if first == last => write!(f, "{first}")?,
            Some((first, last)) => write!(f, "{first}-{last}")?,
            None => {}
        }
        match (
            self.host_ip.is_some() || self.host_ports.is_some(),
            self.container_port,
        ) {
            (true, Some(port)) => write!(f, "->{port}")?,
            (false, Some(port)) => write!(f, "{port}")?,
            (_, None) => {}
        }
        write!(f, "/{}", self.protocol.name())
    }
}
