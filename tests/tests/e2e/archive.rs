//! Files into and out of containers: what is seen of them, what is refused, and what a container can do about it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use base64::Engine as _;
use dhow_tests::{Engine, TestHost, eventually};
use serde_json::Value;

const CLIENTS: [&str; 2] = ["docker", "dhow"];

#[test]
fn running_paused_and_stopped_containers() {
    let host = TestHost::start();
    host.sh("echo cargo >f && mkdir bound && echo bound >bound/f")
        .ok();
    host.sh("docker run -d --name box -v vol:/vol -v $PWD/bound:/bound --tmpfs /scratch busybox sh -c 'echo live >/scratch/f; echo vol >/vol/f; exec sleep 1000'")
        .ok();
    eventually("it has written", || {
        host.sh("docker exec box cat /vol/f")
            .stdout
            .contains("vol")
            .then_some(())
    });
    for (state, change) in [
        ("running", "true"),
        ("paused", "docker pause box"),
        ("stopped", "docker unpause box && docker stop -t 0 box"),
        (
            "never started",
            "docker rm box && docker create --name box -v vol:/vol -v $PWD/bound:/bound busybox",
        ),
    ] {
        host.sh(change).ok();
        for cli in CLIENTS {
            host.sh(&format!("{cli} cp f box:/root/{cli} && {cli} cp f box:/vol/{cli} && {cli} cp f box:/bound/{cli}")).ok();
            let file = host
                .sh(&format!("{cli} cp box:/root/{cli} - | tar -xO"))
                .ok();
            assert_eq!(file, "cargo", "{state}");
            for (place, contents) in [
                ("/vol/f", "vol"),
                ("/bound/f", "bound"),
                (&format!("/vol/{cli}"), "cargo"),
            ] {
                let file = host
                    .sh(&format!("{cli} cp box:{place} out && cat out"))
                    .ok();
                assert_eq!(file, contents, "{state}");
            }
            assert_eq!(
                std::fs::read_to_string(host.path(&format!("bound/{cli}"))).unwrap(),
                "cargo\n"
            );
            if state == "running" && host.engine == Engine::Dhow {
                // What the container sees, also where it is in memory.
                assert_eq!(
                    host.sh(&format!("{cli} cp box:/scratch/f - | tar -xO"))
                        .ok(),
                    "live"
                );
                assert_eq!(
                    host.sh(&format!("docker exec box cat /root/{cli} /vol/{cli}"))
                        .ok(),
                    "cargo\ncargo"
                );
            }
        }
        std::fs::remove_file(host.path("out")).unwrap();
    }
    // The files that the engine writes, and nothing of the kernel's.
    host.sh("docker run -d --name web --hostname ahoy busybox sleep 1000")
        .ok();
    for change in ["true", "docker kill web"] {
        host.sh(change).ok();
        assert_eq!(
            host.sh("dhow cp web:/etc/hostname - | tar -xO").ok(),
            "ahoy"
        );
        let list = host.sh("dhow cp web:/ - | tar -t").ok();
        let within = |place: &str| list.lines().filter(|l| l.starts_with(place)).count();
        assert!(within("/etc/") > 3, "{list}");
        assert!(within("/proc/") <= 1 && within("/sys/") <= 1, "{list}");
    }
    eventually("nothing is left", || {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let dir = host.dir().display().to_string();
        (!mounts.contains(&dir)).then_some(())
    });
}

/// The stat header of an answer.
fn stat(host: &TestHost, method: &str, path: &str) -> (u16, Value) {
    let answer = host.api(method, path, None);
    let stat = answer
        .header("x-docker-container-path-stat")
        .map_or(Value::Null, |stat| {
            let json = base64::engine::general_purpose::STANDARD
                .decode(stat)
                .unwrap();
            serde_json::from_slice(&json).unwrap()
        });
    (answer.status, stat)
}

#[test]
fn the_api_says_what_a_path_is() {
    let host = TestHost::start();
    host.sh("docker run --name box busybox sh -c 'mkdir -p /d/sub; echo 123 >/d/f; chmod 4750 /d/f; touch -d \"2001-02-03 04:05:06\" /d/f; ln -s ../d/./sub /d/l; ln -s /none/x /d/gone; mkfifo /d/p; chmod 1777 /d/sub'")
        .ok();
    let at = |path: &str| format!("/containers/box/archive?path={path}");
    for method in ["HEAD", "GET"] {
        let seen = |path: &str| {
            let (status, stat) = stat(&host, method, &at(path));
            assert_eq!(status, 200, "{path}");
            let text = |key: &str| stat[key].as_str().unwrap().to_owned();
            (
                text("name"),
                stat["mode"].as_u64().unwrap(),
                text("linkTarget"),
            )
        };
        let dir = 1 << 31;
        assert_eq!(seen("/d/f"), ("f".into(), 1 << 23 | 0o750, "".into()));
        assert_eq!(
            seen("d/sub"),
            ("sub".into(), dir | 1 << 20 | 0o777, "".into())
        );
        assert_eq!(seen("/d/l"), ("l".into(), 1 << 27 | 0o777, "/d/sub".into()));
        assert_eq!(
            seen("/d/l/"),
            ("l".into(), dir | 1 << 20 | 0o777, "".into())
        );
        assert_eq!(seen("/d/sub/.").0, ".");
        assert_eq!(seen("/d/gone").2, "/none/x");
        assert_eq!(seen("/d/p").1 & !0o777, 1 << 25);
        assert_eq!(seen("/").0, "/");
        let (_, stat) = stat(&host, method, &at("/d/f"));
        assert_eq!(stat["size"], 4);
        assert!(
            stat["mtime"]
                .as_str()
                .unwrap()
                .starts_with("2001-02-03T04:05:06"),
            "{stat}"
        );
        for (path, status) in [
            ("/containers/box/archive?path=/none", 404),
            ("/containers/nobox/archive?path=/", 404),
            ("/containers/box/archive?path=", 400),
            ("/containers/box/archive", 400),
        ] {
            assert_eq!(host.api(method, path, None).status, status, "{path}");
        }
    }
    let answer = host.api("GET", &at("/none"), None);
    assert_eq!(
        answer.json()["message"],
        "Could not find the file /none in container box"
    );
    let answer = host.api("GET", "/containers/box/archive", None);
    assert_eq!(
        answer.json()["message"],
        "bad parameter: path cannot be empty"
    );
    if host.engine == Engine::Dhow {
        let answer = host.api("GET", &at("/d/f/"), None);
        assert_eq!(answer.status, 400);
        assert_eq!(answer.json()["message"], "lstat /d/f/: not a directory");
    }
}

/// The events of a container's files.
#[test]
fn copies_are_told_of() {
    let host = TestHost::start();
    host.sh(
        "docker create --name box busybox && echo 1 >f && docker cp f box:/ && docker cp box:/f g",
    )
    .ok();
    let events = host
        .sh("docker events --since 1 --until $(($(date +%s) + 1)) --filter container=box --format '{{.Action}}'")
        .ok();
    let events: Vec<&str> = events.lines().filter(|e| *e != "create").collect();
    assert_eq!(events, ["extract-to-dir", "archive-path"]);
}

#[test]
fn what_is_read_only_stays_so() {
    let host = TestHost::start();
    host.sh("echo new >f && mkdir bound && echo old >bound/f")
        .ok();
    host.sh("docker run -d --name box --read-only --tmpfs /scratch -v vol:/vol -v $PWD/bound:/bound:ro busybox sleep 1000").ok();
    host.sh("docker run --rm -v vol:/vol busybox ln -s /bound /vol/out")
        .ok();
    for change in ["true", "docker kill box"] {
        host.sh(change).ok();
        for cli in CLIENTS {
            let refused = |to: &str| host.sh(&format!("{cli} cp f box:{to}")).fails(1);
            assert!(refused("/").contains("container rootfs is marked read-only"));
            assert!(refused("/etc").contains("container rootfs is marked read-only"));
            assert!(refused("/bound").contains("mounted volume is marked read-only"));
            host.sh(&format!("{cli} cp f box:/vol/")).ok();
            if host.engine == Engine::Dhow {
                // Through a link of the container's.
                let put =
                    host.sh("mkdir -p out && cp f out/f && tar -c out/f | docker cp - box:/vol");
                assert_ne!(put.code, 0, "{put:#?}");
            }
            host.sh(&format!("{cli} cp box:/bound/f - | tar -xO")).ok();
        }
    }
    assert_eq!(
        std::fs::read_to_string(host.path("bound/f")).unwrap(),
        "old\n"
    );
    let answer = host.api("PUT", "/containers/box/archive?path=/etc", None);
    assert_eq!(
        (answer.status, answer.json()["message"].as_str()),
        (400, Some("container rootfs is marked read-only"))
    );
}

/// A container that changes what is copied, to lead the copy out of it or to hold it up.
#[test]
fn a_hostile_container_leads_nowhere_else() {
    let host = TestHost::start();
    if host.engine != Engine::Dhow {
        return;
    }
    host.sh("mkdir -p canary in/x/y && echo secret >canary/f && echo untouched >canary/g && echo new >in/x/f && echo new >in/x/y/g").ok();
    let canary = host.path("canary");
    let script = format!(
        "mkdir -p /d && cd /d && while :; do ln -s {0} x; rm x; ln -s ../../../../../../..{0} x; rm x; mkdir -p x/y; mkfifo x/p; rm -rf x; ln -s /proc/1/root x; rm -f x; ln -s /proc/self/fd x; rm -f x; mkfifo x; rm -f x; done",
        canary.display()
    );
    host.sh(&format!(
        "docker run -d --name box --privileged busybox sh -c '{script}'"
    ))
    .ok();
    let patience = Duration::from_secs(20);
    for _ in 0..40 {
        // Whether it is found in time is luck.
        let out = host.sh_within(patience, "dhow cp box:/d/x/f - | tar -xO; dhow cp box:/d/x/ - | tar -xO; dhow cp box:/d - | tar -xO");
        assert!(!out.stdout.contains("secret"), "{out:#?}");
        host.sh_within(
            patience,
            "tar -C in -c x | dhow cp - box:/d; dhow cp in/x/f box:/d/x/g; dhow cp in/x box:/d/x",
        );
    }
    host.sh("docker rm -f box").ok();
    assert_eq!(
        std::fs::read_to_string(canary.join("g")).unwrap(),
        "untouched\n"
    );
    assert_eq!(std::fs::read_dir(&canary).unwrap().count(), 2);
    // An archive with links of its own.
    host.sh("docker create --name box busybox && mkdir evil && ln -s $PWD/canary evil/x && tar -C evil -cf evil.tar x && rm evil/x && mkdir evil/x && echo evil >evil/x/g && tar -C evil -rf evil.tar x/g && dhow cp - box:/srv <evil.tar; true").ok();
    assert_eq!(
        std::fs::read_to_string(canary.join("g")).unwrap(),
        "untouched\n"
    );
}

#[test]
fn a_slow_copy_holds_nobody_up() {
    let mut host = TestHost::start();
    if host.engine != Engine::Dhow {
        return;
    }
    host.sh("docker run -d --name box busybox sh -c 'dd if=/dev/urandom of=/big bs=1M count=64; echo done; exec sleep 1000'").ok();
    eventually("it has written", || {
        host.sh("docker logs box")
            .stdout
            .contains("done")
            .then_some(())
    });
    // A client that takes a little and then nothing more.
    let slow = "curl -s --unix-socket s 'http://d/containers/box/archive?path=/big' | (head -c 100000 >/dev/null; touch began; exec sleep 1000)";
    let begin = |host: &TestHost| {
        let _ = std::fs::remove_file(host.path("began"));
        let copy = host.spawn(slow);
        eventually("the copy has begun", || {
            host.path("began").exists().then_some(())
        });
        copy
    };
    let _copies: Vec<_> = (0..5).map(|_| begin(&host)).collect();
    // The copies take ten minutes.
    let soon = Duration::from_secs(60);
    host.sh_within(
        soon,
        "docker ps && docker inspect box && dhow cp box:/etc/passwd - && docker exec box true",
    )
    .ok();
    host.sh_within(soon, "docker stop -t 0 box").ok();
    // A stopped one that is removed: whoever copies is told that it is not all.
    let copy = host.spawn("curl -s --limit-rate 100k --unix-socket s 'http://d/containers/box/archive?path=/big' >part; echo code $?");
    eventually("the copy has begun", || {
        (host.path("part").metadata().ok()?.size() > 0).then_some(())
    });
    host.sh_within(soon, "docker rm box").ok();
    let told = copy.prints("code");
    assert!(told.contains("code 18"), "{told}: the transfer looks whole");
    // A daemon that is killed.
    host.sh("docker run --name again busybox sh -c 'dd if=/dev/zero of=/big bs=1M count=64'")
        .ok();
    let _copy = host.spawn(&slow.replace("box", "again"));
    std::fs::remove_file(host.path("began")).unwrap();
    eventually("the copy has begun", || {
        host.path("began").exists().then_some(())
    });
    host.kill_daemon();
    host.start_daemon();
    host.sh_within(
        soon,
        "docker start again && docker wait again && docker rm again",
    )
    .ok();
}

#[test]
fn copies_side_by_side() {
    let host = TestHost::start();
    host.sh("docker run -d --name run busybox sleep 1000 && docker create --name made busybox && mkdir in && seq 100000 >in/f").ok();
    let one = |n: usize, name: &str| {
        host.spawn(&format!("set -e; for i in 1 2 3; do dhow cp in {name}:/in{n}; docker cp {name}:/in{n}/f out{n}; cmp in/f out{n}; done"))
    };
    let all: Vec<_> = (0..8).map(|n| one(n, ["run", "made"][n % 2])).collect();
    for one in all {
        one.finish().ok();
    }
}

#[test]
fn files_that_are_mounted_are_written_in_place() {
    let host = TestHost::start();
    if host.engine != Engine::Dhow {
        return;
    }
    host.sh("echo old >f && docker run -d --name box -v $PWD/f:/etc/conf busybox sleep 1000 && mkdir in && echo new >in/conf && dhow cp in/conf box:/etc/conf").ok();
    assert_eq!(std::fs::read_to_string(host.path("f")).unwrap(), "new\n");
    let mode = std::fs::metadata(host.path("f"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o644);
}

#[test]
fn an_archive_is_compressed_for_who_takes_that() {
    let host = TestHost::start();
    host.sh("docker run --name box busybox sh -c 'seq 1 100000 >/numbers; echo 1 >/little'")
        .ok();
    let get = |asked: &str, path: &str| {
        host.sh(&format!(
            "curl -sf -D head {asked} --unix-socket s 'http://d/containers/box/archive?path={path}' >got"
        ))
        .ok();
        let head = host.sh("tr -d '\\r' <head").ok();
        let coding = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Encoding: "));
        coding.map(str::to_owned)
    };
    assert_eq!(get("", "/numbers"), None);
    host.sh("mv got plain").ok();
    for (asked, coding, unpack) in [
        ("gzip", Some("gzip"), "gzip -dc got"),
        (
            "gzip;q=0.1, deflate",
            Some("deflate"),
            "python3 -c 'import sys, zlib; sys.stdout.buffer.write(zlib.decompress(open(\"got\", \"rb\").read(), -15))'",
        ),
        ("br, identity", None, "cat got"),
    ] {
        let found = get(&format!("-H 'Accept-Encoding: {asked}'"), "/numbers");
        assert_eq!(found.as_deref(), coding);
        host.sh(&format!("{unpack} | cmp - plain")).ok();
        let (got, plain) = (host.path("got"), host.path("plain"));
        let size = |path| fs::metadata(path).unwrap().len();
        assert_eq!(size(got) < size(plain) / 4 * 3, coding.is_some());
    }
    assert_eq!(
        get("-H 'Accept-Encoding: gzip'", "/little").as_deref(),
        Some("gzip")
    );
    host.sh("gzip -dc got | tar -tf - | grep -x little").ok();
}
