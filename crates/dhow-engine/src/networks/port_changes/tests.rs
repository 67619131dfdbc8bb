use serde_json::{Value, json};

use super::*;

fn map(value: Value) -> PortMap {
    serde_json::from_value(value).unwrap()
}

fn port(text: &str) -> PublishedPort {
    let (host, container) = text.split_once("->").unwrap();
    let (ip, host_port) = host.rsplit_once(':').unwrap();
    let (container_port, protocol) = container.split_once('/').unwrap();
    PublishedPort {
        protocol: protocol.to_owned(),
        container_port: container_port.parse().unwrap(),
        host_ip: ip.trim_matches(['[', ']']).parse().unwrap(),
        host_port: host_port.parse().unwrap(),
    }
}

struct Case {
    config: ContainerConfig,
    host: HostConfig,
}

impl Case {
    fn new(bindings: Value) -> Case {
        Case {
            config: ContainerConfig::default(),
            host: HostConfig {
                port_bindings: Some(map(bindings)),
                ..HostConfig::default()
            },
        }
    }

    /// What goes, as text, or why not.
    fn plan(
        &mut self,
        now: Now<'_>,
        add: Value,
        remove: Value,
    ) -> std::result::Result<Vec<String>, String> {
        let (add, remove) = (map(add), map(remove));
        let change = plan(&mut self.config, &mut self.host, now, &add, &remove)
            .map_err(|e| e.to_string())?;
        let shown = |p: &PublishedPort| {
            format!(
                "{}:{}->{}/{}",
                p.host_ip, p.host_port, p.container_port, p.protocol
            )
        };
        Ok(change.gone.iter().map(shown).collect())
    }

    fn bindings(&self) -> Value {
        let mut short = serde_json::Map::new();
        for (key, all) in self.host.port_bindings.iter().flatten() {
            let all = all.iter().flatten();
            let all = all.map(|b| format!("{}|{}", b.host_ip, b.host_port));
            short.insert(key.clone(), all.collect::<Vec<_>>().into());
        }
        short.into()
    }
}

const IDLE: Now<'_> = Now::Idle {
    both_families: false,
};

#[test]
fn what_is_added_is_exposed_too() {
    let mut case = Case::new(json!({"80": [{"HostPort": "8080"}]}));
    let add = json!({"80/tcp": [{"HostPort": "8081"}], "53/UDP": [], "9/tcp": null});
    case.plan(IDLE, add, json!({})).unwrap();
    assert_eq!(
        case.bindings(),
        json!({"80": ["|8080", "|8081"], "53/udp": ["|"], "9/tcp": ["|"]})
    );
    let exposed: Vec<_> = case.config.exposed_ports.keys().collect();
    assert_eq!(exposed, ["53/udp", "80", "9/tcp"]);
    for (add, why) in [
        (
            json!({"80/tcp": [{"HostPort": "8080"}]}),
            "published by this container already",
        ),
        (
            json!({"81/tcp": [{"HostPort": "8080"}]}),
            "published by this container already",
        ),
        (
            json!({"1/tcp": [{"HostPort": "1"}, {"HostPort": "1"}]}),
            "published by this container already",
        ),
        (json!({"x/tcp": []}), "invalid port specification"),
        (json!({"80/tcp": [{"HostIp": "x"}]}), "invalid IP address"),
        (
            json!({"80/tcp": [{"HostPort": "9-8"}]}),
            "invalid port specification",
        ),
    ] {
        let refused = case.plan(IDLE, add, json!({})).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
    // On another address, or of another protocol.
    let add = json!({"80/udp": [{"HostPort": "8080"}]});
    case.plan(IDLE, add, json!({})).unwrap();
}

#[test]
fn a_removal_says_as_much_as_it_wants() {
    let all = json!({
        "80/tcp": [{"HostPort": "8080"}, {"HostIp": "127.0.0.1", "HostPort": "8081"}, {"HostPort": "9000-9010"}, {}],
        "80/udp": [{"HostPort": "8080"}],
    });
    for (remove, rest) in [
        (
            json!({"80/tcp": [{"HostPort": "8080"}]}),
            json!(["127.0.0.1|8081", "|9000-9010", "|"]),
        ),
        (
            json!({"tcp": [{"HostPort": "8080"}]}),
            json!(["127.0.0.1|8081", "|9000-9010", "|"]),
        ),
        (json!({"tcp": [{"HostPort": "8000-9010"}]}), json!(["|"])),
        (
            json!({"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}),
            json!(["127.0.0.1|8081", "|9000-9010", "|"]),
        ),
        (
            json!({"80": [{"HostIp": "127.0.0.1"}]}),
            json!(["|8080", "|9000-9010", "|"]),
        ),
        (json!({"80/tcp": []}), Value::Null),
    ] {
        let mut case = Case::new(all.clone());
        assert_eq!(case.plan(IDLE, json!({}), remove).unwrap(), [""; 0]);
        assert_eq!(case.bindings()["80/tcp"], rest);
        assert_eq!(case.bindings()["80/udp"], json!(["|8080"]));
    }
    let mut case = Case::new(all);
    for (remove, why) in [
        (json!({"81/tcp": null}), "port 81/tcp is not published"),
        (
            json!({"80/tcp": [{"HostPort": "8081"}, {"HostPort": "8082"}]}),
            "port 8082->80/tcp is not published",
        ),
        (
            json!({"80/tcp": [{"HostIp": "::1", "HostPort": "8080"}]}),
            "port [::1]:8080->80/tcp is not published",
        ),
        (
            json!({"tcp": [{"HostPort": "1-7"}]}),
            "port 1-7/tcp is not published",
        ),
        (
            json!({"tcp": [{"HostPort": "9003"}]}),
            "port 9003/tcp is not published",
        ),
    ] {
        assert_eq!(case.plan(IDLE, json!({}), remove).unwrap_err(), why);
    }
}

#[test]
fn families_go_one_by_one_or_together() {
    let both = Now::Idle {
        both_families: true,
    };
    let live = [port("0.0.0.0:8080->80/tcp"), port("[::]:8080->80/tcp")];
    for now in [both, Now::Published(&live)] {
        for (ip, rest) in [
            ("::", json!(["0.0.0.0|8080"])),
            ("0.0.0.0", json!(["::|8080"])),
            ("", Value::Null),
        ] {
            let mut case = Case::new(json!({"80/tcp": [{"HostPort": "8080"}]}));
            let remove = json!({"80/tcp": [{"HostIp": ip, "HostPort": "8080"}]});
            case.plan(now, json!({}), remove).unwrap();
            assert_eq!(case.bindings()["80/tcp"], rest, "{ip}");
        }
    }
}

#[test]
fn what_runs_is_named_by_what_it_has() {
    let mut case =
        Case::new(json!({"80/tcp": [{}, {"HostPort": "8000-8010"}, {"HostPort": "8000"}]}));
    let live = [
        port("0.0.0.0:32768->80/tcp"),
        port("0.0.0.0:8001->80/tcp"),
        port("0.0.0.0:8000->80/tcp"),
        port("0.0.0.0:7->7/udp"),
    ];
    let remove =
        json!({"80/tcp": [{"HostPort": "8001"}], "tcp": [{"HostPort": "32768"}], "udp": null});
    let gone = case.plan(Now::Published(&live), json!({}), remove).unwrap();
    assert_eq!(
        gone,
        [
            "0.0.0.0:7->7/udp",
            "0.0.0.0:8001->80/tcp",
            "0.0.0.0:32768->80/tcp"
        ]
    );
    assert_eq!(case.bindings(), json!({"80/tcp": ["|8000"]}));
}

#[test]
fn one_port_is_given_to_another_in_one_change() {
    let mut case = Case::new(json!({"80/tcp": [{"HostPort": "8080"}]}));
    let live = [port("0.0.0.0:8080->80/tcp")];
    let add = json!({"81/tcp": [{"HostPort": "8080"}]});
    let gone = case.plan(
        Now::Published(&live),
        add,
        json!({"tcp": [{"HostPort": "8080"}]}),
    );
    assert_eq!(gone.unwrap(), ["0.0.0.0:8080->80/tcp"]);
    assert_eq!(case.bindings(), json!({"81/tcp": ["|8080"]}));
}

#[test]
fn automatic_ports_become_entries_when_one_is_changed() {
    let mut case = Case::new(json!({}));
    case.host.publish_all_ports = true;
    for key in ["80/tcp", "81/tcp", "82/tcp"] {
        case.config.exposed_ports.insert(key.to_owned(), Empty {});
    }
    let live = [
        port("0.0.0.0:32768->80/tcp"),
        port("0.0.0.0:32769->81/tcp"),
        port("0.0.0.0:32770->82/tcp"),
    ];
    let add = json!({"90/tcp": [{"HostPort": "9000"}]});
    case.plan(Now::Published(&live), add, json!({})).unwrap();
    assert!(case.host.publish_all_ports);
    assert_eq!(case.bindings(), json!({"90/tcp": ["|9000"]}));
    let remove = json!({"tcp": [{"HostPort": "32769"}]});
    case.plan(Now::Published(&live), json!({}), remove).unwrap();
    assert!(!case.host.publish_all_ports);
    assert_eq!(
        case.bindings(),
        json!({"80/tcp": ["|"], "82/tcp": ["|"], "90/tcp": ["|9000"]})
    );
}
