//! IPv6 beside IPv4: who reaches whom, what is published, what another daemon takes over, and what routers containers play.

mod world;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;

use dhow_net::{EndpointRequest, Gateways, Ipv6Config, NetConfig, Network, PortRequest, Way};
use world::*;

const GATEWAY: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 1);
const LOCALHOST: Ipv6Addr = Ipv6Addr::LOCALHOST;

fn both() -> NetConfig {
    NetConfig {
        ipv6: Some(Ipv6Config {
            address: "fd00:1::1/64".parse().ok(),
            range: None,
            reserved: Vec::new(),
            masquerade: true,
            ..Ipv6Config::default()
        }),
        ..NetConfig::default()
    }
}

fn six(endpoint: &dhow_net::Endpoint) -> Ipv6Addr {
    endpoint.ipv6.unwrap().ip
}

#[test]
fn containers_the_host_and_the_world() {
    on_a_host(|w| async move {
        let network = open(both()).await;
        let a = connect(&network, "a").await;
        let b = connect(&network, "b").await;
        assert_eq!(a.ipv6.unwrap().gateway, Some(GATEWAY));
        assert_eq!(a.ipv6.unwrap().prefix, 64);
        assert_eq!(six(&a).to_string(), "fd00:1::2");
        for netns in [
            a.netns.as_fd(),
            b.netns.as_fd(),
            w.host.as_fd(),
            w.world.as_fd(),
        ] {
            serve_tcp(netns, 80);
        }
        assert_eq!(ask_tcp(&a.netns, (six(&b), 80)), Some(six(&a)));
        assert_eq!(ask_tcp(&w.host, (six(&a), 80)), Some(GATEWAY));
        assert_eq!(ask_tcp(&a.netns, (GATEWAY, 80)), Some(six(&a)));
        assert_eq!(ask_tcp(&a.netns, (LOCALHOST, 80)), Some(LOCALHOST));
        // The world sees the host, in both families.
        assert_eq!(ask_tcp(&a.netns, (WORLD6, 80)), Some(HOST6));
        assert_eq!(ask_tcp(&a.netns, (WORLD, 80)), Some(HOST));
        // And nobody who is not published, also with a route.
        inside(&w.world, || {
            run("ip -6 route add fd00:1::/64 via 2001:db8::1")
        })
        .join()
        .unwrap();
        assert!(is_silent(&w.world, (six(&a), 80)));
        network.destroy().await;
        assert_eq!(run("nft list ruleset"), "");
    });
}

#[test]
fn a_port_is_published_in_both_families() {
    on_a_host(|w| async move {
        let network = open(both()).await;
        let a = connect(&network, "a").await;
        let b = connect(&network, "b").await;
        serve_tcp(&a.netns, 80);
        serve_udp(&a.netns, 53);
        serve_tcp(&a.netns, 9007);
        let mut requests = vec![tcp(80, 8080), udp(53, 5353)];
        requests.extend((9000..9030).map(|port| tcp(port, port)));
        let published = network.publish(a.ip, &requests).await.unwrap();
        let first: Vec<_> = published.bindings[..2]
            .iter()
            .map(|b| (b.host_ip, b.host_port))
            .collect();
        let any: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        assert_eq!(first, any.map(|ip| (ip, 8080)));
        // The client's own address is seen, by single entries and by a run of them.
        for port in [8080, 9007] {
            assert_eq!(ask_tcp(&w.world, (HOST6, port)), Some(WORLD6));
            assert_eq!(ask_tcp(&w.world, (HOST, port)), Some(WORLD));
            assert_eq!(ask_tcp(&w.host, (HOST6, port)), Some(HOST6));
            assert_eq!(ask_tcp(&b.netns, (HOST6, port)), Some(GATEWAY));
            assert_eq!(ask_tcp(&a.netns, (HOST6, port)), Some(GATEWAY));
        }
        assert_eq!(ask_udp(&udp_client6(&w.world), (HOST6, 5353)), Some(WORLD6));
        // Refused at once rather than lost: programs then try 127.0.0.1.
        let refused = inside(&w.host, || {
            std::net::TcpStream::connect((LOCALHOST, 8080)).unwrap_err()
        })
        .join()
        .unwrap();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        // One address alone.
        let only = PortRequest {
            host_ip: Some(HOST6.into()),
            ..tcp(80, 7070)
        };
        let at = network.publish(a.ip, &[only]).await.unwrap();
        assert_eq!(at.bindings.len(), 1);
        assert_eq!(ask_tcp(&w.world, (HOST6, 7070)), Some(WORLD6));
        assert!(is_silent(&w.world, (HOST, 7070)));
        // Without a number both families have the same.
        let some = PortRequest {
            host_ports: None,
            ..tcp(80, 0)
        };
        let chosen = network.publish(b.ip, &[some]).await.unwrap().bindings;
        assert_eq!(chosen.len(), 2);
        assert_eq!(chosen[0].host_port, chosen[1].host_port);
        // What is taken in one family is taken.
        let clash = PortRequest {
            host_ip: Some(Ipv6Addr::UNSPECIFIED.into()),
            ..tcp(80, 7070)
        };
        let error = network.publish(b.ip, &[clash]).await.unwrap_err();
        assert!(
            error
                .to_string()
                .contains("Bind for [::]:7070 failed: port is already allocated"),
            "{error}"
        );
        network.unpublish(a.ip, &published.bindings).await.unwrap();
        assert!(is_silent(&w.world, (HOST6, 8080)));
        assert_eq!(ask_tcp(&w.world, (HOST6, 7070)), Some(WORLD6));
        network.destroy().await;
    });
}

#[test]
fn a_new_daemon_takes_over() {
    on_a_host(|w| async move {
        let network = open(both()).await;
        let a = connect(&network, "a").await;
        serve_tcp(&a.netns, 80);
        let published = network.publish(a.ip, &[tcp(80, 8080)]).await.unwrap();
        let rules = run("nft list ruleset");
        network.close().await;
        assert_eq!(ask_tcp(&w.world, (HOST6, 8080)), Some(WORLD6));
        let live = vec![live(&a, "a", &published.bindings)];
        let network = Network::open(both(), live.clone()).await.unwrap();
        assert_eq!(run("nft list ruleset"), rules);
        assert_eq!(ask_tcp(&w.world, (HOST6, 8080)), Some(WORLD6));
        let b = connect(&network, "b").await;
        assert_ne!(b.ipv6, a.ipv6);
        // Rules that another program flushed.
        run("nft flush ruleset");
        eventually("the rules come back", || run("nft list ruleset") == rules);
        // An address that is asked for, and one that is taken.
        let wanted = |ip: &str| EndpointRequest {
            id: "c-id".to_owned(),
            ipv6: Some(ip.parse().unwrap()),
            ..EndpointRequest::default()
        };
        let c = network.connect(wanted("fd00:1::77")).await.unwrap();
        assert_eq!(six(&c).to_string(), "fd00:1::77");
        let error = network.connect(wanted("fd00:1::77")).await.unwrap_err();
        assert_eq!(error.to_string(), "Address already in use: fd00:1::77");
        network.close().await;
        // Without IPv6 nothing of it stays but what containers have.
        let network = Network::open(NetConfig::default(), live).await.unwrap();
        assert!(!run("nft list ruleset").contains("ip6"));
        let error = network.connect(wanted("fd00:1::78")).await.unwrap_err();
        assert!(error.to_string().contains("has no IPv6"), "{error}");
        network.destroy().await;
    });
}

#[test]
fn one_network_with_it_beside_others_without() {
    on_a_host(|w| async move {
        let first = open(NetConfig::default()).await;
        let second = first
            .add(NetConfig {
                bridge: "dhow1".to_owned(),
                bridge_ip: Some("10.9.0.1/24".parse().unwrap()),
                warm: 0,
                ..both()
            })
            .await
            .unwrap();
        assert!(run("nft list tables").contains("table ip6 dhow"));
        let a = connect(&first, "a").await;
        let netns = first.isolated().await.unwrap();
        let request = EndpointRequest {
            id: "b-id".to_owned(),
            ..EndpointRequest::default()
        };
        let inside = netns.try_clone().unwrap();
        let (b, _) = second.join(inside, 0, request).await.unwrap();
        let ways_out = Gateways {
            ip: b.gateway.map(Way::Gateway),
            ipv6: b.ipv6.and_then(|place| place.gateway).map(Way::Gateway),
        };
        let inside = netns.try_clone().unwrap();
        first.set_gateways(inside, ways_out).await.unwrap();
        serve_tcp(&a.netns, 80);
        serve_tcp(&netns, 80);
        assert_eq!(a.ipv6, None);
        let error = first
            .publish(
                a.ip,
                &[PortRequest {
                    host_ip: Some(HOST6.into()),
                    ..tcp(80, 8080)
                }],
            )
            .await
            .unwrap_err();
        assert!(error.to_string().contains("has no IPv6 address"), "{error}");
        let _published = second.publish(b.ip, &[tcp(80, 8080)]).await.unwrap();
        assert_eq!(ask_tcp(&w.world, (HOST6, 8080)), Some(WORLD6));
        // Its ports follow to an endpoint without IPv6 as far as they can.
        let left = first.take_ports(b.ip, a.ip).await.unwrap();
        assert_eq!(left.len(), 1);
        assert_eq!(ask_tcp(&w.world, (HOST, 8080)), Some(WORLD));
        assert!(is_silent(&w.world, (HOST6, 8080)));
        second.disconnect(b.ip, "b-id").await.unwrap();
        second.remove(true).await.unwrap();
        eventually("the other family's table goes", || {
            !run("nft list tables").contains("ip6")
        });
        first.destroy().await;
    });
}

#[test]
fn a_host_that_learns_its_routes_goes_on_doing_so() {
    on_a_host(|_| async move {
        let accepts = || run("cat /proc/sys/net/ipv6/conf/outside/accept_ra");
        assert_eq!(accepts().trim(), "1");
        let network = open(both()).await;
        assert_eq!(accepts().trim(), "2");
        assert_eq!(
            run("cat /proc/sys/net/ipv6/conf/dhow0/accept_ra").trim(),
            "0"
        );
        network.destroy().await;
    });
}

/// Says to all on the link that the sender is a router, and of a prefix (RFC 4861, 4.2 and 4.6.2).
fn advertise(netns: impl AsFd) {
    inside(netns, || {
        let mut message = vec![134, 0, 0, 0, 64, 0];
        message.extend(1800_u16.to_be_bytes());
        message.extend([0; 8]);
        message.extend([3, 4, 64, 0xc0]);
        message.extend([1800_u32.to_be_bytes(), 1800_u32.to_be_bytes(), [0; 4]].concat());
        message.extend("2001:db8:bad::".parse::<Ipv6Addr>().unwrap().octets());
        let raw = rustix::net::socket(
            rustix::net::AddressFamily::INET6,
            rustix::net::SocketType::RAW,
            Some(rustix::net::ipproto::ICMPV6),
        )
        .unwrap();
        rustix::net::sockopt::set_ipv6_multicast_hops(&raw, 255).unwrap();
        // The container's link is the second in its namespace.
        let all = std::net::SocketAddrV6::new("ff02::1".parse().unwrap(), 0, 0, 2);
        rustix::net::sendto(&raw, &message, rustix::net::SendFlags::empty(), &all).unwrap();
    })
    .join()
    .unwrap();
}

#[test]
fn nobody_believes_in_routers_that_containers_play() {
    on_a_host(|w| async move {
        let network = open(both()).await;
        let a = connect(&network, "a").await;
        let b = connect(&network, "b").await;
        let told = |netns: std::os::fd::BorrowedFd<'_>| {
            let learned = inside(netns, || {
                run("ip -6 route show proto ra") + &run("ip -6 address show dynamic")
            });
            learned.join().unwrap()
        };
        let accept = |netns: std::os::fd::BorrowedFd<'_>, link: &'static str| {
            let path = format!("/proc/sys/net/ipv6/conf/{link}/accept_ra");
            // 2 is also for links of a host that forwards.
            inside(netns, move || std::fs::write(path, "2").unwrap())
                .join()
                .unwrap();
        };
        for (netns, link) in [(b.netns.as_fd(), "eth0"), (w.host.as_fd(), "dhow0")] {
            advertise(&a.netns);
            // What is sent after it on the same way has come by then.
            serve_tcp(netns, 80);
            let to = if link == "eth0" { six(&b) } else { GATEWAY };
            assert_eq!(ask_tcp(&a.netns, (to, 80)), Some(six(&a)));
            assert_eq!(told(netns), "");
            // It is this setting alone that keeps it out.
            accept(netns, link);
            eventually("who asks for it is told", || {
                advertise(&a.netns);
                !told(netns).is_empty()
            });
        }
        network.destroy().await;
    });
}
