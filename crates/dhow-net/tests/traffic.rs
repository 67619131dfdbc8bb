//! Packets on every way that a user expects them to go, and on those where they mustn't.

mod world;

use std::net::Ipv4Addr;
use std::os::fd::AsFd;

use dhow_net::{NetConfig, PortRequest};
use world::*;

const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

#[test]
fn containers_the_host_and_the_world() {
    on_a_host(|w| async move {
        let network = open(NetConfig::default()).await;
        let gateway = network.bridge().unwrap().gateway;
        let a = connect(&network, "a").await;
        let b = connect(&network, "b").await;
        assert_eq!(
            network.bridge().unwrap().subnet.to_string(),
            "172.17.0.0/16"
        );
        assert_eq!(a.ip, Ipv4Addr::new(172, 17, 0, 2));
        assert_eq!(b.ip, Ipv4Addr::new(172, 17, 0, 3));
        assert_eq!(a.mac.to_string(), "02:42:ac:11:00:02");
        for netns in [
            a.netns.as_fd(),
            b.netns.as_fd(),
            w.host.as_fd(),
            w.world.as_fd(),
        ] {
            serve_tcp(netns, 80);
        }
        // Between containers, and with the host both ways, nothing is translated.
        assert_eq!(ask_tcp(&a.netns, (b.ip, 80)), Some(a.ip));
        assert_eq!(ask_tcp(&w.host, (a.ip, 80)), Some(gateway));
        assert_eq!(ask_tcp(&a.netns, (gateway, 80)), Some(a.ip));
        // Its own loopback works.
        assert_eq!(ask_tcp(&a.netns, (LOCALHOST, 80)), Some(LOCALHOST));
        // The world sees the host.
        assert_eq!(ask_tcp(&a.netns, (WORLD, 80)), Some(HOST));
        network.destroy().await;
    });
}

#[test]
fn published_ports_from_everywhere() {
    published_ports(false);
}

#[test]
fn published_ports_from_everywhere_with_br_netfilter() {
    published_ports(true);
}

fn published_ports(br_netfilter: bool) {
    on_a_host(move |w| async move {
        if !hand_bridged_packets_to_ip(br_netfilter) {
            return;
        }
        let network = open(NetConfig::default()).await;
        let gateway = network.bridge().unwrap().gateway;
        let a = connect(&network, "a").await;
        let b = connect(&network, "b").await;
        serve_tcp(&a.netns, 80);
        serve_udp(&a.netns, 53);
        let published = network
            .publish(a.ip, &[tcp(80, 8080), udp(53, 5353)])
            .await
            .unwrap();
        assert_eq!(published.holders.len(), 2);
        // The container sees who it is from outside.
        assert_eq!(ask_tcp(&w.world, (HOST, 8080)), Some(WORLD));
        assert_eq!(ask_udp(&udp_client(&w.world), (HOST, 5353)), Some(WORLD));
        // From the host by each of its addresses.
        assert_eq!(ask_tcp(&w.host, (HOST, 8080)), Some(HOST));
        assert_eq!(ask_tcp(&w.host, (LOCALHOST, 8080)), Some(gateway));
        assert_eq!(
            ask_udp(&udp_client(&w.host), (LOCALHOST, 5353)),
            Some(gateway)
        );
        assert!(ask_tcp(&w.host, (gateway, 8080)).is_some());
        // From the bridge: another container, and itself.
        for netns in [&a.netns, &b.netns] {
            assert_eq!(ask_tcp(netns, (HOST, 8080)), Some(gateway));
            assert_eq!(ask_tcp(netns, (gateway, 8080)), Some(gateway));
            assert_eq!(ask_udp(&udp_client(netns), (HOST, 5353)), Some(gateway));
        }
        network.unpublish(a.ip, &published.bindings).await.unwrap();
        assert!(is_silent(&w.world, (HOST, 8080)));
        assert!(is_silent(&w.host, (LOCALHOST, 8080)));
        network.destroy().await;
    });
}

#[test]
fn what_is_not_published_is_not_reachable() {
    on_a_host(|w| async move {
        let network = open(NetConfig::default()).await;
        let a = connect(&network, "a").await;
        serve_tcp(&a.netns, 80);
        serve_tcp(&a.netns, 81);
        let local = PortRequest {
            host_ip: Some(LOCALHOST.into()),
            ..tcp(80, 8080)
        };
        let _published = network.publish(a.ip, &[local]).await.unwrap();
        inside(&w.world, || {
            run("ip route add 172.17.0.0/16 via 192.0.2.1");
            // A neighbour who sends packets for the host's loopback address over the wire.
            std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1").unwrap();
            run("ip route add 127.0.0.1/32 via 192.0.2.1 table 100");
            run("ip rule add ipproto tcp dport 8080 table 100 pref 0");
            run("ip rule del pref 0");
            run("ip rule add ipproto tcp dport 8080 table 100 pref 1");
            run("ip rule add pref 2 table local");
        })
        .join()
        .unwrap();
        assert!(is_silent(&w.world, (a.ip, 80)));
        assert!(is_silent(&w.world, (a.ip, 81)));
        assert!(is_silent(&w.world, (LOCALHOST, 8080)));
        assert!(is_silent(&w.world, (HOST, 8080)));
        assert!(ask_tcp(&w.host, (LOCALHOST, 8080)).is_some());
        network.destroy().await;
    });
}

#[test]
fn without_icc_containers_meet_by_published_ports_only() {
    without_icc(false);
}

#[test]
fn without_icc_containers_meet_by_published_ports_only_with_br_netfilter() {
    without_icc(true);
}

fn without_icc(br_netfilter: bool) {
    on_a_host(move |w| async move {
        if !hand_bridged_packets_to_ip(br_netfilter) {
            return;
        }
        let network = open(NetConfig {
            icc: false,
            ..NetConfig::default()
        })
        .await;
        let a = connect(&network, "a").await;
        let b = connect(&network, "b").await;
        serve_tcp(&a.netns, 80);
        serve_tcp(&w.world, 80);
        let _published = network.publish(a.ip, &[tcp(80, 8080)]).await.unwrap();
        assert!(is_silent(&b.netns, (a.ip, 80)));
        assert!(ask_tcp(&b.netns, (HOST, 8080)).is_some());
        assert!(ask_tcp(&w.host, (a.ip, 80)).is_some());
        assert_eq!(ask_tcp(&b.netns, (WORLD, 80)), Some(HOST));
        network.destroy().await;
    });
}

#[test]
fn an_isolated_namespace_has_its_loopback_only() {
    on_a_host(|_| async move {
        let network = open(NetConfig::default()).await;
        let netns = network.isolated().await.unwrap();
        serve_tcp(&netns, 80);
        assert_eq!(ask_tcp(&netns, (LOCALHOST, 80)), Some(LOCALHOST));
        let links = inside(&netns, || run("ip -o link")).join().unwrap();
        assert_eq!(links.lines().count(), 1, "{links}");
        network.destroy().await;
    });
}

#[test]
fn a_range_of_ports() {
    on_a_host(|w| async move {
        let network = open(NetConfig::default()).await;
        let a = connect(&network, "a").await;
        serve_tcp(&a.netns, 8000);
        serve_tcp(&a.netns, 8777);
        let requests: Vec<_> = (8000..9000).map(|port| tcp(port, port)).collect();
        let published = network.publish(a.ip, &requests).await.unwrap();
        // A thousand sockets, one descriptor; a thousand ports, one entry.
        assert_eq!(published.holders.len(), 1);
        let map = run("nft list map ip dhow port_ranges");
        assert!(map.contains(". tcp . 8000-8999 : 172.17.0.2 }"), "{map}");
        assert_eq!(ask_tcp(&w.world, (HOST, 8000)), Some(WORLD));
        assert_eq!(ask_tcp(&w.world, (HOST, 8777)), Some(WORLD));
        // Taking one out of the middle leaves the others.
        let one = published.bindings[777];
        network.unpublish(a.ip, &[one]).await.unwrap();
        assert!(is_silent(&w.world, (HOST, 8777)));
        assert_eq!(ask_tcp(&w.world, (HOST, 8000)), Some(WORLD));
        network.destroy().await;
    });
}

#[test]
fn a_udp_sender_that_never_pauses_reaches_the_new_container() {
    on_a_host(|w| async move {
        let network = open(NetConfig::default()).await;
        let a = connect(&network, "a").await;
        let b = connect(&network, "b").await;
        serve_udp(&a.netns, 53);
        serve_udp(&b.netns, 53);
        let sender = udp_client(&w.world);
        let pause = sender.read_timeout().unwrap();
        let short = std::time::Duration::from_millis(200);
        // Before anything is published the flow is tracked as one to the host itself.
        sender.set_read_timeout(Some(short)).unwrap();
        assert_eq!(ask_udp(&sender, (HOST, 5353)), None);
        sender.set_read_timeout(pause).unwrap();
        let first = network.publish(a.ip, &[udp(53, 5353)]).await.unwrap();
        assert_eq!(ask_udp(&sender, (HOST, 5353)), Some(WORLD));
        // A flow that ends with the port, while the container goes on.
        network.unpublish(a.ip, &first.bindings).await.unwrap();
        drop(first);
        sender.set_read_timeout(Some(short)).unwrap();
        assert_eq!(ask_udp(&sender, (HOST, 5353)), None);
        sender.set_read_timeout(pause).unwrap();
        network.disconnect(a.ip, "a-id").await.unwrap();
        drop(a);
        let _second = network.publish(b.ip, &[udp(53, 5353)]).await.unwrap();
        assert_eq!(ask_udp(&sender, (HOST, 5353)), Some(WORLD));
        network.destroy().await;
    });
}
