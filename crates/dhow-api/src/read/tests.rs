//! What Go's decoder makes of requests.

use super::*;
use crate::{ContainerCreateRequest, ContainerUpdateRequest, ExecCreateRequest};

fn create(text: &str) -> Result<ContainerCreateRequest, String> {
    from_slice(text.as_bytes()).map_err(|e| e.to_string())
}

#[test]
fn keys_of_structs_match_in_any_case_and_those_of_maps_do_not() {
    let read = create(
        r#"{"image":"x","ENV":["A=1"],"labels":{"Deck":"1","deck":"2"},"hostConfig":{"memory":7,"\u017fhmSize":8,
            "sysctls":{"net.X":"1"},"networkmode":"host","portBindings":{"80/tcp":[{"hostport":"1"}]},
            "mounts":[{"type":"tmpfs","tmpfsOptions":{"sizebytes":9}}]},"networkingconfig":{"endpointsconfig":{"Bridge":{"ipaddress":"1"}}}}"#,
    )
    .unwrap();
    assert_eq!(
        (read.config.image.as_str(), read.config.env),
        ("x", Some(vec!["A=1".into()]))
    );
    assert_eq!(read.config.labels.len(), 2);
    let host = read.host_config.unwrap();
    assert_eq!((host.resources.memory, host.shm_size), (7, 8));
    assert_eq!(
        (host.sysctls["net.X"].as_str(), host.network_mode.as_str()),
        ("1", "host")
    );
    assert_eq!(
        host.port_bindings.unwrap()["80/tcp"].as_ref().unwrap()[0].host_port,
        "1"
    );
    assert_eq!(host.mounts[0].tmpfs_options.as_ref().unwrap().size_bytes, 9);
    let networks = read.networking_config.unwrap().endpoints_config;
    assert_eq!(networks["Bridge"].as_ref().unwrap().ip_address, "1");
    let update: ContainerUpdateRequest =
        from_slice(br#"{"memory":5,"restartpolicy":{"name":"always"}}"#).unwrap();
    assert_eq!(
        (update.resources.memory, update.restart_policy.name.as_str()),
        (5, "always")
    );
    let exec: ExecCreateRequest = from_slice(br#"{"detachKeys":"ctrl-a","cmd":["x"]}"#).unwrap();
    assert_eq!(exec.detach_keys, "ctrl-a");
}

#[test]
fn the_last_of_several_counts() {
    let read =
        create(r#"{"Image":"a","image":"b","Tty":true,"Labels":{"a":"1","a":"2"}}"#).unwrap();
    assert_eq!(read.config.image, "b");
    assert_eq!(read.config.labels["a"], "2");
    assert_eq!(
        create(r#"{"image":"b","Image":"a"}"#).unwrap().config.image,
        "a"
    );
}

#[test]
fn null_is_nothing_and_empty_is_something() {
    let read = create(r#"{"Entrypoint":[],"Cmd":null,"Env":["A=1",null],"Tty":null,"HostConfig":{"ConsoleSize":[3],"Dns":[],"Memory":null,"LogConfig":null,"Ulimits":[null]}}"#).unwrap();
    assert_eq!(
        (read.config.entrypoint, read.config.cmd),
        (Some(vec![]), None)
    );
    assert_eq!(read.config.env.unwrap(), ["A=1", ""]);
    let host = read.host_config.unwrap();
    assert_eq!(
        (host.console_size, host.dns, host.dns_search),
        ([3, 0], Some(vec![]), None)
    );
    assert_eq!(host.resources.ulimits.unwrap().len(), 1);
    assert_eq!(create("null").unwrap(), create("{}").unwrap());
}

#[test]
fn a_command_may_be_a_word() {
    let read =
        create(r#"{"Cmd":"true","Entrypoint":"","Shell":"sh","HostConfig":{"CapAdd":"ALL"}}"#)
            .unwrap();
    assert_eq!(read.config.cmd.unwrap(), ["true"]);
    assert_eq!(read.config.entrypoint.unwrap(), [""]);
    assert_eq!(read.config.shell, ["sh"]);
    assert_eq!(read.host_config.unwrap().cap_add.unwrap(), ["ALL"]);
}

#[test]
fn what_can_t_be_read_is_named_by_its_place() {
    for (text, message) in [
        (
            r#"{"Tty":"yes"}"#,
            r#"Tty: invalid type: string "yes", expected a boolean"#,
        ),
        (
            r#"{"Env":["A=1",2]}"#,
            r#"Env[1]: invalid type: integer `2`, expected a string"#,
        ),
        (
            r#"{"HostConfig":{"Mounts":[{"ReadOnly":1}]}}"#,
            "HostConfig: Mounts[0].ReadOnly: invalid type: integer `1`, expected a boolean",
        ),
        (
            r#"{"hostconfig":{"memory":"1g"}}"#,
            r#"HostConfig: Memory: invalid type: string "1g", expected i64"#,
        ),
        (
            r#"{"HostConfig":{"Memory":1.5}}"#,
            "HostConfig: Memory: invalid type: floating point `1.5`, expected i64",
        ),
        (
            r#"{"HostConfig":{"BlkioWeight":70000}}"#,
            "HostConfig: BlkioWeight: invalid value: integer `70000`, expected u16",
        ),
        (
            "[]",
            "invalid type: sequence, expected struct ContainerCreateRequest",
        ),
        ("", "got EOF while reading request body"),
        ("  ", "got EOF while reading request body"),
        (r#"{"Image":"#, "unexpected EOF"),
        (r#"{} {}"#, "unexpected content after JSON"),
        ("{}x", "unexpected content after JSON"),
    ] {
        assert_eq!(create(text).unwrap_err(), message, "{text}");
    }
    create("{}\n").unwrap();
    create("{}}").unwrap();
    assert!(create("{nonsense}").unwrap_err().contains("line 1"));
}

#[test]
fn text_that_is_no_utf_8_is_mended() {
    let read: ContainerCreateRequest = from_slice(b"{\"Image\":\"a\xff\"}").unwrap();
    assert_eq!(read.config.image, "a\u{fffd}");
}
