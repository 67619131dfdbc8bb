//! Shared memory and message queues: of one's own, of another container, of the host.

use dhow_tests::{Engine, TestHost, eventually};
use serde_json::json;

const IDLE: &str = "busybox sleep 1000";

fn namespace(host: &TestHost, name: &str) -> String {
    host.sh(&format!("docker exec {name} readlink /proc/self/ns/ipc"))
        .ok()
}

#[test]
fn a_containers_memory_and_queues_are_shared_with_another() {
    let host = TestHost::start();
    host.sh(&format!(
        "docker run -d --name donor --ipc shareable --shm-size 1m {IDLE}"
    ))
    .ok();
    host.sh(&format!(
        "docker run -d --name guest --read-only --ipc container:donor {IDLE}"
    ))
    .ok();
    // Of the guest's guest it is the donor's as well.
    host.sh(&format!(
        "docker run -d --name third --ipc container:guest {IDLE}"
    ))
    .ok();
    let id = host.id("donor");
    assert_eq!(
        host.inspect("guest")["HostConfig"]["IpcMode"],
        format!("container:{id}")
    );
    for guest in ["guest", "third"] {
        assert_eq!(namespace(&host, guest), namespace(&host, "donor"));
        host.sh(&format!(
            "docker exec {guest} sh -c 'echo {guest} > /dev/shm/{guest} && touch /dev/mqueue/{guest}'"
        ))
        .ok();
        let seen = host.sh(&format!(
            "docker exec donor sh -c 'cat /dev/shm/{guest}; ls /dev/mqueue'"
        ));
        assert!(seen.ok().starts_with(guest));
        let mounted = host.sh(&format!(
            "docker exec {guest} grep ' /dev/shm ' /proc/mounts"
        ));
        let mounted = mounted.ok();
        for option in ["size=1024k", "nosuid", "nodev", "noexec", "rw"] {
            assert!(mounted.contains(option), "{option} is missing: {mounted}");
        }
    }
    assert_eq!(
        host.sh("docker exec donor ls /dev/mqueue").ok(),
        "guest\nthird"
    );
    // What the user mounts there himself is his; the queues are shared still.
    let own = host.sh("docker run --rm --ipc container:donor --tmpfs /dev/shm busybox sh -c 'ls /dev/shm; echo; ls /dev/mqueue'");
    assert_eq!(own.ok(), "\nguest\nthird");
    // It is the donor's memory for as long as anyone has it, and its new one from the next start on.
    host.sh("docker stop -t 0 donor").ok();
    assert_eq!(
        host.sh("docker exec guest cat /dev/shm/third").ok(),
        "third"
    );
    let refused = host.sh("docker restart -t 0 guest").fails(1);
    let why = format!("failed to join IPC namespace: container {id} is not running");
    assert!(refused.contains(&why), "{refused}");
    let refused = host.api("POST", "/containers/guest/start", None);
    assert_eq!(refused.status, 409, "{refused:?}");
    host.sh("docker rename donor giver").ok();
    host.sh("docker start giver guest").ok();
    assert_eq!(namespace(&host, "guest"), namespace(&host, "giver"));
    assert_eq!(host.sh("docker exec guest ls /dev/shm").ok(), "");
}

#[test]
fn what_is_not_shareable_is_not_shared() {
    let host = TestHost::start();
    for (name, flags) in [
        ("private", "--ipc private"),
        ("none", "--ipc none"),
        ("default", ""),
        ("own", "--ipc shareable --tmpfs /dev/shm"),
    ] {
        host.sh(&format!("docker run -d --name {name} {flags} {IDLE}"))
            .ok();
        let create =
            json!({"Image": "busybox", "HostConfig": {"IpcMode": format!("container:{name}")}});
        let path = format!("/containers/create?name=of-{name}");
        assert_eq!(host.api("POST", &path, Some(&create)).status, 201);
        let refused = host.api("POST", &format!("/containers/of-{name}/start"), None);
        let why = format!(
            "failed to join IPC namespace: container {}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)",
            host.id(name)
        );
        assert_eq!(refused.status, 400, "{refused:?}");
        assert!(refused.body.contains(&why), "{refused:?}");
    }
    for (mode, why) in [
        ("container:", "invalid IPC mode: container:"),
        ("container:nosuch", "No such container: nosuch"),
        ("shared", "invalid IPC mode: shared"),
    ] {
        let refused = host.sh(&format!("docker run --rm --ipc {mode} busybox true"));
        assert!(refused.stderr.contains(why), "{mode}: {refused:?}");
        assert_eq!(refused.code, 125);
    }
}

/// With or without the host's own mount of message queues.
#[test]
fn the_hosts_memory_and_queues() {
    let host = TestHost::start();
    host.sh(&format!("docker run -d --name donor --ipc host {IDLE}"))
        .ok();
    host.sh(&format!(
        "docker run -d --name guest --ipc container:donor {IDLE}"
    ))
    .ok();
    let own = std::fs::read_link("/proc/self/ns/ipc").unwrap();
    let mark = format!("dhow-test-{}", std::process::id());
    let on_host = std::path::Path::new("/dev/shm").join(&mark);
    for name in ["donor", "guest"] {
        assert_eq!(namespace(&host, name), own.to_string_lossy());
        host.sh(&format!("docker exec {name} touch /dev/shm/{mark}"))
            .ok();
        std::fs::remove_file(&on_host).unwrap();
    }
    host.sh(&format!("docker exec donor touch /dev/mqueue/{mark}"))
        .ok();
    host.sh(&format!("docker exec guest rm /dev/mqueue/{mark}"))
        .ok();
    let sysctl = host.sh("docker run --rm --ipc host --sysctl kernel.shmmax=1 busybox true");
    assert!(
        sysctl.stderr.contains("not allowed in host ipc namespace"),
        "{sysctl:?}"
    );
}

/// At a host's start all come back at once.
#[test]
fn who_shares_is_started_after_whom_it_shares_with() {
    let mut host = TestHost::start();
    if host.engine != Engine::Dhow {
        return;
    }
    host.sh(&format!(
        "docker run -d --name donor --restart always --ipc shareable {IDLE}"
    ))
    .ok();
    let share = "--ipc container:donor --pid container:donor --network container:donor";
    host.sh(&format!(
        "docker run -d --name guest --restart always {share} {IDLE}"
    ))
    .ok();
    let begin = host.sh("date +%s.%N").ok();
    let processes: Vec<_> = ["guest", "donor"]
        .into_iter()
        .flat_map(|name| [host.shim(name), host.init(name)])
        .collect();
    host.kill_daemon();
    processes.iter().for_each(|process| process.kill());
    host.start_daemon();
    eventually("both run again", || {
        let all = ["donor", "guest"];
        all.iter()
            .all(|name| host.state(name) == "running")
            .then_some(())
    });
    assert_eq!(namespace(&host, "guest"), namespace(&host, "donor"));
    assert_eq!(host.inspect("guest")["RestartCount"], 1);
    let died = host.sh(&format!(
        "docker events --since {begin} --until $(date +%s.%N) --filter container=guest --filter event=die"
    ));
    assert_eq!(died.ok().lines().count(), 1, "no start failed");
}
