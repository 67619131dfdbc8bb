//! A sandbox with a name server, those whom the server asks, and clients in the sandbox.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dhow_net::dns::{
    ADDRESS, AskedFrom, Forwarding, Names, PORT, Server, Sockets, Upstream, Upstreams,
};
use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use rustix::thread::UnshareFlags;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::world::{inside, own_namespace, run};

/// Long enough for a slow machine.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How long silence must last to count.
pub const SILENCE: Duration = Duration::from_millis(200);

/// Where a sandbox's name server is asked.
pub const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(ADDRESS), PORT);

/// A namespace of its own with nothing but its loopback link.
pub fn netns() -> OwnedFd {
    std::thread::spawn(|| {
        // SAFETY: only this thread's network namespace changes.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
        run("ip link set lo up");
        own_namespace()
    })
    .join()
    .unwrap()
}

/// A link between two namespaces, with an address at each end.
pub fn link(a: &OwnedFd, a_net: &'static str, b: &OwnedFd, b_net: &'static str) {
    let path = format!("/proc/{}/fd/{}", std::process::id(), b.as_raw_fd());
    inside(a, move || {
        run(&format!(
            "ip link add there type veth peer name here netns {path}"
        ));
        run(&format!("ip address add {a_net} dev there"));
        run("ip link set there up");
    })
    .join()
    .unwrap();
    inside(b, move || {
        run(&format!("ip address add {b_net} dev here"));
        run("ip link set here up");
    })
    .join()
    .unwrap();
}

/// What a network knows.
#[derive(Default)]
pub struct Book {
    pub addresses: Mutex<HashMap<String, Vec<IpAddr>>>,
    pub internal: AtomicBool,
}

impl Book {
    pub fn of(entries: &[(&str, &[&str])]) -> Arc<Book> {
        let addresses = entries.iter().map(|(name, addresses)| {
            let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
            ((*name).to_owned(), addresses)
        });
        Arc::new(Book {
            addresses: Mutex::new(addresses.collect()),
            internal: AtomicBool::new(false),
        })
    }
}

impl Names for Book {
    fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        self.addresses.lock().unwrap().get(name).cloned()
    }

    fn names(&self, address: IpAddr) -> Option<Vec<String>> {
        let book = self.addresses.lock().unwrap();
        let mut names: Vec<String> = book
            .iter()
            .filter(|(_, addresses)| addresses.contains(&address))
            .map(|(name, _)| format!("{name}.front_net"))
            .collect();
        names.sort();
        (!names.is_empty()).then_some(names)
    }

    fn may_forward(&self) -> bool {
        !self.internal.load(Ordering::Relaxed)
    }
}

pub fn from_host(address: SocketAddr) -> Upstream {
    Upstream {
        address,
        from: AskedFrom::Host,
    }
}

pub fn from_sandbox(address: SocketAddr) -> Upstream {
    Upstream {
        address,
        from: AskedFrom::Sandbox,
    }
}

/// With patience that a test can wait for.
pub fn upstreams(servers: &[Upstream]) -> Upstreams {
    Upstreams {
        servers: servers.to_vec(),
        timeout: Duration::from_millis(500),
        ..Upstreams::default()
    }
}

pub fn open(netns: &OwnedFd) -> Sockets {
    // As the thread that makes sandboxes does it.
    let netns = netns.try_clone().unwrap();
    std::thread::spawn(move || dhow_net::dns::open_sockets(netns.as_fd()).unwrap())
        .join()
        .unwrap()
}

pub fn serve(
    sockets: Sockets,
    netns: &OwnedFd,
    names: Arc<Book>,
    upstreams: Upstreams,
    forwarding: &Forwarding,
) -> Server {
    let netns = netns.try_clone().unwrap();
    Server::start(
        sockets,
        names,
        move || upstreams.clone(),
        move || netns.try_clone(),
        forwarding,
    )
    .unwrap()
}

/// A sandbox whose name server runs, with a cache of its own.
pub struct Sandbox {
    pub netns: OwnedFd,
    pub _server: Server,
}

impl Sandbox {
    pub fn new(names: &Arc<Book>, upstreams: Upstreams) -> Sandbox {
        let netns = netns();
        let sockets = open(&netns);
        let forwarding = Forwarding::default();
        let server = serve(sockets, &netns, names.clone(), upstreams, &forwarding);
        Sandbox {
            netns,
            _server: server,
        }
    }

    /// The answer over UDP.
    pub async fn ask(&self, name: &str, kind: RecordType) -> Message {
        ask(&self.netns, &query(name, kind)).await
    }

    pub async fn addresses(&self, name: &str, kind: RecordType) -> Vec<String> {
        addresses(&self.ask(name, kind).await)
    }
}

pub fn name(text: &str) -> Name {
    let labels = text.split('.').filter(|label| !label.is_empty());
    Name::from_labels(labels.map(str::as_bytes)).unwrap()
}

pub fn query(text: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name(text), kind));
    message
}

pub fn with_payload(mut query: Message, payload: u16) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(payload);
    query.set_edns(edns);
    query
}

pub fn udp_client(netns: &OwnedFd) -> UdpSocket {
    let socket = inside(netns, || {
        let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    });
    UdpSocket::from_std(socket.join().unwrap()).unwrap()
}

/// What comes back for a datagram, from whom it was sent to; `None` if it is silence.
pub async fn exchange(netns: &OwnedFd, bytes: &[u8], patience: Duration) -> Option<Vec<u8>> {
    let client = udp_client(netns);
    client.send_to(bytes, SERVER).await.unwrap();
    let mut buffer = vec![0; 65535];
    let received = tokio::time::timeout(patience, client.recv_from(&mut buffer)).await;
    let (length, from) = received.ok()?.unwrap();
    assert_eq!(from, SERVER, "the answer comes from whom was asked");
    buffer.truncate(length);
    Some(buffer)
}

pub async fn ask(netns: &OwnedFd, query: &Message) -> Message {
    let bytes = query.to_vec().unwrap();
    let answer = exchange(netns, &bytes, PATIENCE).await.expect("an answer");
    checked(query, &answer)
}

fn checked(query: &Message, answer: &[u8]) -> Message {
    let answer = Message::from_vec(answer).unwrap();
    assert_eq!(answer.metadata.id, query.metadata.id);
    assert_eq!(answer.queries, query.queries);
    answer
}

pub async fn tcp_client(netns: &OwnedFd) -> TcpStream {
    let socket = inside(netns, || tokio::net::TcpSocket::new_v4().unwrap());
    let socket = socket.join().unwrap();
    socket.connect(SERVER).await.unwrap()
}

pub async fn ask_over(stream: &mut TcpStream, query: &Message) -> Message {
    let bytes = query.to_vec().unwrap();
    stream.write_u16(bytes.len() as u16).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    let mut answer = vec![0; stream.read_u16().await.unwrap().into()];
    stream.read_exact(&mut answer).await.unwrap();
    checked(query, &answer)
}

pub async fn ask_tcp(netns: &OwnedFd, query: &Message) -> Message {
    let mut stream = tcp_client(netns).await;
    ask_over(&mut stream, query).await
}

pub fn addresses(message: &Message) -> Vec<String> {
    let addresses = message.answers.iter().filter_map(|r| r.data.ip_addr());
    addresses.map(|address| address.to_string()).collect()
}

/// A name server of the rest of the world; it remembers what it was asked.
pub struct World {
    pub asked: Arc<Mutex<Vec<Message>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An answer to each query, the second argument being whether it came over TCP.
pub type Answering = fn(Message, bool) -> Option<Message>;

impl World {
    pub fn start(netns: &OwnedFd, port: u16, answering: Answering) -> World {
        let any = (Ipv4Addr::UNSPECIFIED, port);
        let (udp, tcp) = inside(netns, move || {
            let udp = std::net::UdpSocket::bind(any).unwrap();
            udp.set_nonblocking(true).unwrap();
            let tcp = std::net::TcpListener::bind(any).unwrap();
            tcp.set_nonblocking(true).unwrap();
            (udp, tcp)
        })
        .join()
        .unwrap();
        let udp = UdpSocket::from_std(udp).unwrap();
        let tcp = TcpListener::from_std(tcp).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        let task = tokio::spawn(async move {
            let mut buffer = vec![0; 65535];
            loop {
                tokio::select! {
                    received = udp.recv_from(&mut buffer) => {
                        let (length, client) = received.unwrap();
                        let query = Message::from_vec(&buffer[..length]).unwrap();
                        seen.lock().unwrap().push(query.clone());
                        if let Some(answer) = answering(query, false) {
                            udp.send_to(&answer.to_vec().unwrap(), client).await.unwrap();
                        }
                    }
                    accepted = tcp.accept() => {
                        let (mut stream, _) = accepted.unwrap();
                        let mut query = vec![0; stream.read_u16().await.unwrap().into()];
                        stream.read_exact(&mut query).await.unwrap();
                        let query = Message::from_vec(&query).unwrap();
                        seen.lock().unwrap().push(query.clone());
                        if let Some(answer) = answering(query, true) {
                            let answer = answer.to_vec().unwrap();
                            stream.write_u16(answer.len() as u16).await.unwrap();
                            stream.write_all(&answer).await.unwrap();
                        }
                    }
                }
            }
        });
        World { asked, task }
    }

    pub fn times_asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

/// An answer without records.
pub fn empty(query: &Message, code: ResponseCode) -> Message {
    let mut answer = Message::error_msg(query.metadata.id, query.metadata.op_code, code);
    answer.metadata.recursion_available = true;
    answer.add_queries(query.queries.clone());
    answer
}

pub fn with_a(query: &Message, address: Ipv4Addr, ttl: u32) -> Message {
    let mut answer = empty(query, ResponseCode::NoError);
    let owner = query.queries[0].name().clone();
    answer.add_answer(Record::from_rdata(owner, ttl, RData::A(A(address))));
    answer
}

pub fn with_txt(query: &Message, texts: usize) -> Message {
    let mut answer = empty(query, ResponseCode::NoError);
    let owner = query.queries[0].name().clone();
    for _ in 0..texts {
        let text = TXT::new(vec!["x".repeat(200)]);
        answer.add_answer(Record::from_rdata(owner.clone(), 60, RData::TXT(text)));
    }
    answer
}

pub fn no_such_name(query: &Message, ttl: u32) -> Message {
    let mut answer = empty(query, ResponseCode::NXDomain);
    let soa = SOA::new(name("example"), name("root.example"), 1, 2, 3, 4, ttl);
    answer.add_authority(Record::from_rdata(name("example"), ttl, RData::SOA(soa)));
    answer
}
