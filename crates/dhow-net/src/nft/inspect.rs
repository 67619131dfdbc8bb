//! What the kernel has: how many rules and entries, and whether somebody else's chain drops what is forwarded.

use std::io;

use super::rule::Verdict;
use super::wire::{self, Family, Hook};
use crate::netlink::{Socket, attributes};

/// The family of the table that a message is about, if that is of this name.
pub(crate) fn family_of_table(payload: &[u8], table: &str) -> Option<Family> {
    let family = [Family::Ip, Family::Ip6]
        .into_iter()
        .find(|family| payload.first() == Some(&family.number()))?;
    let name = value(payload, wire::TABLE_NAME)?;
    (text(name) == table).then_some(family)
}

/// How many rules the table has.
pub(crate) fn count_rules(socket: &mut Socket, family: Family, table: &str) -> io::Result<usize> {
    let mut count = 0;
    let request = wire::dump(wire::GET_RULE, family.number(), Some(table), None);
    socket.dump(&request, |message| {
        let rule = wire::kind(message.kind) == Some(wire::NEW_RULE);
        let own = family_of_table(message.payload, table) == Some(family);
        count += usize::from(rule && own);
    })?;
    Ok(count)
}

/// How many entries a map has.
pub(crate) fn count_elements(
    socket: &mut Socket,
    family: Family,
    table: &str,
    map: &str,
) -> io::Result<usize> {
    let mut count = 0;
    let request = wire::dump(
        wire::GET_SET_ELEMENTS,
        family.number(),
        Some(table),
        Some(map),
    );
    socket.dump(&request, |message| {
        count += value(message.payload, wire::ELEMENTS).map_or(0, |list| attributes(list).count());
    })?;
    Ok(count)
}

/// Table and name of the chains that drop by policy what is forwarded.
pub(crate) fn dropping_forward_chains(socket: &mut Socket) -> io::Result<Vec<(String, String)>> {
    let mut chains = Vec::new();
    for family in [
        Family::Ip.number(),
        Family::Ip6.number(),
        wire::NFPROTO_INET,
    ] {
        let request = wire::dump(wire::GET_CHAIN, family, None, None);
        socket.dump(&request, |message| {
            chains.extend(dropping_forward_chain(message.payload));
        })?;
    }
    Ok(chains)
}

fn dropping_forward_chain(payload: &[u8]) -> Option<(String, String)> {
    let hook = attributes(value(payload, wire::CHAIN_HOOK)?)
        .find(|(kind, _)| *kind == wire::HOOK_NUMBER)?
        .1;
    let forward = hook == (Hook::Forward as u32).to_be_bytes();
    let drops = value(payload, wire::CHAIN_POLICY)? == (Verdict::Drop as u32).to_be_bytes();
    let name = |kind| value(payload, kind).map(text);
    (forward && drops).then_some((name(wire::TABLE_NAME)?, name(wire::CHAIN_NAME)?))
}

fn value(payload: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(payload.get(wire::GENERIC_HEADER..)?)
        .find(|(kind, _)| *kind == wanted)
        .map(|(_, value)| value)
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value)
        .trim_end_matches('\0')
        .to_owned()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rustix::thread::UnshareFlags;

    use super::*;

    #[test]
    fn finds_the_chains_that_drop() {
        std::thread::spawn(|| {
            // SAFETY: only this thread's network namespace changes.
            unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
            let rules = "add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }; \
                add chain ip filter INPUT { type filter hook input priority 0; policy drop; }; \
                add table inet fw; add chain inet fw fine { type filter hook forward priority 0; }; \
                add chain inet fw strict { type filter hook forward priority 1; policy drop; }";
            assert!(Command::new("nft").arg(rules).status().unwrap().success());
            let mut socket = Socket::open(libc::NETLINK_NETFILTER, 0).unwrap();
            let chains = dropping_forward_chains(&mut socket).unwrap();
            let expected = [("filter", "FORWARD"), ("fw", "strict")];
            assert_eq!(chains, expected.map(|(t, c)| (t.to_owned(), c.to_owned())));
        })
        .join()
        .unwrap();
    }

    #[test]
    fn counts_survive_broken_messages() {
        for payload in [
            &[][..],
            &[2],
            &[2, 0, 0, 0, 255, 255, 1, 0],
            &[2, 0, 0, 0, 4, 0, 1, 0],
        ] {
            assert_eq!(family_of_table(payload, "dhow"), None);
            assert_eq!(dropping_forward_chain(payload), None);
        }
    }
}
