//! Devices that vendors describe in files (CDI), GPUs among them, and the hooks that they bring.

use std::path::Path;

use dhow_tests::{Engine, HostOptions, TestHost, eventually};
use serde_json::{Value, json};

/// A host whose daemon reads the specifications of two directories of its own.
fn host() -> TestHost {
    let dir = tempfile::tempdir().expect("/tmp is writable").keep();
    let dirs = ["etc", "run"].map(|name| format!("--cdi-spec-dir={}", dir.join(name).display()));
    TestHost::with(HostOptions {
        daemon: dirs.into(),
        ..HostOptions::default()
    })
}

/// The directories, made, in the order of what they count.
fn dirs(host: &TestHost) -> [std::path::PathBuf; 2] {
    let info = host.api("GET", "/info", None).json();
    let dir = |at: usize| Path::new(info["CDISpecDirs"][at].as_str().unwrap()).to_owned();
    let dirs = [dir(0), dir(1)];
    dirs.iter()
        .for_each(|dir| std::fs::create_dir_all(dir).unwrap());
    dirs
}

fn script(host: &TestHost, name: &str, text: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = host.path(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

fn forget(dirs: &[std::path::PathBuf; 2]) {
    let parent = dirs[0].parent().unwrap();
    std::fs::remove_dir_all(parent).unwrap();
}

#[test]
fn a_device_comes_with_all_that_its_vendor_says() {
    let host = host();
    let dirs = dirs(&host);
    std::fs::write(host.path("driver.so"), "a driver\n").unwrap();
    let yaml = format!(
        "cdiVersion: 0.7.0
kind: vendor.com/thing
devices:
- name: one
  containerEdits:
    deviceNodes:
    - path: /dev/thing1
      hostPath: /dev/zero
- name: two
  containerEdits:
    deviceNodes:
    - {{path: /dev/null2, hostPath: /dev/null, fileMode: 0640, uid: 33}}
    - {{path: /dev/loop300, type: b, major: 7, minor: 300, permissions: r}}
    additionalGids: [4444]
    env: [THING=two]
containerEdits:
  env: [VENDOR=yes, HOME=/vendor]
  mounts:
  - hostPath: {}
    containerPath: /usr/lib/driver.so
    options: [ro, nosuid, nodev, bind]
",
        host.path("driver.so").display()
    );
    std::fs::write(dirs[0].join("thing.yaml"), yaml).unwrap();
    let one = host.sh("docker run --rm --device vendor.com/thing=one busybox sh -c 'echo $VENDOR $HOME $THING; cat /usr/lib/driver.so; head -c 3 /dev/thing1 | wc -c; grep -c driver.so /proc/mounts; ls /dev'");
    assert!(
        one.stdout.starts_with("yes /vendor\na driver\n3\n1\n"),
        "{one:?}"
    );
    assert!(!one.stdout.contains("null2"));
    let both = host
        .sh("docker run --rm -u 44:55 --device vendor.com/thing=two --device vendor.com/thing=one --device /dev/full:/dev/full2 busybox sh -c 'echo $THING; id -G; stat -c \"%n %a %u %g\" /dev/null2 /dev/thing1; stat -c %F /dev/loop300 /dev/full2; echo x > /dev/loop300'");
    assert!(both.stderr.contains("Operation not permitted"), "{both:?}");
    assert_eq!(
        both.stdout.trim_end(),
        "two\n55 4444\n/dev/null2 640 33 55\n/dev/thing1 666 44 55\nblock special file\ncharacter special file"
    );
    // The user's own mount and variable; and the vendor's word for what the user did not say.
    let own = host.sh("docker run --rm -v /etc/hostname:/usr/lib/driver.so:ro --device vendor.com/thing=one busybox cat /usr/lib/driver.so").ok();
    assert_ne!(own, "a driver");
    host.sh("docker create --name made --device vendor.com/thing=one busybox true")
        .ok();
    let requests = host.inspect("made")["HostConfig"]["DeviceRequests"].take();
    assert_eq!(requests[0]["Driver"], "cdi");
    assert_eq!(requests[0]["DeviceIDs"], json!(["vendor.com/thing=one"]));
    // What is asked for is looked for anew.
    let json = r#"{"cdiVersion":"0.6.0","kind":"vendor.com/thing","devices":[{"name":"one","containerEdits":{"env":["VENDOR=new"]}}]}"#;
    std::fs::write(dirs[1].join("thing.json"), json).unwrap();
    let new = host.sh("docker run --rm --device vendor.com/thing=one busybox sh -c 'echo $VENDOR; ls /dev/thing1'");
    assert!(new.stdout.starts_with("new\n"), "{new:?}");
    assert_ne!(new.code, 0);
    std::fs::write(dirs[1].join("broken.json"), "{").unwrap();
    let info = host.api("GET", "/info", None).json();
    let found: Vec<&str> = info["DiscoveredDevices"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|device| device["ID"].as_str())
        .collect();
    assert_eq!(found, ["vendor.com/thing=one", "vendor.com/thing=two"]);
    assert_eq!(info["DiscoveredDevices"][0]["Source"], "cdi");
    let warnings = info["Warnings"].to_string();
    assert!(warnings.contains("broken.json"), "{warnings}");
    let old = host.api("GET", "/v1.49/info", None).json();
    assert_eq!(old["DiscoveredDevices"], Value::Null);
    if host.engine == Engine::Dhow {
        let shown = host.sh("dhow info").ok();
        assert!(shown.contains("  cdi: vendor.com/thing=two"), "{shown}");
    }
    forget(&dirs);
}

#[test]
fn gpus_are_devices_of_known_vendors() {
    let host = host();
    let dirs = dirs(&host);
    let none = host
        .sh("docker run --rm --gpus all busybox true")
        .fails(125);
    assert!(
        none.contains("could not select device driver \"\" with capabilities: [[gpu]]"),
        "{none}"
    );
    let device =
        |name: &str| json!({"name": name, "containerEdits": {"env": [format!("GPU{name}=yes")]}});
    let spec = json!({"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu",
        "devices": [device("0"), device("1"), device("all")]});
    std::fs::write(dirs[0].join("nvidia.json"), spec.to_string()).unwrap();
    for (gpus, given) in [
        ("all", "GPUall=yes"),
        ("1", "GPU0=yes"),
        ("2", "GPU0=yes\nGPU1=yes"),
        ("device=1", "GPU1=yes"),
        (
            "'\"device=1,0\",capabilities=compute'",
            "GPU0=yes\nGPU1=yes",
        ),
        ("driver=nvidia,count=1", "GPU0=yes"),
    ] {
        let seen = host.sh(&format!(
            "docker run --rm --gpus {gpus} busybox sh -c 'env | grep GPU | sort'"
        ));
        assert_eq!(seen.ok(), given, "{gpus}");
    }
    host.sh("docker create --name many --gpus 3 busybox true")
        .ok();
    let start = |name: &str, requests: Value| {
        let body = json!({"Image": "busybox", "HostConfig": {"DeviceRequests": requests}});
        let made = host.api(
            "POST",
            &format!("/containers/create?name={name}"),
            Some(&body),
        );
        assert_eq!(made.status, 201, "{made:?}");
        host.api("POST", &format!("/containers/{name}/start"), None)
    };
    let many = host.api("POST", "/containers/many/start", None);
    assert!(
        many.body
            .contains("unresolvable CDI devices nvidia.com/gpu=2"),
        "{many:?}"
    );
    for (name, requests, why) in [
        (
            "of-a",
            json!([{"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=7"]}]),
            "CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=7",
        ),
        (
            "of-b",
            json!([{"Driver": "cdi", "Count": 1, "DeviceIDs": ["nvidia.com/gpu=0"]}]),
            "unexpected count in CDI device request",
        ),
        (
            "of-c",
            json!([{"Count": 1, "DeviceIDs": ["0"], "Capabilities": [["gpu"]]}]),
            "cannot set both Count and DeviceIDs on device request",
        ),
        (
            "of-d",
            json!([{"Driver": "fpga", "Count": -1, "Capabilities": [["fpga", "fast"]]}]),
            "could not select device driver \\\"fpga\\\" with capabilities: [[fpga fast]]",
        ),
    ] {
        let refused = start(name, requests);
        assert_eq!(refused.status, 400, "{refused:?}");
        assert!(refused.body.contains(why), "{refused:?}");
    }
    forget(&dirs);
}

#[test]
fn hooks_are_run_where_and_when_they_belong() {
    let host = host();
    let dirs = dirs(&host);
    let log = host.path("hooks.log");
    let note = script(
        &host,
        "note",
        &format!(
            "read -r state\nwhere=host; [ \"$(readlink /proc/self/ns/mnt)\" = \"{}\" ] || where=inside\necho \"$1 $WORD $where $state\" >> {}",
            std::fs::read_link("/proc/self/ns/mnt").unwrap().display(),
            log.display()
        ),
    );
    let hook = |name: &str| json!({"hookName": name, "path": note, "args": ["note", name], "env": [format!("WORD=of-{name}")]});
    let inside = json!({"hookName": "startContainer", "path": "/bin/sh",
        "args": ["sh", "-c", "cat > /tmp/state; id -u > /tmp/who"]});
    // What a vendor's hook does: it finds the root filesystem by the specification.
    let link = script(
        &host,
        "link",
        "bundle=$(sed 's/.*\"bundle\":\"\\([^\"]*\\)\".*/\\1/')\nroot=$(sed 's/.*\"root\":{\"path\":\"\\([^\"]*\\)\".*/\\1/' $bundle/config.json)\nln -s driver.so $root/driver.so.1",
    );
    let fails = script(&host, "fails", "echo so what; echo no good >&2; exit 3");
    let spec = json!({"cdiVersion": "0.6.0", "kind": "vendor.com/hooks", "devices": [
        {"name": "all", "containerEdits": {"hooks": [
            hook("poststop"), hook("poststart"), hook("createContainer"), hook("createRuntime"), hook("prestart"),
            inside, {"hookName": "createContainer", "path": link},
        ]}},
        {"name": "fails", "containerEdits": {"hooks": [{"hookName": "createRuntime", "path": fails}]}},
        {"name": "late", "containerEdits": {"hooks": [{"hookName": "poststart", "path": fails}, hook("poststop")]}},
        {"name": "slow", "containerEdits": {"hooks": [{"hookName": "createContainer", "path": "/bin/sleep", "args": ["sleep", "100"], "timeout": 1}]}},
        {"name": "net", "containerEdits": {"netDevices": [{"hostInterfaceName": "eth9", "name": "eth1"}]}},
    ]});
    let text = spec
        .to_string()
        .replace("\"cdiVersion\":\"0.6.0\"", "\"cdiVersion\":\"1.1.0\"");
    std::fs::write(dirs[0].join("hooks.json"), text).unwrap();
    let run = "docker run --name all -u 33 --device vendor.com/hooks=all busybox sh -c 'cat /tmp/who /tmp/state; readlink /driver.so.1; echo running'";
    let output = host.sh(run).ok();
    assert!(output.starts_with("33\n{"), "{output}");
    assert!(output.ends_with("driver.so\nrunning"), "{output}");
    let lines = || -> Vec<String> {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    };
    eventually("the last hook has run", || {
        (lines().len() == 5).then_some(())
    });
    let id = host.id("all");
    for (line, (name, place, status)) in lines().iter().zip([
        ("prestart", "host", "creating"),
        ("createRuntime", "host", "creating"),
        ("createContainer", "inside", "creating"),
        ("poststart", "host", "running"),
        ("poststop", "host", "stopped"),
    ]) {
        assert!(
            line.starts_with(&format!("{name} of-{name} {place} {{")),
            "{line}"
        );
        let state: Value = serde_json::from_str(&line[line.find('{').unwrap()..]).unwrap();
        assert_eq!(
            (&state["id"], &state["status"]),
            (&json!(id), &json!(status))
        );
        assert_eq!(state["pid"].is_i64(), name != "poststop", "{line}");
    }
    for (device, why) in [
        (
            "fails",
            "error running createRuntime hook #0: exit status 3, stdout: so what\n, stderr: no good\n",
        ),
        ("late", "error running poststart hook #0: exit status 3"),
        ("slow", "did not end within 1 seconds"),
        (
            "net",
            "network interfaces (eth9) can't be moved into containers",
        ),
    ] {
        let refused = host.sh(&format!(
            "docker run --name {device} --device vendor.com/hooks={device} busybox sleep 1000"
        ));
        assert!(refused.stderr.contains(why), "{refused:?}");
        assert_ne!(refused.code, 0);
        assert_ne!(host.state(device), "running");
    }
    // What was begun is ended.
    eventually("its hook has run", || (lines().len() == 6).then_some(()));
    forget(&dirs);
}

#[test]
fn devices_can_be_switched_off() {
    for (flag, why) in [
        (
            "--feature=cdi=false",
            "could not select device driver \"cdi\" with capabilities: []",
        ),
        (
            "--cdi-spec-dir=",
            "CDI device injection failed: no CDI specification directories specified",
        ),
    ] {
        let host = TestHost::with(HostOptions {
            daemon: vec![flag.to_owned()],
            ..HostOptions::default()
        });
        let refused = host
            .sh("docker run --rm --device vendor.com/thing=one busybox true")
            .fails(125);
        assert!(refused.contains(why), "{flag}: {refused}");
        let info = host.api("GET", "/info", None).json();
        assert_eq!(info["CDISpecDirs"], json!([]));
    }
}
