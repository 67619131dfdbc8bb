//! Containers that hold up whatever comes near them: each request about them is answered all the same, and they
//! end when they are told to.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use dhow_tests::{Background, TestHost, eventually};

/// Stops every process in the container but itself, all the time: those of an exec on their way in as well.
const STOPS_ALL: &str = "'while :; do kill -STOP -1 2>/dev/null; done'";

/// How long anything may take that ends such a container.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a launch may take that comes to nothing, which has half a minute by itself.
const LAUNCH: Duration = Duration::from_secs(45);

/// One after another: each keeps a processor busy, which the tests beside it want too.
static TURN: Mutex<()> = Mutex::new(());

fn host() -> (TestHost, MutexGuard<'static, ()>) {
    let turn = TURN.lock().unwrap_or_else(|e| e.into_inner());
    (TestHost::start(), turn)
}

fn run(host: &TestHost, name: &str, flags: &str) {
    host.sh(&format!(
        "docker run -d --name {name} {flags} busybox sh -c {STOPS_ALL}"
    ))
    .ok();
}

/// Execs that are not waited for, each in the background: what is answered is whether they began.
fn execs(host: &TestHost, name: &str, count: usize) -> Vec<Background> {
    (0..count)
        .map(|_| {
            host.spawn(&format!(
                "timeout {} docker exec -d {name} true",
                LAUNCH.as_secs() * u64::from(dhow_tests::patience())
            ))
        })
        .collect()
}

/// Waits for all of them. An exec that fails says why.
#[track_caller]
fn all_are_answered(execs: Vec<Background>) {
    for mut exec in execs {
        dhow_tests::within(LAUNCH * 2, || (!exec.is_running()).then_some(()));
        let exec = exec.finish();
        assert_ne!(
            exec.code, 124,
            "the exec was not answered within {LAUNCH:?}: {exec:#?}"
        );
        if exec.code != 0 {
            assert!(
                !exec.stderr.trim().is_empty(),
                "it doesn't say why: {exec:#?}"
            );
        }
    }
}

#[test]
fn execs_into_a_container_that_stops_them_are_answered_and_it_can_be_stopped() {
    let (host, _turn) = host();
    run(&host, "hostile", "");
    all_are_answered(execs(&host, "hostile", 8));
    host.sh_within(LAUNCH, "docker exec -d hostile true");
    host.sh_within(PATIENCE, "docker stop -t 1 hostile").ok();
    assert_eq!(host.inspect("hostile")["State"]["ExitCode"], 137);
}

#[test]
fn a_container_that_stops_its_execs_can_be_stopped_while_they_are_on_their_way() {
    let (host, _turn) = host();
    run(&host, "hostile", "");
    let begun = execs(&host, "hostile", 8);
    // Some are let in and some not: what matters is that there may be any.
    std::thread::sleep(Duration::from_millis(500));
    host.sh_within(PATIENCE, "docker stop -t 1 hostile").ok();
    assert_eq!(host.state("hostile"), "exited");
    all_are_answered(begun);
    // It is not spoilt for a life of its own.
    host.sh_within(PATIENCE, "docker start hostile").ok();
    host.sh_within(PATIENCE, "docker kill hostile").ok();
}

#[test]
fn a_container_that_stops_its_execs_can_be_removed_while_they_are_on_their_way() {
    let (host, _turn) = host();
    run(&host, "hostile", "");
    let begun = execs(&host, "hostile", 8);
    std::thread::sleep(Duration::from_millis(500));
    host.sh_within(PATIENCE, "docker rm -f hostile").ok();
    host.sh("docker inspect hostile").fails(1);
    all_are_answered(begun);
    assert_eq!(host.sh("docker ps -aq").ok(), "");
}

#[test]
fn others_are_served_beside_a_container_that_stops_its_execs() {
    let (host, _turn) = host();
    run(&host, "hostile", "");
    host.sh("docker run -d --name calm busybox sleep 1000").ok();
    let begun = execs(&host, "hostile", 4);
    for _ in 0..3 {
        assert_eq!(
            host.sh_within(PATIENCE, "docker exec calm echo hi").ok(),
            "hi"
        );
        assert_eq!(host.sh_within(PATIENCE, "docker ps -q | wc -l").ok(), "2");
        host.sh_within(PATIENCE, "docker inspect hostile").ok();
    }
    host.sh_within(PATIENCE, "docker rm -f hostile").ok();
    all_are_answered(begun);
}

#[test]
fn a_health_check_that_is_stopped_on_its_way_in_counts_as_failed() {
    let (host, _turn) = host();
    run(
        &host,
        "hostile",
        "--health-cmd true --health-interval 200ms --health-timeout 1s --health-retries 1",
    );
    // It may be let through now and then, but not for ever.
    let seen = dhow_tests::within(Duration::from_secs(60), || {
        let health = host.inspect("hostile")["State"]["Health"].take();
        let log = health["Log"].as_array()?;
        log.iter().any(|check| check["ExitCode"] != 0).then_some(())
    });
    assert!(
        seen.is_some(),
        "no check has failed: {:#}",
        host.inspect("hostile")["State"]
    );
    host.sh_within(PATIENCE, "docker stop -t 1 hostile").ok();
    assert_eq!(host.state("hostile"), "exited");
}

#[test]
fn an_exec_that_meets_a_pause_is_answered() {
    let host = TestHost::start();
    host.sh("docker run -d --name torn busybox sleep 1000").ok();
    let swing = host.spawn(
        "i=0; while [ $i -lt 30 ]; do i=$((i+1)); docker pause torn && docker unpause torn; done >/dev/null && echo swung",
    );
    let mut begun = Vec::new();
    for _ in 0..8 {
        begun.extend(execs(&host, "torn", 4));
        std::thread::sleep(Duration::from_millis(50));
    }
    all_are_answered(begun);
    swing.prints("swung");
    host.sh_within(PATIENCE, "docker exec torn true").ok();
    host.sh_within(PATIENCE, "docker rm -f torn").ok();
}

#[test]
fn an_exec_that_is_frozen_on_its_way_in_does_not_hold_its_container() {
    let host = TestHost::start();
    // The instant that is met differs each time.
    for (i, pause_ms) in [0, 1, 2, 3, 4, 6, 8, 12].into_iter().enumerate() {
        let name = format!("torn{i}");
        host.sh(&format!("docker run -d --name {name} busybox sleep 1000"))
            .ok();
        let begun = execs(&host, &name, 4);
        std::thread::sleep(Duration::from_millis(20 + pause_ms));
        host.sh_within(PATIENCE, &format!("docker pause {name}"))
            .ok();
        if i % 2 == 0 {
            host.sh_within(PATIENCE, &format!("docker rm -f {name}"))
                .ok();
        } else {
            host.sh_within(PATIENCE, &format!("docker kill {name}"))
                .ok();
            assert_eq!(host.state(&name), "exited");
        }
        all_are_answered(begun);
    }
    eventually("all that is left can be removed", || {
        (host.sh("docker ps -aq | xargs -r docker rm -f").code == 0).then_some(())
    });
}
