//! What the network tells nf_tables: one table of our own, so that other tools' rules are never touched.
//!
//! - Published ports are entries of maps: a packet is looked up once, whether one port is published or ten thousand.
//! - A container is reached from outside by a published port only: what is forwarded onto a bridge must belong to a connection
//!   that a map translated, or that a container began.
//! - A connection to a published port from the host's loopback address, or from the same bridge, gets the bridge's address, so
//!   that the answers come back through the translation.
//! - Packets from the wire to 127.0.0.0/8 are dropped before anything is translated: ports that are published on the loopback
//!   address are the host's own.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::endpoint::{PortBinding, Protocol};
use crate::netlink::Batch;

use super::rule::{R0, R1, R2, Rule, Verdict};
use super::wire::{Element, Field, Hook, Map, Transaction};

/// Ports on any address of the host.
pub(crate) const PORTS: Map = Map {
    name: "ports",
    key: &[Field::Protocol, Field::Port],
    data: &[Field::Address, Field::Port],
    intervals: false,
};

/// Ports on one address of the host.
pub(crate) const PORTS_AT: Map = Map {
    name: "ports_at",
    key: &[Field::Address, Field::Protocol, Field::Port],
    data: &[Field::Address, Field::Port],
    intervals: false,
};

/// Runs of ports that the container has under the same numbers.
pub(crate) const RANGES: Map = Map {
    name: "port_ranges",
    key: &[Field::Address, Field::Protocol, Field::Port],
    data: &[Field::Address],
    intervals: true,
};

pub(crate) const MAPS: [&Map; 3] = [&PORTS, &PORTS_AT, &RANGES];

/// A run of fewer is cheaper as single entries, which the kernel adds without copying the map.
const SHORTEST_RANGE: usize = 16;

const LOOPBACK: &str = "lo";

/// What the rules need to know of a bridge.
#[derive(Clone, Debug)]
pub(crate) struct BridgeRules {
    pub name: String,
    pub subnet: Ipv4Net,
    pub masquerade: bool,
    pub icc: bool,
    /// Nothing is forwarded from the bridge or onto it.
    pub internal: bool,
}

/// A published port and the container behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Forward {
    pub binding: PortBinding,
    pub container: Ipv4Addr,
}

/// Replaces the table, whatever it has now, by just these bridges and ports.
pub(crate) fn replace(table: &str, bridges: &[BridgeRules], forwards: &[Forward]) -> Batch {
    let mut transaction = Transaction::new(table);
    // Adding makes deleting succeed where there is none.
    transaction.add_table();
    transaction.delete_table();
    transaction.add_table();
    for (id, map) in (1..).zip(MAPS) {
        transaction.add_map(map, id);
    }
    add_chains(&mut transaction);
    for bridge in bridges {
        for (chain, rule) in bridge_rules(bridge) {
            transaction.add_rule(chain, rule);
        }
    }
    for entries in entries(forwards) {
        transaction.add_elements(entries.map, &entries.elements);
    }
    transaction.finish()
}

/// Adds a bridge's rules to those that are there.
pub(crate) fn add_bridge(table: &str, bridge: &BridgeRules) -> Batch {
    let mut transaction = Transaction::new(table);
    for (chain, rule) in bridge_rules(bridge) {
        transaction.add_rule(chain, rule);
    }
    transaction.finish()
}

/// Turns an endpoint's ports from `old` to `new`, each of them all that the endpoint has. `None` when nothing changes.
pub(crate) fn change(table: &str, old: &[Forward], new: &[Forward]) -> Option<Batch> {
    let mut transaction = Transaction::new(table);
    let (old, new) = (entries(old), entries(new));
    let mut changed = false;
    for map in MAPS {
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
    changed.then(|| transaction.finish())
}

/// Removes the table.
pub(crate) fn remove(table: &str) -> Batch {
    let mut transaction = Transaction::new(table);
    transaction.add_table();
    transaction.delete_table();
    transaction.finish()
}

/// How many rules the table has with so many bridges.
pub(crate) fn rule_count(bridges: &[BridgeRules]) -> usize {
    let common: usize = common_rules().len();
    common
        + bridges
            .iter()
            .map(|bridge| bridge_rules(bridge).len())
            .sum::<usize>()
}

/// How many entries a map has with these ports.
pub(crate) fn element_count(map: &Map, forwards: &[Forward]) -> usize {
    entries(forwards)
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

fn add_chains(transaction: &mut Transaction) {
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
    for (chain, rule) in common_rules() {
        transaction.add_rule(chain, rule);
    }
}

fn loopback_net() -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)
}

fn common_rules() -> Vec<(&'static str, Rule)> {
    let published = |load: fn(Rule) -> Rule, map: &Map, port| {
        (
            CHAIN_PUBLISHED,
            load(Rule::new()).look_up(map).translate_destination(port),
        )
    };
    let any: fn(Rule) -> Rule = |rule| rule.load_protocol(R0).load_destination_port(R1);
    let at: fn(Rule) -> Rule = |rule| {
        rule.load_destination(R0)
            .load_protocol(R1)
            .load_destination_port(R2)
    };
    vec![
        (
            CHAIN_RAW,
            Rule::new()
                .arrives_not_by(LOOPBACK)
                .destination_in(loopback_net())
                .decide(Verdict::Drop),
        ),
        (
            CHAIN_PREROUTING,
            Rule::new().destination_local().jump(CHAIN_PUBLISHED),
        ),
        (
            CHAIN_OUTPUT,
            Rule::new().destination_local().jump(CHAIN_PUBLISHED),
        ),
        published(at, &PORTS_AT, true),
        published(any, &PORTS, true),
        published(at, &RANGES, false),
        (
            CHAIN_FORWARD,
            Rule::new().established_or_related().decide(Verdict::Accept),
        ),
        (CHAIN_FORWARD, Rule::new().jump(CHAIN_INTERNAL)),
    ]
}

fn bridge_rules(bridge: &BridgeRules) -> Vec<(&'static str, Rule)> {
    let name = &bridge.name;
    let between = if bridge.icc {
        Verdict::Accept
    } else {
        Verdict::Drop
    };
    let chain = match bridge.internal {
        true => CHAIN_INTERNAL,
        false => CHAIN_FORWARD,
    };
    // Seen only where bridged packets are handed to the IP hooks (br_netfilter).
    let bridged = (
        chain,
        Rule::new().leaves_by(name).arrives_by(name).decide(between),
    );
    let onto = (chain, Rule::new().leaves_by(name).decide(Verdict::Drop));
    if bridge.internal {
        let off = (chain, Rule::new().arrives_by(name).decide(Verdict::Drop));
        return vec![bridged, onto, off];
    }
    let mut rules = vec![
        (
            CHAIN_POSTROUTING,
            Rule::new()
                .leaves_by(name)
                .source_in(loopback_net())
                .masquerade(),
        ),
        (
            CHAIN_POSTROUTING,
            Rule::new()
                .leaves_by(name)
                .source_in(bridge.subnet)
                .translated()
                .masquerade(),
        ),
    ];
    if bridge.masquerade {
        rules.push((
            CHAIN_POSTROUTING,
            Rule::new()
                .leaves_not_by(name)
                .source_in(bridge.subnet)
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

/// The maps' entries for the ports: each port is in one map.
fn entries(forwards: &[Forward]) -> Vec<Entries> {
    let mut any = Vec::new();
    let mut at = Vec::new();
    let mut ranges = Vec::new();
    for run in runs(forwards) {
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
    [(&PORTS, any), (&PORTS_AT, at), (&RANGES, ranges)]
        .into_iter()
        .filter(|(_, elements)| !elements.is_empty())
        .map(|(map, elements)| Entries { map, elements })
        .collect()
}

/// Splits the ports into runs: same container, address and protocol, consecutive numbers, the same on both sides.
fn runs(forwards: &[Forward]) -> Vec<Vec<Forward>> {
    let key = |f: &Forward| {
        let b = f.binding;
        (f.container, b.host_ip, b.protocol, b.host_port)
    };
    let mut sorted = forwards.to_vec();
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

fn single(forward: &Forward) -> Element {
    let binding = forward.binding;
    let mut key = Vec::with_capacity(12);
    if !binding.host_ip.is_unspecified() {
        key.extend(binding.host_ip.octets());
    }
    key.extend(protocol_field(binding.protocol));
    key.extend(port_field(binding.host_port));
    Element {
        key,
        key_end: None,
        data: [
            forward.container.octets(),
            port_field(binding.container_port),
        ]
        .concat(),
    }
}

fn range(first: &Forward, last: &Forward) -> Element {
    let host_ip = first.binding.host_ip;
    // Any address of the host is every address: the chain is entered for local ones only.
    let last_ip = if host_ip.is_unspecified() {
        Ipv4Addr::BROADCAST
    } else {
        host_ip
    };
    let key = |ip: Ipv4Addr, port| {
        [
            ip.octets(),
            protocol_field(first.binding.protocol),
            port_field(port),
        ]
        .concat()
    };
    Element {
        key: key(host_ip, first.binding.host_port),
        key_end: Some(key(last_ip, last.binding.host_port)),
        data: first.container.octets().to_vec(),
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
            container: Ipv4Addr::new(172, 17, 0, 2),
        }
    }

    fn counts(forwards: &[Forward]) -> [usize; 3] {
        MAPS.map(|map| element_count(map, forwards))
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
            subnet: "172.17.0.0/16".parse().unwrap(),
            masquerade: true,
            icc: true,
            internal: false,
        };
        let with = rule_count(std::slice::from_ref(&bridge));
        bridge.masquerade = false;
        assert_eq!(rule_count(&[bridge]), with - 1);
    }
}
