//! Nothing is left of what a host has: room on the disk, descriptors, processes. What can't be done says why, what
//! needs nothing goes on, what makes room works, and all is well again once there is some.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dhow_tests::http::Exchange;
use dhow_tests::{Engine, HostOptions, TestHost, eventually};

const SOON: Duration = Duration::from_secs(60);

fn with_disk() -> Option<TestHost> {
    let host = TestHost::with(HostOptions {
        disk_mib: Some(64),
        ..HostOptions::default()
    });
    (host.engine == Engine::Dhow).then_some(host)
}

/// Takes all the room that there is.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    for size in [1 << 16, 1 << 12, 1] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
}

#[test]
fn on_a_full_disk_room_can_be_made() {
    let Some(mut host) = with_disk() else { return };
    host.sh("docker run -d --name works --restart unless-stopped busybox sleep 1000")
        .ok();
    host.sh("docker run -d --rm --name brief busybox sleep 1000")
        .ok();
    host.sh("docker run --name large busybox dd if=/dev/zero of=/large bs=1M count=8")
        .ok();
    host.sh("docker volume create kept && docker tag busybox another:name")
        .ok();
    let filling = host.data_root().join("filling");
    fill(&filling);
    // What needs room says that there is none.
    for line in [
        "docker run --rm busybox true",
        "docker commit works made",
        "echo x | docker import -",
    ] {
        let told = host.sh_within(SOON, line);
        assert_ne!(told.code, 0, "{told:#?}");
        let told = told.stderr.to_lowercase();
        assert!(told.contains("no space left on device"), "{line}: {told}");
    }
    // What needs none goes on, and ends are kept.
    host.sh_within(
        SOON,
        "docker ps && docker exec works true && docker logs works",
    )
    .ok();
    host.sh_within(SOON, "docker stop -t 0 works").ok();
    host.sh_within(SOON, "docker kill brief").ok();
    eventually("it removes itself", || {
        (host.sh("docker inspect brief").code == 1).then_some(())
    });
    host.kill_daemon();
    host.start_daemon();
    assert_eq!(host.state("works"), "exited");
    // And so is what makes room, as often as it is wanted.
    host.sh_within(
        SOON,
        "docker rm large && docker volume rm kept && docker rmi another:name",
    )
    .ok();
    host.sh_within(
        SOON,
        "docker run --rm busybox echo room >told && grep room told",
    )
    .ok();
    std::fs::remove_file(&filling).unwrap();
    host.sh("docker start works && docker tag busybox third:name && docker rm -f works")
        .ok();
}

#[test]
fn a_data_root_that_is_read_only_is_said() {
    let Some(mut host) = with_disk() else { return };
    host.sh("docker create --name made busybox true").ok();
    host.stop_daemon();
    let data = host.data_root().display().to_string();
    let remount = |how: &str| {
        eventually("it is mounted anew", || {
            (host.sh(&format!("mount -o remount,{how} {data}")).code == 0).then_some(())
        });
    };
    remount("ro");
    let mut daemon = host.engine.daemon(&host.netns, host.dir());
    let ended = daemon.output().unwrap();
    let told = String::from_utf8_lossy(&ended.stderr).to_lowercase();
    remount("rw");
    assert!(!ended.status.success());
    assert!(
        told.contains("read-only file system") && told.contains(&data.to_lowercase()),
        "{told}"
    );
    host.start_daemon();
    assert_eq!(host.state("made"), "created");
}

#[test]
fn without_descriptors_clients_wait_and_are_served_later() {
    let host = TestHost::start();
    if host.engine != Engine::Dhow {
        return;
    }
    host.sh("docker run -d --name works busybox sleep 1000")
        .ok();
    let pid = host.daemon_pid();
    let limits = format!("prlimit --pid {pid} --nofile --output HARD --noheadings");
    let hard = host.sh(&limits).ok().trim().to_owned();
    let open: Vec<u32> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .collect();
    let free = (0..).find(|number| !open.contains(number)).unwrap();
    host.sh(&format!("prlimit --pid {pid} --nofile={}:{hard}", free + 3))
        .ok();
    let path = "/v1.45/events";
    let clients: Vec<Exchange> = (0..8)
        .map(|_| Exchange::begin(&host.socket(), "GET", path, None, SOON).unwrap())
        .collect();
    eventually("the daemon says what it lacks", || {
        host.daemon_log()
            .contains("Too many open files")
            .then_some(())
    });
    let waits = host.sh("curl -s --max-time 1 --unix-socket s http://d/_ping");
    assert_eq!(waits.code, 28, "{waits:#?}");
    host.sh(&format!("prlimit --pid {pid} --nofile={hard}:{hard}"))
        .ok();
    for mut client in clients {
        client.head().unwrap();
    }
    assert_eq!(host.daemon_pid(), pid);
    host.sh("docker exec works true && docker run --rm busybox true && docker rm -f works")
        .ok();
}

fn cgroup_of(host: &TestHost) -> Option<PathBuf> {
    // Version 1, or 2 where the controller is handed down.
    let hierarchy = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"]
        .into_iter()
        .find(|dir| Path::new(dir).join("cgroup.procs").exists())?;
    let name = host.dir().file_name()?.to_str()?;
    let dir = Path::new(hierarchy).join(format!("pids-{name}"));
    std::fs::create_dir(&dir).ok()?;
    dir.join("pids.max").exists().then_some(dir)
}

#[test]
fn without_processes_a_start_says_so() {
    let host = TestHost::start();
    let Some(cgroup) = cgroup_of(&host).filter(|_| host.engine == Engine::Dhow) else {
        return;
    };
    let spawner = host.spawner();
    for pid in [host.daemon_pid() as i32, spawner.pid] {
        std::fs::write(cgroup.join("cgroup.procs"), pid.to_string()).unwrap();
    }
    let limit = |limit: &str| std::fs::write(cgroup.join("pids.max"), limit).unwrap();
    limit("1");
    let told = host.sh_within(SOON, "docker run --name none busybox true </dev/null");
    assert_ne!(told.code, 0, "{told:#?}");
    assert!(told.stderr.contains("no process"), "{told:#?}");
    host.sh_within(SOON, "docker ps && docker inspect none")
        .ok();
    limit("max");
    host.sh("docker start -a none && docker run --rm busybox true")
        .ok();
    host.sh("docker rm none").ok();
    // It is empty once the daemon has ended.
    let home = cgroup.parent().unwrap().join("cgroup.procs");
    for pid in std::fs::read_to_string(cgroup.join("cgroup.procs"))
        .unwrap()
        .lines()
    {
        let _ = std::fs::write(&home, pid);
    }
    eventually("the group is empty", || std::fs::remove_dir(&cgroup).ok());
}
