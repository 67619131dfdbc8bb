//! Published ports that are changed while a container runs: what comes is reached, what goes is free, and what stays is not
//! disturbed, whatever becomes of the daemon meanwhile.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dhow_tests::http::Exchange;
use dhow_tests::{Engine, Random, TestHost, eventually};
use serde_json::{Value, json};

/// Answers on its ports 80 and 81, and gives back what it is told on 7.
const SERVE: &str = "busybox sh -c 'mkdir /tmp/b; echo eighty >/tmp/index.html; echo one >/tmp/b/index.html; \
                     httpd -p [::]:81 -h /tmp/b; nc -ll -p 7 -e cat & exec httpd -f -p [::]:80 -h /tmp'";

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const PATIENCE: Duration = Duration::from_secs(60);

/// These are what Dhow promises and a peer doesn't.
fn host() -> Option<TestHost> {
    let host = TestHost::start();
    (host.engine == Engine::Dhow).then_some(host)
}

fn page(host: &TestHost, address: &str) -> String {
    let got = host.sh(&format!("curl -g -s --max-time 5 http://{address}/"));
    got.stdout.trim_end().to_owned()
}

#[track_caller]
fn answers(host: &TestHost, address: &str, expected: &str) {
    eventually(&format!("{address} answers {expected}"), || {
        (page(host, address) == expected).then_some(())
    });
}

/// Whether a program gets a port of 127.0.0.1 that doesn't ask for one that may be in use (SO_REUSEADDR). One that does can get it
/// while a socket gives way to another, and no packet: translation comes first.
fn is_bound_plainly(port: u16) -> bool {
    use rustix::net::{AddressFamily, SocketType, bind, socket};
    let fd = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    let address = std::net::SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    bind(&fd, &address).is_ok()
}

/// Whether a program of the host can have a port.
fn is_free(host: &TestHost, ip: Ipv4Addr, port: u16) -> bool {
    host.netns.run(|| TcpListener::bind((ip, port))).is_ok()
}

fn ports(host: &TestHost, name: &str) -> Vec<String> {
    let shown = host.sh(&format!("docker port {name}")).ok();
    shown.lines().map(str::to_owned).collect()
}

fn defined(host: &TestHost, name: &str) -> Value {
    host.inspect(name)["HostConfig"]["PortBindings"].take()
}

fn echo(stream: &mut TcpStream) {
    let mut back = [0; 4];
    stream.write_all(b"ahoy").unwrap();
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"ahoy");
}

#[test]
fn ports_come_and_go_while_others_are_in_use() {
    let Some(host) = host() else { return };
    host.sh(&format!(
        "docker run -d --name web -p 7000:7 -p 8080:80 -p 127.0.0.1:8081:80 {SERVE}"
    ))
    .ok();
    answers(&host, "127.0.0.1:8080", "eighty");
    answers(&host, "127.0.0.1:8081", "eighty");
    let mut stream = eventually("somebody listens", || {
        host.netns.run(|| TcpStream::connect("127.0.0.1:7000")).ok()
    });
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    echo(&mut stream);

    let line = "dhow update --publish-add 8082:80 --publish-add 8090-8091:80-81 --publish-add 53:53/udp --publish-rm 127.0.0.1:8081 web";
    assert_eq!(host.sh(line).ok(), "web");
    assert_eq!(page(&host, "127.0.0.1:8081"), "");
    for (port, expected) in [
        (8080, "eighty"),
        (8082, "eighty"),
        (8090, "eighty"),
        (8091, "one"),
    ] {
        assert_eq!(page(&host, &format!("127.0.0.1:{port}")), expected);
        assert!(!is_free(&host, ANY, port), "{port}");
    }
    echo(&mut stream);
    assert_eq!(
        ports(&host, "web"),
        [
            "7/tcp -> 0.0.0.0:7000",
            "53/udp -> 0.0.0.0:53",
            "80/tcp -> 0.0.0.0:8080",
            "80/tcp -> 0.0.0.0:8082",
            "80/tcp -> 0.0.0.0:8090",
            "81/tcp -> 0.0.0.0:8091",
        ]
    );
    let listed = host.sh("docker ps --format '{{.Ports}}'").ok();
    assert!(
        listed.contains("0.0.0.0:8082->80/tcp") && !listed.contains("8081"),
        "{listed}"
    );
    let shown = host.inspect("web");
    assert!(shown["Config"]["ExposedPorts"]["53/udp"].is_object());
    assert_eq!(
        shown["HostConfig"]["PortBindings"]["81/tcp"],
        json!([{"HostIp": "", "HostPort": "8091"}])
    );
    assert_eq!(
        shown["NetworkSettings"]["Ports"]["81/tcp"],
        json!([{"HostIp": "0.0.0.0", "HostPort": "8091"}])
    );
    let told = "docker events --since 1h --until $(date +%s.%N) -f event=update --format '{{.Actor.Attributes.name}}'";
    assert_eq!(host.sh(told).ok(), "web");
    // What went is anybody's at once.
    host.sh(&format!("docker run -d --name other -p 8081:80 {SERVE}"))
        .ok();
    answers(&host, "127.0.0.1:8081", "eighty");

    // What is taken, by a container and by a program, and what is none: nothing is changed then.
    let before = (ports(&host, "web"), defined(&host, "web"));
    let listener = host.netns.run(|| TcpListener::bind((ANY, 5001))).unwrap();
    for (flags, why) in [
        (
            "--publish-add 8085:80 --publish-add 8081:80",
            "Bind for 0.0.0.0:8081 failed: port is already allocated",
        ),
        (
            "--publish-rm 8082 --publish-add 8085:80 --publish-add 5001:80",
            "failed to bind host port 0.0.0.0:5001/tcp: address already in use",
        ),
        (
            "--publish-rm 8082 --publish-rm 8088:80",
            "port 8088->80/tcp is not published",
        ),
        (
            "--publish-add 8082:81",
            "port 8082/tcp of the host is published by this container already",
        ),
        ("--publish-add 8085:80 -m 1", "Minimum memory limit"),
    ] {
        let refused = host.sh(&format!("dhow update {flags} web")).fails(1);
        assert!(refused.contains(why), "{refused}");
        assert_eq!(
            (ports(&host, "web"), defined(&host, "web")),
            before,
            "{flags}"
        );
        assert!(
            is_free(&host, ANY, 8085) && !is_free(&host, ANY, 8082),
            "{flags}"
        );
        assert_eq!(page(&host, "127.0.0.1:8082"), "eighty");
    }
    drop(listener);
    for (body, status) in [
        (json!({"PublishAdd": {"x": []}}), 400),
        (
            json!({"PublishAdd": {"80/tcp": [{"HostPort": "99999"}]}}),
            400,
        ),
        (
            json!({"PublishAdd": {"80/tcp": [{"HostIp": "::", "HostPort": "8085"}]}}),
            400,
        ),
        (json!({"PublishAdd": {"80/tcp": "8080"}}), 400),
        (json!({"PublishRemove": {"tcp": [{"HostPort": "x"}]}}), 400),
        (json!({"PublishRemove": {"82/tcp": null}}), 409),
        (
            json!({"PublishAdd": {"80/tcp": [{"HostPort": "8081"}]}}),
            500,
        ),
    ] {
        let answer = host.api("POST", "/containers/web/update", Some(&body));
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        assert!(answer.json()["message"].is_string());
    }
    assert_eq!((ports(&host, "web"), defined(&host, "web")), before);
    echo(&mut stream);
    // A connection outlives its port.
    host.sh("dhow update --publish-rm 7000 web").ok();
    echo(&mut stream);
    let again = host.netns.run(|| TcpStream::connect("127.0.0.1:7000"));
    assert!(again.is_err());
    host.sh("docker rm -f web other").ok();
}

/// A port that goes and comes in one change is free for nobody in between.
#[test]
fn a_port_changes_its_meaning_without_being_free() {
    let Some(host) = host() else { return };
    host.sh(&format!(
        "docker run -d --name web -p 8080:80 -p 9000:80/udp {SERVE}"
    ))
    .ok();
    answers(&host, "127.0.0.1:8080", "eighty");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let strangers = scope.spawn(|| {
            host.netns.run(|| {
                let mut tries = 0;
                while !over.load(Ordering::Acquire) {
                    assert!(!is_bound_plainly(8080), "the port was free");
                    tries += 1;
                    std::thread::sleep(Duration::from_micros(200));
                }
                tries
            })
        });
        for (change, address, expected) in [
            (
                "--publish-rm 8080:80 --publish-add 8080:81",
                "0.0.0.0",
                "one",
            ),
            (
                "--publish-rm 8080 --publish-add 127.0.0.1:8080:80",
                "127.0.0.1",
                "eighty",
            ),
            (
                "--publish-rm 127.0.0.1:8080 --publish-add 0.0.0.0:8080:81",
                "0.0.0.0",
                "one",
            ),
        ] {
            host.sh(&format!("dhow update {change} web")).ok();
            assert_eq!(page(&host, "127.0.0.1:8080"), expected, "{change}");
            let shown = ports(&host, "web");
            assert!(
                shown
                    .iter()
                    .any(|p| p.ends_with(&format!("-> {address}:8080"))),
                "{shown:?}"
            );
            let others = Ipv4Addr::new(127, 0, 0, 9);
            assert_eq!(
                is_free(&host, others, 8080),
                address != "0.0.0.0",
                "{change}"
            );
        }
        // On one address of two there is a stranger: what was there stays.
        host.sh("dhow update --publish-rm 8080 --publish-add 127.0.0.1:8080:80 web")
            .ok();
        let stranger = host
            .netns
            .run(|| TcpListener::bind((Ipv4Addr::new(127, 0, 0, 9), 8080)));
        let stranger = stranger.unwrap();
        let refused = host
            .sh("dhow update --publish-rm 8080 --publish-add 8080:81 web")
            .fails(1);
        assert!(refused.contains("address already in use"), "{refused}");
        assert_eq!(page(&host, "127.0.0.1:8080"), "eighty");
        drop(stranger);
        host.sh("dhow update --publish-rm 9000/udp --publish-add 127.0.0.1:9000:80/udp web")
            .ok();
        let bound = host
            .netns
            .run(|| UdpSocket::bind((Ipv4Addr::LOCALHOST, 9000)));
        assert!(bound.is_err());
        over.store(true, Ordering::Release);
        assert!(strangers.join().unwrap() > 0);
    });
    host.sh("docker rm -f web").ok();
}

/// As the daemon that published a port is not the one that takes it back, and of many ports that travel together single ones go.
#[test]
fn changes_hold_over_restarts() {
    let Some(mut host) = host() else { return };
    host.sh(&format!(
        "docker run -d --name web -p 8000-8039:80-119 {SERVE}"
    ))
    .ok();
    answers(&host, "127.0.0.1:8000", "eighty");
    host.sh("dhow update --publish-add 8050:80 web").ok();
    host.kill_daemon();
    assert_eq!(page(&host, "127.0.0.1:8050"), "eighty");
    host.start_daemon();
    host.sh("dhow update --publish-rm 8000-8001 --publish-rm 8050:80 --publish-add 8051-8070:80 --publish-add 8052:80 web")
        .ok();
    let check = |host: &TestHost| {
        for port in (8000..8040).chain(8050..8054) {
            let published = (8002..8040).contains(&port) || port == 8051 || port == 8052;
            assert_eq!(is_free(host, ANY, port), !published, "{port}");
        }
        for port in [8051, 8052] {
            answers(host, &format!("127.0.0.1:{port}"), "eighty");
        }
        assert_eq!(ports(host, "web").len(), 40);
    };
    check(&host);
    host.kill_daemon();
    host.start_daemon();
    check(&host);
    // The other one of the two has what is left of the range.
    host.sh("docker restart -t 0 web").ok();
    answers(&host, "127.0.0.1:8052", "eighty");
    let mut shown = ports(&host, "web");
    shown.retain(|port| port.starts_with("80/tcp"));
    assert_eq!(shown, ["80/tcp -> 0.0.0.0:8051", "80/tcp -> 0.0.0.0:8052"]);
    check(&host);
    // One that is no more published is another's, after all of this.
    host.sh(&format!("docker run -d --name other -p 8000:80 {SERVE}"))
        .ok();
    host.sh("dhow update --publish-rm 8002-8039 --publish-rm :80 web")
        .ok();
    assert_eq!(ports(&host, "web"), [""; 0]);
    assert!((8001..8060).all(|port| is_free(&host, ANY, port)));
    host.sh("docker rm -f web other").ok();
}

#[test]
fn of_one_that_does_not_run() {
    let Some(host) = host() else { return };
    host.sh(&format!("docker create --name web -p 8080:80 {SERVE}"))
        .ok();
    host.sh("dhow update --publish-add 8081:80 --publish-rm 8080:80 web")
        .ok();
    assert_eq!(
        defined(&host, "web"),
        json!({"80/tcp": [{"HostIp": "", "HostPort": "8081"}]})
    );
    let refused = host.sh("dhow update --publish-rm 8080 web").fails(1);
    assert!(
        refused.contains("port 8080/tcp is not published"),
        "{refused}"
    );
    host.sh("docker start web").ok();
    answers(&host, "127.0.0.1:8081", "eighty");
    assert!(is_free(&host, ANY, 8080));
    // A port that was chosen is named by what it is, and all that are exposed go one by one too.
    host.sh(&format!(
        "docker run -d --name all -P --expose 80 --expose 81 {SERVE}"
    ))
    .ok();
    let chosen = host.sh("docker port all 81").ok();
    let chosen = chosen.strip_prefix("0.0.0.0:").expect("a port");
    host.sh(&format!("dhow update --publish-rm {chosen}:81 all"))
        .ok();
    let left = ports(&host, "all");
    assert!(
        left.len() == 1 && left[0].starts_with("80/tcp -> "),
        "{left:?}"
    );
    host.sh("docker restart -t 0 all").ok();
    assert_eq!(ports(&host, "all").len(), 1);
    // Those that have no network of their own.
    host.sh("docker run -d --name guest --network container:all busybox sleep 1000")
        .ok();
    let refused = host.sh("dhow update --publish-add 80 guest").fails(1);
    assert!(
        refused
            .contains("conflicting options: port publishing and the container type network mode"),
        "{refused}"
    );
    for mode in ["host", "none"] {
        host.sh(&format!(
            "docker run -d --name {mode} --network {mode} busybox sleep 1000"
        ))
        .ok();
        let done = host.sh(&format!("dhow update --publish-add 8090:80 {mode}"));
        let warned = done
            .stderr
            .contains("Published ports are discarded when using host network mode");
        assert_eq!((done.code, warned), (0, mode == "host"), "{done:?}");
        assert!(is_free(&host, ANY, 8090));
        host.sh(&format!("dhow update --publish-rm 8090 {mode}"))
            .ok();
        assert_eq!(defined(&host, mode), json!({}));
    }
    // It is on a network without a way out, then on one with.
    host.sh("docker network create --internal inner && docker network create out")
        .ok();
    host.sh(&format!("docker run -d --name in --network inner {SERVE}"))
        .ok();
    host.sh("dhow update --publish-add 8091:80 in").ok();
    assert!(is_free(&host, ANY, 8091));
    host.sh("docker network connect out in").ok();
    answers(&host, "127.0.0.1:8091", "eighty");
    host.sh("dhow update --publish-rm 8091 in").ok();
    assert!(is_free(&host, ANY, 8091));
    host.sh("docker rm -f web all guest host none in && docker network rm inner out")
        .ok();
}

#[test]
fn in_both_families() {
    let Some(host) = host() else { return };
    host.sh("docker network create --ipv6 both").ok();
    host.sh(&format!(
        "docker run -d --name web --network both -p 8080:80 {SERVE}"
    ))
    .ok();
    answers(&host, "127.0.0.1:8080", "eighty");
    let is_free6 = |port: u16| {
        let bound = host
            .netns
            .run(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)));
        bound.is_ok()
    };
    let config = host
        .sh("docker network inspect -f '{{(index .IPAM.Config 1).Gateway}}' both")
        .ok();
    let gateway = config.split('/').next().unwrap_or_default().to_owned();
    host.sh("dhow update --publish-add 8081:81 web").ok();
    assert_eq!(page(&host, &format!("[{gateway}]:8081")), "one");
    assert_eq!(page(&host, "127.0.0.1:8081"), "one");
    // One family, and then the other.
    host.sh("dhow update --publish-rm [::]:8081:81 web").ok();
    assert_eq!(page(&host, &format!("[{gateway}]:8081")), "");
    assert_eq!(page(&host, "127.0.0.1:8081"), "one");
    assert!(!is_free(&host, ANY, 8081));
    assert_eq!(
        defined(&host, "web")["81/tcp"],
        json!([{"HostIp": "0.0.0.0", "HostPort": "8081"}])
    );
    host.sh("dhow update --publish-rm 8081 --publish-rm 8080 web")
        .ok();
    assert!(is_free(&host, ANY, 8081) && is_free(&host, ANY, 8080) && is_free6(8080));
    assert_eq!(ports(&host, "web"), [""; 0]);
    host.sh("docker rm -f web && docker network rm both").ok();
}

/// The daemon is killed at any instant of a change: the next one has the old ports or the new ones, in its records, in its
/// rules, and in what is kept bound.
#[test]
fn a_change_is_done_or_not() {
    let Some(mut host) = host() else { return };
    let mut random = Random::seeded();
    host.sh(&format!(
        "docker run -d --name web -p 8000-8019:80 -p 8080:80 {SERVE}"
    ))
    .ok();
    answers(&host, "127.0.0.1:8080", "eighty");
    let (mut done, mut undone) = (0, 0);
    let sets = [[8080, 8081], [8082, 8083]];
    let change = |from: &[u16], to: &[u16]| {
        let of = |ports: &[u16]| -> Value {
            ports
                .iter()
                .map(|p| json!({"HostPort": p.to_string()}))
                .collect()
        };
        json!({"PublishAdd": {"80/tcp": of(to)}, "PublishRemove": {"80/tcp": of(from)}})
    };
    host.sh("dhow update --publish-add 8081:80 web").ok();
    let mut now = 0;
    for _ in 0..12 {
        let body = change(&sets[now], &sets[1 - now]);
        let path = "/v1.45/containers/web/update";
        let exchange =
            Exchange::begin(&host.socket(), "POST", path, Some(&body), PATIENCE).unwrap();
        std::thread::sleep(Duration::from_micros(random.below(6_000)));
        host.kill_daemon();
        let answered = exchange.answer().is_ok_and(|answer| answer.status == 200);
        host.start_daemon();
        let shown: Vec<u16> = defined(&host, "web")["80/tcp"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|b| b["HostPort"].as_str()?.parse().ok())
            .collect();
        let is_new = sets[1 - now].iter().all(|p| shown.contains(p));
        assert!(is_new || !answered, "what was answered is not so");
        match is_new {
            true => done += 1,
            false => undone += 1,
        }
        now = if is_new { 1 - now } else { now };
        let mut expected = vec![];
        for port in [8080, 8081, 8082, 8083] {
            let published = sets[now].contains(&port);
            assert_eq!(shown.contains(&port), published, "{port} of {shown:?}");
            assert_eq!(is_free(&host, ANY, port), !published, "{port}");
            let got = page(&host, &format!("127.0.0.1:{port}"));
            assert_eq!(got == "eighty", published, "{port}");
            expected.extend(published.then(|| format!("80/tcp -> 0.0.0.0:{port}")));
        }
        let shown = ports(&host, "web");
        assert!(
            expected.iter().all(|port| shown.contains(port)),
            "{shown:?}"
        );
        assert_eq!(shown.len(), 3, "{shown:?}");
    }
    println!("{done} changes were done, {undone} were not");
    // Two at once are one after the other, and a client that goes away leaves nothing half done.
    let at_once: Vec<_> = (0..8)
        .map(|i| {
            host.spawn(&format!(
                "dhow update --publish-add 81{i}0:80 web && dhow update --publish-rm 81{i}0 web"
            ))
        })
        .collect();
    for one in at_once {
        eventually("it is done", || {
            one.stdout().matches("web").nth(1).map(drop)
        });
    }
    for port in 8190..8194 {
        let path = "/v1.45/containers/web/update";
        let body = json!({"PublishAdd": {"80/tcp": [{"HostPort": port.to_string()}]}});
        let gone = Exchange::begin(&host.socket(), "POST", path, Some(&body), PATIENCE).unwrap();
        std::thread::sleep(Duration::from_micros(random.below(2_000)));
        drop(gone);
        let state = eventually("it is done or not", || {
            let shown = ports(&host, "web").contains(&format!("80/tcp -> 0.0.0.0:{port}"));
            let said = defined(&host, "web")
                .to_string()
                .contains(&format!("\"{port}\""));
            let all = [shown, said, !is_free(&host, ANY, port)];
            all.iter().all(|one| *one == shown).then_some(shown)
        });
        let got = page(&host, &format!("127.0.0.1:{port}"));
        assert!(!state || got == "eighty", "{port}");
    }
    host.sh("docker stop -t 0 web").ok();
    for port in [8000, 8080, 8081, 8082, 8083, 8100, 8190, 8191] {
        assert!(is_free(&host, ANY, port), "{port}");
    }
    host.sh("docker rm web").ok();
}
