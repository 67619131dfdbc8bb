//! Host ports belong to one container at a time: all or nothing, with a message that says who has them.

mod world;

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use dhow_net::held::{self, HostPort};
use dhow_net::{Error, NetConfig, PortChange, PortError, PortRequest, Protocol};
use world::*;

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

#[test]
fn a_port_that_another_container_has() {
    on_a_host(|w| async move {
        let network = open(NetConfig::default()).await;
        let a = connect(&network, "web").await;
        let b = connect(&network, "web2").await;
        let held = network.publish(a.ip, &[tcp(80, 8080)]).await.unwrap();
        // The first of the two is free: it must not stay published.
        let error = network
            .publish(b.ip, &[tcp(81, 8081), tcp(80, 8080)])
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "driver failed programming external connectivity on endpoint web2 (web2-id): \
             Bind for 0.0.0.0:8080 failed: port is already allocated"
        );
        TcpListener::bind((ANY, 8081)).unwrap();
        serve_tcp(&b.netns, 81);
        assert!(is_silent(&w.world, (HOST, 8081)));
        // One address of the host clashes with all of them; another protocol doesn't.
        let on_one = PortRequest {
            host_ip: Some(HOST.into()),
            ..tcp(80, 8080)
        };
        let error = network.publish(b.ip, &[on_one]).await.unwrap_err();
        assert!(
            matches!(
                &error,
                Error::Publish { cause: PortError::Allocated { holder, .. }, .. } if holder == "web"
            ),
            "{error}"
        );
        network.publish(b.ip, &[udp(80, 8080)]).await.unwrap();
        // With the first container's end it is free.
        network.disconnect(a.ip, "web-id").await.unwrap();
        drop(held);
        let again = [tcp(81, 8080)];
        let _published = given_back(|| network.publish(b.ip, &again)).await;
        assert_eq!(ask_tcp(&w.world, (HOST, 8080)), Some(WORLD));
        network.destroy().await;
    });
}

#[test]
fn a_port_that_another_program_has() {
    on_a_host(|_| async move {
        let network = open(NetConfig::default()).await;
        let a = connect(&network, "web").await;
        let listener = TcpListener::bind((ANY, 8080)).unwrap();
        let socket = UdpSocket::bind((HOST, 5353)).unwrap();
        for (request, expected) in [
            (
                tcp(80, 8080),
                "failed to bind host port 0.0.0.0:8080/tcp: address already in use",
            ),
            (
                udp(53, 5353),
                "failed to bind host port 0.0.0.0:5353/udp: address already in use",
            ),
            (
                PortRequest {
                    host_ip: Some(Ipv4Addr::new(198, 51, 100, 1).into()),
                    ..tcp(80, 80)
                },
                "failed to bind host port 198.51.100.1:80/tcp: cannot assign requested address",
            ),
            (
                PortRequest {
                    host_ip: Some(std::net::Ipv6Addr::UNSPECIFIED.into()),
                    ..tcp(80, 80)
                },
                "cannot publish on [::]: the container has no IPv6 address; give an IPv4 address of the host, or none, or connect it to a network with IPv6",
            ),
            (
                tcp(0, 80),
                "invalid port specification: a container port and a host port are 1 to 65535",
            ),
        ] {
            let error = network
                .publish(a.ip, &[request])
                .await
                .unwrap_err()
                .to_string();
            assert!(error.ends_with(expected), "{error}");
        }
        drop((listener, socket));
        let both = [tcp(80, 8080), udp(53, 5353)];
        let published = given_back(|| network.publish(a.ip, &both)).await;
        // And the other way round.
        assert!(TcpListener::bind((ANY, 8080)).is_err());
        assert!(UdpSocket::bind((ANY, 5353)).is_err());
        network.unpublish(a.ip, &published.bindings).await.unwrap();
        drop(published);
        given_back(async || TcpListener::bind((ANY, 8080))).await;
        network.destroy().await;
    });
}

#[test]
fn ports_that_nobody_chose() {
    on_a_host(|w| async move {
        std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40003").unwrap();
        let network = open(NetConfig::default()).await;
        let a = connect(&network, "web").await;
        serve_tcp(&a.netns, 80);
        let any = PortRequest {
            host_ports: None,
            ..tcp(80, 0)
        };
        let _listener = TcpListener::bind((ANY, 40001)).unwrap();
        let mut all = Vec::new();
        for expected in [40000, 40002, 40003] {
            let published = network
                .publish(a.ip, std::slice::from_ref(&any))
                .await
                .unwrap();
            assert_eq!(published.bindings[0].host_port, expected);
            assert_eq!(ask_tcp(&w.world, (HOST, expected)), Some(WORLD));
            all.push(published);
        }
        let error = network
            .publish(a.ip, std::slice::from_ref(&any))
            .await
            .unwrap_err();
        assert!(
            error.to_string().ends_with("all ports are allocated"),
            "{error}"
        );
        // Of a range of host ports the first that is free.
        let range = PortRequest {
            protocol: Protocol::Tcp,
            host_ports: Some((40000, 40005)),
            ..any
        };
        let published = network
            .publish(a.ip, &[range.clone(), range])
            .await
            .unwrap();
        let ports: Vec<_> = published.bindings.iter().map(|b| b.host_port).collect();
        assert_eq!(ports, [40004, 40005]);
        network.destroy().await;
    });
}

/// What goes and comes in one change, and what is taken back.
#[test]
fn ports_change_as_one() {
    on_a_host(|w| async move {
        let network = open(NetConfig::default()).await;
        let a = connect(&network, "web").await;
        let b = connect(&network, "web2").await;
        serve_tcp(&a.netns, 80);
        let both = [tcp(80, 8080), tcp(80, 8081)];
        let first = network.publish(a.ip, &both).await.unwrap();
        let _second = network.publish(b.ip, &[tcp(80, 9000)]).await.unwrap();
        let gone = vec![first.bindings[0]];
        let wanted: HashSet<HostPort> = gone.iter().map(HostPort::from).collect();
        let on_one = PortRequest {
            host_ip: Some(HOST.into()),
            ..tcp(80, 8080)
        };
        let change = |added: Vec<PortRequest>| PortChange {
            gone: gone.clone(),
            added,
            held: held::find(&first.holders, &wanted).unwrap(),
        };
        // One of them can't be had: nothing has changed.
        let added = vec![on_one.clone(), tcp(80, 8082), tcp(80, 9000)];
        let refused = network.change_ports(a.ip, "web-id", change(added)).await;
        let refused = refused.unwrap_err().to_string();
        assert!(
            refused.ends_with("0.0.0.0:9000 failed: port is already allocated"),
            "{refused}"
        );
        assert_eq!(ask_tcp(&w.world, (HOST, 8080)), Some(WORLD));
        assert!(is_silent(&w.world, (HOST, 8082)));
        assert!(
            network
                .change_ports(a.ip, "another", change(Vec::new()))
                .await
                .is_err()
        );
        let added = vec![on_one, tcp(80, 8082)];
        let changed = network
            .change_ports(a.ip, "web-id", change(added))
            .await
            .unwrap();
        assert_eq!(changed.bindings.len(), 2);
        for port in [8080, 8081, 8082] {
            assert_eq!(ask_tcp(&w.world, (HOST, port)), Some(WORLD), "{port}");
        }
        // And back, while the old socket is there.
        let back =
            network.change_ports_back(a.ip, "web-id", changed.bindings.clone(), gone.clone());
        back.await.unwrap();
        drop(changed);
        assert_eq!(ask_tcp(&w.world, (HOST, 8080)), Some(WORLD));
        assert!(is_silent(&w.world, (HOST, 8082)));
        given_back(async || TcpListener::bind((ANY, 8082))).await;
        network.destroy().await;
    });
}
