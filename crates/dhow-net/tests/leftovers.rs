//! Five hundred endpoints come and go, and nothing stays. The only test of its process, so that it can count what this has open.

mod world;

use std::fs;

use dhow_net::NetConfig;
use world::*;

const COUNT: u16 = 500;

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
fn five_hundred_endpoints() {
    // Each takes a descriptor for its namespace and one for its port.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    rustix::process::setrlimit(
        rustix::process::Resource::Nofile,
        rustix::process::Rlimit {
            current: limit.maximum,
            ..limit
        },
    )
    .unwrap();
    on_a_host(|w| async move {
        let links = run("ip -o link").lines().count();
        // What comes with a process's first network and stays: the runtime's thread for blocking work, a source of randomness.
        let network = open(NetConfig::default()).await;
        drop(connect(&network, "first").await);
        network.destroy().await;
        eventually("the first network's links are gone", || {
            ports("dhow0").is_empty()
        });
        let (fds, tasks) = (descriptors(), threads());
        let network = open(NetConfig::default()).await;
        let mut all = Vec::new();
        for number in 0..COUNT {
            let endpoint = connect(&network, &format!("c{number}")).await;
            let port = tcp(80, 10_000 + number);
            let published = network.publish(endpoint.ip, &[port]).await.unwrap();
            all.push((endpoint, published));
        }
        // The first, the last, and the last of all to be published, reach and are reached.
        let (first, _) = &all[0];
        let (last, _) = &all[usize::from(COUNT) - 1];
        serve_tcp(&last.netns, 80);
        assert_eq!(ask_tcp(&first.netns, (last.ip, 80)), Some(first.ip));
        assert_eq!(ask_tcp(&w.world, (HOST, 10_000 + COUNT - 1)), Some(WORLD));
        let mut addresses: Vec<_> = all.iter().map(|(endpoint, _)| endpoint.ip).collect();
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), usize::from(COUNT));
        for (endpoint, _) in &all {
            network.disconnect(endpoint.ip).await.unwrap();
        }
        let map = run("nft list map ip dhow ports");
        assert!(!map.contains("elements"), "{map}");
        // The server of the last keeps its namespace, as a container's process would.
        drop(all);
        eventually("all links but the pool's and the server's are gone", || {
            ports("dhow0").len() <= network.ready() + 1
        });
        network.destroy().await;
        eventually("the pool's links are gone", || ports("dhow0").len() <= 1);
        assert_eq!(run("nft list ruleset"), "");
        // The server: a socket, and a thread.
        eventually("all descriptors are closed", || descriptors() == fds + 1);
        eventually("all threads have ended", || threads() == tasks + 1);
        run("ip link del dhow0");
        let left = run("ip -o link");
        assert!(left.lines().count() <= links + 1, "{left}");
    });
}
