//! Endpoints: a container's place on a network, as the engine asks for it, gets it and remembers it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use ipnet::IpNet;

use crate::held::HostPort;
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
    pub ipv6: Option<Ipv6Addr>,
    /// What its link is called in the namespace. Otherwise `eth` with a number.
    pub link: Option<String>,
}

/// What an endpoint's link is to have beyond what each has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkWishes {
    pub addresses: Vec<IpNet>,
    pub switches: Vec<LinkSwitch>,
}

/// A setting of the kernel's for a link: `/proc/sys/net/FAMILY/GROUP/LINK/NAME`. Family, group and name are of letters, digits,
/// `_` and `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkSwitch {
    pub family: String,
    pub group: String,
    pub name: String,
    pub value: String,
}

/// The IPv6 part of an endpoint's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Place {
    pub ip: Ipv6Addr,
    pub prefix: u8,
    pub gateway: Option<Ipv6Addr>,
}

/// A way out of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way<A> {
    Gateway(A),
    /// Everybody is asked for on the link of this name.
    Link(String),
}

impl<A> Way<A> {
    pub(crate) fn map<B>(self, change: impl FnOnce(A) -> B) -> Way<B> {
        match self {
            Way::Gateway(ip) => Way::Gateway(change(ip)),
            Way::Link(name) => Way::Link(name),
        }
    }
}

/// A namespace's ways out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gateways {
    pub ip: Option<Way<Ipv4Addr>>,
    pub ipv6: Option<Way<Ipv6Addr>>,
}

/// What an endpoint is reached at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Addresses {
    pub ip: Ipv4Addr,
    pub ipv6: Option<Ipv6Addr>,
}

impl Addresses {
    /// Those that there are.
    pub fn each(self) -> impl Iterator<Item = IpAddr> {
        let ipv6 = self.ipv6.map(IpAddr::V6);
        std::iter::once(IpAddr::V4(self.ip)).chain(ipv6)
    }

    /// The one that packets to an address of the host's are translated to.
    pub fn behind(self, host_ip: IpAddr) -> Option<IpAddr> {
        match host_ip {
            IpAddr::V4(_) => Some(self.ip.into()),
            IpAddr::V6(_) => self.ipv6.map(IpAddr::V6),
        }
    }
}

/// A container's place on the bridge. Its namespace lives as long as something holds it open; `netns` is a holder.
#[derive(Debug)]
pub struct Endpoint {
    pub netns: OwnedFd,
    pub ip: Ipv4Addr,
    pub prefix: u8,
    pub gateway: Ipv4Addr,
    pub ipv6: Option<Ipv6Place>,
    pub mac: MacAddr,
    /// The host's end of the pair, a port of the bridge. The container's is `eth0`.
    pub host_link: String,
}

impl Endpoint {
    pub(crate) fn addresses(&self) -> Addresses {
        Addresses {
            ip: self.ip,
            ipv6: self.ipv6.map(|place| place.ip),
        }
    }
}

impl Place {
    pub(crate) fn addresses(&self) -> Addresses {
        Addresses {
            ip: self.ip,
            ipv6: self.ipv6.map(|place| place.ip),
        }
    }
}

impl LiveEndpoint {
    pub(crate) fn addresses(&self) -> Addresses {
        Addresses {
            ip: self.ip,
            ipv6: self.ipv6,
        }
    }
}

/// A container's place on a network, in a namespace that was there before.
#[derive(Clone, Debug)]
pub struct Place {
    pub ip: Ipv4Addr,
    pub prefix: u8,
    pub gateway: Option<Ipv4Addr>,
    pub ipv6: Option<Ipv6Place>,
    /// `None` where it is not the link's alone.
    pub mac: Option<MacAddr>,
    /// The host's end of the pair, a port of the bridge. Empty where the link has no other end.
    pub host_link: String,
}

/// An endpoint that outlived the daemon that made it, from the store.
#[derive(Clone, Debug)]
pub struct LiveEndpoint {
    pub id: String,
    pub name: String,
    pub ip: Ipv4Addr,
    pub ipv6: Option<Ipv6Addr>,
    pub mac: Option<MacAddr>,
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
    /// The host's address; without one, the configured default, and where that is every address, the host's IPv6 addresses too
    /// for an endpoint that has one.
    pub host_ip: Option<IpAddr>,
    /// First and last host port to try; without them, a free one of the ephemeral range.
    pub host_ports: Option<(u16, u16)>,
}

/// One port of a container that is reachable from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortBinding {
    pub protocol: Protocol,
    pub container_port: u16,
    pub host_ip: IpAddr,
    pub host_port: u16,
}

/// Ports of an endpoint that go, and others that come.
#[derive(Debug, Default)]
pub struct PortChange {
    /// Those that the endpoint hasn't are passed over.
    pub gone: Vec<PortBinding>,
    pub added: Vec<PortRequest>,
    /// Duplicates of the sockets that keep those that go, which whoever has them holds until the change is done: a port can go
    /// and come again, on other addresses of the host or for another port of the container, without being free in between.
    pub held: Vec<(HostPort, OwnedFd)>,
}

/// The ports of an endpoint, published.
#[derive(Debug)]
pub struct Published {
    /// In the order of the requests; one that names no address can have two, one of each family, with the same port.
    pub bindings: Vec<PortBinding>,
    /// As long as these are open, no other process of the host can take the ports. They are to be handed to whatever lives as
    /// long as the container does. A handful at most: many ports travel inside one socket.
    pub holders: Vec<OwnedFd>,
}
