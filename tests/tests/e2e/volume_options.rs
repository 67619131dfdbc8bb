//! Volumes with a filesystem of their own: the options of the local driver.

use std::fs;
use std::path::Path;

use dhow_tests::{TestHost, eventually};
use rustix::process::Signal;

fn is_mounted(at: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let at = at.to_str().unwrap();
    mounts.lines().any(|l| l.split(' ').nth(1) == Some(at))
}

fn place(host: &TestHost, name: &str) -> std::path::PathBuf {
    host.data_root().join("volumes").join(name).join("_data")
}

/// A volume that is a directory of the host's.
fn bind_volume(host: &TestHost, name: &str) -> std::path::PathBuf {
    let device = host.path(name);
    fs::create_dir_all(&device).unwrap();
    host.sh(&format!(
        "docker volume create --opt type=none --opt o=bind --opt device={} {name}",
        device.display()
    ))
    .ok();
    device
}

#[test]
fn options_are_checked_when_a_volume_is_made() {
    let host = TestHost::start();
    for (client, options, why) in [
        (
            "docker",
            "--opt colour=red",
            "create vol: invalid option: \"colour\"",
        ),
        (
            "dhow",
            "-o type=tmpfs",
            "create vol: missing required option: \"device\"",
        ),
        (
            "docker",
            "-o o=bind -o device=/x",
            "create vol: missing required option: \"type\"",
        ),
        (
            "dhow",
            "-o size=10m",
            "create vol: quota size requested but no quota support",
        ),
        (
            "docker",
            "-o type=cifs -o device=//host:445/share",
            "create vol: port not allowed in CIFS device URL, include 'port' in 'o='",
        ),
    ] {
        let said = host
            .sh(&format!("{client} volume create {options} vol"))
            .fails(1);
        assert!(said.contains(why), "{said}");
    }
    let said = host
        .sh("docker create --mount type=volume,src=wet,dst=/w,volume-opt=speed=fast busybox")
        .fails(1);
    assert!(
        said.contains("create wet: invalid option: \"speed\""),
        "{said}"
    );
    let said = host.sh("docker volume create a").fails(1);
    assert!(said.contains("volume name is too short"), "{said}");
    assert_eq!(host.sh("docker volume ls -q").ok(), "");
    // What there is already is not asked again.
    host.sh("docker volume create there").ok();
    host.sh("docker volume create --opt colour=red there").ok();
    host.sh("docker volume rm there").ok();
}

#[test]
fn a_filesystem_is_mounted_from_the_first_container_to_the_last() {
    let host = TestHost::start();
    host.sh("docker volume create -o type=tmpfs -o device=tmpfs -o o=size=2m,uid=1000,noexec fast")
        .ok();
    let shown = host.sh("docker volume inspect fast").json();
    let options =
        serde_json::json!({"type": "tmpfs", "device": "tmpfs", "o": "size=2m,uid=1000,noexec"});
    assert_eq!(shown[0]["Options"], options);
    let at = place(&host, "fast");
    assert!(!is_mounted(&at));
    host.sh("docker run -d --name first -v fast:/fast busybox sleep 1000")
        .ok();
    assert!(is_mounted(&at));
    let seen = host
        .sh("docker exec first sh -c 'grep \" /fast \" /proc/mounts; stat -c %u /fast; echo x >/fast/x'")
        .ok();
    assert!(
        seen.contains("noexec") && seen.contains("size=2048k"),
        "{seen}"
    );
    assert!(seen.ends_with("1000"), "{seen}");
    host.sh("docker run -d --name second -v fast:/fast:ro busybox sleep 1000")
        .ok();
    assert_eq!(host.sh("docker exec second cat /fast/x").ok(), "x");
    // Not by dying either: what the second one sees is what was there.
    host.sh("docker kill first").ok();
    assert!(is_mounted(&at));
    assert_eq!(host.sh("docker exec second cat /fast/x").ok(), "x");
    let said = host.sh("docker volume rm fast").fails(1);
    assert!(said.contains("volume is in use"), "{said}");
    host.sh("docker kill second").ok();
    assert!(!is_mounted(&at));
    // A start that fails has nothing mounted, and one by a restart policy has.
    let said = host
        .sh("docker run --name third -v fast:/fast busybox /nothing")
        .fails(127);
    assert!(said.contains("no such file or directory"), "{said}");
    assert!(!is_mounted(&at));
    host.sh("docker start first && docker restart -t 0 first")
        .ok();
    assert!(is_mounted(&at));
    // It takes no room on the disk that a prune could free.
    let usage = host.sh("docker system df -v").ok();
    assert!(!usage.contains("fast"), "{usage}");
    host.sh("docker rm -f first second third").ok();
    assert!(!is_mounted(&at));
    assert_eq!(
        host.sh("docker volume prune -af").ok(),
        "Total reclaimed space: 0B"
    );
    host.sh("docker volume rm fast").ok();
    assert!(!at.exists());
    let events = host
        .sh("docker events --since 1 --until $(date +%s.%N) -f volume=fast --format '{{.Action}}'")
        .ok();
    assert_eq!(
        events.replace('\n', " "),
        "create mount mount unmount unmount mount unmount mount unmount mount unmount destroy"
    );
}

#[test]
fn a_directory_of_the_hosts_is_never_deleted_with_its_volume() {
    let host = TestHost::start();
    let device = bind_volume(&host, "shelf");
    // As any other volume, it is filled with what the image has there.
    host.sh("docker create --name filler -v shelf:/etc busybox")
        .ok();
    assert!(device.join("passwd").exists());
    assert!(!is_mounted(&place(&host, "shelf")));
    // Copies into one that does not run are there, too.
    fs::write(host.path("cargo"), "rice").unwrap();
    host.sh(&format!(
        "docker cp {} filler:/etc/cargo",
        host.path("cargo").display()
    ))
    .ok();
    assert_eq!(fs::read_to_string(device.join("cargo")).unwrap(), "rice");
    eventually("the copy's mount is gone", || {
        (!is_mounted(&place(&host, "shelf"))).then_some(())
    });
    host.sh("docker run --rm -v shelf:/shelf busybox rm /shelf/cargo")
        .ok();
    host.sh("docker rm filler && docker volume rm shelf").ok();
    assert!(device.join("passwd").exists());

    // With a device that is not there, the start says so; later it goes.
    let late = host.path("late");
    host.sh(&format!(
        "docker volume create -o type=none -o o=bind,ro -o device={} late",
        late.display()
    ))
    .ok();
    host.sh("docker create --name lazy -v late:/late busybox touch /late/x")
        .ok();
    let said = host.sh("docker start lazy").fails(1);
    let why = format!(
        "error while mounting volume '{at}': failed to mount local volume: mount {}:{at}, flags: 0x1001: no such file or directory",
        late.display(),
        at = place(&host, "late").display(),
    );
    assert!(said.contains(&why), "{said}");
    fs::create_dir(&late).unwrap();
    host.sh("docker start -a lazy").fails(1);
    assert!(!late.join("x").exists());

    // A server's name is looked up before the kernel is asked, which can't.
    host.sh("docker volume create -o type=nfs -o o=addr=localhost,ro -o device=:/x remote")
        .ok();
    let said = host
        .sh("docker run --rm -v remote:/remote busybox true")
        .fails(125);
    assert!(said.contains("data: addr=127.0.0.1"), "{said}");

    // Something of the host's that is mounted on a plain volume is not touched.
    host.sh("docker volume create plain").ok();
    let plain = place(&host, "plain");
    fs::create_dir(plain.join("deep")).unwrap();
    for at in [plain.clone(), plain.join("deep")] {
        let mount = format!("mount --bind {} {}", device.display(), at.display());
        host.sh(&mount).ok();
        let said = host.sh("docker volume rm plain").fails(1);
        let why = format!("something else is mounted at {}", at.display());
        assert!(said.contains(&why), "{said}");
        assert!(device.join("passwd").exists());
        host.sh(&format!("umount {}", at.display())).ok();
    }
    host.sh("docker volume rm plain").ok();
    host.sh("docker rm lazy").ok();
}

#[test]
fn a_new_daemon_has_mounted_what_runs_and_nothing_else() {
    let mut host = TestHost::start();
    bind_volume(&host, "kept");
    bind_volume(&host, "left");
    host.sh("docker run -d --name stays -v kept:/v busybox sleep 1000")
        .ok();
    host.sh("docker run -d --name goes -v left:/v -v kept:/w busybox sleep 1000")
        .ok();
    let (kept, left) = (place(&host, "kept"), place(&host, "left"));
    assert!(is_mounted(&kept) && is_mounted(&left));
    let init = host.init("goes").pid;
    host.kill_daemon();
    rustix::process::kill_process(rustix::process::Pid::from_raw(init).unwrap(), Signal::KILL)
        .unwrap();
    // As an unclean end in the middle of a removal leaves it.
    host.start_daemon();
    assert_eq!(host.state("goes"), "exited");
    assert!(is_mounted(&kept) && !is_mounted(&left));
    // Its count goes on.
    host.sh("docker run --rm -v kept:/v busybox touch /v/x")
        .ok();
    assert!(is_mounted(&kept));
    host.sh("docker kill stays").ok();
    assert!(!is_mounted(&kept));
    assert!(host.path("kept/x").exists());
    host.sh("docker rm stays goes && docker volume rm kept left")
        .ok();
    assert!(host.path("kept/x").exists());
}
