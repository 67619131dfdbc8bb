//! Docker's default confinement, as seen from inside.

use dhow_tests::{TestHost, eventually};

fn status(host: &TestHost, flags: &str, field: &str) -> String {
    let out = host
        .sh(&format!(
            "docker run --rm {flags} busybox grep ^{field}: /proc/self/status"
        ))
        .ok();
    out.split_whitespace().nth(1).unwrap_or_default().to_owned()
}

#[test]
fn capabilities() {
    let host = TestHost::start();
    // Docker's fourteen.
    assert_eq!(status(&host, "", "CapEff"), "00000000a80425fb");
    assert_eq!(status(&host, "", "CapBnd"), "00000000a80425fb");
    assert_eq!(status(&host, "", "CapInh"), "0000000000000000");
    assert_eq!(status(&host, "", "CapAmb"), "0000000000000000");
    assert_eq!(
        status(&host, "--cap-drop all", "CapEff"),
        "0000000000000000"
    );
    assert_eq!(
        status(&host, "--cap-drop ALL --cap-add NET_ADMIN", "CapEff"),
        "0000000000001000"
    );
    assert_eq!(
        status(&host, "--cap-add net_admin", "CapEff"),
        "00000000a80435fb"
    );
    assert_eq!(status(&host, "-u www", "CapEff"), "0000000000000000");
    let message = host
        .sh("docker run --rm --cap-add FLY busybox true")
        .fails(125);
    assert!(message.contains("CAP_FLY"), "{message}");
}

#[test]
fn system_calls() {
    let host = TestHost::start();
    assert_eq!(status(&host, "", "Seccomp"), "2");
    assert_eq!(
        status(&host, "--security-opt seccomp=unconfined", "Seccomp"),
        "0"
    );
    assert_eq!(status(&host, "--privileged", "Seccomp"), "0");
    let denied = host.sh("docker run --rm busybox unshare -U true").fails(1);
    assert!(denied.contains("Operation not permitted"), "{denied}");
    host.sh("docker run --rm --security-opt seccomp=unconfined busybox unshare -U true")
        .ok();
    // What a capability opens in the filter as well.
    let denied = host.sh("docker run --rm busybox unshare -m true").fails(1);
    assert!(denied.contains("Operation not permitted"), "{denied}");
    // (It mounts as well, which AppArmor's profile, where there is one, denies whatever the capability.)
    host.sh("docker run --rm --cap-add SYS_ADMIN --security-opt apparmor=unconfined busybox unshare -m true")
        .ok();
}

#[test]
fn a_seccomp_profile_of_ones_own() {
    let host = TestHost::start();
    std::fs::write(
        host.path("profile.json"),
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}"#,
    )
    .unwrap();
    let denied = host
        .sh("docker run --rm --security-opt seccomp=profile.json busybox mkdir /tmp/x")
        .fails(1);
    assert!(denied.contains("Operation not permitted"), "{denied}");
}

#[test]
fn no_new_privileges() {
    let host = TestHost::start();
    assert_eq!(status(&host, "", "NoNewPrivs"), "0");
    assert_eq!(
        status(&host, "--security-opt no-new-privileges", "NoNewPrivs"),
        "1"
    );
}

#[test]
fn security_options() {
    let host = TestHost::start();
    // Whether any of the control groups' mounts can be written to.
    let writable = |flags: &str| {
        let mounts = host.sh(&format!("docker run --rm {flags} busybox cat /proc/mounts"));
        let mounts = mounts.ok();
        let cgroups: Vec<bool> = mounts
            .lines()
            .filter(|line| line.contains(" /sys/fs/cgroup"))
            .map(|line| {
                line.split(' ')
                    .nth(3)
                    .unwrap()
                    .split(',')
                    .any(|o| o == "rw")
            })
            .collect();
        assert!(!cgroups.is_empty(), "{mounts}");
        assert!(cgroups.iter().all(|rw| *rw == cgroups[0]), "{mounts}");
        cgroups[0]
    };
    for (flags, expected) in [
        ("", false),
        ("--privileged", true),
        ("--security-opt writable-cgroups=true", true),
        ("--security-opt writable-cgroups=0", false),
        ("--privileged --security-opt writable-cgroups=false", false),
    ] {
        assert_eq!(writable(flags), expected, "{flags}");
    }
    host.sh("docker run --rm --security-opt writable-cgroups=1 busybox sh -c 'd=/sys/fs/cgroup; test -d $d/memory && d=$d/memory; mkdir $d/new && rmdir $d/new'").ok();
    assert_eq!(
        status(&host, "--security-opt no-new-privileges=T", "NoNewPrivs"),
        "1"
    );
    assert_eq!(
        status(
            &host,
            "--security-opt no-new-privileges:false",
            "NoNewPrivs"
        ),
        "0"
    );
    host.sh("docker run --rm --security-opt systempaths=unconfined busybox sh -c 'echo 7 >/proc/sys/kernel/shm_rmid_forced || true; grep -c kcore /proc/mounts'")
        .fails(1);
    let create = |options: &[&str]| {
        let body = serde_json::json!({"Image": "busybox", "HostConfig": {"SecurityOpt": options}});
        host.api("POST", "/containers/create", Some(&body))
    };
    for (options, why) in [
        (&["x=y"][..], "invalid --security-opt 2: \\\"x=y\\\""),
        (
            &["seccomp=builtin", "writable"],
            "invalid --security-opt 1: \\\"writable\\\"",
        ),
        (&["writable-cgroups=maybe"], "invalid --security-opt 2"),
        (&["no-new-privileges=2"], "invalid --security-opt 2"),
    ] {
        let refused = create(options);
        assert_eq!(refused.status, 400, "{refused:?}");
        assert!(refused.body.contains(why), "{refused:?}");
    }
    for options in [
        &["label=type:x", "label:disable", "disable"][..],
        &["apparmor=", "seccomp="],
        &["writable-cgroups", "no-new-privileges"],
    ] {
        assert_eq!(create(options).status, 201, "{options:?}");
    }
    host.sh("docker create --name shown --pid host busybox true")
        .ok();
    assert_eq!(
        host.inspect("shown")["HostConfig"]["SecurityOpt"],
        serde_json::json!(["label=disable"])
    );
}

#[test]
fn masked_and_read_only_paths() {
    let host = TestHost::start();
    let out = host
        .sh("docker run --rm busybox sh -c 'wc -c </proc/kcore; wc -c </proc/keys; ls /proc/scsi /sys/firmware | grep -c ^[a-z]'")
        .stdout;
    assert!(out.starts_with("0\n0\n"), "{out}");
    let denied = host
        .sh("docker run --rm busybox sh -c 'echo 1 >/proc/sys/kernel/panic'")
        .fails(1);
    assert!(denied.contains("Read-only file system"), "{denied}");
    if std::path::Path::new("/proc/sysrq-trigger").exists() {
        let denied = host
            .sh("docker run --rm busybox sh -c 'echo b >/proc/sysrq-trigger'")
            .fails(1);
        assert!(denied.contains("Read-only file system"), "{denied}");
    }
    let denied = host.sh("docker run --rm busybox sh -c 'd=/sys/fs/cgroup; test -d $d/memory && d=$d/memory; mkdir $d/new'").fails(1);
    assert!(denied.contains("Read-only file system"), "{denied}");
}

#[test]
fn devices() {
    let host = TestHost::start();
    let out = host.sh("docker run --rm busybox ls /dev").ok();
    let names: Vec<_> = out.lines().filter(|name| *name != "core").collect();
    assert_eq!(
        names,
        [
            "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin",
            "stdout", "tty", "urandom", "zero"
        ]
    );
    host.sh("docker run --rm busybox sh -c 'head -c 9 /dev/urandom >/dev/null && head -c 1 /dev/zero >/dev/shm/x'").ok();
    // A node that the device rules forbid can be made and not opened.
    let denied = host
        .sh("docker run --rm busybox sh -c 'mknod /dev/mem c 1 1 && head -c 1 /dev/mem'")
        .fails(1);
    assert!(denied.contains("Operation not permitted"), "{denied}");
}

#[test]
fn namespaces_are_its_own() {
    let host = TestHost::start();
    for kind in ["mnt", "uts", "ipc", "pid", "net", "cgroup"] {
        let inside = host
            .sh(&format!(
                "docker run --rm busybox readlink /proc/self/ns/{kind}"
            ))
            .ok();
        // A cgroup namespace is private on v2 only, by default.
        if kind == "cgroup" && !std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
            continue;
        }
        assert_ne!(
            inside,
            host.sh(&format!("readlink /proc/self/ns/{kind}")).ok(),
            "{kind}"
        );
    }
    let cgroup = host
        .sh("docker run --rm --cgroupns private busybox cat /proc/self/cgroup")
        .ok();
    assert!(cgroup.lines().all(|line| line.ends_with(":/")), "{cgroup}");
}

#[test]
fn privileged() {
    let host = TestHost::start();
    assert_ne!(status(&host, "--privileged", "CapEff"), "00000000a80425fb");
    host.sh("docker run --rm --privileged busybox sh -c 'mount -t tmpfs none /mnt || mkdir /mnt && mount -t tmpfs none /mnt'").ok();
    let devices = host.sh("docker run --rm --privileged busybox ls /dev").ok();
    assert!(devices.lines().any(|name| name == "kmsg"), "{devices}");
    host.sh("docker run --rm --privileged busybox sh -c 'echo 0 >/proc/sys/net/ipv4/conf/lo/forwarding'").ok();
}

#[test]
fn nothing_of_the_host_leaks_in() {
    let host = TestHost::start();
    // No descriptor but the standard ones (and the listing's own).
    assert_eq!(
        host.sh("docker run --rm busybox ls /proc/self/fd").ok(),
        "0\n1\n2\n3"
    );
    let mounts = host
        .sh("docker run --rm busybox cat /proc/self/mounts")
        .ok();
    let points: Vec<_> = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .collect();
    for point in &points {
        assert!(
            ["/", "/proc", "/dev", "/sys", "/etc/"]
                .iter()
                .any(|start| point.starts_with(start)),
            "{point} in {mounts}"
        );
    }
    assert!(!points.contains(&"/host"), "{mounts}");
    assert_eq!(
        host.sh("docker run --rm busybox env | grep -c DHOW").code,
        1
    );
}

/// A volume's content is no more to be trusted than an image's: a link in it makes no mount on /proc.
#[test]
fn links_to_proc_are_no_mount_points() {
    let host = TestHost::start();
    std::fs::create_dir(host.path("bound")).unwrap();
    host.sh("docker run --rm -v links:/links busybox sh -c 'ln -s /proc /links/proc; ln -s ../../proc/sys /links/sys'").ok();
    for link in ["proc", "sys", "proc/self"] {
        for source in ["other", "$PWD/bound"] {
            let refused = host
                .sh(&format!(
                    "docker run --rm -v links:/links -v {source}:/links/{link} busybox true"
                ))
                .fails(125);
            assert!(refused.contains("cannot be mounted because"), "{refused}");
        }
        let refused = host
            .sh(&format!(
                "docker run --rm -v links:/links --tmpfs /links/{link} busybox true"
            ))
            .fails(125);
        assert!(refused.contains("cannot be mounted because"), "{refused}");
    }
}

/// What each kind of container is confined by, and whether an exec, and a health check, is confined as well.
#[test]
fn apparmor() {
    let enabled = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    if !enabled.is_ok_and(|enabled| enabled.starts_with('Y')) {
        println!("skipped: the kernel has no AppArmor");
        return;
    }
    let host = TestHost::start();
    let current = "cat /proc/self/attr/current";
    for (flags, profile) in [
        ("", "docker-default (enforce)"),
        (
            "--security-opt apparmor=docker-default",
            "docker-default (enforce)",
        ),
        ("--security-opt apparmor=unconfined", "unconfined"),
        ("--privileged", "unconfined"),
    ] {
        let check = format!("--health-cmd '{current}' --health-interval 1s");
        host.sh(&format!(
            "docker run -d --name box {flags} {check} busybox sh -c '{current}; exec sleep 1000'"
        ))
        .ok();
        eventually("the health check says healthy", || {
            let health = host
                .sh("docker inspect -f '{{.State.Health.Status}}' box")
                .ok();
            (health == "healthy").then_some(())
        });
        assert_eq!(host.sh("docker logs box").ok(), profile, "{flags}");
        assert_eq!(
            host.sh(&format!("docker exec box {current}")).ok(),
            profile,
            "{flags}"
        );
        let checked = host
            .sh("docker inspect -f '{{(index .State.Health.Log 0).Output}}' box")
            .ok();
        assert_eq!(checked.trim(), profile, "{flags}");
        host.sh("docker rm -f box").ok();
    }
    // A capability opens the filter for it, and the profile still denies it, to both.
    host.sh("docker run -d --name box --cap-add SYS_ADMIN busybox sleep 1000")
        .ok();
    let mount = "mount -t tmpfs tmpfs /tmp";
    let denied = host.sh(&format!("docker exec box {mount}")).fails(255);
    assert!(
        denied.to_lowercase().contains("permission denied"),
        "{denied}"
    );
    host.sh(&format!(
        "docker run --rm --cap-add SYS_ADMIN --security-opt apparmor=unconfined busybox {mount}"
    ))
    .ok();
    let denied = host
        .sh("docker run --rm --security-opt systempaths=unconfined busybox sh -c 'echo h >/proc/sysrq-trigger'")
        .fails(1);
    assert!(
        denied.to_lowercase().contains("permission denied"),
        "{denied}"
    );
    let unknown = host
        .sh("docker run --rm --security-opt apparmor=no-such-profile busybox true")
        .fails(125);
    assert!(unknown.contains("no-such-profile"), "{unknown}");
}
