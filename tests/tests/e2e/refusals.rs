//! What a client asks for and can't have is its own error, with a sentence: at the creation where words tell, at
//! the start where only the image or the host does.

use dhow_tests::{Answer, TestHost};
use serde_json::{Value, json};

#[track_caller]
fn refuses(answer: &Answer, status: u16, sentence: &str) {
    let message = answer.json()["message"].as_str().unwrap_or("").to_owned();
    assert!(
        answer.status == status && message.contains(sentence),
        "{status} {sentence:?}, not {answer:#?}"
    );
}

fn create(host: &TestHost, wish: Value) -> Answer {
    let mut body = json!({"Image": "busybox", "Cmd": ["true"]});
    for (name, value) in wish.as_object().expect("an object") {
        body[name] = value.clone();
    }
    host.api("POST", "/containers/create", Some(&body))
}

#[test]
fn at_the_creation() {
    let host = TestHost::start();
    let long = "v".repeat(256);
    let text = |name: &str| format!("invalid {name}");
    let cases = [
        // A zero byte ends a string of the kernel's.
        (json!({"Cmd": ["a\0b"]}), text("command")),
        (json!({"Entrypoint": ["a\0b"]}), text("entrypoint")),
        (json!({"Env": ["A=\0"]}), text("environment variable")),
        (json!({"WorkingDir": "/a\0b"}), text("working directory")),
        (json!({"Hostname": "a\0b"}), text("hostname")),
        (json!({"User": "a\0b"}), text("user")),
        (json!({"Volumes": {"/a\0b": {}}}), text("volume")),
        (
            json!({"HostConfig": {"Binds": ["/tmp:/a\0b"]}}),
            text("bind"),
        ),
        (
            json!({"HostConfig": {"Mounts": [{"Type": "tmpfs", "Target": "/a\0b"}]}}),
            text("mount target"),
        ),
        (
            json!({"HostConfig": {"Tmpfs": {"/a\0b": ""}}}),
            text("tmpfs mount"),
        ),
        (
            json!({"HostConfig": {"CgroupParent": "a\0b"}}),
            text("cgroup parent"),
        ),
        // Paths and names that are too long.
        (
            json!({"HostConfig": {"Binds": [format!("{long}:/a")]}}),
            "the volume name is too long".into(),
        ),
        (
            json!({"WorkingDir": format!("/{long}")}),
            "file name too long".into(),
        ),
        (
            json!({"HostConfig": {"Binds": [format!("/tmp:/{}", "a/".repeat(3000))]}}),
            "file name too long".into(),
        ),
        // Mounts of memory.
        (
            json!({"HostConfig": {"Tmpfs": {"/a": "size=1m,colour=red"}}}),
            r#"invalid tmpfs option "colour=red""#.into(),
        ),
        (
            json!({"HostConfig": {"Tmpfs": {"/a": "size=lots"}}}),
            r#"invalid tmpfs option "size=lots""#.into(),
        ),
        (
            json!({"HostConfig": {"Tmpfs": {"a": ""}}}),
            "invalid mount path: 'a' mount path must be absolute".into(),
        ),
        (
            json!({"HostConfig": {"Tmpfs": {"/a/..": ""}}}),
            "invalid specification: destination can't be '/'".into(),
        ),
        (
            json!({"HostConfig": {"Mounts": [{"Type": "tmpfs", "Target": "/a", "TmpfsOptions": {"Options": [["colour", "red"]]}}]}}),
            r#"invalid mount config for type "tmpfs": invalid tmpfs option "colour=red""#.into(),
        ),
        // The kernel's settings.
        (
            json!({"HostConfig": {"Sysctls": {"net..x": "1"}}}),
            r#"invalid sysctl "net..x""#.into(),
        ),
        (
            json!({"HostConfig": {"Sysctls": {"vm.swappiness": "1"}}}),
            r#"sysctl "vm.swappiness" is not in a separate kernel namespace"#.into(),
        ),
        (
            json!({"HostConfig": {"NetworkMode": "host", "Sysctls": {"net.core.somaxconn": "1"}}}),
            "not allowed in host network namespace".into(),
        ),
        // Limits.
        (
            json!({"HostConfig": {"CgroupParent": "/../../x"}}),
            r#"invalid cgroup parent "/../../x""#.into(),
        ),
        (
            json!({"HostConfig": {"PidsLimit": 4194305}}),
            "invalid PIDs limit 4194305".into(),
        ),
        (
            json!({"HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "x"}]}}}),
            "invalid port specification".into(),
        ),
        (
            json!({"HostConfig": {"Devices": [{"PathOnHost": "/dev/null", "CgroupPermissions": "rwx"}]}}),
            "invalid device mode: rwx".into(),
        ),
        (
            json!({"HostConfig": {"Ulimits": [{"Name": "nofile", "Soft": -2, "Hard": 5}]}}),
            "invalid ulimit nofile".into(),
        ),
        // Other containers: not a 404, by which clients know that an image is to be pulled.
        (
            json!({"HostConfig": {"PidMode": "container:nosuch"}}),
            "No such container: nosuch".into(),
        ),
        (
            json!({"HostConfig": {"IpcMode": "container:nosuch"}}),
            "No such container: nosuch".into(),
        ),
        (
            json!({"HostConfig": {"NetworkMode": "container:nosuch"}}),
            "No such container: nosuch".into(),
        ),
        (
            json!({"HostConfig": {"VolumesFrom": ["nosuch"]}}),
            "No such container: nosuch".into(),
        ),
    ];
    for (wish, sentence) in cases {
        refuses(&create(&host, wish), 400, &sentence);
    }
    let volume = json!({"Name": long});
    refuses(
        &host.api("POST", "/volumes/create", Some(&volume)),
        400,
        "the volume name is too long: 256 bytes",
    );
    // As long as can be, and it can be removed again.
    let volume = json!({"Name": "v".repeat(255)});
    assert_eq!(
        host.api("POST", "/volumes/create", Some(&volume)).status,
        201
    );
    let path = format!("/volumes/{}", "v".repeat(255));
    assert_eq!(host.api("DELETE", &path, None).status, 204);
    let message = host
        .sh("docker run --rm --tmpfs /t:colour=red busybox true")
        .fails(125);
    assert!(message.contains("invalid tmpfs option"), "{message}");
    assert_eq!(host.sh("docker ps -aq").ok(), "");
}

#[test]
fn at_the_start() {
    let host = TestHost::start();
    std::fs::write(host.path("file"), "x").unwrap();
    std::fs::create_dir(host.path("directory")).unwrap();
    let file = host.path("file").display().to_string();
    let directory = host.path("directory").display().to_string();
    let bind = |source: &str, target: &str| json!({"HostConfig": {"Binds": [format!("{source}:{target}")]}});
    let vice_versa = "not a directory: unknown: Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type";
    let device = json!([{"Path": "/dev/nosuch", "Rate": 1}]);
    for (wish, sentence) in [
        (
            bind(&directory, "/proc/self"),
            "cannot be mounted because it is inside /proc",
        ),
        (
            bind(&directory, "/proc"),
            "cannot be mounted because it is not of type proc",
        ),
        (bind(&file, "/etc"), vice_versa),
        (bind(&directory, "/etc/passwd"), vice_versa),
        (bind(&file, "/etc/passwd/x"), "not a directory"),
        (json!({"WorkingDir": "/etc/passwd"}), "not a directory"),
        (
            json!({"HostConfig": {"Sysctls": {"net.no.such": "1"}}}),
            "no such file or directory",
        ),
        (
            json!({"HostConfig": {"Sysctls": {"net.core.somaxconn": "many"}}}),
            r#"setting the sysctl net.core.somaxconn to "many""#,
        ),
        (
            json!({"HostConfig": {"BlkioDeviceReadBps": device}}),
            "/dev/nosuch",
        ),
        (
            json!({"HostConfig": {"BlkioDeviceReadBps": [{"Path": "/dev/null", "Rate": 1}]}}),
            "/dev/null is not a block device",
        ),
        (
            json!({"HostConfig": {"Devices": [{"PathOnHost": "/dev/nosuch"}]}}),
            "/dev/nosuch",
        ),
        // What takes the place of /dev, or of what is in it, has no null device.
        (
            bind(&directory, "/dev"),
            "/dev/null: no such file or directory",
        ),
        (
            bind(&directory, "/dev/null"),
            "/dev/null in the container is not the null device",
        ),
        (
            json!({"HostConfig": {"Tmpfs": {"/t": "mpol=nosuch"}}}),
            "mounting tmpfs at /t: invalid argument",
        ),
    ] {
        let created = create(&host, wish.clone());
        assert_eq!(created.status, 201, "{wish}: {created:#?}");
        let id = created.json()["Id"].as_str().unwrap_or("").to_owned();
        let started = host.api("POST", &format!("/containers/{id}/start"), None);
        refuses(&started, 400, sentence);
        let state = &host.inspect(&id)["State"];
        assert_eq!(state["Status"], "created", "{state:#}");
        assert!(
            state["Error"]
                .as_str()
                .is_some_and(|e| e.contains(sentence)),
            "{state:#}"
        );
    }
}

#[test]
fn a_directory_that_an_exec_does_not_find() {
    let host = TestHost::start();
    host.sh("docker run -d --name box busybox sleep 1000").ok();
    for (options, code, sentence) in [
        (
            "-w /nosuch",
            127,
            r#"chdir to cwd ("/nosuch") set in config.json failed: no such file or directory"#,
        ),
        (
            "-w /etc/passwd",
            127,
            r#"chdir to cwd ("/etc/passwd") set in config.json failed: not a directory"#,
        ),
        ("-u www -w /root/..", 0, ""),
    ] {
        let finished = host.sh(&format!("docker exec {options} box true 2>&1"));
        assert_eq!(finished.code, code, "{finished:#?}");
        assert!(finished.stdout.contains(sentence), "{finished:#?}");
    }
    host.sh("docker exec box sh -c 'mkdir -m 700 /private'")
        .ok();
    let finished = host.sh("docker exec -u www -w /private box true 2>&1");
    assert_eq!(finished.code, 126, "{finished:#?}");
    assert!(
        finished.stdout.contains("permission denied"),
        "{finished:#?}"
    );
    let wish = json!({"Cmd": ["a\0b"]});
    refuses(
        &host.api("POST", "/containers/box/exec", Some(&wish)),
        400,
        "invalid command",
    );
}

/// By id: a container keeps what it shares when its partner is renamed.
#[test]
fn whose_namespace_is_shared_is_kept_by_id() {
    let host = TestHost::start();
    host.sh("docker run -d --name one busybox sleep 1000").ok();
    let id = host.id("one");
    host.sh("docker create --name two --network container:one --pid container:one busybox cat /proc/1/cmdline").ok();
    let shown = host.inspect("two");
    assert_eq!(
        shown["HostConfig"]["NetworkMode"],
        format!("container:{id}")
    );
    assert_eq!(shown["HostConfig"]["PidMode"], format!("container:{id}"));
    host.sh("docker rename one other").ok();
    assert_eq!(host.sh("docker start -a two").ok(), "sleep\u{0}1000\u{0}");
}
