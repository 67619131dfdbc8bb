//! What survives whom: containers the daemon, rules another program's flush, addresses their holders.

mod world;

use std::net::Ipv4Addr;
use std::time::Duration;

use dhow_net::{Endpoint, EndpointRequest, Error, NetConfig, Network};
use world::*;

#[test]
fn a_new_daemon_takes_over() {
    on_a_host(|w| async move {
        let network = open(NetConfig::default()).await;
        let a = connect(&network, "a").await;
        let b = connect(&network, "b").await;
        serve_tcp(&a.netns, 80);
        serve_tcp(&b.netns, 80);
        let published = network.publish(a.ip, &[tcp(80, 8080)]).await.unwrap();
        let rules = run("nft list table ip dhow");
        network.publish(b.ip, &[tcp(80, 9090)]).await.unwrap();
        network.close().await;
        // Nobody is there, and all goes on.
        assert_eq!(ask_tcp(&w.world, (HOST, 8080)), Some(WORLD));
        assert_eq!(ask_tcp(&b.netns, (a.ip, 80)), Some(b.ip));
        // `b` ended meanwhile, but something holds its namespace open.
        let network = Network::open(
            NetConfig::default(),
            vec![live(&a, "a", &published.bindings)],
        )
        .await
        .unwrap();
        assert_eq!(ask_tcp(&w.world, (HOST, 8080)), Some(WORLD));
        assert!(is_silent(&w.world, (HOST, 9090)));
        assert!(!ports("dhow0").contains(&b.host_link));
        assert_eq!(run("nft list table ip dhow"), rules);
        assert_eq!(run("ip -o -4 address show dev dhow0").lines().count(), 1);
        // The address and the port are known to be taken.
        let c = connect(&network, "c").await;
        assert_ne!(c.ip, a.ip);
        let error = network.publish(c.ip, &[tcp(80, 8080)]).await.unwrap_err();
        assert!(
            error.to_string().contains("port is already allocated"),
            "{error}"
        );
        // And can be freed.
        network.disconnect(a.ip, "a-id").await.unwrap();
        assert!(is_silent(&w.world, (HOST, 8080)));
        network.destroy().await;
    });
}

#[test]
fn rules_that_another_program_flushed_come_back() {
    on_a_host(|w| async move {
        let network = open(NetConfig::default()).await;
        let a = connect(&network, "a").await;
        serve_tcp(&a.netns, 80);
        let _published = network.publish(a.ip, &[tcp(80, 8080)]).await.unwrap();
        let whole = run("nft list ruleset");
        for damage in [
            "flush ruleset",
            "delete table ip dhow",
            "flush table ip dhow",
            "flush map ip dhow ports",
            "flush chain ip dhow nat-prerouting",
        ] {
            // The table has a new handle when it has been put back, which may be before nft returns.
            let before = run("nft -a list table ip dhow");
            run(&format!("nft {damage}"));
            eventually(damage, || {
                let now = try_run("nft -a list table ip dhow");
                !now.is_empty() && now != before && run("nft list ruleset") == whole
            });
            assert_eq!(ask_tcp(&w.world, (HOST, 8080)), Some(WORLD));
            // The next repair is that of a first damage again only after minutes of quiet: they get slower.
        }
        // A change between flush and repair finds no table, and makes it.
        run("nft flush ruleset");
        let b = connect(&network, "b").await;
        serve_tcp(&b.netns, 80);
        let _second = network.publish(b.ip, &[tcp(80, 9090)]).await.unwrap();
        assert_eq!(ask_tcp(&w.world, (HOST, 9090)), Some(WORLD));
        assert_eq!(ask_tcp(&w.world, (HOST, 8080)), Some(WORLD));
        network.destroy().await;
        assert_eq!(run("nft list ruleset"), "");
    });
}

#[test]
fn other_programs_tables_are_left_alone() {
    on_a_host(|_| async move {
        run("nft add table ip other");
        run("nft add chain ip other mine");
        let network = open(NetConfig::default()).await;
        let a = connect(&network, "a").await;
        network.publish(a.ip, &[tcp(80, 8080)]).await.unwrap();
        network.destroy().await;
        let left = run("nft list ruleset");
        assert_eq!(
            left.split_whitespace().collect::<String>(),
            "tableipother{chainmine{}}"
        );
    });
}

#[test]
fn two_networks_in_one_namespace() {
    on_a_host(|w| async move {
        let first = open(NetConfig::default()).await;
        let second = open(NetConfig {
            bridge: "dhow1".to_owned(),
            table: "dhow-two".to_owned(),
            ..NetConfig::default()
        })
        .await;
        assert_eq!(second.bridge().unwrap().subnet.to_string(), "172.18.0.0/16");
        let a = connect(&first, "a").await;
        let b = connect(&second, "b").await;
        serve_tcp(&a.netns, 80);
        let _published = first.publish(a.ip, &[tcp(80, 8080)]).await.unwrap();
        assert!(is_silent(&b.netns, (a.ip, 80)));
        assert!(ask_tcp(&b.netns, (HOST, 8080)).is_some());
        assert_eq!(ask_tcp(&w.world, (HOST, 8080)), Some(WORLD));
        second.destroy().await;
        assert_eq!(ask_tcp(&w.world, (HOST, 8080)), Some(WORLD));
        first.destroy().await;
    });
}

async fn wish(
    network: &Network,
    ip: Option<[u8; 4]>,
    mac: Option<&str>,
) -> Result<Endpoint, Error> {
    network
        .connect(EndpointRequest {
            ip: ip.map(Ipv4Addr::from),
            mac: mac.map(|mac| mac.parse().unwrap()),
            ..EndpointRequest::default()
        })
        .await
}

#[test]
fn addresses_as_wished() {
    on_a_host(|_| async move {
        let network = open(NetConfig {
            bridge_ip: Some("10.9.0.1/24".parse().unwrap()),
            ..NetConfig::default()
        })
        .await;
        // One that is ready, one that isn't, and a hardware address that only a fresh one can have.
        let ready = wish(&network, Some([10, 9, 0, 5]), None).await.unwrap();
        let fresh = wish(&network, Some([10, 9, 0, 200]), None).await.unwrap();
        let mac = "02:00:00:00:00:07";
        let own = wish(&network, Some([10, 9, 0, 6]), Some(mac))
            .await
            .unwrap();
        for endpoint in [&ready, &fresh, &own] {
            let addresses = inside(&endpoint.netns, || run("ip address show eth0"))
                .join()
                .unwrap();
            assert!(
                addresses.contains(&format!("inet {}/24 brd 10.9.0.255", endpoint.ip)),
                "{addresses}"
            );
            assert!(
                addresses.contains(&format!("link/ether {}", endpoint.mac)),
                "{addresses}"
            );
            // No IPv6 address is generated on a network without IPv6.
            assert!(!addresses.contains("inet6"), "{addresses}");
        }
        assert_eq!(own.mac.to_string(), mac);
        let error = wish(&network, Some([10, 9, 0, 5]), None).await.unwrap_err();
        assert_eq!(error.to_string(), "Address already in use: 10.9.0.5");
        let error = wish(&network, Some([10, 9, 0, 1]), None).await.unwrap_err();
        assert!(matches!(error, Error::AddressInUse(_)));
        let error = wish(&network, Some([10, 8, 0, 5]), None).await.unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("no configured subnet contains IP address 10.8.0.5"),
            "{error}"
        );
        let error = wish(&network, None, Some("01:00:00:00:00:07"))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::UnusableMac(_)));
        network.destroy().await;
    });
}

#[test]
fn the_last_address_and_the_next_but_one() {
    on_a_host(|w| async move {
        let network = open(NetConfig {
            bridge_ip: Some("10.9.0.1/29".parse().unwrap()),
            ..NetConfig::default()
        })
        .await;
        // Five addresses, fewer than are kept ready: these make room.
        let mut all = Vec::new();
        for _ in 0..4 {
            all.push(wish(&network, None, None).await.unwrap());
        }
        all.push(
            wish(&network, None, Some("02:00:00:00:00:07"))
                .await
                .unwrap(),
        );
        let error = wish(&network, None, None).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "no available IPv4 addresses on this network's address pools: all of 10.9.0.0/29 are in use"
        );
        // An endpoint's namespace may be held open after its end. Its address goes to another all the same, and to no two.
        let held = all.remove(0);
        network.disconnect(held.ip, "").await.unwrap();
        let next = wish(&network, None, None).await.unwrap();
        assert_eq!(next.ip, held.ip);
        serve_tcp(&next.netns, 80);
        assert!(ask_tcp(&w.host, (next.ip, 80)).is_some());
        assert_eq!(ports("dhow0").len(), 5);
        network.destroy().await;
    });
}

#[test]
fn a_bridge_that_cannot_be() {
    on_a_host(|_| async move {
        let open = |bridge: &str, bridge_ip: Option<&str>| {
            Network::open(
                NetConfig {
                    bridge: bridge.to_owned(),
                    bridge_ip: bridge_ip.map(|ip| ip.parse().unwrap()),
                    ..NetConfig::default()
                },
                Vec::new(),
            )
        };
        let text = |result: Result<Network, Error>| result.err().unwrap().to_string();
        assert_eq!(
            text(open("outside", None).await),
            "link \"outside\" exists and is not a bridge"
        );
        assert!(
            text(open("a/b", None).await)
                .starts_with("bridge name \"a/b\" is not a valid link name")
        );
        assert!(text(open("dhow0", Some("10.0.0.0/24")).await).contains("leaves no room"));
        assert!(text(open("dhow0", Some("10.0.0.1/31")).await).contains("leaves no room"));
        // What is there of a bridge is taken as it is, with its address.
        run("ip link add mine type bridge");
        run("ip address add 10.7.0.1/24 dev mine");
        let network = open("mine", None).await.unwrap();
        assert_eq!(network.bridge().unwrap().subnet.to_string(), "10.7.0.0/24");
        network.close().await;
        let network = open("mine", Some("10.6.0.1/24")).await.unwrap();
        assert_eq!(network.bridge().unwrap().subnet.to_string(), "10.6.0.0/24");
        let addresses = run("ip -o -4 address show dev mine");
        assert_eq!(addresses.lines().count(), 1, "{addresses}");
        network.destroy().await;
    });
}

#[test]
fn a_host_without_a_free_subnet() {
    on_a_host(|_| async move {
        run("ip route add 172.16.0.0/12 via 192.0.2.2");
        let network = open(NetConfig::default()).await;
        assert_eq!(
            network.bridge().unwrap().subnet.to_string(),
            "192.168.0.0/20"
        );
        network.destroy().await;
        run("ip link del dhow0");
        run("ip route add 192.168.0.0/16 via 192.0.2.2");
        run("ip route add 10.128.0.0/9 via 192.0.2.2");
        let error = Network::open(NetConfig::default(), Vec::new())
            .await
            .err()
            .unwrap();
        assert!(
            error
                .to_string()
                .starts_with("all predefined address pools have been fully subnetted")
        );
    });
}

#[test]
fn callers_that_go_away_leave_nothing() {
    on_a_host(|_| async move {
        let network = open(NetConfig {
            bridge_ip: Some("10.9.0.1/28".parse().unwrap()),
            warm: 0,
            ..NetConfig::default()
        })
        .await;
        // Far more than there are addresses.
        for _ in 0..50 {
            let connect = network.connect(EndpointRequest::default());
            let made = tokio::time::timeout(Duration::from_micros(200), connect).await;
            if let Ok(endpoint) = made {
                network.disconnect(endpoint.unwrap().ip, "").await.unwrap();
            }
        }
        let mut all = Vec::new();
        for _ in 0..13 {
            all.push(connect(&network, "a").await);
        }
        network.destroy().await;
    });
}

#[test]
fn warm_endpoints_are_taken_in_order_and_replaced() {
    on_a_host(|_| async move {
        let network = open(NetConfig::default()).await;
        for round in 0..20 {
            eventually("the pool is full", || network.ready() == 8);
            let endpoint = connect(&network, "a").await;
            assert_eq!(endpoint.ip, Ipv4Addr::new(172, 17, 0, 2 + round));
        }
        network.destroy().await;
    });
}

#[test]
fn a_bridge_without_a_port_left() {
    on_a_host(|_| async move {
        let network = open(NetConfig {
            warm: 0,
            ..NetConfig::default()
        })
        .await;
        let mut commands = String::new();
        for number in 0..512 {
            commands += &format!("link add d{number} master dhow0 type veth peer name e{number}\n");
            if number > 0 {
                commands += &format!("link set e{number} master dhow0\n");
            }
        }
        let batch = std::env::temp_dir().join(format!("dhow-net-{}", std::process::id()));
        std::fs::write(&batch, commands).unwrap();
        run(&format!("ip -batch {}", batch.display()));
        std::fs::remove_file(&batch).unwrap();
        let error = wish(&network, None, None).await.unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("bridge dhow0 has no port left"),
            "{error}"
        );
        run("ip link del d7");
        wish(&network, None, None).await.unwrap();
        network.destroy().await;
    });
}
