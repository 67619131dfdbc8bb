//! What name servers cost: opening their sockets, being at rest, and answering. `cargo run --release -p dhow-net --example
//! dns_rest [SERVERS [NAMESPACES]]`, as root; the servers of several thousand share some namespaces.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dhow_net::dns::{ADDRESS, Forwarding, Names, PORT, Server, Upstreams, open_sockets};
use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

struct Same;

impl Names for Same {
    fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        (name == "web").then(|| vec![Ipv4Addr::new(172, 20, 0, 2).into()])
    }

    fn names(&self, _: IpAddr) -> Option<Vec<String>> {
        None
    }

    fn may_forward(&self) -> bool {
        false
    }
}

fn netns() -> OwnedFd {
    std::thread::spawn(|| {
        // SAFETY: only this thread's network namespace changes.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
        let up = std::process::Command::new("ip")
            .args(["link", "set", "lo", "up"])
            .status();
        assert!(up.unwrap().success());
        std::fs::File::open("/proc/thread-self/ns/net")
            .unwrap()
            .into()
    })
    .join()
    .unwrap()
}

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort();
    times[(times.len() - 1) * percent / 100]
}

fn main() {
    let argument = |n| std::env::args().nth(n).map(|a| a.parse::<usize>().unwrap());
    let servers = argument(1).unwrap_or(1000);
    let spaces: Vec<OwnedFd> = (0..argument(2).unwrap_or(100)).map(|_| netns()).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let mut times = Vec::new();
    let mut first = Vec::new();
    for netns in &spaces {
        let begun = Instant::now();
        first.push(open_sockets(netns.as_fd()).unwrap());
        times.push(begun.elapsed());
    }
    let median = percentile(&mut times, 50);
    println!(
        "opening sockets and redirection: median {median:?}, 99 % {:?}",
        percentile(&mut times, 99)
    );
    let mut sockets = Vec::new();
    for n in spaces.len()..servers {
        sockets.push(open_sockets(spaces[n % spaces.len()].as_fd()).unwrap());
    }
    // The redirection is to those that were opened last.
    for netns in &spaces {
        sockets.push(open_sockets(netns.as_fd()).unwrap());
    }
    let forwarding = Forwarding::default();
    let names = Arc::new(Same);
    let before = resident();
    let count = sockets.len();
    let _guard = runtime.enter();
    let running: Vec<Server> = sockets
        .into_iter()
        .map(|sockets| {
            let nowhere = || Err(std::io::ErrorKind::Unsupported.into());
            let upstreams = Upstreams::default;
            Server::start(sockets, names.clone(), upstreams, nowhere, &forwarding).unwrap()
        })
        .collect();
    std::thread::sleep(Duration::from_millis(200));
    let each = (resident() - before) as f64 / count as f64;
    println!("{count} servers at rest: {each:.1} KiB each");

    move_into_link_name_space(spaces[0].as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    let mut query = Message::query();
    query.add_query(Query::query(
        Name::from_ascii("web.").unwrap(),
        RecordType::A,
    ));
    let query = query.to_vec().unwrap();
    let client = UdpSocket::bind("0.0.0.0:0").unwrap();
    client.connect((ADDRESS, PORT)).unwrap();
    let mut buffer = [0; 512];
    let mut times = Vec::new();
    for _ in 0..20_000 {
        let begun = Instant::now();
        client.send(&query).unwrap();
        let length = client.recv(&mut buffer).unwrap();
        times.push(begun.elapsed());
        assert!(length > query.len());
    }
    let median = percentile(&mut times, 50);
    println!(
        "an answer of our own: median {median:?}, 99 % {:?}",
        percentile(&mut times, 99)
    );
    // Without waiting for each.
    let begun = Instant::now();
    let mut answers = 0;
    for _ in 0..1000 {
        for _ in 0..64 {
            client.send(&query).unwrap();
        }
        for _ in 0..64 {
            client.recv(&mut buffer).unwrap();
            answers += 1;
        }
    }
    let rate = f64::from(answers) / begun.elapsed().as_secs_f64();
    println!("{rate:.0} answers a second");
    drop(running);
}
