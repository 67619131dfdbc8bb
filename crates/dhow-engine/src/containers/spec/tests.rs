//! The specification against Docker's defaults, as snapshots.

use serde_json::Value;

use super::*;

fn facts(cgroup_version: u8) -> HostFacts {
    HostFacts {
        capabilities: dhow_runtime::capabilities::of_mask((1 << 41) - 1),
        cgroup_version,
        apparmor: false,
        cpus: 2,
        memory: 1 << 30,
        swap_limit: true,
    }
}

/// The specification of a container with these settings, as JSON in a stable order. The seccomp policy is
/// its own crate's business: here it is only said whether there is one.
fn spec(config: &str, host: &str, cgroup_version: u8) -> Value {
    let mut definition = Definition {
        config: serde_json::from_str(config).unwrap(),
        host_config: serde_json::from_str(host).unwrap(),
        image_id: "sha256:0".into(),
        layers: None,
        endpoints: Default::default(),
        endpoints_whole: true,
        mounts: Vec::new(),
    };
    definition.mounts = crate::containers::mounts::points::settle(
        &definition.config,
        &definition.host_config,
        Vec::new(),
    )
    .unwrap();
    let user = crate::containers::user::resolve(
        &definition.config.user,
        &[],
        "root:x:0:0::/root:\nweb:x:33:33::/www:\n",
        "wheel:x:10:root\n",
    )
    .unwrap();
    let spec = generate(&SpecInput {
        id: "0123456789ab",
        definition: &definition,
        host: &facts(cgroup_version),
        user: &user,
        files: &crate::networks::EtcFiles::of(Path::new("/c")),
        sources: Sources {
            volumes_dir: Path::new("/v"),
            images: &Default::default(),
        },
        shared: Shared::default(),
        edits: &Default::default(),
        defaults: &ContainerDefaults::default(),
    })
    .unwrap();
    let mut value = serde_json::to_value(spec).unwrap();
    for set in [
        "bounding",
        "effective",
        "permitted",
        "inheritable",
        "ambient",
    ] {
        let list = &mut value["process"]["capabilities"][set];
        if let Value::Array(names) = list {
            names.sort_by_key(|n| n.to_string());
        }
    }
    if let Some(seccomp) = value["linux"].get_mut("seccomp") {
        *seccomp = Value::from(!seccomp.is_null());
    }
    value
}

/// As JSON with sorted keys, whichever map serde_json was built with.
fn shown(value: &Value) -> String {
    serde_json::to_string_pretty(&sorted(value)).unwrap()
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let keys: std::collections::BTreeMap<_, _> =
                map.iter().map(|(k, v)| (k.clone(), sorted(v))).collect();
            keys.into_iter().collect()
        }
        Value::Array(list) => list.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

const TRUE: &str = r#"{"Hostname":"0123456789ab","Cmd":["true"]}"#;

#[test]
fn the_defaults_are_dockers() {
    insta::assert_snapshot!(shown(&spec(TRUE, "{}", 2)));
}

#[test]
fn a_privileged_container_has_everything_but_the_hosts_namespaces() {
    let mut value = spec(TRUE, r#"{"Privileged":true}"#, 2);
    assert!(
        value["linux"]["devices"]
            .as_array()
            .is_some_and(|d| !d.is_empty())
    );
    // They are the machine's.
    value["linux"]["devices"] = Value::Null;
    assert_eq!(
        value["process"]["capabilities"]["bounding"]
            .as_array()
            .unwrap()
            .len(),
        41
    );
    value["process"]["capabilities"] = Value::Null;
    insta::assert_snapshot!(shown(&value));
}

#[test]
fn limits_are_the_cgroups() {
    let host = r#"{"Memory":104857600,"NanoCpus":1500000000,"PidsLimit":50,"CpuShares":512,
        "CpusetCpus":"0","MemoryReservation":52428800,"OomKillDisable":true,"BlkioWeight":300,
        "Ulimits":[{"Name":"nofile","Soft":1024,"Hard":2048},{"Name":"core","Soft":-1,"Hard":-1}]}"#;
    let value = spec(TRUE, host, 1);
    let mut resources = value["linux"]["resources"].clone();
    resources["devices"] = Value::Null;
    insta::assert_snapshot!(shown(&serde_json::json!({
        "resources": resources,
        "rlimits": value["process"]["rlimits"],
    })));
}

#[test]
fn mounts_are_in_order_and_take_the_place_of_defaults() {
    let host = r#"{"Binds":["/a/b:/data/sub:ro","vol:/data","/etc:/etc/hosts"],"Tmpfs":{"/run":"size=1m,exec"},
        "Mounts":[{"Type":"tmpfs","Target":"/t","TmpfsOptions":{"SizeBytes":1024,"Mode":448}}],
        "ReadonlyRootfs":true,"ShmSize":1048576}"#;
    let value = spec(TRUE, host, 2);
    let rows: Vec<String> = value["mounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| {
            let options: Vec<&str> = m["options"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(Value::as_str)
                .collect();
            format!(
                "{} {} {} {}",
                m["destination"].as_str().unwrap(),
                m["type"].as_str().unwrap(),
                m["source"].as_str().unwrap(),
                options.join(",")
            )
        })
        .collect();
    insta::assert_snapshot!(rows.join("\n"));
}

#[test]
fn a_user_other_than_root_has_no_effective_capabilities() {
    let value = spec(
        r#"{"Hostname":"h","Cmd":["id"],"User":"web","Tty":true,"Env":["A=1"],"WorkingDir":"/w"}"#,
        r#"{"CapDrop":["ALL"],"CapAdd":["NET_ADMIN"],"SecurityOpt":["no-new-privileges","seccomp=unconfined"],"Umask":63}"#,
        2,
    );
    assert!(value["linux"].get("seccomp").is_none());
    insta::assert_snapshot!(shown(&value["process"]));
}

#[test]
fn namespaces_follow_the_modes() {
    let kinds = |host: &str, version| -> Vec<String> {
        spec(TRUE, host, version)["linux"]["namespaces"]
            .as_array()
            .unwrap()
            .iter()
            .map(|n| n["type"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        kinds("{}", 2),
        ["mount", "network", "uts", "pid", "ipc", "cgroup"]
    );
    assert_eq!(kinds("{}", 1), ["mount", "network", "uts", "pid", "ipc"]);
    assert_eq!(
        kinds(
            r#"{"NetworkMode":"host","PidMode":"host","IpcMode":"host","UTSMode":"host","CgroupnsMode":"host"}"#,
            2
        ),
        ["mount"]
    );
}
