//! Bridges as entries of sets, so that a connection is looked at alike with one network and with a thousand.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::wire::{Element, Entries, Family, Field, Map, octets};
use crate::config::GatewayMode;

/// What the rules need to know of a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BridgeRules {
    pub name: String,
    pub subnet: Ipv4Net,
    pub subnet6: Option<Ipv6Net>,
    pub ip: FamilyRules,
    pub ip6: FamilyRules,
    pub icc: bool,
    /// Nothing is forwarded from the bridge or onto it.
    pub internal: bool,
    /// Links of the host's from which published ports are reached at the containers' own addresses.
    pub trusted: Vec<String>,
    /// They are from everywhere.
    pub direct: bool,
}

/// What they need to know of one family on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FamilyRules {
    pub mode: GatewayMode,
    pub masquerade: bool,
    /// The address that what leaves has, instead of that of the link that it leaves by.
    pub source: Option<IpAddr>,
}

impl BridgeRules {
    fn of(&self, family: Family) -> (Option<IpNet>, FamilyRules) {
        match family {
            Family::Ip => (Some(IpNet::V4(self.subnet)), self.ip),
            Family::Ip6 => (self.subnet6.map(IpNet::V6), self.ip6),
        }
    }

    fn is_direct(&self, mode: GatewayMode) -> bool {
        self.direct || mode == GatewayMode::Routed
    }

    /// Whether ports of a container with this address are reached there too.
    fn opens(&self, ip: IpAddr) -> bool {
        let (subnet, of_family) = self.of(Family::of(ip));
        let reached = self.is_direct(of_family.mode) || !self.trusted.is_empty();
        reached && !self.internal && subnet.is_some_and(|subnet| subnet.contains(&ip))
    }
}

/// Says of a container's address whether its ports are reached there too.
pub(crate) fn opens(bridges: &[BridgeRules]) -> impl Fn(IpAddr) -> bool {
    // Mostly there are none.
    let some = |bridge: &&BridgeRules| {
        let [a, b] = [bridge.ip.mode, bridge.ip6.mode].map(|mode| bridge.is_direct(mode));
        a || b || !bridge.trusted.is_empty()
    };
    let some: Vec<&BridgeRules> = bridges.iter().filter(some).collect();
    move |ip| some.iter().any(|bridge| bridge.opens(ip))
}

/// The families that there are tables of.
pub(crate) fn families(bridges: &[BridgeRules]) -> &'static [Family] {
    match bridges.iter().any(|bridge| bridge.subnet6.is_some()) {
        false => &[Family::Ip],
        true => &[Family::Ip, Family::Ip6],
    }
}

/// The sets of a family's table.
#[derive(Debug)]
pub(crate) struct Sets {
    /// Bridges that packets are forwarded from, and onto as the rules say.
    pub bridges: Map,
    /// Bridges that they aren't: internal ones, and those without addresses of the family.
    pub closed: Map,
    /// Bridges whose containers reach each other, as link that packets arrive by and link that they leave by. Seen only where bridged
    /// packets are handed to the IP hooks (br_netfilter).
    pub within: Map,
    /// As that, those whose containers don't.
    pub apart: Map,
    /// Bridges with their subnets.
    pub own: Map,
    /// Subnets that reach the world under the host's address. With any protocol: a set of ranges has two fields or more.
    pub masqueraded: Map,
    /// As those, the subnets that do under an address that was chosen, and this.
    pub sources: Map,
    /// Bridges without translation, whose containers may be pinged.
    pub routed: Map,
    /// Bridges onto which packets are forwarded to published ports at the containers' own addresses.
    pub direct: Map,
    /// Links of the host's and the bridges onto which they are if they come by them.
    pub trusted: Map,
    /// Bridges onto which everything is forwarded that doesn't come from another bridge.
    pub unprotected: Map,
}

impl Sets {
    pub fn all(&self) -> [&Map; 11] {
        [
            &self.bridges,
            &self.closed,
            &self.within,
            &self.apart,
            &self.own,
            &self.masqueraded,
            &self.sources,
            &self.routed,
            &self.direct,
            &self.trusted,
            &self.unprotected,
        ]
    }
}

const fn set(name: &'static str, key: &'static [Field], intervals: bool) -> Map {
    Map {
        name,
        key,
        data: &[],
        intervals,
    }
}

const fn sets(
    own: &'static [Field],
    masqueraded: &'static [Field],
    address: &'static [Field],
) -> Sets {
    Sets {
        bridges: set("bridges", &[Field::Link], false),
        closed: set("closed", &[Field::Link], false),
        within: set("within", &[Field::Link, Field::Link], false),
        apart: set("apart", &[Field::Link, Field::Link], false),
        own: set("own", own, true),
        masqueraded: set("masqueraded", masqueraded, true),
        sources: Map {
            data: address,
            ..set("sources", masqueraded, true)
        },
        routed: set("routed", &[Field::Link], false),
        direct: set("direct", &[Field::Link], false),
        trusted: set("trusted", &[Field::Link, Field::Link], false),
        unprotected: set("unprotected", &[Field::Link], false),
    }
}

static SETS: Sets = sets(
    &[Field::Link, Field::Address],
    &[Field::Address, Field::Protocol],
    &[Field::Address],
);

static SETS6: Sets = sets(
    &[Field::Link, Field::Address6],
    &[Field::Address6, Field::Protocol],
    &[Field::Address6],
);

pub(crate) fn sets_of(family: Family) -> &'static Sets {
    match family {
        Family::Ip => &SETS,
        Family::Ip6 => &SETS6,
    }
}

/// A set's entries for a family's bridges.
pub(crate) fn entries(family: Family, bridges: &[BridgeRules]) -> Vec<Entries> {
    let sets = sets_of(family);
    let mut all = sets.all().map(|map| Entries {
        map,
        elements: Vec::new(),
    });
    let [
        open,
        closed,
        within,
        apart,
        own,
        masqueraded,
        sources,
        routed,
        direct,
        trusted,
        unprotected,
    ] = &mut all;
    let mut hidden = Vec::new();
    for bridge in bridges {
        let link = link(&bridge.name);
        let alone = exact(link.to_vec());
        let (subnet, of_family) = bridge.of(family);
        let among = if bridge.icc {
            &mut *within
        } else {
            &mut *apart
        };
        among.elements.push(exact([link, link].concat()));
        let Some(subnet) = subnet.filter(|_| !bridge.internal) else {
            closed.elements.push(alone);
            continue;
        };
        open.elements.push(alone.clone());
        let (first, last) = (subnet.network(), subnet.broadcast());
        let at = |ip: IpAddr| [link.to_vec(), octets(ip)].concat();
        own.elements.push(range(at(first), at(last)));
        if bridge.is_direct(of_family.mode) {
            direct.elements.push(alone.clone());
        }
        match of_family.mode {
            GatewayMode::Routed => routed.elements.push(alone),
            GatewayMode::Unprotected => unprotected.elements.push(alone),
            GatewayMode::Nat | GatewayMode::Isolated => {}
        }
        for other in &bridge.trusted {
            let by = [self::link(other), link].concat();
            trusted.elements.push(exact(by));
        }
        if of_family.masquerade && of_family.mode != GatewayMode::Routed {
            hidden.push((subnet, of_family.source));
        }
    }
    // Of two that overlap, as an operator can have it, the larger is both.
    let whole = hidden.iter().enumerate().filter(|(at, (subnet, _))| {
        let mut others = hidden.iter().enumerate();
        !others.any(|(i, (other, _))| other.contains(subnet) && (other != subnet || i < *at))
    });
    for (_, (subnet, source)) in whole {
        let with = |ip: IpAddr, protocol| [octets(ip), vec![protocol, 0, 0, 0]].concat();
        let (first, last) = (subnet.network(), subnet.broadcast());
        let mut element = range(with(first, 0), with(last, u8::MAX));
        match source {
            None => masqueraded.elements.push(element),
            Some(source) => {
                element.data = octets(*source);
                sources.elements.push(element);
            }
        }
    }
    let filled = all.into_iter();
    filled
        .filter(|entries| !entries.elements.is_empty())
        .collect()
}

fn link(name: &str) -> [u8; 16] {
    let mut padded = [0; 16];
    // Names are at most 15 bytes.
    padded[..name.len()].copy_from_slice(name.as_bytes());
    padded
}

fn exact(key: Vec<u8>) -> Element {
    Element {
        key,
        key_end: None,
        data: Vec::new(),
    }
}

fn range(key: Vec<u8>, last: Vec<u8>) -> Element {
    Element {
        key,
        key_end: Some(last),
        data: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_bridge_is_entered() {
        let of_family = |masquerade, mode| FamilyRules {
            mode,
            masquerade,
            source: None,
        };
        let bridge = |masquerade, icc, internal| BridgeRules {
            name: "dhow0".to_owned(),
            subnet: "172.17.0.0/16".parse().unwrap(),
            subnet6: None,
            ip: of_family(masquerade, GatewayMode::Nat),
            ip6: of_family(true, GatewayMode::Nat),
            icc,
            internal,
            trusted: Vec::new(),
            direct: false,
        };
        let names = |family, bridge: BridgeRules| -> Vec<&str> {
            let entries = entries(family, &[bridge]);
            entries.iter().map(|entries| entries.map.name).collect()
        };
        let ip = |masquerade, icc, internal| names(Family::Ip, bridge(masquerade, icc, internal));
        assert_eq!(
            ip(true, true, false),
            ["bridges", "within", "own", "masqueraded"]
        );
        assert_eq!(ip(false, false, false), ["bridges", "apart", "own"]);
        assert_eq!(ip(true, true, true), ["closed", "within"]);
        assert_eq!(ip(true, false, true), ["closed", "apart"]);
        let with_mode = |mode| BridgeRules {
            ip: of_family(true, mode),
            trusted: vec!["eth1".to_owned()],
            ..bridge(true, true, false)
        };
        assert_eq!(
            names(Family::Ip, with_mode(GatewayMode::Routed)),
            ["bridges", "within", "own", "routed", "direct", "trusted"]
        );
        assert_eq!(
            names(Family::Ip, with_mode(GatewayMode::Unprotected)),
            [
                "bridges",
                "within",
                "own",
                "masqueraded",
                "trusted",
                "unprotected"
            ]
        );
        let trusting = [with_mode(GatewayMode::Nat)];
        let opens = opens(&trusting);
        assert!(opens(IpAddr::from([172, 17, 0, 2])) && !opens(IpAddr::from([172, 18, 0, 2])));
        assert_eq!(
            names(Family::Ip6, bridge(true, false, false)),
            ["closed", "apart"]
        );
        let mut nested = [(); 3].map(|()| bridge(true, false, false));
        nested[0].subnet = "172.17.5.0/24".parse().unwrap();
        let entries = entries(Family::Ip, &nested);
        let masqueraded = entries.iter().find(|e| e.map.name == "masqueraded");
        assert_eq!(masqueraded.unwrap().elements.len(), 1);
    }
}
