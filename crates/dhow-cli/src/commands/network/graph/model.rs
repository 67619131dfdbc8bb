//! What is drawn: networks, containers, and which is on which. Every text in it can be shown: what would steer a
//! terminal, or may not be in XML, is replaced here.

use std::collections::HashMap;

use dhow_api::{ContainerSummary, Network};

use crate::commands::container::ps;
use crate::format::text::{natural, short_id};

#[derive(Debug, Default)]
pub struct Graph {
    /// By name.
    pub networks: Vec<Net>,
    /// In the order of their first network, then by name.
    pub containers: Vec<Node>,
}

#[derive(Debug)]
pub struct Net {
    pub name: String,
    pub driver: String,
    /// Subnets with their gateways, and what sets it apart.
    pub facts: Vec<String>,
    pub members: Vec<Member>,
}

/// A container's place in a network.
#[derive(Debug)]
pub struct Member {
    /// Which of the containers.
    pub container: usize,
    pub addresses: Vec<String>,
}

#[derive(Debug)]
pub struct Node {
    pub name: String,
    /// Published ports.
    pub ports: Vec<String>,
    /// Its state, if it does not run.
    pub state: Option<String>,
    /// The container whose network namespace it is in.
    pub shares: Option<usize>,
}

impl Graph {
    /// With `only`, containers are left out that are on none of the networks.
    pub fn of(networks: &[Network], mut containers: Vec<ContainerSummary>, only: bool) -> Graph {
        let mut networks: Vec<&Network> = networks.iter().collect();
        networks.sort_by(|a, b| natural(&a.name, &b.name).then_with(|| a.id.cmp(&b.id)));
        let places = Places::of(&networks);
        let first = |container: &ContainerSummary| {
            let found = places.of_container(container);
            found.into_iter().map(|(network, _)| network).min()
        };
        containers.sort_by_cached_key(|container| {
            let name = name(container);
            (first(container).unwrap_or(usize::MAX), Natural(name))
        });
        let shares = sharers(&containers);
        if only {
            let kept: Vec<bool> = (0..containers.len())
                .map(|i| first(&containers[owner(&shares, i)]).is_some())
                .collect();
            let mut kept = kept.into_iter();
            containers.retain(|_| kept.next().unwrap_or(false));
            return Graph::with(&networks, &places, &containers);
        }
        Graph::with(&networks, &places, &containers)
    }

    fn with(networks: &[&Network], places: &Places, containers: &[ContainerSummary]) -> Graph {
        let mut nets: Vec<Net> = networks.iter().map(|network| net(network)).collect();
        for (i, container) in containers.iter().enumerate() {
            for (network, addresses) in places.of_container(container) {
                nets[network].members.push(Member {
                    container: i,
                    addresses,
                });
            }
        }
        let shares = sharers(containers);
        let nodes = containers
            .iter()
            .zip(shares)
            .map(|(container, shares)| Node {
                name: name(container),
                ports: ports(container),
                state: Some(shown(&container.state))
                    .filter(|state| !matches!(state.as_str(), "" | "running")),
                shares,
            })
            .collect();
        Graph {
            networks: nets,
            containers: nodes,
        }
    }

    /// Those in the network namespace of a container.
    pub fn sharers(&self, of: usize) -> impl Iterator<Item = usize> {
        let all = self.containers.iter().enumerate();
        all.filter_map(move |(i, node)| (node.shares == Some(of)).then_some(i))
    }

    /// Containers that are on no network, and in no other's namespace.
    pub fn apart(&self) -> Vec<usize> {
        let mut on = vec![false; self.containers.len()];
        for member in self.networks.iter().flat_map(|network| &network.members) {
            on[member.container] = true;
        }
        (0..on.len())
            .filter(|i| !on[*i] && self.containers[*i].shares.is_none())
            .collect()
    }
}

/// Names in the order in which people count.
#[derive(PartialEq, Eq)]
struct Natural(String);

impl Ord for Natural {
    fn cmp(&self, other: &Natural) -> std::cmp::Ordering {
        natural(&self.0, &other.0)
    }
}

impl PartialOrd for Natural {
    fn partial_cmp(&self, other: &Natural) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Where a network is in the list, by its id and its name.
struct Places(HashMap<String, usize>);

impl Places {
    fn of(networks: &[&Network]) -> Places {
        let mut places = HashMap::new();
        for (i, network) in networks.iter().enumerate() {
            places.entry(network.name.clone()).or_insert(i);
        }
        for (i, network) in networks.iter().enumerate() {
            places.insert(network.id.clone(), i);
        }
        Places(places)
    }

    /// The networks that a container is on, with its addresses. One that is not in the list has gone meanwhile, or was
    /// not asked for.
    fn of_container(&self, container: &ContainerSummary) -> Vec<(usize, Vec<String>)> {
        let endpoints = container.network_settings.networks.iter();
        let mut found: Vec<(usize, Vec<String>)> = endpoints
            .filter_map(|(name, endpoint)| {
                // One that does not run may have the id of a network that was there before.
                let place = self
                    .0
                    .get(&endpoint.network_id)
                    .or_else(|| self.0.get(name))?;
                let addresses = [&endpoint.ip_address, &endpoint.global_ipv6_address];
                let addresses = addresses.into_iter().filter(|address| !address.is_empty());
                Some((*place, addresses.map(|address| shown(address)).collect()))
            })
            .collect();
        found.sort();
        found.dedup_by_key(|(network, _)| *network);
        found
    }
}

/// For each container the one whose network namespace it shares.
fn sharers(containers: &[ContainerSummary]) -> Vec<Option<usize>> {
    let mut known: HashMap<&str, usize> = HashMap::new();
    for (i, container) in containers.iter().enumerate() {
        for name in &container.names {
            known.insert(name.trim_start_matches('/'), i);
        }
    }
    for (i, container) in containers.iter().enumerate() {
        known.insert(&container.id, i);
    }
    let other = |container: &ContainerSummary| {
        let mode = container.host_config.network_mode.as_str();
        known.get(mode.strip_prefix("container:")?).copied()
    };
    let mut shares: Vec<Option<usize>> = containers.iter().map(other).collect();
    // An answer need not make sense: in a circle nobody shares anything.
    let circles: Vec<usize> = (0..shares.len())
        .filter(|i| shares[owner(&shares, *i)].is_some())
        .collect();
    for i in circles {
        shares[i] = None;
    }
    shares
}

/// Whose network namespace a container is in, at the end of all sharing.
fn owner(shares: &[Option<usize>], mut of: usize) -> usize {
    // Bounded, as there may be a circle.
    for _ in 0..shares.len() {
        match shares[of] {
            Some(other) => of = other,
            None => break,
        }
    }
    of
}

fn net(network: &Network) -> Net {
    let subnets = network.ipam.config.iter().map(|config| {
        let subnet = shown(&config.subnet);
        match config.gateway.as_str() {
            "" => subnet,
            gateway => format!("{subnet} via {}", shown(gateway)),
        }
    });
    let mut facts: Vec<String> = subnets.filter(|text| !text.is_empty()).collect();
    let set_apart = [
        (network.internal, "internal"),
        (network.config_only, "configuration only"),
    ];
    let set_apart = set_apart.into_iter().filter(|(holds, _)| *holds);
    facts.extend(set_apart.map(|(_, fact)| fact.to_owned()));
    Net {
        name: shown(&network.name),
        driver: shown(&network.driver),
        facts,
        members: Vec::new(),
    }
}

fn name(container: &ContainerSummary) -> String {
    // Names with a further slash are of links.
    let mut names = container
        .names
        .iter()
        .map(|name| name.trim_start_matches('/'));
    let name = names.find(|name| !name.is_empty() && !name.contains('/'));
    shown(name.unwrap_or(short_id(&container.id)))
}

fn ports(container: &ContainerSummary) -> Vec<String> {
    let published = container.ports.iter().filter(|port| port.public_port != 0);
    let published: Vec<_> = published.cloned().collect();
    match ps::ports(&published).as_str() {
        "" => Vec::new(),
        ports => ports.split(", ").map(shown).collect(),
    }
}

fn shown(text: &str) -> String {
    let hidden =
        |c: char| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}' | '\u{2028}' | '\u{2029}');
    text.chars()
        .map(|c| {
            if hidden(c) {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
pub mod tests {
    use serde_json::json;

    use super::*;

    fn endpoint(id: &str, ip: &str, ip6: &str) -> serde_json::Value {
        json!({"NetworkID": id, "IPAddress": ip, "GlobalIPv6Address": ip6})
    }

    /// What a daemon with a bit of everything answers.
    pub fn answers() -> (Vec<Network>, Vec<ContainerSummary>) {
        let networks = json!([
            {"Name": "none", "Id": "n0", "Driver": "null", "IPAM": {"Driver": "default", "Config": null}},
            {"Name": "host", "Id": "n1", "Driver": "host"},
            {"Name": "bridge", "Id": "n2", "Driver": "bridge", "IPAM": {"Config": [{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}]}},
            {"Name": "net10", "Id": "n3", "Driver": "bridge", "Internal": true, "IPAM": {"Config": [{"Subnet": "10.10.0.0/24"}]}},
            {"Name": "net2", "Id": "n4", "Driver": "bridge", "IPAM": {"Config": [{"Subnet": "10.2.0.0/24", "Gateway": "10.2.0.1"}, {"Subnet": "fd00:2::/64", "Gateway": "fd00:2::1"}]}},
            {"Name": "<\"odd\\\n& co>", "Id": "n5", "Driver": "macvlan"},
        ]);
        let containers = json!([
            {"Id": "c1", "Names": ["/web"], "State": "running", "HostConfig": {"NetworkMode": "net2"},
             "Ports": [{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}, {"IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}, {"PrivatePort": 443, "Type": "tcp"}],
             "NetworkSettings": {"Networks": {"net2": endpoint("n4", "10.2.0.3", "fd00:2::3"), "net10": endpoint("n3", "10.10.0.2", "")}}},
            {"Id": "c2", "Names": ["/other/db", "/db"], "State": "paused", "HostConfig": {"NetworkMode": "net10"},
             "NetworkSettings": {"Networks": {"net10": endpoint("n3", "10.10.0.3", "")}}},
            {"Id": "c3", "Names": ["/helper"], "State": "running", "HostConfig": {"NetworkMode": "container:c1"}, "NetworkSettings": {"Networks": {}}},
            {"Id": "c4", "Names": ["/metrics"], "State": "running", "HostConfig": {"NetworkMode": "container:helper"}, "NetworkSettings": {"Networks": null}},
            {"Id": "c5", "Names": ["/old"], "State": "exited", "HostConfig": {"NetworkMode": "net2"},
             "NetworkSettings": {"Networks": {"net2": endpoint("gone", "", ""), "vanished": endpoint("gone2", "", "")}}},
            {"Id": "c6", "Names": ["/alone"], "State": "running", "HostConfig": {"NetworkMode": "net2"}, "NetworkSettings": {"Networks": {}}},
            {"Id": "c7", "Names": ["/agent"], "State": "running", "HostConfig": {"NetworkMode": "host"}, "NetworkSettings": {"Networks": {"host": endpoint("n1", "", "")}}},
            {"Id": "c8", "Names": ["/loop"], "State": "running", "HostConfig": {"NetworkMode": "container:c8"}, "NetworkSettings": {"Networks": {}}},
        ]);
        (
            serde_json::from_value(networks).unwrap(),
            serde_json::from_value(containers).unwrap(),
        )
    }

    pub fn graph() -> Graph {
        let (networks, containers) = answers();
        Graph::of(&networks, containers, false)
    }

    #[test]
    fn only_those_on_the_networks_are_left() {
        let (networks, containers) = answers();
        let names = |networks: &[Network]| {
            let graph = Graph::of(networks, containers.clone(), true);
            let names: Vec<String> = graph.containers.into_iter().map(|c| c.name).collect();
            names.join(" ")
        };
        assert_eq!(names(&networks[3..4]), "db web helper metrics");
        assert_eq!(names(&networks[1..2]), "agent");
        assert_eq!(names(&networks[5..]), "");
    }

    #[test]
    fn control_characters_are_not_shown() {
        assert_eq!(
            shown("a\u{1b}[1m\nb\u{ffff}"),
            "a\u{fffd}[1m\u{fffd}b\u{fffd}"
        );
    }
}
