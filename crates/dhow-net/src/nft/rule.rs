//! The expressions that rules are made of, as a builder: each narrows the packets, loads a register or acts.
//!
//! Numbers are `linux/netfilter/nf_tables.h`'s; the order of expressions is what `nft --debug=netlink` shows for the same rule.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::wire::{Family, LIST_ELEMENT, Map, attribute, nested, number, octets, string, value};
use crate::config::Mark;

const DATA_VERDICT: u16 = 2;

/// A 32-bit register; consecutive ones make a key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Register(pub u32);

/// The first; it overlaps the 128-bit register that names and IPv6 addresses fit in.
pub(crate) const R0: Register = Register(8);

impl Register {
    /// The next one behind a value of so many bytes.
    pub fn after(self, bytes: usize) -> Register {
        // Values are addresses and smaller.
        Register(self.0 + bytes.div_ceil(4) as u32)
    }

    /// Behind a link's name.
    pub fn after_link(self) -> Register {
        self.after(16)
    }

    /// Behind an address.
    pub fn after_address(self, family: Family) -> Register {
        self.after(match family {
            Family::Ip => 4,
            Family::Ip6 => 16,
        })
    }
}
/// The first 128-bit register.
const WIDE: Register = Register(1);
const VERDICT: Register = Register(0);

/// What becomes of a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verdict {
    Drop,
    Accept,
}

/// The expressions of one rule, in order: each narrows the packets or acts on them.
#[derive(Debug, Default)]
pub(crate) struct Rule {
    pub(super) bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum Compare {
    Equal = 0,
    Different = 1,
}

impl Rule {
    pub fn new() -> Self {
        Rule::default()
    }

    fn expression(mut self, name: &str, fill: impl FnOnce(&mut Vec<u8>)) -> Self {
        nested(&mut self.bytes, LIST_ELEMENT, |bytes| {
            string(bytes, 1, name);
            nested(bytes, 2, fill);
        });
        self
    }

    fn meta(self, key: u32, register: Register) -> Self {
        self.expression("meta", |bytes| {
            number(bytes, 1, register.0);
            number(bytes, 2, key);
        })
    }

    fn compare(self, register: Register, how: Compare, data: &[u8]) -> Self {
        self.expression("cmp", |bytes| {
            number(bytes, 1, register.0);
            number(bytes, 2, how as u32);
            value(bytes, 3, data);
        })
    }

    pub fn load_arriving(self, register: Register) -> Self {
        self.meta(6, register)
    }

    pub fn load_leaving(self, register: Register) -> Self {
        self.meta(7, register)
    }

    /// By a link whose name begins so.
    pub fn arrives_by_one_of(self, beginning: &str) -> Self {
        let loaded = self.load_arriving(WIDE);
        loaded.compare(WIDE, Compare::Equal, beginning.as_bytes())
    }

    fn arriving(self, how: Compare, name: &str) -> Self {
        let mut padded = [0; 16];
        // Names are at most 15 bytes.
        padded[..name.len()].copy_from_slice(name.as_bytes());
        self.load_arriving(WIDE).compare(WIDE, how, &padded)
    }

    pub fn arrives_by(self, name: &str) -> Self {
        self.arriving(Compare::Equal, name)
    }

    pub fn arrives_not_by(self, name: &str) -> Self {
        self.arriving(Compare::Different, name)
    }

    /// These bits of the packet's mark are so.
    pub fn mark_is(self, mark: Mark) -> Self {
        self.meta(3, R0)
            .masked(R0, &mark.mask.to_ne_bytes())
            .compare(R0, Compare::Equal, &mark.value.to_ne_bytes())
    }

    fn network_header(self, offset: u32, length: u32, register: Register) -> Self {
        self.payload(1, offset, length, register)
    }

    fn payload(self, base: u32, offset: u32, length: u32, register: Register) -> Self {
        self.expression("payload", |bytes| {
            number(bytes, 1, register.0);
            number(bytes, 2, base);
            number(bytes, 3, offset);
            number(bytes, 4, length);
        })
    }

    fn masked(self, register: Register, mask: &[u8]) -> Self {
        self.expression("bitwise", |bytes| {
            number(bytes, 1, register.0);
            number(bytes, 2, register.0);
            // A register's length: 16 at most.
            number(bytes, 3, mask.len() as u32);
            value(bytes, 4, mask);
            value(bytes, 5, &[0; 16][..mask.len()]);
        })
    }

    /// `offsets` are the addresses' of IPv4 and IPv6.
    fn in_network(self, offsets: (u32, u32), net: IpNet) -> Self {
        match net {
            IpNet::V4(net) => self
                .network_header(offsets.0, 4, R0)
                .masked(R0, &net.netmask().octets())
                .compare(R0, Compare::Equal, &net.network().octets()),
            IpNet::V6(net) => self
                .network_header(offsets.1, 16, WIDE)
                .masked(WIDE, &net.netmask().octets())
                .compare(WIDE, Compare::Equal, &net.network().octets()),
        }
    }

    /// The source is in the network, which is of the table's family.
    pub fn source_in(self, net: IpNet) -> Self {
        self.in_network((12, 8), net)
    }

    /// The destination is in the network, which is of the table's family.
    pub fn destination_in(self, net: IpNet) -> Self {
        self.in_network((16, 24), net)
    }

    /// The destination is another address than this, of the table's family.
    pub fn destination_is_not(self, address: IpAddr) -> Self {
        let family = Family::of(address);
        let loaded = self.load_destination(family, R0);
        match address {
            IpAddr::V4(ip) => loaded.compare(R0, Compare::Different, &ip.octets()),
            IpAddr::V6(ip) => loaded.compare(WIDE, Compare::Different, &ip.octets()),
        }
    }

    /// The destination is an address of this host.
    pub fn destination_local(self) -> Self {
        const RTN_LOCAL: u32 = 2;
        self.expression("fib", |bytes| {
            number(bytes, 1, R0.0);
            // The type of the destination address.
            number(bytes, 2, 3);
            number(bytes, 3, 2);
        })
        .compare(R0, Compare::Equal, &RTN_LOCAL.to_ne_bytes())
    }

    fn connection(self, key: u32, any_of: u32) -> Self {
        self.expression("ct", |bytes| {
            number(bytes, 1, R0.0);
            number(bytes, 2, key);
        })
        .masked(R0, &any_of.to_ne_bytes())
        .compare(R0, Compare::Different, &[0; 4])
    }

    /// The packet belongs to a connection that was let in.
    pub fn established_or_related(self) -> Self {
        self.connection(0, 2 | 4)
    }

    /// The packet would begin a connection.
    pub fn new_connection(self) -> Self {
        self.connection(0, 8)
    }

    /// The connection's destination has been translated (IPS_DST_NAT).
    pub fn translated(self) -> Self {
        self.connection(2, 0x20)
    }

    pub fn load_destination(self, family: Family, register: Register) -> Self {
        match family {
            Family::Ip => self.network_header(16, 4, register),
            Family::Ip6 => self.network_header(24, 16, register),
        }
    }

    pub fn load_source(self, family: Family, register: Register) -> Self {
        match family {
            Family::Ip => self.network_header(12, 4, register),
            Family::Ip6 => self.network_header(8, 16, register),
        }
    }

    pub fn load_protocol(self, register: Register) -> Self {
        self.meta(16, register)
    }

    /// The transport's destination port, which TCP, UDP and SCTP have at the same place.
    pub fn load_destination_port(self, register: Register) -> Self {
        self.payload(2, 2, 2, register)
    }

    /// Replaces the key in the registers from R0 on by the data; a packet without an entry doesn't match.
    pub fn look_up(self, map: &Map) -> Self {
        self.expression("lookup", |bytes| {
            string(bytes, 1, map.name);
            number(bytes, 2, R0.0);
            number(bytes, 3, R0.0);
        })
    }

    /// The key in the registers from R0 on is in the set.
    pub fn member_of(self, set: &Map) -> Self {
        self.expression("lookup", |bytes| {
            string(bytes, 1, set.name);
            number(bytes, 2, R0.0);
        })
    }

    /// The key in the registers from R0 on is not in the set.
    pub fn no_member_of(self, set: &Map) -> Self {
        const NFT_LOOKUP_F_INV: u32 = 1;
        self.expression("lookup", |bytes| {
            string(bytes, 1, set.name);
            number(bytes, 2, R0.0);
            number(bytes, 5, NFT_LOOKUP_F_INV);
        })
    }

    /// A copy of the packet leaves by the link with this index, as it is.
    pub fn copied_to(self, family: Family, link: u32) -> Self {
        // Neither is anybody's: what is sent by the link has its destination, whoever is told to be the next hop.
        let hop: IpAddr = match family {
            Family::Ip => Ipv4Addr::new(169, 254, 1, 1).into(),
            Family::Ip6 => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into(),
        };
        let behind = R0.after_address(family);
        self.expression("immediate", |bytes| {
            number(bytes, 1, R0.0);
            value(bytes, 2, &octets(hop));
        })
        .expression("immediate", |bytes| {
            number(bytes, 1, behind.0);
            value(bytes, 2, &link.to_ne_bytes());
        })
        .expression("dup", |bytes| {
            number(bytes, 1, R0.0);
            number(bytes, 2, behind.0);
        })
    }

    /// Translates the source to the address in R0.
    pub fn translate_source(self, family: Family) -> Self {
        self.expression("nat", |bytes| {
            number(bytes, 1, 0);
            number(bytes, 2, u32::from(family.number()));
            number(bytes, 3, R0.0);
            number(bytes, 4, R0.0);
        })
    }

    /// Translates the destination to the address in R0 and, if `port`, the port in the register behind it.
    pub fn translate_destination(self, family: Family, port: bool) -> Self {
        self.expression("nat", |bytes| {
            number(bytes, 1, 1);
            number(bytes, 2, u32::from(family.number()));
            number(bytes, 3, R0.0);
            number(bytes, 4, R0.0);
            if port {
                let register = R0.after_address(family);
                number(bytes, 5, register.0);
                number(bytes, 6, register.0);
            }
        })
    }

    /// The IPv4 destination is this address.
    pub fn destination_is(self, address: Ipv4Addr) -> Self {
        self.load_destination(Family::Ip, R0)
            .compare(R0, Compare::Equal, &address.octets())
    }

    /// The transport protocol is the one of this number.
    pub fn protocol_is(self, number: u8) -> Self {
        self.load_protocol(R0)
            .compare(R0, Compare::Equal, &[number])
    }

    pub fn destination_port_is(self, port: u16) -> Self {
        self.load_destination_port(R0)
            .compare(R0, Compare::Equal, &port.to_be_bytes())
    }

    /// Translates the destination's port, and leaves its address.
    pub fn translate_destination_port(self, port: u16) -> Self {
        self.expression("immediate", |bytes| {
            number(bytes, 1, R0.0);
            value(bytes, 2, &port.to_be_bytes());
        })
        .expression("nat", |bytes| {
            number(bytes, 1, 1);
            number(bytes, 2, u32::from(Family::Ip.number()));
            number(bytes, 5, R0.0);
            number(bytes, 6, R0.0);
        })
    }

    /// Gives the connection the address of the link that it leaves by.
    pub fn masquerade(self) -> Self {
        self.expression("masq", |_| {})
    }

    fn verdict(self, fill: impl FnOnce(&mut Vec<u8>)) -> Self {
        self.expression("immediate", |bytes| {
            number(bytes, 1, VERDICT.0);
            nested(bytes, 2, |bytes| nested(bytes, DATA_VERDICT, fill));
        })
    }

    pub fn decide(self, verdict: Verdict) -> Self {
        self.verdict(|bytes| number(bytes, 1, verdict as u32))
    }

    /// No connection is made of the packet.
    pub fn untracked(self) -> Self {
        self.expression("notrack", |_| {})
    }

    pub fn jump(self, chain: &str) -> Self {
        const NFT_JUMP: i32 = -3;
        self.verdict(|bytes| {
            attribute(bytes, 1, &NFT_JUMP.to_be_bytes());
            string(bytes, 2, chain);
        })
    }
}
