//! The configuration file and the command line together.

use std::ffi::OsString;

use dhow_daemon::config::{Called, Config, KEYS, LogLevel, Seccomp, Tls};
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
fn ways_to_containers_by_file_and_by_flag() {
    let file = r#"{"allow-direct-routing":true,"bridge-accept-fwmark":"0x10/0xff","host-firewall":true,
        "default-network-opts":{"bridge":{"com.docker.network.driver.mtu":"1400"}}}"#;
    let config = load(file, &[]).unwrap();
    assert!(config.allow_direct_routing && config.host_firewall);
    let mark = config.bridge_accept_fwmark.unwrap();
    assert_eq!((mark.value, mark.mask), (16, 255));
    let of_bridge = &config.default_network_opts["bridge"];
    assert_eq!(of_bridge["com.docker.network.driver.mtu"], "1400");
    let flags = [
        "--bridge-accept-fwmark=7",
        "--default-network-opt=bridge=com.docker.network.enable_ipv6=true",
        "--default-network-opt=bridge=a=b=c",
    ];
    let config = load("", &flags).unwrap();
    assert!(!config.allow_direct_routing && !config.host_firewall);
    let mark = config.bridge_accept_fwmark.unwrap();
    assert_eq!((mark.value, mark.mask), (7, u32::MAX));
    assert_eq!(config.default_network_opts["bridge"]["a"], "b=c");
    for (flag, why) in [
        ("--bridge-accept-fwmark=x", "invalid firewall mark \"x\""),
        ("--bridge-accept-fwmark=1/-1", "invalid firewall mark"),
        (
            "--default-network-opt=bridge=a",
            "expected DRIVER=KEY=VALUE",
        ),
    ] {
        let said = load("", &[flag]).unwrap_err();
        assert!(said.contains(why), "{said}");
    }
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
    let cases: &[(&str, &[&str], &str)] = &[
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
            r#"{"iptables":false}"#,
            &[],
            "iptables can't be switched off",
        ),
        (
            r#"{"containerd":true}"#,
            &[],
            "FILE: containerd: invalid value true: expected a string",
        ),
        (
            r#"{"userns-remap":"default"}"#,
            &[],
            "userns-remap is not supported",
        ),
        (
            "{}",
            &["--authorization-plugin=opa"],
            "--authorization-plugin is not supported",
        ),
        (
            r#"{"storage-driver":"overlay2"}"#,
            &["-s", "btrfs"],
            "both as a flag and in the configuration file: storage-driver: (from flag: btrfs, from file: overlay2)",
        ),
        (
            r#"{"proxies":{"http-proxy":"http://u:secret@x"}}"#,
            &["--http-proxy", "http://y"],
            "http-proxy: (from flag: http://y, from file: http://xxxxx:xxxxx@x)",
        ),
        (
            r#"{"proxies":{"proxy":"x"}}"#,
            &[],
            "configuration option: proxy",
        ),
        (
            r#"{"metrics-addr":"9323"}"#,
            &[],
            "invalid metrics-addr \"9323\": expected ADDRESS:PORT",
        ),
        (
            "{}",
            &["--metrics-addr", "127.0.0.1:70000"],
            "invalid metrics-addr \"127.0.0.1:70000\"",
        ),
        (
            "{}",
            &["--metrics-addr", "::1:9323"],
            "invalid metrics-addr",
        ),
        ("{}", &["--metrics-addr", "h/x:1"], "invalid metrics-addr"),
        (
            r#"{"dns":["1.1.1.1","dns.example"]}"#,
            &[],
            "dns.example is not an ip address",
        ),
        ("{}", &["--dns", "1.1.1"], "1.1.1 is not an ip address"),
        (
            r#"{"default-ipc-mode":"host"}"#,
            &[],
            "IPC mode \"host\" is not supported as default value",
        ),
        (
            r#"{"default-ipc-mode":"x"}"#,
            &[],
            "default IPC mode setting (x) is invalid",
        ),
        (
            r#"{"default-cgroupns-mode":"x"}"#,
            &[],
            "invalid default cgroup namespace (x)",
        ),
        (
            r#"{"default-shm-size":"1y"}"#,
            &[],
            "invalid default-shm-size: invalid size: '1y'",
        ),
        (
            r#"{"default-runtime":"nvidia"}"#,
            &[],
            "specified default runtime \"nvidia\" does not exist",
        ),
        (
            r#"{"exec-opts":["native.cgroupdriver=x"]}"#,
            &[],
            "option x not supported",
        ),
        (
            r#"{"exec-opts":["x=y"]}"#,
            &[],
            "invalid exec-opt (x=y): unknown option: 'x'",
        ),
        (
            r#"{"exec-opts":["x"]}"#,
            &[],
            "must be formatted 'opt=value'",
        ),
        (
            r#"{"seccomp-profile":"/not/there"}"#,
            &[],
            "opening seccomp profile (/not/there) failed",
        ),
        (
            r#"{"default-stop-timeout":-1}"#,
            &[],
            "invalid default stop timeout: -1",
        ),
        (
            r#"{"dns-search":["a..b"]}"#,
            &[],
            "a..b is not a valid domain",
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
fn what_is_not_here_is_taken_with_a_line_each() {
    let config = load(
        r#"{"storage-driver":"btrfs","storage-opts":[],"userland-proxy":false,"live-restore":false,"builder":{"gc":{}},
            "exec-opts":["native.cgroupdriver=systemd"],"runtimes":{"x":{"path":"x"}},"cpu-rt-period":0}"#,
        &[
            "--containerd=/run/containerd/containerd.sock",
            "--add-runtime=y=/y",
            "--selinux-enabled",
            "--ipv6=false",
        ],
    )
    .unwrap();
    let said: Vec<&str> = config
        .said
        .iter()
        .filter_map(|line| line.split_once(" has no effect: "))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(
        said,
        [
            "--containerd",
            "--selinux-enabled",
            "--add-runtime",
            "storage-driver",
            "runtimes",
            "builder",
            "live-restore=false",
            "native.cgroupdriver=systemd",
        ]
    );
}

#[test]
fn what_is_said_of_containers_is_read_as_docker_reads_it() {
    let config = load(
        r#"{"default-shm-size":"1.5g","default-ipc-mode":"shareable","default-cgroupns-mode":"host","init":true,
            "no-new-privileges":true,"seccomp-profile":"unconfined","cgroup-parent":"/box","default-stop-timeout":0,
            "proxies":{"https-proxy":"http://p"},"max-concurrent-downloads":0,"max-download-attempts":2,
            "features":{"a":true}}"#,
        &["-D=true", "--shutdown-timeout=-1"],
    )
    .unwrap();
    assert_eq!(config.default_shm_size, 3 << 29);
    assert_eq!(config.default_ipc_mode, "shareable");
    assert_eq!(config.default_cgroupns_mode.as_deref(), Some("host"));
    assert!(config.init && config.no_new_privileges && config.debug);
    assert_eq!(config.seccomp, Seccomp::Unconfined);
    assert_eq!(config.cgroup_parent, "/box");
    assert_eq!(config.default_stop_timeout, 0);
    assert_eq!(config.proxies.https.as_deref(), Some("http://p"));
    assert_eq!(config.max_concurrent_downloads, 3);
    assert_eq!(config.max_download_attempts, 2);
    assert_eq!(config.shutdown_timeout, -1);
    assert_eq!(config.features, [("a".into(), true)].into());
    let flags = load("", &["--feature", "b", "--feature=c=false"]).unwrap();
    assert_eq!(
        flags.features,
        [("b".into(), true), ("c".into(), false)].into()
    );
    let default = load("", &[]).unwrap();
    assert_eq!(default.default_shm_size, 64 << 20);
    assert_eq!(default.default_ipc_mode, "private");
}

#[test]
fn called_as_dockerd_it_is_where_docker_is() {
    let (config, _) = Config::load_as(Called::Dockerd, ["--config-file=/dev/null".into()]).unwrap();
    assert_eq!(config.hosts, [Host::Unix("/var/run/docker.sock".into())]);
    assert_eq!(config.pidfile, Some("/var/run/docker.pid".into()));
    assert_eq!(config.data_root.to_str(), Some("/var/lib/dhow"));
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

#[test]
fn metrics_are_served_where_go_would_listen() {
    for (text, address) in [
        ("127.0.0.1:9323", "127.0.0.1:9323"),
        (":9323", ":9323"),
        ("localhost:0", "localhost:0"),
        ("tcp://[::1]:9323", "[::1]:9323"),
    ] {
        let config = load("{}", &["--metrics-addr", text]).unwrap();
        assert_eq!(config.metrics_addr.as_deref(), Some(address));
    }
}
