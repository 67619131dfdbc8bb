//! A network's driver: what makes its links, and takes them away.
//!
//! What all networks have in common, their addresses, the namespaces and the names, is elsewhere. Links are made by the thread
//! that makes namespaces; what a driver does is said in terms of that thread's [`Make`].

use std::os::fd::BorrowedFd;

use crate::bridge::Bridge;
use crate::config::BridgeInfo;
use crate::endpoint::{Addresses, Endpoint, Place};
use crate::error::{Error, Result};
use crate::lan::Lan;
use crate::mac::MacAddr;
use crate::make::{Joining, Make};

#[derive(Clone, Debug)]
pub(crate) enum Driver {
    Bridge(Bridge),
    Lan(Lan),
}

impl From<Bridge> for Driver {
    fn from(bridge: Bridge) -> Driver {
        Driver::Bridge(bridge)
    }
}

/// A link that is to go from a namespace that stays.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parting<'a> {
    pub netns: BorrowedFd<'a>,
    pub name: &'a str,
    pub addresses: Addresses,
    /// As its [`Place`] has it.
    pub host_link: &'a str,
}

impl Driver {
    /// What the bridge is, if this is one.
    pub fn bridge(&self) -> Option<&BridgeInfo> {
        match self {
            Driver::Bridge(bridge) => Some(&bridge.info),
            Driver::Lan(_) => None,
        }
    }

    /// The bridge's index among the host's links.
    pub fn bridge_index(&self) -> Option<u32> {
        match self {
            Driver::Bridge(bridge) => Some(bridge.index),
            Driver::Lan(_) => None,
        }
    }

    /// What messages call the network.
    pub fn name(&self) -> &str {
        match self {
            Driver::Bridge(bridge) => &bridge.info.name,
            Driver::Lan(lan) => &lan.config.parent.name,
        }
    }

    pub fn has_ipv6(&self) -> bool {
        match self {
            Driver::Bridge(bridge) => bridge.info.ipv6.is_some(),
            Driver::Lan(lan) => !lan.config.subnets6.is_empty(),
        }
    }

    /// Whether a link can have a hardware address that is chosen for it.
    pub fn has_macs(&self) -> bool {
        match self {
            Driver::Bridge(_) => true,
            Driver::Lan(lan) => lan.config.kind.has_macs(),
        }
    }

    /// A namespace on the network. Only a bridge makes such.
    pub fn endpoint(
        &self,
        maker: &mut dyn Make,
        addresses: Addresses,
        mac: MacAddr,
    ) -> Result<Endpoint> {
        match self {
            Driver::Bridge(bridge) => maker.endpoint(bridge, addresses, mac),
            Driver::Lan(_) => Err(Error::Closed),
        }
    }

    /// Makes a link in a namespace that is there. `None` when the namespace has a link of this name already. When it fails,
    /// nothing of it is left.
    pub fn join(
        &self,
        maker: &mut dyn Make,
        netns: BorrowedFd<'_>,
        link: Joining<'_>,
    ) -> Result<Option<Place>> {
        match self {
            Driver::Bridge(bridge) => {
                let host_link = maker.join(bridge, netns, link)?;
                Ok(host_link.map(|name| bridge.place(link.addresses, link.mac, name)))
            }
            Driver::Lan(lan) => maker.join_lan(lan, netns, link),
        }
    }

    /// Removes a link that [`Driver::join`] made, if it is still there.
    pub fn part(&self, maker: &mut dyn Make, link: Parting<'_>) -> Result<()> {
        match self {
            Driver::Bridge(_) => maker.remove_link(link.host_link),
            Driver::Lan(_) => maker.part_lan(link.netns, link.name, link.addresses),
        }
    }

    /// Removes what was made on the host for the network.
    pub fn remove(&self, maker: &mut dyn Make) -> Result<()> {
        match self {
            Driver::Bridge(bridge) => maker.remove_bridge(&bridge.info.name),
            Driver::Lan(lan) => maker.remove_parent(&lan.config.parent),
        }
    }

    /// A container's link is gone, or will be soon.
    pub fn forget(&self, host_link: &str) {
        match self {
            Driver::Bridge(bridge) => bridge.forget(host_link),
            // With the namespace, it is the kernel's to forget.
            Driver::Lan(_) => {}
        }
    }

    /// Nobody has these addresses any more.
    pub fn forget_neighbours(&self, maker: &mut dyn Make, addresses: Addresses) -> Result<()> {
        match self {
            Driver::Bridge(bridge) => maker.forget_neighbours(bridge.index, addresses),
            // The host is no neighbour of its children.
            Driver::Lan(_) => Ok(()),
        }
    }
}
