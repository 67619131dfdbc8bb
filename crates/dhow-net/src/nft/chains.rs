//! The chains of a table and their rules, which are always the same.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::bridge::others::FURTHER;
use crate::config::Mark;

use super::bridges::sets_of;
use super::forwards::maps_of;
use super::rule::{R0, Rule, Verdict};
use super::wire::{Family, Hook, Map, Transaction};

const LOOPBACK: &str = "lo";

const CHAIN_RAW: &str = "raw-prerouting";
const CHAIN_PREROUTING: &str = "nat-prerouting";
const CHAIN_OUTPUT: &str = "nat-output";
const CHAIN_POSTROUTING: &str = "nat-postrouting";
const CHAIN_FORWARD: &str = "filter-forward";
const CHAIN_PUBLISHED: &str = "published";
const CHAIN_INPUT: &str = "filter-input";
const CHAIN_TURNED: &str = "turned";

/// What is the same for all bridges of a daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scheme {
    /// The tables' name.
    pub table: String,
    /// What has it is forwarded onto every bridge but internal ones.
    pub accept_mark: Option<Mark>,
    /// The host's own firewall decides over published ports.
    pub detour: Option<Detour>,
}

/// By which way a packet that the host's input rules have let pass comes back, to be translated: a pair of links, both on the
/// host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Detour {
    /// The index of the one that it leaves by.
    pub out: u32,
    /// The name of the one that it comes back by.
    pub back: String,
}

impl From<&str> for Scheme {
    fn from(table: &str) -> Self {
        Scheme {
            table: table.to_owned(),
            accept_mark: None,
            detour: None,
        }
    }
}

/// Adds the chains, and their rules.
pub(crate) fn add_chains(transaction: &mut Transaction, family: Family, scheme: &Scheme) {
    // nft(8), "standard priority names".
    const RAW: i32 = -300;
    const DESTINATION: i32 = -100;
    const FILTER: i32 = 0;
    const SOURCE: i32 = 100;
    // Behind all that others have, and before conntrack confirms what is new.
    const LAST: i32 = 10_000;
    transaction.add_chain(CHAIN_PUBLISHED);
    if scheme.detour.is_some() {
        transaction.add_chain(CHAIN_TURNED);
        transaction.add_base_chain(CHAIN_INPUT, "filter", Hook::Input, LAST);
    }
    for (name, kind, hook, priority) in [
        (CHAIN_RAW, "filter", Hook::Prerouting, RAW),
        (CHAIN_PREROUTING, "nat", Hook::Prerouting, DESTINATION),
        (CHAIN_OUTPUT, "nat", Hook::Output, DESTINATION),
        (CHAIN_POSTROUTING, "nat", Hook::Postrouting, SOURCE),
        (CHAIN_FORWARD, "filter", Hook::Forward, FILTER),
    ] {
        transaction.add_base_chain(name, kind, hook, priority);
    }
    for (chain, rule) in rules(family, scheme) {
        transaction.add_rule(chain, rule);
    }
}

fn loopback_net(family: Family) -> IpNet {
    match family {
        Family::Ip => IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)),
        Family::Ip6 => IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)),
    }
}

/// Loads what a published port is looked up by.
type Load = fn(Rule, Family) -> Rule;

fn load_port(rule: Rule, _: Family) -> Rule {
    rule.load_protocol(R0).load_destination_port(R0.after(1))
}

fn load_port_at(rule: Rule, family: Family) -> Rule {
    let protocol = R0.after_address(family);
    rule.load_destination(family, R0)
        .load_protocol(protocol)
        .load_destination_port(protocol.after(1))
}

/// The maps of published ports, how each is looked up, and whether it says a port beside the container's address.
fn published(family: Family) -> [(&'static Map, Load, bool); 3] {
    let [ports, ports_at, ranges, _] = maps_of(family);
    [
        (ports_at, load_port_at, true),
        (ports, load_port, true),
        (ranges, load_port_at, false),
    ]
}

/// All rules: bridges and ports are entries of sets and maps.
pub(crate) fn rules(family: Family, scheme: &Scheme) -> Vec<(&'static str, Rule)> {
    let mut rules = always(family, scheme);
    let Some(detour) = &scheme.detour else {
        return rules;
    };
    // It went through the host's input rules as if a program had the port. What is left is turned back, to be translated; the
    // connection is then known, and the rest of it takes the short way. By which link it came is forgotten then: what would not
    // be forwarded is not turned.
    rules.push((
        CHAIN_INPUT,
        Rule::new()
            .arrives_not_by(LOOPBACK)
            .arrives_not_by(&detour.back)
            .new_connection()
            .load_arriving(R0)
            .no_member_of(&sets_of(family).closed)
            .jump(CHAIN_TURNED),
    ));
    rules.extend(published(family).map(|(map, load, _)| {
        let found = load(Rule::new(), family).look_up(map);
        let copied = found.copied_to(family, detour.out);
        (CHAIN_TURNED, copied.decide(Verdict::Drop))
    }));
    rules
}

fn always(family: Family, scheme: &Scheme) -> Vec<(&'static str, Rule)> {
    let from_host = match family {
        Family::Ip => Rule::new(),
        Family::Ip6 => Rule::new().destination_is_not(Ipv6Addr::LOCALHOST.into()),
    };
    let [.., opened] = maps_of(family);
    let sets = sets_of(family);
    let arrives = |rule: Rule| rule.load_arriving(R0);
    let leaves = |rule: Rule| rule.load_leaving(R0);
    let by_and_by = |rule| arrives(rule).load_leaving(R0.after_link());
    let leaves_own = || leaves(Rule::new()).load_source(family, R0.after_link());
    let forward = |rule: Rule, verdict| (CHAIN_FORWARD, rule.decide(verdict));
    let accept = |rule| forward(rule, Verdict::Accept);
    let drop = |rule| forward(rule, Verdict::Drop);
    let onto = |set| leaves(Rule::new()).member_of(set);
    let icmp = match family {
        Family::Ip => 1,
        Family::Ip6 => 58,
    };
    let to_published = |rule| load_port_at(rule, family).member_of(opened);
    let comes_to_ports = match &scheme.detour {
        None => Rule::new(),
        Some(detour) => Rule::new().arrives_by(&detour.back),
    };
    let mut rules = vec![
        // What crosses a further bridge is looked at when it comes to the first, as if it came from a port there.
        (
            CHAIN_RAW,
            Rule::new().arrives_by_one_of(FURTHER).untracked(),
        ),
        (
            CHAIN_RAW,
            Rule::new()
                .arrives_not_by(LOOPBACK)
                .destination_in(loopback_net(family))
                .decide(Verdict::Drop),
        ),
        (
            CHAIN_PREROUTING,
            comes_to_ports.destination_local().jump(CHAIN_PUBLISHED),
        ),
        (
            CHAIN_OUTPUT,
            from_host.destination_local().jump(CHAIN_PUBLISHED),
        ),
    ];
    rules.extend(published(family).map(|(map, load, port)| {
        let rule = load(Rule::new(), family).look_up(map);
        (CHAIN_PUBLISHED, rule.translate_destination(family, port))
    }));
    rules.extend([
        accept(Rule::new().established_or_related()),
        accept(by_and_by(Rule::new()).member_of(&sets.within)),
        drop(arrives(Rule::new()).member_of(&sets.closed)),
        drop(onto(&sets.closed)),
        accept(onto(&sets.bridges).translated()),
    ]);
    if let Some(mark) = scheme.accept_mark {
        rules.push(accept(onto(&sets.bridges).mark_is(mark)));
    }
    rules.extend([
        drop(by_and_by(Rule::new()).member_of(&sets.apart)),
        accept(onto(&sets.routed).protocol_is(icmp)),
        accept(to_published(onto(&sets.direct))),
        accept(to_published(
            by_and_by(Rule::new()).member_of(&sets.trusted),
        )),
        accept(arrives(onto(&sets.unprotected)).no_member_of(&sets.bridges)),
        drop(onto(&sets.bridges)),
        (
            CHAIN_POSTROUTING,
            onto(&sets.bridges)
                .source_in(loopback_net(family))
                .masquerade(),
        ),
        (
            CHAIN_POSTROUTING,
            Rule::new()
                .translated()
                .load_leaving(R0)
                .load_source(family, R0.after_link())
                .member_of(&sets.own)
                .masquerade(),
        ),
        (
            CHAIN_POSTROUTING,
            leaves_own().member_of(&sets.own).decide(Verdict::Accept),
        ),
    ]);
    let outward = || {
        let loaded = Rule::new().load_source(family, R0);
        loaded.load_protocol(R0.after_address(family))
    };
    rules.extend([
        (
            CHAIN_POSTROUTING,
            outward().member_of(&sets.masqueraded).masquerade(),
        ),
        (
            CHAIN_POSTROUTING,
            outward().look_up(&sets.sources).translate_source(family),
        ),
    ]);
    rules
}
