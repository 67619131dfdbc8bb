//! A world for a test: a network namespace that plays the host, another that plays the rest of the world, a link between them,
//! and means to send real packets from each.
//!
//! The host has 192.0.2.1 and 2001:db8::1, the world 192.0.2.2 and 2001:db8::2, and no route to the containers unless a test adds one.

#![allow(dead_code)]

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Command;
use std::str::FromStr;
use std::thread::JoinHandle;
use std::time::Duration;

use dhow_net::{
    Endpoint, EndpointRequest, Gateways, LiveEndpoint, NetConfig, Network, Place, PortRequest,
    Protocol, Way,
};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

pub const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub const WORLD: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub const HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
pub const WORLD6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
/// Long enough for a slow machine; a test that passes never waits for it but where silence is the expectation.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long silence must last to count.
const SILENCE: Duration = Duration::from_millis(300);

pub fn enter(netns: BorrowedFd<'_>) {
    move_into_link_name_space(netns, Some(LinkNameSpaceType::Network)).unwrap();
}

pub fn own_namespace() -> OwnedFd {
    File::open("/proc/thread-self/ns/net").unwrap().into()
}

/// Runs in a thread of its own inside the namespace.
pub fn inside<T: Send + 'static>(
    netns: impl AsFd,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let netns = netns.as_fd().try_clone_to_owned().unwrap();
    std::thread::spawn(move || {
        enter(netns.as_fd());
        work()
    })
}

pub fn run(command: &str) -> String {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap())
        .args(words)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{command}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// As `run`, for commands that may fail: what they printed.
pub fn try_run(command: &str) -> String {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap())
        .args(words)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

pub struct World {
    pub host: OwnedFd,
    pub world: OwnedFd,
}

/// Runs a test as a process of the host would, on a thread in the host's namespace, with a runtime all of whose threads are
/// there too.
pub fn on_a_host<F: Future<Output = ()>>(test: impl FnOnce(World) -> F + Send + 'static) {
    let result = std::thread::spawn(move || {
        // SAFETY: only this thread's network namespace changes.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
        let host = own_namespace();
        let world = std::thread::spawn(|| {
            // SAFETY: as above.
            unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
            run("ip link set lo up");
            own_namespace()
        })
        .join()
        .unwrap();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&world);
        let path = format!("/proc/{}/fd/{fd}", std::process::id());
        run("ip link set lo up");
        run(&format!(
            "ip link add outside type veth peer name inside netns {path}"
        ));
        run("ip address add 192.0.2.1/24 dev outside");
        run("ip address add 2001:db8::1/64 dev outside nodad");
        run("ip link set outside up");
        inside(&world, || {
            run("ip address add 192.0.2.2/24 dev inside");
            run("ip address add 2001:db8::2/64 dev inside nodad");
            run("ip link set inside up");
        })
        .join()
        .unwrap();
        // A test may drop its world early.
        let _kept = (host.try_clone().unwrap(), world.try_clone().unwrap());
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(1)
            .build()
            .unwrap()
            .block_on(test(World { host, world }));
    })
    .join();
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

pub async fn open(config: NetConfig) -> Network {
    Network::open(config, Vec::new()).await.unwrap()
}

pub async fn connect(network: &Network, name: &str) -> Endpoint {
    let request = EndpointRequest {
        id: format!("{name}-id"),
        name: name.to_owned(),
        ..EndpointRequest::default()
    };
    network.connect(request).await.unwrap()
}

/// The endpoint as the engine would store it.
pub fn live(endpoint: &Endpoint, name: &str, bindings: &[dhow_net::PortBinding]) -> LiveEndpoint {
    LiveEndpoint {
        id: format!("{name}-id"),
        name: name.to_owned(),
        ip: endpoint.ip,
        ipv6: endpoint.ipv6.map(|place| place.ip),
        mac: Some(endpoint.mac),
        host_link: endpoint.host_link.clone(),
        bindings: bindings.to_vec(),
    }
}

pub fn tcp(container_port: u16, host_port: u16) -> PortRequest {
    PortRequest {
        protocol: Protocol::Tcp,
        container_port,
        host_ip: None,
        host_ports: Some((host_port, host_port)),
    }
}

pub fn udp(container_port: u16, host_port: u16) -> PortRequest {
    PortRequest {
        protocol: Protocol::Udp,
        ..tcp(container_port, host_port)
    }
}

/// A TCP server in the namespace that tells every client the address it comes from, until the namespace's test ends.
pub fn serve_tcp(netns: impl AsFd, port: u16) {
    let listener = inside(netns, move || {
        TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).unwrap()
    })
    .join()
    .unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(mut client) = client else { return };
            let Ok(peer) = client.peer_addr() else { return };
            let _ = client.write_all(peer.ip().to_canonical().to_string().as_bytes());
        }
    });
}

/// A UDP server that answers every datagram with the sender's address.
pub fn serve_udp(netns: impl AsFd, port: u16) {
    let socket = inside(netns, move || {
        UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)).unwrap()
    })
    .join()
    .unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(peer.ip().to_canonical().to_string().as_bytes(), peer);
        }
    });
}

/// An address of a family.
pub trait Address: Into<IpAddr> + Send + FromStr + 'static {}

impl<T: Into<IpAddr> + Send + FromStr + 'static> Address for T {}

fn address<A: Address>(text: &str) -> A {
    text.parse()
        .unwrap_or_else(|_| panic!("an address of the other family: {text}"))
}

/// The address that a server behind `to` sees, asked from the namespace; `None` if it doesn't answer.
pub fn ask_tcp<A: Address>(netns: impl AsFd, to: (A, u16)) -> Option<A> {
    ask_tcp_for(netns, to, PATIENCE)
}

/// As `ask_tcp` where no answer is expected.
pub fn is_silent<A: Address>(netns: impl AsFd, to: (A, u16)) -> bool {
    ask_tcp_for(netns, to, SILENCE).is_none()
}

fn ask_tcp_for<A: Address>(netns: impl AsFd, to: (A, u16), patience: Duration) -> Option<A> {
    let to = SocketAddr::new(to.0.into(), to.1);
    inside(netns, move || {
        let mut stream = TcpStream::connect_timeout(&to, patience).ok()?;
        stream.set_read_timeout(Some(patience)).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(address(&text))
    })
    .join()
    .unwrap()
}

pub fn udp_client(netns: impl AsFd) -> UdpSocket {
    inside(netns, || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    })
    .join()
    .unwrap()
}

pub fn udp_client6(netns: impl AsFd) -> UdpSocket {
    inside(netns, || {
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    })
    .join()
    .unwrap()
}

pub fn ask_udp<A: Address>(client: &UdpSocket, to: (A, u16)) -> Option<A> {
    let to = SocketAddr::new(to.0.into(), to.1);
    client.send_to(b"who am I?", to).ok()?;
    let mut buffer = [0; 64];
    let (length, from) = client.recv_from(&mut buffer).ok()?;
    assert_eq!(from, to, "the answer comes from whom was asked");
    Some(address(std::str::from_utf8(&buffer[..length]).unwrap()))
}

/// The ports of the bridge, from the calling thread's namespace.
pub fn ports(bridge: &str) -> Vec<String> {
    run(&format!("ip -o link show master {bridge}"))
        .lines()
        .map(|line| {
            let name = line.split(": ").nth(1).unwrap();
            name.split('@').next().unwrap().to_owned()
        })
        .collect()
}

/// Tries again while a port is in use that was given back just now: a program that another test is starting has
/// this process's sockets, too, until it is executed.
pub async fn given_back<T, E: std::fmt::Debug, F: Future<Output = Result<T, E>>>(
    take: impl Fn() -> F,
) -> T {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        match take().await {
            Ok(taken) => return taken,
            Err(error) => assert!(
                std::time::Instant::now() < deadline,
                "still taken: {error:?}"
            ),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A container on a network that was added, with its way out.
pub async fn container(first: &Network, network: &Network, name: &str) -> (OwnedFd, Place) {
    let netns = first.isolated().await.unwrap();
    let request = EndpointRequest {
        id: format!("{name}-id"),
        name: name.to_owned(),
        ..EndpointRequest::default()
    };
    let namespace = || netns.try_clone().unwrap();
    let (place, _) = network.join(namespace(), 0, request).await.unwrap();
    let gateways = Gateways {
        ip: place.gateway.map(Way::Gateway),
        ipv6: place.ipv6.and_then(|six| six.gateway).map(Way::Gateway),
    };
    first.set_gateways(namespace(), gateways).await.unwrap();
    (netns, place)
}

/// Waits until it is so: what another thread or the kernel does in its own time.
pub fn eventually(what: &str, so: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !so() {
        assert!(std::time::Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// As [`eventually`], for what this thread's own runtime does.
pub async fn soon(what: &str, so: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !so() {
        assert!(std::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether the host could be told to hand bridged packets to the IP rules, or not to.
pub fn hand_bridged_packets_to_ip(yes: bool) -> bool {
    let path = "/proc/sys/net/bridge/bridge-nf-call-iptables";
    match std::fs::write(path, if yes { "1" } else { "0" }) {
        Ok(()) => true,
        // Without the module they are not.
        Err(_) if !yes => true,
        Err(error) => {
            println!("skipped: no br_netfilter here: {error}");
            false
        }
    }
}
