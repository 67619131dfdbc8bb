//! What a thread that makes sandboxes can do, for whoever has work for it.

use std::os::fd::{BorrowedFd, OwnedFd};

use ipnet::IpNet;

use crate::bridge::Bridge;
use crate::config::NetConfig;
use crate::endpoint::{Addresses, Endpoint, Gateways, LinkWishes};
use crate::error::Result;
use crate::lan::MakeLan;
use crate::mac::MacAddr;

/// Makes sandboxes, and removes what is left of them.
pub(crate) trait Make: MakeLan {
    /// A namespace with nothing but its loopback link, which is up.
    fn isolated(&mut self) -> Result<OwnedFd>;

    /// A namespace on the bridge. When it fails, what was made goes with the namespace.
    fn endpoint(&mut self, bridge: &Bridge, addresses: Addresses, mac: MacAddr)
    -> Result<Endpoint>;

    /// Makes a link `name` to the bridge in a namespace that is there, and gives that of its other end. `None` when the
    /// namespace has a link of this name already. When it fails, nothing of it is left.
    fn join(
        &mut self,
        bridge: &Bridge,
        netns: BorrowedFd<'_>,
        link: Joining<'_>,
    ) -> Result<Option<String>>;

    /// Makes a link of a namespace as wished.
    fn adapt(&mut self, netns: BorrowedFd<'_>, link: &str, wishes: &LinkWishes) -> Result<()>;

    /// The default routes of a namespace, in place of those that it has; without a gateway of a family it has none of that.
    fn set_default_routes(&mut self, netns: BorrowedFd<'_>, gateways: Gateways) -> Result<()>;

    /// Makes a bridge, or adopts it.
    fn ensure_bridge(&mut self, config: &NetConfig) -> Result<Bridge>;

    /// The networks that the host has a way to, but for its default routes.
    fn reachable(&mut self) -> Result<Vec<IpNet>>;

    /// The addresses of a link of the host's, but for link-local ones. `None` if there is no such link.
    fn addresses_of(&mut self, link: &str) -> Result<Option<Vec<IpNet>>>;

    /// Takes an address from a link of the host's, if it has it.
    fn take_address(&mut self, link: &str, address: IpNet) -> Result<()>;

    /// Removes a link of the host's, if it is still there.
    fn remove_link(&mut self, name: &str) -> Result<()>;

    /// Removes a bridge of ours with those behind it.
    fn remove_bridge(&mut self, name: &str) -> Result<()>;

    /// Puts back what another program took from a bridge of ours. Gives whether anything was missing.
    fn restore_bridge(&mut self, bridge: &Bridge, config: &NetConfig) -> Result<bool>;

    /// Nobody has these addresses on a bridge any more.
    fn forget_neighbours(&mut self, bridge: u32, addresses: Addresses) -> Result<()>;
}

/// A link to be made in a namespace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Joining<'a> {
    pub name: &'a str,
    pub addresses: Addresses,
    pub mac: MacAddr,
    /// Somebody chose this hardware address.
    pub mac_chosen: bool,
}

/// What a link in a namespace is called.
pub(crate) fn link_name(number: u32) -> String {
    format!("eth{number}")
}
