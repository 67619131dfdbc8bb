//! Who has which address on a link, and which port of a bridge leads to whom.

use std::io;
use std::net::IpAddr;

use netlink_packet_route::link::LinkFlags;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{CHANGE, Link, family, link, push, u32_of};
use crate::mac::MacAddr;
use crate::netlink::{
    Batch, Message, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, NLM_F_REQUEST, Socket, attributes,
};

// linux/rtnetlink.h, linux/neighbour.h
const RTM_NEWNEIGH: u16 = 28;
const NDA_DST: u16 = 1;

fn neighbour(index: u32, ip: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(ip);
    message.header.ifindex = index;
    message.attributes = vec![NeighbourAttribute::Destination(match ip {
        IpAddr::V4(ip) => NeighbourAddress::Inet(ip),
        IpAddr::V6(ip) => NeighbourAddress::Inet6(ip),
    })];
    message
}

/// Who is on the other side of a link is not asked for.
pub(crate) fn ask_for_none(batch: &mut Batch, which: Link<'_>) {
    let mut message = link(which);
    message.header.flags = LinkFlags::Noarp;
    message.header.change_mask = LinkFlags::Noarp;
    push(batch, CHANGE, RouteNetlinkMessage::SetLink(message));
}

/// Who has an address on a link: nobody has to ask, and the entry doesn't count against the kernel's one limit for all
/// namespaces. What the neighbour says of itself later is believed.
pub(crate) fn new_neighbour(batch: &mut Batch, index: u32, ip: IpAddr, mac: MacAddr) {
    let mut message = neighbour(index, ip);
    message.header.state = NeighbourState::Reachable;
    message.header.flags = NeighbourFlags::ExtLearned;
    message
        .attributes
        .push(NeighbourAttribute::LinkLocalAddress(mac.0.to_vec()));
    push(
        batch,
        CHANGE | NLM_F_CREATE | NLM_F_REPLACE,
        RouteNetlinkMessage::NewNeighbour(message),
    );
}

/// That a hardware address is behind a port of a bridge, also when its frames come back by another (translated ones do).
pub(crate) fn fix_port(batch: &mut Batch, port: u32, mac: MacAddr) {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = port;
    message.header.state = NeighbourState::Noarp;
    message.header.flags = NeighbourFlags::Controller | NeighbourFlags::Sticky;
    message.attributes = vec![NeighbourAttribute::LinkLocalAddress(mac.0.to_vec())];
    push(
        batch,
        CHANGE | NLM_F_CREATE | NLM_F_REPLACE,
        RouteNetlinkMessage::NewNeighbour(message),
    );
}

/// It may not be there, nor the link.
pub(crate) fn delete_neighbour(batch: &mut Batch, index: u32, ip: IpAddr) {
    let message = neighbour(index, ip);
    push(batch, CHANGE, RouteNetlinkMessage::DelNeighbour(message));
    for error in [libc::ENOENT, libc::ENODEV] {
        batch.tolerate(error);
    }
}

/// The addresses that a link has entries for by [`new_neighbour`].
pub(crate) fn learned_neighbours(socket: &mut Socket, index: u32) -> io::Result<Vec<IpAddr>> {
    let mut batch = Batch::default();
    let mut message = NeighbourMessage::default();
    message.attributes.push(NeighbourAttribute::IfIndex(index));
    push(
        &mut batch,
        NLM_F_REQUEST | NLM_F_DUMP,
        RouteNetlinkMessage::GetNeighbour(message),
    );
    let mut all = Vec::new();
    socket.dump(&batch, |message| {
        all.extend(learned_neighbour(&message, index));
    })?;
    Ok(all)
}

fn learned_neighbour(message: &Message<'_>, link: u32) -> Option<IpAddr> {
    // struct ndmsg: family, padding, index, state, flags, type.
    let flags = *message.payload.get(10)?;
    let ours = message.kind == RTM_NEWNEIGH
        && u32_of(message.payload.get(4..8)?)? == link
        && flags & NeighbourFlags::ExtLearned.bits() != 0;
    let mut attributes = attributes(message.payload.get(12..)?).filter(|_| ours);
    let octets = attributes.find(|(kind, _)| *kind == NDA_DST)?.1;
    match octets.len() {
        4 => Some(<[u8; 4]>::try_from(octets).ok()?.into()),
        _ => Some(<[u8; 16]>::try_from(octets).ok()?.into()),
    }
}
