//! The daemon goes away, however it does, and its containers don't notice.

use std::time::Duration;

use dhow_tests::{Engine, TestHost, eventually};
use rustix::process::Signal;

/// These are what Dhow promises and a peer doesn't.
fn host() -> Option<TestHost> {
    let host = TestHost::start();
    (host.engine == Engine::Dhow).then_some(host)
}

#[test]
fn no_line_is_lost_over_a_crash() {
    let Some(mut host) = host() else { return };
    host.sh("docker run -d --name writer busybox sh -c 'i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo line $i; sleep 0.1; done; until [ -e /go ]; do sleep 0.1; done; exit 17'").ok();
    let pid = host.inspect("writer")["State"]["Pid"].clone();
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(500));
        host.kill_daemon();
        std::thread::sleep(Duration::from_millis(500));
        host.start_daemon();
        let state = host.inspect("writer")["State"].take();
        assert_eq!(
            (state["Status"].as_str(), &state["Pid"]),
            (Some("running"), &pid)
        );
    }
    host.sh("docker exec writer touch /go").ok();
    assert_eq!(host.wait("writer"), 17);
    let lines: Vec<_> = (1..=60).map(|i| format!("line {i}")).collect();
    assert_eq!(host.sh("docker logs writer").ok(), lines.join("\n"));
}

#[test]
fn an_end_while_no_daemon_runs_is_known_to_the_next() {
    let Some(mut host) = host() else { return };
    let shared = format!("-v {}:/shared", host.path("shared").display());
    let told = "until [ -e /shared/go ]; do sleep 0.05; done";
    host.sh(&format!(
        "docker run -d --name brief {shared} busybox sh -c '{told}; echo last words; exit 23'"
    ))
    .ok();
    host.sh(&format!(
        "docker run -d --rm --name brief-rm {shared} busybox sh -c '{told}; exit 24'"
    ))
    .ok();
    let id = host.sh("docker inspect -f '{{.Id}}' brief-rm").ok();
    let inits = [host.init("brief"), host.init("brief-rm")];
    host.kill_daemon();
    std::fs::write(host.path("shared/go"), "").unwrap();
    eventually("both have ended", || {
        inits.iter().all(|init| init.has_ended()).then_some(())
    });
    host.start_daemon();
    assert_eq!(host.wait("brief"), 23);
    assert_eq!(host.sh("docker logs brief").ok(), "last words");
    let state = host.inspect("brief")["State"].take();
    assert_eq!(state["Status"], "exited");
    // It ended when it did, not when the daemon found out.
    let (finished, started) = (
        state["FinishedAt"].as_str().unwrap(),
        state["StartedAt"].as_str().unwrap(),
    );
    assert!(finished > started);
    // What was to be removed on exit is.
    eventually("brief-rm is gone", || {
        (host.sh("docker inspect brief-rm").code != 0).then_some(())
    });
    assert!(!host.data_root().join("containers").join(id).exists());
}

#[test]
fn sigterm_leaves_the_containers_running() {
    let Some(mut host) = host() else { return };
    host.sh("docker run -d --name steady -p 8080:80 busybox sh -c 'echo ahoy >/tmp/index.html; exec httpd -f -p 80 -h /tmp'").ok();
    eventually("it answers", || {
        (host.sh("curl -s http://127.0.0.1:8080/").stdout == "ahoy\n").then_some(())
    });
    assert_eq!(host.stop_daemon(), Some(0));
    assert!(!host.path("pid").exists(), "the pid file is gone");
    // Nobody minds the published port: it is the kernel's work.
    assert_eq!(host.sh("curl -s http://127.0.0.1:8080/").ok(), "ahoy");
    host.start_daemon();
    assert_eq!(host.state("steady"), "running");
    assert_eq!(host.sh("docker exec steady echo hi").ok(), "hi");
    assert_eq!(host.sh("curl -s http://127.0.0.1:8080/").ok(), "ahoy");
    // Its port is still taken, and its address too.
    assert!(
        host.sh("docker run -d --name rival -p 8080:80 busybox sleep 9")
            .fails(125)
            .contains("port is already allocated")
    );
    host.sh("docker run -d --name other busybox sleep 1000")
        .ok();
    let ip = |name: &str| {
        host.inspect(name)["NetworkSettings"]["Networks"]["bridge"]["IPAddress"].clone()
    };
    assert_ne!(ip("steady"), ip("other"));
}

#[test]
fn a_client_can_attach_again_after_a_crash() {
    let Some(mut host) = host() else { return };
    host.sh("docker run -d -i --name cat busybox cat").ok();
    host.kill_daemon();
    host.start_daemon();
    let mut attach = host.spawn_with_stdin("docker attach cat");
    use std::io::Write;
    attach.stdin().write_all(b"still here\n").unwrap();
    attach.prints("still here\n");
}

#[test]
fn everything_known_survives_a_crash() {
    let Some(mut host) = host() else { return };
    host.sh("docker tag busybox kept:1 && docker volume create hold && docker create --name made -e A=1 -p 8080:80 busybox sh").ok();
    host.sh("docker run --name done busybox sh -c 'exit 3'")
        .fails(3);
    host.sh("docker run -d --name held busybox sleep 1000 && docker pause held")
        .ok();
    let look = |host: &TestHost| {
        [
            // The client lists an image's names in no order.
            "docker images --no-trunc | sort",
            "docker volume ls",
            "docker inspect made done held",
            "docker ps -aq",
        ]
        .map(|line| host.sh(line).ok())
    };
    let before = look(&host);
    host.kill_daemon();
    host.start_daemon();
    assert_eq!(look(&host), before);
    host.sh("docker unpause held").ok();
}

#[test]
fn other_signals_end_it_as_well() {
    let Some(mut host) = host() else { return };
    host.signal_daemon(Signal::INT);
    eventually("the socket is gone", || {
        (!host.socket().exists()).then_some(())
    });
    assert_eq!(host.stop_daemon(), Some(0));
}

/// The daemon ends at the moment when it has asked an unhealthy container to.
#[test]
fn what_was_unhealthy_is_restarted_by_the_next_daemon() {
    let Some(mut host) = host() else { return };
    let flags =
        "--restart on-failure --health-interval 200ms --health-retries 1 --health-restart 1";
    let run = |name: &str, end: &str| {
        let program =
            format!("trap \"echo asked; {end}\" TERM; rm -f /sick; while :; do sleep 0.1; done");
        host.sh(&format!(
            "dhow run -d --name {name} {flags} --stop-timeout 2 --health-cmd 'test ! -e /sick' busybox sh -c '{program}'"
        ))
        .ok();
    };
    // The one ends well, once nobody looks; the other has to be killed.
    run("slow", "sleep 1; exit 0");
    run("deaf", ":");
    for name in ["slow", "deaf"] {
        host.sh(&format!("docker exec {name} touch /sick")).ok();
    }
    for name in ["slow", "deaf"] {
        eventually("it is asked to end", || {
            let logged = host.sh(&format!("docker logs {name}")).stdout;
            logged.contains("asked").then_some(())
        });
    }
    let slow = host.init("slow");
    host.kill_daemon();
    eventually("it has ended", || slow.has_ended().then_some(()));
    host.start_daemon();
    for name in ["slow", "deaf"] {
        eventually("it is restarted", || {
            let restarts = host.inspect(name)["RestartCount"].as_i64();
            (restarts == Some(1) && host.state(name) == "running").then_some(())
        });
    }
    // The mark was of that run.
    host.sh("docker exec slow kill -9 1").ok();
    host.kill_daemon();
    host.start_daemon();
    host.sh("docker stop -t 5 slow").ok();
    assert_eq!(host.state("slow"), "exited");
}

#[test]
fn an_unhealthy_container_is_restarted_where_that_is_asked_for() {
    let mut host = TestHost::start();
    if host.engine != Engine::Dhow {
        return;
    }
    let check = "--health-interval 200ms --health-retries 1 --health-cmd 'test ! -e /sick'";
    // It ends well when it is asked to, which is no reason not to come back.
    let program = "sh -c 'trap \"exit 0\" TERM; rm -f /sick; while :; do sleep 0.1; done'";
    host.sh(&format!(
        "dhow run -d --name asked --restart on-failure {check} --health-restart 2 busybox {program}"
    ))
    .ok();
    host.sh(&format!(
        "dhow run -d --name not-asked --restart always {check} busybox {program}"
    ))
    .ok();
    let health =
        |host: &TestHost, name: &str| host.inspect(name)["State"]["Health"]["Status"].take();
    for name in ["asked", "not-asked"] {
        eventually("it is healthy", || {
            (health(&host, name) == "healthy").then_some(())
        });
        host.sh(&format!("docker exec {name} touch /sick")).ok();
    }
    eventually("the one is restarted, and healthy again", || {
        let restarts = host.inspect("asked")["RestartCount"].as_i64();
        (restarts == Some(1) && health(&host, "asked") == "healthy").then_some(())
    });
    eventually("the other is unhealthy", || {
        (health(&host, "not-asked") == "unhealthy").then_some(())
    });
    assert_eq!(host.inspect("not-asked")["RestartCount"], 0);
    // The next daemon watches as well.
    host.kill_daemon();
    host.start_daemon();
    host.sh("docker exec asked touch /sick").ok();
    eventually("it is restarted again", || {
        (host.inspect("asked")["RestartCount"] == 2).then_some(())
    });
    // A user's stop is no failure.
    host.sh("docker stop -t 5 asked").ok();
    assert_eq!(host.state("asked"), "exited");
    for (arguments, why) in [
        ("--health-restart 1", "needs a restart policy"),
        (
            "--rm --restart always --health-restart 1",
            "both --restart and --rm",
        ),
        ("--restart always --health-restart=-1", "cannot be negative"),
    ] {
        let refused = host.sh(&format!(
            "dhow create --health-cmd true {arguments} busybox"
        ));
        assert!(refused.stderr.contains(why), "{arguments}: {refused:?}");
    }
}
