//! Limits that the kernel keeps, on both versions of cgroups.

use dhow_tests::TestHost;

/// A script that reads the first of these files that is there, as its container sees it.
fn cgroup_file(v1: &str, v2: &str) -> String {
    format!("'cat /sys/fs/cgroup/{v1} 2>/dev/null || cat /sys/fs/cgroup/{v2}'")
}

#[test]
fn memory() {
    let host = TestHost::start();
    let file = cgroup_file("memory/memory.limit_in_bytes", "memory.max");
    assert_eq!(
        host.sh(&format!("docker run --rm -m 64m busybox sh -c {file}"))
            .ok(),
        "67108864"
    );
    let message = host.sh("docker run --rm -m 4m busybox true").fails(125);
    assert!(
        message.contains("Minimum memory limit allowed is 6MB"),
        "{message}"
    );
}

#[test]
fn a_container_that_takes_too_much_memory_is_killed_and_says_so() {
    let host = TestHost::start();
    // A variable that doubles until it is over.
    let finished = host.sh("docker run --name glutton -m 16m --memory-swap 16m busybox sh -c 'x=0123456789abcdef; while :; do x=$x$x; done'");
    assert_eq!(finished.code, 137, "{finished:#?}");
    assert_eq!(host.inspect("glutton")["State"]["OOMKilled"], true);
    // Killed by hand is something else.
    host.sh("docker run -d --name modest -m 16m busybox sleep 1000")
        .ok();
    host.sh("docker kill modest").ok();
    assert_eq!(host.wait("modest"), 137);
    assert_eq!(host.inspect("modest")["State"]["OOMKilled"], false);
}

/// The event comes when it happens, not at the container's end; a kill within a container that goes on is told, too.
#[test]
fn what_runs_out_of_memory_is_told_when_it_does() {
    let mut host = TestHost::start();
    let glutton = "sh -c 'x=0123456789abcdef; while :; do x=$x$x; done'";
    host.sh(
        "docker run -d --name box --label deck=upper -m 16m --memory-swap 16m busybox sleep 1000",
    )
    .ok();
    // One kill may take the kernel two attempts.
    let events = |host: &TestHost| {
        dhow_tests::eventually("the event comes", || {
            let events = host
                .sh("docker events --since 1 --until $(date +%s) --filter event=oom --format '{{json .}}'")
                .ok();
            events.lines().next().map(str::to_owned)
        })
    };
    assert_eq!(host.inspect("box")["State"]["OOMKilled"], false);
    host.sh(&format!("docker exec box {glutton}")).fails(137);
    let event: serde_json::Value = serde_json::from_str(&events(&host)).unwrap();
    assert_eq!(event["Actor"]["ID"], host.id("box"));
    let attributes = &event["Actor"]["Attributes"];
    assert_eq!(
        (
            &attributes["name"],
            &attributes["image"],
            &attributes["deck"]
        ),
        (&"box".into(), &"busybox".into(), &"upper".into()),
        "{event:#}"
    );
    let state = &host.inspect("box")["State"];
    assert_eq!(
        (&state["Status"], &state["OOMKilled"]),
        (&"running".into(), &true.into())
    );
    // By a shim that a later daemon has found, as well.
    host.kill_daemon();
    host.start_daemon();
    host.sh(&format!("docker exec box {glutton}")).fails(137);
    events(&host);
    host.sh("docker kill box").ok();
    // One whose own process is killed: the event comes first.
    host.sh(&format!(
        "docker run --name short -m 16m --memory-swap 16m busybox {glutton}"
    ))
    .fails(137);
    let told = dhow_tests::eventually("its end is told", || {
        let all = host
            .sh("docker events --since 1 --until $(date +%s) --filter container=short --format '{{.Action}}'")
            .ok();
        let told = all.lines().filter(|a| ["start", "oom", "die"].contains(a));
        let mut told: Vec<String> = told.map(str::to_owned).collect();
        told.dedup();
        (told.last()? == "die").then_some(told)
    });
    assert_eq!(told, ["start", "oom", "die"]);
}

#[test]
fn processes() {
    let host = TestHost::start();
    let file = cgroup_file("pids/pids.max", "pids.max");
    assert_eq!(
        host.sh(&format!(
            "docker run --rm --pids-limit 7 busybox sh -c {file}"
        ))
        .ok(),
        "7"
    );
    let finished = host.sh("docker run --rm --pids-limit 7 busybox sh -c 'for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; wait'");
    assert!(finished.stderr.contains("can't fork"), "{finished:#?}");
}

#[test]
fn processors() {
    let host = TestHost::start();
    let script = "'cat /sys/fs/cgroup/cpu.max 2>/dev/null || echo $(cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us) $(cat /sys/fs/cgroup/cpu/cpu.cfs_period_us)'";
    assert_eq!(
        host.sh(&format!(
            "docker run --rm --cpus 0.5 busybox sh -c {script}"
        ))
        .ok(),
        "50000 100000"
    );
    let message = host
        .sh("docker run --rm --cpus 1000 busybox true")
        .fails(125);
    assert!(
        message.contains("range of CPUs is from 0.01 to"),
        "{message}"
    );
    let file = cgroup_file("cpu/cpu.shares", "cpu.weight");
    let weight = host
        .sh(&format!(
            "docker run --rm --cpu-shares 512 busybox sh -c {file}"
        ))
        .ok();
    assert!(
        weight == "512" || weight == "20" || weight == "59",
        "{weight}"
    );
    assert_eq!(
        host.sh("docker run --rm --cpuset-cpus 0 busybox grep Cpus_allowed_list /proc/self/status")
            .ok(),
        "Cpus_allowed_list:\t0"
    );
}

#[test]
fn resource_limits() {
    let host = TestHost::start();
    assert_eq!(
        host.sh("docker run --rm --ulimit nofile=100:200 busybox sh -c 'ulimit -Sn; ulimit -Hn'")
            .ok(),
        "100\n200"
    );
}
