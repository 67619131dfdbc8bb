//! Networks on a link of the host's, the parent: containers have links of their own beside the host's, on the parent's wire.
//!
//! A link is made in the container's namespace at once, with no end on the host. It goes with that namespace, or is taken from
//! it; nothing of it can be left behind. The host's routes and firewall have no part in what passes, but for ipvlan's mode l3s.
//!
//! Invariant: a parent is only removed if it was made for networks, and is of the kind that was made.

mod ipvlan;
mod macvlan;
mod parent;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netlink_packet_route::link::{InfoData, InfoKind};

use crate::endpoint::{Addresses, Ipv6Place, Place};
use crate::error::{Doing, Error, Result};
use crate::ipam::{Address, Ipam};
use crate::mac::MacAddr;
use crate::make::Joining;
use crate::netlink::{Batch, Socket, errno};
use crate::pool::Pool;
use crate::rtnl::{self, Link, LinkState};
use crate::sandbox::Maker;
use crate::subnets::Subnets;

pub use ipvlan::{IpvlanFlag, IpvlanMode};
pub use macvlan::MacvlanMode;
pub use parent::{MadeParent, Parent};

/// What the kernel is asked for to find out whether it knows a kind of link.
const PROBE: &str = "dhow-probe";

/// The driver, with its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LanKind {
    Macvlan(MacvlanMode),
    Ipvlan(IpvlanMode, IpvlanFlag),
}

impl LanKind {
    /// As clients and the kernel call it.
    pub fn name(self) -> &'static str {
        match self {
            LanKind::Macvlan(_) => "macvlan",
            LanKind::Ipvlan(..) => "ipvlan",
        }
    }

    /// Whether a container's default route leads to its link, and not to a gateway.
    pub fn routes_by_link(self) -> bool {
        matches!(self, LanKind::Ipvlan(IpvlanMode::L3 | IpvlanMode::L3s, _))
    }

    fn is_passthru(self) -> bool {
        self == LanKind::Macvlan(MacvlanMode::Passthru)
    }

    /// Whether a link can have a hardware address that is chosen for it.
    pub(crate) fn has_macs(self) -> bool {
        matches!(self, LanKind::Macvlan(_))
    }

    fn kind(self) -> InfoKind {
        match self {
            LanKind::Macvlan(_) => InfoKind::MacVlan,
            LanKind::Ipvlan(..) => InfoKind::IpVlan,
        }
    }

    fn data(self) -> InfoData {
        match self {
            LanKind::Macvlan(mode) => mode.data(),
            LanKind::Ipvlan(mode, flag) => mode.data(flag),
        }
    }
}

/// A subnet of a network, of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LanSubnet<N, A> {
    pub net: N,
    /// Addresses are given out of this part of it only.
    pub range: Option<N>,
    /// A router on the wire, if there is one.
    pub gateway: Option<A>,
    /// Addresses that no container gets.
    pub reserved: Vec<A>,
}

/// The settings of a network on a parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LanConfig {
    pub kind: LanKind,
    pub parent: Parent,
    /// Containers have no way out. What is on the parent's wire is reached all the same.
    pub internal: bool,
    /// At least one.
    pub subnets: Vec<LanSubnet<Ipv4Net, Ipv4Addr>>,
    /// Without any, containers have no IPv6.
    pub subnets6: Vec<LanSubnet<Ipv6Net, Ipv6Addr>>,
}

/// The driver of one network.
#[derive(Clone, Debug)]
pub(crate) struct Lan {
    pub config: Arc<LanConfig>,
}

impl Lan {
    pub fn new(config: LanConfig) -> Lan {
        Lan {
            config: Arc::new(config),
        }
    }

    /// All addresses that can be given.
    pub fn pool(&self) -> Result<Pool> {
        let ip = subnets(&self.config.subnets)?.ok_or(Error::NoSubnet)?;
        let ipv6 = subnets(&self.config.subnets6)?;
        Ok(Pool { ip, ipv6 })
    }

    fn place(&self, addresses: Addresses, mac: Option<MacAddr>) -> Place {
        let config = &self.config;
        let routed = !config.internal && !config.kind.routes_by_link();
        let own = |subnet: &&LanSubnet<Ipv4Net, _>| subnet.net.contains(&addresses.ip);
        let own = config.subnets.iter().find(own);
        let ipv6 = addresses.ipv6.map(|ip| {
            let own = |subnet: &&LanSubnet<Ipv6Net, _>| subnet.net.contains(&ip);
            let own = config.subnets6.iter().find(own);
            Ipv6Place {
                ip,
                prefix: own.map_or(128, |own| own.net.prefix_len()),
                gateway: own.and_then(|own| own.gateway).filter(|_| routed),
            }
        });
        Place {
            ip: addresses.ip,
            prefix: own.map_or(32, |own| own.net.prefix_len()),
            gateway: own.and_then(|own| own.gateway).filter(|_| routed),
            ipv6,
            mac,
            host_link: String::new(),
        }
    }

    /// What the kernel says when a link of an earlier container with this address is still on its way out, or something else
    /// is in the way.
    fn refused(&self, error: io::Error) -> Error {
        let kind = self.config.kind;
        match errno(&error) {
            Some(libc::EOPNOTSUPP) => Error::NoSuchKind(kind.name()),
            Some(libc::EBUSY | libc::EADDRINUSE) => self.busy(error),
            // There can be one link.
            Some(libc::EINVAL) if kind.is_passthru() => self.busy(error),
            _ => Error::Kernel {
                doing: format!(
                    "failed to create the {} port on {}",
                    kind.name(),
                    self.config.parent.name
                ),
                source: error,
            },
        }
    }

    fn busy(&self, source: io::Error) -> Error {
        Error::ParentBusy {
            driver: self.config.kind.name(),
            parent: self.config.parent.name.clone(),
            source,
        }
    }
}

fn subnets<N, A: Address<Net = N>>(all: &[LanSubnet<N, A>]) -> Result<Option<Subnets<A>>>
where
    N: Copy,
{
    let mut subnets: Option<Subnets<A>> = None;
    for one in all {
        // Where there is no gateway, the network's own address stands for it, which is nobody's.
        let gateway = one.gateway.unwrap_or_else(|| A::bounds(one.net).0);
        let mut ipam = Ipam::new(one.net, one.range, gateway)?;
        for reserved in &one.reserved {
            ipam.claim(*reserved)?;
        }
        match &mut subnets {
            None => subnets = Some(ipam.into()),
            Some(subnets) => subnets.add(ipam),
        }
    }
    Ok(subnets)
}

/// What networks on parents need of whoever makes links.
pub(crate) trait MakeLan {
    /// An error if the kernel has no such links.
    fn check_kind(&mut self, kind: LanKind) -> Result<()>;

    /// The parent, made if it is one that is made for networks.
    fn ensure_parent(&mut self, parent: &Parent) -> Result<LinkState>;

    /// Removes a parent that was made, if it is still there.
    fn remove_parent(&mut self, parent: &Parent) -> Result<()>;

    /// Makes a link in a namespace that is there. `None` when that has a link of this name already. When it fails, nothing of
    /// it is left.
    fn join_lan(
        &mut self,
        lan: &Lan,
        netns: BorrowedFd<'_>,
        link: Joining<'_>,
    ) -> Result<Option<Place>>;

    /// Removes a link from a namespace that stays: that of the name or, if the container calls it otherwise by now, of the
    /// address.
    fn part_lan(&mut self, netns: BorrowedFd<'_>, name: &str, addresses: Addresses) -> Result<()>;
}

impl MakeLan for Maker {
    fn check_kind(&mut self, kind: LanKind) -> Result<()> {
        self.mend()?;
        let mut batch = Batch::default();
        rtnl::probe_child(&mut batch, PROBE, kind.kind());
        let Err(refusal) = self.socket.transact(&batch, |_| {}) else {
            // No kernel makes one.
            let mut batch = Batch::default();
            rtnl::delete_link(&mut batch, Link::Name(PROBE));
            return self
                .socket
                .transact(&batch, |_| {})
                .doing(|| format!("cannot remove link {PROBE}"));
        };
        match errno(&refusal.error) {
            Some(libc::EOPNOTSUPP) => Err(Error::NoSuchKind(kind.name())),
            _ => Ok(()),
        }
    }

    fn ensure_parent(&mut self, parent: &Parent) -> Result<LinkState> {
        self.mend()?;
        parent.ensure(&mut self.socket)
    }

    fn remove_parent(&mut self, parent: &Parent) -> Result<()> {
        self.mend()?;
        parent.remove(&mut self.socket)
    }

    fn join_lan(
        &mut self,
        lan: &Lan,
        netns: BorrowedFd<'_>,
        link: Joining<'_>,
    ) -> Result<Option<Place>> {
        let parent = self.ensure_parent(&lan.config.parent)?;
        let mut inside = self.socket_in(netns)?;
        let kind = lan.config.kind;
        let own_mac = kind.has_macs() && !kind.is_passthru();
        let mut batch = Batch::default();
        let child = rtnl::Child {
            name: link.name,
            parent: parent.index,
            mac: own_mac.then_some(link.mac),
            kind: kind.kind(),
            data: kind.data(),
        };
        rtnl::new_child(&mut batch, child, netns);
        match self.socket.transact(&batch, |_| {}) {
            Ok(()) => {}
            Err(refusal) if errno(&refusal.error) == Some(libc::EEXIST) => return Ok(None),
            Err(refusal) => return Err(lan.refused(refusal.error)),
        }
        match set_up(&mut inside, lan, link) {
            Ok(place) => Ok(Some(place)),
            Err(error) => {
                remove(&mut inside, Link::Name(link.name))?;
                Err(lan.refused(error))
            }
        }
    }

    fn part_lan(&mut self, netns: BorrowedFd<'_>, name: &str, addresses: Addresses) -> Result<()> {
        let mut inside = match self.socket_in(netns) {
            Ok(inside) => inside,
            // The container has ended, and its links with it.
            Err(Error::HostNamespace) => return Ok(()),
            Err(error) => return Err(error),
        };
        let doing = || format!("cannot look for link {name} of a container");
        let is_ours = |link: &LinkState| matches!(link.kind.as_deref(), Some("macvlan" | "ipvlan"));
        let mut found = rtnl::find_link(&mut inside, name).doing(doing)?;
        if !found.as_ref().is_some_and(is_ours) {
            let all = rtnl::addresses::<Ipv4Net>(&mut inside).doing(doing)?;
            found = match all.iter().find(|one| one.net.addr() == addresses.ip) {
                Some(one) => rtnl::find(&mut inside, Link::Index(one.link)).doing(doing)?,
                None => None,
            };
        }
        match found.filter(is_ours) {
            Some(link) => remove(&mut inside, Link::Index(link.index)),
            None => Ok(()),
        }
    }
}

/// Gives a new link its addresses and brings it up.
fn set_up(inside: &mut Socket, lan: &Lan, link: Joining<'_>) -> io::Result<Place> {
    let find = |inside: &mut Socket| {
        let found = rtnl::find_link(inside, link.name)?;
        found.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))
    };
    let index = find(inside)?.index;
    let kind = lan.config.kind;
    let place = lan.place(link.addresses, None);
    let mut batch = Batch::default();
    if kind.is_passthru() && link.mac_chosen {
        // The parent's changes with it, until the link goes.
        rtnl::set_mac(&mut batch, index, link.mac);
    }
    rtnl::no_ipv6_addresses(&mut batch, Link::Index(index));
    let ip = Ipv4Net::new_assert(place.ip, place.prefix);
    rtnl::new_address(&mut batch, index, IpNet::V4(ip));
    rtnl::announce_when_up(&mut batch, index);
    rtnl::up(&mut batch, Link::Index(index));
    if let Some(six) = place.ipv6 {
        let ip = Ipv6Net::new_assert(six.ip, six.prefix);
        rtnl::new_address(&mut batch, index, IpNet::V6(ip));
        // Of a hardware address that is the link's alone, also where the link's is not.
        let own = match kind.has_macs() {
            true => link.mac,
            false => MacAddr::of_ipv4(place.ip),
        };
        rtnl::new_address(&mut batch, index, rtnl::link_local(own));
    }
    inside.transact(&batch, |_| {}).map_err(io::Error::from)?;
    let mac = match kind.has_macs() {
        true => find(inside)?.mac,
        false => None,
    };
    Ok(Place { mac, ..place })
}

/// Removes a link, if it is there.
fn remove(socket: &mut Socket, link: Link<'_>) -> Result<()> {
    let mut batch = Batch::default();
    rtnl::delete_link(&mut batch, link);
    batch.tolerate(libc::ENODEV);
    socket
        .transact(&batch, |_| {})
        .doing(|| "cannot remove a link".to_owned())
}
