//! `--link`: another container's address under a name of one's own.

use dhow_tests::{Engine, TestHost, eventually};

fn address(host: &TestHost, name: &str) -> String {
    let address = host.inspect(name)["NetworkSettings"]["Networks"]["bridge"]["IPAddress"].take();
    address.as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_linked_container_is_found_by_its_alias_and_names() {
    let mut host = TestHost::start();
    host.sh("docker run -d --name db --hostname store busybox sleep 100000")
        .ok();
    host.sh("docker run -d --name web --link db:data --link db busybox sleep 100000")
        .ok();
    let ip = address(&host, "db");
    let hosts = host.sh("docker exec web cat /etc/hosts").ok();
    assert!(hosts.contains(&format!("{ip}\tdata store db")), "{hosts}");
    assert!(hosts.contains(&format!("{ip}\tdb store")), "{hosts}");
    host.sh("docker exec web ping -c 1 -W 5 data").ok();
    // Shown, and found, by what the other calls it.
    let links = host.inspect("web")["HostConfig"]["Links"].take();
    let mut links: Vec<&str> = links
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|l| l.as_str())
        .collect();
    links.sort_unstable();
    assert_eq!(links, ["/db:/web/data", "/db:/web/db"]);
    let names = host.sh("docker ps --no-trunc --filter name=^/db$ --format '{{.Names}}'");
    let names = names.ok();
    let mut names: Vec<&str> = names.split(',').collect();
    names.sort_unstable();
    assert_eq!(names, ["db", "web/data", "web/db"]);
    assert_eq!(host.id("web/data"), host.id("db"));

    // Back with another address, it is found at that; and what the container wrote into the file stays.
    host.sh("docker exec web sh -c 'echo 10.9.9.9 mine >> /etc/hosts'")
        .ok();
    host.sh(
        "docker stop -t 0 db && docker run -d --name other busybox sleep 100000 && docker start db",
    )
    .ok();
    let now = address(&host, "db");
    let hosts = host.sh("docker exec web cat /etc/hosts").ok();
    assert!(hosts.contains(&format!("{now}\tdata store db")), "{hosts}");
    assert_eq!(hosts.matches("data store").count(), 1, "{hosts}");
    if host.engine == Engine::Dhow {
        assert!(hosts.contains("10.9.9.9 mine"), "{hosts}");
        // By id, so that a new name is no harm; and the next daemon knows it.
        host.sh("docker rename db base").ok();
        host.kill_daemon();
        host.start_daemon();
        host.sh("docker restart -t 0 web").ok();
        let hosts = host.sh("docker exec web cat /etc/hosts").ok();
        assert!(
            hosts.contains(&format!("{now}\tdata store base")),
            "{hosts}"
        );
        host.sh("docker rename base db").ok();
    }

    // Taken away, it is gone from the running container, too.
    host.sh("docker rm --link web/data").ok();
    let hosts = host.sh("docker exec web cat /etc/hosts").ok();
    if host.engine == Engine::Dhow {
        assert!(!hosts.contains("data"), "{hosts}");
    }
    assert_ne!(host.sh("docker inspect web/data").code, 0);
    let refused = host.sh("docker rm --link web");
    assert!(
        refused
            .stderr
            .contains("cannot remove the default link name"),
        "{refused:?}"
    );

    // A link is taken away by its name alone, and nothing else that is called so.
    host.sh("docker run -d --name tells --link db:logs busybox sh -c 'echo told; sleep 100000'")
        .ok();
    eventually("the log has what was told", || {
        (host.sh("docker logs tells").ok() == "told").then_some(())
    });
    host.sh("docker rm --link tells/logs").ok();
    assert_ne!(host.sh("docker inspect tells/logs").code, 0);
    assert_eq!(host.sh("docker logs tells").ok(), "told");

    // Who is linked to must run.
    host.sh("docker stop -t 0 web db").ok();
    let refused = host.sh("docker start web");
    assert!(
        refused
            .stderr
            .contains("Cannot link to a non running container: /db AS /web/db"),
        "{refused:?}"
    );
    host.sh("docker rm -f db").ok();
    let refused = host.sh("docker start web");
    assert!(refused.stderr.contains("Cannot link to a"), "{refused:?}");
    if host.engine == Engine::Dhow {
        host.sh("docker rm --link web/db && docker start web").ok();
    }
}

#[test]
fn links_that_can_not_be() {
    let host = TestHost::start();
    host.sh("docker run -d --name db busybox sleep 100000").ok();
    host.sh("docker run -d --name on-host --network host busybox sleep 100000")
        .ok();
    for (arguments, why) in [
        ("--link nosuch:x", "could not get container for nosuch"),
        ("--link db:a:b", "bad format for links: db:a:b"),
        (
            "--network host --link db",
            "host type networking can't be used with links",
        ),
        (
            "--network container:db --link db",
            "container type network can't be used with links",
        ),
        (
            "--link on-host",
            "host type networking can't be used with links",
        ),
    ] {
        let refused = host.sh(&format!("docker create {arguments} busybox"));
        assert!(refused.stderr.contains(why), "{arguments}: {refused:?}");
    }
    assert_eq!(host.sh("docker ps -aq").ok().lines().count(), 2);
    // Our client has the flag, too.
    let hosts = "dhow run --rm --link db:data busybox grep -c data /etc/hosts";
    if host.engine == Engine::Dhow {
        assert_eq!(host.sh(hosts).ok(), "1");
    }
}
