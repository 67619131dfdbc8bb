//! The daemon is killed with a container connected and endpoints in its pool: the container stays connected, the pool goes.

mod world;

use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Command, Stdio};

use dhow_net::{LiveEndpoint, NetConfig, Network};
use world::*;

const DAEMON: &str = "DHOW_NET_TEST_DAEMON";

/// Not a test: the process that `the_daemon_is_killed` kills. It inherits its network namespace.
#[test]
fn daemon() {
    if std::env::var_os(DAEMON).is_none() {
        return;
    }
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async {
            let network = open(NetConfig::default()).await;
            let endpoint = connect(&network, "a").await;
            let published = network
                .publish(endpoint.ip, &[tcp(80, 8080)])
                .await
                .unwrap();
            eventually("the pool is full", || network.ready() == 8);
            println!(
                "connected {} {} {} {}",
                endpoint.ip,
                endpoint.mac,
                endpoint.host_link,
                endpoint.netns.as_raw_fd(),
            );
            std::io::stdout().flush().unwrap();
            std::future::pending::<()>().await;
            drop(published);
        });
}

#[test]
fn the_daemon_is_killed() {
    if std::env::var_os(DAEMON).is_some() {
        return;
    }
    on_a_host(|w| async move {
        let mut daemon = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "daemon", "--nocapture"])
            .env(DAEMON, "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(daemon.stdout.take().unwrap());
        let line = output
            .lines()
            .map(Result::unwrap)
            .find_map(|line| Some(line.split_once("connected ")?.1.to_owned()))
            .unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        // As the container's process would, this one holds the namespace.
        let path = format!("/proc/{}/fd/{}", daemon.id(), words[3]);
        let netns: OwnedFd = std::fs::File::open(path).unwrap().into();
        assert_eq!(ports("dhow0").len(), 9);
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        eventually("the pool went with the daemon", || {
            ports("dhow0") == [words[2]]
        });
        serve_tcp(&netns, 80);
        assert_eq!(ask_tcp(&w.world, (HOST, 8080)), Some(WORLD));
        let endpoint = LiveEndpoint {
            id: "a-id".to_owned(),
            name: "a".to_owned(),
            ip: words[0].parse().unwrap(),
            ipv6: None,
            mac: words[1].parse().ok(),
            host_link: words[2].to_owned(),
            bindings: vec![dhow_net::PortBinding {
                protocol: dhow_net::Protocol::Tcp,
                container_port: 80,
                host_ip: std::net::Ipv4Addr::UNSPECIFIED.into(),
                host_port: 8080,
            }],
        };
        let network = Network::open(NetConfig::default(), vec![endpoint])
            .await
            .unwrap();
        assert_eq!(ask_tcp(&w.world, (HOST, 8080)), Some(WORLD));
        network.destroy().await;
    });
}
