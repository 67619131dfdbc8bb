//! Requests as clients in other languages write them: JSON as Go reads it.

use dhow_tests::{Answer, TestHost};
use serde_json::json;

/// A request whose body is written by hand.
fn send(host: &TestHost, path: &str, body: &str) -> Answer {
    std::fs::write(host.path("body"), body).unwrap();
    let out = host
        .sh(&format!(
            "curl --silent --include --unix-socket s -H 'Content-Type: application/json' --data-binary @body http://d{path}"
        ))
        .ok();
    let (head, body) = out.replace("\r\n", "\n").split_once("\n\n").map_or_else(
        || (out.clone(), String::new()),
        |(head, body)| (head.to_owned(), body.to_owned()),
    );
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok());
    Answer {
        status: status.unwrap_or(0),
        headers: Vec::new(),
        body,
    }
}

#[test]
fn bodies_are_read_as_go_reads_them() {
    let host = TestHost::start();
    // Keys in any case, but not those of maps; the last of several; a command that is a word.
    let created = send(
        &host,
        "/containers/create?name=box",
        r#"{"image":"nosuch","IMAGE":"busybox","cmd":"pwd","workingdir":"/tmp","env":["A=1"],"labels":{"Deck":"1","deck":"2"},
            "Surprise":[1,{"a":null}],"Entrypoint":null,"hostconfig":{"memory":null,"binds":["/tmp:/mnt"],"autoremove":false,
            "sysctls":{"net.core.somaxconn":"100"},"tmpfs":{"/T":""},"consolesize":[10]}}"#,
    );
    assert_eq!(created.status, 201, "{created:#?}");
    let box_ = host.inspect("box");
    let config = &box_["Config"];
    assert_eq!(config["Image"], "busybox");
    assert_eq!(config["Cmd"], json!(["pwd"]));
    assert_eq!(config["WorkingDir"], "/tmp");
    assert_eq!(config["Labels"], json!({"Deck": "1", "deck": "2"}));
    let limits = &box_["HostConfig"];
    assert_eq!(limits["Binds"], json!(["/tmp:/mnt"]));
    assert_eq!(limits["Tmpfs"], json!({"/T": ""}));
    assert_eq!(limits["ConsoleSize"], json!([10, 0]));
    assert_eq!(host.sh("docker start -a box").ok(), "/tmp");
    let updated = send(
        &host,
        "/containers/box/update",
        r#"{"restartpolicy":{"name":"always"}}"#,
    );
    assert_eq!(updated.status, 200, "{updated:#?}");
    assert_eq!(
        host.inspect("box")["HostConfig"]["RestartPolicy"]["Name"],
        "always"
    );
    host.sh("docker rm -f box").ok();
    let volume = send(
        &host,
        "/volumes/create",
        r#"{"NAME":"vol","labels":{"Deck":"1"}}"#,
    );
    assert_eq!(volume.json()["Name"], "vol");
    assert_eq!(volume.json()["Labels"], json!({"Deck": "1"}));
    host.sh("docker volume rm vol").ok();

    // What is of a wrong type, or no JSON, is said with its place.
    for (body, sentence) in [
        (
            r#"{"Image":"busybox","Tty":"yes"}"#,
            r#"invalid JSON: Tty: invalid type: string "yes", expected a boolean"#,
        ),
        (
            r#"{"Image":"busybox","HostConfig":{"Memory":"1g"}}"#,
            "invalid JSON: HostConfig: Memory: invalid type",
        ),
        (
            r#"{"Image":"busybox","Env":{}}"#,
            "invalid JSON: Env: invalid type: map, expected a sequence",
        ),
        (r#"["busybox"]"#, "invalid JSON: invalid type: sequence"),
        (r#"{"Image":"#, "invalid JSON: unexpected EOF"),
        (r#"{"Image":"busybox"} {"#, "unexpected content after JSON"),
        ("  ", "invalid JSON: got EOF while reading request body"),
    ] {
        let refused = send(&host, "/containers/create", body);
        assert_eq!(refused.status, 400, "{refused:#?}");
        let message = refused.json()["message"].as_str().unwrap_or("").to_owned();
        assert!(message.contains(sentence), "{message}");
    }
}

/// No entrypoint is asked for by an empty list, and by one with an empty word.
#[test]
fn an_entrypoint_that_is_none() {
    let host = TestHost::empty();
    let image = dhow_tests::image::Image::new(
        &[dhow_tests::image::busybox_layer_tar()],
        json!({"Entrypoint": ["echo", "entry"], "Cmd": ["echo", "cmd"], "Env": ["PATH=/bin"]}),
    );
    host.push_image(&image, "library/entry:latest");
    host.sh("docker pull -q entry").ok();
    for (wish, output) in [
        (r#"{"Image":"entry"}"#, "entry echo cmd"),
        (
            r#"{"Image":"entry","Entrypoint":null,"Cmd":[]}"#,
            "entry echo cmd",
        ),
        (r#"{"Image":"entry","Entrypoint":[]}"#, "cmd"),
        (
            r#"{"Image":"entry","Entrypoint":[],"Cmd":["echo","own"]}"#,
            "own",
        ),
        (
            r#"{"Image":"entry","Entrypoint":[""],"Cmd":["echo","own"]}"#,
            "own",
        ),
        (r#"{"Image":"entry","Entrypoint":"pwd"}"#, "/"),
    ] {
        let created = send(&host, "/containers/create", wish);
        let id = created.json()["Id"].as_str().unwrap_or("").to_owned();
        assert_eq!(
            host.sh(&format!("docker start -a {id}")).ok(),
            output,
            "{wish}"
        );
    }
    let refused = send(
        &host,
        "/containers/create",
        r#"{"Image":"entry","Entrypoint":[""]}"#,
    );
    assert_eq!(
        (refused.status, &refused.json()["message"]),
        (400, &json!("no command specified"))
    );
}
