//! Requests as clients in other languages write them: JSON as Go reads it, and what answers where there is nothing.

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

/// Docker's routes are by method: what is called as an operation is reached by all others.
#[test]
fn names_that_are_operations_too() {
    let host = TestHost::start();
    for name in ["json", "create", "prune"] {
        host.sh(&format!("docker create --name {name} busybox true"))
            .ok();
        host.sh(&format!("docker inspect {name}")).ok();
        host.sh(&format!("docker rm {name}")).ok();
        let again = host.api("DELETE", &format!("/v1.44/containers/{name}"), None);
        assert_eq!(again.status, 404);
        assert_eq!(
            again.json()["message"],
            format!("No such container: {name}")
        );
    }
    for name in ["create", "prune"] {
        host.sh(&format!("docker volume create {name}")).ok();
        let found = host.sh(&format!("docker volume inspect -f '{{{{.Name}}}}' {name}"));
        assert_eq!(found.ok(), name);
        host.sh(&format!("docker volume rm {name}")).ok();
    }
    for name in ["json", "create", "get", "load", "prune", "search"] {
        host.sh(&format!("docker tag busybox {name}")).ok();
        host.sh(&format!("docker rmi {name}")).ok();
    }
}

#[test]
fn an_engine_that_is_in_no_swarm_and_has_no_plugins() {
    let host = TestHost::empty();
    let no_manager = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.";
    for (method, path) in [
        ("GET", "/swarm"),
        ("GET", "/swarm/unlockkey"),
        ("POST", "/swarm/update?version=1"),
        ("POST", "/swarm/unlock"),
        ("GET", "/services"),
        ("POST", "/services/create"),
        ("GET", "/services/x"),
        ("DELETE", "/services/x"),
        ("POST", "/services/x/update?version=1"),
        ("GET", "/services/x/logs?stdout=1"),
        ("GET", "/nodes"),
        ("GET", "/nodes/x"),
        ("DELETE", "/nodes/x"),
        ("POST", "/nodes/x/update?version=1"),
        ("GET", "/tasks"),
        ("GET", "/tasks/x"),
        ("GET", "/tasks/x/logs?stdout=1"),
        ("GET", "/v1.25/secrets"),
        ("POST", "/secrets/create"),
        ("GET", "/secrets/x"),
        ("DELETE", "/secrets/x"),
        ("POST", "/secrets/x/update?version=1"),
        ("GET", "/v1.30/configs"),
        ("POST", "/configs/create"),
        ("GET", "/configs/x"),
        ("DELETE", "/configs/x"),
        ("POST", "/configs/x/update?version=1"),
    ] {
        let body = (method == "POST").then(|| json!({}));
        let answer = host.api(method, path, body.as_ref());
        assert_eq!(answer.status, 503, "{method} {path} {answer:#?}");
        assert_eq!(answer.json()["message"], no_manager, "{method} {path}");
    }
    for (method, path, status, message) in [
        (
            "POST",
            "/swarm/leave",
            503,
            "This node is not part of a swarm",
        ),
        ("POST", "/swarm/init", 501, "swarms are not supported"),
        ("POST", "/swarm/join", 501, "swarms are not supported"),
        ("GET", "/services?filters=%5B", 400, "invalid filter"),
        // Older than the objects themselves.
        ("GET", "/v1.24/secrets", 404, "page not found"),
        ("GET", "/v1.29/configs", 404, "page not found"),
        (
            "GET",
            "/plugins/vieux/sshfs:latest/json",
            404,
            "plugin \"vieux/sshfs:latest\" not found",
        ),
        ("DELETE", "/plugins/x", 404, "plugin \"x\" not found"),
        (
            "POST",
            "/plugins/a/b/enable",
            404,
            "plugin \"a/b\" not found",
        ),
        ("POST", "/plugins/x/set", 404, "plugin \"x\" not found"),
        ("GET", "/plugins/x", 404, "page not found"),
        (
            "POST",
            "/plugins/pull?remote=x",
            501,
            "plugins are not supported",
        ),
        (
            "GET",
            "/plugins/privileges?remote=x",
            501,
            "plugins are not supported",
        ),
        (
            "GET",
            "/plugins?filters=%7B%22x%22%3A%5B%22y%22%5D%7D",
            400,
            "invalid filter 'x'",
        ),
        // Where there is nothing, and where there is but not so.
        ("GET", "/nosuch", 404, "page not found"),
        (
            "POST",
            "/build",
            501,
            "building images is not supported yet",
        ),
        (
            "GET",
            "/containers/x/attach/ws",
            400,
            "not a websocket handshake",
        ),
        (
            "POST",
            "/networks/create",
            400,
            "EOF while reading request body",
        ),
        ("DELETE", "/info", 404, "page not found"),
        ("PUT", "/containers/json", 404, "page not found"),
        ("GET", "/containers/%ff/json", 400, "UTF-8"),
        ("GET", "/containers/json?limit=x", 400, "limit"),
        ("GET", "/containers/json?filters=x", 400, "invalid filter"),
    ] {
        let answer = host.api(method, path, None);
        let said = answer.json()["message"].as_str().unwrap_or("").to_owned();
        assert!(
            answer.status == status && said.contains(message),
            "{method} {path}: {answer:#?}"
        );
    }
    assert_eq!(host.api("GET", "/plugins", None).json(), json!([]));
    assert_eq!(host.sh("docker plugin ls -q").ok(), "");
    let message = host.sh("docker node ls").fails(1);
    assert!(message.contains(no_manager), "{message}");
    let message = host.sh("docker swarm init").fails(1);
    assert!(message.contains("swarms are not supported"), "{message}");
    assert!(host.sh("docker info").ok().contains("Swarm: inactive"));
    // Nobody need look into the log for it.
    assert!(
        !host.daemon_log().contains("ERROR"),
        "{}",
        host.daemon_log()
    );
}
