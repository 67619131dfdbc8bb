//! Connection tracking entries that a change of published ports makes wrong.
//!
//! UDP has no end of a connection: as long as a sender goes on, its flow keeps the translation that it began with, or that it
//! began without. So the flows of a port are forgotten when the port gets a container and when it loses it. The messages are
//! ctnetlink's (`linux/netfilter/nfnetlink_conntrack.h`).

use std::io;
use std::net::IpAddr;

use crate::netlink::{
    Batch, Message, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, Refusal, Socket, attributes, errno,
};
use crate::nft::wire::{Family, GENERIC_HEADER, attribute, nested};

const NFNL_SUBSYS_CTNETLINK: u16 = 1;
const GET: u16 = NFNL_SUBSYS_CTNETLINK << 8 | 1;
const DELETE: u16 = NFNL_SUBSYS_CTNETLINK << 8 | 2;
const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const ID: u16 = 12;
const FILTER: u16 = 25;
const FILTER_ORIGINAL_FLAGS: u16 = 1;
const FILTER_REPLY_FLAGS: u16 = 2;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const IP_SOURCE: u16 = 1;
const IP_DESTINATION: u16 = 2;
const IPV6_SOURCE: u16 = 3;
const IPV6_DESTINATION: u16 = 4;
const PROTOCOL_NUMBER: u16 = 1;
const PROTOCOL_DESTINATION_PORT: u16 = 3;
// net/netfilter/nf_internals.h: which parts of a tuple a filter compares.
const COMPARE_PROTOCOL: u32 = 1 << 3;
const COMPARE_DESTINATION_PORT: u32 = 1 << 5;

const UDP: u8 = 17;

/// A UDP flow: where its first packet was going, and who answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    pub destination: IpAddr,
    pub answered_by: IpAddr,
}

/// Forgets a family's UDP flows to a port that `stale` says so of. Gives how many.
pub(crate) fn forget_udp(
    socket: &mut Socket,
    family: Family,
    port: u16,
    stale: impl Fn(Flow) -> bool,
) -> io::Result<usize> {
    let mut deletions = Batch::default();
    let mut count = 0;
    let mut read = |message: Message<'_>| {
        let Some(bytes) = message.payload.get(GENERIC_HEADER..) else {
            return;
        };
        let of = |kind| {
            attributes(bytes)
                .find(|(k, _)| *k == kind)
                .map(|(_, value)| value)
        };
        let (Some(original), Some(reply)) = (of(TUPLE_ORIGINAL), of(TUPLE_REPLY)) else {
            return;
        };
        let flow = flow(original, reply, port).filter(|flow| stale(*flow));
        if flow.is_none() {
            return;
        }
        count += 1;
        let start = deletions.begin(DELETE, NLM_F_REQUEST | NLM_F_ACK);
        deletions
            .bytes
            .extend_from_slice(&[family.number(), 0, 0, 0]);
        attribute(&mut deletions.bytes, TUPLE_ORIGINAL | 0x8000, original);
        if let Some(id) = of(ID) {
            attribute(&mut deletions.bytes, ID, id);
        }
        deletions.finish(start);
    };
    if let Err(refusal) = socket.dump(&request(family, Some(port)), &mut read) {
        // Kernels before 5.8 can't filter.
        match errno(&refusal.error) {
            Some(libc::EINVAL | libc::EOPNOTSUPP) => {
                socket.dump(&request(family, None), &mut read)?
            }
            _ => return Err(refusal.error),
        }
    }
    if count > 0 {
        match socket.transact(&deletions, |_| {}) {
            // It ended by itself in the meantime.
            Err(Refusal { error, .. }) if errno(&error) == Some(libc::ENOENT) => {}
            other => other?,
        }
    }
    Ok(count)
}

fn request(family: Family, port: Option<u16>) -> Batch {
    let mut batch = Batch::default();
    let start = batch.begin(GET, NLM_F_REQUEST | NLM_F_DUMP);
    batch.bytes.extend_from_slice(&[family.number(), 0, 0, 0]);
    if let Some(port) = port {
        let bytes = &mut batch.bytes;
        nested(bytes, TUPLE_ORIGINAL, |bytes| {
            nested(bytes, TUPLE_PROTOCOL, |bytes| {
                attribute(bytes, PROTOCOL_NUMBER, &[UDP]);
                attribute(bytes, PROTOCOL_DESTINATION_PORT, &port.to_be_bytes());
            });
        });
        nested(bytes, FILTER, |bytes| {
            let compare = COMPARE_PROTOCOL | COMPARE_DESTINATION_PORT;
            attribute(bytes, FILTER_ORIGINAL_FLAGS, &compare.to_ne_bytes());
            attribute(bytes, FILTER_REPLY_FLAGS, &0u32.to_ne_bytes());
        });
    }
    batch.finish(start);
    batch
}

/// The flow of two tuples, if it is one of UDP to the port. The kernel may not have filtered.
fn flow(original: &[u8], reply: &[u8], port: u16) -> Option<Flow> {
    let part = |tuple, kind, inner| {
        let part = attributes(tuple).find(|(k, _)| *k == kind)?.1;
        Some(attributes(part).find(|(k, _)| *k == inner)?.1)
    };
    let address = |tuple, which, which6| -> Option<IpAddr> {
        if let Some(octets) = part(tuple, TUPLE_IP, which) {
            let octets: [u8; 4] = octets.try_into().ok()?;
            return Some(octets.into());
        }
        let octets: [u8; 16] = part(tuple, TUPLE_IP, which6)?.try_into().ok()?;
        Some(octets.into())
    };
    let udp = part(original, TUPLE_PROTOCOL, PROTOCOL_NUMBER)? == [UDP];
    let to = part(original, TUPLE_PROTOCOL, PROTOCOL_DESTINATION_PORT)? == port.to_be_bytes();
    (udp && to).then_some(Flow {
        destination: address(original, IP_DESTINATION, IPV6_DESTINATION)?,
        answered_by: address(reply, IP_SOURCE, IPV6_SOURCE)?,
    })
}
