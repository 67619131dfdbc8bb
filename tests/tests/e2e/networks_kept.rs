//! What containers keep on a network while they, or parts of it, are away.

use dhow_tests::{Engine, TestHost, eventually};

fn address(host: &TestHost, container: &str) -> String {
    host.sh(&format!(
        "docker inspect -f '{{{{range .NetworkSettings.Networks}}}}{{{{.IPAddress}}}}{{{{end}}}}' {container}"
    ))
    .ok()
    .trim()
    .to_owned()
}

#[test]
fn an_address_that_was_asked_for_is_kept_while_its_container_does_not_run() {
    let mut host = TestHost::start();
    if host.engine != Engine::Dhow {
        // Docker gives it to whoever comes.
        return;
    }
    let run = |host: &TestHost, name: &str| {
        host.sh(&format!(
            "docker run -d --name {name} --network small busybox sleep 1000"
        ))
    };
    host.sh("docker network create --subnet 10.9.0.0/29 small")
        .ok();
    host.sh("docker create --name fixed --network small --ip 10.9.0.2 busybox sleep 1000")
        .ok();
    for (name, last) in [("aa", 3), ("bb", 4)] {
        run(&host, name).ok();
        assert_eq!(address(&host, name), format!("10.9.0.{last}"));
    }
    host.kill_daemon();
    host.start_daemon();
    for (name, last) in [("cc", 5), ("dd", 6)] {
        run(&host, name).ok();
        assert_eq!(address(&host, name), format!("10.9.0.{last}"));
    }
    let full = run(&host, "ee").fails(125);
    assert!(full.contains("no available IPv4 addresses"), "{full}");
    host.sh("docker start fixed").ok();
    assert_eq!(address(&host, "fixed"), "10.9.0.2");
    // One that is to take its place may ask for the same.
    host.sh("docker create --name next --network small --ip 10.9.0.2 busybox sleep 1000")
        .ok();
    let taken = host.sh("docker start next").fails(1);
    assert!(taken.contains("Address already in use"), "{taken}");
    host.sh("docker rm -f fixed && docker start next").ok();
    assert_eq!(address(&host, "next"), "10.9.0.2");
    // Whoever is on the network no longer, or no longer there, keeps nothing.
    host.sh("docker stop -t 0 next && docker network disconnect small next && docker start ee")
        .ok();
    assert_eq!(address(&host, "ee"), "10.9.0.2");
    host.sh("docker rm -f $(docker ps -aq) && docker network rm small")
        .ok();
}

#[test]
fn a_network_that_is_made_again_keeps_what_is_asked_for_of_its_name() {
    let host = TestHost::start();
    if host.engine != Engine::Dhow {
        return;
    }
    let create = "docker network create --subnet 10.9.0.0/24 again";
    host.sh(create).ok();
    host.sh("docker create --name fixed --network again --ip 10.9.0.2 busybox sleep 1000")
        .ok();
    host.sh(&format!("docker network rm again && {create}"))
        .ok();
    host.sh("docker run -d --name other --network again busybox sleep 1000")
        .ok();
    assert_eq!(address(&host, "other"), "10.9.0.3");
    host.sh("docker start fixed").ok();
    assert_eq!(address(&host, "fixed"), "10.9.0.2");
}

#[test]
fn bridges_that_another_program_deletes_are_back_with_their_containers() {
    let mut host = TestHost::start();
    if host.engine != Engine::Dhow {
        return;
    }
    host.sh("docker network create -o com.docker.network.bridge.name=red0 red")
        .ok();
    for (name, network) in [("aa", "red"), ("bb", "red"), ("cc", "bridge")] {
        host.sh(&format!(
            "docker run -d --name {name} --network {network} busybox sleep 1000"
        ))
        .ok();
    }
    let own = host.inspect("bridge")["Options"]["com.docker.network.bridge.name"].clone();
    let own = own.as_str().unwrap().to_owned();
    let gateway = host
        .sh("docker network inspect -f '{{(index .IPAM.Config 0).Gateway}}' bridge")
        .ok();
    let works = |host: &TestHost| {
        let pings = [
            "aa ping -c 1 -W 2 bb".to_owned(),
            format!("cc ping -c 1 -W 2 {gateway}"),
        ];
        pings
            .iter()
            .all(|ping| host.sh(&format!("docker exec {ping}")).code == 0)
    };
    assert!(works(&host));
    host.sh(&format!("ip link del red0 && ip link del {own}"))
        .ok();
    eventually("all reach each other again", || works(&host).then_some(()));
    let log = host.daemon_log();
    assert!(log.contains("another program deleted this bridge"), "{log}");
    host.sh("docker run --rm --network red busybox ping -c 1 -W 5 bb")
        .ok();
    // Deleted while nobody looks.
    host.kill_daemon();
    host.sh(&format!("ip link del red0 && ip link del {own}"))
        .ok();
    host.start_daemon();
    assert!(works(&host));
    // What is removed on purpose stays so.
    host.sh("docker rm -f aa bb && docker network rm red").ok();
    host.sh("ip link show dev red0").fails(1);
}
