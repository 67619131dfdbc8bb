//! A connection to a log server: datagrams, a stream, or one that is encrypted. Nothing here blocks.
//!
//! The sockets are of the shim's network namespace, which is the daemon's.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect,
    socket_with, sockopt,
};

use super::tls::Tls;
use crate::protocol::{Host, LogAddress};

/// How much is read of a server that talks without end, before the container gets its turn.
pub(super) const READS: usize = 16;

pub(super) struct Wire {
    fd: OwnedFd,
    kind: Kind,
    /// Bytes of the message under way that are sent.
    sent: usize,
}

enum Kind {
    Datagrams,
    Stream,
    Tls(Box<Tls>),
}

/// What became of a message.
pub(super) enum Taken {
    Whole,
    /// There is more of it to be sent.
    Part,
    Nothing,
    /// No datagram holds it.
    TooLong,
}

impl Wire {
    /// Begins to connect, and tells whether that is done. Of several addresses each has its turn.
    pub fn connect(address: &LogAddress, attempt: u32) -> io::Result<(Wire, bool)> {
        match address {
            LogAddress::Here(paths) => {
                let mut last = io::Error::from(io::ErrorKind::NotFound);
                for kind in [SocketType::DGRAM, SocketType::STREAM] {
                    for path in paths {
                        match unix(path, kind) {
                            Ok(connected) => return Ok(connected),
                            Err(error) => last = error,
                        }
                    }
                }
                Err(last)
            }
            LogAddress::Datagrams(path) => unix(path, SocketType::DGRAM),
            LogAddress::Stream(path) => unix(path, SocketType::STREAM),
            LogAddress::Udp(host) => inet(host, attempt, SocketType::DGRAM),
            LogAddress::Tcp(host) => inet(host, attempt, SocketType::STREAM),
            LogAddress::Tls { host, files } => {
                let tls = Tls::new(&host.name, files)?;
                let (wire, done) = inet(host, attempt, SocketType::STREAM)?;
                let kind = Kind::Tls(Box::new(tls));
                Ok((Wire { kind, ..wire }, done))
            }
        }
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Whether connecting, which is over, went well.
    pub fn connected(&mut self) -> io::Result<()> {
        sockopt::socket_error(&self.fd)??;
        Ok(())
    }

    /// What is always waited for: of a stream, its end.
    pub fn interest(&self) -> EventFlags {
        match &self.kind {
            Kind::Datagrams => EventFlags::empty(),
            Kind::Stream => EventFlags::IN | EventFlags::RDHUP,
            Kind::Tls(tls) if tls.wants_write() => {
                EventFlags::IN | EventFlags::RDHUP | EventFlags::OUT
            }
            Kind::Tls(_) => EventFlags::IN | EventFlags::RDHUP,
        }
    }

    /// Something has happened; an error means that the server has gone.
    pub fn heard(&mut self, flags: EventFlags) -> io::Result<()> {
        if flags.intersects(EventFlags::ERR | EventFlags::HUP | EventFlags::RDHUP) {
            self.connected()?;
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if !flags.contains(EventFlags::IN) {
            return Ok(());
        }
        match &mut self.kind {
            Kind::Tls(tls) => tls.receive(&self.fd),
            _ => {
                // Log servers have nothing to say, but that they end.
                for _ in 0..READS {
                    match rustix::net::recv(&self.fd, &mut [0u8; 512], RecvFlags::DONTWAIT) {
                        Ok((count, _)) if count > 0 => {}
                        Ok(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
                        Err(Errno::INTR) => {}
                        Err(Errno::AGAIN) => break,
                        Err(error) => return Err(error.into()),
                    }
                }
                Ok(())
            }
        }
    }

    /// Sends a message, or goes on with it.
    pub fn send(&mut self, message: &[u8]) -> io::Result<Taken> {
        let rest = &message[self.sent..];
        let sent = match &mut self.kind {
            Kind::Tls(tls) => tls.send(&self.fd, rest)?,
            _ => match send(&self.fd, rest) {
                Ok(count) => count,
                Err(Errno::AGAIN) => return Ok(Taken::Nothing),
                Err(Errno::MSGSIZE) => return Ok(Taken::TooLong),
                Err(error) => return Err(error.into()),
            },
        };
        if sent == 0 && !rest.is_empty() {
            return Ok(Taken::Nothing);
        }
        self.sent += sent;
        if self.sent < message.len() {
            return Ok(Taken::Part);
        }
        self.sent = 0;
        Ok(Taken::Whole)
    }

    /// Whether the message under way has been sent in part.
    pub fn is_within(&self) -> bool {
        self.sent > 0
    }

    /// Sends what is encrypted and not sent yet.
    pub fn flush(&mut self) -> io::Result<()> {
        match &mut self.kind {
            Kind::Tls(tls) => tls.flush(&self.fd),
            _ => Ok(()),
        }
    }

    /// Says that there is no more to come, where that has to be said.
    pub fn close(&mut self) {
        if let Kind::Tls(tls) = &mut self.kind {
            tls.close(&self.fd);
        }
    }

    /// Whether messages can be sent; an encrypted connection has to be agreed on first.
    pub fn is_open(&self) -> bool {
        match &self.kind {
            Kind::Tls(tls) => tls.is_open(),
            _ => true,
        }
    }

    /// Whether there is something of what was taken that is not sent yet.
    pub fn has_rest(&self) -> bool {
        match &self.kind {
            Kind::Tls(tls) => tls.wants_write(),
            _ => false,
        }
    }
}

/// send(2) without waiting, and without a signal.
pub(super) fn send(fd: &OwnedFd, bytes: &[u8]) -> Result<usize, Errno> {
    rustix::io::retry_on_intr(|| {
        rustix::net::send(fd, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
    })
}

fn unix(path: &Path, kind: SocketType) -> io::Result<(Wire, bool)> {
    let fd = socket(AddressFamily::UNIX, kind)?;
    // A stream whose queue of connections is full is away, as one that does not listen.
    connect(&fd, &SocketAddrUnix::new(path)?)?;
    Ok((wire(fd, kind), true))
}

fn inet(host: &Host, attempt: u32, kind: SocketType) -> io::Result<(Wire, bool)> {
    let Some(address) = host
        .addresses
        .get(attempt as usize % host.addresses.len().max(1))
    else {
        return Err(io::ErrorKind::HostUnreachable.into());
    };
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let fd = socket(family, kind)?;
    match connect(&fd, address) {
        Ok(()) => Ok((wire(fd, kind), true)),
        Err(Errno::INPROGRESS) => Ok((wire(fd, kind), false)),
        Err(error) => Err(error.into()),
    }
}

fn wire(fd: OwnedFd, kind: SocketType) -> Wire {
    Wire {
        fd,
        kind: match kind {
            SocketType::DGRAM => Kind::Datagrams,
            _ => Kind::Stream,
        },
        sent: 0,
    }
}

fn socket(family: AddressFamily, kind: SocketType) -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(socket_with(family, kind, flags, None)?)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_server_that_talks_gets_its_turn_and_no_more() {
        let (mut server, ours) = UnixStream::pair().unwrap();
        let mut wire = wire(ours.into(), SocketType::STREAM);
        server.write_all(&[b'x'; 512 * READS + 1]).unwrap();
        wire.heard(EventFlags::IN).unwrap();
        let left = rustix::net::recv(&wire.fd, &mut [0u8; 512], RecvFlags::DONTWAIT);
        assert_eq!(left.unwrap().0, 1);
        drop(server);
        assert!(wire.heard(EventFlags::IN).is_err());
    }
}
