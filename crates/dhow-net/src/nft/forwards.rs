//! Published ports as entries of maps: a packet is looked up once, whether one port is published or ten thousand.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::endpoint::{PortBinding, Protocol};

use super::wire::{Element, Entries, Family, Field, Map, octets};

/// Ports on any address of the host, ports on one address, runs of ports that the container has under the same numbers, and
/// ports of containers that are reached at their own addresses.
const NAMES: [&str; 4] = ["ports", "ports_at", "port_ranges", "opened"];

/// The maps of a family, in the order of [`NAMES`].
const fn maps(
    any: &'static [Field],
    at: &'static [Field],
    to: &'static [Field],
    to_address: &'static [Field],
) -> [Map; 4] {
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
        Map {
            name: NAMES[3],
            key: at,
            data: &[],
            intervals: false,
        },
    ]
}

static MAPS: [Map; 4] = maps(
    &[Field::Protocol, Field::Port],
    &[Field::Address, Field::Protocol, Field::Port],
    &[Field::Address, Field::Port],
    &[Field::Address],
);

static MAPS6: [Map; 4] = maps(
    &[Field::Protocol, Field::Port],
    &[Field::Address6, Field::Protocol, Field::Port],
    &[Field::Address6, Field::Port],
    &[Field::Address6],
);

/// The maps of a family's table.
pub(crate) fn maps_of(family: Family) -> &'static [Map; 4] {
    match family {
        Family::Ip => &MAPS,
        Family::Ip6 => &MAPS6,
    }
}

/// A run of fewer is cheaper as single entries, which the kernel adds without copying the map.
const SHORTEST_RANGE: usize = 16;

/// A published port and the container behind it, whose address is of the same family as the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Forward {
    pub binding: PortBinding,
    pub container: IpAddr,
}

impl Forward {
    /// Whether a port of the host leads to it, rather than the container's own address alone.
    fn is_translated(&self) -> bool {
        self.binding.host_port != 0
    }
}

/// The maps' entries for the ports of a family: each port of the host is in one map. `opens` says of a container's address whether
/// its ports are reached there as well.
pub(crate) fn entries(
    family: Family,
    forwards: &[Forward],
    opens: impl Fn(IpAddr) -> bool,
) -> Vec<Entries> {
    let mut any = Vec::new();
    let mut at = Vec::new();
    let mut ranges = Vec::new();
    let own = |forward: &Forward| Family::of(forward.binding.host_ip) == family;
    let translated = |f: &&Forward| own(f) && f.is_translated();
    for run in runs(forwards.iter().filter(translated).copied().collect()) {
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
    // Two ports of the host can lead to one of a container.
    let opened = forwards.iter().filter(|f| own(f) && opens(f.container));
    let opened: BTreeSet<Vec<u8>> = opened.map(opened_key).collect();
    let opened = opened.into_iter().map(|key| Element {
        key,
        key_end: None,
        data: Vec::new(),
    });
    maps_of(family)
        .iter()
        .zip([any, at, ranges, opened.collect()])
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

fn opened_key(forward: &Forward) -> Vec<u8> {
    let mut key = octets(forward.container);
    key.extend(protocol_field(forward.binding.protocol));
    key.extend(port_field(forward.binding.container_port));
    key
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
        let entries = entries(Family::Ip, forwards, |_| false);
        [0, 1, 2].map(|at| {
            let of = entries.iter().filter(|e| e.map.name == NAMES[at]);
            of.map(|e| e.elements.len()).sum()
        })
    }

    #[test]
    fn what_is_reached_at_the_containers_address() {
        let names = |forwards: &[Forward], opens| -> Vec<(&str, usize)> {
            let entries = entries(Family::Ip, forwards, |_| opens);
            let all = entries.iter().map(|e| (e.map.name, e.elements.len()));
            all.collect()
        };
        let two = [forward("0.0.0.0", 8080, 80), forward("0.0.0.0", 8081, 80)];
        assert_eq!(names(&two, true), [("ports", 2), ("opened", 1)]);
        assert_eq!(names(&two, false), [("ports", 2)]);
        let routed = [forward("0.0.0.0", 0, 80)];
        assert_eq!(names(&routed, true), [("opened", 1)]);
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
}
