//! A run leaves nothing behind: counted before and after. (Every other test checks it as well when its host goes.)

use dhow_tests::{Engine, TestHost, eventually};

/// How many runs; the full measure is a thousand.
fn runs() -> u32 {
    std::env::var("DHOW_TEST_RUNS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(200)
}

fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

#[test]
fn runs_in_a_row() {
    let host = TestHost::start();
    if host.engine != Engine::Dhow {
        return;
    }
    // What is made once and kept is made by the first.
    host.sh("docker run --rm -p 8080:80 -v /data busybox true")
        .ok();
    let before = host.settled_footprint();
    let descriptors_before = descriptors(host.daemon_pid());
    let line = format!(
        "set -e; i=0; while [ $i -lt {} ]; do i=$((i+1)); dhow run --rm -p 8080:80 -v /data busybox true; done",
        runs() / 10
    );
    for _ in 0..10 {
        host.sh(&line).ok();
    }
    eventually("all is as it was", || {
        let left = host.footprint().beyond(&before);
        let links = left.iter().filter(|line| line.starts_with("link ")).count();
        // Interfaces made ahead of time have new names each time; that there are no more of them is checked when
        // the host goes.
        (left.len() == links && descriptors(host.daemon_pid()) <= descriptors_before + 2)
            .then_some(())
    });
    assert_eq!(host.sh("docker volume ls -q").ok(), "");
}

#[test]
fn runs_side_by_side() {
    let host = TestHost::start();
    if host.engine != Engine::Dhow {
        return;
    }
    let line = "set -e; i=0; while [ $i -lt 10 ]; do i=$((i+1)); dhow run --rm busybox sh -c 'exit 0'; done";
    let all: Vec<_> = (0..8).map(|_| host.spawn(line)).collect();
    for one in all {
        one.finish().ok();
    }
    assert_eq!(host.sh("docker ps -aq").ok(), "");
}

#[test]
fn runs_that_fail() {
    let host = TestHost::start();
    for _ in 0..10 {
        host.sh("docker run --rm busybox nosuchcommand").fails(127);
        host.sh("docker run --rm -v /etc/passwd:/etc busybox true")
            .fails(125);
        host.sh("docker run --rm -p 5000:80 busybox true")
            .fails(125);
    }
    assert_eq!(host.sh("docker ps -aq").ok(), "");
}

#[test]
fn clients_that_are_killed() {
    let host = TestHost::start();
    for i in 0..10 {
        let run = host.spawn(&format!(
            "exec docker run --rm --name k{i} busybox sh -c 'echo up; exec sleep 1000'"
        ));
        run.prints("up");
        // As by an out-of-memory killer: the container goes on.
        run.signal(rustix::process::Signal::KILL);
        drop(run);
        assert_eq!(host.state(&format!("k{i}")), "running");
        host.sh(&format!("docker kill k{i}")).ok();
    }
    eventually("they are removed all the same", || {
        (host.sh("docker ps -aq").ok().is_empty()).then_some(())
    });
}
