//! What can go wrong, with the texts that users read.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::endpoint::Protocol;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused something.
    #[error("{doing}: {source}")]
    Kernel { doing: String, source: io::Error },

    #[error("bridge name {0:?} is not a valid link name: 1 to 15 bytes without '/' or white space")]
    InvalidBridgeName(String),

    #[error("link {0:?} exists and is not a bridge")]
    NotABridge(String),

    #[error(
        "another program has put a bridge of its own in the place of {0}: containers are on that when the daemon is started again"
    )]
    BridgeReplaced(String),

    #[error(
        "bridge {bridge} is there and has the address {address}, not {wanted}: give the network the bridge's subnet and its \
         address as the gateway, or choose another bridge"
    )]
    OthersBridge {
        bridge: String,
        address: IpNet,
        wanted: IpNet,
    },

    /// A process id that was a container's is a process of the host's by now.
    #[error("the container has ended: what is in its place is the host's network namespace")]
    HostNamespace,

    #[error(
        "bridge address {0} leaves no room for containers: give the gateway's address and a prefix of at most 30, as 172.17.0.1/16"
    )]
    InvalidBridgeAddress(Ipv4Net),

    #[error("fixed-cidr {range} is not part of the bridge's subnet {subnet}")]
    RangeOutsideSubnet { range: IpNet, subnet: IpNet },

    #[error(
        "all predefined address pools have been fully subnetted: each overlaps another network, a route or an address of this \
         host{}; give the network a subnet, or set \"bip\" or \"default-address-pools\"",
        largest(in_the_way)
    )]
    NoFreeSubnet { in_the_way: Vec<IpNet> },

    #[error("Address already in use: {0}")]
    AddressInUse(IpAddr),

    #[error("no configured subnet contains IP address {ip}: the network's containers have {range}")]
    AddressOutsideSubnet { ip: IpAddr, range: IpNet },

    #[error(
        "no available {} addresses on this network's address pools: all of {range} are in use",
        match .range { IpNet::V4(_) => "IPv4", IpNet::V6(_) => "IPv6" }
    )]
    Exhausted { range: IpNet },

    #[error(
        "bridge address {0} leaves no room for containers: give the gateway's address and a prefix of at most 126, as fd00::1/64"
    )]
    InvalidBridgeAddress6(Ipv6Net),

    #[error("network {0} has no IPv6: it cannot give a container the address {1}")]
    NoIpv6(String, std::net::Ipv6Addr),

    #[error("this host's kernel has no IPv6: {0}")]
    KernelWithoutIpv6(io::Error),

    #[error(
        "the host's own firewall can't decide over published ports while net.ipv4.conf.all.rp_filter is 1: set it to 0 or 2; \
         each link can still have 1"
    )]
    StrictReversePath,

    #[error(
        "bridge {0} has no port left: a Linux bridge has 1023, and other programs have those that were to tie further bridges to it"
    )]
    BridgeFull(String),

    #[error("invalid MAC address: {0}: a link needs a unicast address")]
    UnusableMac(crate::mac::MacAddr),

    #[error("the container has a link {0} already, and a number of the next names too")]
    LinkNameTaken(String),

    #[error("a network needs an IPv4 subnet")]
    NoSubnet,

    #[error(
        "the kernel has no {0}: it is neither built in nor a module that could be loaded (modprobe {0})"
    )]
    NoSuchKind(&'static str),

    #[error("the requested parent interface {0} was not found on the Docker host")]
    ParentMissing(String),

    #[error("-o parent interface was not found on the host: {0}")]
    MasterMissing(String),

    /// A link of the host's can have links of one kind above it.
    #[error(
        "failed to create the {driver} port on {parent}: {source}: it has links of another kind above it (macvlan, ipvlan, or \
         a bridge's), or one with this address, or in mode passthru its only one"
    )]
    ParentBusy {
        driver: &'static str,
        parent: String,
        source: io::Error,
    },

    #[error(
        "ipvlan interfaces do not support custom mac address assignment: all have their parent's"
    )]
    NoOwnMac,

    #[error("no endpoint has the address {0}")]
    UnknownEndpoint(Ipv4Addr),

    #[error(
        "driver failed programming external connectivity on endpoint {endpoint} ({id}): {cause}"
    )]
    Publish {
        endpoint: String,
        id: String,
        cause: PortError,
    },

    #[error("the network has been shut down")]
    Closed,

    #[error(
        "the thread that was to do this died over it, and has been replaced: try again; the daemon's log says why"
    )]
    Died,
}

/// Why a port could not be published.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// In Docker's words, to which nothing is added: whose it is, is in the daemon's log.
    #[error("Bind for {}:{ports} failed: port is already allocated", shown(.host_ip))]
    Allocated {
        host_ip: IpAddr,
        ports: PortRange,
        holder: String,
    },

    #[error("failed to bind host port {}:{ports}/{}: {source}", shown(.host_ip), protocol.name())]
    Bind {
        host_ip: IpAddr,
        ports: PortRange,
        protocol: Protocol,
        source: BindError,
    },

    #[error("Bind for {}:0 failed: all ports are allocated", shown(.host_ip))]
    NoneFree { host_ip: IpAddr },

    #[error(
        "cannot publish on {}: the container has no IPv6 address; give an IPv4 address of the host, or none, or connect it to a \
         network with IPv6",
        shown(.0)
    )]
    Ipv6(IpAddr),

    #[error("invalid port specification: a container port and a host port are 1 to 65535")]
    InvalidPort,

    #[error("invalid host port range {0}: the first is greater than the last")]
    InvalidRange(PortRange),

    #[error("cannot install the translation: {0}")]
    Rules(Box<Error>),
}

fn largest(nets: &[IpNet]) -> String {
    let texts: Vec<String> = nets.iter().map(IpNet::to_string).collect();
    match texts.is_empty() {
        true => String::new(),
        false => format!(", the largest {}", texts.join(", ")),
    }
}

/// An address as it stands before a port.
fn shown(ip: &IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// The system's word for why a bind failed, as Go programs print it.
#[derive(Debug)]
pub struct BindError(pub io::Error);

impl std::fmt::Display for BindError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.raw_os_error() {
            Some(libc::EADDRINUSE) => f.write_str("address already in use"),
            Some(libc::EADDRNOTAVAIL) => f.write_str("cannot assign requested address"),
            Some(libc::EACCES) => f.write_str("permission denied"),
            _ => self.0.fmt(f),
        }
    }
}

impl std::error::Error for BindError {}

/// First and last port; one number where they are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange(pub u16, pub u16);

impl std::fmt::Display for PortRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == self.1 {
            write!(f, "{}", self.0)
        } else {
            write!(f, "{}-{}", self.0, self.1)
        }
    }
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Gives an I/O error the sentence that says what was being done.
pub(crate) trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Kernel {
            doing: what(),
            source: source.into(),
        })
    }
}
