//! Links, addresses and routes: the rtnetlink(7) messages that the network needs, each a function that adds to a batch or reads
//! an answer.
//!
//! Policy (names, order, what a failure means) is the callers'. What is sent is built of netlink-packet-route's types. What
//! is received is read attribute by attribute, so that links of kinds that no library knows can't get in the way.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use ipnet::Ipv4Net;
use netlink_packet_core::NetlinkSerializable;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, BridgeStpState, In6AddrGenMode, InfoBridge, InfoBridgePort,
    InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo,
    LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::mac::MacAddr;
use crate::netlink::{
    Batch, Message, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST,
    Refusal, Socket, attributes, errno,
};

// linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;

const CHANGE: u16 = NLM_F_REQUEST | NLM_F_ACK;
const CREATE: u16 = CHANGE | NLM_F_CREATE | NLM_F_EXCL;

/// The loopback link's index in every network namespace.
pub(crate) const LOOPBACK: u32 = 1;

fn push(batch: &mut Batch, flags: u16, message: RouteNetlinkMessage) {
    let start = batch.begin(message.message_type(), flags);
    let body = batch.bytes.len();
    batch.bytes.resize(body + message.buffer_len(), 0);
    message.serialize(&mut batch.bytes[body..]);
    batch.finish(start);
}

/// Which link a message is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Link<'a> {
    Index(u32),
    Name(&'a str),
    /// The index is believed to be that of the name: if it isn't, the kernel refuses to call another link so (EEXIST).
    Both(u32, &'a str),
}

fn link(which: Link<'_>) -> LinkMessage {
    let mut message = LinkMessage::default();
    match which {
        Link::Index(index) => message.header.index = index,
        Link::Name(name) => message
            .attributes
            .push(LinkAttribute::IfName(name.to_owned())),
        Link::Both(index, name) => {
            message.header.index = index;
            message
                .attributes
                .push(LinkAttribute::IfName(name.to_owned()));
        }
    }
    message
}

fn ethernet(name: &str, mac: MacAddr, mtu: u32) -> LinkMessage {
    let mut message = link(Link::Name(name));
    message.attributes.extend([
        LinkAttribute::Address(mac.0.to_vec()),
        LinkAttribute::Mtu(mtu),
    ]);
    message
}

/// A bridge that forwards from the moment that a port is there, and leaves group traffic alone.
pub(crate) fn new_bridge(batch: &mut Batch, name: &str, mac: MacAddr, mtu: u32) {
    let mut message = ethernet(name, mac, mtu);
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Bridge),
        LinkInfo::Data(InfoData::Bridge(vec![
            InfoBridge::StpState(BridgeStpState::Disabled),
            InfoBridge::ForwardDelay(0),
            InfoBridge::MulticastSnooping(false),
        ])),
    ]));
    push(batch, CREATE, RouteNetlinkMessage::NewLink(message));
}

/// One end of a pair of links.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PairEnd<'a> {
    pub name: &'a str,
    pub mac: MacAddr,
}

/// A pair of links: one here and a port of the bridge with the index `master`, the other in the namespace `netns`. Both are down.
pub(crate) fn new_pair(
    batch: &mut Batch,
    here: PairEnd<'_>,
    there: PairEnd<'_>,
    netns: BorrowedFd<'_>,
    master: u32,
    mtu: u32,
) {
    let mut peer = ethernet(there.name, there.mac, mtu);
    peer.attributes
        .push(LinkAttribute::NetNsFd(netns.as_raw_fd()));
    let mut message = ethernet(here.name, here.mac, mtu);
    message.attributes.extend([
        LinkAttribute::Controller(master),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]),
    ]);
    push(batch, CREATE, RouteNetlinkMessage::NewLink(message));
}

/// Takes IPv6 address generation from a link that is down, so that it comes up without router and multicast solicitations. On a
/// host without IPv6 there is nothing to take.
pub(crate) fn no_ipv6_addresses(batch: &mut Batch, which: Link<'_>) {
    let mut message = link(which);
    message
        .attributes
        .push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(
            vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)],
        )]));
    push(batch, CHANGE, RouteNetlinkMessage::SetLink(message));
    batch.tolerate(libc::EAFNOSUPPORT);
}

/// How a bridge treats frames between its ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PortMode {
    /// None go to another port that has this set.
    pub isolated: bool,
    /// They may go back to where they came from.
    pub hairpin: bool,
}

pub(crate) fn set_port_mode(batch: &mut Batch, which: Link<'_>, mode: PortMode) {
    let mut message = link(which);
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::PortKind(InfoPortKind::Bridge),
        LinkInfo::PortData(InfoPortData::BridgePort(vec![
            InfoBridgePort::Isolated(mode.isolated),
            InfoBridgePort::HairpinMode(mode.hairpin),
        ])),
    ]));
    // rtnl_newlink sets a port's options, rtnl_setlink doesn't.
    push(batch, CHANGE, RouteNetlinkMessage::NewLink(message));
}

pub(crate) fn up(batch: &mut Batch, which: Link<'_>) {
    let mut message = link(which);
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    push(batch, CHANGE, RouteNetlinkMessage::SetLink(message));
}

pub(crate) fn set_mtu(batch: &mut Batch, index: u32, mtu: u32) {
    let mut message = link(Link::Index(index));
    message.attributes.push(LinkAttribute::Mtu(mtu));
    push(batch, CHANGE, RouteNetlinkMessage::SetLink(message));
}

pub(crate) fn delete_link(batch: &mut Batch, which: Link<'_>) {
    push(batch, CHANGE, RouteNetlinkMessage::DelLink(link(which)));
}

fn address(index: u32, address: Ipv4Net) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = address.prefix_len();
    message.header.index = index;
    let ip = IpAddr::V4(address.addr());
    message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Address(ip)];
    message
}

pub(crate) fn new_address(batch: &mut Batch, index: u32, ip: Ipv4Net) {
    let mut message = address(index, ip);
    message
        .attributes
        .push(AddressAttribute::Broadcast(ip.broadcast()));
    push(batch, CREATE, RouteNetlinkMessage::NewAddress(message));
}

pub(crate) fn delete_address(batch: &mut Batch, index: u32, ip: Ipv4Net) {
    push(
        batch,
        CHANGE,
        RouteNetlinkMessage::DelAddress(address(index, ip)),
    );
}

/// In place of the one that is there.
pub(crate) fn set_default_route(batch: &mut Batch, gateway: Ipv4Addr) {
    let mut message = default_route();
    message.attributes = vec![RouteAttribute::Gateway(RouteAddress::Inet(gateway))];
    push(
        batch,
        CHANGE | NLM_F_CREATE | NLM_F_REPLACE,
        RouteNetlinkMessage::NewRoute(message),
    );
}

/// There may be none.
pub(crate) fn delete_default_route(batch: &mut Batch) {
    push(
        batch,
        CHANGE,
        RouteNetlinkMessage::DelRoute(default_route()),
    );
    batch.tolerate(libc::ESRCH);
}

fn default_route() -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: AddressFamily::Inet,
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Boot,
        scope: RouteScope::Universe,
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    message
}

/// A link, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LinkState {
    pub index: u32,
    pub name: String,
    /// Index of the bridge that it is a port of.
    pub master: Option<u32>,
    pub kind: Option<String>,
    pub mac: Option<MacAddr>,
    pub mtu: u32,
}

fn u32_of(value: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(value.try_into().ok()?))
}

fn text_of(value: &[u8]) -> String {
    String::from_utf8_lossy(value)
        .trim_end_matches('\0')
        .to_owned()
}

fn link_state(message: &Message<'_>) -> Option<LinkState> {
    if message.kind != RTM_NEWLINK {
        return None;
    }
    // struct ifinfomsg: family, padding, type, index, flags, change.
    let mut state = LinkState {
        index: u32_of(message.payload.get(4..8)?)?,
        name: String::new(),
        master: None,
        kind: None,
        mac: None,
        mtu: 0,
    };
    for (kind, value) in attributes(message.payload.get(16..)?) {
        match kind {
            IFLA_IFNAME => state.name = text_of(value),
            IFLA_MASTER => state.master = u32_of(value),
            IFLA_MTU => state.mtu = u32_of(value).unwrap_or(0),
            IFLA_ADDRESS => state.mac = value.try_into().ok().map(MacAddr),
            IFLA_LINKINFO => {
                state.kind = attributes(value)
                    .find(|(kind, _)| *kind == IFLA_INFO_KIND)
                    .map(|(_, value)| text_of(value));
            }
            _ => {}
        }
    }
    Some(state)
}

/// The link of a name, if there is one.
pub(crate) fn find_link(socket: &mut Socket, name: &str) -> io::Result<Option<LinkState>> {
    let mut batch = Batch::default();
    push(
        &mut batch,
        NLM_F_REQUEST,
        RouteNetlinkMessage::GetLink(link(Link::Name(name))),
    );
    let mut found = None;
    match socket.transact(&batch, |message| {
        found = found.take().or(link_state(&message))
    }) {
        Ok(()) => Ok(found),
        Err(Refusal { error, .. }) if errno(&error) == Some(libc::ENODEV) => Ok(None),
        Err(refusal) => Err(refusal.error),
    }
}

/// The ports of a bridge.
pub(crate) fn bridge_ports(socket: &mut Socket, bridge: u32) -> io::Result<Vec<LinkState>> {
    let mut batch = Batch::default();
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::Controller(bridge));
    push(
        &mut batch,
        NLM_F_REQUEST | NLM_F_DUMP,
        RouteNetlinkMessage::GetLink(message),
    );
    let mut ports = Vec::new();
    // The kernel selects by the master in the request; one that doesn't gives all links.
    socket.dump(&batch, |message| {
        ports.extend(link_state(&message).filter(|link| link.master == Some(bridge)));
    })?;
    Ok(ports)
}

/// An IPv4 network that the host knows a way to, by the index of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reachable {
    pub net: Ipv4Net,
    pub link: u32,
}

/// The IPv4 addresses of all links.
pub(crate) fn addresses(socket: &mut Socket) -> io::Result<Vec<Reachable>> {
    let mut batch = Batch::default();
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    push(
        &mut batch,
        NLM_F_REQUEST | NLM_F_DUMP,
        RouteNetlinkMessage::GetAddress(message),
    );
    let mut all = Vec::new();
    socket.dump(&batch, |message| {
        if message.kind == RTM_NEWADDR {
            // struct ifaddrmsg: family, prefix length, flags, scope, index.
            all.extend(read_net(message.payload, IFA_LOCAL, 8).and_then(|net| {
                let link = u32_of(message.payload.get(4..8)?)?;
                Some(Reachable { net, link })
            }));
        }
    })?;
    Ok(all)
}

/// The IPv4 routes that are not the default one.
pub(crate) fn routes(socket: &mut Socket) -> io::Result<Vec<Reachable>> {
    let mut batch = Batch::default();
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    push(
        &mut batch,
        NLM_F_REQUEST | NLM_F_DUMP,
        RouteNetlinkMessage::GetRoute(message),
    );
    let mut all = Vec::new();
    socket.dump(&batch, |message| {
        if message.kind == RTM_NEWROUTE {
            all.extend(read_net(message.payload, RTA_DST, 12).map(|net| {
                let link = attributes(message.payload.get(12..).unwrap_or(&[]))
                    .find(|(kind, _)| *kind == RTA_OIF)
                    .and_then(|(_, value)| u32_of(value))
                    .unwrap_or(0);
                Reachable { net, link }
            }));
        }
    })?;
    Ok(all)
}

/// The network in an address or route message: its prefix length is the header's second octet in both.
fn read_net(payload: &[u8], attribute: u16, header: usize) -> Option<Ipv4Net> {
    let prefix = *payload.get(1)?;
    let octets: [u8; 4] = attributes(payload.get(header..)?)
        .find(|(kind, _)| *kind == attribute)?
        .1
        .try_into()
        .ok()?;
    Ipv4Net::new(octets.into(), prefix).ok()
}
