//! A container's life: create, start, stop, kill, wait, rename, pause, remove.

use dhow_tests::{Engine, TestHost, eventually};
use serde_json::json;

/// Process 1 ignores signals that it has no handler for: it says when it has one.
fn says_ready(host: &TestHost, name: &str) {
    dhow_tests::eventually("it is ready", || {
        let logs = host.sh(&format!("docker logs {name}")).ok();
        logs.contains("ready").then_some(())
    });
}

#[test]
fn create_start_wait_remove() {
    let host = TestHost::start();
    let id = host
        .sh("docker create --name job busybox sh -c 'echo done; exit 5'")
        .ok();
    let created = host.inspect("job");
    assert_eq!(created["State"]["Status"], "created");
    assert_eq!(created["State"]["StartedAt"], "0001-01-01T00:00:00Z");
    assert_eq!(host.sh("docker start job").ok(), "job");
    assert_eq!(host.wait("job"), 5);
    let exited = host.inspect("job");
    assert_eq!(exited["Id"], id);
    assert_eq!(exited["State"]["Status"], "exited");
    assert_eq!(exited["State"]["ExitCode"], 5);
    assert_eq!(exited["State"]["Running"], false);
    assert_eq!(exited["State"]["Pid"], 0);
    // It can be started again, attached.
    let again = host.sh("docker start -a job");
    assert_eq!((again.code, again.stdout.as_str()), (5, "done\n"));
    assert_eq!(host.sh("docker rm job").ok(), "job");
    let message = host.sh("docker inspect job").fails(1);
    assert!(
        message.to_lowercase().contains("no such object: job"),
        "{message}"
    );
}

#[test]
fn stop_signals_and_then_kills() {
    let host = TestHost::start();
    host.sh("docker run -d --name polite busybox sh -c 'trap \"exit 3\" TERM; echo ready; while :; do sleep 0.1; done'").ok();
    says_ready(&host, "polite");
    host.sh("docker stop polite").ok();
    assert_eq!(host.inspect("polite")["State"]["ExitCode"], 3);
    // Process 1 without a handler ignores it.
    host.sh("docker run -d --name deaf busybox sleep 1000").ok();
    host.sh("docker stop -t 1 deaf").ok();
    assert_eq!(host.inspect("deaf")["State"]["ExitCode"], 137);
    // Stopping what is stopped is no error, over the API it is "not modified".
    host.sh("docker stop deaf").ok();
    assert_eq!(
        host.api("POST", "/v1.45/containers/deaf/stop", None).status,
        304
    );
    assert_eq!(
        host.api("POST", "/v1.45/containers/nosuch/stop", None)
            .status,
        404
    );
    // The container's own signal and time.
    host.sh("docker run -d --name own --stop-signal USR1 --stop-timeout 30 busybox sh -c 'trap \"exit 4\" USR1; echo ready; while :; do sleep 0.1; done'").ok();
    says_ready(&host, "own");
    host.sh("docker stop own").ok();
    assert_eq!(host.inspect("own")["State"]["ExitCode"], 4);
}

#[test]
fn kill_sends_any_signal() {
    let host = TestHost::start();
    host.sh("docker run -d --name target busybox sh -c 'trap \"echo hup\" HUP; echo ready; while :; do sleep 0.1; done'").ok();
    says_ready(&host, "target");
    host.sh("docker kill -s HUP target").ok();
    dhow_tests::eventually("the signal arrives", || {
        host.sh("docker logs target")
            .ok()
            .contains("hup")
            .then_some(())
    });
    assert_eq!(host.state("target"), "running");
    host.sh("docker kill target").ok();
    // The answer to a kill means that it is over: clients look, or remove it, at once.
    assert_eq!(host.state("target"), "exited");
    assert_eq!(host.inspect("target")["State"]["ExitCode"], 137);
    let message = host.sh("docker kill target").fails(1);
    assert!(message.contains("is not running"), "{message}");
    assert_eq!(
        host.api("POST", "/v1.45/containers/target/kill", None)
            .status,
        409
    );
    let message = host.sh("docker kill -s NOSUCH target").fails(1);
    assert!(
        message.to_lowercase().contains("invalid signal"),
        "{message}"
    );
}

#[test]
fn a_wait_ends_with_a_run_that_is_followed_by_another() {
    let host = TestHost::start();
    host.sh("docker run -d --name again --restart always busybox sh -c 'sleep 1; exit 3'")
        .ok();
    assert_eq!(host.wait("again"), 3);
    let message = host.sh("docker rm again").fails(1);
    assert!(
        message.contains("stop the container before removing or force remove"),
        "{message}"
    );
    host.sh("docker rm -f again").ok();
}

#[test]
fn restart() {
    let host = TestHost::start();
    host.sh("docker run -d --name again busybox sh -c 'echo up; exec sleep 1000'")
        .ok();
    let first = host.inspect("again")["State"]["Pid"].clone();
    host.sh("docker restart -t 0 again").ok();
    assert_eq!(host.state("again"), "running");
    assert_ne!(host.inspect("again")["State"]["Pid"], first);
    dhow_tests::eventually("it says so twice", || {
        (host.sh("docker logs again").ok() == "up\nup").then_some(())
    });
}

#[test]
fn pause() {
    let host = TestHost::start();
    host.sh("docker run -d --name frozen busybox sleep 1000")
        .ok();
    host.sh("docker pause frozen").ok();
    assert_eq!(host.state("frozen"), "paused");
    assert!(host.sh("docker ps").ok().contains("(Paused)"));
    let message = host.sh("docker exec frozen true").fails(1);
    assert!(message.contains("is paused"), "{message}");
    host.sh("docker unpause frozen").ok();
    assert_eq!(host.state("frozen"), "running");
    host.sh("docker exec frozen true").ok();
    // A paused container can be removed by force.
    host.sh("docker pause frozen && docker rm -f frozen").ok();
}

#[test]
fn rename() {
    let host = TestHost::start();
    host.sh("docker create --name old busybox && docker create --name other busybox")
        .ok();
    host.sh("docker rename old new").ok();
    assert_eq!(host.inspect("new")["Name"], "/new");
    host.sh("docker inspect old").fails(1);
    let message = host.sh("docker rename new other").fails(1);
    assert!(
        message.contains("is already in use by container"),
        "{message}"
    );
}

#[test]
fn names() {
    let host = TestHost::start();
    let id = host.sh("docker create busybox").ok();
    // A name is made up where none is given.
    let name = host.inspect(&id)["Name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(name.starts_with('/') && name.contains('_'), "{name}");
    // An id's beginning will do for it.
    assert_eq!(host.inspect(&id[..6])["Id"], id);
    let message = host
        .sh("docker create --name 'not/allowed' busybox")
        .fails(1);
    assert!(message.contains("Invalid container name"), "{message}");
}

#[test]
fn wait_knows_its_conditions() {
    let host = TestHost::start();
    host.sh("docker create --name ww busybox sh -c 'exit 9'")
        .ok();
    // Not running yet: at once.
    let answer = host.api(
        "POST",
        "/v1.45/containers/ww/wait?condition=not-running",
        None,
    );
    assert_eq!(answer.json(), json!({"StatusCode": 0}));
    // The next exit and the removal, registered before the start: the answer's head says that they are.
    let wait = |condition: &str| {
        let line = format!(
            "curl -sN -D {condition}.head --unix-socket s -X POST 'http://d/v1.45/containers/ww/wait?condition={condition}'"
        );
        let waiting = host.spawn(&line);
        dhow_tests::eventually("it is registered", || {
            let head = std::fs::read_to_string(host.path(&format!("{condition}.head"))).ok()?;
            head.contains(" 200 ").then_some(())
        });
        waiting
    };
    let (waiting, removed) = (wait("next-exit"), wait("removed"));
    host.sh("docker start ww").ok();
    assert!(waiting.finish().ok().contains(r#""StatusCode":9"#));
    host.sh("docker rm ww").ok();
    assert!(removed.finish().ok().contains(r#""StatusCode":9"#));
    assert_eq!(
        host.api("POST", "/v1.45/containers/nosuch/wait", None)
            .status,
        404
    );
}

#[test]
fn remove() {
    let host = TestHost::start();
    host.sh("docker run -d --name busy busybox sleep 1000").ok();
    let message = host.sh("docker rm busy").fails(1);
    assert!(
        message.contains("cannot remove container") && message.contains("container is running"),
        "{message}"
    );
    assert_eq!(
        host.api("DELETE", "/v1.45/containers/busy", None).status,
        409
    );
    assert_eq!(host.sh("docker rm -f busy").ok(), "busy");
    let message = host.sh("docker rm busy").fails(1);
    assert!(message.contains("No such container: busy"), "{message}");
    assert_eq!(host.sh("docker ps -aq").ok(), "");
}

#[test]
fn prune_removes_what_has_ended() {
    let host = TestHost::start();
    host.sh("docker run --name ended busybox true; docker run -d --name on busybox sleep 1000")
        .ok();
    host.sh("docker container prune -f").ok();
    assert_eq!(host.sh("docker ps -a --format '{{.Names}}'").ok(), "on");
}

#[test]
fn ps_lists_and_filters() {
    let host = TestHost::start();
    host.sh("docker run --name gone -l kind=a busybox sh -c 'exit 3'")
        .fails(3);
    host.sh("docker run -d --name here -l kind=b busybox sleep 1000")
        .ok();
    let ps = host.sh("docker ps").ok();
    assert!(ps.starts_with("CONTAINER ID   IMAGE     COMMAND"), "{ps}");
    assert!(
        ps.contains("\"sleep 1000\"") && ps.contains("Up ") && ps.ends_with("here"),
        "{ps}"
    );
    let names = |filter: &str| {
        host.sh(&format!("docker ps -a --format '{{{{.Names}}}}' {filter}"))
            .ok()
    };
    assert_eq!(names(""), "here\ngone");
    assert_eq!(names("-f status=exited"), "gone");
    assert_eq!(names("-f exited=3"), "gone");
    assert_eq!(names("-f label=kind=b"), "here");
    assert_eq!(names("-f name=her"), "here");
    assert_eq!(names("-f ancestor=busybox"), "here\ngone");
    assert_eq!(names("-n 1"), "here");
    assert!(
        host.sh("docker ps -a -f name=gone")
            .ok()
            .contains("Exited (3) ")
    );
    let message = host.sh("docker ps -f nosuch=x").fails(1);
    assert!(message.contains("invalid filter 'nosuch'"), "{message}");
    // Sizes are counted when they are asked for.
    host.sh("docker exec here sh -c 'head -c 1000 /dev/zero >/file'")
        .ok();
    let size = host.sh("docker ps -s --format '{{.Size}}'").ok();
    assert!(size.contains("kB (virtual "), "{size}");
}

#[test]
fn what_inspect_shows_can_be_created_again() {
    let host = TestHost::start();
    host.sh("docker create --name first -e A=1 -p 8080:80 -v /data --label l=1 -m 64m --cap-add NET_ADMIN busybox sleep 5").ok();
    let first = host.inspect("first");
    let mut body = first["Config"].clone();
    body["HostConfig"] = first["HostConfig"].clone();
    let answer = host.api("POST", "/v1.45/containers/create?name=second", Some(&body));
    assert_eq!(answer.status, 201, "{answer:#?}");
    let second = host.inspect("second");
    for field in ["Env", "Cmd", "Labels", "Image", "ExposedPorts"] {
        assert_eq!(second["Config"][field], first["Config"][field], "{field}");
    }
    assert_eq!(second["HostConfig"], first["HostConfig"]);
}

#[test]
fn top_shows_the_processes() {
    let host = TestHost::start();
    host.sh("docker run -d --name busy busybox sleep 1234").ok();
    let top = host.sh("docker top busy").ok();
    assert!(
        top.starts_with("UID ") && top.contains("sleep 1234"),
        "{top}"
    );
}

/// Docker gives up at the first start that fails.
#[test]
fn a_restart_whose_start_fails_is_tried_again() {
    let host = TestHost::start();
    if host.engine != Engine::Dhow {
        return;
    }
    let count = |name: &str| host.inspect(name)["RestartCount"].as_u64().unwrap();
    let source = host.path("source");
    let run = |name: &str, policy: &str| {
        std::fs::create_dir_all(&source).unwrap();
        host.sh(&format!(
            "docker run -d --name {name} --restart {policy} --mount type=bind,src={},dst=/x busybox sh -c 'echo ready; while test -d /x; do if test -e /x/end; then exit 5; fi; sleep 0.05; done'",
            source.display()
        ))
        .ok();
        says_ready(&host, name);
        // It ends with its source gone.
        let away = host.path("away");
        std::fs::rename(&source, &away).unwrap();
        std::fs::write(away.join("end"), "").unwrap();
        eventually("its start has failed more than once", || {
            (count(name) >= 2).then_some(())
        });
        std::fs::remove_dir_all(&away).unwrap();
    };
    run("always", "always");
    let state = host.inspect("always")["State"].take();
    assert_eq!(state["Status"], "restarting", "{state}");
    let error = state["Error"].as_str().unwrap();
    assert!(error.contains("bind source path does not exist"), "{error}");
    // Once it is back, so is the container.
    std::fs::create_dir_all(&source).unwrap();
    eventually("it runs again", || {
        (host.state("always") == "running").then_some(())
    });
    host.sh("docker rm -f always").ok();

    run("thrice", "on-failure:3");
    eventually("it is given up", || {
        (host.state("thrice") == "exited").then_some(())
    });
    assert_eq!(count("thrice"), 3);

    // A user's stop ends it as well.
    run("stopped", "always");
    host.sh("docker stop stopped").ok();
    assert_eq!(host.state("stopped"), "exited");
    let now = count("stopped");
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(
        (host.state("stopped").as_str(), count("stopped")),
        ("exited", now)
    );
}
