//! Who reaches whom by which way into and out of a network: each gateway mode, the exceptions that can be made, the
//! administrator's own rules, and the host's own firewall.

mod world;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV6};
use std::os::fd::AsFd;
use std::process::Command;
use std::time::Duration;

use dhow_net::{GatewayMode, Ipv6Config, Mark, NetConfig, Network};
use rustix::net;
use world::*;

const PUBLISHED: u16 = 80;
const UNPUBLISHED: u16 = 81;
const ON_HOST: u16 = 8080;

fn config(name: &str, address: &str, mode: GatewayMode) -> NetConfig {
    NetConfig {
        bridge: name.to_owned(),
        bridge_ip: Some(address.parse().unwrap()),
        internal: mode == GatewayMode::Isolated,
        mode,
        warm: 0,
        ..NetConfig::default()
    }
}

fn nft(rules: &str) {
    assert!(Command::new("nft").arg(rules).status().unwrap().success());
}

/// Whether an echo is answered (RFC 4443, 4.1; the kernel fills the checksum in).
fn is_pinged(ip: Ipv6Addr) -> bool {
    let (family, protocol) = (net::AddressFamily::INET6, Some(net::ipproto::ICMPV6));
    let socket = net::socket(family, net::SocketType::RAW, protocol).unwrap();
    let patience = Some(Duration::from_secs(5));
    net::sockopt::set_socket_timeout(&socket, net::sockopt::Timeout::Recv, patience).unwrap();
    let request = [128, 0, 0, 0, 0x12, 0x34, 0, 1];
    let to = SocketAddrV6::new(ip, 0, 0, 0);
    net::sendto(&socket, &request, net::SendFlags::empty(), &to).unwrap();
    // What is said of neighbours comes too.
    let mut answer = [0_u8; 64];
    while let Ok((length, _)) = net::recv(&socket, &mut answer, net::RecvFlags::empty()) {
        if answer[..length].starts_with(&[129]) && answer[4..6] == request[4..6] {
            return true;
        }
    }
    false
}

/// What is reached: a published port at the container's own address, one that isn't published, and the host's port.
type Reached = [bool; 3];

const NOTHING: Reached = [false; 3];

/// From the same network, another network, the host, and the world, which has a route.
struct Matrix {
    same: Reached,
    other: Reached,
    host: Reached,
    world: Reached,
    /// Whom the world sees.
    seen: Option<Seen>,
}

enum Seen {
    Host,
    Itself,
}

fn matrix(what: &'static str, network: NetConfig, expected: Matrix) {
    on_a_host(move |w| async move {
        let first = open(NetConfig::default()).await;
        let internal = network.internal;
        let gateway = network.bridge_ip.unwrap();
        let network = first.add(network).await.unwrap();
        let (a, at) = container(&first, &network, "a").await;
        let (same, _) = container(&first, &network, "b").await;
        let other = first.add(config("br-other", "10.2.0.1/24", GatewayMode::Nat));
        let other = other.await.unwrap();
        let (other, _) = container(&first, &other, "c").await;
        for port in [PUBLISHED, UNPUBLISHED] {
            serve_tcp(&a, port);
        }
        serve_tcp(&w.world, 80);
        let route = format!("ip route add {} via 192.0.2.1", gateway.trunc());
        inside(&w.world, move || run(&route)).join().unwrap();
        let mut held = None;
        if !internal {
            let requests = [tcp(PUBLISHED, ON_HOST)];
            held = Some(network.publish(at.ip, &requests).await.unwrap());
        }
        for (whence, from, reached) in [
            ("same network", same.as_fd(), expected.same),
            ("another network", other.as_fd(), expected.other),
            ("host", w.host.as_fd(), expected.host),
            ("world", w.world.as_fd(), expected.world),
        ] {
            let to = [(at.ip, PUBLISHED), (at.ip, UNPUBLISHED), (HOST, ON_HOST)];
            for (to, expected) in to.into_iter().zip(reached) {
                let reached = match expected {
                    true => ask_tcp(from, to).is_some(),
                    false => !is_silent(from, to),
                };
                assert_eq!(reached, expected, "{what}: {to:?} from {whence}");
            }
        }
        let seen = match expected.seen {
            None => {
                assert!(is_silent(&a, (WORLD, 80)), "{what}");
                None
            }
            Some(seen) => ask_tcp(&a, (WORLD, 80)).map(|ip| (ip, seen)),
        };
        match seen {
            None => assert!(internal, "{what}: no way out"),
            Some((ip, Seen::Host)) => assert_eq!(ip, HOST, "{what}"),
            Some((ip, Seen::Itself)) => assert_eq!(ip, at.ip, "{what}"),
        }
        if let Some(held) = held {
            network.unpublish(at.ip, &held.bindings).await.unwrap();
            assert!(is_silent(&w.world, (at.ip, PUBLISHED)) != expected.world[1]);
        }
        first.destroy().await;
    });
}

#[test]
fn translated() {
    let expected = Matrix {
        same: [true, true, true],
        other: [false, false, true],
        host: [true, true, true],
        world: [false, false, true],
        seen: Some(Seen::Host),
    };
    let nat = config("br-a", "10.1.0.1/24", GatewayMode::Nat);
    matrix("nat", nat, expected);
}

#[test]
fn unprotected() {
    let expected = Matrix {
        same: [true, true, true],
        other: [false, false, true],
        host: [true, true, true],
        world: [true, true, true],
        seen: Some(Seen::Host),
    };
    let unprotected = config("br-a", "10.1.0.1/24", GatewayMode::Unprotected);
    matrix("nat-unprotected", unprotected, expected);
}

#[test]
fn routed() {
    let expected = Matrix {
        same: [true, true, false],
        other: [true, false, false],
        host: [true, true, false],
        world: [true, false, false],
        seen: Some(Seen::Itself),
    };
    let routed = config("br-a", "10.1.0.1/24", GatewayMode::Routed);
    matrix("routed", routed, expected);
}

#[test]
fn isolated() {
    let expected = Matrix {
        same: [true, true, false],
        other: NOTHING,
        host: NOTHING,
        world: NOTHING,
        seen: None,
    };
    let isolated = config("br-a", "10.1.0.0/24", GatewayMode::Isolated);
    matrix("isolated", isolated, expected);
}

#[test]
fn internal() {
    let expected = Matrix {
        same: [true, true, false],
        other: NOTHING,
        host: [true, true, false],
        world: NOTHING,
        seen: None,
    };
    let internal = NetConfig {
        internal: true,
        ..config("br-a", "10.1.0.1/24", GatewayMode::Nat)
    };
    matrix("internal", internal, expected);
}

#[test]
fn without_icc() {
    let apart = |mode| NetConfig {
        icc: false,
        ..config("br-a", "10.1.0.1/24", mode)
    };
    let nat = Matrix {
        same: [false, false, true],
        other: [false, false, true],
        host: [true, true, true],
        world: [false, false, true],
        seen: Some(Seen::Host),
    };
    matrix("nat without icc", apart(GatewayMode::Nat), nat);
    let routed = Matrix {
        same: NOTHING,
        other: [true, false, false],
        host: [true, true, false],
        world: [true, false, false],
        seen: Some(Seen::Itself),
    };
    matrix("routed without icc", apart(GatewayMode::Routed), routed);
}

#[test]
fn direct_routing_and_trusted_links() {
    let open_to_world = || Matrix {
        same: [true, true, true],
        other: [false, false, true],
        host: [true, true, true],
        world: [true, false, true],
        seen: Some(Seen::Host),
    };
    let trusting = NetConfig {
        trusted: vec!["eth7".to_owned(), "outside".to_owned()],
        ..config("br-a", "10.1.0.1/24", GatewayMode::Nat)
    };
    matrix("trusted links", trusting, open_to_world());
    let direct = NetConfig {
        direct_routing: true,
        ..config("br-a", "10.1.0.1/24", GatewayMode::Nat)
    };
    let expected = Matrix {
        other: [true, false, true],
        ..open_to_world()
    };
    matrix("direct routing", direct, expected);
}

#[test]
fn a_chosen_source_and_none() {
    on_a_host(|w| async move {
        run("ip address add 192.0.2.77/24 dev outside");
        let first = open(NetConfig::default()).await;
        serve_tcp(&w.world, 80);
        let chosen = NetConfig {
            source: Some(Ipv4Addr::new(192, 0, 2, 77)),
            ..config("br-a", "10.1.0.1/24", GatewayMode::Nat)
        };
        let chosen = first.add(chosen).await.unwrap();
        let (a, _) = container(&first, &chosen, "a").await;
        let seen = ask_tcp(&a, (WORLD, 80));
        assert_eq!(seen, Some(Ipv4Addr::new(192, 0, 2, 77)));
        let plain = NetConfig {
            masquerade: false,
            ..config("br-b", "10.2.0.1/24", GatewayMode::Nat)
        };
        let plain = first.add(plain).await.unwrap();
        let (b, at) = container(&first, &plain, "b").await;
        inside(&w.world, || run("ip route add 10.2.0.0/24 via 192.0.2.1"))
            .join()
            .unwrap();
        assert_eq!(ask_tcp(&b, (WORLD, 80)), Some(at.ip));
        // The gateway is another than the bridge, which has no address.
        let inhibited = NetConfig {
            no_address: true,
            ..config("br-c", "10.3.0.1/24", GatewayMode::Nat)
        };
        let inhibited = first.add(inhibited).await.unwrap();
        assert!(!run("ip address show dev br-c").contains("10.3.0.1"));
        let (c, _) = container(&first, &inhibited, "c").await;
        assert!(is_silent(&c, (WORLD, 80)));
        let (router, _) = container(&first, &inhibited, "router").await;
        inside(&router, || {
            run("ip address add 10.3.0.1/24 dev eth0");
        })
        .join()
        .unwrap();
        serve_tcp(&router, 80);
        let to_router = (Ipv4Addr::new(10, 3, 0, 1), 80);
        assert!(ask_tcp(&c, to_router).is_some());
        first.destroy().await;
    });
}

#[test]
fn ipv6_has_a_mode_of_its_own() {
    on_a_host(|w| async move {
        let first = open(NetConfig::default()).await;
        let mixed = NetConfig {
            ipv6: Some(Ipv6Config {
                address: "fd00:9::1/64".parse().ok(),
                masquerade: true,
                mode: GatewayMode::Routed,
                ..Ipv6Config::default()
            }),
            ..config("br-a", "10.1.0.1/24", GatewayMode::Nat)
        };
        let mixed = first.add(mixed).await.unwrap();
        let (a, at) = container(&first, &mixed, "a").await;
        let six = at.ipv6.unwrap().ip;
        for port in [PUBLISHED, UNPUBLISHED] {
            serve_tcp(&a, port);
        }
        serve_tcp(&w.world, 80);
        let published = mixed.publish(at.ip, &[tcp(PUBLISHED, ON_HOST)]).await;
        let published = published.unwrap().bindings;
        let shown: Vec<_> = published.iter().map(|b| (b.host_ip, b.host_port)).collect();
        let any6 = IpAddr::from([0_u16; 8]);
        assert_eq!(shown, [(any6, 0), (IpAddr::from([0; 4]), ON_HOST)]);
        inside(&w.world, || {
            run("ip -6 route add fd00:9::/64 via 2001:db8::1")
        })
        .join()
        .unwrap();
        assert_eq!(ask_tcp(&w.world, (six, PUBLISHED)), Some(WORLD6));
        assert!(is_silent(&w.world, (six, UNPUBLISHED)));
        assert!(is_silent(&w.world, (HOST6, ON_HOST)));
        assert_eq!(ask_tcp(&w.world, (HOST, ON_HOST)), Some(WORLD));
        assert_eq!(ask_tcp(&a, (WORLD6, 80)), Some(six));
        assert_eq!(ask_tcp(&a, (WORLD, 80)), Some(HOST));
        assert!(inside(&w.world, move || is_pinged(six)).join().unwrap());
        first.destroy().await;
    });
}

#[test]
fn the_administrators_rules_come_first_and_stay() {
    on_a_host(|w| async move {
        let network = open(NetConfig {
            accept_mark: Some(Mark {
                value: 7,
                mask: 0xff,
            }),
            ..NetConfig::default()
        })
        .await;
        let a = connect(&network, "a").await;
        serve_tcp(&a.netns, 80);
        let requests = [tcp(80, 8080), tcp(80, 8081)];
        let _published = network.publish(a.ip, &requests).await.unwrap();
        inside(&w.world, || run("ip route add 172.17.0.0/16 via 192.0.2.1"))
            .join()
            .unwrap();
        assert!(ask_tcp(&w.world, (HOST, 8080)).is_some());
        assert!(is_silent(&w.world, (a.ip, 80)));
        nft("add rule inet dhow-user forward meta l4proto tcp ct original proto-dst 8080 drop");
        // What is let in although it isn't published.
        nft(
            "add rule inet dhow-user forward ip saddr 192.0.2.2 meta l4proto tcp ct original proto-dst 80 meta mark set 0x107",
        );
        let as_they_should = || {
            assert!(is_silent(&w.world, (HOST, 8080)));
            assert!(ask_tcp(&w.world, (HOST, 8081)).is_some());
            assert_eq!(ask_tcp(&w.world, (a.ip, 80)), Some(WORLD));
        };
        as_they_should();
        nft("delete table ip dhow");
        eventually("our table is back", || {
            try_run("nft list table ip dhow").contains("8081")
        });
        as_they_should();
        network.destroy().await;
        let left = run("nft list ruleset");
        assert!(
            left.contains("8080") && !left.contains("table ip dhow"),
            "{left}"
        );
    });
}

#[test]
fn the_hosts_own_firewall_decides() {
    on_a_host(|w| async move {
        let decides = NetConfig {
            host_firewall: true,
            ipv6: Some(Ipv6Config {
                address: "fd00:1::1/64".parse().ok(),
                masquerade: true,
                ..Ipv6Config::default()
            }),
            ..NetConfig::default()
        };
        let network = open(decides.clone()).await;
        nft(
            "add table inet host; add chain inet host input { type filter hook input priority 0; policy drop; }; \
             add rule inet host input ct state established,related accept; \
             add rule inet host input icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept; \
             add rule inet host input tcp dport { 8080, 9007 } accept; \
             add rule inet host input iifname dhow0 tcp dport 8082 accept; \
             add rule inet host input udp dport 5353 accept",
        );
        let a = connect(&network, "a").await;
        let b = connect(&network, "b").await;
        serve_tcp(&a.netns, 80);
        serve_tcp(&a.netns, 9007);
        serve_udp(&a.netns, 53);
        let mut requests = vec![tcp(80, 8080), tcp(80, 8081), tcp(80, 8082)];
        requests.extend([udp(53, 5353), udp(53, 5354)]);
        requests.extend((9000..9030).map(|port| tcp(port, port)));
        let published = network.publish(a.ip, &requests).await.unwrap();
        // The client's own address is seen, and a long answer of many packets comes.
        for _ in 0..20 {
            assert_eq!(ask_tcp(&w.world, (HOST, 8080)), Some(WORLD));
            assert_eq!(ask_tcp(&w.world, (HOST6, 8080)), Some(WORLD6));
        }
        assert_eq!(ask_tcp(&w.world, (HOST, 9007)), Some(WORLD));
        assert_eq!(ask_tcp(&w.world, (HOST6, 9007)), Some(WORLD6));
        let client = udp_client(&w.world);
        for _ in 0..3 {
            assert_eq!(ask_udp(&client, (HOST, 5353)), Some(WORLD));
        }
        assert_eq!(ask_udp(&udp_client6(&w.world), (HOST6, 5353)), Some(WORLD6));
        for port in [8081, 8082, 9008] {
            assert!(is_silent(&w.world, (HOST, port)), "{port}");
            assert!(is_silent(&w.world, (HOST6, port)), "{port}");
        }
        let denied = udp_client(&w.world);
        denied
            .set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        assert_eq!(ask_udp(&denied, (HOST, 5354)), None);
        // What comes from containers is looked at by the same rules, and by the link that it came by.
        assert!(ask_tcp(&b.netns, (HOST, 8080)).is_some());
        assert!(ask_tcp(&b.netns, (HOST, 8082)).is_some());
        assert!(ask_tcp(&a.netns, (HOST, 8082)).is_some());
        assert!(is_silent(&b.netns, (HOST, 8081)));
        // Nobody on an internal network gets to others by it.
        let internal = NetConfig {
            internal: true,
            ..config("br-in", "10.3.0.1/24", GatewayMode::Nat)
        };
        let internal = network.add(internal).await.unwrap();
        let (c, inside) = container(&network, &internal, "c").await;
        for to in [HOST, inside.gateway.unwrap()] {
            assert!(is_silent(&c, (to, 8080)), "{to}");
        }
        // The host's own programs are behind its firewall.
        assert!(ask_tcp(&w.host, (HOST, 8081)).is_some());
        assert!(ask_tcp(&w.host, (Ipv4Addr::LOCALHOST, 8081)).is_some());
        // A port that was opened, and one that is published no more.
        nft("add rule inet host input tcp dport 8081 accept");
        assert_eq!(ask_tcp(&w.world, (HOST, 8081)), Some(WORLD));
        network.unpublish(a.ip, &published.bindings).await.unwrap();
        assert!(is_silent(&w.world, (HOST, 8080)));
        network.close().await;

        // The next daemon takes the pair of links over, and one that is told otherwise takes it away.
        let links = || try_run("ip -o link").matches("dhi").count();
        let known = live(&a, "a", &published.bindings);
        let (network, _) = Network::open_with(decides, vec![known.clone()], Vec::new())
            .await
            .unwrap();
        assert_eq!(ask_tcp(&w.world, (HOST, 8080)), Some(WORLD));
        assert!(is_silent(&w.world, (HOST, 8082)));
        assert!(links() > 0);
        network.close().await;
        let (network, _) = Network::open_with(NetConfig::default(), vec![known], Vec::new())
            .await
            .unwrap();
        assert_eq!(links(), 0);
        assert_eq!(ask_tcp(&w.world, (HOST, 8082)), Some(WORLD));
        network.destroy().await;
    });
}

#[test]
fn a_strict_host_is_told() {
    on_a_host(|_| async move {
        std::fs::write("/proc/sys/net/ipv4/conf/all/rp_filter", "1").unwrap();
        let decides = NetConfig {
            host_firewall: true,
            ..NetConfig::default()
        };
        let error = Network::open(decides, Vec::new()).await.err().unwrap();
        assert!(error.to_string().contains("rp_filter"), "{error}");
    });
}
