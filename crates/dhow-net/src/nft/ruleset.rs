//! What the network tells nf_tables: one table of our own, so that other tools' rules are never touched.
//!
//! - Published ports are entries of maps: a packet is looked up once, whether one port is published or ten thousand.
//! - A container is reached from outside by a published port only: what is forwarded onto a bridge must belong to a connection
//!   that a map translated, or that a container began.
//! - A connection to a published port from the host's loopback address, or from the same bridge, gets the bridge's address, so
//!   that the answers come back through the translation.
//! - Packets from the wire to 127.0.0.0/8 are dropped before anything is translated: ports that are published on the loopback
//!   address are the host's own.
//! - As soon as a bridge has IPv6 there is a second table of the same name for that family, with the same chains and maps. What is
//!   sent to `::1` stays on the host: the kernel takes no packet from there that came by another link.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::endpoint::{PortBinding, Protocol};
use crate::netlink::Batch;

use super::rule::{R0, Rule, Verdict};
use super::wire::{Element, Family, Field, Hook, Map, Transaction};

/// Ports on any address of the host, ports on one address, and runs of ports that the container has under the same numbers.
const NAMES: [&str; 3] = ["ports", "ports_at", "port_ranges"];

/// The maps of a family, in the order of [`NAMES`].
const fn maps(
    any: &'static [Field],
    at: &'static [Field],
    to: &'static [Field],
    to_address: &'static [Field],
) -> [Map; 3] {
    [
        Map {
            name: NAMES[0],
            key: any,
            data: to,
            intervals: false,
        },
        Map {
            name: NAMES[1],
            key: at,
            data: to,
            intervals: false,
        },
        Map {
            name: NAMES[2],
            key: at,
            data: to_address,
            intervals: true,
        },
    ]
}

static MAPS: [Map; 3] = maps(
    &[Field::Protocol, Field::Port],
    &[Field::Address, Field::Protocol, Field::Port],
    &[Field::Address, Field::Port],
    &[Field::Address],
);

static MAPS6: [Map; 3] = maps(
    &[Field::Protocol, Field::Port],
    &[Field::Address6, Field::Protocol, Field::Port],
    &[Field::Address6, Field::Port],
    &[Field::Address6],
);

/// The maps of a family's table.
pub(crate) fn maps_of(family: Family) -> &'static [Map; 3] {
    match family {
        Family::Ip => &MAPS,
        Family::Ip6 => &MAPS6,
    }
}

/// The families that there are tables of.
pub(crate) fn families(bridges: &[BridgeRules]) -> &'static [Family] {
    match bridges.iter().any(|bridge| bridge.subnet6.is_some()) {
        false => &[Family::Ip],
        true => &[Family::Ip, Family::Ip6],
    }
}

/// A run of fewer is cheaper as single entries, which the kernel adds without copying the map.
const SHORTEST_RANGE: usize = 16;

const LOOPBACK: &str = "lo";

/// What the rules need to know of a bridge.
#[derive(Clone, Debug)]
pub(crate) struct BridgeRules {
    pub name: String,
    /// What the names of the bridges behind it begin with.
    pub further: String,
    pub subnet: Ipv4Net,
    pub subnet6: Option<Ipv6Net>,
    pub masquerade: bool,
    pub masquerade6: bool,
    pub icc: bool,
    /// Nothing is forwarded from the bridge or onto it.
    pub internal: bool,
}

/// A published port and the container behind it, whose address is of the same family as the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Forward {
    pub binding: PortBinding,
    pub container: IpAddr,
}

/// Replaces the tables, whatever they have now, by just these bridges and ports. `other` says that the other family may have a
/// table.
pub(crate) fn replace(
    table: &str,
    bridges: &[BridgeRules],
    forwards: &[Forward],
    other: bool,
) -> Batch {
    let mut transaction = Transaction::new(table);
    let wanted = families(bridges);
    for family in [Family::Ip, Family::Ip6] {
        transaction.set_family(family);
        if wanted.contains(&family) || other {
            // Adding makes deleting succeed where there is none.
            transaction.add_table();
            transaction.delete_table();
        }
        if !wanted.contains(&family) {
            continue;
        }
        transaction.add_table();
        for (id, map) in (1..).zip(maps_of(family)) {
            transaction.add_map(map, id);
        }
        add_chains(&mut transaction, family);
        for bridge in bridges {
            for (chain, rule) in bridge_rules(family, bridge) {
                transaction.add_rule(chain, rule);
            }
        }
        for entries in entries(family, forwards) {
            transaction.add_elements(entries.map, &entries.elements);
        }
    }
    transaction.finish()
}

/// Adds a bridge's rules to those that are there, of all that are there now.
pub(crate) fn add_bridge(table: &str, families: &[Family], bridge: &BridgeRules) -> Batch {
    let mut transaction = Transaction::new(table);
    for family in families {
        transaction.set_family(*family);
        for (chain, rule) in bridge_rules(*family, bridge) {
            transaction.add_rule(chain, rule);
        }
    }
    transaction.finish()
}

/// Turns an endpoint's ports from `old` to `new`, each of them all that the endpoint has. `None` when nothing changes.
pub(crate) fn change(table: &str, old: &[Forward], new: &[Forward]) -> Option<Batch> {
    let mut transaction = Transaction::new(table);
    let mut changed = false;
    for family in [Family::Ip, Family::Ip6] {
        transaction.set_family(family);
        let (old, new) = (entries(family, old), entries(family, new));
        for map in maps_of(family) {
            let of = |all: &[Entries]| -> Vec<Element> {
                all.iter()
                    .filter(|entries| entries.map.name == map.name)
                    .flat_map(|entries| entries.elements.clone())
                    .collect()
            };
            let (before, after) = (of(&old), of(&new));
            let (kept, gone): (Vec<_>, Vec<_>) = before
                .into_iter()
                .partition(|element| after.contains(element));
            let added: Vec<_> = after
                .into_iter()
                .filter(|element| !kept.contains(element))
                .collect();
            changed |= !(gone.is_empty() && added.is_empty());
            transaction.delete_elements(map, &gone);
            transaction.add_elements(map, &added);
        }
    }
    changed.then(|| transaction.finish())
}

/// Removes the tables of these families.
pub(crate) fn remove(table: &str, families: &[Family]) -> Batch {
    let mut transaction = Transaction::new(table);
    for family in families {
        transaction.set_family(*family);
        transaction.add_table();
        transaction.delete_table();
    }
    transaction.finish()
}

/// How many rules a family's table has with so many bridges.
pub(crate) fn rule_count(family: Family, bridges: &[BridgeRules]) -> usize {
    let common: usize = common_rules(family).len();
    common
        + bridges
            .iter()
            .map(|bridge| bridge_rules(family, bridge).len())
            .sum::<usize>()
}

/// How many entries a family's map has with these ports.
pub(crate) fn element_count(family: Family, map: &Map, forwards: &[Forward]) -> usize {
    entries(family, forwards)
        .into_iter()
        .filter(|entries| entries.map.name == map.name)
        .map(|entries| entries.elements.len())
        .sum()
}

const CHAIN_RAW: &str = "raw-prerouting";
const CHAIN_PREROUTING: &str = "nat-prerouting";
const CHAIN_OUTPUT: &str = "nat-output";
const CHAIN_POSTROUTING: &str = "nat-postrouting";
const CHAIN_FORWARD: &str = "filter-forward";
const CHAIN_PUBLISHED: &str = "published";
/// What internal bridges forbid, ahead of all that others allow.
const CHAIN_INTERNAL: &str = "internal";

fn add_chains(transaction: &mut Transaction, family: Family) {
    // nft(8), "standard priority names".
    const RAW: i32 = -300;
    const DESTINATION: i32 = -100;
    const FILTER: i32 = 0;
    const SOURCE: i32 = 100;
    transaction.add_chain(CHAIN_PUBLISHED);
    transaction.add_chain(CHAIN_INTERNAL);
    for (name, kind, hook, priority) in [
        (CHAIN_RAW, "filter", Hook::Prerouting, RAW),
        (CHAIN_PREROUTING, "nat", Hook::Prerouting, DESTINATION),
        (CHAIN_OUTPUT, "nat", Hook::Output, DESTINATION),
        (CHAIN_POSTROUTING, "nat", Hook::Postrouting, SOURCE),
        (CHAIN_FORWARD, "filter", Hook::Forward, FILTER),
    ] {
        transaction.add_base_chain(name, kind, hook, priority);
    }
    for (chain, rule) in common_rules(family) {
        transaction.add_rule(chain, rule);
    }
}

fn loopback_net(family: Family) -> IpNet {
    match family {
        Family::Ip => IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)),
        Family::Ip6 => IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)),
    }
}

fn common_rules(family: Family) -> Vec<(&'static str, Rule)> {
    let published = |load: fn(Rule, Family) -> Rule, map: &Map, port| {
        let rule = load(Rule::new(), family).look_up(map);
        (CHAIN_PUBLISHED, rule.translate_destination(family, port))
    };
    let any: fn(Rule, Family) -> Rule =
        |rule, _| rule.load_protocol(R0).load_destination_port(R0.after(1));
    let at: fn(Rule, Family) -> Rule = |rule, family| {
        let protocol = R0.after_address(family);
        rule.load_destination(family, R0)
            .load_protocol(protocol)
            .load_destination_port(protocol.after(1))
    };
    let from_host = match family {
        Family::Ip => Rule::new(),
        Family::Ip6 => Rule::new().destination_is_not(Ipv6Addr::LOCALHOST.into()),
    };
    let [ports, ports_at, ranges] = maps_of(family);
    vec![
        (
            CHAIN_RAW,
            Rule::new()
                .arrives_not_by(LOOPBACK)
                .destination_in(loopback_net(family))
                .decide(Verdict::Drop),
        ),
        (
            CHAIN_PREROUTING,
            Rule::new().destination_local().jump(CHAIN_PUBLISHED),
        ),
        (
            CHAIN_OUTPUT,
            from_host.destination_local().jump(CHAIN_PUBLISHED),
        ),
        published(at, ports_at, true),
        published(any, ports, true),
        published(at, ranges, false),
        (
            CHAIN_FORWARD,
            Rule::new().established_or_related().decide(Verdict::Accept),
        ),
        (CHAIN_FORWARD, Rule::new().jump(CHAIN_INTERNAL)),
    ]
}

fn bridge_rules(family: Family, bridge: &BridgeRules) -> Vec<(&'static str, Rule)> {
    let name = &bridge.name;
    let between = if bridge.icc {
        Verdict::Accept
    } else {
        Verdict::Drop
    };
    let (subnet, masquerade) = match family {
        Family::Ip => (Some(IpNet::V4(bridge.subnet)), bridge.masquerade),
        Family::Ip6 => (bridge.subnet6.map(IpNet::V6), bridge.masquerade6),
    };
    // A bridge without addresses of the family has no way out of that family.
    let subnet = subnet.filter(|_| !bridge.internal);
    let chain = match subnet {
        None => CHAIN_INTERNAL,
        Some(_) => CHAIN_FORWARD,
    };
    // Seen only where bridged packets are handed to the IP hooks (br_netfilter).
    let bridged = (
        chain,
        Rule::new().leaves_by(name).arrives_by(name).decide(between),
    );
    let onto = (chain, Rule::new().leaves_by(name).decide(Verdict::Drop));
    // What crosses a further bridge is looked at when it comes to the first, as if it came from a port there.
    let crossing = Rule::new().arrives_by_one_of(&bridge.further);
    let crossing = (CHAIN_RAW, crossing.untracked());
    let Some(subnet) = subnet else {
        let off = (chain, Rule::new().arrives_by(name).decide(Verdict::Drop));
        return vec![crossing, bridged, onto, off];
    };
    let mut rules = vec![crossing];
    if family == Family::Ip {
        rules.push((
            CHAIN_POSTROUTING,
            Rule::new()
                .leaves_by(name)
                .source_in(loopback_net(family))
                .masquerade(),
        ));
    }
    rules.push((
        CHAIN_POSTROUTING,
        Rule::new()
            .leaves_by(name)
            .source_in(subnet)
            .translated()
            .masquerade(),
    ));
    if masquerade {
        rules.push((
            CHAIN_POSTROUTING,
            Rule::new()
                .leaves_not_by(name)
                .source_in(subnet)
                .masquerade(),
        ));
    }
    rules.extend([
        (
            CHAIN_FORWARD,
            Rule::new()
                .leaves_by(name)
                .translated()
                .decide(Verdict::Accept),
        ),
        bridged,
        onto,
    ]);
    rules
}

struct Entries {
    map: &'static Map,
    elements: Vec<Element>,
}

/// The maps' entries for the ports of a family: each port is in one map.
fn entries(family: Family, forwards: &[Forward]) -> Vec<Entries> {
    let mut any = Vec::new();
    let mut at = Vec::new();
    let mut ranges = Vec::new();
    let own = |forward: &Forward| Family::of(forward.binding.host_ip) == family;
    for run in runs(forwards.iter().filter(|f| own(f)).copied().collect()) {
        if let [first, .., last] = run.as_slice()
            && run.len() >= SHORTEST_RANGE
        {
            ranges.push(range(first, last));
            continue;
        }
        for forward in &run {
            let element = single(forward);
            if forward.binding.host_ip.is_unspecified() {
                any.push(element);
            } else {
                at.push(element);
            }
        }
    }
    maps_of(family)
        .iter()
        .zip([any, at, ranges])
        .filter(|(_, elements)| !elements.is_empty())
        .map(|(map, elements)| Entries { map, elements })
        .collect()
}

/// Splits the ports into runs: same container, address and protocol, consecutive numbers, the same on both sides.
fn runs(mut sorted: Vec<Forward>) -> Vec<Vec<Forward>> {
    let key = |f: &Forward| {
        let b = f.binding;
        (f.container, b.host_ip, b.protocol, b.host_port)
    };
    sorted.sort_by_key(key);
    let mut runs: Vec<Vec<Forward>> = Vec::new();
    for forward in sorted {
        let continues = |last: &Forward| {
            let (a, b) = (last.binding, forward.binding);
            a.host_port == a.container_port
                && b.host_port == b.container_port
                && a.host_port.checked_add(1) == Some(b.host_port)
                && (last.container, a.host_ip, a.protocol)
                    == (forward.container, b.host_ip, b.protocol)
        };
        match runs.last_mut() {
            Some(run) if run.last().is_some_and(continues) => run.push(forward),
            _ => runs.push(vec![forward]),
        }
    }
    runs
}

fn protocol_field(protocol: Protocol) -> [u8; 4] {
    [protocol.number(), 0, 0, 0]
}

fn port_field(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn single(forward: &Forward) -> Element {
    let binding = forward.binding;
    let mut key = Vec::with_capacity(24);
    if !binding.host_ip.is_unspecified() {
        key.extend(octets(binding.host_ip));
    }
    key.extend(protocol_field(binding.protocol));
    key.extend(port_field(binding.host_port));
    let mut data = octets(forward.container);
    data.extend(port_field(binding.container_port));
    Element {
        key,
        key_end: None,
        data,
    }
}

fn range(first: &Forward, last: &Forward) -> Element {
    let host_ip = first.binding.host_ip;
    // Any address of the host is every address: the chain is entered for local ones only.
    let last_ip = match host_ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::BROADCAST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::from(u128::MAX).into(),
        one => one,
    };
    let key = |ip: IpAddr, port| {
        let mut key = octets(ip);
        key.extend(protocol_field(first.binding.protocol));
        key.extend(port_field(port));
        key
    };
    Element {
        key: key(host_ip, first.binding.host_port),
        key_end: Some(key(last_ip, last.binding.host_port)),
        data: octets(first.container),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(host_ip: &str, host_port: u16, container_port: u16) -> Forward {
        Forward {
            binding: PortBinding {
                protocol: Protocol::Tcp,
                container_port,
                host_ip: host_ip.parse().unwrap(),
                host_port,
            },
            container: Ipv4Addr::new(172, 17, 0, 2).into(),
        }
    }

    fn counts(forwards: &[Forward]) -> [usize; 3] {
        [0, 1, 2].map(|i| element_count(Family::Ip, &MAPS[i], forwards))
    }

    #[test]
    fn a_long_run_is_one_entry() {
        let run: Vec<_> = (8000..9000).map(|p| forward("0.0.0.0", p, p)).collect();
        assert_eq!(counts(&run), [0, 0, 1]);
        let shifted: Vec<_> = (8000..8100).map(|p| forward("0.0.0.0", p, p - 1)).collect();
        assert_eq!(counts(&shifted), [100, 0, 0]);
        let mut two = run;
        two.retain(|f| f.binding.host_port != 8500);
        assert_eq!(counts(&two), [0, 0, 2]);
    }

    #[test]
    fn short_runs_are_single_entries() {
        let mut few: Vec<_> = (80..83).map(|p| forward("0.0.0.0", p, p)).collect();
        few.push(forward("127.0.0.1", 8080, 80));
        assert_eq!(counts(&few), [3, 1, 0]);
    }

    #[test]
    fn the_end_of_the_port_numbers() {
        let run: Vec<_> = (65500..=65535).map(|p| forward("10.0.0.1", p, p)).collect();
        assert_eq!(counts(&run), [0, 0, 1]);
    }

    #[test]
    fn a_bridge_without_masquerading_has_a_rule_less() {
        let mut bridge = BridgeRules {
            name: "dhow0".to_owned(),
            further: "dx2-".to_owned(),
            subnet: "172.17.0.0/16".parse().unwrap(),
            subnet6: None,
            masquerade: true,
            masquerade6: true,
            icc: true,
            internal: false,
        };
        let with = rule_count(Family::Ip, std::slice::from_ref(&bridge));
        bridge.masquerade = false;
        assert_eq!(rule_count(Family::Ip, &[bridge]), with - 1);
    }
}
