//! Answers of our own: names and addresses of the sandbox's networks.
//!
//! Invariant: a name that is somebody's here is answered here, whatever is asked of it. Asked elsewhere, a record that we have
//! not (an address of the other family, a service binding) would come back as *no such name*, and resolvers would believe it of
//! the name as a whole.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::Names;
use super::asked::Asked;

/// How long an answer may be believed, in seconds. A container that is started anew has another address, and programs that
/// keep answers for ten minutes (which is what Docker lets them) then talk to nobody, or to somebody else. Asking again costs
/// a fraction of a millisecond.
const TTL: u32 = 5;

/// The answer, if it is ours to give.
pub(super) fn own(names: &dyn Names, asked: &Asked) -> Option<Message> {
    if asked.query.query_class() != DNSClass::IN {
        return None;
    }
    let records = if asked.query.query_type() == RecordType::PTR {
        pointers(names, asked)
    } else {
        None
    };
    let records = records.or_else(|| addresses(names, asked))?;
    Some(asked.answer(ResponseCode::NoError, records))
}

fn record(asked: &Asked, data: RData) -> Record {
    Record::from_rdata(asked.query.name().clone(), TTL, data)
}

fn addresses(names: &dyn Names, asked: &Asked) -> Option<Vec<Record>> {
    let name = asked.name()?;
    let mut addresses = names.addresses(&name).or_else(|| localhost(&name))?;
    let (ipv4, ipv6) = match asked.query.query_type() {
        RecordType::A => (true, false),
        RecordType::AAAA => (false, true),
        RecordType::ANY => (true, true),
        _ => (false, false),
    };
    addresses.retain(|address| if address.is_ipv4() { ipv4 } else { ipv6 });
    shuffle(&mut addresses);
    let records = addresses.into_iter().map(|address| match address {
        IpAddr::V4(address) => record(asked, RData::A(A(address))),
        IpAddr::V6(address) => record(asked, RData::AAAA(AAAA(address))),
    });
    Some(records.collect())
}

/// RFC 6761, 6.3: not to be asked for elsewhere.
fn localhost(name: &str) -> Option<Vec<IpAddr>> {
    let addresses = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    (name == "localhost").then(|| addresses.to_vec())
}

fn pointers(names: &dyn Names, asked: &Asked) -> Option<Vec<Record>> {
    let net = asked.query.name().parse_arpa_name().ok()?;
    if net.prefix_len() != net.max_prefix_len() {
        return None;
    }
    let names = names.names(net.addr())?;
    let records = names.iter().filter_map(|name| {
        // A name that the protocol can't carry is left out.
        let name = Name::from_labels(name.split('.').map(str::as_bytes)).ok()?;
        Some(record(asked, RData::PTR(PTR(name))))
    });
    Some(records.collect())
}

/// Each of several addresses comes first equally often. A counter would not do: who asks for both families each time would see
/// every second of its numbers.
fn shuffle(addresses: &mut [IpAddr]) {
    if addresses.len() < 2 {
        return;
    }
    let mut random = vec![0; addresses.len() * 4];
    if getrandom::fill(&mut random).is_err() {
        return;
    }
    for (at, bytes) in random.chunks_exact(4).enumerate().skip(1) {
        let [a, b, c, d] = *bytes else { return };
        let number = u32::from_ne_bytes([a, b, c, d]) as usize;
        addresses.swap(at, number % (at + 1));
    }
}
