//! The addresses of a bridge: chosen, given and taken back.

use std::fs;
use std::io;
use std::net::Ipv6Addr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{check_name, refuse_routers};
use crate::config::{NetConfig, free_subnet};
use crate::error::{Doing, Error, Result};
use crate::netlink::{Batch, Socket, errno};
use crate::rtnl::{self, Link, Reachable};

/// The address that the bridge has on its link, as Docker's have.
const LINK_LOCAL: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), 64);

/// The bridge's own address, with the prefix of its subnet.
pub(super) fn choose_address(
    socket: &mut Socket,
    config: &NetConfig,
    bridge: Option<u32>,
) -> Result<Ipv4Net> {
    if let Some(address) = config.bridge_ip {
        let usable = address.prefix_len() <= 30
            && (address.addr() != address.network() || !config.has_address())
            && address.addr() != address.broadcast();
        return if usable {
            Ok(address)
        } else {
            Err(Error::InvalidBridgeAddress(address))
        };
    }
    let addresses =
        rtnl::addresses::<Ipv4Net>(socket).doing(|| "cannot list addresses".to_owned())?;
    if let Some(own) = addresses
        .iter()
        .find(|address| Some(address.link) == bridge && address.net.prefix_len() <= 30)
    {
        return Ok(own.net);
    }
    let mut busy = rtnl::routes::<Ipv4Net>(socket).doing(|| "cannot list routes".to_owned())?;
    busy.extend(addresses);
    match first_free(config, false, busy, bridge)? {
        // Each has room.
        IpNet::V4(subnet) => subnet
            .hosts()
            .next()
            .and_then(|ip| Ipv4Net::new(ip, subnet.prefix_len()).ok())
            .ok_or(Error::InvalidBridgeAddress(subnet)),
        IpNet::V6(_) => Err(Error::NoFreeSubnet {
            in_the_way: Vec::new(),
        }),
    }
}

/// The first subnet of the pools that overlaps nothing that the host reaches by other links than the bridge.
fn first_free<N: Into<IpNet>>(
    config: &NetConfig,
    ipv6: bool,
    reached: Vec<Reachable<N>>,
    bridge: Option<u32>,
) -> Result<IpNet> {
    let others = reached.into_iter().filter(|one| Some(one.link) != bridge);
    let mut busy: Vec<IpNet> = others.map(|one| one.net.into()).collect();
    busy.extend(&config.taken);
    free_subnet(&config.pools, ipv6, &busy)
}

pub(super) fn choose_address6(
    socket: &mut Socket,
    config: &NetConfig,
    bridge: Option<u32>,
) -> Result<Option<Ipv6Net>> {
    let Some(wanted) = &config.ipv6 else {
        return Ok(None);
    };
    if let Some(address) = wanted.address {
        check_address6(address, config.has_address6())?;
        return Ok(Some(address));
    }
    let addresses =
        rtnl::addresses::<Ipv6Net>(socket).doing(|| "cannot list addresses".to_owned())?;
    let own = addresses.iter().find(|address| {
        Some(address.link) == bridge
            && address.net.prefix_len() <= 126
            && !address.net.addr().is_unicast_link_local()
    });
    let address = match own {
        Some(own) => own.net,
        None => {
            let mut busy =
                rtnl::routes::<Ipv6Net>(socket).doing(|| "cannot list routes".to_owned())?;
            busy.extend(addresses);
            let IpNet::V6(subnet) = first_free(config, true, busy, bridge)? else {
                return Err(Error::NoFreeSubnet {
                    in_the_way: Vec::new(),
                });
            };
            let first = Ipv6Addr::from(u128::from(subnet.network()) + 1);
            Ipv6Net::new_assert(first, subnet.prefix_len())
        }
    };
    check_address6(address, true)?;
    Ok(Some(address))
}

fn check_address6(address: Ipv6Net, is_given: bool) -> Result<()> {
    if address.prefix_len() > 126 || (is_given && address.addr() == address.network()) {
        return Err(Error::InvalidBridgeAddress6(address));
    }
    fs::metadata("/proc/sys/net/ipv6")
        .map(drop)
        .map_err(Error::KernelWithoutIpv6)
}

/// Gives the bridge its addresses, takes others from an earlier configuration away, and brings it up.
pub(super) fn set_addresses(
    socket: &mut Socket,
    config: &NetConfig,
    index: u32,
    new: bool,
    address: Ipv4Net,
    ipv6: Option<Ipv6Net>,
) -> Result<()> {
    let name = &config.bridge;
    let mut batch = Batch::default();
    let listing = || "cannot list addresses".to_owned();
    // A bridge that was just made has none. All of the host's would be listed.
    let all = match new {
        true => Vec::new(),
        false => rtnl::addresses::<Ipv4Net>(socket).doing(listing)?,
    };
    let own = |link| link == index;
    let own4 = all.iter().filter(|a| own(a.link)).map(|a| a.net.into());
    if config.has_address() {
        change_addresses(&mut batch, config, index, address.into(), own4.collect())?;
    }
    if !config.foreign {
        // Whoever is on the bridge must not tell the host of routers.
        refuse_routers(name);
    }
    if let Some(address) = ipv6.filter(|_| config.has_address6()) {
        let all = match new {
            true => Vec::new(),
            false => rtnl::addresses::<Ipv6Net>(socket).doing(listing)?,
        };
        let global = all
            .iter()
            .filter(|a| own(a.link) && !a.net.addr().is_unicast_link_local());
        let local = all
            .iter()
            .any(|a| own(a.link) && a.net.addr().is_unicast_link_local());
        let own6 = global.map(|a| a.net.into()).collect();
        change_addresses(&mut batch, config, index, address.into(), own6)?;
        if !local && !config.foreign {
            rtnl::new_address(&mut batch, index, LINK_LOCAL.into());
        }
    }
    rtnl::up(&mut batch, Link::Index(index));
    socket.transact(&batch, |_| {}).doing(|| match ipv6 {
        None => format!("cannot give bridge {name} the address {address}"),
        Some(six) => format!("cannot give bridge {name} the addresses {address} and {six}"),
    })
}

/// From those of a family that the bridge has to the one that it is to have.
fn change_addresses(
    batch: &mut Batch,
    config: &NetConfig,
    index: u32,
    address: IpNet,
    own: Vec<IpNet>,
) -> Result<()> {
    if own.contains(&address) {
        return Ok(());
    }
    if config.foreign
        && let Some(there) = own.first()
    {
        return Err(Error::OthersBridge {
            bridge: config.bridge.clone(),
            address: *there,
            wanted: address,
        });
    }
    rtnl::new_address(batch, index, address);
    for stale in own {
        rtnl::delete_address(batch, index, stale);
    }
    Ok(())
}

/// The addresses of a link, but for link-local ones. `None` if there is no such link.
pub(crate) fn addresses_of(socket: &mut Socket, name: &str) -> Result<Option<Vec<IpNet>>> {
    check_name(name)?;
    let link = rtnl::find_link(socket, name).doing(|| format!("cannot look for link {name}"))?;
    let Some(link) = link else {
        return Ok(None);
    };
    let listing = || "cannot list addresses".to_owned();
    let own = |index| index == link.index;
    let ip = rtnl::addresses::<Ipv4Net>(socket).doing(listing)?;
    let ip = ip.iter().filter(|a| own(a.link)).map(|a| IpNet::V4(a.net));
    let ipv6 = rtnl::addresses::<Ipv6Net>(socket).doing(listing)?;
    let ipv6 = ipv6
        .iter()
        .filter(|a| own(a.link) && !a.net.addr().is_unicast_link_local())
        .map(|a| IpNet::V6(a.net));
    Ok(Some(ip.chain(ipv6).collect()))
}

/// Takes an address from a link, if it has it.
pub(crate) fn take_address(socket: &mut Socket, name: &str, address: IpNet) -> Result<()> {
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
