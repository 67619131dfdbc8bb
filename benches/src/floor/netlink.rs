//! rtnetlink, as little of it as a container's network needs (rtnetlink(7), linux/rtnetlink.h).

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result, bail};

const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const REQUEST_ACK: u16 = 1 | 4;
const CREATE_EXCL: u16 = 0x400 | 0x200;

const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_ADDRESS: u16 = 1;
const RTA_GATEWAY: u16 = 5;

/// A message in the making; attributes can be nested.
struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, flags: u16, head: &[u8]) -> Message {
        let mut bytes = vec![0; 16];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(REQUEST_ACK | flags).to_ne_bytes());
        bytes.extend(head);
        Message(bytes)
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.nested(kind, |message| message.0.extend(value));
    }

    fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Message)) {
        let start = self.0.len();
        self.0.extend([0; 4]);
        fill(self);
        let length = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.0[start + 2..start + 4].copy_from_slice(&kind.to_ne_bytes());
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        let length = self.0.len() as u32;
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0
    }
}

/// struct ifinfomsg
fn ifinfo(index: u32, up: bool) -> Vec<u8> {
    let mut head = vec![0; 4];
    head.extend(index.to_ne_bytes());
    head.extend(u32::from(up).to_ne_bytes());
    head.extend(u32::from(up).to_ne_bytes());
    head
}

pub struct Netlink {
    socket: OwnedFd,
    bridge: u32,
}

impl Netlink {
    pub fn open() -> Result<Netlink> {
        Ok(Netlink {
            socket: socket()?,
            bridge: 0,
        })
    }

    /// Makes the bridge that everything is connected to.
    pub fn bridge(&mut self, name: &str) -> Result<()> {
        let mut link = Message::new(RTM_NEWLINK, CREATE_EXCL, &ifinfo(0, true));
        link.attribute(IFLA_IFNAME, name.as_bytes());
        link.nested(IFLA_LINKINFO, |link| {
            link.attribute(IFLA_INFO_KIND, b"bridge")
        });
        send(&self.socket, vec![link.finish()])?;
        self.bridge = index(name)?;
        send(&self.socket, vec![address(self.bridge, [172, 31, 0, 1])])
    }

    /// A pair of interfaces, one of them in the process's network namespace, with an address and a route.
    pub fn connect(&mut self, round: u32, pid: i32) -> Result<()> {
        let netns = File::open(format!("/proc/{pid}/ns/net"))?;
        let mut link = Message::new(RTM_NEWLINK, CREATE_EXCL, &ifinfo(0, true));
        link.attribute(IFLA_IFNAME, format!("floor-{round}").as_bytes());
        link.attribute(IFLA_MASTER, &self.bridge.to_ne_bytes());
        link.nested(IFLA_LINKINFO, |link| {
            link.attribute(IFLA_INFO_KIND, b"veth");
            link.nested(IFLA_INFO_DATA, |link| {
                link.nested(VETH_INFO_PEER, |link| {
                    link.0.extend(ifinfo(2, false));
                    link.attribute(IFLA_IFNAME, b"eth0");
                    link.attribute(IFLA_NET_NS_FD, &netns.as_raw_fd().to_ne_bytes());
                });
            });
        });
        send(&self.socket, vec![link.finish()])?;
        // A socket in the other namespace: the thread goes there and comes back.
        let own = File::open("/proc/self/ns/net")?;
        enter(&netns)?;
        let inside = socket();
        enter(&own)?;
        let inside = inside?;
        let octets = (round % 60_000) + 2;
        let mut route = Message::new(
            RTM_NEWROUTE,
            CREATE_EXCL,
            &[
                libc::AF_INET as u8,
                0,
                0,
                0,
                libc::RT_TABLE_MAIN,
                libc::RTPROT_BOOT,
                libc::RT_SCOPE_UNIVERSE,
                libc::RTN_UNICAST,
                0,
                0,
                0,
                0,
            ],
        );
        route.attribute(RTA_GATEWAY, &[172, 31, 0, 1]);
        send(
            &inside,
            vec![
                Message::new(RTM_NEWLINK, 0, &ifinfo(1, true)).finish(),
                address(2, [172, 31, (octets >> 8) as u8, octets as u8]),
                Message::new(RTM_NEWLINK, 0, &ifinfo(2, true)).finish(),
                route.finish(),
            ],
        )
    }
}

fn enter(netns: &File) -> Result<()> {
    use std::os::fd::AsFd;
    rustix::thread::move_into_link_name_space(
        netns.as_fd(),
        Some(rustix::thread::LinkNameSpaceType::Network),
    )?;
    Ok(())
}

fn address(link: u32, octets: [u8; 4]) -> Vec<u8> {
    // struct ifaddrmsg
    let mut head = vec![libc::AF_INET as u8, 16, 0, 0];
    head.extend(link.to_ne_bytes());
    let mut message = Message::new(RTM_NEWADDR, CREATE_EXCL, &head);
    message.attribute(IFA_LOCAL, &octets);
    message.attribute(IFA_ADDRESS, &octets);
    message.finish()
}

fn index(name: &str) -> Result<u32> {
    let name = std::ffi::CString::new(name)?;
    // SAFETY: the name is a C string.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => bail!("no index: {}", std::io::Error::last_os_error()),
        index => Ok(index),
    }
}

fn socket() -> Result<OwnedFd> {
    // SAFETY: no pointers; a descriptor that the call gives is ours.
    let fd = unsafe {
        libc::socket(
            libc::AF_NETLINK,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC,
            libc::NETLINK_ROUTE,
        )
    };
    if fd < 0 {
        bail!("netlink: {}", std::io::Error::last_os_error());
    }
    // SAFETY: as above.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sends the messages in one go and reads an acknowledgement for each.
fn send(socket: &OwnedFd, messages: Vec<Vec<u8>>) -> Result<()> {
    let count = messages.len();
    rustix::net::send(socket, &messages.concat(), rustix::net::SendFlags::empty())?;
    let mut seen = 0;
    let mut buffer = [0_u8; 8192];
    while seen < count {
        let (length, _) =
            rustix::net::recv(socket, &mut buffer[..], rustix::net::RecvFlags::empty())?;
        let mut rest = &buffer[..length];
        while rest.len() >= 20 {
            let size = u32::from_ne_bytes(rest[..4].try_into().context("four bytes")?) as usize;
            // struct nlmsgerr: the error comes first.
            let error = i32::from_ne_bytes(rest[16..20].try_into().context("four bytes")?);
            if error != 0 {
                bail!(
                    "message {seen}: {}",
                    std::io::Error::from_raw_os_error(-error)
                );
            }
            seen += 1;
            rest = &rest[size.next_multiple_of(4).min(rest.len())..];
        }
    }
    Ok(())
}
