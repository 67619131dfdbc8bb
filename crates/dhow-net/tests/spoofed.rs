//! What raw sockets are good for: frames with other containers' addresses get no further than plain ones.
//!
//! Within a network that lets its containers reach each other they get there, as with Docker. Nowhere else does an address that
//! is somebody else's open a way: rules go by the link that a packet comes by.

mod world;

use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use dhow_net::{MacAddr, NetConfig, Network};
use rustix::net;
use world::*;

const PORT: u16 = 5300;

/// Who a frame says that it is from, and whom it is for.
#[derive(Clone, Copy)]
struct Frame {
    from: (MacAddr, Ipv4Addr),
    to: (MacAddr, Ipv4Addr),
    says: &'static str,
}

impl Frame {
    /// Ethernet, IPv4 (RFC 791) and UDP (RFC 768), whose checksum is none.
    fn bytes(&self) -> Vec<u8> {
        let payload = self.says.as_bytes();
        let mut bytes = [self.to.0.0, self.from.0.0].concat();
        bytes.extend([0x08, 0x00]);
        let udp = 8 + payload.len() as u16;
        let mut ip = vec![0x45, 0];
        ip.extend((20 + udp).to_be_bytes());
        ip.extend([0, 1, 0, 0, 64, 17, 0, 0]);
        ip.extend(self.from.1.octets());
        ip.extend(self.to.1.octets());
        let words = ip.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1]));
        let sum: u32 = words.sum();
        let folded = !((sum & 0xffff) + (sum >> 16)) as u16;
        ip[10..12].copy_from_slice(&folded.to_be_bytes());
        bytes.extend(ip);
        for field in [4000, PORT, udp, 0] {
            bytes.extend(field.to_be_bytes());
        }
        bytes.extend(payload);
        bytes
    }

    /// Sends it by the namespace's first link.
    fn send(self, netns: BorrowedFd<'_>) {
        inside(netns, move || {
            let (family, raw) = (net::AddressFamily::PACKET, net::SocketType::RAW);
            let socket = net::socket(family, raw, None).unwrap();
            let index = net::netdevice::name_to_index(&socket, "eth0").unwrap();
            let bytes = self.bytes();
            // SAFETY: an all-zero address is one; its fields are set below.
            let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
            to.sll_family = libc::AF_PACKET as u16;
            to.sll_ifindex = index as i32;
            to.sll_halen = 6;
            // SAFETY: both pointers are to live values of the lengths that are said.
            let sent = unsafe {
                libc::sendto(
                    std::os::fd::AsRawFd::as_raw_fd(&socket),
                    bytes.as_ptr().cast(),
                    bytes.len(),
                    0,
                    (&raw const to).cast(),
                    size_of_val(&to) as u32,
                )
            };
            assert_eq!(sent, bytes.len() as isize);
        })
        .join()
        .unwrap();
    }
}

async fn added(first: &Network, name: &str, address: &str, icc: bool) -> Network {
    let config = NetConfig {
        bridge: name.to_owned(),
        bridge_ip: Some(address.parse().unwrap()),
        icc,
        warm: 0,
        ..NetConfig::default()
    };
    first.add(config).await.unwrap()
}

fn mac_of(link: &str) -> MacAddr {
    let shown = run(&format!("ip -o link show dev {link}"));
    let mut words = shown.split_whitespace();
    words.find(|word| *word == "link/ether");
    words.next().unwrap().parse().unwrap()
}

/// Hears what comes to a container's port.
fn hear(netns: BorrowedFd<'_>) -> UdpSocket {
    let socket = inside(netns, || UdpSocket::bind(("0.0.0.0", PORT)).unwrap());
    let socket = socket.join().unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    socket
}

fn heard(socket: &UdpSocket) -> String {
    let mut buffer = [0; 64];
    let (length, _) = socket.recv_from(&mut buffer).unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

fn spoofed(icc: bool) {
    on_a_host(move |w| async move {
        let first = open(NetConfig::default()).await;
        let red = added(&first, "br-red", "10.1.0.1/24", icc).await;
        let blue = added(&first, "br-blue", "10.2.0.1/24", true).await;
        let (a, at) = container(&first, &red, "a").await;
        let (same, same_at) = container(&first, &red, "b").await;
        let (other, other_at) = container(&first, &blue, "c").await;
        let ears = hear(a.as_fd());
        let (own, foreign) = (mac_of("br-red"), mac_of("br-blue"));
        let gateway = at.gateway.unwrap();
        let [at_mac, same_mac, other_mac] = [&at, &same_at, &other_at].map(|at| at.mac.unwrap());
        let frame = |from, to, says| Frame { from, to, says };
        // From another network: as one of the same, as the gateway, as the host, as the container itself; to the router, and
        // straight to the container.
        for source in [same_at.ip, gateway, HOST, at.ip, WORLD] {
            for mac in [other_mac, same_mac, own] {
                for next in [foreign, own, at_mac] {
                    let to = (next, at.ip);
                    frame((mac, source), to, "from elsewhere").send(other.as_fd());
                }
            }
        }
        // From the same one, where containers are apart: neither straight nor by the router.
        if !icc {
            for source in [same_at.ip, gateway, HOST, other_at.ip] {
                for next in [at_mac, own] {
                    let to = (next, at.ip);
                    frame((same_mac, source), to, "from a neighbour").send(same.as_fd());
                }
            }
        }
        // Only now one that gets there.
        let plain = udp_client(&w.host);
        plain.send_to(b"from the host", (at.ip, PORT)).unwrap();
        assert_eq!(heard(&ears), "from the host");
        if icc {
            // Frames as these do get there.
            frame((own, HOST), (at_mac, at.ip), "from a neighbour").send(same.as_fd());
            assert_eq!(heard(&ears), "from a neighbour");
        }
        first.destroy().await;
    });
}

#[test]
fn frames_of_others_get_no_further() {
    spoofed(true);
}

#[test]
fn frames_of_others_get_no_further_where_containers_are_apart() {
    spoofed(false);
}
