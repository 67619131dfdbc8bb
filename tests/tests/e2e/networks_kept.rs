//! What containers keep on a network while they, or parts of it, are away.

use dhow_tests::TestHost;

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
