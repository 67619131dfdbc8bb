//! The configuration file and the command line together.

use std::ffi::OsString;

use dhow_daemon::config::{Config, KEYS, LogLevel, Tls};
use dhow_daemon::listen::Host;

fn load(file: &str, flags: &[&str]) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("daemon.json");
    std::fs::write(&path, file).unwrap();
    let mut arguments: Vec<OsString> = vec!["--config-file".into(), path.clone().into()];
    arguments.extend(flags.iter().map(OsString::from));
    Config::load(arguments)
        .map(|(config, _)| config)
        .map_err(|e| e.to_string().replace(path.to_str().unwrap(), "FILE"))
}

#[test]
fn file_and_flags_make_one_configuration() {
    let config = load(
        r#"{"hosts":["unix:///tmp/x.sock"],"registry-mirrors":["http://127.0.0.1:5000"],"debug":true,
            "default-ulimits":{"nofile":{"Name":"nofile","Hard":64,"Soft":32}},"mtu":1400,"log-opts":{"max-size":"1m"},
            "default-address-pools":[{"base":"10.1.0.0/16","size":24}],"live-restore":true,"group":null}"#,
        &["--data-root", "/tmp/d", "--icc=false", "--label", "a=b"],
    )
    .unwrap();
    assert_eq!(config.hosts, [Host::Unix("/tmp/x.sock".into())]);
    assert_eq!(config.registry_mirrors, ["http://127.0.0.1:5000"]);
    assert_eq!(config.log_level, LogLevel::Debug);
    assert_eq!(config.default_ulimits[0].soft, 32);
    assert_eq!(config.mtu, Some(1400));
    assert_eq!(config.log_opts["max-size"], "1m");
    assert_eq!(config.default_address_pools[0].size, 24);
    assert_eq!(config.data_root.to_str(), Some("/tmp/d"));
    assert!(!config.icc && config.ip_masq);
    assert_eq!(config.labels, ["a=b"]);
    let empty = load("", &[]).unwrap();
    assert_eq!(empty.hosts, [Host::Unix("/run/dhow.sock".into())]);
    assert_eq!(empty.data_root.to_str(), Some("/var/lib/dhow"));
}

#[test]
fn every_key_is_known_by_its_docker_name_and_has_its_flag() {
    use clap::CommandFactory;
    let command = dhow_daemon::flags::Flags::command();
    for (key, flag) in KEYS {
        assert!(
            flag.is_empty() || command.get_arguments().any(|a| a.get_id() == flag),
            "{key}"
        );
    }
}

#[test]
fn mistakes_are_named() {
    let cases: [(&str, &[&str], &str); 11] = [
        (
            r#"{"data-rot":"/x","dns":[],"bri":1}"#,
            &[],
            "unable to configure the Dhow daemon with file FILE: the following directives don't match any configuration option: data-rot, bri",
        ),
        (
            r#"{"debug":true,"mtu":1,"debug":false}"#,
            &[],
            "unable to configure the Dhow daemon with file FILE: the following directives are specified more than once: debug",
        ),
        (
            r#"{"data-root":"/x","dns":["1.1.1.1","2.2.2.2"]}"#,
            &["--data-root", "/y", "--dns", "3.3.3.3"],
            "unable to configure the Dhow daemon with file FILE: the following directives are specified both as a flag and in the configuration file: data-root: (from flag: /y, from file: /x), dns: (from flag: 3.3.3.3, from file: [1.1.1.1 2.2.2.2])",
        ),
        (r#"{"mtu":"big"}"#, &[], "mtu: invalid type: string"),
        (r#"{"mtu":1"#, &[], "invalid JSON: EOF while parsing"),
        (r#"[]"#, &[], "expected an object of directives"),
        (
            r#"{"live-restore":false}"#,
            &[],
            "live-restore can't be switched off",
        ),
        (
            r#"{"max-concurrent-downloads":0}"#,
            &[],
            "max-concurrent-downloads must be at least 1",
        ),
        (r#"{"labels":["x"]}"#, &[], "invalid label \"x\""),
        (
            r#"{"hosts":["http://x"]}"#,
            &[],
            "invalid host \"http://x\"",
        ),
        (
            "{}",
            &["--default-ulimit", "nofile"],
            "invalid ulimit \"nofile\"",
        ),
    ];
    for (file, flags, message) in cases {
        let error = load(file, flags).unwrap_err();
        assert!(error.contains(message), "{error}");
    }
    let missing = Config::load(["--config-file".into(), "/nonexistent/x.json".into()]).unwrap_err();
    assert!(
        missing.to_string().contains("/nonexistent/x.json"),
        "{missing}"
    );
}

#[test]
fn tcp_needs_a_word_about_tls() {
    let tcp = r#"{"hosts":["tcp://127.0.0.1:1"]}"#;
    let refused = load(tcp, &[]).unwrap_err();
    assert!(refused.contains("--tlsverify"), "{refused}");
    assert_eq!(load(tcp, &["--tls=false"]).unwrap().tls, Tls::Off);
    let verify = load(
        tcp,
        &[
            "--tlsverify",
            "--tlscacert",
            "/ca",
            "--tlscert",
            "/c",
            "--tlskey",
            "/k",
        ],
    );
    assert_eq!(
        verify.unwrap().tls,
        Tls::On {
            certificate: "/c".into(),
            key: "/k".into(),
            client_ca: Some("/ca".into())
        }
    );
    assert!(matches!(
        load(tcp, &["--tls"]).unwrap().tls,
        Tls::On {
            client_ca: None,
            ..
        }
    ));
}
