//! Endpoints: a container's place on a network, as the engine asks for it, gets it and remembers it.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;

use crate::mac::MacAddr;

/// What a container wants of the network.
#[derive(Clone, Debug, Default)]
pub struct EndpointRequest {
    /// The endpoint's id, 64 hexadecimal digits. Only messages show it.
    pub id: String,
    /// The container's name. Only messages show it.
    pub name: String,
    pub mac: Option<MacAddr>,
    pub ip: Option<Ipv4Addr>,
}

/// A container's place on the bridge. Its namespace lives as long as something holds it open; `netns` is a holder.
#[derive(Debug)]
pub struct Endpoint {
    pub netns: OwnedFd,
    pub ip: Ipv4Addr,
    pub prefix: u8,
    pub gateway: Ipv4Addr,
    pub mac: MacAddr,
    /// The host's end of the pair, a port of the bridge. The container's is `eth0`.
    pub host_link: String,
}

/// A container's place on a bridge, in a namespace that was there before.
#[derive(Clone, Debug)]
pub struct Place {
    pub ip: Ipv4Addr,
    pub prefix: u8,
    pub gateway: Ipv4Addr,
    pub mac: MacAddr,
    /// The host's end of the pair, a port of the bridge.
    pub host_link: String,
}

/// An endpoint that outlived the daemon that made it, from the store.
#[derive(Clone, Debug)]
pub struct LiveEndpoint {
    pub id: String,
    pub name: String,
    pub ip: Ipv4Addr,
    pub mac: MacAddr,
    pub host_link: String,
    pub bindings: Vec<PortBinding>,
}

/// The protocols that ports can be published for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    /// As in `80/tcp`.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        }
    }

    /// Its IANA number.
    pub fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Sctp => 132,
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        [Protocol::Tcp, Protocol::Udp, Protocol::Sctp]
            .into_iter()
            .find(|p| p.name().eq_ignore_ascii_case(name))
    }
}

/// One port of a container to be reachable from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRequest {
    pub protocol: Protocol,
    pub container_port: u16,
    /// The host's address; without one, the configured default.
    pub host_ip: Option<IpAddr>,
    /// First and last host port to try; without them, a free one of the ephemeral range.
    pub host_ports: Option<(u16, u16)>,
}

/// One port of a container that is reachable from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortBinding {
    pub protocol: Protocol,
    pub container_port: u16,
    pub host_ip: Ipv4Addr,
    pub host_port: u16,
}

/// The ports of an endpoint, published.
#[derive(Debug)]
pub struct Published {
    /// In the order of the requests.
    pub bindings: Vec<PortBinding>,
    /// As long as these are open, no other process of the host can take the ports. They are to be handed to whatever lives as
    /// long as the container does. A handful at most: many ports travel inside one socket.
    pub holders: Vec<OwnedFd>,
}
