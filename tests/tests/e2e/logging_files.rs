//! Log drivers that keep files: their options, their rotation and compression, what `logs` makes of them, and
//! taking logs away.

use std::path::{Path, PathBuf};

use dhow_tests::{HostOptions, TestHost, eventually};
use serde_json::json;

fn log_path(host: &TestHost, name: &str) -> PathBuf {
    let path = host.inspect(name)["LogPath"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(!path.is_empty(), "{name} has a LogPath");
    path.into()
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The file of the `local` driver, which inspect does not show.
fn local_path(host: &TestHost, name: &str) -> PathBuf {
    let id = host.id(name);
    host.data_root()
        .join(format!("containers/{id}/{id}-local.log"))
}

#[test]
fn attributes_are_in_each_line_and_in_the_details() {
    let host = TestHost::start();
    host.sh(
        "docker run --name tagged --label l1=x --label 'l2=a b&c' --label other=1 -e COLOUR=red -e COLD=1 \
         --log-opt labels=l1,nosuch --log-opt labels-regex=^l2 --log-opt env=COLOUR --log-opt env-regex=^COL \
         --log-opt 'tag={{.ImageName}}/{{.Name}}/{{.ID}}' busybox sh -c 'echo one; echo two >&2'",
    )
    .ok();
    let id = &host.id("tagged")[..12];
    let line = std::fs::read_to_string(log_path(&host, "tagged")).unwrap();
    let first: serde_json::Value = serde_json::from_str(line.lines().next().unwrap()).unwrap();
    assert_eq!(
        first["attrs"],
        json!({
            "COLD": "1", "COLOUR": "red", "l1": "x", "l2": "a b&c", "tag": format!("busybox/tagged/{id}"),
        })
    );
    let details = format!("COLD=1,COLOUR=red,l1=x,l2=a+b%26c,tag=busybox%2Ftagged%2F{id}");
    let shown = host.sh("docker logs --details tagged");
    assert_eq!(shown.stdout, format!("{details} one\n"));
    assert_eq!(shown.stderr, format!("{details} two\n"));
    let stamped = host.sh("docker logs -t --details --tail 1 tagged").stderr;
    assert!(
        stamped.ends_with(&format!("Z {details} two\n")),
        "{stamped}"
    );
    // Without any, there is a space, as with Docker.
    host.sh("docker run --name plain busybox echo hello").ok();
    assert_eq!(host.sh("docker logs --details plain").stdout, " hello\n");
    // The local driver has them as well.
    host.sh("docker run --name local --log-driver local --label l=1 --log-opt labels=l --log-opt tag=t busybox echo hello")
        .ok();
    assert_eq!(
        host.sh("docker logs --details local").stdout,
        "l=1,tag=t hello\n"
    );
    assert_eq!(host.sh("docker logs local").stdout, "hello\n");
}

#[test]
fn options_are_checked_at_creation() {
    let host = TestHost::start();
    for (options, message) in [
        (
            "--log-opt colour=red",
            "unknown log opt 'colour' for json-file log driver",
        ),
        ("--log-opt max-size=ten", "invalid size: 'ten'"),
        ("--log-opt max-file=0", "max-file cannot be less than 1"),
        (
            "--log-opt max-size=1m --log-opt compress=true",
            "compress cannot be true when max-file is less than 2",
        ),
        (
            "--log-opt mode=sometimes",
            "logger: logging mode not supported: sometimes",
        ),
        (
            "--log-opt max-buffer-size=1m",
            "only supported with 'mode=non-blocking'",
        ),
        ("--log-opt tag={{.Nothing}}", "Nothing"),
        ("--log-opt labels-regex=[", "error parsing regexp"),
        (
            "--log-driver local --log-opt syslog-address=x",
            "unknown log opt 'syslog-address' for log driver local",
        ),
        (
            "--log-driver gelf",
            "no log driver named 'gelf' is registered",
        ),
        (
            "--log-driver fluentd",
            "no log driver named 'fluentd' is registered",
        ),
    ] {
        let refused = host
            .sh(&format!("docker create {options} busybox"))
            .fails(1);
        assert!(refused.contains(message), "{options}: {refused}");
    }
    let body = json!({"Image": "busybox", "HostConfig": {"LogConfig": {"Type": "splunk"}}});
    assert_eq!(
        host.api("POST", "/v1.45/containers/create", Some(&body))
            .status,
        400
    );
    let drivers = host.sh("docker info -f '{{.Plugins.Log}}'").ok();
    assert!(
        drivers.contains("json-file local") && drivers.contains("none"),
        "{drivers}"
    );
    // These are all fine, and a container with them says what it says.
    host.sh(
        "docker run --name fine --log-opt mode=non-blocking --log-opt max-buffer-size=2m --log-opt max-size=-1 \
         busybox echo fine",
    )
    .ok();
    assert_eq!(host.sh("docker logs fine").ok(), "fine");
}

/// Files are compressed when they are rotated, and `logs` reads across all of them.
fn rotates(host: &TestHost, name: &str, options: &str, path: impl Fn(&TestHost, &str) -> PathBuf) {
    host.sh(&format!(
        "docker run -d --name {name} {options} --log-opt max-file=4 --log-opt compress=true \
         busybox sh -c 'for i in $(seq 1 500); do echo line $i of a text that is compressed; done; \
         until [ -e /go ]; do sleep 0.05; done; for i in $(seq 501 2000); do echo line $i; done; sleep 1000'"
    ))
    .ok();
    let path = path(host, name);
    let all = |last: u32| {
        eventually("the last line is logged", || {
            let out = host.sh(&format!("docker logs --tail 1 {name}")).ok();
            out.starts_with(&format!("line {last}")).then_some(())
        });
        let out = host.sh(&format!("docker logs {name}")).ok();
        let count = out.lines().count();
        // None is missing in between, and none is there twice.
        let first = last as usize + 1 - count;
        for (at, line) in out.lines().enumerate() {
            assert!(
                line.starts_with(&format!("line {}", first + at)),
                "{line} at {at}"
            );
        }
        count
    };
    eventually("a file is compressed", || {
        (beside(&path, ".1.gz").exists() && !beside(&path, ".1").exists()).then_some(())
    });
    all(500);
    let follow = host.spawn(&format!("docker logs -f --tail 3 {name}"));
    follow.prints("line 500 of a text");
    host.sh(&format!("docker exec {name} touch /go")).ok();
    let count = all(2000);
    assert!(
        count < 2000,
        "{count} lines are left of the last four files"
    );
    eventually("all are compressed", || {
        let plain = (1..4).any(|n| beside(&path, &format!(".{n}")).exists());
        (!plain && beside(&path, ".3.gz").exists()).then_some(())
    });
    assert!(!beside(&path, ".4.gz").exists() && !beside(&path, ".gz.tmp").exists());
    assert_eq!(all(2000), count);
    let tail = host
        .sh(&format!("docker logs --tail {} {name}", count - 1))
        .ok();
    assert_eq!(tail.lines().count(), count - 1);
    let stamps = host.sh(&format!("docker logs -t {name}")).ok();
    let lines: Vec<_> = stamps
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .collect();
    let (middle, text) = lines[count / 2];
    let since = host
        .sh(&format!("docker logs --since {middle} {name}"))
        .ok();
    assert!(
        since.lines().any(|line| line == text),
        "{text} is in {since}"
    );
    let until = host
        .sh(&format!("docker logs --until {middle} {name}"))
        .ok();
    assert!(
        until.lines().any(|line| line == text),
        "{text} is in {until}"
    );
    // What is read at once has one time.
    assert!(!until.contains("line 2000") || middle == lines[count - 1].0);
    host.sh(&format!("docker rm -f {name}")).ok();
    let followed = follow.finish().stdout;
    let followed: Vec<_> = followed.lines().collect();
    // A file that is rotated away before a reader came to it is gone; what it read is in order, to the end.
    assert_eq!(followed.last().copied(), Some("line 2000"));
}

#[test]
fn rotated_files_are_compressed_and_read() {
    let host = TestHost::start();
    rotates(&host, "rotated", "--log-opt max-size=20k", log_path);
    rotates(
        &host,
        "small",
        "--log-driver local --log-opt max-size=8k",
        local_path,
    );
}

#[test]
fn logs_are_bounded_without_a_word() {
    let host = TestHost::start();
    // About 60 MB of log in lines of 130 bytes: more than one file, less than all.
    host.sh(
        "docker run -d --name chatty busybox sh -c 'yes abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz | head -n 450000; echo last; sleep 1000'",
    )
    .ok();
    let path = log_path(&host, "chatty");
    eventually("all is logged", || {
        (host.sh("docker logs --tail 1 chatty").ok() == "last").then_some(())
    });
    let size = |suffix: &str| std::fs::metadata(beside(&path, suffix)).map_or(0, |m| m.len());
    assert!(
        size(".1") >= 20 << 20 && size(".2") >= 20 << 20,
        "two files are full"
    );
    assert!(size("") < 21 << 20 && size(".1") < 21 << 20);
    assert_eq!(host.sh("docker logs chatty | wc -l").ok(), "450001");
    // What the container was created with is shown as it was, and a log in one file keeps its last lines.
    assert_eq!(
        host.inspect("chatty")["HostConfig"]["LogConfig"],
        json!({"Type": "json-file", "Config": {}})
    );
    host.sh("docker run --name one --log-opt max-size=2k busybox seq 1 1000")
        .ok();
    let kept = host.sh("docker logs one").ok();
    assert!(
        kept.ends_with("999\n1000") && kept.lines().count() > 10,
        "{kept}"
    );
    let path = log_path(&host, "one");
    let total: u64 = ["", ".1"]
        .iter()
        .filter_map(|suffix| std::fs::metadata(beside(&path, suffix)).ok())
        .map(|metadata| metadata.len())
        .sum();
    assert!(total < 2200, "{total} bytes");
}

#[test]
fn the_daemons_defaults_are_each_containers() {
    let mut host = TestHost::with(HostOptions {
        daemon: [
            "--log-driver=local",
            "--log-opt=max-size=8k",
            "--log-opt=max-file=2",
            "--log-opt=tag={{.Name}}",
        ]
        .map(str::to_owned)
        .to_vec(),
        ..HostOptions::default()
    });
    host.sh("docker run --name first busybox seq 1 2000").ok();
    host.sh("docker run --name second --log-driver local --log-opt max-file=3 busybox echo hello")
        .ok();
    host.sh("docker run --name third --log-driver json-file busybox echo hello")
        .ok();
    let config = |name: &str| host.inspect(name)["HostConfig"]["LogConfig"].clone();
    assert_eq!(
        config("first"),
        json!({"Type": "local", "Config": {"max-size": "8k", "max-file": "2", "tag": "{{.Name}}"}})
    );
    assert_eq!(config("second")["Config"]["max-file"], "3");
    assert_eq!(config("second")["Config"]["max-size"], "8k");
    assert_eq!(config("third"), json!({"Type": "json-file", "Config": {}}));
    assert_eq!(host.inspect("first")["LogPath"], "");
    assert_eq!(
        host.sh("docker logs --details second").stdout,
        "tag=second hello\n"
    );
    let kept = host.sh("docker logs first").ok();
    assert!(
        kept.ends_with("1999\n2000") && kept.lines().count() < 1000,
        "{kept}"
    );
    assert_eq!(host.sh("docker info -f '{{.LoggingDriver}}'").ok(), "local");
    // A daemon does not begin with what no container could have.
    host.stop_daemon();
    let refused = host.sh("dhow daemon --log-driver gelf --validate").fails(1);
    assert!(
        refused.contains("no log driver named 'gelf' is registered"),
        "{refused}"
    );
    let refused = host
        .sh("dhow daemon --log-opt colour=red --validate")
        .fails(1);
    assert!(
        refused.contains("unknown log opt 'colour' for json-file log driver"),
        "{refused}"
    );
}

#[test]
fn bytes_are_kept_by_the_local_driver_as_they_came() {
    let host = TestHost::start();
    host.sh(
        "docker run --name raw --log-driver local busybox sh -c \
         'printf \"a\\377\\000b\\tc\\n\\n\"; head -c 40000 /dev/zero | tr \"\\0\" x; echo; printf end'",
    )
    .ok();
    let out = host.sh("docker logs raw | od -An -c | head -1").ok();
    assert_eq!(
        out.split_whitespace().collect::<Vec<_>>(),
        [
            "a", "377", "\\0", "b", "\\t", "c", "\\n", "\\n", "x", "x", "x", "x", "x", "x", "x",
            "x"
        ]
    );
    let lines = host
        .sh("docker logs raw | tail -n 2 | awk '{print length($0)}'")
        .ok();
    assert_eq!(lines, "40000\n3");
    assert_eq!(host.sh("docker logs --tail 1 raw").stdout, "end");
    assert_eq!(
        host.sh("docker logs -t --tail 2 raw | grep -o Z | wc -l")
            .ok(),
        "2"
    );
}

#[test]
fn logs_can_be_taken_away() {
    let host = TestHost::start();
    for driver in ["json-file", "local"] {
        host.sh(&format!(
            "docker run -d --name {driver} --log-driver {driver} --log-opt max-size=10k --log-opt max-file=3 --log-opt compress=true \
             busybox sh -c 'seq 1 1000; i=0; while true; do until [ -e /go$i ]; do sleep 0.05; done; echo after $i; i=$((i+1)); done'"
        ))
        .ok();
        eventually("all is logged", || {
            (host.sh(&format!("docker logs --tail 1 {driver}")).ok() == "1000").then_some(())
        });
        let follow = host.spawn(&format!("docker logs -f --tail 1 {driver}"));
        follow.prints("1000\n");
        assert_eq!(host.sh(&format!("dhow logs --clear {driver}")).ok(), "");
        assert_eq!(host.sh(&format!("docker logs {driver}")).ok(), "");
        host.sh(&format!("docker exec {driver} touch /go0")).ok();
        // Who follows sees what comes, and what comes is kept.
        follow.prints("1000\nafter 0\n");
        eventually("it is logged", || {
            (host.sh(&format!("docker logs {driver}")).ok() == "after 0").then_some(())
        });
        let path = if driver == "local" {
            local_path(&host, driver)
        } else {
            log_path(&host, driver)
        };
        assert!(!beside(&path, ".1").exists() && !beside(&path, ".1.gz").exists());
        // Also of a container that does not run.
        host.sh(&format!("docker kill {driver}")).ok();
        assert_eq!(follow.finish().stdout, "1000\nafter 0\n");
        assert_eq!(host.sh(&format!("docker logs {driver}")).ok(), "after 0");
        host.sh(&format!("dhow logs --clear {driver}")).ok();
        assert_eq!(host.sh(&format!("docker logs {driver}")).ok(), "");
        host.sh(&format!("docker start {driver}")).ok();
        eventually("it logs again", || {
            host.sh(&format!("docker logs --tail 1 {driver}"))
                .ok()
                .contains("after 0")
                .then_some(())
        });
        assert_eq!(
            host.api(
                "POST",
                &format!("/v1.45/containers/{driver}/clear-logs"),
                None
            )
            .status,
            204
        );
    }
    host.sh("docker create --name none --log-driver none busybox")
        .ok();
    let refused = host.sh("dhow logs --clear none").fails(1);
    assert!(
        refused.contains("keeps no log that could be cleared"),
        "{refused}"
    );
    let refused = host.sh("dhow logs --clear nosuch").fails(1);
    assert!(refused.contains("No such container: nosuch"), "{refused}");
    let refused = host.sh("dhow logs --clear -f local").fails(1);
    assert!(
        refused.contains("--clear shows nothing: leave --follow out"),
        "{refused}"
    );
}
