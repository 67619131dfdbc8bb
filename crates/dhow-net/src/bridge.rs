//! The bridge: made or adopted, with its address, and the host's switches for forwarding.
//!
//! Invariant: an existing bridge is never removed, nor loses its ports: containers of an earlier daemon hang on it. One that is
//! somebody else's keeps all that it has.

mod addresses;
pub(crate) mod others;
pub(crate) mod restore;

use std::collections::HashSet;
use std::fs;
use std::io;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::config::{BridgeInfo, NetConfig};
use crate::endpoint::{Addresses, Ipv6Place, Place};
use crate::error::{Doing, Error, Result};
use crate::mac::MacAddr;
use crate::netlink::{Batch, Socket, errno};
use crate::rtnl::{self, Link, PortMode};
use crate::sandbox::host_link_number;
use crate::segments::Segments;
use addresses::{choose_address, choose_address6, set_addresses};

pub(crate) use addresses::{addresses_of, take_address};

/// The bridge as the kernel has it.
#[derive(Clone, Debug)]
pub(crate) struct Bridge {
    pub index: u32,
    /// Its hardware address, if that stays: one of somebody else's can change with its ports.
    pub mac: Option<MacAddr>,
    pub foreign: bool,
    pub icc: bool,
    pub segments: Segments,
    pub info: BridgeInfo,
    pub port_mode: PortMode,
    /// Whether the gateway of IPv4, and that of IPv6, is the bridge itself.
    pub is_gateway: [bool; 2],
}

/// Makes the bridge, or takes the one that is there, so that it is as configured.
pub(crate) fn ensure(socket: &mut Socket, config: &NetConfig) -> Result<Bridge> {
    ensure_as(socket, config, None)
}

/// As [`ensure`]; one that is made gets this index among the links.
fn ensure_as(socket: &mut Socket, config: &NetConfig, wanted: Option<u32>) -> Result<Bridge> {
    let name = &config.bridge;
    check_name(name)?;
    let existing =
        rtnl::find_link(socket, name).doing(|| format!("cannot look for bridge {name}"))?;
    let address = choose_address(socket, config, existing.as_ref().map(|link| link.index))?;
    let index = existing.as_ref().map(|link| link.index);
    let new = existing.is_none();
    let ipv6 = choose_address6(socket, config, index)?;
    let link = match existing {
        Some(link) if link.kind.as_deref() == Some("bridge") => {
            // Docker leaves a bridge's MTU alone too when it has ports: the smallest of theirs rules.
            if link.mtu != config.mtu && !config.foreign {
                let mut batch = Batch::default();
                rtnl::set_mtu(&mut batch, link.index, config.mtu);
                socket
                    .transact(&batch, |_| {})
                    .doing(|| format!("cannot set the MTU of bridge {name} to {}", config.mtu))?;
            }
            link
        }
        Some(_) => return Err(Error::NotABridge(name.clone())),
        None => {
            let mut batch = Batch::default();
            // With an address of its own it doesn't change with the ports that come and go.
            rtnl::new_bridge(
                &mut batch,
                name,
                wanted,
                MacAddr::of_ipv4(address.addr()),
                config.mtu,
            );
            rtnl::no_ipv6_addresses(&mut batch, Link::Name(name));
            socket
                .transact(&batch, |_| {})
                .doing(|| format!("cannot make bridge {name}"))?;
            rtnl::find_link(socket, name)
                .doing(|| format!("cannot look for bridge {name}"))?
                .ok_or_else(|| Error::NotABridge(name.clone()))?
        }
    };
    set_addresses(socket, config, link.index, new, address, ipv6)?;
    let mtu = match config.foreign && link.mtu > 0 {
        true => link.mtu,
        false => config.mtu,
    };
    let segments = match config.foreign {
        false => Segments::new(link.index),
        true => Segments::alone(link.index),
    };
    let bridge = Bridge {
        index: link.index,
        mac: link.mac.filter(|_| !config.foreign),
        foreign: config.foreign,
        icc: config.icc,
        segments,
        info: BridgeInfo {
            name: name.clone(),
            subnet: address.trunc(),
            gateway: address.addr(),
            ipv6,
            mtu,
        },
        port_mode: port_mode(config.icc, bridged_packets_meet_ip_rules()),
        is_gateway: [config.has_address(), config.has_address6()],
    };
    set_switches(config)?;
    Ok(bridge)
}

/// Where bridged packets meet the IP rules (br_netfilter, as hosts of Kubernetes have it), translation happens between two ports:
/// a container that asks for its own published port must get the frame back, and only the rules can tell translated packets
/// from others. Elsewhere translated packets go through the host, and the bridge itself can keep its ports apart.
fn port_mode(icc: bool, ip_rules: bool) -> PortMode {
    PortMode {
        isolated: !icc && !ip_rules,
        hairpin: ip_rules,
    }
}

fn bridged_packets_meet_ip_rules() -> bool {
    // Without the module there is no such file.
    fs::read("/proc/sys/net/bridge/bridge-nf-call-iptables")
        .is_ok_and(|value| value.trim_ascii() == b"1")
}

/// What the kernel accepts (dev_valid_name), and no more than a sysctl path can have.
fn check_name(name: &str) -> Result<()> {
    let fine = (1..=15).contains(&name.len())
        && name != "."
        && name != ".."
        && name
            .bytes()
            .all(|b| b.is_ascii_graphic() && b != b'/' && b != b':');
    if !fine {
        return Err(Error::InvalidBridgeName(name.to_owned()));
    }
    Ok(())
}

fn refuse_routers(bridge: &str) {
    let path = format!("/proc/sys/net/ipv6/conf/{bridge}/accept_ra");
    match set_switch(&path, "0") {
        Ok(()) => {}
        // A host without IPv6 takes none.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(bridge, %error, "a container can tell this host of IPv6 routers");
        }
    }
}

fn set_switches(config: &NetConfig) -> Result<()> {
    if config.ip_forward {
        let path = "/proc/sys/net/ipv4/ip_forward";
        set_switch(path, "1").doing(|| format!("cannot write 1 to {path}"))?;
        if config.ipv6.is_some() {
            forward_ipv6()?;
        }
    }
    if config.internal {
        return Ok(());
    }
    // Connections from the host's 127.0.0.1 to a published port leave by the bridge.
    let path = format!("/proc/sys/net/ipv4/conf/{}/route_localnet", config.bridge);
    if let Err(error) = set_switch(&path, "1") {
        tracing::warn!(%error, path, "published ports can't be reached by 127.0.0.1");
    }
    Ok(())
}

/// A host that forwards takes no more routes from routers, unless told to: those that it has by them it is to keep.
fn forward_ipv6() -> Result<()> {
    const CONF: &str = "/proc/sys/net/ipv6/conf";
    let path = format!("{CONF}/all/forwarding");
    let doing = || format!("cannot write 1 to {path}");
    if fs::read(&path).doing(doing)?.trim_ascii() == b"1" {
        return Ok(());
    }
    for link in fs::read_dir(CONF)
        .doing(|| format!("cannot list {CONF}"))?
        .flatten()
    {
        let path = link.path().join("accept_ra");
        let accepts = fs::read(&path).is_ok_and(|value| value.trim_ascii() == b"1");
        if accepts && let Err(error) = fs::write(&path, "2") {
            tracing::warn!(%error, path = %path.display(), "the host may lose its IPv6 routes");
        }
    }
    fs::write(&path, "1").doing(doing)
}

/// Writes to a switch, unless it is so already: then a read-only /proc/sys does no harm.
fn set_switch(path: &str, value: &str) -> io::Result<()> {
    if fs::read(path)?.trim_ascii() == value.as_bytes() {
        return Ok(());
    }
    fs::write(path, value)
}

/// Removes a link. Gives whether it was there.
pub(crate) fn remove_link(socket: &mut Socket, name: &str) -> Result<bool> {
    let mut batch = Batch::default();
    rtnl::delete_link(&mut batch, Link::Name(name));
    match socket.transact(&batch, |_| {}) {
        Ok(()) => Ok(true),
        Err(refusal) if errno(&refusal.error) == Some(libc::ENODEV) => Ok(false),
        Err(refusal) => {
            Err(io::Error::from(refusal)).doing(|| format!("cannot remove link {name}"))
        }
    }
}

impl Bridge {
    /// A container's link is gone, or will be soon.
    pub fn forget(&self, host_link: &str) {
        if let Some(number) = host_link_number(host_link) {
            self.segments.leave(number);
        }
    }

    /// Forgets neighbours of an earlier daemon's, but for those that live.
    pub fn forget_others(&self, socket: &mut Socket, live: &HashSet<IpAddr>) -> Result<()> {
        let doing = || format!("cannot look for neighbours on bridge {}", self.info.name);
        let all = rtnl::learned_neighbours(socket, self.index).doing(doing)?;
        let gone: Vec<IpAddr> = all.into_iter().filter(|ip| !live.contains(ip)).collect();
        // Each is acknowledged, and the answers wait in a buffer.
        for some in gone.chunks(64) {
            let mut batch = Batch::default();
            for ip in some {
                rtnl::delete_neighbour(&mut batch, self.index, *ip);
            }
            socket.transact(&batch, |_| {}).doing(doing)?;
        }
        Ok(())
    }

    /// A container's addresses, with the subnets' prefixes.
    pub fn container_nets(&self, addresses: Addresses, mac: MacAddr) -> Vec<IpNet> {
        // The prefix lengths came from networks of the addresses' families.
        let ip = Ipv4Net::new_assert(addresses.ip, self.info.subnet.prefix_len());
        let mut nets = vec![IpNet::V4(ip)];
        if let (Some(ip), Some(own)) = (addresses.ipv6, self.info.ipv6) {
            nets.push(IpNet::V6(Ipv6Net::new_assert(ip, own.prefix_len())));
            nets.push(rtnl::link_local(mac));
        }
        nets
    }

    /// The bridge's own.
    pub fn gateways(&self) -> Vec<IpAddr> {
        let [ip, ipv6] = self.is_gateway;
        let own6 = self.info.ipv6.map(|own| IpAddr::V6(own.addr()));
        [IpAddr::V4(self.info.gateway)]
            .into_iter()
            .filter(|_| ip)
            .chain(own6.filter(|_| ipv6))
            .collect()
    }

    /// The IPv6 part of a container's place.
    pub fn place6(&self, addresses: Addresses) -> Option<Ipv6Place> {
        let own = self.info.ipv6?;
        Some(Ipv6Place {
            ip: addresses.ipv6?,
            prefix: own.prefix_len(),
            gateway: Some(own.addr()),
        })
    }

    /// A container's place behind a link.
    pub fn place(&self, addresses: Addresses, mac: MacAddr, host_link: String) -> Place {
        Place {
            ip: addresses.ip,
            prefix: self.info.subnet.prefix_len(),
            gateway: Some(self.info.gateway),
            ipv6: self.place6(addresses),
            mac: Some(mac),
            host_link,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::free_subnet;

    #[test]
    fn the_first_subnet_that_nothing_uses() {
        let pools = crate::default_pools();
        let chosen = |busy: &[&str]| {
            let busy: Vec<IpNet> = busy.iter().map(|t| t.parse().unwrap()).collect();
            free_subnet(&pools, false, &busy)
                .map(|subnet| subnet.to_string())
                .ok()
        };
        for (busy, subnet) in [
            (
                &["0.0.0.0/0", "0.0.0.0/1", "10.0.0.0/8"][..],
                "172.17.0.0/16",
            ),
            (&["172.17.200.0/24"], "172.18.0.0/16"),
            (&["172.16.0.0/12"], "192.168.0.0/20"),
            (&["172.16.0.0/12", "192.168.1.7/24"], "192.168.16.0/20"),
            (
                &["172.16.0.0/12", "192.168.0.0/16", "10.128.0.0/24"],
                "10.128.1.0/24",
            ),
        ] {
            assert_eq!(chosen(busy).as_deref(), Some(subnet));
        }
        let all = ["0.0.0.0/0", "172.16.0.0/12", "192.168.0.0/16", "10.0.0.0/8"];
        let error = free_subnet(&pools, false, &all.map(|t| t.parse().unwrap())).unwrap_err();
        let said = error.to_string();
        assert!(
            said.contains(", the largest 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16;"),
            "{said}"
        );
        // What lies in another, and what is larger than a pool's subnets.
        assert_eq!(
            chosen(&[
                "172.17.0.0/16",
                "172.17.3.0/24",
                "172.18.0.0/15",
                "172.20.9.0/24"
            ])
            .as_deref(),
            Some("172.21.0.0/16")
        );
        let site = crate::AddressPool::of_site([1, 2, 3, 4, 5]);
        let busy = ["::/0", "fd01:203:405::7/128"].map(|t| t.parse().unwrap());
        let subnet = free_subnet(&[site], true, &busy).unwrap();
        assert_eq!(subnet.to_string(), "fd01:203:405:1::/64");
    }

    #[test]
    fn bridge_names() {
        for good in ["dhow0", "br-1234567890ab", "a.b"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "sixteen-bytes-xx", "a/b", "a b", "..", "a:1"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
