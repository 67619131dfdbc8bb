//! The name server's sockets, bound in a sandbox's namespace, and the redirection to them there.
//!
//! Invariant: both sockets of a server have one port number, and that of TCP listens. By this they are known again among
//! descriptors that somebody kept.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{ADDRESS, PORT};
use crate::endpoint::Protocol;
use crate::error::{Doing, Result};
use crate::netlink::{Batch, Socket, errno};
use crate::nft::rule::Rule;
use crate::nft::wire::{Hook, Transaction};
use crate::sandbox::refuse_same;

/// The table in the sandbox's namespace.
const TABLE: &str = "dhow-dns";
const CHAIN: &str = "output";
/// How often another port is tried, when of a number that is free for UDP somebody has the TCP port.
const PORT_ATTEMPTS: usize = 16;
/// Clients that wait to be let in.
const BACKLOG: i32 = 128;

/// A name server's sockets.
#[derive(Debug)]
pub struct Sockets {
    pub udp: OwnedFd,
    pub tcp: OwnedFd,
}

impl Sockets {
    /// Duplicates, for another process to keep.
    pub fn try_clone(&self) -> io::Result<Sockets> {
        Ok(Sockets {
            udp: self.udp.try_clone()?,
            tcp: self.tcp.try_clone()?,
        })
    }

    /// Finds a server's sockets among others that were kept with them; gives back those, too.
    pub fn among(mut others: Vec<OwnedFd>) -> (Option<Sockets>, Vec<OwnedFd>) {
        // A port that is published on this very address of the host is held by a socket that doesn't listen.
        let tcp = others.iter().enumerate().find_map(|(at, fd)| {
            let listens = sockopt::socket_acceptconn(fd).unwrap_or(false);
            let port = port_at_ours(fd, SocketType::STREAM)?;
            listens.then_some((at, port))
        });
        let Some((tcp, port)) = tcp else {
            return (None, others);
        };
        let same = |fd: &OwnedFd| port_at_ours(fd, SocketType::DGRAM) == Some(port);
        let Some(udp) = others.iter().position(same) else {
            return (None, others);
        };
        // The later one first: removing it leaves the other where it is.
        let later = others.remove(tcp.max(udp));
        let earlier = others.remove(tcp.min(udp));
        let (tcp, udp) = if tcp > udp {
            (later, earlier)
        } else {
            (earlier, later)
        };
        (Some(Sockets { udp, tcp }), others)
    }
}

fn port_at_ours(fd: &OwnedFd, kind: SocketType) -> Option<u16> {
    // A descriptor of another kind has none of these.
    let ours = sockopt::socket_type(fd).ok()? == kind;
    let address = SocketAddr::try_from(rustix::net::getsockname(fd).ok()?).ok()?;
    (ours && address.ip() == ADDRESS).then_some(address.port())
}

/// Binds a name server's sockets in a namespace, and redirects to them there what is sent to [`ADDRESS`] and [`PORT`]; an
/// earlier redirection is replaced. They can be reached once the loopback link is up. The calling thread goes into the
/// namespace and comes back; it takes a fraction of a millisecond.
///
/// # Panics
///
/// When the thread can't come back: whatever it did then would be done in the wrong namespace.
pub fn open_sockets(netns: BorrowedFd<'_>) -> Result<Sockets> {
    let home = File::open("/proc/thread-self/ns/net")
        .doing(|| "cannot open the network namespace".to_owned())?;
    refuse_same(netns, home.as_fd())?;
    let network = Some(LinkNameSpaceType::Network);
    move_into_link_name_space(netns, network)
        .doing(|| "cannot enter a container's network namespace".to_owned())?;
    let opened = open_here();
    if let Err(error) = move_into_link_name_space(home.as_fd(), network) {
        panic!("cannot come back to the host's network namespace: {error}");
    }
    opened.doing(|| "cannot open the sockets of a container's name server".to_owned())
}

fn open_here() -> io::Result<Sockets> {
    let (sockets, port) = bind()?;
    let mut netfilter = Socket::open(libc::NETLINK_NETFILTER, 0)?;
    match netfilter.transact(&redirection(port, Earlier::None), |_| {}) {
        Err(refusal) if errno(&refusal.error) == Some(libc::EEXIST) => {
            netfilter.transact(&redirection(port, Earlier::Replaced), |_| {})?;
        }
        done => done?,
    }
    Ok(sockets)
}

fn bind() -> io::Result<(Sockets, u16)> {
    let socket = |kind, protocol| {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        rustix::net::socket_with(AddressFamily::INET, kind, flags, Some(protocol))
    };
    for attempt in 1.. {
        let udp = socket(SocketType::DGRAM, ipproto::UDP)?;
        rustix::net::bind(&udp, &SocketAddrV4::new(ADDRESS, 0))?;
        let bound = SocketAddrV4::try_from(rustix::net::getsockname(&udp)?)?;
        let tcp = socket(SocketType::STREAM, ipproto::TCP)?;
        match rustix::net::bind(&tcp, &bound).and_then(|()| rustix::net::listen(&tcp, BACKLOG)) {
            Err(Errno::ADDRINUSE) if attempt < PORT_ATTEMPTS => {}
            listens => {
                listens?;
                return Ok((Sockets { udp, tcp }, bound.port()));
            }
        }
    }
    unreachable!("the last attempt returns")
}

/// What there was before. Deleting a table that is not there would be no error, but closing the socket would then wait for a
/// grace period of the kernel's, many times as long as all the rest takes (nft_rcv_nl_event).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Earlier {
    None,
    Replaced,
}

/// The table as it is to be. Answers need no rule: the connection's tracking translates them back.
fn redirection(port: u16, earlier: Earlier) -> Batch {
    // nft(8), "standard priority names".
    const DESTINATION: i32 = -100;
    let mut transaction = Transaction::new(TABLE);
    if earlier == Earlier::Replaced {
        transaction.add_table();
        transaction.delete_table();
    }
    transaction.add_new_table();
    transaction.add_base_chain(CHAIN, "nat", Hook::Output, DESTINATION);
    for protocol in [Protocol::Udp, Protocol::Tcp] {
        let rule = Rule::new()
            .destination_is(ADDRESS)
            .protocol_is(protocol.number())
            .destination_port_is(PORT)
            .translate_destination_port(port);
        transaction.add_rule(CHAIN, rule);
    }
    transaction.finish()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn sockets_are_known_again() {
        let (sockets, port) = bind().unwrap();
        let pipe = rustix::pipe::pipe().unwrap().0;
        // As a port that is published on the same address of the host is held.
        let held = std::net::TcpStream::connect((ADDRESS, port)).unwrap();
        let other_udp = UdpSocket::bind((ADDRESS, 0)).unwrap();
        let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
        let kept = vec![
            held.into(),
            sockets.udp.try_clone().unwrap(),
            other_udp.into(),
            pipe,
            sockets.tcp.try_clone().unwrap(),
            OwnedFd::from(elsewhere),
        ];
        let (found, others) = Sockets::among(kept);
        let found = found.unwrap();
        assert_eq!(others.len(), 4);
        assert_eq!(port_at_ours(&found.udp, SocketType::DGRAM), Some(port));
        assert_eq!(port_at_ours(&found.tcp, SocketType::STREAM), Some(port));
        let (none, others) = Sockets::among(others);
        assert!(none.is_none());
        assert_eq!(others.len(), 4);
    }
}
