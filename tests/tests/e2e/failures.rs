//! The failures that a first hour brings: each with a message that says what is the matter, and nothing half made.

use std::io::{Read, Write};
use std::net::TcpListener;

use dhow_tests::image::{self, Image, Layer};
use dhow_tests::{Engine, HostOptions, TestHost};
use serde_json::json;

/// Nothing was left in the store: no image, no container.
#[track_caller]
fn nothing_made(host: &TestHost) {
    assert_eq!(host.sh("docker images -aq").ok(), "");
    assert_eq!(host.sh("docker ps -aq").ok(), "");
}

#[test]
fn unknown_image() {
    let host = TestHost::empty();
    let message = host.sh("docker run --rm nosuch/image").fails(125);
    assert!(message.contains("nosuch/image"), "{message}");
    let message = host.sh("docker pull busybox:nosuchtag").fails(1);
    assert!(
        message.contains("nosuchtag") || message.contains("manifest unknown"),
        "{message}"
    );
    let answer = host.api(
        "POST",
        "/v1.45/images/create?fromImage=nosuch/image&tag=latest",
        None,
    );
    assert_eq!(answer.status, 404, "{answer:#?}");
    let body = json!({"Image": "nosuch/image"});
    let answer = host.api("POST", "/v1.45/containers/create", Some(&body));
    assert_eq!(answer.status, 404);
    assert_eq!(
        answer.json()["message"],
        "No such image: nosuch/image:latest"
    );
    nothing_made(&host);
}

#[test]
fn bad_reference() {
    let host = TestHost::empty();
    let message = host.sh("docker run --rm UPPER").fails(125);
    assert!(message.contains("invalid reference format"), "{message}");
    let message = host.sh("docker pull 'no spaces'").fails(1);
    assert!(message.contains("invalid reference format"), "{message}");
    let body = json!({"Image": "UPPER"});
    assert_eq!(
        host.api("POST", "/v1.45/containers/create", Some(&body))
            .status,
        400
    );
    nothing_made(&host);
}

#[test]
fn bad_json() {
    let host = TestHost::start();
    let post = |body: &str| {
        host.sh(&format!(
            "curl -s -w '\n%{{http_code}}' --unix-socket s -H 'Content-Type: application/json' --data-binary '{body}' http://d/v1.45/containers/create"
        ))
        .ok()
    };
    for body in [
        "{",
        "",
        r#"{"Image": 5}"#,
        "null",
        "[]",
        r#"{"Image":"busybox"} trailing"#,
    ] {
        let answer = post(body);
        let (text, status) = answer.rsplit_once('\n').unwrap();
        assert_eq!(status, "400", "{body}: {answer}");
        let message = serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert!(
            message["message"]
                .as_str()
                .is_some_and(|message| !message.is_empty()),
            "{body}: {answer}"
        );
    }
    // A body without its kind said.
    let answer = host.sh("curl -s -o /dev/null -w '%{http_code}' --unix-socket s -H 'Content-Type: text/plain' --data-binary '{\"Image\":\"busybox\"}' http://d/v1.45/containers/create").ok();
    assert_eq!(answer, "400");
    assert_eq!(host.sh("docker ps -aq").ok(), "");
}

#[test]
fn a_command_that_is_missing_or_not_executable_leaves_the_container_for_a_look() {
    let host = TestHost::start();
    host.sh("docker run --name missing busybox nosuchcommand")
        .fails(127);
    let state = &host.inspect("missing")["State"];
    assert_eq!(
        (state["Status"].as_str(), state["ExitCode"].as_i64()),
        (Some("created"), Some(127)),
        "{state:#}"
    );
    assert!(
        state["Error"]
            .as_str()
            .is_some_and(|error| error.contains("executable file not found")),
        "{state:#}"
    );
    host.sh("docker run --name plain busybox /etc/passwd")
        .fails(126);
    assert_eq!(host.inspect("plain")["State"]["ExitCode"], 126);
    let answer = host.api("POST", "/v1.45/containers/missing/start", None);
    assert_eq!(answer.status, 400, "{answer:#?}");
    host.sh("docker rm missing plain").ok();
}

#[test]
fn a_name_in_use() {
    let host = TestHost::start();
    let id = host.sh("docker create --name taken busybox").ok();
    let message = host.sh("docker run --name taken busybox").fails(125);
    assert!(
        message.contains(&format!(
            "Conflict. The container name \"/taken\" is already in use by container \"{id}\". You have to remove (or rename) that container to be able to reuse that name."
        )),
        "{message}"
    );
    assert_eq!(
        host.api(
            "POST",
            "/v1.45/containers/create?name=taken",
            Some(&json!({"Image": "busybox"}))
        )
        .status,
        409
    );
    assert_eq!(host.sh("docker ps -aq --no-trunc").ok(), id);
}

#[test]
fn no_such_container() {
    let host = TestHost::empty();
    for line in [
        "start", "stop", "kill", "rm", "logs", "exec -i", "attach", "wait", "restart", "pause",
        "rename x", "port", "top",
    ] {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let extra = match command {
            "exec" => "true",
            "rename" => "other",
            _ => "",
        };
        let rest = if command == "rename" { "" } else { rest };
        let finished = host.sh(&format!("docker {command} {rest} nosuch {extra}"));
        assert_ne!(finished.code, 0, "{finished:#?}");
        assert!(
            finished.stderr.contains("No such container: nosuch"),
            "{finished:#?}"
        );
    }
    assert_eq!(
        host.api("GET", "/v1.45/containers/nosuch/json", None)
            .status,
        404
    );
}

#[test]
fn flags_that_make_no_sense_together() {
    let host = TestHost::start();
    for (flags, wanted) in [
        ("--network nosuch", "network nosuch not found"),
        ("--network host -p 80:80 --cgroupns nosuch", "cgroup"),
        ("-v relative/path:relative", "invalid"),
        (
            "--memory-swap 1m -m 64m",
            "Minimum memoryswap limit should be larger than memory limit",
        ),
    ] {
        let finished = host.sh(&format!("docker run --rm {flags} busybox true"));
        assert_eq!(finished.code, 125, "{flags}: {finished:#?}");
        assert!(finished.stderr.contains(wanted), "{flags}: {finished:#?}");
    }
    assert_eq!(host.sh("docker ps -aq").ok(), "");
}

#[test]
fn no_daemon() {
    let mut host = TestHost::empty();
    host.stop_daemon();
    let finished = host.sh("dhow ps");
    assert_eq!(finished.code, 1, "{finished:#?}");
    assert!(
        finished.stderr.contains("Is the") && finished.stderr.contains("daemon running?"),
        "{finished:#?}"
    );
    assert!(
        finished.stderr.contains("/s"),
        "it says where it looked: {finished:#?}"
    );
}

#[test]
fn a_socket_without_permission() {
    let host = TestHost::empty();
    // Other users may look for it, and not use it.
    host.sh("chmod o+x . && chmod -R o+rX bin home").ok();
    std::fs::copy(dhow_tests::engine::dhow(), host.path("client")).unwrap();
    let finished = host.sh(
        "python3 -c 'import os; os.setgroups([]); os.setgid(65534); os.setuid(65534); os.execv(\"./client\", [\"dhow\", \"ps\"])'",
    );
    assert_eq!(finished.code, 1, "{finished:#?}");
    assert!(
        finished.stderr.to_lowercase().contains("permission denied"),
        "{finished:#?}"
    );
}

#[test]
fn the_disk_is_full_while_pulling() {
    let host = TestHost::with(HostOptions {
        busybox: false,
        disk_mib: Some(24),
        ..HostOptions::default()
    });
    let mut layer = Layer::default();
    layer.file("small", 0o644, b"x").unwrap();
    layer.file("big", 0o644, &vec![7; 64 << 20]).unwrap();
    let big = Image::new(&[layer.finish().unwrap()], json!({}));
    host.push_image(&big, "library/big:latest");
    let finished = host.sh("docker pull big");
    assert_eq!(finished.code, 1, "{finished:#?}");
    assert!(
        finished
            .stderr
            .to_lowercase()
            .contains("no space left on device"),
        "{finished:#?}"
    );
    nothing_made(&host);
    // The room is there again.
    if host.engine == Engine::Dhow {
        host.sh("docker pull -q busybox && docker run --rm busybox true")
            .ok();
    }
}

/// A registry that answers for busybox's manifest and goes away in the middle of its layer, or sends other bytes.
fn broken_registry(
    host: &TestHost,
    sabotage: fn(Vec<u8>) -> (usize, Vec<u8>),
) -> std::thread::JoinHandle<()> {
    let listener = host
        .netns
        .run(|| TcpListener::bind("127.0.0.1:5001").unwrap());
    std::thread::spawn(move || {
        let image = image::busybox();
        let manifest: serde_json::Value =
            serde_json::from_slice(&image.blobs[&image.manifest]).unwrap();
        let layer = manifest["layers"][0]["digest"].as_str().unwrap().to_owned();
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            while !request.windows(4).any(|w| w == b"\r\n\r\n") {
                match stream.read(&mut buffer) {
                    Ok(0) | Err(_) => break,
                    Ok(n) => request.extend(&buffer[..n]),
                }
            }
            let request = String::from_utf8_lossy(&request).into_owned();
            let Some(path) = request.split(' ').nth(1) else {
                continue;
            };
            if path == "/quit" {
                return;
            }
            let name = path.rsplit('/').next().unwrap_or_default();
            let (length, body, kind) = if path == "/v2/" {
                (2, b"{}".to_vec(), "application/json")
            } else if path.contains("/manifests/") {
                let body = image.blobs[&image.manifest].clone();
                (
                    body.len(),
                    body,
                    "application/vnd.oci.image.manifest.v1+json",
                )
            } else if name == layer {
                let (length, body) = sabotage(image.blobs[name].clone());
                (length, body, "application/octet-stream")
            } else if let Some(blob) = image.blobs.get(name) {
                (blob.len(), blob.clone(), "application/octet-stream")
            } else {
                let _ = stream.write_all(
                    b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                );
                continue;
            };
            let _ = stream.write_all(
                format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n").as_bytes(),
            );
            if !request.starts_with("HEAD") {
                let _ = stream.write_all(&body);
            }
        }
    })
}

fn pull_from_broken_registry(sabotage: fn(Vec<u8>) -> (usize, Vec<u8>)) -> String {
    let host = TestHost::with(HostOptions {
        busybox: false,
        daemon: vec!["--insecure-registry".into(), "127.0.0.1:5001".into()],
        ..HostOptions::default()
    });
    let registry = broken_registry(&host, sabotage);
    let finished = host.sh("docker pull 127.0.0.1:5001/library/busybox");
    host.sh("curl -s --max-time 5 http://127.0.0.1:5001/quit");
    registry.join().unwrap();
    assert_eq!(finished.code, 1, "{finished:#?}");
    nothing_made(&host);
    // The same layer can still be had from a registry that works. (The peer keeps what it got.)
    if host.engine == Engine::Dhow {
        host.sh("docker run --rm busybox true").ok();
    }
    finished.stderr
}

#[test]
fn a_registry_that_closes_in_the_middle_of_a_layer() {
    let message =
        pull_from_broken_registry(|layer| (layer.len(), layer[..layer.len() / 2].to_vec()));
    assert!(
        message.contains("EOF") || message.contains("broke off"),
        "{message}"
    );
}

#[test]
fn a_layer_of_another_digest() {
    let message = pull_from_broken_registry(|mut layer| {
        let last = layer.len() - 1;
        layer[last] ^= 1;
        (layer.len(), layer)
    });
    assert!(
        message.contains("digest") || message.contains("verif") || message.contains("checksum"),
        "{message}"
    );
}

#[test]
fn hostile_layers_are_refused() {
    use tar::EntryType::{Link, Regular, Symlink};
    let host = TestHost::empty();
    if host.engine != Engine::Dhow {
        return;
    }
    std::fs::write(host.path("secret"), "untouched").unwrap();
    let outside = host.path("secret").display().to_string();
    type Build = Box<dyn Fn(&mut Layer)>;
    let layers: Vec<(&str, Build)> = vec![
        (
            "dotdot",
            Box::new(|l| {
                l.hostile(Regular, "../../../../../../../tmp/dhow-escaped", "", b"x")
                    .unwrap()
            }),
        ),
        (
            "link",
            Box::new(move |l| l.hostile(Link, "hard", &outside, b"").unwrap()),
        ),
        (
            "through",
            Box::new(|l| {
                l.hostile(Symlink, "up", "/tmp", b"").unwrap();
                l.hostile(Regular, "up/../../../../tmp/dhow-escaped", "", b"x")
                    .unwrap();
            }),
        ),
    ];
    for (name, build) in layers {
        let mut layer = Layer::default();
        build(&mut layer);
        let image = Image::new(&[layer.finish().unwrap()], json!({}));
        host.push_image(&image, &format!("library/{name}:latest"));
        let finished = host.sh(&format!("docker pull {name}"));
        assert_eq!(finished.code, 1, "{name}: {finished:#?}");
        assert!(
            !std::path::Path::new("/tmp/dhow-escaped").exists(),
            "{name}"
        );
    }
    // A link through which a later entry would be written outside is followed inside the root.
    let mut layer = Layer::default();
    layer.symlink("up", "/tmp").unwrap();
    layer.file("up/dhow-inside", 0o644, b"x").unwrap();
    let image = Image::new(&[layer.finish().unwrap()], json!({"Cmd": ["x"]}));
    host.push_image(&image, "library/inside:latest");
    let _ = host.sh("docker pull inside");
    assert!(!std::path::Path::new("/tmp/dhow-inside").exists());
    host.sh("docker images -q | xargs -r docker rmi -f").ok();
    nothing_made(&host);
    assert_eq!(
        std::fs::read_to_string(host.path("secret")).unwrap(),
        "untouched"
    );
}

#[test]
fn a_layer_that_unpacks_to_something_else_than_its_config_says() {
    let host = TestHost::empty();
    let mut promised = Layer::default();
    promised.file("a", 0o644, b"promised").unwrap();
    let mut sent = Layer::default();
    sent.file("a", 0o644, b"sent").unwrap();
    let image = Image::assemble(
        &[promised.finish().unwrap()],
        vec![image::gzip(&sent.finish().unwrap())],
        "application/vnd.oci.image.layer.v1.tar+gzip",
        json!({}),
    );
    host.push_image(&image, "library/liar:latest");
    let finished = host.sh("docker pull liar");
    assert_eq!(finished.code, 1, "{finished:#?}");
    nothing_made(&host);
}

#[test]
fn a_registry_that_is_not_there() {
    let host = TestHost::empty();
    let message = host
        .sh("docker pull 127.0.0.1:5999/library/busybox")
        .fails(1);
    assert!(
        message.to_lowercase().contains("connection refused"),
        "{message}"
    );
    nothing_made(&host);
}
