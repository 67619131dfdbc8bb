//! What is asked of a container's link beyond its place on a network: its name, addresses of its own, and settings.

use dhow_tests::{Engine, HostOptions, TestHost, eventually};

#[test]
fn a_link_has_the_name_addresses_and_settings_that_were_asked_for() {
    let host = TestHost::start();
    host.sh("docker network create red && docker network create blue")
        .ok();
    let sysctls = "com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1";
    let name = "com.docker.network.endpoint.ifname=crew0";
    // Docker's client takes one setting by each of these; the API takes several, parted by commas.
    host.sh(&format!(
        "docker run -d --name it --network name=red,link-local-ip=169.254.7.7,driver-opt={name},driver-opt={sysctls} busybox sleep 1000"
    ))
    .ok();
    let inside = |command: &str| host.sh(&format!("docker exec it {command}"));
    let shown = inside("ip -o -4 addr show dev crew0").ok();
    assert!(shown.contains("169.254.7.7/16"), "{shown}");
    let setting = "cat /proc/sys/net/ipv4/conf";
    assert_eq!(inside(&format!("{setting}/crew0/log_martians")).ok(), "1");
    let config = &host.inspect("it")["NetworkSettings"]["Networks"]["red"]["IPAMConfig"];
    assert_eq!(config["LinkLocalIPs"][0], "169.254.7.7");
    // The next is the first that has a number.
    host.sh("docker network connect --link-local-ip 169.254.8.8 blue it")
        .ok();
    let shown = inside("ip -o -4 addr show dev eth0").ok();
    assert!(shown.contains("169.254.8.8/16"), "{shown}");
    host.sh("docker network disconnect blue it").ok();
    host.sh(&format!(
        "docker network connect --driver-opt {sysctls} blue it"
    ))
    .ok();
    assert_eq!(inside(&format!("{setting}/eth0/log_martians")).ok(), "1");
    host.sh("docker restart -t 0 it").ok();
    assert_eq!(inside(&format!("{setting}/crew0/log_martians")).ok(), "1");

    // On the default network as well.
    let seen = host
        .sh(&format!(
            "docker run --rm --network name=bridge,driver-opt={name} busybox ip -o link show dev crew0"
        ))
        .ok();
    assert!(seen.contains("crew0"), "{seen}");

    for (options, sentence) in [
        (
            "driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.eth0.log_martians=1",
            "unrecognised network interface sysctl 'net.ipv4.conf.eth0.log_martians=1'",
        ),
        (
            "driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.no_such=1",
            "no_such",
        ),
        ("link-local-ip=0.0.0.0", "invalid link-local IP address"),
    ] {
        let refused = host
            .sh(&format!(
                "docker run --rm --network name=red,{options} busybox true"
            ))
            .fails(125);
        assert!(refused.contains(sentence), "{options}: {refused}");
    }
    if host.engine == Engine::Dhow {
        for bad in ["no/name", "sixteen-letters-", "..", "lo"] {
            let refused = host
                .sh(&format!(
                    "docker run --rm --network name=red,driver-opt=com.docker.network.endpoint.ifname={bad} busybox true"
                ))
                .fails(125);
            assert!(refused.contains("invalid interface name"), "{refused}");
        }
    }
    host.sh("docker rm -f it && docker network rm red blue")
        .ok();
}

#[test]
fn the_default_network_knows_names_where_that_is_asked_for() {
    if Engine::under_test() != Engine::Dhow {
        return;
    }
    let mut host = TestHost::with(HostOptions {
        daemon: vec!["--bridge-names".to_owned()],
        ..HostOptions::default()
    });
    for name in ["aa", "bb"] {
        host.sh(&format!("docker run -d --name {name} busybox sleep 1000"))
            .ok();
    }
    let reaches = |host: &TestHost, name: &str| {
        host.sh(&format!("docker exec aa ping -c 1 -W 5 {name}"))
            .code
            == 0
    };
    assert!(reaches(&host, "bb") && reaches(&host, "bb.bridge"));
    assert!(!reaches(&host, "cc"));
    host.sh("docker rename bb cc").ok();
    eventually("its new name is known", || {
        reaches(&host, "cc").then_some(())
    });
    host.kill_daemon();
    host.start_daemon();
    assert!(reaches(&host, "cc"));
}

#[test]
fn who_shares_a_network_is_told_of_its_changes() {
    let host = TestHost::start();
    host.sh(
        "docker network create red && docker run -d --name other --network red busybox sleep 1000",
    )
    .ok();
    host.sh("docker run -d --name owner busybox sleep 1000")
        .ok();
    host.sh("docker run -d --name guest --network container:owner busybox sleep 1000")
        .ok();
    host.sh("docker network connect red owner").ok();
    let files = "cat /etc/hosts /etc/resolv.conf";
    let of = |name: &str| host.sh(&format!("docker exec {name} {files}")).ok();
    assert!(of("guest").contains("nameserver 127.0.0.11"));
    assert_eq!(of("guest"), of("owner"));
    host.sh("docker exec guest ping -c 1 -W 5 other").ok();
    // Both are there when the one that it is of goes, and at the next start of both.
    host.sh("docker rm -f owner").ok();
    assert!(of("guest").contains("nameserver 127.0.0.11"));
    host.sh("docker run -d --name owner2 busybox sleep 1000")
        .ok();
    host.sh("docker rm -f guest && docker run -d --name guest --network container:owner2 busybox sleep 1000")
        .ok();
    host.sh("docker restart -t 0 owner2 && docker restart -t 0 guest")
        .ok();
    assert_eq!(of("guest"), of("owner2"));
}
