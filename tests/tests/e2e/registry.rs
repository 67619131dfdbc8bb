//! `dhow registry serve` with other clients, and our client with other registries: digests are equal on both sides.

use std::process::{Child, Command, Stdio};

use dhow_tests::engine::{distribution, peer};
use dhow_tests::image;
use dhow_tests::{TestHost, eventually};

/// A server beside the host's own, ended with the value.
struct Server(Child);

impl Server {
    fn start(host: &TestHost, mut command: Command, port: u16) -> Server {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Server(child);
        eventually("it listens", || {
            host.netns
                .run(|| std::net::TcpStream::connect(("127.0.0.1", port)))
                .ok()
        });
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn digest_at(host: &TestHost, registry: &str, name: &str) -> String {
    host.sh(&format!(
        "curl -sI -H 'Accept: application/vnd.oci.image.manifest.v1+json' http://{registry}/v2/{name} | tr -d '\r' | sed -n 's/^docker-content-digest: //Ip'"
    ))
    .ok()
}

#[test]
fn skopeo_and_crane() {
    let host = TestHost::empty();
    let digest = &image::busybox().manifest;
    host.sh("skopeo --insecure-policy copy -q --src-tls-verify=false --dest-tls-verify=false docker://127.0.0.1:5000/library/busybox docker://127.0.0.1:5000/by/skopeo:1").ok();
    assert_eq!(
        &digest_at(&host, "127.0.0.1:5000", "by/skopeo/manifests/1"),
        digest
    );
    let crane = peer("crane").display().to_string();
    host.sh(&format!(
        "{crane} copy --insecure 127.0.0.1:5000/by/skopeo:1 127.0.0.1:5000/by/crane:2"
    ))
    .ok();
    assert_eq!(
        &host
            .sh(&format!(
                "{crane} digest --insecure 127.0.0.1:5000/by/crane:2"
            ))
            .ok(),
        digest
    );
    let catalog = host
        .sh(&format!("{crane} catalog --insecure 127.0.0.1:5000"))
        .ok();
    assert!(
        catalog.contains("by/crane") && catalog.contains("by/skopeo"),
        "{catalog}"
    );
    let files = host
        .sh(&format!(
            "{crane} export --insecure 127.0.0.1:5000/by/crane:2 - | tar t"
        ))
        .ok();
    assert!(files.lines().any(|file| file == "bin/busybox"), "{files}");
    host.sh(&format!(
        "{crane} delete --insecure 127.0.0.1:5000/by/crane:2"
    ))
    .ok();
    assert_eq!(
        host.registry_api("GET", "/v2/by/crane/manifests/2", "", None)
            .status,
        404
    );
}

#[test]
fn dhow_with_distribution() {
    let host = TestHost::start();
    let digest = &image::busybox().manifest;
    std::fs::create_dir(host.path("other")).unwrap();
    let _other = Server::start(
        &host,
        distribution(&host.netns, &host.path("other"), 5002),
        5002,
    );
    host.sh("dhow tag busybox 127.0.0.1:5002/fleet/busybox:1 && dhow push 127.0.0.1:5002/fleet/busybox:1").ok();
    assert_eq!(
        &digest_at(&host, "127.0.0.1:5002", "fleet/busybox/manifests/1"),
        digest
    );
    host.sh("dhow rmi -f 127.0.0.1:5002/fleet/busybox:1 busybox")
        .ok();
    assert_eq!(
        host.sh("dhow run --rm 127.0.0.1:5002/fleet/busybox:1 echo back")
            .ok(),
        "back"
    );
    let digests = host
        .sh("dhow inspect -f '{{.RepoDigests}}' 127.0.0.1:5002/fleet/busybox:1")
        .ok();
    assert!(digests.contains(digest), "{digests}");
}

#[test]
fn the_newest_dockerd_with_our_registry() {
    let host = TestHost::empty();
    let digest = image::busybox().manifest.clone();
    let dir = host.path("dockerd");
    let mut dockerd = host.netns.command(peer("dockerd"));
    dockerd
        .env("PATH", dhow_tests::engine::path_with_peers())
        .arg("-H")
        .arg(format!("unix://{}", dir.join("s").display()))
        .arg("--data-root")
        .arg(dir.join("data"))
        .arg("--exec-root")
        .arg(dir.join("run"))
        .arg("--pidfile")
        .arg(dir.join("pid"))
        .args(["--bridge", "none", "--iptables=false", "--ip6tables=false"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    std::fs::create_dir_all(&dir).unwrap();
    let mut dockerd = dockerd.spawn().unwrap();
    let peer = format!("docker -H unix://{}", dir.join("s").display());
    eventually("dockerd answers", || {
        (host.sh(&format!("{peer} version")).code == 0).then_some(())
    });
    host.sh(&format!("{peer} pull -q 127.0.0.1:5000/library/busybox"))
        .ok();
    host.sh(&format!(
        "{peer} tag 127.0.0.1:5000/library/busybox 127.0.0.1:5000/by/dockerd:1"
    ))
    .ok();
    let pushed = host
        .sh(&format!("{peer} push 127.0.0.1:5000/by/dockerd:1"))
        .ok();
    assert!(pushed.contains(&digest), "{pushed}");
    assert_eq!(
        digest_at(&host, "127.0.0.1:5000", "by/dockerd/manifests/1"),
        digest
    );
    // It ends its containerd when it is asked to.
    let _ = rustix::process::kill_process(
        rustix::process::Pid::from_child(&dockerd),
        rustix::process::Signal::TERM,
    );
    dockerd.wait().unwrap();
    eventually("containerd has ended", || {
        let Ok(containerd) = std::fs::read_to_string(dir.join("run/containerd/containerd.pid"))
        else {
            return Some(());
        };
        (!std::path::Path::new(&format!("/proc/{}", containerd.trim())).exists()).then_some(())
    });
}

#[test]
fn what_was_acknowledged_survives_a_crash() {
    let mut host = TestHost::empty();
    // stop_registry is `kill -9`.
    host.stop_registry();
    host.start_registry();
    host.sh("docker run --rm busybox true").ok();
}
