//! The pair of links by which packets to published ports come back after the host's own input rules, where these decide over
//! published ports.
//!
//! Both ends are on the host, have no address, and ask nobody for neighbours: what goes in at one end comes out at the other as
//! it is, as new to conntrack. What comes back has addresses of elsewhere, so that no reverse path may be asked of it.

use std::fs;
use std::io;

use crate::bridge::{Bridge, remove_link};
use crate::config::NetConfig;
use crate::error::{Doing, Error, Result};
use crate::mac::MacAddr;
use crate::netlink::{Batch, Socket};
use crate::nft::ruleset::Detour;
use crate::rtnl::{self, Link, PairEnd};

/// What was put together of fragments goes through too.
const MTU: u32 = 65_535;

/// The two ends have the same: each packet is for whoever gets it.
const MAC: MacAddr = MacAddr([0x02, 0x42, 0, 0, 0, 1]);

/// Makes the pair where it is wanted, and takes it away where it isn't. Each daemon has its own, by its first bridge.
pub(crate) fn ensure(
    socket: &mut Socket,
    bridge: &Bridge,
    config: &NetConfig,
) -> Result<Option<Detour>> {
    let [out, back] = ["dho", "dhi"].map(|beginning| format!("{beginning}{}", bridge.index));
    if !config.host_firewall {
        remove_link(socket, &out)?;
        return Ok(None);
    }
    let doing = || "cannot make a way through the host's own firewall".to_owned();
    let strict = "/proc/sys/net/ipv4/conf/all/rp_filter";
    if fs::read(strict).is_ok_and(|value| value.trim_ascii() == b"1") {
        return Err(Error::StrictReversePath);
    }
    let find = |socket: &mut Socket| {
        let found = rtnl::find_link(socket, &out).doing(doing)?;
        Ok::<_, Error>(found.map(|link| link.index))
    };
    let there = find(socket)?;
    if there.is_none() {
        let mut batch = Batch::default();
        let [near, far] = [&out, &back].map(|name| PairEnd { name, mac: MAC });
        rtnl::new_local_pair(&mut batch, near, far, MTU);
        for end in [&out, &back] {
            rtnl::no_ipv6_addresses(&mut batch, Link::Name(end));
        }
        socket.transact(&batch, |_| {}).doing(doing)?;
    }
    let path = format!("/proc/sys/net/ipv4/conf/{back}/rp_filter");
    fs::write(&path, "0").doing(|| format!("cannot write 0 to {path}"))?;
    let mut batch = Batch::default();
    for end in [&out, &back] {
        rtnl::ask_for_none(&mut batch, Link::Name(end));
        rtnl::up(&mut batch, Link::Name(end));
    }
    socket.transact(&batch, |_| {}).doing(doing)?;
    let gone = || io::Error::from_raw_os_error(libc::ENODEV);
    let index = find(socket)?.ok_or_else(gone).doing(doing)?;
    if there.is_none() {
        // What IPv6 leaves by a link, it leaves by a route.
        let mut batch = Batch::default();
        rtnl::new_address(&mut batch, index, rtnl::link_local(MAC));
        if let Err(error) = socket.transact(&batch, |_| {}) {
            tracing::debug!(error = %io::Error::from(error), "no IPv6 on this host");
        }
    }
    Ok(Some(Detour { out: index, back }))
}
