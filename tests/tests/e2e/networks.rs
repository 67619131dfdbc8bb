//! Networks of a client's own: made, shown, joined and left while containers run, and removed.

use dhow_tests::{Engine, TestHost, eventually};
use serde_json::Value;

fn network(host: &TestHost, name: &str) -> Value {
    let text = host.sh(&format!("docker network inspect {name}")).ok();
    serde_json::from_str::<Value>(&text).expect("inspect prints JSON")[0].take()
}

/// Runs what is to fail, with this in what it says.
fn refused(host: &TestHost, command: &str, sentence: &str) {
    let done = host.sh(command);
    assert!(
        done.code != 0 && done.stderr.contains(sentence),
        "{command}: {done:?}"
    );
}

/// A container's address on a network.
fn address(host: &TestHost, container: &str, network: &str) -> String {
    let shown = host.inspect(container);
    let ip = &shown["NetworkSettings"]["Networks"][network]["IPAddress"];
    ip.as_str().unwrap_or_default().to_owned()
}

/// Whether one container reaches another's address.
fn reaches(host: &TestHost, from: &str, ip: &str) -> bool {
    let ping = format!("docker exec {from} ping -c 1 -W 1 {ip}");
    host.sh(&ping).code == 0
}

#[test]
fn a_network_from_its_making_to_its_end() {
    let host = TestHost::start();
    let id = host.sh("docker network create --label a=b red").ok();
    assert_eq!(id.len(), 64);
    let shown = network(&host, "red");
    assert_eq!(shown["Id"], id.as_str());
    assert_eq!(shown["Driver"], "bridge");
    assert_eq!(shown["Scope"], "local");
    assert_eq!(shown["Labels"]["a"], "b");
    let config = &shown["IPAM"]["Config"][0];
    assert!(config["Subnet"].as_str().is_some_and(|s| s.contains('/')));
    assert!(config["Gateway"].is_string());
    // By a part of its id.
    assert_eq!(network(&host, &id[..12])["Name"], "red");

    refused(
        &host,
        "docker network create red",
        "Error response from daemon: network with name red already exists",
    );
    for filter in ["name=re", "label=a=b", "type=custom", "dangling=true"] {
        let found = host
            .sh(&format!(
                "docker network ls --filter {filter} --format '{{{{.Name}}}}'"
            ))
            .ok();
        assert_eq!(found, "red", "{filter}");
    }
    host.sh("docker run -d --name c1 --network red busybox sleep 1000")
        .ok();
    assert_eq!(
        host.sh("docker network ls -q --filter dangling=true").ok(),
        ""
    );
    let endpoint = host.inspect("c1")["NetworkSettings"]["Networks"]["red"].take();
    assert_eq!(endpoint["NetworkID"], id.as_str());
    let on = network(&host, "red")["Containers"].take();
    let on: Vec<&Value> = on
        .as_object()
        .into_iter()
        .flatten()
        .map(|(_, v)| v)
        .collect();
    assert_eq!(on.len(), 1);
    assert_eq!(on[0]["Name"], "c1");
    assert_eq!(on[0]["EndpointID"], endpoint["EndpointID"]);
    let kept = host.sh("docker network rm red");
    let start = "error while removing network: network red has active endpoints (name:\"c1\"";
    assert!(kept.stderr.contains(start), "{}", kept.stderr);
    // One that does not run does not keep it, and starts no more without it.
    host.sh("docker stop -t 0 c1 && docker network prune -f")
        .ok();
    refused(&host, "docker network inspect red", "red not found");
    refused(&host, "docker start c1", "network");
    for name in ["bridge", "host", "none"] {
        refused(
            &host,
            &format!("docker network rm {name}"),
            &format!("{name} is a pre-defined network and cannot be removed"),
        );
    }
}

#[test]
fn what_is_asked_for_is_checked() {
    let host = TestHost::start();
    for (arguments, sentence) in [
        ("--subnet 10.1.2.3/24 one", "invalid subnet 10.1.2.3/24"),
        (
            "--subnet 10.1.2.0/24 --gateway 10.1.3.1 one",
            "no matching subnet for gateway 10.1.3.1",
        ),
        ("-d nosuch one", "plugin \"nosuch\" not found"),
        (
            "bridge",
            "operation is not permitted on predefined bridge network",
        ),
        (
            "-d host one",
            "only one instance of \"host\" network is allowed",
        ),
        (
            "-d null one",
            "only one instance of \"null\" network is allowed",
        ),
    ] {
        refused(
            &host,
            &format!("docker network create {arguments}"),
            sentence,
        );
    }
    host.sh("docker network create --subnet 10.1.2.0/24 one")
        .ok();
    refused(
        &host,
        "docker network create --subnet 10.1.0.0/16 two",
        "Pool overlaps with other one on this address space",
    );
    host.sh("docker network create three").ok();
    for (arguments, sentence) in [
        (
            "--network one --ip 10.9.9.9",
            "no configured subnet contains IP address 10.9.9.9",
        ),
        (
            "--network three --ip 10.9.9.9",
            "no configured subnet contains IP address 10.9.9.9",
        ),
        ("--ip 10.9.9.9", "IP address is supported on user"),
        ("--network nosuch", "network nosuch not found"),
        (
            "--network-alias a",
            "network-scoped aliases are only supported for user-defined networks",
        ),
    ] {
        refused(
            &host,
            &format!("docker run --rm {arguments} busybox true"),
            sentence,
        );
    }
    host.sh("docker ps -aq | xargs -r docker rm").ok();
    host.sh("docker run -d --name c1 --network one --ip 10.1.2.77 busybox sleep 1000")
        .ok();
    assert_eq!(address(&host, "c1", "one"), "10.1.2.77");
    refused(
        &host,
        "docker run --rm --network one --ip 10.1.2.77 busybox true",
        "Address already in use",
    );
    refused(
        &host,
        "docker network connect one c1",
        "endpoint with name c1 already exists in network one",
    );
    refused(
        &host,
        "docker network connect nosuch c1",
        "network nosuch not found",
    );
    refused(
        &host,
        "docker network connect one nosuch",
        "No such container: nosuch",
    );
    refused(
        &host,
        "docker network disconnect three c1",
        "is not connected to",
    );
    host.sh("docker run -d --name inhost --network host busybox sleep 1000")
        .ok();
    refused(
        &host,
        "docker network connect one inhost",
        "container sharing network namespace with another container or host cannot be connected to any other network",
    );
}

#[test]
fn containers_reach_those_on_their_networks_alone() {
    let host = TestHost::start();
    host.sh("docker network create red && docker network create blue && docker network create --internal inner")
        .ok();
    for (name, on) in [("r", "red"), ("b", "blue"), ("i", "inner"), ("d", "bridge")] {
        host.sh(&format!(
            "docker run -d --name {name}1 --network {on} busybox sleep 1000"
        ))
        .ok();
    }
    let [red, blue, inner, default] = [
        ("r1", "red"),
        ("b1", "blue"),
        ("i1", "inner"),
        ("d1", "bridge"),
    ]
    .map(|(container, network)| address(&host, container, network));
    for other in [&blue, &inner, &default] {
        assert!(!reaches(&host, "r1", other), "{other}");
    }
    assert!(!reaches(&host, "i1", &red));
    // While it runs.
    host.sh("docker network connect blue r1 && docker network connect inner r1")
        .ok();
    assert!(reaches(&host, "r1", &blue));
    assert!(reaches(&host, "b1", &address(&host, "r1", "blue")));
    assert!(reaches(&host, "r1", &inner));
    // Its way out is one of them, and another's if that goes.
    let gateway = |network: &str| {
        let shown = host.inspect("r1")["NetworkSettings"]["Networks"][network].take();
        shown["Gateway"].as_str().unwrap_or_default().to_owned()
    };
    let route = || host.sh("docker exec r1 ip route show default").ok();
    assert!(
        route().contains(&format!("via {} ", gateway("blue"))),
        "{}",
        route()
    );
    host.sh("docker network disconnect blue r1").ok();
    assert!(
        route().contains(&format!("via {} ", gateway("red"))),
        "{}",
        route()
    );
    assert!(!reaches(&host, "r1", &blue));
    host.sh("docker network disconnect red r1").ok();
    assert!(!route().contains("via"), "{}", route());
    assert!(reaches(&host, "r1", &inner));
    // What it is on holds over a new start.
    host.sh("docker restart -t 0 r1").ok();
    let networks = host.inspect("r1")["NetworkSettings"]["Networks"].take();
    let networks: Vec<_> = networks
        .as_object()
        .into_iter()
        .flatten()
        .map(|(n, _)| n)
        .collect();
    assert_eq!(networks, ["inner"]);
    assert!(reaches(&host, "r1", &inner));
}

#[test]
fn ports_follow_the_way_out() {
    let host = TestHost::start();
    host.sh("docker network create alpha && docker network create beta")
        .ok();
    let serve = "busybox sh -c 'echo ahoy >/tmp/index.html; exec httpd -f -p 80 -h /tmp'";
    host.sh(&format!(
        "docker run -d --name web --network beta -p 8080:80 {serve}"
    ))
    .ok();
    let answers = || {
        eventually("it answers", || {
            let page = host
                .sh("curl -s --max-time 5 http://127.0.0.1:8080/")
                .stdout;
            page.eq("ahoy\n").then_some(())
        });
    };
    answers();
    host.sh("docker network connect alpha web").ok();
    answers();
    host.sh("docker network disconnect alpha web").ok();
    answers();
    host.sh("docker network connect alpha web && docker network disconnect beta web")
        .ok();
    answers();
    let ports = host.sh("docker port web").ok();
    assert!(ports.starts_with("80/tcp -> 0.0.0.0:8080"), "{ports}");
    host.sh("docker rm -f web").ok();
    host.sh(&format!(
        "docker run -d --name web --network beta -p 8080:80 {serve}"
    ))
    .ok();
    answers();
}

#[test]
fn networks_outlast_the_daemon() {
    let mut host = TestHost::start();
    if host.engine == Engine::Dockerd {
        return;
    }
    host.sh("docker network create --subnet 10.5.0.0/24 red && docker network create blue")
        .ok();
    let serve = "busybox sh -c 'echo ahoy >/tmp/index.html; exec httpd -f -p 80 -h /tmp'";
    host.sh(&format!(
        "docker run -d --name web --network red -p 8080:80 {serve}"
    ))
    .ok();
    host.sh("docker network connect blue web").ok();
    let before = host.inspect("web")["NetworkSettings"].take();
    host.kill_daemon();
    host.start_daemon();
    assert_eq!(host.inspect("web")["NetworkSettings"], before);
    eventually("it answers", || {
        let page = host
            .sh("curl -s --max-time 5 http://127.0.0.1:8080/")
            .stdout;
        page.eq("ahoy\n").then_some(())
    });
    refused(&host, "docker network rm red", "has active endpoints");
    // No address is given twice.
    host.sh("docker run -d --name other --network red busybox sleep 1000")
        .ok();
    assert_ne!(address(&host, "other", "red"), address(&host, "web", "red"));
    assert!(reaches(&host, "other", &address(&host, "web", "red")));
    host.sh("docker rm -f web other && docker network rm red blue")
        .ok();
    assert!(!host.sh("ip -o link").stdout.contains("br-"));
}

/// Whether a container finds an address under a name.
fn finds(host: &TestHost, from: &str, name: &str, ip: &str) -> bool {
    let found = host.sh(&format!("docker exec {from} ping -c 1 -W 5 {name}"));
    found.code == 0 && found.stdout.contains(&format!("({ip})"))
}

#[test]
fn names_are_found_on_ones_own_networks() {
    let host = TestHost::start();
    host.sh("docker network create red && docker network create blue && docker network create --internal inner")
        .ok();
    host.sh("docker run -d --name db --network red --network-alias database --hostname store busybox sleep 1000")
        .ok();
    let id = host
        .sh("docker run -d --name web --network red busybox sleep 1000")
        .ok();
    let ip = address(&host, "db", "red");
    for name in ["db", "DB", "database", "store", "db.red"] {
        assert!(finds(&host, "web", name, &ip), "{name}");
    }
    assert!(finds(&host, "db", &id[..12], &address(&host, "web", "red")));
    let conf = host.sh("docker exec web cat /etc/resolv.conf").ok();
    assert!(
        conf.contains("nameserver 127.0.0.11\n") && conf.contains("ndots:0"),
        "{conf}"
    );
    let back = host.sh(&format!("docker exec web nslookup {ip}")).stdout;
    assert!(back.contains("name = db.red"), "{back}");

    // One of the default network, which is told none, is told those of the others that it joins.
    host.sh("docker run -d --name late busybox sleep 1000").ok();
    assert!(!finds(&host, "late", "db", &ip));
    host.sh("docker network connect --alias latest red late")
        .ok();
    assert!(finds(&host, "late", "db", &ip));
    assert!(finds(
        &host,
        "web",
        "latest",
        &address(&host, "late", "red")
    ));
    host.sh("docker network disconnect red late").ok();
    assert!(!finds(&host, "web", "latest", ""));

    // Names of one's own for others.
    host.sh("docker run -d --name linked --network red --link db:data busybox sleep 1000")
        .ok();
    assert!(finds(&host, "linked", "data", &ip));
    assert!(!finds(&host, "web", "data", &ip));

    host.sh("docker rename db base").ok();
    assert!(finds(&host, "web", "base", &ip));
    assert!(!finds(&host, "web", "db", &ip));
    host.sh("docker rm -f base").ok();
    assert!(!finds(&host, "web", "base", &ip));
}

/// What serves port 53 itself is not in the way, nor is the name server in its.
#[test]
fn a_container_may_have_a_name_server_of_its_own() {
    let host = TestHost::start();
    host.sh("docker network create red").ok();
    host.sh("docker run -d --name db --network red busybox sleep 1000")
        .ok();
    host.sh("docker run -d --name named --network red busybox sh -c 'echo ahoy >/tmp/index.html; nc -u -l -p 53 & exec httpd -f -p 53 -h /tmp'")
        .ok();
    assert!(finds(&host, "named", "db", &address(&host, "db", "red")));
    let named = address(&host, "named", "red");
    eventually("its own server answers", || {
        let said = host
            .sh(&format!("curl -s --max-time 5 http://{named}:53/"))
            .stdout;
        said.contains("ahoy").then_some(())
    });
}

#[test]
fn what_is_asked_while_no_daemon_runs_is_answered_by_the_next() {
    let mut host = TestHost::start();
    if host.engine == Engine::Dockerd {
        return;
    }
    host.sh("docker network create red").ok();
    host.sh("docker run -d --name db --network red busybox sleep 1000")
        .ok();
    let ip = address(&host, "db", "red");
    // It asks again and again, and writes down what it has found.
    host.sh("docker run -d --name web --network red busybox sh -c 'while true; do echo asks; nslookup db >/dev/null && echo found || echo lost; usleep 20000; done'")
        .ok();
    let said = |host: &TestHost, word: &str| {
        let log = host.data_root().join("containers");
        let lines = host
            .sh(&format!("cat {}/*/*-json.log", log.display()))
            .stdout;
        lines.matches(word).count()
    };
    eventually("names are found", || {
        (said(&host, "found") > 2).then_some(())
    });
    host.kill_daemon();
    let asked = said(&host, "asks");
    eventually("it asks while no daemon runs", || {
        (said(&host, "asks") > asked).then_some(())
    });
    host.start_daemon();
    let found = said(&host, "found");
    eventually("names are found again", || {
        (said(&host, "found") > found + 2).then_some(())
    });
    // The killed daemon may have read one that it did not come to answer.
    assert!(said(&host, "lost") <= 1);
    assert!(finds(&host, "web", "db", &ip));
}
