//! Links that have another below them: macvlan, ipvlan and VLANs, and a dummy to be below.

use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::DefaultNla;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    AfSpecInet, AfSpecUnspec, InfoData, InfoKind, InfoVlan, LinkAttribute, LinkInfo,
};

use super::{CHANGE, CREATE, Link, link, push};
use crate::mac::MacAddr;
use crate::netlink::Batch;

// linux/if_link.h, linux/ip.h, linux/netlink.h
const IFLA_INET_CONF: u16 = 1;
const IPV4_DEVCONF_ARP_NOTIFY: u16 = 22;
const NLA_F_NESTED: u16 = 0x8000;

/// A link in a namespace that has another of this namespace below it.
#[derive(Clone, Debug)]
pub(crate) struct Child<'a> {
    pub name: &'a str,
    /// The index of the one below.
    pub parent: u32,
    /// Its own hardware address, if it is to have one.
    pub mac: Option<MacAddr>,
    pub kind: InfoKind,
    pub data: InfoData,
}

/// It is down.
pub(crate) fn new_child(batch: &mut Batch, child: Child<'_>, netns: BorrowedFd<'_>) {
    let mut message = link(Link::Name(child.name));
    message.attributes.extend([
        LinkAttribute::Link(child.parent),
        LinkAttribute::NetNsFd(netns.as_raw_fd()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(child.kind), LinkInfo::Data(child.data)]),
    ]);
    if let Some(mac) = child.mac {
        message
            .attributes
            .push(LinkAttribute::Address(mac.0.to_vec()));
    }
    push(batch, CREATE, RouteNetlinkMessage::NewLink(message));
}

/// Asks for a link without what it needs below it. A kernel that knows the kind refuses that as invalid (EINVAL), one that
/// doesn't as not supported (EOPNOTSUPP).
pub(crate) fn probe_child(batch: &mut Batch, name: &str, kind: InfoKind) {
    let mut message = link(Link::Name(name));
    message
        .attributes
        .push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)]));
    push(batch, CREATE, RouteNetlinkMessage::NewLink(message));
}

/// A link that leads nowhere, and is down.
pub(crate) fn new_dummy(batch: &mut Batch, name: &str) {
    let mut message = link(Link::Name(name));
    message
        .attributes
        .push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(
            InfoKind::Dummy,
        )]));
    push(batch, CREATE, RouteNetlinkMessage::NewLink(message));
}

/// What has the tag `id` (IEEE 802.1Q) on the link with the index `below`. It is down.
pub(crate) fn new_vlan(batch: &mut Batch, name: &str, below: u32, id: u16) {
    let mut message = link(Link::Name(name));
    message.attributes.extend([
        LinkAttribute::Link(below),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Vlan),
            LinkInfo::Data(InfoData::Vlan(vec![InfoVlan::Id(id)])),
        ]),
    ]);
    push(batch, CREATE, RouteNetlinkMessage::NewLink(message));
}

pub(crate) fn set_mac(batch: &mut Batch, index: u32, mac: MacAddr) {
    let mut message = link(Link::Index(index));
    message
        .attributes
        .push(LinkAttribute::Address(mac.0.to_vec()));
    push(batch, CHANGE, RouteNetlinkMessage::SetLink(message));
}

/// When the link comes up, it tells its neighbours who has its IPv4 address from now on.
pub(crate) fn announce_when_up(batch: &mut Batch, index: u32) {
    // struct nlattr, and the switch.
    let mut switch = 8_u16.to_ne_bytes().to_vec();
    switch.extend(IPV4_DEVCONF_ARP_NOTIFY.to_ne_bytes());
    switch.extend(1_u32.to_ne_bytes());
    let switches = DefaultNla::new(IFLA_INET_CONF | NLA_F_NESTED, switch);
    let mut message = link(Link::Index(index));
    message
        .attributes
        .push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet(vec![
            AfSpecInet::Other(switches),
        ])]));
    push(batch, CHANGE, RouteNetlinkMessage::SetLink(message));
}
