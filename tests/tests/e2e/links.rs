//! Links in images and volumes that lead a mount to a place where none may be: over /proc a container could be
//! fooled about itself, and confined by nothing (the class of CVE-2019-16884).

use dhow_tests::image::{self, Layer};
use dhow_tests::{HostOptions, TestHost};

/// What a container says whose /proc is what it should be.
const SEES_PROC: &str = "sh -c 'test -e /proc/self/attr/current && test -e /proc/sys/kernel/hostname && test -e /proc/self/status && echo all there'";

/// A host whose image `linked` is busybox with links to /proc.
fn host() -> TestHost {
    let host = TestHost::with(HostOptions {
        busybox: true,
        ..HostOptions::default()
    });
    let mut layer = Layer::default();
    for (name, target) in [
        ("data", "/proc"),
        ("relative", "proc"),
        ("twice", "data"),
        ("sub", "/proc/sys"),
        ("own", "/proc/self/attr"),
        ("harmless", "/srv/real"),
    ] {
        layer.symlink(name, target).unwrap();
    }
    layer.directory("srv", 0o755).unwrap();
    layer.symlink("srv/upwards", "../proc").unwrap();
    layer.directory("srv/real", 0o755).unwrap();
    layer.file("srv/real/cargo", 0o644, b"rice\n").unwrap();
    host.push_image(&image::busybox_with(layer), "library/linked:latest");
    host.sh("docker pull -q linked").ok();
    // It looks like /proc as far as a start writes to it: what is written arrives here, and not at the kernel.
    std::fs::create_dir_all(host.path("shared/sys/net/ipv4")).unwrap();
    for file in SYSCTLS.map(|name| host.path(&format!("shared/{name}"))) {
        std::fs::write(file, "").unwrap();
    }
    std::fs::write(host.path("file"), "fooled").unwrap();
    host
}

const SYSCTLS: [&str; 2] = [
    "sys/net/ipv4/ping_group_range",
    "sys/net/ipv4/ip_unprivileged_port_start",
];

#[track_caller]
fn refused(host: &TestHost, flags: &str, image: &str) {
    let finished = host.sh(&format!("docker run --rm {flags} {image} {SEES_PROC}"));
    assert_ne!(
        finished.code, 0,
        "{flags}: it is mounted, and not refused: {finished:#?}"
    );
    assert_ne!(
        finished.code, 1,
        "{flags}: it is mounted, and covers what was in /proc: {finished:#?}"
    );
    assert!(
        finished.stderr.contains("/proc") && finished.stderr.contains("cannot be mounted"),
        "{flags}: the refusal doesn't say what is the matter: {finished:#?}"
    );
    assert_eq!(host.sh("docker ps -aq").ok(), "", "{flags}");
}

#[test]
fn a_volume_is_not_mounted_over_proc_through_an_images_link() {
    let host = host();
    for place in ["data", "relative", "srv/upwards", "twice", "sub", "own"] {
        refused(&host, &format!("-v vol:/{place}"), "linked");
    }
    refused(&host, "-v vol:/data/sys", "linked");
    refused(&host, "-v /data", "linked");
}

#[test]
fn a_directory_is_not_mounted_over_proc_through_an_images_link() {
    let host = host();
    let shared = host.path("shared");
    for place in ["data", "relative", "srv/upwards", "twice", "sub", "own"] {
        refused(
            &host,
            &format!("-v {}:/{place}", shared.display()),
            "linked",
        );
    }
    // A file over a file.
    refused(
        &host,
        &format!("-v {}:/data/version", host.path("file").display()),
        "linked",
    );
    for name in SYSCTLS {
        let written = std::fs::read_to_string(shared.join(name)).unwrap();
        assert_eq!(written, "", "a start set {name} in a container's volume");
    }
}

#[test]
fn a_tmpfs_is_not_mounted_over_proc_through_an_images_link() {
    let host = host();
    for place in ["data", "relative", "sub"] {
        refused(&host, &format!("--mount type=tmpfs,dst=/{place}"), "linked");
    }
    refused(&host, "--tmpfs /data", "linked");
}

#[test]
fn a_volume_is_not_mounted_over_proc_through_another_volumes_link() {
    let host = host();
    host.sh("docker run --rm -v outer:/a busybox sh -c 'ln -s /proc /a/link; ln -s ../../proc/sys /a/deep'")
        .ok();
    refused(&host, "-v outer:/a -v inner:/a/link", "busybox");
    refused(&host, "-v outer:/a -v inner:/a/link/sys", "busybox");
    refused(&host, "-v outer:/a -v inner:/a/deep/kernel", "busybox");
    refused(
        &host,
        &format!("-v outer:/a -v {}:/a/link", host.path("shared").display()),
        "busybox",
    );
    refused(
        &host,
        "-v outer:/a --mount type=tmpfs,dst=/a/link/sys",
        "busybox",
    );
    // What it is, it is by its place and not by its kind: the same by name.
    refused(&host, "-v inner:/proc", "busybox");
    refused(&host, "-v inner:/proc/sys", "busybox");
}

#[test]
fn a_link_to_another_place_is_followed() {
    let host = host();
    let out = host
        .sh("docker run --rm -v real:/harmless linked sh -c 'cat /harmless/cargo; echo more >/harmless/new; ls /srv/real; test -e /proc/self/status'")
        .ok();
    assert_eq!(out, "rice\ncargo\nnew");
    let out = host
        .sh(&format!(
            "docker run --rm -v {}:/harmless/cargo linked cat /srv/real/cargo",
            host.path("file").display()
        ))
        .ok();
    assert_eq!(out, "fooled");
}
