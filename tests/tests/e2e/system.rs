//! The daemon itself: ping, version, info, API versions.

use dhow_tests::{Engine, HostOptions, TestHost, eventually};

#[test]
fn ping() {
    let host = TestHost::empty();
    let answer = host.api("GET", "/_ping", None);
    assert_eq!((answer.status, answer.body.as_str()), (200, "OK"));
    assert_eq!(answer.header("OSType"), Some("linux"));
    assert!(
        answer
            .header("API-Version")
            .is_some_and(|version| version.starts_with("1."))
    );
    assert!(answer.header("Docker-Experimental").is_some());
    assert!(answer.header("Builder-Version").is_some());
    assert_eq!(
        answer.header("Cache-Control"),
        Some("no-cache, no-store, must-revalidate")
    );
    let head = host.api("HEAD", "/_ping", None);
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    // Under any version's path as well.
    assert_eq!(host.api("GET", "/v1.40/_ping", None).status, 200);
}

#[test]
fn api_versions() {
    let host = TestHost::empty();
    if host.engine == Engine::Dhow {
        assert_eq!(host.api("GET", "/v1.24/version", None).status, 200);
        let answer = host.api("GET", "/v1.23/version", None);
        assert_eq!(answer.status, 400);
        assert!(answer.json()["message"].as_str().is_some_and(|message| {
            message.starts_with(
                "client version 1.23 is too old. Minimum supported API version is 1.24",
            )
        }));
        assert_eq!(host.api("GET", "/v1.56/version", None).status, 200);
    }
    let answer = host.api("GET", "/v9.99/version", None);
    assert_eq!(answer.status, 400);
    assert!(answer.json()["message"].as_str().is_some_and(|message| {
        message.starts_with("client version 9.99 is too new. Maximum supported API version is 1.")
    }));
    let answer = host.api("GET", "/v1.45/nosuch", None);
    assert_eq!(answer.status, 404);
    assert_eq!(answer.json()["message"], "page not found");
}

#[test]
fn version_and_info() {
    let host = TestHost::empty();
    let version = host.sh("docker version").ok();
    assert!(
        version.contains("Server:") && version.contains("API version:"),
        "{version}"
    );
    let info = host.sh("docker info").ok();
    for line in [
        "Containers: 0",
        "Images: 0",
        "OSType: linux",
        "Logging Driver: json-file",
        "Cgroup Version: ",
    ] {
        assert!(info.contains(line), "{line} in {info}");
    }
    assert!(
        info.contains("http://127.0.0.1:5000"),
        "the mirror is in {info}"
    );
    let info = host.api("GET", "/v1.45/info", None).json();
    assert_eq!(
        info["DockerRootDir"],
        host.data_root().display().to_string()
    );
    assert_eq!(
        info["NCPU"].as_u64(),
        std::thread::available_parallelism()
            .ok()
            .map(|n| n.get() as u64)
    );
    assert!(info["MemTotal"].as_u64() > Some(0));
}

#[test]
fn info_counts() {
    let host = TestHost::start();
    host.sh("docker run -d --name on busybox sleep 1000; docker run --name off busybox true")
        .ok();
    let info = host.api("GET", "/v1.45/info", None).json();
    let counts = [
        "Containers",
        "ContainersRunning",
        "ContainersStopped",
        "Images",
    ]
    .map(|key| info[key].as_u64());
    assert_eq!(counts, [Some(2), Some(1), Some(1), Some(1)]);
}

#[test]
fn a_second_daemon_on_the_same_data_root_is_refused() {
    let host = TestHost::empty();
    if host.engine != Engine::Dhow {
        return;
    }
    let finished = host.sh("dhow daemon -H unix://$PWD/other.sock --data-root data --exec-root other-run --pidfile other.pid");
    assert_eq!(finished.code, 1, "{finished:#?}");
    assert!(finished.stderr.contains("data"), "{finished:#?}");
    assert!(!host.path("other.sock").exists());
    // The first one goes on.
    host.sh("docker version").ok();
}

#[test]
fn the_socket_is_its_owners_and_its_groups() {
    use std::os::unix::fs::PermissionsExt;
    let host = TestHost::empty();
    let mode = std::fs::metadata(host.socket())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o660);
}

#[test]
fn configuration_file() {
    let mut host = TestHost::empty();
    if host.engine != Engine::Dhow {
        return;
    }
    std::fs::write(
        host.path("daemon.json"),
        r#"{"labels": ["deck=upper"], "debug": true}"#,
    )
    .unwrap();
    host.stop_daemon();
    let refused = |host: &TestHost, text: &str| {
        std::fs::write(host.path("bad.json"), text).unwrap();
        let finished = host.sh("dhow daemon --config-file bad.json -H unix://$PWD/s --data-root data --exec-root run --pidfile pid");
        assert_eq!(finished.code, 1, "{finished:#?}");
        finished.stderr
    };
    assert!(refused(&host, r#"{"no-such-key": 1}"#).contains("no-such-key"));
    assert!(refused(&host, r#"{"debug": true, "debug": false}"#).contains("debug"));
    assert!(refused(&host, r#"{"debug": "#).contains("bad.json"));
    assert!(
        refused(&host, r#"{"data-root": "/x"}"#).contains("data-root"),
        "given by flag as well"
    );
    host.start_daemon();
}

#[test]
fn listens_on_tcp_where_it_is_told_to() {
    let host = TestHost::with(HostOptions {
        busybox: false,
        daemon: ["-H", "tcp://127.0.0.1:2375", "--tls=false"]
            .map(str::to_owned)
            .to_vec(),
        ..HostOptions::default()
    });
    host.sh("docker -H tcp://127.0.0.1:2375 version").ok();
}

#[test]
fn disk_usage() {
    let host = TestHost::start();
    // Shares busybox's layer.
    host.sh("docker tag busybox other; docker volume create free >/dev/null; docker run --name off -v used:/data busybox sh -c 'head -c 5000 /dev/zero >/data/x; head -c 3000 /dev/zero >/x'; docker run -d --name on busybox sleep 1000 >/dev/null")
        .ok();
    let layer = host.inspect("busybox")["Size"].as_i64();
    let df = |query: &str| {
        let answer = host.api("GET", query, None);
        assert_eq!(answer.status, 200, "{answer:#?}");
        answer.json()
    };
    let old = df("/v1.51/system/df");
    assert_eq!(old["LayersSize"].as_i64(), layer);
    assert_eq!(old["Images"][0]["Containers"], 2);
    let volumes = old["Volumes"].as_array().unwrap();
    let usage = |name: &str| {
        let found = volumes.iter().find(|v| v["Name"] == name).unwrap();
        let usage = &found["UsageData"];
        (usage["RefCount"].as_i64(), usage["Size"].as_i64())
    };
    assert_eq!(usage("used"), (Some(1), Some(5000)));
    assert_eq!(usage("free"), (Some(0), Some(0)));
    let containers = old["Containers"].as_array().unwrap();
    let off = containers.iter().find(|c| c["Names"][0] == "/off").unwrap();
    assert_eq!(off["SizeRw"], 3000);
    assert_eq!(off["SizeRootFs"].as_i64(), layer.map(|l| l + 3000));
    assert_eq!(old["BuildCache"], serde_json::json!([]));
    assert!(old.get("ImageUsage").is_none());

    // From 1.52 sums, beside what was there before; with each object instead, if asked.
    let both = df("/v1.52/system/df");
    assert_eq!(both["LayersSize"].as_i64(), layer);
    let new = df("/system/df?verbose=1");
    assert!(new.get("Images").is_none() && new.get("LayersSize").is_none());
    for (kind, total, active, size, reclaimable) in [
        ("ImageUsage", 1, Some(1), layer, None),
        ("ContainerUsage", 2, Some(1), Some(3000), Some(3000)),
        ("VolumeUsage", 2, Some(1), Some(5000), None),
    ] {
        for (usage, items) in [(&both[kind], None), (&new[kind], Some(total))] {
            let number = |name: &str| usage[name].as_i64();
            assert_eq!(
                (
                    number("TotalCount"),
                    number("ActiveCount"),
                    number("TotalSize"),
                    number("Reclaimable")
                ),
                (Some(total as i64), active, size, reclaimable),
                "{kind} {usage:#}"
            );
            assert_eq!(usage["Items"].as_array().map(Vec::len), items, "{kind}");
        }
    }
    assert_eq!(new["BuildCacheUsage"], serde_json::json!({}));
    let kinds: Vec<String> = df("/system/df?type=volume&type=image&verbose=true")
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert_eq!(kinds, ["ImageUsage", "VolumeUsage"]);
    assert_eq!(host.api("GET", "/system/df?type=x", None).status, 400);
    let shown = host
        .sh("docker system df --format '{{.Type}} {{.TotalCount}} {{.Active}}'")
        .ok();
    assert_eq!(
        shown,
        "Images 1 1\nContainers 2 1\nLocal Volumes 2 1\nBuild Cache 0 0"
    );
    host.sh("docker rm -f -v off on; docker volume rm used free")
        .ok();
}

/// A sample that was not taken has a time all the same.
#[test]
fn samples_that_were_not_taken_have_gos_zero_time() {
    let host = TestHost::start();
    host.sh("docker create --name off busybox; docker run -d --name on busybox sleep 1000")
        .ok();
    let zero = "0001-01-01T00:00:00Z";
    let first = host
        .api("GET", "/containers/on/stats?stream=0&one-shot=1", None)
        .json();
    assert_eq!(first["preread"], zero);
    assert_ne!(first["read"], zero);
    let none = host
        .api("GET", "/containers/off/stats?stream=0", None)
        .json();
    assert_eq!(
        (&none["read"], &none["preread"]),
        (&zero.into(), &zero.into())
    );
    let state = &host.inspect("off")["State"];
    assert_eq!(
        (&state["StartedAt"], &state["FinishedAt"]),
        (&zero.into(), &zero.into())
    );
}

#[test]
fn a_daemon_that_nobody_asks_anything_gives_memory_back() {
    let host = TestHost::start();
    if host.engine != Engine::Dhow {
        return;
    }
    // Kilobytes of the program's own file.
    let mapped = || -> u64 {
        let status = format!("/proc/{}/status", host.daemon_pid());
        let status = std::fs::read_to_string(status).expect("the daemon runs");
        let line = status.lines().find_map(|l| l.strip_prefix("RssFile:"));
        line.and_then(|l| l.split_whitespace().next()?.parse().ok())
            .expect("the kernel tells")
    };
    host.sh("docker run -d --name box busybox sleep 100000")
        .ok();
    host.sh("docker ps && docker inspect box && docker images && docker info")
        .ok();
    let busy = mapped();
    eventually("it holds a third of what it held", || {
        (mapped() < busy / 3).then_some(())
    });
    // What it has let go of is there again when it is wanted.
    assert_eq!(host.sh("docker exec box echo here").ok(), "here");
    assert_eq!(host.state("box"), "running");
}
