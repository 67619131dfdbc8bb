//! More containers on one network than a bridge has ports.

mod world;

use std::os::fd::OwnedFd;

use dhow_net::{EndpointRequest, Gateways, LiveEndpoint, NetConfig, Network, Place, Way};
use world::*;

/// More than the first bridge takes.
const CONTAINERS: usize = 975;

struct Container {
    netns: OwnedFd,
    place: Place,
    id: String,
}

async fn join(first: &Network, network: &Network, number: usize) -> Container {
    let netns = first.isolated().await.unwrap();
    let request = EndpointRequest {
        id: format!("{number}-id"),
        name: number.to_string(),
        ..EndpointRequest::default()
    };
    let id = request.id.clone();
    let inside = || netns.try_clone().unwrap();
    let (place, _) = network.join(inside(), 0, request).await.unwrap();
    let gateways = Gateways {
        ip: place.gateway.map(Way::Gateway),
        ipv6: None,
    };
    network.set_gateways(inside(), gateways).await.unwrap();
    Container { netns, place, id }
}

fn config(icc: bool) -> NetConfig {
    NetConfig {
        bridge: "many".to_owned(),
        bridge_ip: Some("10.9.0.1/16".parse().unwrap()),
        icc,
        warm: 0,
        ..NetConfig::default()
    }
}

/// The default network, and another with all the containers.
async fn full(icc: bool) -> (Network, Network, Vec<Container>) {
    let first = open(NetConfig::default()).await;
    let network = first.add(config(icc)).await.unwrap();
    let mut all = Vec::with_capacity(CONTAINERS);
    for number in 0..CONTAINERS {
        all.push(join(&first, &network, number).await);
    }
    (first, network, all)
}

fn further() -> usize {
    let links = run("ip -o link show type bridge");
    links.lines().filter(|line| line.contains(": dhx")).count()
}

/// Sockets and namespaces are open files.
fn many_files() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let all = rustix::process::Rlimit {
        current: limit.maximum,
        ..limit
    };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, all).unwrap();
}

#[test]
fn they_reach_each_other_and_go_on_under_the_next_daemon() {
    reach_each_other(false);
}

#[test]
fn they_reach_each_other_with_br_netfilter() {
    reach_each_other(true);
}

fn reach_each_other(br_netfilter: bool) {
    many_files();
    on_a_host(move |w| async move {
        if !hand_bridged_packets_to_ip(br_netfilter) {
            return;
        }
        let (first, network, all) = full(true).await;
        assert_eq!(further(), 1);
        let (near, far) = (&all[3], &all[CONTAINERS - 3]);
        let gateway = near.place.gateway;
        for one in [near, far] {
            serve_tcp(&one.netns, 80);
        }
        let reached = || {
            assert_eq!(
                ask_tcp(&near.netns, (far.place.ip, 80)),
                Some(near.place.ip)
            );
            assert_eq!(ask_tcp(&far.netns, (near.place.ip, 80)), Some(far.place.ip));
            assert_eq!(ask_tcp(&w.host, (far.place.ip, 80)), gateway);
            assert_eq!(ask_tcp(&w.world, (HOST, 8080)), Some(WORLD));
            assert_eq!(ask_tcp(&near.netns, (HOST, 8080)), gateway);
            assert_eq!(ask_tcp(&far.netns, (HOST, 8080)), gateway);
        };
        serve_tcp(&w.world, 80);
        let published = network
            .publish(far.place.ip, &[tcp(80, 8080)])
            .await
            .unwrap();
        reached();
        assert_eq!(ask_tcp(&far.netns, (WORLD, 80)), Some(HOST));
        // Nobody had to ask who has which address: the host's and the containers' entries are all of the learned kind.
        // The kernel's one table can change under whoever lists it.
        let known = || {
            let listed = run("ip neighbour show dev many");
            listed.matches("extern_learn").count()
        };
        eventually("all are known", || known() == CONTAINERS);

        // The next daemon finds some of them gone.
        let live = |number: &usize| LiveEndpoint {
            id: all[*number].id.clone(),
            name: String::new(),
            ip: all[*number].place.ip,
            ipv6: None,
            mac: all[*number].place.mac,
            host_link: all[*number].place.host_link.clone(),
            bindings: match *number == CONTAINERS - 3 {
                true => published.bindings.clone(),
                false => Vec::new(),
            },
        };
        let living: Vec<usize> = (0..10).chain(CONTAINERS - 10..CONTAINERS).collect();
        first.close().await;
        drop(network);
        let taken = living.iter().map(live).collect();
        let opened = Network::open_with(
            NetConfig::default(),
            Vec::new(),
            vec![(config(true), taken)],
        );
        let (first, mut others) = opened.await.unwrap();
        let network = others.remove(0).unwrap();
        reached();
        eventually("those that are gone are forgotten", || {
            known() == living.len()
        });
        // There is room on the first bridge again.
        assert_eq!(ports("many").len(), 10 + 1);
        let more = join(&first, &network, CONTAINERS).await;
        assert_eq!(ports("many").len(), 10 + 2);
        serve_tcp(&more.netns, 80);
        assert_eq!(ask_tcp(&far.netns, (more.place.ip, 80)), Some(far.place.ip));

        for number in living {
            network
                .disconnect(all[number].place.ip, &all[number].id)
                .await
                .unwrap();
        }
        network
            .part(
                more.netns.try_clone().unwrap(),
                "eth0".to_owned(),
                more.place.ip,
                &more.id,
            )
            .await
            .unwrap();
        network.remove(true).await.unwrap();
        assert_eq!(further(), 0);
        assert!(!run("ip -o link").contains(": dhx"));
        first.destroy().await;
    });
}

#[test]
fn those_that_are_kept_apart_are_apart_on_all_bridges() {
    kept_apart(false);
}

#[test]
fn those_that_are_kept_apart_are_with_br_netfilter() {
    kept_apart(true);
}

fn kept_apart(br_netfilter: bool) {
    many_files();
    on_a_host(move |w| async move {
        if !hand_bridged_packets_to_ip(br_netfilter) {
            return;
        }
        let (first, _network, all) = full(false).await;
        let [near, far, farther] = [3, CONTAINERS - 3, CONTAINERS - 5].map(|n| &all[n]);
        for one in [near, far] {
            serve_tcp(&one.netns, 80);
        }
        for (from, to) in [(near, far), (far, near), (farther, far)] {
            assert!(is_silent(&from.netns, (to.place.ip, 80)));
        }
        assert_eq!(ask_tcp(&w.host, (far.place.ip, 80)), far.place.gateway);
        serve_tcp(&w.world, 80);
        assert_eq!(ask_tcp(&far.netns, (WORLD, 80)), Some(HOST));
        first.destroy().await;
    });
}
