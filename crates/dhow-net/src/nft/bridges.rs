//! Bridges as entries of sets, so that a connection is looked at alike with one network and with a thousand.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::wire::{Element, Entries, Family, Field, Map, octets};

/// What the rules need to know of a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BridgeRules {
    pub name: String,
    pub subnet: Ipv4Net,
    pub subnet6: Option<Ipv6Net>,
    pub masquerade: bool,
    pub masquerade6: bool,
    pub icc: bool,
    /// Nothing is forwarded from the bridge or onto it.
    pub internal: bool,
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
    /// Bridges with their subnets.
    pub own: Map,
    /// Subnets that reach the world under the host's address. With any protocol: a set of ranges has two fields or more.
    pub masqueraded: Map,
}

impl Sets {
    pub fn all(&self) -> [&Map; 5] {
        [
            &self.bridges,
            &self.closed,
            &self.within,
            &self.own,
            &self.masqueraded,
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

const fn sets(own: &'static [Field], masqueraded: &'static [Field]) -> Sets {
    Sets {
        bridges: set("bridges", &[Field::Link], false),
        closed: set("closed", &[Field::Link], false),
        within: set("within", &[Field::Link, Field::Link], false),
        own: set("own", own, true),
        masqueraded: set("masqueraded", masqueraded, true),
    }
}

static SETS: Sets = sets(
    &[Field::Link, Field::Address],
    &[Field::Address, Field::Protocol],
);

static SETS6: Sets = sets(
    &[Field::Link, Field::Address6],
    &[Field::Address6, Field::Protocol],
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
    let [open, closed, within, own, masqueraded] = &mut all;
    let mut hidden = Vec::new();
    for bridge in bridges {
        let link = link(&bridge.name);
        let (subnet, masquerade) = match family {
            Family::Ip => (Some(IpNet::V4(bridge.subnet)), bridge.masquerade),
            Family::Ip6 => (bridge.subnet6.map(IpNet::V6), bridge.masquerade6),
        };
        if bridge.icc {
            within.elements.push(exact([link, link].concat()));
        }
        let Some(subnet) = subnet.filter(|_| !bridge.internal) else {
            closed.elements.push(exact(link.to_vec()));
            continue;
        };
        open.elements.push(exact(link.to_vec()));
        let (first, last) = (subnet.network(), subnet.broadcast());
        let at = |ip: IpAddr| [link.to_vec(), octets(ip)].concat();
        own.elements.push(range(at(first), at(last)));
        if masquerade {
            hidden.push(subnet);
        }
    }
    // Of two that overlap, as an operator can have it, the larger is both.
    let whole = hidden.iter().enumerate().filter(|(at, subnet)| {
        let mut others = hidden.iter().enumerate();
        !others.any(|(i, other)| other.contains(*subnet) && (other != *subnet || i < *at))
    });
    masqueraded.elements.extend(whole.map(|(_, subnet)| {
        let with = |ip: IpAddr, protocol| [octets(ip), vec![protocol, 0, 0, 0]].concat();
        let (first, last) = (subnet.network(), subnet.broadcast());
        range(with(first, 0), with(last, u8::MAX))
    }));
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
        let bridge = |masquerade, icc, internal| BridgeRules {
            name: "dhow0".to_owned(),
            subnet: "172.17.0.0/16".parse().unwrap(),
            subnet6: None,
            masquerade,
            masquerade6: true,
            icc,
            internal,
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
        assert_eq!(ip(false, false, false), ["bridges", "own"]);
        assert_eq!(ip(true, true, true), ["closed", "within"]);
        assert_eq!(ip(true, false, true), ["closed"]);
        assert_eq!(names(Family::Ip6, bridge(true, false, false)), ["closed"]);
        let mut nested = [(); 3].map(|()| bridge(true, false, false));
        nested[0].subnet = "172.17.5.0/24".parse().unwrap();
        let entries = entries(Family::Ip, &nested);
        let masqueraded = entries.iter().find(|e| e.map.name == "masqueraded");
        assert_eq!(masqueraded.unwrap().elements.len(), 1);
    }
}
