//! The further bridges of a network in the kernel (`segments` says why there are any): made, tied to the first, taken over from
//! an earlier daemon, and removed with it.
//!
//! They are named by the first one's number among the host's links, which is its own as long as it is there: `dhx7-1`, and the
//! ends of the tie `dhx7-1a`, a port of the first, and `dhx7-1b`.

use std::collections::HashSet;
use std::io;

use super::{Bridge, refuse_routers, remove_link};
use crate::error::{Doing, Error, Result};
use crate::netlink::{Batch, Socket, errno};
use crate::rtnl::{self, Link, LinkState, PairEnd, PortMode};
use crate::sandbox::{host_link_number, random_mac};
use crate::segments;

/// What the names of all further bridges begin with, and of their ties.
pub(crate) const FURTHER: &str = "dhx";

fn name(first: u32, number: usize) -> String {
    format!("{FURTHER}{first:x}-{number}")
}

/// How a further bridge treats frames between containers' ports. It translates nothing (`crossing` in the rules), so that it can
/// keep ports apart where the first bridge leaves that to the rules.
pub(crate) fn port_mode(first: &Bridge) -> PortMode {
    PortMode {
        isolated: !first.icc,
        hairpin: false,
    }
}

/// The bridge of this number, from 1, ready to take containers' links: made, or what is there of it completed.
pub(crate) fn ensure(socket: &mut Socket, first: &Bridge, number: usize) -> Result<u32> {
    let name = name(first.index, number);
    let doing = || format!("cannot make bridge {name} behind {}", first.info.name);
    let link = match rtnl::find_link(socket, &name).doing(doing)? {
        Some(link) if link.kind.as_deref() == Some("bridge") => link,
        Some(_) => return Err(Error::NotABridge(name)),
        None => {
            let mut batch = Batch::default();
            let mac = random_mac().doing(doing)?;
            rtnl::new_bridge(&mut batch, &name, None, mac, first.info.mtu);
            rtnl::no_ipv6_addresses(&mut batch, Link::Name(&name));
            rtnl::up(&mut batch, Link::Name(&name));
            socket.transact(&batch, |_| {}).doing(doing)?;
            refuse_routers(&name);
            there(socket, &name).doing(doing)?
        }
    };
    match tie(socket, first, &name, link.index) {
        Ok(()) => Ok(link.index),
        Err(error) => {
            remove_link(socket, &format!("{name}a"))?;
            remove_link(socket, &name)?;
            Err(error)
        }
    }
}

/// Another bridge behind the first: its number and its index.
pub(crate) fn another(socket: &mut Socket, first: &Bridge) -> Result<(usize, u32)> {
    let number = first.segments.count();
    if first.foreign || number == segments::MOST {
        return Err(Error::BridgeFull(first.info.name.clone()));
    }
    let index = ensure(socket, first, number)?;
    Ok((first.segments.add(index), index))
}

fn there(socket: &mut Socket, name: &str) -> io::Result<LinkState> {
    rtnl::find_link(socket, name)?.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))
}

/// Ties a bridge to the first, unless it is.
fn tie(socket: &mut Socket, first: &Bridge, name: &str, index: u32) -> Result<()> {
    let ends = [format!("{name}a"), format!("{name}b")];
    let doing = || format!("cannot tie bridge {name} to {}", first.info.name);
    let mut tied = true;
    for (end, bridge) in ends.iter().zip([first.index, index]) {
        let link = rtnl::find_link(socket, end).doing(doing)?;
        tied &= link.is_some_and(|link| link.master == Some(bridge));
    }
    if tied {
        return Ok(());
    }
    // With one end the other goes.
    remove_link(socket, &ends[0])?;
    let mut batch = Batch::default();
    let end = |name| {
        Ok::<_, io::Error>(PairEnd {
            name,
            mac: random_mac()?,
        })
    };
    let (near, far) = (end(&ends[0]).doing(doing)?, end(&ends[1]).doing(doing)?);
    rtnl::new_local_pair(&mut batch, near, far, first.info.mtu);
    for (end, bridge) in ends.iter().zip([first.index, index]) {
        rtnl::no_ipv6_addresses(&mut batch, Link::Name(end));
        rtnl::set_master(&mut batch, Link::Name(end), bridge);
    }
    // Where containers are kept apart, those behind the tie are too. Its other end is a way out for them.
    if first.port_mode != PortMode::default() {
        rtnl::set_port_mode(&mut batch, Link::Name(&ends[0]), first.port_mode);
    }
    for end in &ends {
        rtnl::up(&mut batch, Link::Name(end));
    }
    match socket.transact(&batch, |_| {}) {
        Ok(()) => Ok(()),
        // br_add_if: others have taken the ports that were kept for this.
        Err(refusal) if errno(&refusal.error) == Some(libc::EXFULL) => {
            Err(Error::BridgeFull(first.info.name.clone()))
        }
        Err(refusal) => Err(refusal).doing(doing),
    }
}

/// Takes over what an earlier daemon left: of the first bridge and of those behind it the ports that are live are entered, and
/// others removed. Gives how many these were.
pub(crate) fn take_over(
    socket: &mut Socket,
    first: &Bridge,
    live: &HashSet<&str>,
) -> Result<usize> {
    let mut removed = take_over_ports(socket, first, first.index, 0, live)?;
    for number in 1.. {
        let name = name(first.index, number);
        let found =
            rtnl::find_link(socket, &name).doing(|| format!("cannot look for bridge {name}"))?;
        if found.is_none() {
            break;
        }
        let index = ensure(socket, first, number)?;
        first.segments.add(index);
        removed += take_over_ports(socket, first, index, number, live)?;
    }
    Ok(removed)
}

fn take_over_ports(
    socket: &mut Socket,
    first: &Bridge,
    index: u32,
    number: usize,
    live: &HashSet<&str>,
) -> Result<usize> {
    let ports = rtnl::bridge_ports(socket, index)
        .doing(|| format!("cannot list the ports of bridge {}", first.info.name))?;
    let mut removed = 0;
    for port in ports
        .iter()
        .filter(|port| port.kind.as_deref() == Some("veth"))
    {
        let Some(link) = host_link_number(&port.name) else {
            continue;
        };
        if live.contains(port.name.as_str()) {
            first.segments.enter(link, number);
        } else {
            removed += usize::from(remove_link(socket, &port.name)?);
        }
    }
    Ok(removed)
}

/// Removes a bridge and those behind it. Some may be gone already.
pub(crate) fn remove_all(socket: &mut Socket, bridge: &str) -> Result<()> {
    let looking = || format!("cannot look for bridge {bridge}");
    let Some(first) = rtnl::find_link(socket, bridge).doing(looking)? else {
        return Ok(());
    };
    for number in 1.. {
        let name = name(first.index, number);
        let tied = remove_link(socket, &format!("{name}a"))?;
        if !remove_link(socket, &name)? && !tied {
            break;
        }
    }
    remove_link(socket, bridge).map(drop)
}
