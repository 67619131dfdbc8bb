//! What a network leaves alone: bridges, ports and places of others; and what it still knows after it was left.

use dhow_tests::{Engine, TestHost, eventually};

const SERVE: &str = "busybox sh -c 'echo ahoy >/tmp/index.html; exec httpd -f -p 80 -h /tmp'";

fn answers(host: &TestHost, address: &str) -> bool {
    let page = host.sh(&format!("curl -s --max-time 5 http://{address}/"));
    page.stdout == "ahoy\n"
}

#[test]
fn a_bridge_of_somebody_else_stays_as_it_was() {
    let mut host = TestHost::start();
    host.sh("ip link add theirs mtu 1400 type bridge && ip addr add 192.0.2.1/24 dev theirs && ip addr add 10.9.0.1/24 dev theirs && ip link set theirs up")
        .ok();
    // Named as those of an engine are.
    host.sh("ip link add veth0a1b2c3 type veth peer name their-end && ip link set veth0a1b2c3 master theirs && ip link set veth0a1b2c3 up")
        .ok();
    let shown = |host: &TestHost| {
        let links = host.sh("ip -o -4 addr show dev theirs | awk '{print $4}'; ip -o link show dev theirs | grep -o 'mtu [0-9]*'; ip -o link show master theirs | grep -o veth0a1b2c3");
        links.ok()
    };
    let before = shown(&host);
    let create = "docker network create --subnet 10.9.0.0/24 --gateway 10.9.0.1 -o com.docker.network.bridge.name=theirs";
    host.sh(&format!("{create} shared")).ok();
    assert_eq!(shown(&host), before);
    host.sh("docker run --rm --network shared busybox ping -c 1 -W 5 10.9.0.1")
        .ok();
    if host.engine == Engine::Dhow {
        host.kill_daemon();
        host.start_daemon();
        assert_eq!(shown(&host), before);
    }
    host.sh("docker network rm shared").ok();
    assert_eq!(shown(&host), before);
    if host.engine == Engine::Dhow {
        // What it has no address for would be taken from it.
        let refused = host.sh(&format!("{} other", create.replace("10.9.", "10.8.")));
        assert_ne!(refused.code, 0);
        assert_eq!(shown(&host), before);
    }
    host.sh("ip link del theirs && ip link del veth0a1b2c3")
        .ok();
}

#[test]
fn what_others_publish_is_out_of_reach_from_within() {
    let host = TestHost::start();
    host.sh("docker network create --internal inner").ok();
    host.sh(&format!("docker run -d --name web -p 8080:80 {SERVE}"))
        .ok();
    host.sh("docker run -d --name shut --network inner busybox sleep 1000")
        .ok();
    eventually("it answers", || {
        answers(&host, "127.0.0.1:8080").then_some(())
    });
    let gateway = host
        .sh("docker network inspect -f '{{(index .IPAM.Config 0).Gateway}}' inner")
        .ok();
    let inside = format!(
        "docker exec shut wget -q -T 1 -O - http://{}:8080/",
        gateway.trim()
    );
    assert_ne!(host.sh(&inside).code, 0);
    // Neither does its own port get out while it is there alone, and it does with a way out.
    host.sh(&format!(
        "docker run -d --name late --network inner -p 8081:80 {SERVE}"
    ))
    .ok();
    assert!(!answers(&host, "127.0.0.1:8081"));
    host.sh("docker network create outer && docker network connect outer late")
        .ok();
    eventually("it answers", || {
        answers(&host, "127.0.0.1:8081").then_some(())
    });
    host.sh("docker network disconnect outer late").ok();
    assert!(!answers(&host, "127.0.0.1:8081"));
}

#[test]
fn names_come_back_with_a_network() {
    let mut host = TestHost::start();
    host.sh("docker network create red").ok();
    host.sh("docker run -d --name db --network red busybox sleep 1000")
        .ok();
    host.sh("docker run -d --name web busybox sleep 1000").ok();
    let finds = |host: &TestHost| host.sh("docker exec web ping -c 1 -W 5 db").code == 0;
    host.sh("docker network connect red web").ok();
    assert!(finds(&host));
    host.sh("docker network disconnect red web").ok();
    assert!(!finds(&host));
    if host.engine == Engine::Dhow {
        host.kill_daemon();
        host.start_daemon();
        assert!(!finds(&host));
    }
    host.sh("docker network connect red web").ok();
    assert!(finds(&host));
}

#[test]
fn a_network_that_is_entered_and_left_all_the_time_is_removed_once_it_is_empty() {
    let host = TestHost::start();
    host.sh("docker network create red").ok();
    let removing = host.spawn(
        "while docker network inspect red >/dev/null 2>&1; do docker network rm red >/dev/null 2>&1; docker network prune -f >/dev/null 2>&1; done",
    );
    let mut started = 0;
    for _ in 0..20 {
        let run = host.sh("docker run --rm --network red busybox true");
        if run.code != 0 {
            assert!(run.stderr.contains("red"), "{run:?}");
            break;
        }
        started += 1;
    }
    removing.finish().ok();
    let left = host.sh("docker network ls -q --filter name=red").ok();
    assert!(left.is_empty(), "{left} after {started} runs");
    assert!(!host.sh("ip -o link").stdout.contains("br-"));
    let again = host.sh("docker network create red && docker run --rm --network red busybox true");
    again.ok();
}

#[test]
fn containers_are_listed_by_their_networks() {
    let host = TestHost::start();
    let id = host.sh("docker network create red").ok();
    let id = id.trim();
    host.sh("docker create --name waits --network red busybox true")
        .ok();
    host.sh("docker run -d --name runs busybox sleep 1000 && docker network connect red runs")
        .ok();
    host.sh("docker run -d --name apart busybox sleep 1000")
        .ok();
    for reference in ["red", id] {
        let listed = host
            .sh(&format!(
                "docker ps -a --filter network={reference} --format '{{{{.Names}}}}' | sort"
            ))
            .ok();
        // By its id Docker knows only those of a network that have been started.
        let expected = match host.engine == Engine::Dockerd && reference == id {
            true => "runs",
            false => "runs\nwaits",
        };
        assert_eq!(listed, expected, "{reference}");
    }
}
