//! The driver ipvlan.

use dhow_tests::{Engine, TestHost};

use super::wire::*;

const IPVLAN: &str = "docker network create -d ipvlan -o parent=lan0";

#[test]
fn ipvlan_shares_the_parents_hardware_address() {
    let mut host = TestHost::start();
    if !has(&host, "ipvlan") {
        return;
    }
    let wire = Wire::new(&host);
    let subnets = "--ipv6 --subnet 10.77.0.0/24 --gateway 10.77.0.1 --subnet fd00:77::/64 --gateway fd00:77::1";
    host.sh(&format!("{IPVLAN} {subnets} wire")).ok();
    refused(
        &host,
        &format!("{IPVLAN} --subnet 10.78.0.0/24 other"),
        "is already using parent interface lan0",
    );
    serve(&host, "c1", "--network wire");
    serve(
        &host,
        "c2",
        "--network wire --ip 10.77.0.9 --ip6 fd00:77::9",
    );
    for (from, to) in [
        ("c1", "c2"),
        ("c2", "c1"),
        ("c1", "10.77.0.1"),
        ("c2", "fd00:77::1"),
    ] {
        assert!(reaches(&host, from, to), "{from} {to}");
    }
    assert!(reaches(&host, "c1", "fd00:77::9"));
    wire.run("test $(curl -s --max-time 5 http://10.77.0.9/) = c2");
    wire.run("test $(curl -g -s --max-time 5 'http://[fd00:77::9]/') = c2");
    assert!(routes(&host, "c1").contains("default via 10.77.0.1 dev eth0"));
    assert_eq!(endpoint(&host, "c1", "wire")["MacAddress"], "");
    refused(
        &host,
        "docker run --rm --network wire --mac-address 02:11:22:33:44:55 busybox true",
        "ipvlan interfaces do not support custom mac address assignment",
    );
    if host.engine == Engine::Dhow {
        host.kill_daemon();
        assert!(wire.reaches("10.77.0.9"));
        host.start_daemon();
        assert!(reaches(&host, "c1", "c2"));
        refused(
            &host,
            "docker run --rm --network wire --ip 10.77.0.9 busybox true",
            "Address already in use",
        );
    }
    for _ in 0..3 {
        host.sh("docker restart -t 0 c2").ok();
        assert!(wire.reaches("10.77.0.9"));
    }
    // Links of the two kinds can't have one parent.
    host.sh(&format!("{MACVLAN} --subnet 10.78.0.0/24 mac"))
        .ok();
    refused(
        &host,
        "docker run --rm --network mac busybox true",
        "failed to create the macvlan port on lan0",
    );
    host.sh(
        "docker run -d --name c3 busybox sleep 1000 && docker network connect --ip 10.77.0.7 wire c3",
    )
    .ok();
    assert!(wire.reaches("10.77.0.7"));
    host.sh("docker network disconnect wire c3").ok();
    assert!(!wire.reaches("10.77.0.7"));
    host.sh("docker rm -f c1 c2 c3 && docker network rm wire mac")
        .ok();

    host.sh(&format!("{IPVLAN} -o ipvlan_flag=private {subnets} wire"))
        .ok();
    serve(&host, "c1", "--network wire --ip 10.77.0.7");
    serve(&host, "c2", "--network wire --ip 10.77.0.8");
    assert!(wire.reaches("10.77.0.7") && wire.reaches("10.77.0.8"));
    assert!(!reaches(&host, "c1", "10.77.0.8"));
    wire.remove(&host);
}

#[test]
fn ipvlan_routes_in_its_modes_of_layer_three() {
    let host = TestHost::start();
    if !has(&host, "ipvlan") {
        return;
    }
    let wire = Wire::new(&host);
    for mode in ["l3", "l3s"] {
        host.sh(&format!(
            "{IPVLAN} -o ipvlan_mode={mode} --subnet 10.81.0.0/24 --subnet 10.82.0.0/24 --ipv6 --subnet fd00:81::/64 routed"
        ))
        .ok();
        serve(
            &host,
            "c1",
            "--network routed --ip 10.81.0.7 --ip6 fd00:81::7",
        );
        serve(&host, "c2", "--network routed --ip 10.82.0.7");
        let shown = routes(&host, "c1");
        assert!(shown.contains("default dev eth0"), "{mode}: {shown}");
        let shown = host.sh("docker exec c1 ip -6 route").ok();
        assert!(shown.contains("default dev eth0"), "{mode}: {shown}");
        assert_eq!(endpoint(&host, "c1", "routed")["Gateway"], "");
        // From one subnet to the other, by name.
        assert!(reaches(&host, "c1", "c2"), "{mode}");
        // Whoever is on the wire needs a route, and so does the host, which sends the answers.
        host.sh("ip addr replace 10.77.0.2/24 dev lan0").ok();
        wire.run("ip route replace 10.82.0.0/24 via 10.77.0.2");
        assert!(wire.reaches("10.82.0.7"), "{mode}");
        // From the way out by a link to one by a gateway, and back.
        host.sh("docker network create zone && docker network connect --gw-priority 1 zone c1")
            .ok();
        let shown = routes(&host, "c1");
        assert!(
            shown.contains("default via") && !shown.contains("default dev"),
            "{mode}: {shown}"
        );
        host.sh("docker network disconnect zone c1").ok();
        host.sh("docker run -d --name c3 --network name=routed,driver-opt=com.docker.network.endpoint.ifname=wan0 busybox sleep 1000")
            .ok();
        let shown = routes(&host, "c3");
        assert!(shown.contains("default dev wan0"), "{mode}: {shown}");
        let shown = routes(&host, "c1");
        assert!(
            shown.contains("default dev eth0") && !shown.contains("default via"),
            "{mode}: {shown}"
        );
        host.sh("docker rm -f c1 c2 c3 && docker network rm routed zone")
            .ok();
    }
    wire.remove(&host);
}
