//! Files that outlive a container, and those that don't.

use dhow_tests::TestHost;

#[test]
fn a_bind_mount_shows_the_hosts_files() {
    let host = TestHost::start();
    std::fs::create_dir(host.path("shared")).unwrap();
    std::fs::write(host.path("shared/from-host"), "ahoy").unwrap();
    let line = format!(
        "docker run --rm -v {}:/mnt busybox sh -c 'cat /mnt/from-host; echo back >/mnt/from-container'",
        host.path("shared").display()
    );
    assert_eq!(host.sh(&line).ok(), "ahoy");
    assert_eq!(
        std::fs::read_to_string(host.path("shared/from-container")).unwrap(),
        "back\n"
    );
    // Read-only.
    let line = format!(
        "docker run --rm -v {}:/mnt:ro busybox touch /mnt/new",
        host.path("shared").display()
    );
    assert!(host.sh(&line).fails(1).contains("Read-only file system"));
    // A single file.
    let line = format!(
        "docker run --rm -v {}:/etc/motd busybox cat /etc/motd",
        host.path("shared/from-host").display()
    );
    assert_eq!(host.sh(&line).ok(), "ahoy");
    // -v makes a missing directory, --mount refuses.
    host.sh(&format!(
        "docker run --rm -v {}:/mnt busybox true",
        host.path("made").display()
    ))
    .ok();
    assert!(host.path("made").is_dir());
    let message = host
        .sh(&format!(
            "docker run --rm --mount type=bind,source={},target=/mnt busybox true",
            host.path("missing").display()
        ))
        .fails(125);
    assert!(
        message.contains("bind source path does not exist"),
        "{message}"
    );
}

#[test]
fn a_named_volume_outlives_its_containers() {
    let host = TestHost::start();
    host.sh("docker run --rm -v hold:/hold busybox sh -c 'echo rice >/hold/cargo'")
        .ok();
    assert_eq!(
        host.sh("docker run --rm -v hold:/hold:ro busybox cat /hold/cargo")
            .ok(),
        "rice"
    );
    assert_eq!(host.sh("docker volume ls -q").ok(), "hold");
    host.sh("docker create --name user -v hold:/hold busybox")
        .ok();
    let message = host.sh("docker volume rm hold").fails(1);
    assert!(message.contains("volume is in use"), "{message}");
    host.sh("docker rm user && docker volume rm hold").ok();
    assert_eq!(host.sh("docker volume ls -q").ok(), "");
}

#[test]
fn a_new_volume_gets_what_the_image_has_there() {
    let host = TestHost::start();
    let out = host
        .sh("docker run --rm -v users:/etc busybox head -n 1 /etc/passwd")
        .ok();
    assert_eq!(out, "root:x:0:0:root:/root:/bin/sh");
    host.sh("docker volume rm users").ok();
}

#[test]
fn an_anonymous_volume_goes_with_its_container() {
    let host = TestHost::start();
    host.sh("docker run --rm -v /scratch busybox touch /scratch/file")
        .ok();
    assert_eq!(host.sh("docker volume ls -q").ok(), "");
    host.sh("docker run --name kept -v /scratch busybox touch /scratch/file")
        .ok();
    assert_eq!(host.sh("docker volume ls -q").ok().len(), 64);
    host.sh("docker rm -v kept").ok();
    assert_eq!(host.sh("docker volume ls -q").ok(), "");
}

#[test]
fn tmpfs() {
    let host = TestHost::start();
    let out = host
        .sh("docker run --rm --tmpfs /fast:size=1m,mode=1777 busybox sh -c 'grep \" /fast \" /proc/mounts; stat -c %a /fast'")
        .ok();
    assert!(
        out.contains("tmpfs /fast tmpfs rw,nosuid,nodev,noexec"),
        "{out}"
    );
    assert!(out.contains("size=1024k"), "{out}");
    assert!(out.ends_with("1777"), "{out}");
}

#[test]
fn read_only_root() {
    let host = TestHost::start();
    let finished = host
        .sh("docker run --rm --read-only --tmpfs /tmp busybox sh -c 'touch /tmp/ok && touch /nok'");
    assert!(finished.fails(1).contains("Read-only file system"));
}

#[test]
fn what_a_container_writes_is_its_own() {
    let host = TestHost::start();
    host.sh("docker run --name writer busybox sh -c 'echo x >/only-here; rm /etc/group'")
        .ok();
    host.sh("docker run --rm busybox sh -c '! test -e /only-here && test -e /etc/group'")
        .ok();
    // It is still there when the container starts again.
    let again = host.sh("docker start -a writer");
    assert!(
        again.stderr.contains("can't remove '/etc/group'"),
        "{again:#?}"
    );
}
