//! The chains of a table and their rules, which are always the same.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::bridge::others::FURTHER;

use super::bridges::{Sets, sets_of};
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

/// Adds the chains, and their rules.
pub(crate) fn add_chains(transaction: &mut Transaction, family: Family) {
    // nft(8), "standard priority names".
    const RAW: i32 = -300;
    const DESTINATION: i32 = -100;
    const FILTER: i32 = 0;
    const SOURCE: i32 = 100;
    transaction.add_chain(CHAIN_PUBLISHED);
    for (name, kind, hook, priority) in [
        (CHAIN_RAW, "filter", Hook::Prerouting, RAW),
        (CHAIN_PREROUTING, "nat", Hook::Prerouting, DESTINATION),
        (CHAIN_OUTPUT, "nat", Hook::Output, DESTINATION),
        (CHAIN_POSTROUTING, "nat", Hook::Postrouting, SOURCE),
        (CHAIN_FORWARD, "filter", Hook::Forward, FILTER),
    ] {
        transaction.add_base_chain(name, kind, hook, priority);
    }
    for (chain, rule) in rules(family) {
        transaction.add_rule(chain, rule);
    }
}

fn loopback_net(family: Family) -> IpNet {
    match family {
        Family::Ip => IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)),
        Family::Ip6 => IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)),
    }
}

/// All rules: bridges and ports are entries of sets and maps.
pub(crate) fn rules(family: Family) -> Vec<(&'static str, Rule)> {
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
    let Sets {
        bridges,
        closed,
        within,
        own,
        masqueraded,
    } = sets_of(family);
    let arrives = |rule: Rule| rule.load_arriving(R0);
    let leaves = |rule: Rule| rule.load_leaving(R0);
    vec![
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
        (
            CHAIN_FORWARD,
            arrives(Rule::new())
                .load_leaving(R0.after_link())
                .member_of(within)
                .decide(Verdict::Accept),
        ),
        (
            CHAIN_FORWARD,
            arrives(Rule::new()).member_of(closed).decide(Verdict::Drop),
        ),
        (
            CHAIN_FORWARD,
            leaves(Rule::new()).member_of(closed).decide(Verdict::Drop),
        ),
        (
            CHAIN_FORWARD,
            leaves(Rule::new())
                .member_of(bridges)
                .translated()
                .decide(Verdict::Accept),
        ),
        (
            CHAIN_FORWARD,
            leaves(Rule::new()).member_of(bridges).decide(Verdict::Drop),
        ),
        (
            CHAIN_POSTROUTING,
            leaves(Rule::new())
                .member_of(bridges)
                .source_in(loopback_net(family))
                .masquerade(),
        ),
        (
            CHAIN_POSTROUTING,
            Rule::new()
                .translated()
                .load_leaving(R0)
                .load_source(family, R0.after_link())
                .member_of(own)
                .masquerade(),
        ),
        (
            CHAIN_POSTROUTING,
            leaves(Rule::new())
                .load_source(family, R0.after_link())
                .member_of(own)
                .decide(Verdict::Accept),
        ),
        (
            CHAIN_POSTROUTING,
            Rule::new()
                .load_source(family, R0)
                .load_protocol(R0.after_address(family))
                .member_of(masqueraded)
                .masquerade(),
        ),
    ]
}
