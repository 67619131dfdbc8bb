//! Networks on a wire of the host's: the drivers macvlan and, below, ipvlan. The wire is a pair of links, one end of which is the
//! host's and the other a machine's of its own.
//!
//! Not every kernel has every kind of link: what one lacks is said and passed over. `cargo xtask vm networks_lan` has all.

mod ipvlan;
mod parents;
mod wire;

use dhow_tests::{Engine, TestHost, eventually};

use wire::*;

#[test]
fn macvlan_puts_containers_on_the_wire() {
    let mut host = TestHost::start();
    if !has(&host, "macvlan") {
        return;
    }
    let wire = Wire::new(&host);
    host.sh(&format!(
        "{MACVLAN} --ipv6 --subnet 10.77.0.0/24 --gateway 10.77.0.1 --ip-range 10.77.0.64/28 --aux-address printer=10.77.0.65 \
         --subnet fd00:77::/64 --gateway fd00:77::1 wire"
    ))
    .ok();
    let shown = host.sh("docker network inspect wire").json()[0].take();
    assert_eq!(shown["Driver"], "macvlan");
    assert_eq!(shown["Options"]["parent"], PARENT);
    assert_eq!(shown["IPAM"]["Config"][0]["Gateway"], "10.77.0.1");
    assert_eq!(shown["Internal"], false);

    serve(&host, "c1", "--network wire -p 8080:80");
    serve(
        &host,
        "c2",
        "--network wire --ip 10.77.0.9 --ip6 fd00:77::9 --mac-address 02:11:22:33:44:55",
    );
    let a = ip(&host, "c1", "wire");
    assert_eq!(a, "10.77.0.64");
    // The printer's is nobody's.
    serve(&host, "c3", "--network wire");
    assert_eq!(ip(&host, "c3", "wire"), "10.77.0.66");
    let b = endpoint(&host, "c2", "wire");
    assert_eq!(b["IPAddress"], "10.77.0.9");
    assert_eq!(b["Gateway"], "10.77.0.1");
    assert_eq!(b["GlobalIPv6Address"], "fd00:77::9");
    assert_eq!(b["IPv6Gateway"], "fd00:77::1");
    assert_eq!(b["MacAddress"], "02:11:22:33:44:55");
    let link = host
        .sh("docker exec c2 cat /sys/class/net/eth0/address")
        .ok();
    assert_eq!(link, "02:11:22:33:44:55");
    for (from, to) in [
        ("c1", "c2"),
        ("c2", "c1"),
        ("c1", "10.77.0.1"),
        ("c2", "fd00:77::1"),
    ] {
        assert!(reaches(&host, from, to), "{from} {to}");
    }
    for to in [a.as_str(), "10.77.0.9"] {
        assert!(wire.reaches(to), "{to}");
    }
    wire.run("test $(curl -s --max-time 5 http://10.77.0.9/) = c2");
    wire.run("test $(curl -g -s --max-time 5 'http://[fd00:77::9]/') = c2");
    assert!(routes(&host, "c1").contains("default via 10.77.0.1 dev eth0"));
    let routes6 = host.sh("docker exec c1 ip -6 route").ok();
    assert!(
        routes6.contains("default via fd00:77::1 dev eth0"),
        "{routes6}"
    );

    // Ports are the container's own there.
    assert_eq!(host.sh("docker port c1").ok(), "");
    assert!(host.sh("curl -s --max-time 2 http://127.0.0.1:8080/").code != 0);
    if host.engine == Engine::Dhow {
        let log = host.daemon_log();
        assert!(log.contains("does not support port mappings"), "{log}");
        let drawn = host.sh("dhow network graph wire").ok();
        assert!(
            drawn.contains("wire (macvlan, 10.77.0.0/24 via 10.77.0.1"),
            "{drawn}"
        );
        assert!(drawn.contains(&a), "{drawn}");
    }
    refused(
        &host,
        "docker run --rm --network wire --ip 10.77.0.9 busybox true",
        "Address already in use",
    );
    refused(&host, "docker network rm wire", "has active endpoints");

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
    // The same address and hardware address, a moment after the end.
    for _ in 0..3 {
        host.sh("docker restart -t 0 c2").ok();
        assert!(wire.reaches("10.77.0.9"));
    }
    host.sh("docker rm -f c1 c2 c3 && docker network rm wire")
        .ok();
    assert!(has_link(&host, PARENT));
    wire.remove(&host);
}

#[test]
fn coming_to_a_wire_and_leaving_it_while_running() {
    let mut host = TestHost::start();
    if !has(&host, "macvlan") {
        return;
    }
    let wire = Wire::new(&host);
    host.sh(&format!(
        "{MACVLAN} --subnet 10.77.0.0/24 --gateway 10.77.0.1 wire"
    ))
    .ok();
    serve(&host, "c3", "-p 8080:80");
    let page = |host: &TestHost| {
        host.sh("curl -s --max-time 5 http://127.0.0.1:8080/")
            .stdout
    };
    assert_eq!(page(&host), "c3\n");
    // The way out stays where it was: of the same priority the first by name.
    host.sh("docker network connect --ip 10.77.0.7 wire c3")
        .ok();
    assert!(wire.reaches("10.77.0.7"));
    assert_eq!(page(&host), "c3\n");
    assert!(!routes(&host, "c3").contains("10.77.0.1"));
    let links = host.sh("docker exec c3 ls /sys/class/net").ok();
    assert_eq!(links, "eth0\neth1\nlo");
    host.sh("docker network disconnect wire c3").ok();
    assert!(!wire.reaches("10.77.0.7"));
    let links = host.sh("docker exec c3 ls /sys/class/net").ok();
    assert_eq!(links, "eth0\nlo");

    // Over the wire: its ports are published no more, and again when it is left.
    host.sh("docker network connect --gw-priority 1 --ip 10.77.0.7 wire c3")
        .ok();
    assert!(routes(&host, "c3").contains("default via 10.77.0.1 dev eth1"));
    assert_eq!(host.sh("docker port c3").ok(), "");
    host.sh("docker run --rm -p 8080:80 busybox true").ok();
    if host.engine == Engine::Dhow {
        host.kill_daemon();
        host.start_daemon();
        assert!(wire.reaches("10.77.0.7"));
    }
    host.sh("docker network disconnect wire c3").ok();
    assert!(!routes(&host, "c3").contains("10.77.0.1"));
    eventually("it is published again", || {
        (page(&host) == "c3\n").then_some(())
    });

    // A link that its container calls otherwise by now.
    host.sh("docker network connect --ip 10.77.0.7 wire c3")
        .ok();
    let pid = host.inspect("c3")["State"]["Pid"].to_string();
    host.sh(&format!(
        "nsenter -t {pid} -n ip link set eth1 down && nsenter -t {pid} -n ip link set eth1 name mine && \
         nsenter -t {pid} -n ip link set mine up"
    ))
    .ok();
    host.sh("docker network disconnect wire c3").ok();
    let links = host.sh("docker exec c3 ls /sys/class/net").ok();
    assert_eq!(links, "eth0\nlo");
    // One whose name was chosen.
    host.sh("docker network connect --driver-opt com.docker.network.endpoint.ifname=wan0 --ip 10.77.0.7 wire c3")
        .ok();
    let links = || host.sh("docker exec c3 ls /sys/class/net").ok();
    assert_eq!(links(), "eth0\nlo\nwan0");
    assert!(wire.reaches("10.77.0.7"));
    host.sh("docker network disconnect wire c3").ok();
    assert_eq!(links(), "eth0\nlo");
    let events = host
        .sh("docker events --since 1h --until 0s --filter network=wire --format '{{.Action}} {{.Actor.Attributes.type}}'")
        .ok();
    assert!(
        events.starts_with("create macvlan\nconnect macvlan\ndisconnect macvlan"),
        "{events}"
    );
    wire.remove(&host);
}

#[test]
fn what_macvlan_modes_do() {
    let host = TestHost::start();
    if !has(&host, "macvlan") {
        return;
    }
    let wire = Wire::new(&host);
    let subnet = "--subnet 10.77.0.0/24 --gateway 10.77.0.1";
    for mode in ["private", "vepa"] {
        host.sh(&format!("{MACVLAN} -o macvlan_mode={mode} {subnet} wire"))
            .ok();
        for (name, ip) in [("c1", "10.77.0.7"), ("c2", "10.77.0.8")] {
            serve(&host, name, &format!("--network wire --ip {ip}"));
            assert!(wire.reaches(ip), "{mode}");
        }
        assert!(!reaches(&host, "c1", "10.77.0.8"), "{mode}");
        host.sh("docker rm -f c1 c2 && docker network rm wire").ok();
    }

    // One container has the parent to itself.
    host.sh(&format!("{MACVLAN} -o macvlan_mode=passthru {subnet} wire"))
        .ok();
    let own = mac(&host);
    serve(&host, "c1", "--network wire --ip 10.77.0.7");
    assert!(wire.reaches("10.77.0.7"));
    assert_eq!(endpoint(&host, "c1", "wire")["MacAddress"], own.as_str());
    refused(
        &host,
        "docker run --rm --network wire busybox true",
        "failed to create the macvlan port",
    );
    refused(
        &host,
        &format!("{MACVLAN} --subnet 10.78.0.0/24 other"),
        "is already using parent interface lan0 in mode passthru",
    );
    host.sh("docker rm -f c1").ok();
    serve(
        &host,
        "c1",
        "--network wire --ip 10.77.0.7 --mac-address 02:11:22:33:44:55",
    );
    assert!(wire.reaches("10.77.0.7"));
    host.sh("docker rm -f c1 && docker network rm wire").ok();
    eventually("the parent has its address again", || {
        (mac(&host) == own).then_some(())
    });

    // Two networks on one wire, of two subnets, and one without a way out.
    host.sh(&format!("{MACVLAN} {subnet} wire")).ok();
    host.sh(&format!(
        "{MACVLAN} --internal --subnet 10.78.0.0/24 --gateway 10.78.0.1 second"
    ))
    .ok();
    refused(
        &host,
        &format!("{MACVLAN} -o macvlan_mode=passthru --subnet 10.79.0.0/24 third"),
        "cannot use mode passthru, macvlan network",
    );
    serve(&host, "c1", "--network wire");
    serve(&host, "c2", "--network second");
    assert!(!routes(&host, "c2").contains("default"));
    assert_eq!(endpoint(&host, "c2", "second")["Gateway"], "");
    refused(&host, "docker exec c2 ping -c 1 10.77.0.1", "unreachable");
    host.sh("docker network connect second c1").ok();
    assert!(reaches(&host, "c1", "c2"));
    host.sh("docker rm -f c1 c2 && docker network rm wire second")
        .ok();

    // Two that have each a part of one subnet.
    let part = |range| format!("{MACVLAN} --subnet 10.77.0.0/24 --ip-range 10.77.0.{range}");
    host.sh(&format!("{} wire", part("64/27"))).ok();
    let overlaps = "Pool overlaps with other one on this address space";
    refused(&host, &format!("{} second", part("80/28")), overlaps);
    refused(&host, &format!("{MACVLAN} {subnet} second"), overlaps);
    host.sh(&format!("{} second", part("96/27"))).ok();
    serve(&host, "c1", "--network wire");
    serve(&host, "c2", "--network second --ip 10.77.0.7");
    assert_eq!(ip(&host, "c1", "wire"), "10.77.0.64");
    assert!(reaches(&host, "c2", "10.77.0.64") && !reaches(&host, "c2", "c1"));
    for taken in ["10.77.0.7", "10.77.0.100"] {
        refused(
            &host,
            &format!("docker run --rm --network wire --ip {taken} busybox true"),
            &format!("Address already in use: {taken}"),
        );
    }
    host.sh("docker rm -f c1 c2 && docker network rm wire second")
        .ok();

    // Several subnets, without a gateway and with one.
    host.sh(&format!(
        "{MACVLAN} --subnet 10.77.0.0/24 --subnet 10.78.0.0/29 --gateway 10.78.0.1 wire"
    ))
    .ok();
    serve(&host, "c1", "--network wire");
    assert_eq!(ip(&host, "c1", "wire"), "10.77.0.1");
    assert_eq!(endpoint(&host, "c1", "wire")["Gateway"], "");
    assert!(!routes(&host, "c1").contains("default"));
    serve(&host, "c2", "--network wire --ip 10.78.0.5");
    let b = endpoint(&host, "c2", "wire");
    assert_eq!(
        (&b["Gateway"], &b["IPPrefixLen"]),
        (&"10.78.0.1".into(), &29.into())
    );
    wire.remove(&host);
}
