//! `docker logs`: what a container wrote, kept by the shim.

use dhow_tests::TestHost;

#[test]
fn logs_of_both_streams() {
    let host = TestHost::start();
    host.sh("docker run --name both busybox sh -c 'echo out; echo err >&2; printf last'")
        .ok();
    let finished = host.sh("docker logs both");
    assert_eq!(
        (finished.stdout.as_str(), finished.stderr.as_str()),
        ("out\nlast", "err\n")
    );
    // They are still there after it started again.
    host.sh("docker start -a both").ok();
    assert_eq!(host.sh("docker logs both").stdout, "out\nlastout\nlast");
}

#[test]
fn tail() {
    let host = TestHost::start();
    host.sh("docker run --name lines busybox seq 1 1000").ok();
    assert_eq!(host.sh("docker logs --tail 3 lines").ok(), "998\n999\n1000");
    assert_eq!(host.sh("docker logs --tail 0 lines").ok(), "");
    assert_eq!(host.sh("docker logs -n all lines | wc -l").ok(), "1000");
    assert_eq!(host.sh("docker logs -n 5000 lines | wc -l").ok(), "1000");
}

#[test]
fn timestamps_and_times() {
    let host = TestHost::start();
    host.sh("docker run --name timed busybox sh -c 'echo first; sleep 2; echo second'")
        .ok();
    let stamped = host.sh("docker logs -t timed").ok();
    let lines: Vec<_> = stamped.lines().collect();
    assert_eq!(lines.len(), 2);
    // RFC 3339 with nine digits of nanoseconds.
    let (stamp, text) = lines[1].split_once(' ').unwrap();
    assert_eq!(text, "second");
    assert!(stamp.len() == 30 && stamp.ends_with('Z'), "{stamp}");
    assert_eq!(
        host.sh(&format!("docker logs --since {stamp} timed")).ok(),
        "second"
    );
    let before = host
        .sh(&format!(
            "docker logs --until $(date -u -d {stamp}-1second +%Y-%m-%dT%H:%M:%SZ) timed"
        ))
        .ok();
    assert_eq!(before, "first");
    assert_eq!(
        host.sh("docker logs --since 1h timed").ok(),
        "first\nsecond"
    );
}

#[test]
fn following_shows_each_line_and_ends_with_the_container() {
    let host = TestHost::start();
    host.sh("docker run -d --name ticking busybox sh -c 'for i in 1 2 3 4 5; do echo tick $i; sleep 0.3; done'").ok();
    let follow = host.spawn("docker logs -f ticking");
    follow.prints("tick 1\n");
    assert_eq!(
        follow.finish().ok(),
        "tick 1\ntick 2\ntick 3\ntick 4\ntick 5"
    );
}

#[test]
fn following_with_a_tail_of_a_container_that_is_quiet() {
    let host = TestHost::start();
    host.sh("docker run -d --name quiet busybox sh -c 'echo one; echo two; exec sleep 1000'")
        .ok();
    dhow_tests::eventually("both lines are there", || {
        (host.sh("docker logs quiet").ok() == "one\ntwo").then_some(())
    });
    let mut follow = host.spawn("docker logs -f --tail 1 quiet");
    // It is shown at once, though nothing more comes.
    follow.prints("two\n");
    assert!(follow.is_running());
    host.sh("docker rm -f quiet").ok();
    assert_eq!(follow.finish().stdout, "two\n");
}

#[test]
fn long_lines_come_out_in_one_piece() {
    let host = TestHost::start();
    host.sh("docker run --name long busybox sh -c 'head -c 100000 /dev/zero | tr \"\\0\" x; echo; echo after'").ok();
    let out = host.sh("docker logs long").ok();
    assert_eq!(out.lines().map(str::len).collect::<Vec<_>>(), [100_000, 5]);
}

#[test]
fn bytes_that_are_not_text_are_kept_as_a_peer_keeps_them() {
    let host = TestHost::start();
    host.sh("docker run --name bytes busybox printf 'a\\r\\n<&>\\033[1m\\342\\233\\265\\n'")
        .ok();
    assert_eq!(
        host.sh("docker logs bytes").stdout,
        "a\r\n<&>\u{1b}[1m\u{26f5}\n"
    );
}

#[test]
fn a_terminals_output_is_logged_too() {
    let host = TestHost::start();
    host.sh("docker run -t --name tty busybox echo hello").ok();
    assert_eq!(host.sh("docker logs tty").stdout, "hello\r\n");
}

#[test]
fn the_file_is_dockers() {
    let host = TestHost::start();
    host.sh("docker run --name filed busybox echo hello").ok();
    let path = host.inspect("filed")["LogPath"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let line = std::fs::read_to_string(&path).unwrap();
    let record: serde_json::Value = serde_json::from_str(line.trim_end()).unwrap();
    assert_eq!(record["log"], "hello\n");
    assert_eq!(record["stream"], "stdout");
    assert!(
        record["time"]
            .as_str()
            .is_some_and(|time| time.ends_with('Z')),
        "{line}"
    );
}

#[test]
fn rotation() {
    let host = TestHost::start();
    host.sh(
        "docker run --name rotated --log-opt max-size=10k --log-opt max-file=2 busybox seq 1 2000",
    )
    .ok();
    let out = host.sh("docker logs rotated").ok();
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines.last(), Some(&"2000"));
    assert!(lines.len() < 2000, "the first lines were dropped");
    assert_eq!(host.sh("docker logs --tail 2 rotated").ok(), "1999\n2000");
    let path = host.inspect("rotated")["LogPath"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(std::path::Path::new(&format!("{path}.1")).exists());
    assert!(!std::path::Path::new(&format!("{path}.2")).exists());
}

#[test]
fn without_a_log() {
    let host = TestHost::start();
    host.sh("docker run --name unlogged --log-driver none busybox echo hello")
        .ok();
    let message = host.sh("docker logs unlogged").fails(1);
    assert!(
        message.contains("configured logging driver does not support reading"),
        "{message}"
    );
}

#[test]
fn requests_that_make_no_sense() {
    let host = TestHost::start();
    host.sh("docker create --name cc busybox").ok();
    assert_eq!(
        host.api("GET", "/v1.45/containers/cc/logs", None).status,
        400
    );
    assert_eq!(
        host.api("GET", "/v1.45/containers/nosuch/logs?stdout=1", None)
            .status,
        404
    );
    assert_eq!(
        host.api("GET", "/v1.45/containers/cc/logs?stdout=1", None)
            .body,
        ""
    );
}
