//! The sockets that keep ports, as somebody else keeps them open: a few descriptors, however many ports there are, from which
//! single ones can be taken.
//!
//! Invariant: looking at what is kept changes nothing of it. Other descriptors take its place in one step, so that a port that
//! stays is free at no instant.

use std::collections::HashSet;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, ipproto,
    sockopt,
};

use crate::endpoint::{PortBinding, Protocol};

/// So many descriptors are handed over as they are; more travel inside a socket.
const LOOSE: usize = 16;

/// A port of the host, on one of its addresses or on all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    pub protocol: Protocol,
    pub ip: IpAddr,
    pub port: u16,
}

impl From<&PortBinding> for HostPort {
    fn from(binding: &PortBinding) -> HostPort {
        HostPort {
            protocol: binding.protocol,
            ip: binding.host_ip,
            port: binding.host_port,
        }
    }
}

impl HostPort {
    /// What a socket is bound to. `None` is one of another kind.
    fn of(fd: &OwnedFd) -> Option<HostPort> {
        let protocol = sockopt::socket_protocol(fd).ok()??;
        let protocol = [
            (ipproto::TCP, Protocol::Tcp),
            (ipproto::UDP, Protocol::Udp),
            (ipproto::SCTP, Protocol::Sctp),
        ]
        .into_iter()
        .find_map(|(number, known)| (number == protocol).then_some(known))?;
        let address = SocketAddr::try_from(rustix::net::getsockname(fd).ok()?).ok()?;
        Some(HostPort {
            protocol,
            ip: address.ip(),
            port: address.port(),
        })
    }
}

/// Descriptors that are kept open together. Many are put into a socket's queue: the one descriptor that reads it keeps all of
/// them open, in whatever process it is, without filling that process's table.
#[derive(Debug, Default)]
pub(crate) struct Holders {
    loose: Vec<OwnedFd>,
    /// Each takes what its queue has room for.
    packed: Vec<Pack>,
}

#[derive(Debug)]
struct Pack {
    writer: OwnedFd,
    reader: OwnedFd,
}

impl Pack {
    fn new() -> io::Result<Pack> {
        let (writer, reader) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok(Pack { writer, reader })
    }

    /// `false` when there is no room.
    fn take(&self, fds: &[OwnedFd]) -> io::Result<bool> {
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LOOSE + 1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(io::Error::from(Errno::TOOBIG));
        }
        // Waiting for room would be for ever: nobody reads.
        let sent = rustix::net::sendmsg(
            &self.writer,
            &[IoSlice::new(&[0])],
            &mut control,
            SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
        );
        match sent {
            Ok(_) => Ok(true),
            Err(Errno::AGAIN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl Holders {
    pub fn push(&mut self, fd: OwnedFd) -> io::Result<()> {
        self.loose.push(fd);
        if self.loose.len() > LOOSE {
            self.pack()?;
        }
        Ok(())
    }

    fn pack(&mut self) -> io::Result<()> {
        let has_room = match self.packed.last() {
            Some(pack) => pack.take(&self.loose)?,
            None => false,
        };
        if !has_room {
            let pack = Pack::new()?;
            if !pack.take(&self.loose)? {
                return Err(Errno::NOBUFS.into());
            }
            self.packed.push(pack);
        }
        self.loose.clear();
        Ok(())
    }

    pub fn finish(mut self) -> io::Result<Vec<OwnedFd>> {
        if !self.packed.is_empty() && !self.loose.is_empty() {
            self.pack()?;
        }
        if self.packed.is_empty() {
            return Ok(self.loose);
        }
        Ok(self.packed.into_iter().map(|pack| pack.reader).collect())
    }
}

/// Visits all sockets that descriptors of [`Holders`] keep: duplicates, of those inside others too.
fn each(
    held: &[OwnedFd],
    mut visit: impl FnMut(OwnedFd, Option<HostPort>) -> io::Result<()>,
) -> io::Result<()> {
    for fd in held {
        if sockopt::socket_domain(fd) != Ok(AddressFamily::UNIX) {
            let fd = fd.try_clone()?;
            let port = HostPort::of(&fd);
            visit(fd, port)?;
            continue;
        }
        peek_from_start(fd)?;
        while let Some(inside) = peek(fd)? {
            for fd in inside {
                let port = HostPort::of(&fd);
                visit(fd, port)?;
            }
        }
    }
    Ok(())
}

/// Has peeking begin with the first message, and go on with the next one each time.
fn peek_from_start(fd: &OwnedFd) -> io::Result<()> {
    let start: libc::c_int = 0;
    // SAFETY: the option's value is an int, and valid for the length given.
    let done = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEEK_OFF,
            (&raw const start).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What the next message carries. It stays where it is.
fn peek(fd: &OwnedFd) -> io::Result<Option<Vec<OwnedFd>>> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LOOSE + 1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(
            fd,
            &mut [IoSliceMut::new(&mut byte)],
            &mut control,
            RecvFlags::PEEK | RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC,
        )
    });
    let received = match received {
        Ok(received) => received,
        Err(Errno::AGAIN) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::other(
            "a message has more descriptors than any should have",
        ));
    }
    Ok((received.bytes > 0).then_some(fds))
}

/// Of what is held, duplicates of the sockets that keep some ports. It makes a few system calls a port.
pub fn find(held: &[OwnedFd], ports: &HashSet<HostPort>) -> io::Result<Vec<(HostPort, OwnedFd)>> {
    let mut found = Vec::new();
    each(held, |fd, port| {
        found.extend(port.filter(|port| ports.contains(port)).map(|p| (p, fd)));
        Ok(())
    })?;
    Ok(found)
}

/// What is to be held in place of `held` so that only these ports are kept; what is no port's stays. `None` if nothing more is
/// kept than that.
pub fn keep(held: &[OwnedFd], ports: &HashSet<HostPort>) -> io::Result<Option<Vec<OwnedFd>>> {
    let mut kept = Holders::default();
    let mut goes = false;
    each(held, |fd, port| {
        if port.is_none_or(|port| ports.contains(&port)) {
            return kept.push(fd);
        }
        goes = true;
        Ok(())
    })?;
    match goes {
        true => kept.finish().map(Some),
        false => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};

    use super::*;
    use crate::hold::tests::{LOCAL, free_port, hold, in_use, soon};

    fn tcp(port: u16) -> HostPort {
        HostPort {
            protocol: Protocol::Tcp,
            ip: LOCAL.into(),
            port,
        }
    }

    /// So many ports, held.
    fn some(count: usize) -> (Vec<u16>, Vec<OwnedFd>) {
        let mut holders = Holders::default();
        let mut ports = Vec::new();
        for _ in 0..count {
            let port = free_port();
            if let Some(fd) = soon(|| hold(Protocol::Tcp, LOCAL.into(), port)) {
                holders.push(fd).unwrap();
                ports.push(port);
            }
        }
        (ports, holders.finish().unwrap())
    }

    #[test]
    fn many_are_one_descriptor() {
        let (ports, fds) = some(40);
        assert_eq!(fds.len(), 1);
        for port in &ports {
            assert!(in_use(&TcpListener::bind((LOCAL, *port))));
        }
        drop(fds);
        // The queue of a closed socket is emptied before close returns.
        for port in ports {
            soon(|| TcpListener::bind((LOCAL, port)));
        }
    }

    #[test]
    fn as_many_as_there_are() {
        let null = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let mut holders = Holders::default();
        for _ in 0..20_000 {
            holders.push(null.try_clone().unwrap()).unwrap();
        }
        let fds = holders.finish().unwrap();
        let mut count = 0;
        each(&fds, |_, port| {
            assert_eq!(port, None);
            count += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(count, 20_000);
    }

    #[test]
    fn single_ones_are_taken_from_few_and_from_many() {
        for count in [3, 17, 40] {
            let (ports, held) = some(count);
            let gone = ports[1];
            let rest: HashSet<_> = ports
                .iter()
                .map(|p| tcp(*p))
                .filter(|p| p.port != gone)
                .collect();
            // Looking takes nothing away, however often.
            for _ in 0..2 {
                let found = find(&held, &[tcp(gone)].into()).unwrap();
                assert_eq!(found.len(), 1);
                assert_eq!(found[0].0, tcp(gone));
            }
            let kept = keep(&held, &rest).unwrap().unwrap();
            assert!(in_use(&TcpListener::bind((LOCAL, gone))));
            drop(held);
            soon(|| TcpListener::bind((LOCAL, gone)));
            for port in &rest {
                assert!(in_use(&TcpListener::bind((LOCAL, port.port))));
            }
            assert!(keep(&kept, &rest).unwrap().is_none());
        }
    }

    #[test]
    fn what_a_socket_keeps_is_known_by_itself() {
        let port = free_port();
        for ip in [
            Ipv4Addr::UNSPECIFIED.into(),
            Ipv6Addr::UNSPECIFIED.into(),
            LOCAL.into(),
        ] {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                let fd = soon(|| hold(protocol, ip, port)).unwrap();
                assert_eq!(HostPort::of(&fd), Some(HostPort { protocol, ip, port }));
            }
        }
        let null = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        assert_eq!(HostPort::of(&null), None);
    }
}
