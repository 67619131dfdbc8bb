//! Sandboxes: network namespaces, made by a thread that goes in, makes what has to be made inside, and comes back.
//!
//! Invariant: a namespace is held by descriptors only, never by a mount, so one that nobody took over goes with the daemon. A
//! thread that can't come back to the host's namespace ends rather than work in the wrong one.

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use crate::bridge::{self, Bridge};
use crate::config::NetConfig;
use crate::endpoint::{Addresses, Endpoint, Gateways, LinkWishes, Way};
use crate::error::{Doing, Error, Result};
use crate::mac::MacAddr;
use crate::make::{Joining, Make};
use crate::netlink::{Batch, Socket, errno};
use crate::rtnl::{self, Link, PairEnd, PortMode};
use crate::switches::Switches;

/// The container's end of the pair.
const CONTAINER_LINK: &str = "eth0";
const HOST_LINK_PREFIX: &str = "veth";
/// Hexadecimal digits after it.
const HOST_LINK_DIGITS: usize = 7;
/// How many names there are.
const HOST_LINKS: u32 = 1 << (4 * HOST_LINK_DIGITS);
/// The first link after the loopback one. Relying on it saves a question, which would wait for the kernel's one lock.
const CONTAINER_LINK_INDEX: u32 = 2;
/// How often a name that is taken is replaced by another of 16^7.
const NAME_ATTEMPTS: usize = 8;

/// The number in a host link's name, if it is a name of the kind that we make.
pub(crate) fn host_link_number(name: &str) -> Option<u32> {
    let digits = name.strip_prefix(HOST_LINK_PREFIX)?;
    let ours = digits.len() == HOST_LINK_DIGITS
        && digits
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    ours.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
}

/// The name of a host link.
pub(crate) fn host_link_name(number: u32) -> String {
    format!("{HOST_LINK_PREFIX}{number:0HOST_LINK_DIGITS$x}")
}

/// What a thread that makes sandboxes works with.
#[derive(Debug)]
pub(crate) struct Maker {
    /// The host's namespace, to come back to.
    home: File,
    /// A socket in it.
    pub socket: Socket,
    /// The index that a container's link has. `None` where the kernel puts links of its own into every namespace (tunnels'
    /// fallback devices): then it is looked up.
    index: Option<u32>,
    switches: Switches,
}

/// A namespace, and a socket that is inside it wherever the thread is.
struct Entered {
    netns: OwnedFd,
    socket: Socket,
}

impl Maker {
    /// Of the calling thread's namespace.
    pub fn new() -> Result<Self> {
        Ok(Maker {
            home: own_namespace().doing(|| "cannot open the network namespace".to_owned())?,
            socket: Socket::open(libc::NETLINK_ROUTE, 0)
                .doing(|| "cannot open a route netlink socket".to_owned())?,
            index: Some(CONTAINER_LINK_INDEX),
            switches: Switches::default(),
        })
    }

    /// Opens the socket anew after it broke.
    pub fn mend(&mut self) -> Result<()> {
        if self.socket.is_broken() {
            tracing::warn!("the sandboxes' netlink socket broke; opening another");
            self.socket = Socket::open(libc::NETLINK_ROUTE, 0)
                .doing(|| "cannot open a route netlink socket".to_owned())?;
        }
        Ok(())
    }

    fn enter_new(&mut self) -> Result<Entered> {
        let made = || "cannot make a network namespace".to_owned();
        // SAFETY: unshare(2) of the network namespace leaves file descriptors, memory and everything else of the thread as is.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.doing(made)?;
        let entered = (|| {
            let netns = own_namespace()?.into();
            let socket = Socket::open(libc::NETLINK_ROUTE, 0)?;
            self.switches.set();
            Ok::<_, io::Error>(Entered { netns, socket })
        })();
        self.come_home();
        entered.doing(made)
    }

    /// A socket in a namespace that is there, and not the host's.
    pub fn socket_in(&self, netns: BorrowedFd<'_>) -> Result<Socket> {
        refuse_same(netns, self.home.as_fd())?;
        let entered = || "cannot enter a container's network namespace".to_owned();
        move_into_link_name_space(netns, Some(LinkNameSpaceType::Network)).doing(entered)?;
        let socket = Socket::open(libc::NETLINK_ROUTE, 0);
        self.come_home();
        socket.doing(entered)
    }

    fn come_home(&self) {
        if let Err(error) =
            move_into_link_name_space(self.home.as_fd(), Some(LinkNameSpaceType::Network))
        {
            // All later work of this thread would go to the wrong namespace. Its owner starts another.
            panic!("cannot come back to the host's network namespace: {error}");
        }
    }

    /// Makes the pair of links, and gives the name of the host's. `None` when the namespace has a link of this name.
    fn pair(
        &mut self,
        bridge: &Bridge,
        netns: BorrowedFd<'_>,
        container: Joining<'_>,
    ) -> Result<Option<String>> {
        let mut attempts = 0;
        let mut from = 0;
        loop {
            let (segment, master) = match bridge.segments.with_room(from) {
                Some(found) => found,
                None => bridge::others::another(&mut self.socket, bridge)?,
            };
            let random = random_bytes().doing(|| "cannot get random bytes".to_owned())?;
            let [.., a, b, c, d] = random;
            let number = u32::from_ne_bytes([a, b, c, d]) % HOST_LINKS;
            let name = host_link_name(number);
            let mut batch = Batch::default();
            rtnl::new_pair(
                &mut batch,
                PairEnd {
                    name: &name,
                    mac: host_mac(random),
                },
                PairEnd {
                    name: container.name,
                    mac: container.mac,
                },
                netns,
                master,
                bridge.info.mtu,
            );
            let mode = match segment {
                0 => bridge.port_mode,
                _ => bridge::others::port_mode(bridge),
            };
            if mode != PortMode::default() {
                rtnl::set_port_mode(&mut batch, Link::Name(&name), mode);
            }
            rtnl::no_ipv6_addresses(&mut batch, Link::Name(&name));
            rtnl::up(&mut batch, Link::Name(&name));
            for ip in container.addresses.each() {
                rtnl::new_neighbour(&mut batch, bridge.index, ip, container.mac);
            }
            match self.socket.transact(&batch, |_| {}) {
                Ok(()) => {
                    bridge.segments.enter(number, segment);
                    if segment > 0
                        && bridge.port_mode.hairpin
                        && let Err(error) = self.fix_port(&name, container.mac)
                    {
                        // In a namespace that stays the link would, too.
                        bridge.forget(&name);
                        bridge::remove_link(&mut self.socket, &name)?;
                        return Err(error);
                    }
                    return Ok(Some(name));
                }
                // Which of the two names is taken isn't told.
                Err(refusal)
                    if errno(&refusal.error) == Some(libc::EEXIST) && refusal.message == 1 =>
                {
                    attempts += 1;
                    if attempts == NAME_ATTEMPTS {
                        return Ok(None);
                    }
                }
                // br_add_if, when there is no port number left.
                Err(refusal) if errno(&refusal.error) == Some(libc::EXFULL) => from = segment + 1,
                Err(refusal) => {
                    return Err(io::Error::from(refusal))
                        .doing(|| format!("cannot make a port of bridge {}", bridge.info.name));
                }
            }
        }
    }

    fn fix_port(&mut self, link: &str, mac: MacAddr) -> Result<()> {
        let doing = || format!("cannot say who is behind link {link}");
        let Some(port) = rtnl::find_link(&mut self.socket, link).doing(doing)? else {
            return Ok(());
        };
        let mut batch = Batch::default();
        rtnl::fix_port(&mut batch, port.index, mac);
        self.socket.transact(&batch, |_| {}).doing(doing)
    }
}

impl Make for Maker {
    fn isolated(&mut self) -> Result<OwnedFd> {
        let mut entered = self.enter_new()?;
        let mut batch = Batch::default();
        rtnl::up(&mut batch, Link::Index(rtnl::LOOPBACK));
        entered
            .socket
            .transact(&batch, |_| {})
            .doing(|| "cannot bring up the loopback link".to_owned())?;
        Ok(entered.netns)
    }

    fn endpoint(
        &mut self,
        bridge: &Bridge,
        addresses: Addresses,
        mac: MacAddr,
    ) -> Result<Endpoint> {
        self.mend()?;
        let mut entered = self.enter_new()?;
        let link = Joining {
            name: CONTAINER_LINK,
            addresses,
            mac,
            mac_chosen: false,
        };
        let host_link = self
            .pair(bridge, entered.netns.as_fd(), link)?
            .ok_or_else(|| io::Error::from_raw_os_error(libc::EEXIST))
            .doing(|| format!("cannot make a port of bridge {}", bridge.info.name))?;
        let index = match self.index {
            Some(index) => index,
            None => {
                rtnl::find_link(&mut entered.socket, CONTAINER_LINK)
                    .and_then(|link| link.ok_or_else(no_device))
                    .doing(|| "cannot find the container's link".to_owned())?
                    .index
            }
        };
        let mut batch = Batch::default();
        rtnl::no_ipv6_addresses(&mut batch, Link::Both(index, CONTAINER_LINK));
        rtnl::up(&mut batch, Link::Index(index));
        rtnl::up(&mut batch, Link::Index(rtnl::LOOPBACK));
        for net in bridge.container_nets(addresses, mac) {
            rtnl::new_address(&mut batch, index, net);
        }
        for gateway in bridge.gateways() {
            rtnl::set_default_route(&mut batch, gateway);
            if let Some(mac) = bridge.mac {
                rtnl::new_neighbour(&mut batch, index, gateway, mac);
            }
        }
        match entered.socket.transact(&batch, |_| {}) {
            Ok(()) => {}
            Err(refusal)
                if refusal.message == 1
                    && errno(&refusal.error) == Some(libc::EEXIST)
                    && self.index.is_some() =>
            {
                // What was set is another link's. The namespace is given up, and the pair with it.
                bridge.forget(&host_link);
                self.index = None;
                return self.endpoint(bridge, addresses, mac);
            }
            Err(refusal) => {
                bridge.forget(&host_link);
                return Err(io::Error::from(refusal))
                    .doing(|| format!("cannot give a container the address {}", addresses.ip));
            }
        }
        Ok(Endpoint {
            netns: entered.netns,
            ip: addresses.ip,
            prefix: bridge.info.subnet.prefix_len(),
            gateway: bridge.info.gateway,
            ipv6: bridge.place6(addresses),
            mac,
            host_link,
        })
    }

    fn join(
        &mut self,
        bridge: &Bridge,
        netns: BorrowedFd<'_>,
        link: Joining<'_>,
    ) -> Result<Option<String>> {
        self.mend()?;
        let mut inside = self.socket_in(netns)?;
        let Some(host_link) = self.pair(bridge, netns, link)? else {
            return Ok(None);
        };
        let addressed = (|| {
            let found = rtnl::find_link(&mut inside, link.name)?;
            let index = found.ok_or_else(no_device)?.index;
            let mut batch = Batch::default();
            rtnl::no_ipv6_addresses(&mut batch, Link::Index(index));
            rtnl::up(&mut batch, Link::Index(index));
            for net in bridge.container_nets(link.addresses, link.mac) {
                rtnl::new_address(&mut batch, index, net);
            }
            for (gateway, mac) in bridge.gateways().into_iter().zip(bridge.mac.iter().cycle()) {
                rtnl::new_neighbour(&mut batch, index, gateway, *mac);
            }
            inside.transact(&batch, |_| {}).map_err(io::Error::from)
        })();
        match addressed {
            Ok(()) => Ok(Some(host_link)),
            Err(error) => {
                bridge.forget(&host_link);
                bridge::remove_link(&mut self.socket, &host_link)?;
                Err(error)
                    .doing(|| format!("cannot give a container the address {}", link.addresses.ip))
            }
        }
    }

    fn adapt(&mut self, netns: BorrowedFd<'_>, link: &str, wishes: &LinkWishes) -> Result<()> {
        let doing = || format!("cannot give a container's link {link} further addresses");
        let mut inside = self.socket_in(netns)?;
        let found = rtnl::find_link(&mut inside, link).doing(doing)?;
        let index = found
            .ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))
            .doing(doing)?
            .index;
        let mut batch = Batch::default();
        for net in &wishes.addresses {
            rtnl::new_address(&mut batch, index, *net);
            batch.tolerate(libc::EEXIST);
        }
        if batch.count > 0 {
            inside.transact(&batch, |_| {}).doing(doing)?;
        }
        if wishes.switches.is_empty() {
            return Ok(());
        }
        let doing = || "cannot enter a container's network namespace".to_owned();
        move_into_link_name_space(netns, Some(LinkNameSpaceType::Network)).doing(doing)?;
        let set = wishes.switches.iter().try_for_each(|switch| {
            let path = format!("{}/{}/{link}/{}", switch.family, switch.group, switch.name);
            self.switches
                .write(&path, &switch.value)
                .doing(|| format!("cannot write {:?} to /proc/sys/net/{path}", switch.value))
        });
        self.come_home();
        set
    }

    fn set_default_routes(&mut self, netns: BorrowedFd<'_>, gateways: Gateways) -> Result<()> {
        let mut inside = self.socket_in(netns)?;
        let mut batch = Batch::default();
        let ip = gateways.ip.map(|way| way.map(IpAddr::V4));
        let ipv6 = gateways.ipv6.map(|way| way.map(IpAddr::V6));
        for (way, ipv6) in [(ip, false), (ipv6, true)] {
            match way {
                Some(Way::Gateway(gateway)) => rtnl::set_default_route(&mut batch, gateway),
                Some(Way::Link(name)) => {
                    let index = rtnl::find_link(&mut inside, &name)
                        .and_then(|link| link.ok_or_else(no_device))
                        .doing(|| format!("cannot find the container's link {name}"))?
                        .index;
                    rtnl::set_default_link(&mut batch, index, ipv6);
                }
                None => rtnl::delete_default_route(&mut batch, ipv6),
            }
        }
        inside
            .transact(&batch, |_| {})
            .map_err(io::Error::from)
            .doing(|| "cannot set a container's default route".to_owned())
    }

    fn ensure_bridge(&mut self, config: &NetConfig) -> Result<Bridge> {
        self.mend()?;
        bridge::ensure(&mut self.socket, config)
    }

    fn reachable(&mut self) -> Result<Vec<IpNet>> {
        self.mend()?;
        let mut all: Vec<IpNet> = reachable::<Ipv4Net>(&mut self.socket)?;
        all.extend(reachable::<Ipv6Net>(&mut self.socket)?);
        Ok(all)
    }

    fn addresses_of(&mut self, link: &str) -> Result<Option<Vec<IpNet>>> {
        self.mend()?;
        bridge::addresses_of(&mut self.socket, link)
    }

    fn take_address(&mut self, link: &str, address: IpNet) -> Result<()> {
        self.mend()?;
        bridge::take_address(&mut self.socket, link, address)
    }

    fn remove_link(&mut self, name: &str) -> Result<()> {
        self.mend()?;
        bridge::remove_link(&mut self.socket, name).map(|_| ())
    }

    fn remove_bridge(&mut self, name: &str) -> Result<()> {
        self.mend()?;
        bridge::others::remove_all(&mut self.socket, name)
    }

    fn restore_bridge(&mut self, bridge: &Bridge, config: &NetConfig) -> Result<bool> {
        self.mend()?;
        bridge::restore::restore(&mut self.socket, bridge, config)
    }

    fn forget_neighbours(&mut self, bridge: u32, addresses: Addresses) -> Result<()> {
        self.mend()?;
        let mut batch = Batch::default();
        for ip in addresses.each() {
            rtnl::delete_neighbour(&mut batch, bridge, ip);
        }
        self.socket
            .transact(&batch, |_| {})
            .doing(|| "cannot forget a neighbour".to_owned())
    }
}

fn no_device() -> io::Error {
    io::Error::from_raw_os_error(libc::ENODEV)
}

/// Those of a family.
fn reachable<N: rtnl::Family + Into<IpNet>>(socket: &mut Socket) -> Result<Vec<IpNet>> {
    let mut all = rtnl::routes::<N>(socket).doing(|| "cannot list routes".to_owned())?;
    all.extend(rtnl::addresses::<N>(socket).doing(|| "cannot list addresses".to_owned())?);
    Ok(all.into_iter().map(|one| one.net.into().trunc()).collect())
}

/// Namespaces are the same when their inodes are: nsfs has one device (namespaces(7)).
pub(crate) fn refuse_same(netns: BorrowedFd<'_>, home: BorrowedFd<'_>) -> Result<()> {
    let looked = || "cannot look at a network namespace".to_owned();
    let identity = |fd| -> Result<(u64, u64)> {
        let stat = rustix::fs::fstat(fd).doing(looked)?;
        Ok((stat.st_dev, stat.st_ino))
    };
    match identity(netns)? == identity(home)? {
        true => Err(Error::HostNamespace),
        false => Ok(()),
    }
}

fn own_namespace() -> io::Result<File> {
    File::open("/proc/thread-self/ns/net")
}

fn random_bytes() -> io::Result<[u8; 10]> {
    let mut bytes = [0; 10];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}

/// For links that nobody knows by their addresses.
pub(crate) fn random_mac() -> io::Result<MacAddr> {
    Ok(host_mac(random_bytes()?))
}

/// A random unicast, locally administered address.
fn host_mac(random: [u8; 10]) -> MacAddr {
    let [a, b, c, d, e, f, ..] = random;
    MacAddr([a & 0xfc | 2, b, c, d, e, f])
}
