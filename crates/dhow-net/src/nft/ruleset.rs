//! What the network tells nf_tables: one table of our own, so that other tools' rules are never touched.
//!
//! - Published ports are entries of maps, and bridges of sets: the rules are the same ones, and cost a connection the same, however
//!   many of them there are.
//! - A container is reached from outside by a published port only: what is forwarded onto a bridge must belong to a connection
//!   that a map translated, or that a container began.
//! - A connection to a published port from the host's loopback address, or from the same bridge, gets the bridge's address, so
//!   that the answers come back through the translation.
//! - Packets from the wire to 127.0.0.0/8 are dropped before anything is translated: ports that are published on the loopback
//!   address are the host's own.
//! - Where the host's own firewall is to decide over published ports, nothing is translated that comes by a link of the host's. It
//!   goes through the input rules of all tables, and what is left is copied to a pair of links and comes back to be translated.
//! - As soon as a bridge has IPv6 there is a second table of the same name for that family, with the same chains and maps. What is
//!   sent to `::1` stays on the host: the kernel takes no packet from there that came by another link.

use std::net::IpAddr;

use crate::netlink::Batch;

use super::wire::{Element, Entries, Family, Map, Transaction};
use super::{bridges, chains, forwards};

pub(crate) use super::bridges::{BridgeRules, FamilyRules, families};
pub(crate) use super::chains::{Detour, Scheme};
pub(crate) use super::forwards::Forward;

/// The sets and maps of a family's table.
pub(crate) fn maps_of(family: Family) -> impl Iterator<Item = &'static Map> {
    let sets = bridges::sets_of(family).all().into_iter();
    sets.chain(forwards::maps_of(family))
}

/// Replaces the tables, whatever they have now, by just these bridges and ports. `other` says that the other family may have a
/// table.
pub(crate) fn replace(
    scheme: &Scheme,
    bridges: &[BridgeRules],
    forwards: &[Forward],
    other: bool,
) -> Batch {
    let mut transaction = Transaction::new(&scheme.table);
    let opens = bridges::opens(bridges);
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
        chains::add_chains(&mut transaction, family, scheme);
        for entries in entries(family, bridges, forwards, &opens) {
            transaction.add_elements(entries.map, &entries.elements);
        }
    }
    transaction.finish()
}

fn entries(
    family: Family,
    bridges: &[BridgeRules],
    forwards: &[Forward],
    opens: impl Fn(IpAddr) -> bool,
) -> Vec<Entries> {
    let mut all = bridges::entries(family, bridges);
    all.extend(forwards::entries(family, forwards, opens));
    all
}

/// What is known of one side of a change.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known<'a> {
    pub bridges: &'a [BridgeRules],
    pub forwards: &'a [Forward],
}

/// Turns entries from `old` to `new` in the tables of these families, beside all the bridges that there are. `None` when nothing
/// changes.
pub(crate) fn change(
    table: &str,
    in_families: &[Family],
    all: &[BridgeRules],
    old: Known<'_>,
    new: Known<'_>,
) -> Option<Batch> {
    let mut transaction = Transaction::new(table);
    let mut changed = false;
    let opens = bridges::opens(all);
    for family in in_families {
        transaction.set_family(*family);
        let of = |side: Known<'_>| entries(*family, side.bridges, side.forwards, &opens);
        let (old, new) = (of(old), of(new));
        for map in maps_of(*family) {
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

/// How many rules a family's table has.
pub(crate) fn rule_count(family: Family, scheme: &Scheme) -> usize {
    chains::rules(family, scheme).len()
}

/// How many entries a family's set or map has with these bridges and ports.
pub(crate) fn element_count(
    family: Family,
    map: &Map,
    bridges: &[BridgeRules],
    forwards: &[Forward],
) -> usize {
    entries(family, bridges, forwards, bridges::opens(bridges))
        .into_iter()
        .filter(|entries| entries.map.name == map.name)
        .map(|entries| entries.elements.len())
        .sum()
}
