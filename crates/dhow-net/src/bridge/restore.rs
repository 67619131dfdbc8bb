//! A bridge of ours that another program has deleted, or taken an address from, as it was.
//!
//! Invariant: it gets the index among the links that it had, so that all who know it by that go on: rules know its name, and the
//! containers' neighbours its hardware address, which is made of its address. What the host had learned of its neighbours it
//! learns again.

use std::collections::HashSet;

use ipnet::{IpNet, Ipv4Net};

use super::{Bridge, addresses_of, ensure_as, others};
use crate::config::NetConfig;
use crate::error::{Doing, Error, Result};
use crate::netlink::{Batch, Socket};
use crate::rtnl::{self, Link, PortMode};
use crate::sandbox::{host_link_name, host_link_number};

/// Links that are asked for at once: each is acknowledged, and the answers wait in a buffer.
const AT_ONCE: usize = 32;

/// Gives whether anything was missing.
pub(crate) fn restore(socket: &mut Socket, bridge: &Bridge, config: &NetConfig) -> Result<bool> {
    let name = &bridge.info.name;
    let config = as_it_was(bridge, config);
    let found = rtnl::find_link(socket, name).doing(|| format!("cannot look for bridge {name}"))?;
    match found {
        Some(link) if link.index != bridge.index => Err(Error::BridgeReplaced(name.clone())),
        Some(_) => {
            let there = addresses_of(socket, name)?.unwrap_or_default();
            let [is_own, is_own6] = bridge.is_gateway;
            let own = config.bridge_ip.map(IpNet::V4).filter(|_| is_own);
            let own6 = bridge.info.ipv6.map(IpNet::V6).filter(|_| is_own6);
            let mut all = own.into_iter().chain(own6);
            if all.all(|net| there.contains(&net)) {
                return Ok(false);
            }
            ensure_as(socket, &config, None).map(|_| true)
        }
        None => {
            ensure_as(socket, &config, Some(bridge.index))?;
            let links = bridge.segments.on(0);
            put_on(socket, bridge.index, bridge.port_mode, &links)?;
            for number in 1..bridge.segments.count() {
                others::ensure(socket, bridge, number)?;
            }
            Ok(true)
        }
    }
}

/// With the addresses that were chosen.
fn as_it_was(bridge: &Bridge, config: &NetConfig) -> NetConfig {
    let mut config = config.clone();
    let prefix = bridge.info.subnet.prefix_len();
    config.bridge_ip = Some(Ipv4Net::new_assert(bridge.info.gateway, prefix));
    if let (Some(six), Some(own)) = (&mut config.ipv6, bridge.info.ipv6) {
        six.address = Some(own);
    }
    config
}

/// Makes containers' links ports of a bridge. One that is gone is passed over.
fn put_on(socket: &mut Socket, bridge: u32, mode: PortMode, links: &[u32]) -> Result<()> {
    for some in links.chunks(AT_ONCE) {
        let mut batch = Batch::default();
        for link in some {
            let name = host_link_name(*link);
            rtnl::set_master(&mut batch, Link::Name(&name), bridge);
            batch.tolerate(libc::ENODEV);
            if mode != PortMode::default() {
                rtnl::set_port_mode(&mut batch, Link::Name(&name), mode);
                batch.tolerate(libc::ENODEV);
            }
        }
        socket
            .transact(&batch, |_| {})
            .doing(|| "cannot make containers' links ports of their bridge".to_owned())?;
    }
    Ok(())
}

/// Of what an earlier daemon left: containers that live and whose links are ports of none of the network's bridges, as theirs was
/// deleted while no daemon was there.
pub(crate) fn put_back(socket: &mut Socket, bridge: &Bridge, live: &HashSet<&str>) -> Result<()> {
    let numbers = live.iter().filter_map(|name| host_link_number(name));
    let mut missing: Vec<u32> = numbers.filter(|link| !bridge.segments.has(*link)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    tracing::warn!(
        bridge = bridge.info.name,
        containers = missing.len(),
        "containers are not on their bridge, which was deleted: they are put on it"
    );
    while !missing.is_empty() {
        let (number, index) = match bridge.segments.with_room(0) {
            Some(found) => found,
            None => others::another(socket, bridge)?,
        };
        let mode = match number {
            0 => bridge.port_mode,
            _ => others::port_mode(bridge),
        };
        let room = bridge.segments.room(number).min(missing.len());
        let some: Vec<u32> = missing.drain(..room).collect();
        put_on(socket, index, mode, &some)?;
        for link in some {
            bridge.segments.enter(link, number);
        }
    }
    Ok(())
}
