//! Default routes, by a gateway or by a link.

use std::net::IpAddr;

use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{CHANGE, family, push};
use crate::netlink::{Batch, NLM_F_CREATE, NLM_F_REPLACE};

/// In place of the one of its family that is there.
pub(crate) fn set_default_route(batch: &mut Batch, gateway: IpAddr) {
    let mut message = default_route(family(gateway));
    let gateway = match gateway {
        IpAddr::V4(ip) => RouteAddress::Inet(ip),
        IpAddr::V6(ip) => RouteAddress::Inet6(ip),
    };
    message.attributes = vec![RouteAttribute::Gateway(gateway)];
    push(
        batch,
        CHANGE | NLM_F_CREATE | NLM_F_REPLACE,
        RouteNetlinkMessage::NewRoute(message),
    );
}

/// There may be none, nor a kernel that knows the family.
pub(crate) fn delete_default_route(batch: &mut Batch, ipv6: bool) {
    let family = match ipv6 {
        false => AddressFamily::Inet,
        true => AddressFamily::Inet6,
    };
    let mut message = default_route(family);
    // Any: one that leads to a link has another than one that leads to a gateway.
    message.header.scope = RouteScope::NoWhere;
    push(batch, CHANGE, RouteNetlinkMessage::DelRoute(message));
    batch.tolerate(libc::ESRCH);
    batch.tolerate(libc::EOPNOTSUPP);
}

fn default_route(family: AddressFamily) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: family,
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Boot,
        scope: RouteScope::Universe,
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    message
}

/// In place of the default route of its family that is there: everybody is asked for on the link itself.
pub(crate) fn set_default_link(batch: &mut Batch, index: u32, ipv6: bool) {
    let mut message = default_route(match ipv6 {
        false => AddressFamily::Inet,
        true => AddressFamily::Inet6,
    });
    if !ipv6 {
        message.header.scope = RouteScope::Link;
    }
    message.attributes = vec![RouteAttribute::Oif(index)];
    push(
        batch,
        CHANGE | NLM_F_CREATE | NLM_F_REPLACE,
        RouteNetlinkMessage::NewRoute(message),
    );
}
