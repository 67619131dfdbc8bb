//! Parents: which ones are refused, those that are made and go with their networks, and those that are missing.

use dhow_tests::{Engine, TestHost};
use serde_json::json;

use super::wire::*;

#[test]
fn what_is_asked_of_a_wire_is_checked() {
    let host = TestHost::start();
    if !has(&host, "macvlan") {
        return;
    }
    let wire = Wire::new(&host);
    for (arguments, sentence) in [
        (
            "-d macvlan -o parent=lo one",
            "loopback interface is not a valid macvlan parent link",
        ),
        (
            "-d ipvlan -o parent=lo one",
            "loopback interface is not a valid ipvlan parent link",
        ),
        (
            "-d macvlan -o parent=lan0 -o macvlan_mode=l2 one",
            "requested macvlan mode 'l2' is not valid",
        ),
        (
            "-d ipvlan -o parent=lan0 -o ipvlan_mode=l4 one",
            "requested ipvlan mode 'l4' is not valid",
        ),
        (
            "-d ipvlan -o parent=lan0 -o ipvlan_flag=no one",
            "requested ipvlan flag 'no' is not valid",
        ),
        (
            "-d macvlan -o parent=nosuch one",
            "invalid subinterface vlan name nosuch",
        ),
        (
            "-d macvlan -o parent=lan0.4095 one",
            "vlan id must be between 1-4094, received: 4095",
        ),
        (
            "-d macvlan -o parent=lan0.x one",
            "unable to parse a valid vlan id from: x",
        ),
        (
            "-d macvlan -o parent=nosuch.1 one",
            "-o parent interface was not found on the host: nosuch",
        ),
        (
            "-d macvlan -o parent=a-name-that-is-too-long one",
            "a link's name has at most 15 bytes",
        ),
        (
            "-d macvlan -o parent=lan0 --subnet 10.77.0.0/24 --gateway 10.78.0.1 one",
            "no matching subnet for gateway 10.78.0.1",
        ),
    ] {
        refused(
            &host,
            &format!("docker network create {arguments}"),
            sentence,
        );
    }
    // Docker's client looks for this one itself.
    let subnets = [
        json!({"Subnet": "10.77.0.0/24"}),
        json!({"Subnet": "10.77.0.0/25"}),
    ];
    let body = json!({
        "Name": "one", "Driver": "macvlan", "Options": {"parent": PARENT}, "IPAM": {"Config": subnets}
    });
    let answer = host.api("POST", "/networks/create", Some(&body));
    assert_eq!(answer.status, 403);
    assert!(
        answer.body.contains("Pool overlaps with other one"),
        "{answer:?}"
    );
    let left = host.sh("docker network ls -q --filter type=custom").ok();
    assert_eq!(left, "");
    // What a kernel lacks it says.
    for (kind, module, arguments) in [
        ("ipvlan", "ipvlan", "-d ipvlan -o parent=lan0 one"),
        ("dummy", "dummy", "-d macvlan one"),
        ("vlan", "8021q", "-d macvlan -o parent=lan0.10 one"),
    ] {
        if !has(&host, kind) {
            let sentence = format!("the kernel has no {module}");
            refused(
                &host,
                &format!("docker network create {arguments}"),
                &sentence,
            );
        }
    }

    // After a reboot the parent may be missing.
    let mut host = host;
    host.sh(&format!("{MACVLAN} --subnet 10.77.0.0/24 wire"))
        .ok();
    host.sh("docker create --name c3 --network wire busybox sleep 1000")
        .ok();
    if host.engine == Engine::Dhow {
        host.kill_daemon();
        host.sh(&format!("ip link del {PARENT}")).ok();
        host.start_daemon();
        let log = host.daemon_log();
        assert!(log.contains("a network has no parent"), "{log}");
        refused(
            &host,
            "docker start c3",
            "the requested parent interface lan0 was not found on the Docker host",
        );
        let wire = Wire::new(&host);
        host.sh("docker start c3").ok();
        assert!(wire.reaches(&ip(&host, "c3", "wire")));
        wire.remove(&host);
    } else {
        wire.remove(&host);
    }
}

#[test]
fn parents_that_are_made_go_with_their_networks() {
    let mut host = TestHost::start();
    if !has(&host, "macvlan") || !has(&host, "vlan") || !has(&host, "dummy") {
        return;
    }
    let wire = Wire::new(&host);
    wire.run("ip link add link end name end.10 type vlan id 10 && ip link set end.10 up && ip addr add 10.80.0.1/24 dev end.10");
    let on_vlan = "docker network create -d macvlan -o parent=lan0.10";
    host.sh(&format!(
        "{on_vlan} --subnet 10.80.0.0/24 --gateway 10.80.0.1 tagged"
    ))
    .ok();
    assert!(has_link(&host, "lan0.10"));
    serve(&host, "c1", "--network tagged --ip 10.80.0.7");
    assert!(wire.reaches("10.80.0.7") && reaches(&host, "c1", "10.80.0.1"));
    // Of two networks on it the last one takes it.
    host.sh(&format!("{on_vlan} --subnet 10.81.0.0/24 second"))
        .ok();
    host.sh("docker rm -f c1 && docker network rm tagged").ok();
    assert!(has_link(&host, "lan0.10"));
    // A host that has started again has it no more.
    if host.engine == Engine::Dhow {
        host.stop_daemon();
        host.sh("ip link del lan0.10").ok();
        host.start_daemon();
        assert!(has_link(&host, "lan0.10"));
        // Nor need it be there later.
        host.sh("ip link del lan0.10").ok();
        serve(&host, "c1", "--network second --ip 10.81.0.7");
        assert!(has_link(&host, "lan0.10"));
        host.sh("docker rm -f c1").ok();
    }
    host.sh("docker network rm second").ok();
    assert!(!has_link(&host, "lan0.10"));
    // One that was there stays.
    host.sh("ip link add link lan0 name lan0.11 type vlan id 11")
        .ok();
    host.sh("docker network create -d macvlan -o parent=lan0.11 own && docker network rm own")
        .ok();
    assert!(has_link(&host, "lan0.11"));
    host.sh("ip link del lan0.11").ok();

    // Without a parent: containers reach each other, and nobody else.
    for driver in ["macvlan", "ipvlan"] {
        if !has(&host, driver) {
            continue;
        }
        let id = host
            .sh(&format!(
                "docker network create -d {driver} --subnet 10.82.0.0/24 --gateway 10.82.0.1 alone"
            ))
            .ok();
        let parent = format!(
            "{}-{}",
            if driver == "macvlan" { "dm" } else { "di" },
            &id[..12]
        );
        assert!(has_link(&host, &parent));
        serve(&host, "c1", "--network alone");
        serve(&host, "c2", "--network alone");
        assert!(reaches(&host, "c1", "c2"), "{driver}");
        assert!(!routes(&host, "c1").contains("default"), "{driver}");
        assert_eq!(endpoint(&host, "c1", "alone")["Gateway"], "", "{driver}");
        host.sh("docker rm -f c1 c2 && docker network prune -f")
            .ok();
        assert!(!has_link(&host, &parent), "{driver}");
    }
    wire.remove(&host);
}
