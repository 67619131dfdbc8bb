//! Links, addresses and routes: the rtnetlink(7) messages that the network needs, each a function that adds to a batch or reads
//! an answer.
//!
//! Policy (names, order, what a failure means) is the callers'. What is sent is built of netlink-packet-route's types. What
//! is received is read attribute by attribute, so that links of kinds that no library knows can't get in the way.

mod lan;
mod neighbours;
mod ways;

use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netlink_packet_core::NetlinkSerializable;
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, BridgeStpState, In6AddrGenMode, InfoBridge, InfoBridgePort,
    InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo,
    LinkMessage,
};
use netlink_packet_route::route::RouteMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::mac::MacAddr;
use crate::netlink::{
    Batch, Message, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, Refusal,
    Socket, attributes, errno,
};

pub(crate) use lan::{
    Child, announce_when_up, new_child, new_dummy, new_vlan, probe_child, set_mac,
};
pub(crate) use neighbours::{
    ask_for_none, delete_neighbour, fix_port, learned_neighbours, new_neighbour,
};
pub(crate) use ways::{delete_default_route, set_default_link, set_default_route};

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
const IFA_ADDRESS: u16 = 1;
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

/// A bridge that forwards from the moment that a port is there, and leaves group traffic alone. With the index that the kernel
/// gives it, or with one that nothing has.
pub(crate) fn new_bridge(
    batch: &mut Batch,
    name: &str,
    index: Option<u32>,
    mac: MacAddr,
    mtu: u32,
) {
    let mut message = ethernet(name, mac, mtu);
    message.header.index = index.unwrap_or(0);
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

/// A pair of links, both here and down.
pub(crate) fn new_local_pair(batch: &mut Batch, one: PairEnd<'_>, other: PairEnd<'_>, mtu: u32) {
    let peer = ethernet(other.name, other.mac, mtu);
    let mut message = ethernet(one.name, one.mac, mtu);
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
    ]));
    push(batch, CREATE, RouteNetlinkMessage::NewLink(message));
}

/// Makes a link a port of a bridge.
pub(crate) fn set_master(batch: &mut Batch, which: Link<'_>, bridge: u32) {
    let mut message = link(which);
    message.attributes.push(LinkAttribute::Controller(bridge));
    push(batch, CHANGE, RouteNetlinkMessage::SetLink(message));
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

fn family(ip: IpAddr) -> AddressFamily {
    match ip {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn address(index: u32, address: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    let ip = address.addr();
    message.header.family = family(ip);
    message.header.prefix_len = address.prefix_len();
    message.header.index = index;
    message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Address(ip)];
    message
}

/// An IPv6 address can be used at once: whoever gives it out knows that nobody else has it.
pub(crate) fn new_address(batch: &mut Batch, index: u32, net: IpNet) {
    let mut message = address(index, net);
    match net {
        IpNet::V4(net) => message
            .attributes
            .push(AddressAttribute::Broadcast(net.broadcast())),
        IpNet::V6(_) => message.header.flags = AddressHeaderFlags::Nodad,
    }
    push(batch, CREATE, RouteNetlinkMessage::NewAddress(message));
}

/// The address that every IPv6 link has (RFC 4291, 2.5.6), made of the hardware's.
pub(crate) fn link_local(mac: MacAddr) -> IpNet {
    let [a, b, c, d, e, f] = mac.0;
    let word = |high, low| u16::from_be_bytes([high, low]);
    let words = [
        0xfe80,
        0,
        0,
        0,
        word(a ^ 2, b),
        word(c, 0xff),
        word(0xfe, d),
        word(e, f),
    ];
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from(words), 64))
}

pub(crate) fn delete_address(batch: &mut Batch, index: u32, ip: IpNet) {
    push(
        batch,
        CHANGE,
        RouteNetlinkMessage::DelAddress(address(index, ip)),
    );
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
    find(socket, Link::Name(name))
}

pub(crate) fn find(socket: &mut Socket, which: Link<'_>) -> io::Result<Option<LinkState>> {
    let mut batch = Batch::default();
    push(
        &mut batch,
        NLM_F_REQUEST,
        RouteNetlinkMessage::GetLink(link(which)),
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

/// A network that the host knows a way to, by the index of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reachable<N = Ipv4Net> {
    pub net: N,
    pub link: u32,
}

/// A family's networks in messages.
pub(crate) trait Family: Sized {
    const FAMILY: AddressFamily;
    /// Of the octets of an address and the length of the prefix.
    fn read(octets: &[u8], prefix: u8) -> Option<Self>;
}

impl Family for Ipv4Net {
    const FAMILY: AddressFamily = AddressFamily::Inet;

    fn read(octets: &[u8], prefix: u8) -> Option<Self> {
        let octets: [u8; 4] = octets.try_into().ok()?;
        Ipv4Net::new(octets.into(), prefix).ok()
    }
}

impl Family for Ipv6Net {
    const FAMILY: AddressFamily = AddressFamily::Inet6;

    fn read(octets: &[u8], prefix: u8) -> Option<Self> {
        let octets: [u8; 16] = octets.try_into().ok()?;
        Ipv6Net::new(octets.into(), prefix).ok()
    }
}

/// The addresses of all links.
pub(crate) fn addresses<N: Family>(socket: &mut Socket) -> io::Result<Vec<Reachable<N>>> {
    let mut batch = Batch::default();
    let mut message = AddressMessage::default();
    message.header.family = N::FAMILY;
    push(
        &mut batch,
        NLM_F_REQUEST | NLM_F_DUMP,
        RouteNetlinkMessage::GetAddress(message),
    );
    let mut all = Vec::new();
    socket.dump(&batch, |message| {
        if message.kind == RTM_NEWADDR {
            // struct ifaddrmsg: family, prefix length, flags, scope, index. IPv6 has no local address but the address.
            let net = read_net(message.payload, IFA_LOCAL, 8)
                .or_else(|| read_net(message.payload, IFA_ADDRESS, 8));
            all.extend(net.and_then(|net| {
                let link = u32_of(message.payload.get(4..8)?)?;
                Some(Reachable { net, link })
            }));
        }
    })?;
    Ok(all)
}

/// The routes that are not the default one.
pub(crate) fn routes<N: Family>(socket: &mut Socket) -> io::Result<Vec<Reachable<N>>> {
    let mut batch = Batch::default();
    let mut message = RouteMessage::default();
    message.header.address_family = N::FAMILY;
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
fn read_net<N: Family>(payload: &[u8], attribute: u16, header: usize) -> Option<N> {
    let prefix = *payload.get(1)?;
    let octets = attributes(payload.get(header..)?)
        .find(|(kind, _)| *kind == attribute)?
        .1;
    N::read(octets, prefix)
}
