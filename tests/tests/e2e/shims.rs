//! The processes behind the containers come to grief: a shim is killed or stopped, the spawner is killed. What was
//! the container's process ends with it, nothing of it runs on beside the next, and everyone else is served.

use std::time::{Duration, Instant};

use dhow_tests::{Census, Engine, Process, TestHost, eventually, processes};

/// These are what Dhow promises of its own parts.
fn host() -> Option<TestHost> {
    let host = TestHost::start();
    (host.engine == Engine::Dhow).then_some(host)
}

/// What reads never take longer than.
const AT_ONCE: Duration = Duration::from_secs(9);
const PATIENCE: Duration = Duration::from_secs(30);

/// With a child, which is to end as well.
const STEADY: &str = "busybox sh -c 'sleep 1000 & while :; do sleep 0.1; done'";

fn run(host: &TestHost, name: &str, flags: &str) {
    host.sh(&format!("docker run -d --name {name} {flags} {STEADY}"))
        .ok();
}

/// The container has ended as by SIGKILL, and all of its processes.
#[track_caller]
fn has_ended(host: &TestHost, name: &str, id: &str) {
    eventually(&format!("{name} is seen as ended"), || {
        (host.state(name) == "exited").then_some(())
    });
    let state = host.inspect(name)["State"].take();
    assert_eq!(state["ExitCode"], 137, "{state:#}");
    nothing_runs(name, id);
}

#[track_caller]
fn nothing_runs(name: &str, id: &str) {
    let mut left = Vec::new();
    dhow_tests::within(PATIENCE, || {
        left = processes::members(id);
        left.is_empty().then_some(())
    });
    assert!(left.is_empty(), "of {name} these run on: {left:?}");
}

/// The container runs again, in another process than this.
#[track_caller]
fn runs_again(host: &TestHost, name: &str, before: &Process) -> Process {
    eventually(&format!("{name} runs in another process"), || {
        let state = host.inspect(name)["State"].take();
        let pid = state["Pid"]
            .as_i64()
            .filter(|_| state["Status"] == "running")? as i32;
        (pid != before.pid).then(|| Process::open(pid)).flatten()
    })
}

#[test]
fn a_container_whose_shim_is_killed_has_ended_and_can_be_started_at_once() {
    let Some(host) = host() else { return };
    let census = Census::begin(host.data_root());
    run(&host, "orphan", "-p 8080:80");
    let id = host.id("orphan");
    let waiting = host.waits_for("orphan");
    for _ in 0..3 {
        let (init, shim) = (host.init("orphan"), host.shim("orphan"));
        shim.kill();
        has_ended(&host, "orphan", &id);
        assert!(init.has_ended());
        host.sh_within(PATIENCE, "docker start orphan").ok();
        let now = runs_again(&host, "orphan", &init);
        assert!(!now.has_ended());
        assert_eq!(host.sh("docker exec orphan echo hi").ok(), "hi");
    }
    let waited = waiting.answer().expect("who waits is answered").json();
    assert_eq!(waited["StatusCode"], 137, "{waited:#}");
    // Without a look at it in between: it may be started only once nothing of it is left.
    for _ in 0..3 {
        let (init, shim) = (host.init("orphan"), host.shim("orphan"));
        shim.kill();
        eventually("it is started again", || {
            host.sh_within(PATIENCE, "docker start orphan").ok();
            let pid = host.inspect("orphan")["State"]["Pid"].as_i64()?;
            (pid != 0 && pid != i64::from(init.pid)).then_some(())
        });
    }
    host.sh_within(PATIENCE, "docker rm -f orphan").ok();
    census.assert_never_two();
}

#[test]
fn restart_policies_bring_back_a_container_whose_shim_is_killed() {
    let Some(host) = host() else { return };
    let census = Census::begin(host.data_root());
    for policy in ["always", "unless-stopped", "on-failure"] {
        run(&host, policy, &format!("--restart {policy}"));
    }
    for _ in 0..3 {
        for policy in ["always", "unless-stopped", "on-failure"] {
            let (init, shim) = (host.init(policy), host.shim(policy));
            shim.kill();
            runs_again(&host, policy, &init);
            assert!(init.has_ended(), "{policy}: its first process runs on");
            assert_eq!(host.sh(&format!("docker exec {policy} echo hi")).ok(), "hi");
        }
    }
    census.assert_never_two();
}

#[test]
fn a_container_of_rm_whose_shim_is_killed_is_removed() {
    let Some(host) = host() else { return };
    run(&host, "brief", "--rm -v /data");
    let id = host.id("brief");
    host.shim("brief").kill();
    eventually("it is gone", || {
        (host.sh("docker inspect brief").code != 0).then_some(())
    });
    nothing_runs("brief", &id);
    eventually("its volume is gone", || {
        host.sh("docker volume ls -q").ok().is_empty().then_some(())
    });
}

#[test]
fn an_exec_whose_shim_is_killed_ends_and_its_client_too() {
    let Some(host) = host() else { return };
    run(&host, "orphan", "");
    let id = host.id("orphan");
    let exec = host.spawn("docker exec orphan sh -c 'echo in; exec sleep 1000'");
    exec.prints("in");
    host.shim("orphan").kill();
    assert_ne!(exec.finish().code, 0);
    has_ended(&host, "orphan", &id);
}

#[test]
fn a_shim_that_is_killed_while_no_daemon_runs_is_found_by_the_next() {
    let Some(mut host) = host() else { return };
    let census = Census::begin(host.data_root());
    run(&host, "plain", "");
    run(&host, "brief", "--rm");
    run(&host, "always", "--restart always");
    run(&host, "other", "");
    host.sh("docker exec -d plain sleep 1000").ok();
    host.sh("docker run -d --name held busybox sleep 1000 && docker pause held")
        .ok();
    let ids = ["plain", "brief", "always", "held"].map(|name| (name, host.id(name)));
    let inits = ["plain", "brief", "always", "held"].map(|name| host.init(name));
    let shims = ["plain", "brief", "always", "held"].map(|name| host.shim(name));
    host.kill_daemon();
    for shim in &shims {
        shim.kill();
    }
    eventually("the shims are gone", || {
        shims.iter().all(Process::has_ended).then_some(())
    });
    host.start_daemon();
    for (name, id) in [&ids[0], &ids[3]] {
        has_ended(&host, name, id);
    }
    eventually("brief is gone", || {
        (host.sh("docker inspect brief").code != 0).then_some(())
    });
    nothing_runs("brief", &ids[1].1);
    runs_again(&host, "always", &inits[2]);
    for (init, (name, _)) in inits.iter().zip(&ids) {
        // It has left its control group by now, and may take another moment to be gone.
        eventually(&format!("{name}'s first process has ended"), || {
            init.has_ended().then_some(())
        });
    }
    assert_eq!(host.sh("docker exec other echo hi").ok(), "hi");
    host.sh_within(PATIENCE, "docker start plain").ok();
    assert_eq!(host.sh("docker exec plain echo hi").ok(), "hi");
    census.assert_never_two();
}

#[test]
fn a_container_whose_shim_is_stopped_is_shown_and_can_be_ended() {
    let Some(host) = host() else { return };
    for end in ["kill", "stop -t 1", "rm -f"] {
        run(&host, "stuck", "");
        let (id, init) = (host.id("stuck"), host.init("stuck"));
        let mut shim = host.shim("stuck");
        shim.stop();
        // What asks the shim is answered as well, with whatever it is.
        let exec = host.spawn("timeout 60 docker exec -d stuck true");
        for _ in 0..3 {
            assert_eq!(host.sh_within(AT_ONCE, "docker ps -q | wc -l").ok(), "1");
            assert_eq!(
                host.sh_within(AT_ONCE, "docker inspect -f '{{.State.Running}}' stuck")
                    .ok(),
                "true"
            );
        }
        host.sh_within(PATIENCE, &format!("docker {end} stuck"))
            .ok();
        assert!(init.has_ended(), "{end}: its first process runs on");
        nothing_runs("stuck", &id);
        if end != "rm -f" {
            assert_eq!(host.inspect("stuck")["State"]["ExitCode"], 137, "{end}");
            host.sh_within(PATIENCE, "docker start stuck").ok();
            assert_eq!(host.sh("docker exec stuck echo hi").ok(), "hi");
            host.sh_within(PATIENCE, "docker rm -f stuck").ok();
        }
        assert_ne!(exec.finish().code, 124, "{end}: the exec was not answered");
    }
    assert_eq!(host.sh("docker ps -aq").ok(), "");
}

#[test]
fn a_daemon_opens_beside_a_shim_that_is_stopped() {
    let Some(mut host) = host() else { return };
    run(&host, "stuck", "");
    run(&host, "stuck-too", "--restart always");
    run(&host, "well", "");
    let init = host.init("stuck");
    let mut shims = ["stuck", "stuck-too"].map(|name| host.shim(name));
    shims.iter_mut().for_each(Process::stop);
    host.kill_daemon();
    host.start_daemon();
    assert_eq!(
        host.sh_within(AT_ONCE, "docker exec well echo hi").ok(),
        "hi"
    );
    // Nobody has said that it ended: it is not started a second time, nor taken for dead.
    assert_eq!(host.sh_within(AT_ONCE, "docker ps -q | wc -l").ok(), "3");
    assert!(
        !init.has_ended(),
        "a process that ran was ended by a look at it"
    );
    host.sh_within(PATIENCE, "docker rm -f stuck").ok();
    assert!(init.has_ended());
    // It is itself again once its shim is.
    drop(shims);
    eventually("the container of the shim that goes on can be used", || {
        (host
            .sh_within(PATIENCE, "docker exec stuck-too echo hi")
            .stdout
            == "hi\n")
            .then_some(())
    });
    host.sh_within(PATIENCE, "docker stop -t 1 stuck-too").ok();
}

#[test]
fn a_spawner_that_is_killed_is_replaced() {
    let Some(host) = host() else { return };
    run(&host, "before", "");
    for i in 1..=3 {
        let spawner = host.spawner();
        spawner.kill();
        eventually("it has ended", || spawner.has_ended().then_some(()));
        assert_eq!(
            host.sh_within(PATIENCE, "docker run --rm busybox echo hi")
                .ok(),
            "hi",
            "after the {i}. time"
        );
    }
    assert_eq!(host.sh("docker exec before echo hi").ok(), "hi");
    let log = host.daemon_log();
    assert!(
        log.lines().any(|line| line.contains("spawner")
            && (line.contains(" WARN ") || line.contains(" ERROR "))),
        "the daemon's log doesn't say that its spawner has ended:\n{log}"
    );
    // Those that ran under it run on, and end as they should.
    host.sh_within(PATIENCE, "docker stop -t 1 before").ok();
    assert_eq!(host.inspect("before")["State"]["ExitCode"], 137);
}

#[test]
fn starts_while_the_spawner_is_killed_come_to_a_process_or_say_why() {
    let Some(host) = host() else { return };
    let starts = host.spawn(
        "i=0; while [ $i -lt 30 ]; do i=$((i+1)); timeout 60 docker run --rm busybox true; echo $?; done; echo finished",
    );
    let mut killed = 0;
    let end = Instant::now() + PATIENCE * 2 * dhow_tests::patience();
    while !starts.stdout().contains("finished") {
        assert!(Instant::now() < end, "they don't end: {}", starts.stdout());
        host.spawner_now().inspect(|spawner| {
            spawner.kill();
            killed += 1;
        });
        std::thread::sleep(Duration::from_millis(37 + killed % 7 * 11));
    }
    let codes = starts.stdout();
    for code in codes.lines().filter(|line| *line != "finished") {
        assert!(
            ["0", "125"].contains(&code),
            "a run ended with {code}:\n{codes}{}",
            starts.stderr()
        );
    }
    host.sh_within(PATIENCE, "docker run --rm busybox true")
        .ok();
    eventually("no container is left", || {
        host.sh("docker ps -aq").ok().is_empty().then_some(())
    });
}
