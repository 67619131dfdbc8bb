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
