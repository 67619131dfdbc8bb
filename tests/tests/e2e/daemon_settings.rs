//! The daemon's flags, its file, reading it again, and its metrics.

use dhow_tests::{HostOptions, TestHost, eventually};
use rustix::process::Signal;

fn host_with(file: &str, flags: &[&str]) -> (TestHost, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("/tmp is writable");
    let path = dir.path().join("daemon.json");
    std::fs::write(&path, file).expect("/tmp is writable");
    let mut daemon = vec!["--config-file".to_owned(), path.display().to_string()];
    daemon.extend(flags.iter().map(|flag| (*flag).to_owned()));
    let host = TestHost::with(HostOptions {
        daemon,
        ..HostOptions::default()
    });
    (host, dir)
}

#[test]
fn what_is_set_for_containers_holds_for_them() {
    let (host, _dir) = host_with(
        r#"{"default-shm-size":"32m","default-ipc-mode":"shareable","init":true,"no-new-privileges":true,
            "seccomp-profile":"unconfined","default-cgroupns-mode":"private","default-stop-timeout":1,
            "default-ulimits":{"nofile":{"Name":"nofile","Hard":64,"Soft":64}}}"#,
        &["--cgroup-parent", "/dhow-test-box"],
    );
    let seen = host
        .sh("docker run --rm busybox sh -c 'df -k /dev/shm | tail -1; grep -E \"NoNewPrivs|Seccomp:\" /proc/self/status; ulimit -n; readlink /proc/1/exe; echo pid $$'")
        .ok();
    let words: Vec<&str> = seen.split_whitespace().collect();
    assert_eq!(words[1], "32768", "{seen}");
    assert!(seen.contains("NoNewPrivs:\t1"), "{seen}");
    assert!(seen.contains("Seccomp:\t0"), "{seen}");
    assert!(seen.contains("\n64\n"), "{seen}");
    assert!(!seen.ends_with("pid 1"), "{seen}");
    // A container's own word counts for more.
    let own = host
        .sh("docker run --rm --init=false --shm-size 16m --security-opt no-new-privileges=false --security-opt seccomp=builtin busybox sh -c 'df -k /dev/shm | tail -1; grep -E \"NoNewPrivs|Seccomp:\" /proc/self/status; echo pid $$'")
        .ok();
    assert_eq!(own.split_whitespace().nth(1), Some("16384"), "{own}");
    assert!(own.contains("NoNewPrivs:\t0"), "{own}");
    assert!(own.contains("Seccomp:\t2"), "{own}");
    assert!(own.ends_with("pid 1"), "{own}");

    host.sh("docker run -d --name web busybox sh -c 'trap \"\" TERM; while :; do sleep 0.1; done'")
        .ok();
    let web = host.inspect("web");
    assert_eq!(web["HostConfig"]["IpcMode"], "shareable");
    assert_eq!(web["HostConfig"]["CgroupnsMode"], "private");
    let pid = web["State"]["Pid"].as_u64().expect("it runs");
    let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it runs");
    assert!(cgroup.contains("/dhow-test-box/"), "{cgroup}");
    let nnp = host
        .sh("docker exec web grep NoNewPrivs /proc/self/status")
        .ok();
    assert!(nnp.contains('1'), "{nnp}");
    // Sooner than Docker's own ten seconds, by the daemon's clock.
    host.sh("docker stop web").ok();
    let times = dhow_tests::eventually("both signals are told", || {
        let kills = host.sh("docker events --since 1 --until 0s --filter container=web --filter event=kill --format '{{.TimeNano}}'");
        let times: Vec<i64> = kills
            .stdout
            .lines()
            .filter_map(|time| time.parse().ok())
            .collect();
        (times.len() == 2).then_some(times)
    });
    assert!(times[1] - times[0] < 8_000_000_000, "{times:?}");
    let info = host.sh("docker info --format '{{json .}}'").json();
    let security = info["SecurityOptions"].to_string();
    assert!(
        security.contains("name=seccomp,profile=unconfined"),
        "{security}"
    );
    assert!(security.contains("name=no-new-privileges"), "{security}");
    host.sh("docker rm -f web").ok();
}

#[test]
fn the_file_is_read_again() {
    let (host, dir) = host_with(r#"{"labels":["a=1"]}"#, &[]);
    let file = dir.path().join("daemon.json");
    let reload = |text: &str| {
        std::fs::write(&file, text).expect("it is writable");
        host.signal_daemon(Signal::HUP);
    };
    let info = || host.sh("docker info --format '{{json .}}'").json();
    assert_eq!(info()["Labels"], serde_json::json!(["a=1"]));
    reload(
        r#"{"labels":["a=2"],"debug":true,"default-shm-size":"32m","max-concurrent-downloads":7,
            "https-proxy":"http://u:secret@proxy.example","features":{"x":true},"init":true}"#,
    );
    let after = eventually("the labels change", || {
        let info = info();
        (info["Labels"] == serde_json::json!(["a=2"])).then_some(info)
    });
    assert_eq!(after["Debug"], true);
    assert_eq!(after["HttpsProxy"], "http://xxxxx:xxxxx@proxy.example");
    // The mirror of the command line is still there: images come from it.
    host.sh("docker rmi busybox && docker pull -q busybox").ok();
    let shm = host.sh("docker run --rm busybox df -k /dev/shm").ok();
    assert!(shm.contains("32768"), "{shm}");
    let told = host
        .sh("docker events --since 1h --until $(date +%s.%N) -f type=daemon --format '{{json .}}'")
        .json();
    assert_eq!(told["Action"], "reload");
    assert_eq!(told["Actor"]["ID"], after["ID"]);
    let attributes = &told["Actor"]["Attributes"];
    for (key, value) in [
        ("debug", "true"),
        ("labels", "[\"a=2\"]"),
        ("default-shm-size", "33554432"),
        ("default-ipc-mode", "private"),
        ("default-runtime", "runc"),
        ("default-stop-timeout", "10"),
        ("max-concurrent-downloads", "7"),
        ("max-concurrent-uploads", "5"),
        ("max-download-attempts", "5"),
        ("insecure-registries", "[\"127.0.0.1:5000\"]"),
        ("registry-mirrors", "[\"http://127.0.0.1:5000\"]"),
        ("features", "map[x:true]"),
        ("live-restore", "true"),
        ("shutdown-timeout", "15"),
    ] {
        assert_eq!(attributes[key], value, "{key}");
    }
    assert_eq!(attributes["name"], after["Name"]);
    let log = host.daemon_log();
    assert!(log.contains("settings=\"init\""), "{log}");

    for (bad, why) in [
        (r#"{"labels":["a=3"],"#, "invalid JSON"),
        (r#"{"labels":["a=3"],"lables":1}"#, "lables"),
        (r#"{"data-root":"/x","labels":["a=3"]}"#, "both as a flag"),
        (r#"{"labels":["a=3","b"]}"#, "invalid label"),
    ] {
        reload(bad);
        eventually("the error is in the log", || {
            let log = host.daemon_log();
            log.lines()
                .any(|line| line.contains("the configuration is not changed") && line.contains(why))
                .then_some(())
        });
        assert_eq!(info()["Labels"], serde_json::json!(["a=2"]), "{bad}");
    }
    reload("{}");
    eventually("what the file no longer has is gone", || {
        info()["Labels"].as_array()?.is_empty().then_some(())
    });
}

#[test]
fn a_unit_of_docker_starts_it() {
    let mut host = TestHost::start();
    host.stop_daemon();
    let called = host.path("bin").join("dockerd");
    std::os::unix::fs::symlink(dhow_tests::engine::dhow(), &called).expect("it is ours");
    let line = format!(
        "exec {} -H unix://{} --containerd=/run/containerd/containerd.sock --userland-proxy-path /usr/bin/docker-proxy -s overlay2 --data-root {} --exec-root {} --pidfile {} --config-file /dev/null",
        called.display(),
        host.socket().display(),
        host.data_root().display(),
        host.path("run").display(),
        host.path("pid2").display(),
    );
    let daemon = host.spawn(&line);
    eventually("it answers", || {
        (host.sh("docker version").code == 0).then_some(())
    });
    assert_eq!(host.sh("docker run --rm busybox echo hello").ok(), "hello");
    let log = daemon.stderr();
    for line in [
        "--containerd has no effect",
        "--userland-proxy-path has no effect",
    ] {
        assert!(log.contains(line), "{log}");
    }
    assert!(!log.contains("storage-driver"), "{log}");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.finish().code, 0);
}

#[test]
fn metrics_are_served_where_they_are_asked_for() {
    let host = TestHost::with(HostOptions {
        daemon: vec!["--metrics-addr".into(), "127.0.0.1:9323".into()],
        ..HostOptions::default()
    });
    host.sh(
        "docker run -d --name web --health-cmd false --health-interval 100ms busybox sleep 1000",
    )
    .ok();
    // What is refused is not counted.
    host.sh("docker start nosuch").fails(1);
    host.sh("docker pull -q nosuch").fails(1);
    let scrape = || host.sh("curl -sSf http://127.0.0.1:9323/metrics").ok();
    let value = |text: &str, metric: &str| -> Option<f64> {
        let line = text.lines().find(|line| line.starts_with(metric))?;
        line.rsplit_once(' ')?.1.parse().ok()
    };
    let text = eventually("a health check is counted", || {
        let text = scrape();
        (value(&text, "engine_daemon_health_checks_failed_total ")? > 0.0).then_some(text)
    });
    for (metric, least) in [
        (
            "engine_daemon_container_actions_seconds_count{action=\"create\"}",
            1.0,
        ),
        (
            "engine_daemon_container_actions_seconds_count{action=\"start\"}",
            1.0,
        ),
        (
            "engine_daemon_container_actions_seconds_bucket{action=\"commit\",le=\"+Inf\"}",
            0.0,
        ),
        (
            "engine_daemon_container_states_containers{state=\"running\"}",
            1.0,
        ),
        (
            "engine_daemon_container_states_containers{state=\"stopped\"}",
            0.0,
        ),
        ("engine_daemon_engine_cpus_cpus ", 1.0),
        ("engine_daemon_engine_memory_bytes ", 1.0),
        ("engine_daemon_engine_info{", 1.0),
        ("engine_daemon_events_total ", 3.0),
        ("engine_daemon_events_subscribers_total ", 0.0),
        ("engine_daemon_health_checks_total ", 1.0),
        ("process_resident_memory_bytes ", 1.0),
        ("process_start_time_seconds ", 1.0),
        ("process_open_fds ", 1.0),
    ] {
        let found = value(&text, metric);
        assert!(
            found.is_some_and(|found| found >= least),
            "{metric} in {text}"
        );
    }
    for (metric, exactly) in [
        ("container_actions_seconds_count{action=\"start\"}", 1.0),
        // Busybox, as for every test.
        ("image_actions_seconds_count{action=\"pull\"}", 1.0),
    ] {
        let found = value(&text, &format!("engine_daemon_{metric}"));
        assert_eq!(found, Some(exactly), "{metric} in {text}");
    }
    // Where the address is taken, a daemon ends before it has made anything.
    let (data, socket) = (host.path("second"), host.path("second.sock"));
    let taken = host.sh(&format!(
        "dhow daemon -H unix://{} --data-root {} --exec-root {}-run --metrics-addr 127.0.0.1:9323",
        socket.display(),
        data.display(),
        data.display()
    ));
    assert!(taken.fails(1).contains("127.0.0.1:9323 for metrics"));
    assert!(!data.exists() && !socket.exists());
    let head = host
        .sh("curl -sSI -X GET http://127.0.0.1:9323/metrics")
        .ok();
    assert!(
        head.to_lowercase()
            .contains("content-type: text/plain; version=0.0.4"),
        "{head}"
    );
    // Nothing of the API is there.
    host.sh("curl -sSf http://127.0.0.1:9323/version").fails(22);
    host.sh("docker rm -f web").ok();
}

#[test]
fn it_is_checked_without_being_started() {
    let host = TestHost::empty();
    let file = host.path("daemon.json");
    let check = |text: &str, flags: &str| {
        std::fs::write(&file, text).expect("it is writable");
        host.sh(&format!(
            "dhow daemon --validate --config-file {} {flags}",
            file.display()
        ))
    };
    let good = check(r#"{"storage-driver":"overlay2"}"#, "--containerd=/x");
    assert_eq!(good.stderr, "configuration OK\n");
    good.ok();
    let twice = check(r#"{"debug":true}"#, "--debug");
    assert!(
        twice.stderr.contains("specified both as a flag and in the configuration file: debug: (from flag: true, from file: true)"),
        "{}",
        twice.stderr
    );
    twice.fails(1);
    let nowhere = check(r#"{"metrics-addr":"9323"}"#, "").fails(1);
    assert!(nowhere.contains("invalid metrics-addr"), "{nowhere}");
    let unknown = check(r#"{"storage-drver":"overlay2"}"#, "");
    assert!(
        unknown
            .stderr
            .contains("don't match any configuration option: storage-drver"),
        "{}",
        unknown.stderr
    );
    unknown.fails(1);
}
