//! `docker exec`.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use dhow_tests::{TestHost, eventually};
use serde_json::{Value, json};

fn with_a_container() -> TestHost {
    let host = TestHost::start();
    host.sh("docker run -d --name box -e FROM_RUN=1 -w /tmp busybox sleep 10000")
        .ok();
    host
}

#[test]
fn output_and_exit_codes() {
    let host = with_a_container();
    let finished = host.sh("docker exec box sh -c 'echo out; echo err >&2; exit 5'");
    assert_eq!(
        (
            finished.code,
            finished.stdout.as_str(),
            finished.stderr.as_str()
        ),
        (5, "out\n", "err\n")
    );
    host.sh("docker exec box sh -c 'kill -9 $$'").fails(137);
    // As with a peer, the reason comes where the output would have.
    let finished = host.sh("docker exec box nosuchcommand 2>&1");
    assert_eq!(finished.code, 127, "{finished:#?}");
    assert!(
        finished
            .stdout
            .contains(r#"exec: "nosuchcommand": executable file not found in $PATH"#),
        "{finished:#?}"
    );
    let finished = host.sh("docker exec box /etc/passwd 2>&1");
    assert_eq!(finished.code, 126, "{finished:#?}");
    assert!(
        finished.stdout.contains("permission denied"),
        "{finished:#?}"
    );
}

#[test]
fn standard_input() {
    let host = with_a_container();
    assert_eq!(
        host.sh("printf 'a\nb' | docker exec -i box cat").ok(),
        "a\nb"
    );
    assert_eq!(
        host.sh("head -c 5000000 /dev/zero | docker exec -i box wc -c")
            .ok()
            .trim(),
        "5000000"
    );
    assert_eq!(host.sh("echo x | docker exec box cat").ok(), "");
}

#[test]
fn environment_user_and_directory() {
    let host = with_a_container();
    assert_eq!(
        host.sh("docker exec -e MORE=2 box sh -c 'echo $FROM_RUN $MORE'")
            .ok(),
        "1 2"
    );
    assert_eq!(host.sh("docker exec box pwd").ok(), "/tmp");
    assert_eq!(host.sh("docker exec -w /etc box pwd").ok(), "/etc");
    assert_eq!(host.sh("docker exec -u www box id -un").ok(), "www");
    let message = host.sh("docker exec -u nobodyhere box id").fails(1);
    assert!(
        message.contains("unable to find user nobodyhere"),
        "{message}"
    );
}

/// `--group-add` is of the container; `/etc/group` tells of a user who is named without a group.
#[test]
fn groups() {
    let host = TestHost::start();
    host.sh("docker run -d --name box --group-add 4242 busybox sleep 1000")
        .ok();
    for (user, groups) in [
        ("", "0 4242"),
        ("-u www", "33 8 4242"),
        ("-u 33", "33 8 4242"),
        ("-u www:daemon", "1 4242"),
        ("-u 5000", "0 4242"),
        ("-u 5000:5001", "5001 4242"),
    ] {
        let shown = host.sh(&format!("docker exec {user} box id -G")).ok();
        assert_eq!(shown, groups, "{user}");
    }
}

#[test]
fn it_is_confined_as_the_container_is() {
    let host = with_a_container();
    let status = host
        .sh("docker exec box grep -E '^(CapEff|Seccomp|NoNewPrivs):' /proc/self/status")
        .ok();
    assert_eq!(
        status,
        "CapEff:\t00000000a80425fb\nNoNewPrivs:\t0\nSeccomp:\t2"
    );
    let status = host
        .sh("docker exec --privileged box grep ^CapEff: /proc/self/status")
        .ok();
    assert_ne!(status, "CapEff:\t00000000a80425fb");
    assert_eq!(
        host.sh("docker exec box cat /proc/self/cgroup").ok(),
        host.sh("docker exec box cat /proc/1/cgroup").ok()
    );
    assert_eq!(
        host.sh("docker exec box ls /proc/self/fd").ok(),
        "0\n1\n2\n3"
    );
}

#[test]
fn detached() {
    let host = with_a_container();
    assert_eq!(
        host.sh("docker exec -d box sh -c 'echo done >/tmp/mark'")
            .ok(),
        ""
    );
    dhow_tests::eventually("it ran", || {
        (host.sh("docker exec box cat /tmp/mark").stdout == "done\n").then_some(())
    });
}

#[test]
fn in_a_container_that_does_not_run() {
    let host = TestHost::start();
    host.sh("docker create --name off busybox").ok();
    let message = host.sh("docker exec off true").fails(1);
    assert!(message.contains("is not running"), "{message}");
    let message = host.sh("docker exec nosuch true").fails(1);
    assert!(message.contains("No such container: nosuch"), "{message}");
}

#[test]
fn ends_with_its_container() {
    let host = with_a_container();
    let exec = host.spawn("docker exec box sh -c 'echo started; exec sleep 10000'");
    exec.prints("started");
    host.sh("docker kill box").ok();
    assert_eq!(exec.finish().code, 137);
}

#[test]
fn inspect() {
    let host = with_a_container();
    let body = serde_json::json!({"Cmd": ["sh", "-c", "exit 6"], "AttachStdout": true});
    let created = host.api("POST", "/v1.45/containers/box/exec", Some(&body));
    assert_eq!(created.status, 201, "{created:#?}");
    let id = created.json()["Id"].as_str().unwrap_or_default().to_owned();
    let before = host
        .api("GET", &format!("/v1.45/exec/{id}/json"), None)
        .json();
    assert_eq!(
        (before["Running"].as_bool(), before["ExitCode"].as_i64()),
        (Some(false), None)
    );
    let start = serde_json::json!({"Detach": false, "Tty": false});
    assert_eq!(
        host.api("POST", &format!("/v1.45/exec/{id}/start"), Some(&start))
            .status,
        200
    );
    let after = host
        .api("GET", &format!("/v1.45/exec/{id}/json"), None)
        .json();
    assert_eq!(
        (after["Running"].as_bool(), after["ExitCode"].as_i64()),
        (Some(false), Some(6)),
        "{after:#}"
    );
    // It can't be started twice, nor found under another name.
    let again = serde_json::json!({"Detach": true});
    assert_eq!(
        host.api("POST", &format!("/v1.45/exec/{id}/start"), Some(&again))
            .status,
        409
    );
    assert_eq!(
        host.api("POST", "/v1.45/exec/nosuch/start", Some(&start))
            .status,
        404
    );
    let empty = serde_json::json!({"Cmd": []});
    assert_eq!(
        host.api("POST", "/v1.45/containers/box/exec", Some(&empty))
            .status,
        400
    );
}

#[test]
fn many_at_once() {
    let host = with_a_container();
    let execs: Vec<_> = (0..20)
        .map(|i| host.spawn(&format!("docker exec box sh -c 'echo {i}; exit {i}'")))
        .collect();
    for (i, exec) in execs.into_iter().enumerate() {
        let finished = exec.finish();
        assert_eq!(
            (finished.code, finished.stdout),
            (i as i32, format!("{i}\n"))
        );
    }
}

/// A request over a connection of its own, without a client's start in between; gives all that comes.
fn ask(host: &TestHost, method: &str, path: &str, upgrade: bool, body: Option<Value>) -> String {
    let mut stream = begin(host, method, path, upgrade, body);
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    read.unwrap_or_else(|e| {
        panic!("{method} {path} doesn't come to an end: {e}; so far {answer:?}")
    });
    answer
}

/// The same up to the answer, of which no piece takes longer than it may.
fn begin(
    host: &TestHost,
    method: &str,
    path: &str,
    upgrade: bool,
    body: Option<Value>,
) -> UnixStream {
    let mut stream = UnixStream::connect(host.socket()).unwrap();
    let patience = std::time::Duration::from_secs(60) * dhow_tests::patience();
    stream.set_read_timeout(Some(patience)).unwrap();
    let connection = match upgrade {
        true => "Upgrade\r\nUpgrade: tcp",
        false => "close",
    };
    let body = body.map(|b| b.to_string()).unwrap_or_default();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: d\r\nConnection: {connection}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    stream
}

fn json_of(answer: &str) -> Value {
    // A chunked body has its lengths around it.
    let (start, end) = (
        answer.find('{').unwrap_or(0),
        answer.rfind('}').unwrap_or(0),
    );
    serde_json::from_str(&answer[start..=end]).unwrap_or_else(|e| panic!("{e}: {answer}"))
}

#[test]
fn the_exit_code_is_known_when_the_output_ends() {
    let host = with_a_container();
    for round in 0..200 {
        let code = round % 100;
        let wish = json!({"AttachStdout": true, "Cmd": ["sh", "-c", format!("echo {round}; exit {code}")]});
        let exec = json_of(&ask(
            &host,
            "POST",
            "/containers/box/exec",
            false,
            Some(wish),
        ));
        let id = exec["Id"].as_str().expect("an id");
        let start = json!({"Detach": false, "Tty": false});
        let output = ask(
            &host,
            "POST",
            &format!("/exec/{id}/start"),
            true,
            Some(start),
        );
        assert!(output.ends_with(&format!("{round}\n")), "{output:?}");
        let seen = json_of(&ask(&host, "GET", &format!("/exec/{id}/json"), false, None));
        assert_eq!(
            (&seen["Running"], &seen["ExitCode"]),
            (&json!(false), &json!(code)),
            "round {round}"
        );
    }
}

#[test]
fn a_containers_exit_code_is_known_when_its_output_ends() {
    let host = TestHost::start();
    for code in 0..40 {
        let wish = json!({"Image": "busybox", "Cmd": ["sh", "-c", format!("exit {code}")]});
        let made = json_of(&ask(&host, "POST", "/containers/create", false, Some(wish)));
        let id = made["Id"].as_str().expect("an id").to_owned();
        let path = format!("/containers/{id}/attach?stream=1&stdout=1&stderr=1");
        let mut attached = begin(&host, "POST", &path, true, None);
        // Answered, it is in place; later than the exit it would wait for the next start.
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            attached
                .read_exact(&mut byte)
                .expect("the attach is answered");
            head.extend(byte);
        }
        ask(
            &host,
            "POST",
            &format!("/containers/{id}/start"),
            false,
            None,
        );
        attached
            .read_to_end(&mut Vec::new())
            .expect("the output comes to an end");
        let attached = json_of(&ask(
            &host,
            "GET",
            &format!("/containers/{id}/json"),
            false,
            None,
        ));
        assert_eq!(
            (
                &attached["State"]["Running"],
                &attached["State"]["ExitCode"]
            ),
            (&json!(false), &json!(code))
        );
        let waited = json_of(&ask(
            &host,
            "POST",
            &format!("/containers/{id}/wait"),
            false,
            None,
        ));
        assert_eq!(waited["StatusCode"], code);
    }
}

#[test]
fn a_client_without_more_input_is_let_go_while_the_process_runs() {
    let host = TestHost::start();
    host.sh("docker run -d -i --name box busybox sleep 1000")
        .ok();
    let mut stream = UnixStream::connect(host.socket()).unwrap();
    stream
        .set_read_timeout(Some(std::time::Duration::from_secs(20)))
        .unwrap();
    write!(stream, "POST /containers/box/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n").unwrap();
    stream.read_exact(&mut [0; 12]).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(host.state("box"), "running");
}

#[test]
fn a_health_check_that_is_cut_off_keeps_what_it_had_said() {
    let host = TestHost::start();
    host.sh("docker run -d --name box --health-interval 200ms --health-timeout 2s --health-cmd 'echo got so far; sleep 1000' busybox sleep 100000")
        .ok();
    let said = eventually("a check is cut off", || {
        let log = host.inspect("box")["State"]["Health"]["Log"].take();
        Some(log[0]["Output"].as_str()?.to_owned())
    });
    assert!(
        said.starts_with("Health check exceeded timeout (2s): got so far"),
        "{said}"
    );
}
