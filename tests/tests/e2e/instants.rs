//! The daemon is killed at the instant at which it could forget: between a user's word and its effect, and between
//! an answer and its record.

use std::time::Duration;

use dhow_tests::http::Exchange;
use dhow_tests::{Engine, TestHost, eventually};
use rustix::process::Signal;

/// These are what Dhow promises and a peer doesn't.
fn host() -> Option<TestHost> {
    let host = TestHost::start();
    (host.engine == Engine::Dhow).then_some(host)
}

const PATIENCE: Duration = Duration::from_secs(30);

/// Ignores SIGTERM, and ends with 5 once there is a file.
fn run_deaf(host: &TestHost, name: &str, policy: &str) {
    let dir = host.path("shared");
    std::fs::create_dir_all(&dir).unwrap();
    host.sh(&format!(
        "docker run -d --name {name} --restart {policy} -v {}:/shared busybox sh -c 'trap : TERM; echo ready; until test -e /shared/{name}; do sleep 0.05; done; exit 5'",
        dir.display()
    ))
    .ok();
    eventually("it is ready", || {
        host.sh(&format!("docker logs {name}"))
            .ok()
            .contains("ready")
            .then_some(())
    });
}

/// Waits until the container's signal was sent, as its event says.
#[track_caller]
fn signalled(host: &TestHost, name: &str, signal: i32) {
    eventually(&format!("{name} is sent signal {signal}"), || {
        let seen = host
            .sh(&format!(
                "docker events --since 1h --until $(date +%s.%N) -f container={name} -f event=kill --format '{{{{.Actor.Attributes.signal}}}}'"
            ))
            .ok();
        seen.lines()
            .any(|line| line == signal.to_string())
            .then_some(())
    });
}

/// The daemon is killed, the process ends by itself, and the next daemon comes.
fn ends_while_no_daemon_runs(host: &mut TestHost, name: &str) {
    let init = host.init(name);
    host.kill_daemon();
    std::fs::write(host.path("shared").join(name), "").unwrap();
    eventually("it ends by itself", || init.has_ended().then_some(()));
    host.start_daemon();
}

/// It has ended and stays so: another run would have been begun by now.
#[track_caller]
fn stays_ended(host: &TestHost, name: &str, exit_code: i64) {
    let stays = |host: &TestHost| {
        let shown = host.inspect(name);
        let state = &shown["State"];
        assert_eq!(
            (
                state["Status"].as_str(),
                state["ExitCode"].as_i64(),
                shown["RestartCount"].as_i64(),
            ),
            (Some("exited"), Some(exit_code), Some(0)),
            "a policy undoes what the user wanted: {state:#}"
        );
    };
    stays(host);
    // Longer than the first pauses of a policy.
    std::thread::sleep(Duration::from_secs(1));
    stays(host);
}

#[test]
fn a_stop_under_way_counts_after_a_crash() {
    let Some(mut host) = host() else { return };
    for policy in ["unless-stopped", "on-failure"] {
        let name = format!("deaf-{policy}");
        run_deaf(&host, &name, policy);
        let stop = host.spawn(&format!("docker stop -t 60 {name}"));
        signalled(&host, &name, 15);
        ends_while_no_daemon_runs(&mut host, &name);
        drop(stop);
        stays_ended(&host, &name, 5);
        // Nor does a further daemon find a reason.
        host.kill_daemon();
        host.start_daemon();
        stays_ended(&host, &name, 5);
        // It is only this run that the user has ended.
        std::fs::remove_file(host.path("shared").join(&name)).unwrap();
        host.sh(&format!("docker start {name}")).ok();
        assert_eq!(host.state(&name), "running");
    }
}

#[test]
fn a_stop_under_way_counts_for_a_process_that_outlives_the_crash() {
    let Some(mut host) = host() else { return };
    for policy in ["always", "unless-stopped"] {
        let name = format!("deaf-{policy}");
        run_deaf(&host, &name, policy);
        let stop = host.spawn(&format!("docker stop -t 60 {name}"));
        signalled(&host, &name, 15);
        host.kill_daemon();
        drop(stop);
        host.start_daemon();
        assert_eq!(host.state(&name), "running");
        std::fs::write(host.path("shared").join(&name), "").unwrap();
        eventually("it ends by itself", || {
            (host.state(&name) != "running").then_some(())
        });
        stays_ended(&host, &name, 5);
    }
}

/// With `always` a stopped container comes back with a new daemon, in Docker's words: "if it is manually stopped,
/// it is restarted only when Docker daemon restarts". Whatever is made of that, the policy has no part in it: a stop
/// that a crash met is a stop like any other.
#[test]
fn a_stop_that_a_crash_meets_is_no_end_that_a_policy_counts() {
    let Some(mut host) = host() else { return };
    for name in ["before", "under-way"] {
        run_deaf(&host, name, "always");
    }
    std::fs::write(host.path("shared/before"), "").unwrap();
    host.sh("docker stop before").ok();
    assert_eq!(host.state("before"), "exited");
    std::fs::remove_file(host.path("shared/before")).unwrap();
    let stop = host.spawn("docker stop -t 60 under-way");
    signalled(&host, "under-way", 15);
    let init = host.init("under-way");
    host.kill_daemon();
    std::fs::write(host.path("shared/under-way"), "").unwrap();
    eventually("it ends by itself", || init.has_ended().then_some(()));
    std::fs::remove_file(host.path("shared/under-way")).unwrap();
    host.start_daemon();
    drop(stop);
    std::thread::sleep(Duration::from_secs(1));
    let shown = host.inspect("under-way");
    assert_eq!(
        shown["RestartCount"], 0,
        "a policy undoes what the user wanted: {:#}",
        shown["State"]
    );
    if shown["State"]["Status"] != "exited" {
        assert_eq!(shown["State"]["Status"], "running");
        assert_eq!(host.state("before"), "running");
    }
}

#[test]
fn a_kill_counts_after_a_crash() {
    let Some(mut host) = host() else { return };
    run_deaf(&host, "deaf", "unless-stopped");
    // The signal that would stop it, by hand.
    host.sh("docker kill -s TERM deaf").ok();
    ends_while_no_daemon_runs(&mut host, "deaf");
    stays_ended(&host, "deaf", 5);
}

/// The daemon is killed as soon as the first byte of its answer is here.
fn crash_at_the_answer(host: &mut TestHost, method: &str, path: &str) {
    let socket = host.socket();
    let mut exchange = Exchange::begin(&socket, method, path, None, PATIENCE).unwrap();
    exchange.head().unwrap();
    host.signal_daemon(Signal::KILL);
    host.kill_daemon();
    host.start_daemon();
}

#[test]
fn a_kill_that_was_answered_counts_after_a_crash() {
    let Some(mut host) = host() else { return };
    for i in 0..8 {
        let name = format!("target{i}");
        host.sh(&format!(
            "docker run -d --name {name} --restart unless-stopped busybox sleep 1000"
        ))
        .ok();
        crash_at_the_answer(&mut host, "POST", &format!("/v1.45/containers/{name}/kill"));
        stays_ended(&host, &name, 137);
    }
}

#[test]
fn a_stop_that_was_answered_counts_after_a_crash() {
    let Some(mut host) = host() else { return };
    for i in 0..8 {
        let name = format!("target{i}");
        host.sh(&format!(
            "docker run -d --name {name} --restart unless-stopped busybox sleep 1000"
        ))
        .ok();
        crash_at_the_answer(
            &mut host,
            "POST",
            &format!("/v1.45/containers/{name}/stop?t=0"),
        );
        stays_ended(&host, &name, 137);
    }
}

#[test]
fn an_exit_code_that_was_waited_for_is_the_same_after_a_crash() {
    let Some(mut host) = host() else { return };
    for i in 0..10 {
        let name = format!("job{i}");
        let code = 40 + i;
        host.sh(&format!(
            "docker create --name {name} busybox sh -c 'exit {code}'"
        ))
        .ok();
        let mut waiting = host.waits_for(&name);
        host.sh(&format!("docker start {name}")).ok();
        waiting.begins_body().unwrap();
        host.signal_daemon(Signal::KILL);
        let waited = waiting.answer().unwrap().json();
        assert_eq!(waited["StatusCode"], code);
        host.kill_daemon();
        host.start_daemon();
        let state = host.inspect(&name)["State"].take();
        assert_eq!(
            (state["Status"].as_str(), state["ExitCode"].as_i64()),
            (Some("exited"), Some(code)),
            "{state:#}"
        );
        assert_eq!(i64::from(host.wait(&name)), code);
    }
}

/// The run that was waited for is counted, and no further one is begun for it.
#[test]
fn an_end_that_a_policy_was_to_follow_is_the_same_after_a_crash() {
    let Some(mut host) = host() else { return };
    for i in 0..6 {
        let name = format!("job{i}");
        host.sh(&format!(
            "docker create --name {name} --restart on-failure:1 busybox sh -c 'echo run; exit 9'"
        ))
        .ok();
        let mut waiting = host.waits_for(&name);
        host.sh(&format!("docker start {name}")).ok();
        waiting.begins_body().unwrap();
        host.kill_daemon();
        host.start_daemon();
        eventually("it is given up", || {
            (host.state(&name) == "exited").then_some(())
        });
        let shown = host.inspect(&name);
        assert_eq!(shown["State"]["ExitCode"], 9);
        assert_eq!(
            host.sh(&format!("docker logs {name}")).ok(),
            "run\nrun",
            "{:#}",
            shown["State"]
        );
    }
}

/// What is seen as ended is not seen as running again, and who waits at any of these moments is answered.
#[test]
fn no_wait_hangs_beside_ends_and_starts() {
    let host = TestHost::start();
    host.sh("docker create --name brief busybox true").ok();
    let waits: Vec<_> = (0..4)
        .map(|_| {
            host.spawn("i=0; while [ $i -lt 25 ]; do i=$((i+1)); timeout 30 docker wait brief || exit 1; done >/dev/null; echo waited")
        })
        .collect();
    let mut starts = 0;
    while !waits
        .iter()
        .all(|waiting| waiting.stdout().contains("waited"))
    {
        host.sh_within(PATIENCE, "docker start -a brief").ok();
        assert_eq!(host.state("brief"), "exited");
        starts += 1;
        assert!(starts < 500, "somebody waits for ever: {waits:?}");
    }
}
