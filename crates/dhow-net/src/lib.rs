//! Sandboxes, drivers (bridges, macvlan, ipvlan), addresses, published ports and names: a container's way to the network.
//!
//! All of it is done by netlink from this process. There is a thread that makes network namespaces (`warm`, `sandbox`) and one
//! that owns the rules (`firewall`, `nft`); [`Network`] is their face for asynchronous callers. Everything happens in the
//! network namespace that [`Network::open`] is called in, but what is opened inside a sandbox: a name server's sockets ([`dns`]).
//!
//! The crate knows endpoints, never containers: what runs in a namespace, and when it ends, is the engine's.

mod bridge;
mod config;
mod conntrack;
mod detour;
pub mod dns;
mod driver;
mod endpoint;
mod error;
pub mod files;
mod firewall;
pub mod held;
mod hold;
mod ipam;
mod keeper;
mod lan;
mod mac;
mod make;
mod netlink;
mod network;
mod nft;
mod pool;
mod ports;
mod repair;
mod rtnl;
mod sandbox;
mod segments;
mod subnets;
mod switches;
mod warm;
mod watch;

pub use config::{
    AddressPool, BridgeInfo, GatewayMode, Ipv6Config, Mark, NetConfig, default_pools, free_subnet,
};
pub use endpoint::{
    Endpoint, EndpointRequest, Gateways, Ipv6Place, LinkSwitch, LinkWishes, LiveEndpoint, Place,
    PortBinding, PortChange, PortRequest, Protocol, Published, Way,
};
pub use error::{BindError, Error, PortError, PortRange, Result};
pub use ipnet::{IpNet, Ipv4Net, Ipv6Net};
pub use lan::{
    IpvlanFlag, IpvlanMode, LanConfig, LanKind, LanSubnet, MacvlanMode, MadeParent, Parent,
};
pub use mac::{InvalidMac, MacAddr};
pub use network::Network;
