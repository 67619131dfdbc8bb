//! The bridge: made or adopted, with its address, and the host's switches for forwarding.
//!
//! Invariant: an existing bridge is never removed, nor loses its ports: containers of an earlier daemon hang on it. One that is
//! somebody else's keeps all that it has.

use std::fs;
use std::io;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::config::{BridgeInfo, NetConfig};
use crate::error::{Doing, Error, Result};
use crate::mac::MacAddr;
use crate::netlink::{Batch, Socket, errno};
use crate::rtnl::{self, Link, PortMode};
use crate::sandbox::host_link_number;

/// The bridge as the kernel has it.
#[derive(Clone, Debug)]
pub(crate) struct Bridge {
    pub index: u32,
    pub info: BridgeInfo,
    pub port_mode: PortMode,
}

/// Makes the bridge, or takes the one that is there, so that it is as configured.
pub(crate) fn ensure(socket: &mut Socket, config: &NetConfig) -> Result<Bridge> {
    let name = &config.bridge;
    check_name(name)?;
    let existing =
        rtnl::find_link(socket, name).doing(|| format!("cannot look for bridge {name}"))?;
    let address = choose_address(socket, config, existing.as_ref().map(|link| link.index))?;
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
    set_address(socket, config, link.index, address)?;
    let mtu = match config.foreign && link.mtu > 0 {
        true => link.mtu,
        false => config.mtu,
    };
    let bridge = Bridge {
        index: link.index,
        info: BridgeInfo {
            name: name.clone(),
            subnet: address.trunc(),
            gateway: address.addr(),
            mtu,
        },
        port_mode: port_mode(config.icc, bridged_packets_meet_ip_rules()),
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

fn choose_address(socket: &mut Socket, config: &NetConfig, bridge: Option<u32>) -> Result<Ipv4Net> {
    if let Some(address) = config.bridge_ip {
        let usable = address.prefix_len() <= 30
            && address.addr() != address.network()
            && address.addr() != address.broadcast();
        return if usable {
            Ok(address)
        } else {
            Err(Error::InvalidBridgeAddress(address))
        };
    }
    let addresses = rtnl::addresses(socket).doing(|| "cannot list addresses".to_owned())?;
    if let Some(own) = addresses
        .iter()
        .find(|address| Some(address.link) == bridge && address.net.prefix_len() <= 30)
    {
        return Ok(own.net);
    }
    let mut busy = rtnl::routes(socket).doing(|| "cannot list routes".to_owned())?;
    busy.extend(addresses);
    free_subnet(
        config,
        busy.iter()
            .filter(|reachable| Some(reachable.link) != bridge)
            .map(|reachable| reachable.net)
            .collect(),
    )
}

/// The first subnet of the pools that overlaps nothing busy, with its first address.
fn free_subnet(config: &NetConfig, busy: Vec<Ipv4Net>) -> Result<Ipv4Net> {
    let overlaps =
        |subnet: &Ipv4Net, net: &Ipv4Net| subnet.contains(&net.trunc()) || net.contains(subnet);
    config
        .pools
        .iter()
        .flat_map(|pool| pool.subnets())
        .find(|subnet| {
            !busy
                .iter()
                // A default route, or one of its halves, as VPNs make them, is no claim to a subnet.
                .any(|net| net.prefix_len() > 1 && overlaps(subnet, net))
        })
        .and_then(|subnet| Ipv4Net::new(subnet.hosts().next()?, subnet.prefix_len()).ok())
        .ok_or(Error::NoFreeSubnet)
}

/// Gives the bridge its address, takes others from an earlier configuration away, and brings it up.
fn set_address(
    socket: &mut Socket,
    config: &NetConfig,
    index: u32,
    address: Ipv4Net,
) -> Result<()> {
    let name = &config.bridge;
    let mut batch = Batch::default();
    let addresses = rtnl::addresses(socket).doing(|| "cannot list addresses".to_owned())?;
    let own: Vec<Ipv4Net> = addresses
        .iter()
        .filter(|reachable| reachable.link == index)
        .map(|reachable| reachable.net)
        .collect();
    if !own.contains(&address) {
        if config.foreign && !own.is_empty() {
            return Err(Error::OthersBridge {
                bridge: name.clone(),
                address: own[0],
                wanted: address,
            });
        }
        rtnl::new_address(&mut batch, index, address);
        for stale in own {
            rtnl::delete_address(&mut batch, index, stale);
        }
    }
    rtnl::up(&mut batch, Link::Index(index));
    socket
        .transact(&batch, |_| {})
        .doing(|| format!("cannot give bridge {name} the address {address}"))
}

fn set_switches(config: &NetConfig) -> Result<()> {
    if config.ip_forward {
        set_switch("ip_forward")?;
    }
    if config.internal {
        return Ok(());
    }
    // Connections from the host's 127.0.0.1 to a published port leave by the bridge.
    if let Err(error) = set_switch(&format!("conf/{}/route_localnet", config.bridge)) {
        tracing::warn!(%error, "published ports can't be reached by 127.0.0.1");
    }
    Ok(())
}

/// Writes 1 to a switch below /proc/sys/net/ipv4, unless it is so already: then a read-only /proc/sys does no harm.
fn set_switch(path: &str) -> Result<()> {
    let path = format!("/proc/sys/net/ipv4/{path}");
    let doing = || format!("cannot write 1 to {path}");
    if fs::read(&path).doing(doing)?.trim_ascii() == b"1" {
        return Ok(());
    }
    fs::write(&path, "1").doing(doing)
}

/// The IPv4 addresses of a link. `None` if there is no such link.
pub(crate) fn addresses_of(socket: &mut Socket, name: &str) -> Result<Option<Vec<Ipv4Net>>> {
    check_name(name)?;
    let link = rtnl::find_link(socket, name).doing(|| format!("cannot look for link {name}"))?;
    let Some(link) = link else {
        return Ok(None);
    };
    let all = rtnl::addresses(socket).doing(|| "cannot list addresses".to_owned())?;
    let own = all.iter().filter(|reachable| reachable.link == link.index);
    Ok(Some(own.map(|reachable| reachable.net).collect()))
}

/// Takes an address from a link, if it has it.
pub(crate) fn take_address(socket: &mut Socket, name: &str, address: Ipv4Net) -> Result<()> {
    let link = rtnl::find_link(socket, name).doing(|| format!("cannot look for link {name}"))?;
    let Some(link) = link else {
        return Ok(());
    };
    let mut batch = Batch::default();
    rtnl::delete_address(&mut batch, link.index, address);
    match socket.transact(&batch, |_| {}) {
        Ok(()) => Ok(()),
        Err(refusal) if errno(&refusal.error) == Some(libc::EADDRNOTAVAIL) => Ok(()),
        Err(refusal) => Err(io::Error::from(refusal))
            .doing(|| format!("cannot take the address {address} from link {name}")),
    }
}

/// Removes ports of the bridge that belong to no live endpoint: what an earlier daemon had ready, or was killed while making.
/// Gives how many there were.
pub(crate) fn remove_stale_ports(
    socket: &mut Socket,
    bridge: &Bridge,
    live: impl Fn(&str) -> bool,
) -> Result<usize> {
    let ports = rtnl::bridge_ports(socket, bridge.index)
        .doing(|| format!("cannot list the ports of bridge {}", bridge.info.name))?;
    let mut removed = 0;
    for port in ports {
        let ours = port.kind.as_deref() == Some("veth") && host_link_number(&port.name).is_some();
        if ours && !live(&port.name) {
            removed += usize::from(remove_link(socket, &port.name)?);
        }
    }
    Ok(removed)
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
    /// An address of the subnet, with its prefix.
    pub fn container_net(&self, ip: Ipv4Addr) -> Ipv4Net {
        // The prefix length came from a network: it is at most 32.
        Ipv4Net::new_assert(ip, self.info.subnet.prefix_len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_subnet_that_nothing_uses() {
        let config = NetConfig::default();
        let nets = |texts: &[&str]| texts.iter().map(|t| t.parse().unwrap()).collect();
        let chosen = |busy: &[&str]| free_subnet(&config, nets(busy)).unwrap().to_string();
        assert_eq!(
            chosen(&["0.0.0.0/0", "0.0.0.0/1", "10.0.0.0/8"]),
            "172.17.0.1/16"
        );
        assert_eq!(chosen(&["172.17.200.0/24"]), "172.18.0.1/16");
        assert_eq!(chosen(&["172.16.0.0/12"]), "192.168.0.1/20");
        assert_eq!(
            chosen(&["172.16.0.0/12", "192.168.1.7/24"]),
            "192.168.16.1/20"
        );
        assert_eq!(
            chosen(&["172.16.0.0/12", "192.168.0.0/16", "10.128.0.0/24"]),
            "10.128.1.1/24"
        );
        assert!(matches!(
            free_subnet(
                &config,
                nets(&["172.16.0.0/12", "192.168.0.0/16", "10.0.0.0/8"])
            ),
            Err(Error::NoFreeSubnet)
        ));
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
