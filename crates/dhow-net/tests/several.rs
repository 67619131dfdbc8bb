//! Several bridge networks of one daemon: who reaches whom, containers on more than one, and what is left of one removed.

mod world;

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};

use dhow_net::{
    EndpointRequest, GatewayMode, Gateways, Ipv6Config, LiveEndpoint, NetConfig, Network, Place,
    Way,
};
use world::*;

fn config(name: &str, address: &str) -> NetConfig {
    NetConfig {
        bridge: name.to_owned(),
        bridge_ip: Some(address.parse().unwrap()),
        warm: 0,
        ..NetConfig::default()
    }
}

async fn join(network: &Network, netns: &OwnedFd, number: u32, name: &str) -> Place {
    let request = EndpointRequest {
        id: format!("{name}-id"),
        name: name.to_owned(),
        ..EndpointRequest::default()
    };
    let netns = netns.try_clone().unwrap();
    let (place, given) = network.join(netns, number, request).await.unwrap();
    assert_eq!(given, number);
    place
}

fn again(netns: &OwnedFd) -> OwnedFd {
    netns.try_clone().unwrap()
}

async fn gateway(network: &Network, netns: &OwnedFd, gateway: Option<Ipv4Addr>) {
    let netns = netns.try_clone().unwrap();
    let gateways = Gateways {
        ip: gateway.map(Way::Gateway),
        ipv6: None,
    };
    network.set_gateways(netns, gateways).await.unwrap();
}

/// The index that a link has, if it is there.
fn index_of(name: &str) -> Option<String> {
    let shown = try_run(&format!("ip -o link show dev {name}"));
    Some(shown.split_once(':')?.0.to_owned())
}

#[test]
fn a_bridge_that_another_program_deletes_is_put_back() {
    on_a_host(|w| async move {
        let first = open(NetConfig::default()).await;
        let six = Ipv6Config {
            address: Some("fd00:1::1/64".parse().unwrap()),
            range: None,
            reserved: Vec::new(),
            masquerade: true,
            mode: GatewayMode::default(),
            source: None,
        };
        let red = NetConfig {
            ipv6: Some(six),
            ..config("br-red", "10.1.0.1/24")
        };
        let added = first.add(red.clone()).await.unwrap();
        let (a, b) = (
            first.isolated().await.unwrap(),
            first.isolated().await.unwrap(),
        );
        let a_red = join(&added, &a, 0, "a").await;
        let b_red = join(&added, &b, 0, "b").await;
        gateway(&first, &a, a_red.gateway).await;
        let c = connect(&first, "c").await;
        for netns in [a.as_fd(), b.as_fd(), c.netns.as_fd(), w.world.as_fd()] {
            serve_tcp(netns, 80);
        }
        let all_reach = || {
            assert_eq!(ask_tcp(&a, (b_red.ip, 80)), Some(a_red.ip));
            assert_eq!(ask_tcp(&a, (WORLD, 80)), Some(HOST));
            assert_eq!(ask_tcp(&c.netns, (WORLD, 80)), Some(HOST));
            assert_eq!(ask_tcp(&w.host, (c.ip, 80)), Some(c.gateway));
            let (from, to) = (a_red.ipv6.unwrap().ip, b_red.ipv6.unwrap().ip);
            assert_eq!(ask_tcp(&a, (to, 80)), Some(from));
        };
        all_reach();
        let own = first.bridge().unwrap().name;
        for name in ["br-red", own.as_str()] {
            let before = index_of(name);
            run(&format!("ip link del {name}"));
            soon(&format!("{name} is there again"), || {
                index_of(name) == before
            })
            .await;
        }
        // What is asked of the thread now is done after what it does for the bridges.
        let d = connect(&first, "d").await;
        all_reach();
        run("ip addr flush dev br-red");
        let addresses = || run("ip -br addr show dev br-red");
        soon("its address is back", || {
            addresses().contains("10.1.0.1/24")
        })
        .await;
        first.isolated().await.unwrap();
        all_reach();

        // While nobody looked.
        first.close().await;
        run("ip link del br-red");
        let live = |place: &Place, name: &str| LiveEndpoint {
            id: format!("{name}-id"),
            name: name.to_owned(),
            ip: place.ip,
            ipv6: place.ipv6.map(|own| own.ip),
            mac: place.mac,
            host_link: place.host_link.clone(),
            bindings: Vec::new(),
        };
        let on_red = vec![live(&a_red, "a"), live(&b_red, "b")];
        let on_first = [&c, &d].map(|one| LiveEndpoint {
            id: String::new(),
            name: String::new(),
            ip: one.ip,
            ipv6: None,
            mac: Some(one.mac),
            host_link: one.host_link.clone(),
            bindings: Vec::new(),
        });
        let config = NetConfig::default();
        let opened = Network::open_with(config, on_first.into(), vec![(red, on_red)]).await;
        let (first, others) = opened.unwrap();
        all_reach();
        for other in others {
            other.unwrap().remove(true).await.unwrap();
        }
        assert!(!run("ip -br link").contains("br-red"));
        first.close().await;
    });
}

#[test]
fn networks_are_apart_and_a_container_may_be_on_two() {
    on_a_host(|w| async move {
        let first = open(NetConfig::default()).await;
        let red = first.add(config("br-red", "10.1.0.1/24")).await.unwrap();
        let blue = first.add(config("br-blue", "10.2.0.1/24")).await.unwrap();
        let [a, b, both] = [(); 3].map(|()| first.isolated());
        let (a, b, both) = (a.await.unwrap(), b.await.unwrap(), both.await.unwrap());
        let a_red = join(&red, &a, 0, "a").await;
        let b_blue = join(&blue, &b, 0, "b").await;
        gateway(&first, &a, a_red.gateway).await;
        gateway(&first, &b, b_blue.gateway).await;
        let both_red = join(&red, &both, 0, "both").await;
        let both_blue = join(&blue, &both, 1, "both").await;
        for netns in [a.as_fd(), b.as_fd(), both.as_fd(), w.world.as_fd()] {
            serve_tcp(netns, 80);
        }
        // The second link's name is taken, the next is found.
        let request = EndpointRequest::default();
        let extra = first.join(both.try_clone().unwrap(), 1, request).await;
        let (third, number) = extra.unwrap();
        assert_eq!(number, 2);
        assert_eq!(third.gateway, first.bridge().map(|own| own.gateway));

        assert!(is_silent(&a, (b_blue.ip, 80)));
        assert!(is_silent(&b, (a_red.ip, 80)));
        assert_eq!(ask_tcp(&a, (both_red.ip, 80)), Some(a_red.ip));
        assert_eq!(ask_tcp(&b, (both_blue.ip, 80)), Some(b_blue.ip));
        assert_eq!(ask_tcp(&both, (a_red.ip, 80)), Some(both_red.ip));
        assert_eq!(ask_tcp(&both, (b_blue.ip, 80)), Some(both_blue.ip));
        assert_eq!(ask_tcp(&a, (WORLD, 80)), Some(HOST));
        // Whoever is on both has the way out that was chosen, and no other.
        assert!(is_silent(&both, (WORLD, 80)));
        gateway(&first, &both, both_red.gateway).await;
        assert_eq!(ask_tcp(&both, (WORLD, 80)), Some(HOST));
        gateway(&first, &both, None).await;
        gateway(&first, &both, None).await;
        assert!(is_silent(&both, (WORLD, 80)));

        // A published port of a network that was added.
        let published = blue.publish(b_blue.ip, &[tcp(80, 8080)]).await.unwrap();
        assert_eq!(ask_tcp(&w.world, (HOST, 8080)), Some(WORLD));
        assert_eq!(published.bindings.len(), 1);

        // One parts while its namespace stays; its address is free again.
        // Whoever had the address before is nobody's end.
        blue.part(again(&both), "eth1".to_owned(), both_blue.ip, "other-id")
            .await
            .unwrap();
        blue.disconnect(both_blue.ip, "other-id").await.unwrap();
        assert_eq!(ask_tcp(&b, (both_blue.ip, 80)), Some(b_blue.ip));
        blue.part(again(&both), "eth1".to_owned(), both_blue.ip, "both-id")
            .await
            .unwrap();
        assert_eq!(ports("br-blue"), std::slice::from_ref(&b_blue.host_link));
        blue.part(again(&b), "eth0".to_owned(), b_blue.ip, "b-id")
            .await
            .unwrap();
        blue.remove(true).await.unwrap();
        assert!(!try_run("ip -o link").contains("br-blue"));
        eventually("its rules are gone", || {
            !try_run("nft list ruleset").contains("br-blue")
        });
        assert_eq!(ask_tcp(&a, (both_red.ip, 80)), Some(a_red.ip));
        let reached = first.reachable().await.unwrap();
        let ours = |net: &str| reached.iter().any(|r| r.to_string() == net);
        assert!(ours("10.1.0.0/24") && !ours("10.2.0.0/24"), "{reached:?}");
        first.destroy().await;
    });
}

#[test]
fn an_internal_network_has_no_way_out_or_in() {
    on_a_host(|w| async move {
        let first = open(NetConfig::default()).await;
        let internal = NetConfig {
            internal: true,
            ..config("br-in", "10.3.0.1/24")
        };
        let internal = first.add(internal).await.unwrap();
        let [a, b] = [(); 2].map(|()| first.isolated());
        let (a, b) = (a.await.unwrap(), b.await.unwrap());
        let a_in = join(&internal, &a, 0, "a").await;
        let b_in = join(&internal, &b, 0, "b").await;
        // Even one that makes itself a route.
        gateway(&first, &a, a_in.gateway).await;
        for netns in [a.as_fd(), b.as_fd(), w.world.as_fd()] {
            serve_tcp(netns, 80);
        }
        assert_eq!(ask_tcp(&a, (b_in.ip, 80)), Some(a_in.ip));
        assert!(is_silent(&a, (WORLD, 80)));
        inside(&w.world, || run("ip route add 10.3.0.0/24 via 192.0.2.1"))
            .join()
            .unwrap();
        assert!(is_silent(&w.world, (a_in.ip, 80)));
        // Nor by what others have published, whichever network was first.
        let later = first.add(config("br-later", "10.4.0.1/24")).await.unwrap();
        let c = first.isolated().await.unwrap();
        let c_later = join(&later, &c, 0, "c").await;
        gateway(&first, &c, c_later.gateway).await;
        let d = connect(&first, "d").await;
        for (netns, network, ip, port) in [
            (c.as_fd(), &later, c_later.ip, 8081),
            (d.netns.as_fd(), &first, d.ip, 8082),
        ] {
            serve_tcp(netns, 80);
            network.publish(ip, &[tcp(80, port)]).await.unwrap();
            assert_eq!(ask_tcp(&w.world, (HOST, port)), Some(WORLD));
            assert!(is_silent(&a, (a_in.gateway.unwrap(), port)), "{port}");
        }
        first.destroy().await;
    });
}

#[test]
fn somebody_elses_bridge_keeps_what_it_has() {
    on_a_host(|_| async move {
        run("ip link add theirs type bridge");
        run("ip link set theirs mtu 1400 up");
        run("ip address add 10.6.0.1/24 dev theirs");
        run("ip link add veth0123456 type veth peer name other");
        run("ip link set veth0123456 master theirs");
        let theirs = |address: &str| NetConfig {
            foreign: true,
            ..config("theirs", address)
        };
        let first = open(NetConfig::default()).await;
        let of = async |name: &str| first.addresses_of(name.to_owned()).await.unwrap();
        assert_eq!(of("nosuch").await, None);
        let error = first.add(theirs("10.7.0.1/24")).await.err().unwrap();
        assert!(
            error.to_string().contains("has the address 10.6.0.1/24"),
            "{error}"
        );
        let network = first.add(theirs("10.6.0.1/24")).await.unwrap();
        assert_eq!(network.bridge().unwrap().mtu, 1400);
        first.close().await;
        let other = vec![(theirs("10.6.0.1/24"), Vec::new())];
        let opened = Network::open_with(NetConfig::default(), Vec::new(), other);
        let (first, others) = opened.await.unwrap();
        assert_eq!(ports("theirs"), ["veth0123456"]);
        for network in others {
            network.unwrap().remove(false).await.unwrap();
        }
        let addresses = first.addresses_of("theirs".to_owned()).await.unwrap();
        assert_eq!(addresses, Some(vec!["10.6.0.1/24".parse().unwrap()]));
        let ours = "10.6.0.1/24".parse().unwrap();
        for _ in 0..2 {
            first.take_address("theirs".to_owned(), ours).await.unwrap();
        }
        let addresses = first.addresses_of("theirs".to_owned()).await.unwrap();
        assert_eq!(addresses, Some(Vec::new()));
        first.destroy().await;
    });
}

#[test]
fn the_hosts_own_namespace_is_no_containers() {
    on_a_host(|w| async move {
        let first = open(NetConfig::default()).await;
        let before = run("ip route show default");
        let host = || w.host.try_clone().unwrap();
        let way_out = Gateways {
            ip: Some(Way::Gateway(WORLD)),
            ipv6: None,
        };
        let joined = first.join(host(), 0, EndpointRequest::default()).await;
        for error in [
            joined.err().unwrap(),
            first.set_gateways(host(), way_out).await.unwrap_err(),
            first.name_sockets(host()).await.err().unwrap(),
        ] {
            assert!(
                error.to_string().contains("the container has ended"),
                "{error}"
            );
        }
        assert_eq!(run("ip route show default"), before);
        first.destroy().await;
    });
}

#[test]
fn what_cannot_be_is_not_begun() {
    on_a_host(|_| async move {
        let first = open(NetConfig::default()).await;
        let wrong = NetConfig {
            reserved: vec![Ipv4Addr::new(10, 8, 0, 1)],
            ..config("br-wrong", "10.8.0.1/24")
        };
        assert!(first.add(wrong).await.is_err());
        assert!(!try_run("ip -o link").contains("br-wrong"));
        first.destroy().await;
    });
}

#[test]
fn the_next_daemon_takes_all_of_them_over() {
    on_a_host(|w| async move {
        let red = config("br-red", "10.1.0.1/24");
        let first = open(NetConfig::default()).await;
        let network = first.add(red.clone()).await.unwrap();
        let a = first.isolated().await.unwrap();
        let place = join(&network, &a, 0, "a").await;
        let stale = first.isolated().await.unwrap();
        join(&network, &stale, 0, "stale").await;
        gateway(&first, &a, place.gateway).await;
        serve_tcp(&a, 80);
        let published = network.publish(place.ip, &[tcp(80, 8080)]).await.unwrap();
        first.close().await;
        drop(network);

        let live = LiveEndpoint {
            id: "a-id".to_owned(),
            name: "a".to_owned(),
            ip: place.ip,
            ipv6: None,
            mac: place.mac,
            host_link: place.host_link.clone(),
            bindings: published.bindings.clone(),
        };
        // One whose bridge can't be had keeps no other away.
        let bad = config("lo", "10.9.0.1/24");
        let (first, others) = Network::open_with(
            NetConfig::default(),
            Vec::new(),
            vec![(bad, Vec::new()), (red, vec![live])],
        )
        .await
        .unwrap();
        let [bad, red] = <[_; 2]>::try_from(others).map_err(|_| "two").unwrap();
        assert!(bad.is_err());
        let red = red.unwrap();
        assert_eq!(ports("br-red"), [place.host_link]);
        assert_eq!(ask_tcp(&w.world, (HOST, 8080)), Some(WORLD));
        let b = first.isolated().await.unwrap();
        assert_ne!(join(&red, &b, 0, "b").await.ip, place.ip);
        red.unpublish(place.ip, &published.bindings).await.unwrap();
        assert!(is_silent(&w.world, (HOST, 8080)));
        first.destroy().await;
    });
}
