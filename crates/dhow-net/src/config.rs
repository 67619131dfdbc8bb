//! What can be chosen about a bridge network: by the operator about the default one, by whoever makes it about another.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::error::{Error, Result};

/// The settings of one bridge network and of the rules that go with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetConfig {
    /// Name of the bridge link, at most 15 bytes.
    pub bridge: String,
    /// The bridge's own address with its prefix (`bip`): the containers' gateway and their subnet. Without it the subnet is
    /// the one that the bridge has already, else the first of `pools` that nothing on the host uses.
    pub bridge_ip: Option<Ipv4Net>,
    /// Addresses are given out of this part of the subnet only (`fixed-cidr`).
    pub fixed_cidr: Option<Ipv4Net>,
    /// IPv6 beside IPv4; without it containers have none.
    pub ipv6: Option<Ipv6Config>,
    /// Where the subnet comes from when nothing else says so (`default-address-pools`).
    pub pools: Vec<AddressPool>,
    /// Subnets of other networks, whose bridges may not be there yet: none of them is chosen.
    pub taken: Vec<IpNet>,
    pub mtu: u32,
    /// Turn on forwarding, without which nothing leaves the bridge (`ip-forward`).
    pub ip_forward: bool,
    /// Containers reach the world under the host's address (`ip-masq`).
    pub masquerade: bool,
    /// How packets go in and out (`gateway_mode_ipv4`).
    pub mode: GatewayMode,
    /// The address that what leaves has, instead of that of the link that it leaves by (`host_ipv4`).
    pub source: Option<Ipv4Addr>,
    /// The bridge gets no IPv4 address: the gateway is somebody else (`inhibit_ipv4`).
    pub no_address: bool,
    /// Links of the host's from which published ports are reached at the containers' own addresses (`trusted_host_interfaces`).
    pub trusted: Vec<String>,
    /// They are from everywhere (`allow-direct-routing`).
    pub direct_routing: bool,
    /// Packets with this mark go onto every bridge but internal ones (`bridge-accept-fwmark`). The first network's counts.
    pub accept_mark: Option<Mark>,
    /// The host's own firewall decides over published ports, by its input rules. The first network's counts.
    pub host_firewall: bool,
    /// Containers on the bridge reach each other (`icc`).
    pub icc: bool,
    /// The host's address that ports are published on when the request names none (`ip`).
    pub publish_ip: Ipv4Addr,
    /// The bridge is somebody else's: its other addresses, its MTU and its ports are left alone.
    pub foreign: bool,
    /// Nothing leaves the bridge, nothing comes in from elsewhere, and containers have no way out (`--internal`).
    pub internal: bool,
    /// Addresses of the subnet that no container gets (`--aux-address`).
    pub reserved: Vec<Ipv4Addr>,
    /// Name of the nf_tables table, so that several daemons can live in one network namespace.
    pub table: String,
    /// How many namespaces with an address are kept ready.
    pub warm: usize,
}

/// How packets go between a bridge network and the world, in one family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GatewayMode {
    /// Published ports are ports of the host, and what leaves has its address.
    #[default]
    Nat,
    /// As that; and containers are reached at their own addresses, with all of their ports.
    Unprotected,
    /// Nothing is translated: published ports are reached at the containers' own addresses.
    Routed,
    /// The bridge has no address, so that not even the host is reached. For internal networks.
    Isolated,
}

/// A mark of packets, or some bits of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub value: u32,
    pub mask: u32,
}

impl NetConfig {
    /// Whether the bridge itself is to have the address of the gateway.
    pub(crate) fn has_address(&self) -> bool {
        !self.no_address && self.mode != GatewayMode::Isolated
    }

    /// As that, of IPv6.
    pub(crate) fn has_address6(&self) -> bool {
        let isolated = |six: &Ipv6Config| six.mode == GatewayMode::Isolated;
        !self.ipv6.as_ref().is_some_and(isolated)
    }
}

/// What IPv6 a bridge network has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ipv6Config {
    /// The bridge's own address with its prefix of at most 126 bits: the containers' gateway and their subnet. Without it the
    /// subnet is chosen as IPv4's is (see [`NetConfig::bridge_ip`]).
    pub address: Option<Ipv6Net>,
    /// Addresses are given out of this part of the subnet only.
    pub range: Option<Ipv6Net>,
    /// Addresses of the subnet that no container gets.
    pub reserved: Vec<Ipv6Addr>,
    /// Containers reach the world under the host's address (`ip6tables`, and the network's option).
    pub masquerade: bool,
    /// As IPv4's.
    pub mode: GatewayMode,
    /// As IPv4's.
    pub source: Option<Ipv6Addr>,
}

/// A block of addresses that subnets of one size are cut from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressPool {
    pub base: IpNet,
    /// Prefix length of the subnets.
    pub size: u8,
}

impl AddressPool {
    /// The first subnet that overlaps none of the claims, which are in order and none of which lies in another. It has room for a
    /// gateway and a container.
    fn first_free(&self, claims: &[(u128, u128)]) -> Option<IpNet> {
        // A size that the block can't be cut into yields the block itself.
        let bits = self.base.max_prefix_len();
        let size = self.size.max(self.base.prefix_len()).min(bits - 2);
        let last_offset = (1_u128 << (bits - size)) - 1;
        let (mut first, end) = bounds(&self.base);
        loop {
            let last = first.checked_add(last_offset).filter(|last| *last <= end)?;
            let at = claims.partition_point(|claim| claim.1 < first);
            match claims.get(at).filter(|claim| claim.0 <= last) {
                // The next that begins behind the claim.
                Some(claim) => first = (claim.1 | last_offset).checked_add(1)?,
                None if bits == 32 => {
                    // It came from one of 32 bits.
                    let ip = Ipv4Addr::from(first as u32);
                    return Ipv4Net::new(ip, size).ok().map(IpNet::V4);
                }
                None => return Ipv6Net::new(first.into(), size).ok().map(IpNet::V6),
            }
        }
    }

    /// A block of a site's own (RFC 4193), of which the five octets should be random: 65,536 subnets.
    pub fn of_site(id: [u8; 5]) -> AddressPool {
        let [a, b, c, d, e] = id;
        let word = |high, low| u16::from_be_bytes([high, low]);
        let words = [word(0xfd, a), word(b, c), word(d, e), 0, 0, 0, 0, 0];
        AddressPool {
            base: IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from(words), 48)),
            size: 64,
        }
    }
}

/// How many networks an error names.
const NAMED: usize = 3;

/// The first subnet of the pools' that is of a family and overlaps nothing busy. The error names what is in the way.
pub fn free_subnet(pools: &[AddressPool], ipv6: bool, busy: &[IpNet]) -> Result<IpNet> {
    let family = |net: &IpNet| matches!(net, IpNet::V6(_)) == ipv6;
    // A default route, or one of its halves, as VPNs make them, is no claim to a subnet.
    let claims = busy
        .iter()
        .filter(|net| family(net) && net.prefix_len() > 1);
    let mut claims: Vec<(u128, u128)> = claims.map(bounds).collect();
    claims.sort_unstable();
    // Where one lies in another, the other is what counts.
    claims.dedup_by(|next, kept| next.1 <= kept.1);
    let pools = || pools.iter().filter(|pool| family(&pool.base));
    let found = pools().find_map(|pool| pool.first_free(&claims));
    found.ok_or_else(|| {
        let overlaps = |net: &IpNet, pool: &IpNet| net.contains(pool) || pool.contains(net);
        let mut in_the_way: Vec<IpNet> = busy.iter().map(IpNet::trunc).collect();
        in_the_way.retain(|net| {
            net.prefix_len() > 1 && pools().any(|pool| overlaps(net, &pool.base.trunc()))
        });
        in_the_way.sort_unstable_by_key(|net| (net.prefix_len(), *net));
        in_the_way.dedup();
        in_the_way.truncate(NAMED);
        Error::NoFreeSubnet { in_the_way }
    })
}

fn bounds(net: &IpNet) -> (u128, u128) {
    match net {
        IpNet::V4(net) => (
            u32::from(net.network()).into(),
            u32::from(net.broadcast()).into(),
        ),
        IpNet::V6(net) => (net.network().into(), net.broadcast().into()),
    }
}

fn pool(a: u8, b: u8, prefix: u8, size: u8) -> AddressPool {
    AddressPool {
        base: IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, 0, 0), prefix)),
        size,
    }
}

/// Docker's own list, in its order, and behind it thousands of smaller ones.
pub fn default_pools() -> Vec<AddressPool> {
    vec![
        pool(172, 17, 16, 16),
        pool(172, 18, 16, 16),
        pool(172, 19, 16, 16),
        pool(172, 20, 14, 16),
        pool(172, 24, 14, 16),
        pool(172, 28, 14, 16),
        pool(192, 168, 16, 20),
        pool(10, 128, 9, 24),
    ]
}

impl Default for NetConfig {
    fn default() -> Self {
        NetConfig {
            bridge: "dhow0".to_owned(),
            bridge_ip: None,
            fixed_cidr: None,
            ipv6: None,
            pools: default_pools(),
            taken: Vec::new(),
            mtu: 1500,
            ip_forward: true,
            masquerade: true,
            mode: GatewayMode::Nat,
            source: None,
            no_address: false,
            trusted: Vec::new(),
            direct_routing: false,
            accept_mark: None,
            host_firewall: false,
            icc: true,
            publish_ip: Ipv4Addr::UNSPECIFIED,
            foreign: false,
            internal: false,
            reserved: Vec::new(),
            table: "dhow".to_owned(),
            warm: 8,
        }
    }
}

/// The bridge as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeInfo {
    pub name: String,
    pub subnet: Ipv4Net,
    pub gateway: Ipv4Addr,
    /// The bridge's IPv6 address with its prefix.
    pub ipv6: Option<Ipv6Net>,
    pub mtu: u32,
}
