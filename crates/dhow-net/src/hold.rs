//! Sockets that keep a host port from everybody else while a container has it.
//!
//! Invariant: a held port can be bound by no other process, and no packet is ever read from its socket: translation takes
//! them away before a socket is looked for.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

use crate::endpoint::Protocol;

/// How often a port is tried that somebody else tries at the same moment.
const LISTEN_ATTEMPTS: u32 = 16;

/// Binds a host port. `None` where the kernel has no sockets of the protocol: then no other process can have one either.
///
/// `ours` are sockets that are in the way, and are given up afterwards: they have the port on other addresses of the host. It is not
/// free in between, nor when this fails. Who tries in the very same microseconds, and shares ports with everybody, could bind it
/// too; packets go to the container all the same.
pub(crate) fn hold(
    protocol: Protocol,
    ip: IpAddr,
    port: u16,
    ours: &[&OwnedFd],
) -> io::Result<Option<OwnedFd>> {
    if ours.is_empty() {
        return bind(protocol, ip, port, false);
    }
    let give_way = |gives: bool| {
        ours.iter()
            .try_for_each(|fd| sockopt::set_socket_reuseaddr(fd, gives))
    };
    let held = match give_way(true) {
        Ok(()) => bind(protocol, ip, port, true),
        Err(error) => Err(error.into()),
    };
    give_way(false)?;
    held
}

/// `shares` says that there are sockets of ours that give way.
fn bind(protocol: Protocol, ip: IpAddr, port: u16, shares: bool) -> io::Result<Option<OwnedFd>> {
    let address = SocketAddr::new(ip, port);
    let socket = |kind, protocol| {
        let family = match ip {
            IpAddr::V4(_) => AddressFamily::INET,
            IpAddr::V6(_) => AddressFamily::INET6,
        };
        let fd = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, Some(protocol))?;
        if ip.is_ipv6() {
            // The port of the other family is another port.
            sockopt::set_ipv6_v6only(&fd, true)?;
        }
        Ok::<_, Errno>(fd)
    };
    match protocol {
        Protocol::Tcp => {
            for attempt in 1.. {
                let fd = socket(SocketType::STREAM, ipproto::TCP)?;
                // With the option, connections of an earlier server that linger in TIME_WAIT don't matter, but two can be
                // bound that both have it. Of these one can listen; and whoever gave the option up then is in everybody's
                // way, also when merely bound again (inet_csk_bind_conflict).
                sockopt::set_socket_reuseaddr(&fd, true)?;
                rustix::net::bind(&fd, &address)?;
                match rustix::net::listen(&fd, 0) {
                    // Of two that do so at the same moment each may find the other in its way
                    // (inet_csk_listen_start): one that was there before would have refused the binding.
                    Err(Errno::ADDRINUSE) if attempt < LISTEN_ATTEMPTS => std::thread::yield_now(),
                    listens => {
                        listens?;
                        sockopt::set_socket_reuseaddr(&fd, false)?;
                        stop_listening(fd.as_fd())?;
                        return Ok(Some(fd));
                    }
                }
            }
            unreachable!("the last attempt returns")
        }
        Protocol::Udp => {
            let fd = socket(SocketType::DGRAM, ipproto::UDP)?;
            // The least that the kernel allows, should packets come before the translation is there.
            sockopt::set_socket_recv_buffer_size(&fd, 0)?;
            sockopt::set_socket_reuseaddr(&fd, shares)?;
            rustix::net::bind(&fd, &address)?;
            sockopt::set_socket_reuseaddr(&fd, false)?;
            Ok(Some(fd))
        }
        Protocol::Sctp => {
            let fd = match socket(SocketType::STREAM, ipproto::SCTP) {
                Ok(fd) => fd,
                Err(Errno::PROTONOSUPPORT | Errno::SOCKTNOSUPPORT) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            sockopt::set_socket_reuseaddr(&fd, shares)?;
            rustix::net::bind(&fd, &address)?;
            sockopt::set_socket_reuseaddr(&fd, false)?;
            Ok(Some(fd))
        }
    }
}

/// Back to a bound socket: connecting to no address does that and leaves the port (tcp_disconnect).
fn stop_listening(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: all zeros is a valid sockaddr of the family AF_UNSPEC.
    let nowhere: libc::sockaddr = unsafe { std::mem::zeroed() };
    // SAFETY: the address is valid for the length given.
    let done = unsafe {
        libc::connect(
            fd.as_raw_fd(),
            &raw const nowhere,
            size_of::<libc::sockaddr>() as libc::socklen_t,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, TcpListener, UdpSocket};

    use rustix::thread::UnshareFlags;

    use super::hold as hold_beside;
    use super::*;

    pub(crate) const LOCAL: Ipv4Addr = Ipv4Addr::LOCALHOST;

    pub(crate) fn hold(protocol: Protocol, ip: IpAddr, port: u16) -> io::Result<Option<OwnedFd>> {
        hold_beside(protocol, ip, port, &[])
    }

    pub(crate) fn free_port() -> u16 {
        TcpListener::bind((LOCAL, 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port()
    }

    /// What was closed here may be open for another moment in a program that another test starts, until it
    /// executes.
    pub(crate) fn soon<T>(mut bind: impl FnMut() -> io::Result<T>) -> T {
        let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
        loop {
            let result = bind();
            if !in_use(&result) || std::time::Instant::now() > end {
                return result.unwrap();
            }
            std::thread::yield_now();
        }
    }

    pub(crate) fn in_use<T>(result: &io::Result<T>) -> bool {
        matches!(result, Err(error) if error.kind() == io::ErrorKind::AddrInUse)
    }

    #[test]
    fn a_held_tcp_port_is_taken_for_all() {
        let port = free_port();
        let held = soon(|| hold(Protocol::Tcp, LOCAL.into(), port)).unwrap();
        // The standard library's listeners set SO_REUSEADDR.
        assert!(in_use(&TcpListener::bind((LOCAL, port))));
        assert!(in_use(&TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))));
        assert!(in_use(&hold(Protocol::Tcp, LOCAL.into(), port)));
        drop(held);
        soon(|| TcpListener::bind((LOCAL, port)));
    }

    #[test]
    fn a_port_with_a_listener_cannot_be_held() {
        let listener = TcpListener::bind((LOCAL, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(in_use(&hold(Protocol::Tcp, LOCAL.into(), port)));
    }

    #[test]
    fn of_two_at_once_one_gets_the_port() {
        // In a namespace of its own, and each time another port: a program that another test starts has, for the
        // moment before it executes, all that is open here, and with it the port.
        std::thread::spawn(|| {
            // SAFETY: only this thread's network namespace changes, and that of the threads it starts.
            unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
            for port in 2000..4000 {
                let start = std::sync::Arc::new(std::sync::Barrier::new(2));
                let racers = [(); 2].map(|()| {
                    let start = start.clone();
                    std::thread::spawn(move || {
                        start.wait();
                        hold(Protocol::Tcp, Ipv4Addr::UNSPECIFIED.into(), port)
                    })
                });
                let results = racers.map(|racer| racer.join().unwrap());
                let held = results.iter().filter(|result| result.is_ok()).count();
                assert_eq!(held, 1, "{results:?}");
            }
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_program_that_bound_earlier_cannot_listen_later() {
        let address = SocketAddrV4::new(LOCAL, free_port());
        let fd = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        sockopt::set_socket_reuseaddr(&fd, true).unwrap();
        rustix::net::bind(&fd, &address).unwrap();
        let _held = soon(|| hold(Protocol::Tcp, LOCAL.into(), address.port())).unwrap();
        assert_eq!(rustix::net::listen(&fd, 1), Err(Errno::ADDRINUSE));
    }

    #[test]
    fn lingering_connections_are_not_in_the_way() {
        let listener = TcpListener::bind((LOCAL, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(address).unwrap();
        let (server, _) = listener.accept().unwrap();
        // The side that closes first keeps the port in TIME_WAIT.
        drop(server);
        drop(client);
        drop(listener);
        soon(|| hold(Protocol::Tcp, LOCAL.into(), address.port())).unwrap();
    }

    #[test]
    fn a_held_udp_port_is_taken() {
        let held = UdpSocket::bind((LOCAL, 0)).unwrap();
        let port = held.local_addr().unwrap().port();
        assert!(in_use(&hold(Protocol::Udp, LOCAL.into(), port)));
        drop(held);
        let _held = soon(|| hold(Protocol::Udp, LOCAL.into(), port)).unwrap();
        assert!(in_use(&UdpSocket::bind((LOCAL, port))));
    }

    #[test]
    fn our_own_sockets_give_way_and_nobody_elses() {
        let port = free_port();
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let any = Ipv4Addr::UNSPECIFIED;
            let old = soon(|| hold(protocol, LOCAL.into(), port)).unwrap();
            assert!(in_use(&hold(protocol, any.into(), port)));
            let new = soon(|| hold_beside(protocol, any.into(), port, &[&old])).unwrap();
            drop(old);
            assert!(in_use(&hold(protocol, LOCAL.into(), port)));
            let other = Ipv4Addr::new(127, 0, 0, 9);
            assert!(in_use(&hold(protocol, other.into(), port)));
            // And back.
            let old = soon(|| hold_beside(protocol, LOCAL.into(), port, &[&new])).unwrap();
            let mut theirs = None;
            drop(new);
            match protocol {
                Protocol::Tcp => {
                    assert!(in_use(&TcpListener::bind((LOCAL, port))));
                    theirs = Some(soon(|| TcpListener::bind((other, port))));
                }
                _ => assert!(in_use(&UdpSocket::bind((LOCAL, port)))),
            }
            // A stranger's stays in the way.
            if theirs.is_some() {
                assert!(in_use(&hold_beside(protocol, any.into(), port, &[&old])));
                assert!(in_use(&TcpListener::bind((LOCAL, port))));
            }
        }
    }

    #[test]
    fn each_family_has_its_ports() {
        let port = free_port();
        let six = Ipv6Addr::UNSPECIFIED;
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let both = || {
                let ip = hold(protocol, Ipv4Addr::UNSPECIFIED.into(), port)?;
                Ok((ip, hold(protocol, six.into(), port)?))
            };
            let _held = soon(both);
            assert!(in_use(&hold(protocol, six.into(), port)));
        }
    }
}
