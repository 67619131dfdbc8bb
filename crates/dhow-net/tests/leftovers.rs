//! Five hundred endpoints come and go, and nothing stays. The only test of its process, so that it can count what this has open.

mod world;

use std::fs;

use dhow_net::{NetConfig, Network};
use world::*;

const COUNT: u16 = 500;

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

/// How often the network's threads have gone to sleep.
fn sleeps() -> usize {
    let mut count = 0;
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap_or_default();
        if status.starts_with("Name:\tdhow-") {
            let line = status
                .lines()
                .find(|line| line.starts_with("voluntary_ctxt_switches"));
            count += line
                .unwrap()
                .split_whitespace()
                .nth(1)
                .unwrap()
                .parse::<usize>()
                .unwrap();
        }
    }
    count
}

fn at_rest_nothing_wakes(network: &Network) {
    eventually("the pool is full", || network.ready() == 8);
    let settled = std::cell::Cell::new(0);
    let a_second = || {
        let before = sleeps();
        std::thread::sleep(std::time::Duration::from_secs(1));
        settled.set(sleeps() - before);
        settled.get() == 0
    };
    // What was under way when the pool was full may end in the first one.
    assert!(a_second() || a_second(), "woken {} times", settled.get());
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
        at_rest_nothing_wakes(&network);
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
        for (number, (endpoint, _)) in all.iter().enumerate() {
            let id = format!("c{number}-id");
            network.disconnect(endpoint.ip, &id).await.unwrap();
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
