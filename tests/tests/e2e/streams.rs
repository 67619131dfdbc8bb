//! What goes over the wire where clients differ: hijacked connections, frames, flushed headers, null and empty.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use dhow_tests::TestHost;
use rustix::process::Signal;
use serde_json::{Value, json};

/// A request written byte by byte, and what is answered.
struct Raw {
    stream: BufReader<UnixStream>,
}

impl Raw {
    fn send(host: &TestHost, head: &str, body: &str) -> Raw {
        let mut stream = UnixStream::connect(host.socket()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        write!(
            stream,
            "{head}\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        Raw {
            stream: BufReader::new(stream),
        }
    }

    /// The status line and the headers, in lower case, without what follows.
    fn head(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).unwrap();
            let line = line.trim_end().to_lowercase();
            if line.is_empty() {
                return lines;
            }
            lines.push(line);
        }
    }

    fn exact(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn write(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }
}

/// Docker's stream header: which stream, three zeros, the length in network order.
fn frame(stream: u8, text: &str) -> Vec<u8> {
    let mut frame = vec![stream, 0, 0, 0];
    frame.extend((text.len() as u32).to_be_bytes());
    frame.extend(text.as_bytes());
    frame
}

#[test]
fn attach_upgrades_where_it_is_asked_to() {
    let host = TestHost::start();
    host.sh("docker create -i --name cat busybox cat").ok();
    let mut raw = Raw::send(
        &host,
        "POST /v1.45/containers/cat/attach?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp",
        "",
    );
    let head = raw.head();
    assert!(head[0].starts_with("http/1.1 101 "), "{head:?}");
    assert!(head.contains(&"upgrade: tcp".to_owned()), "{head:?}");
    assert!(
        head.contains(&"content-type: application/vnd.docker.multiplexed-stream".to_owned()),
        "{head:?}"
    );
    host.sh("docker start cat").ok();
    raw.write(b"ahoy\n");
    assert_eq!(raw.exact(13), frame(1, "ahoy\n"));
    raw.stream
        .get_ref()
        .shutdown(std::net::Shutdown::Write)
        .unwrap();
    assert_eq!(
        raw.rest(),
        b"",
        "the connection is closed when the container has ended"
    );
    assert_eq!(host.wait("cat"), 0);
}

#[test]
fn attach_answers_200_without_an_upgrade() {
    let host = TestHost::start();
    host.sh("docker create --name both busybox sh -c 'echo out; sleep 0.2; echo err >&2'")
        .ok();
    let mut raw = Raw::send(
        &host,
        "POST /v1.45/containers/both/attach?stream=1&stdout=1&stderr=1 HTTP/1.1",
        "",
    );
    let head = raw.head();
    assert!(head[0].starts_with("http/1.1 200 "), "{head:?}");
    assert!(
        !head
            .iter()
            .any(|line| line.starts_with("transfer-encoding")),
        "{head:?}"
    );
    host.sh("docker start both").ok();
    assert_eq!(raw.rest(), [frame(1, "out\n"), frame(2, "err\n")].concat());
}

#[test]
fn a_requests_body_never_reaches_standard_input() {
    let host = TestHost::start();
    host.sh("docker create -i --name cat busybox cat").ok();
    let mut raw = Raw::send(
        &host,
        "POST /v1.45/containers/cat/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp",
        r#"{"from":"the body"}"#,
    );
    raw.head();
    host.sh("docker start cat").ok();
    raw.write(b"typed\n");
    assert_eq!(raw.exact(14), frame(1, "typed\n"));
    host.sh("docker kill cat").ok();
    assert_eq!(raw.rest(), b"");
}

#[test]
fn a_terminals_stream_is_raw() {
    let host = TestHost::start();
    host.sh("docker create -t --name tty busybox sh -c 'echo out; echo err >&2'")
        .ok();
    let mut raw = Raw::send(
        &host,
        "POST /v1.45/containers/tty/attach?stream=1&stdout=1&stderr=1 HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp",
        "",
    );
    let head = raw.head();
    assert!(
        head.contains(&"content-type: application/vnd.docker.raw-stream".to_owned()),
        "{head:?}"
    );
    host.sh("docker start tty").ok();
    assert_eq!(String::from_utf8_lossy(&raw.rest()), "out\r\nerr\r\n");
}

#[test]
fn attach_with_logs_begins_with_what_was_written_before() {
    let host = TestHost::start();
    host.sh("docker run -d --name late busybox sh -c 'echo early; sleep 1000'")
        .ok();
    dhow_tests::eventually("it has written", || {
        (host.sh("docker logs late").ok() == "early").then_some(())
    });
    let mut raw = Raw::send(
        &host,
        "POST /v1.45/containers/late/attach?logs=1&stream=1&stdout=1 HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp",
        "",
    );
    raw.head();
    assert_eq!(raw.exact(14), frame(1, "early\n"));
}

#[test]
fn a_client_that_goes_away_takes_nothing_with_it() {
    let host = TestHost::start();
    host.sh(
        "docker run -d -i --name survivor busybox sh -c 'while :; do echo line; sleep 0.05; done'",
    )
    .ok();
    for _ in 0..10 {
        let mut raw = Raw::send(
            &host,
            "POST /v1.45/containers/survivor/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp",
            "",
        );
        raw.head();
        raw.exact(8 + 5);
        drop(raw);
    }
    assert_eq!(host.state("survivor"), "running");
}

#[test]
fn exec_start_speaks_both_ways_too() {
    let host = TestHost::start();
    host.sh("docker run -d --name box busybox sleep 1000").ok();
    let create = || {
        let body = json!({"Cmd": ["sh", "-c", "read x; echo got $x"], "AttachStdin": true, "AttachStdout": true});
        let answer = host.api("POST", "/v1.45/containers/box/exec", Some(&body));
        answer.json()["Id"].as_str().unwrap_or_default().to_owned()
    };
    for (upgrade, status) in [
        ("\r\nConnection: Upgrade\r\nUpgrade: tcp", "101"),
        ("", "200"),
    ] {
        let mut raw = Raw::send(
            &host,
            &format!("POST /v1.45/exec/{}/start HTTP/1.1{upgrade}", create()),
            r#"{"Detach":false,"Tty":false}"#,
        );
        let head = raw.head();
        assert!(
            head[0].starts_with(&format!("http/1.1 {status} ")),
            "{head:?}"
        );
        raw.write(b"it\n");
        assert_eq!(raw.rest(), frame(1, "got it\n"));
    }
}

#[test]
fn logs_say_what_kind_of_stream_they_are() {
    let host = TestHost::start();
    host.sh("docker run --name plain busybox echo hi && docker run -t --name tty busybox echo hi")
        .ok();
    let kind = |name: &str, version: &str| {
        let answer = host.api(
            "GET",
            &format!("/{version}/containers/{name}/logs?stdout=1"),
            None,
        );
        answer.header("Content-Type").unwrap_or_default().to_owned()
    };
    assert_eq!(
        kind("plain", "v1.45"),
        "application/vnd.docker.multiplexed-stream"
    );
    assert_eq!(kind("tty", "v1.45"), "application/vnd.docker.raw-stream");
    assert_eq!(kind("plain", "v1.41"), "application/vnd.docker.raw-stream");
}

#[test]
fn headers_are_there_before_anything_happens() {
    let host = TestHost::start();
    host.sh("docker run -d --name quiet busybox sleep 1000")
        .ok();
    for request in [
        "GET /v1.45/containers/quiet/logs?stdout=1&follow=1",
        "POST /v1.45/containers/quiet/wait",
        "GET /v1.45/events",
    ] {
        let mut raw = Raw::send(&host, &format!("{request} HTTP/1.1"), "");
        let head = raw.head();
        assert!(head[0].starts_with("http/1.1 200 "), "{request}: {head:?}");
    }
}

#[test]
fn null_and_empty_are_what_clients_expect() {
    let host = TestHost::start();
    host.sh("docker create --name plain busybox").ok();
    let inspect = host.api("GET", "/v1.45/containers/plain/json", None).json();
    assert!(inspect["State"].get("Health").is_none_or(Value::is_null));
    assert!(inspect["NetworkSettings"]["Networks"].is_object());
    assert!(inspect["NetworkSettings"]["Ports"].is_object());
    assert_eq!(inspect["HostConfig"]["NetworkMode"], "bridge");
    assert_eq!(inspect["Mounts"], json!([]));
    assert_eq!(inspect["ExecIDs"], Value::Null);
    assert!(
        inspect["Image"]
            .as_str()
            .is_some_and(|image| image.starts_with("sha256:"))
    );
    assert_eq!(inspect["Args"], json!([]));
    assert_eq!(inspect["Path"], "sh");
    let list = host.api("GET", "/v1.45/containers/json?all=1", None).json();
    assert_eq!(list[0]["Names"], json!(["/plain"]));
    assert_eq!(list[0]["Ports"], json!([]));
    assert_eq!(list[0]["Mounts"], json!([]));
    assert_eq!(list[0]["Labels"], json!({}));
    // Lists that are empty are lists.
    host.sh("docker rm plain && docker rmi busybox").ok();
    for path in ["/containers/json", "/images/json"] {
        assert_eq!(
            host.api("GET", &format!("/v1.45{path}"), None).body.trim(),
            "[]"
        );
    }
    // And null is as good as nothing in a request.
    host.sh("docker pull -q busybox").ok();
    let body = json!({"Image": "busybox", "Cmd": ["true"], "Entrypoint": null, "Env": null, "HostConfig": null, "NetworkingConfig": null});
    assert_eq!(
        host.api("POST", "/v1.45/containers/create", Some(&body))
            .status,
        201
    );
    let body = json!({"Image": "busybox", "Cmd": ["true"], "Entrypoint": [], "HostConfig": {"PortBindings": {}, "NetworkMode": "default"}});
    assert_eq!(
        host.api("POST", "/v1.45/containers/create?name=odd", Some(&body))
            .status,
        201
    );
    host.sh("docker start -a odd").ok();
}

/// What a user's signal to the client comes to.
#[test]
fn signals_are_the_containers() {
    let host = TestHost::start();
    let signals = [
        ("TERM", Signal::TERM, 143),
        ("INT", Signal::INT, 130),
        ("HUP", Signal::HUP, 129),
        ("USR1", Signal::USR1, 138),
    ];
    for (name, signal, _) in signals {
        let client = host.spawn(&format!(
            "exec dhow run --rm busybox sh -c 'trap \"echo got {name}; exit 41\" {name}; echo ready; while :; do sleep 0.1; done'"
        ));
        client.prints("ready");
        client.signal(signal);
        let finished = client.finish();
        assert_eq!(finished.code, 41, "{finished:#?}");
        assert_eq!(finished.stdout, format!("ready\ngot {name}\n"));
    }
    // The init's child has no handler, and dies of it.
    for (name, signal, code) in signals {
        let client = host.spawn(&format!(
            "exec dhow run --init --name deadly{name} busybox sh -c 'echo ready; exec sleep 1000'"
        ));
        client.prints("ready");
        client.signal(signal);
        let finished = client.finish();
        assert_eq!(finished.code, code, "{finished:#?}");
        assert_eq!(host.wait(&format!("deadly{name}")), code);
    }
}

#[test]
fn signals_stay_the_clients_without_a_proxy() {
    let host = TestHost::start();
    let client = host.spawn(
        "exec dhow run --sig-proxy=false --name deaf busybox sh -c 'trap \"exit 41\" TERM; echo ready; while :; do sleep 0.1; done'",
    );
    client.prints("ready");
    client.signal(Signal::TERM);
    assert_ne!(client.finish().code, 41);
    assert_eq!(host.state("deaf"), "running");
    host.sh("docker kill -s TERM deaf").ok();
    assert_eq!(host.wait("deaf"), 41);
}
