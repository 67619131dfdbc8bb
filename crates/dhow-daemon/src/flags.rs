//! The daemon's command line. Flags and keys are Docker's, where Docker has them.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{Command, CommandFactory, Parser};

use crate::config::{LogFormat, LogLevel, not_here};

/// Run the daemon: it owns images, containers, networks and volumes, and serves the Engine API.
///
/// Each flag can also be given in the configuration file, by the key that the documentation names; giving
/// one in both places is an error. Containers run on when the daemon ends, and the next one takes them
/// over.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "dhow daemon", version, max_term_width = 100)]
pub struct Flags {
    /// Socket to serve the API on: unix://PATH, tcp://ADDRESS:PORT or fd://. May be given several times.
    /// Default: unix:///run/dhow.sock
    #[arg(short = 'H', long = "host", value_name = "HOST")]
    pub host: Vec<String>,
    /// Group that owns the unix sockets. Default: dhow, where there is such a group
    #[arg(short = 'G', long, value_name = "GROUP")]
    pub group: Option<String>,
    /// Directory of the persistent state. Default: /var/lib/dhow
    #[arg(long, value_name = "DIR")]
    pub data_root: Option<PathBuf>,
    /// Directory of the state that a reboot may take. Default: /run/dhow
    #[arg(long, value_name = "DIR")]
    pub exec_root: Option<PathBuf>,
    /// File for the daemon's process number. Default: none
    #[arg(short = 'p', long, value_name = "FILE")]
    pub pidfile: Option<PathBuf>,
    /// Configuration file. Default: /etc/dhow/daemon.json, where there is one
    #[arg(long, value_name = "FILE")]
    pub config_file: Option<PathBuf>,
    /// Check the configuration and exit
    #[arg(long)]
    pub validate: bool,
    /// Log at level debug
    #[arg(short = 'D', long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub debug: Option<bool>,
    /// Least level to log. Default: info
    #[arg(short = 'l', long, value_name = "LEVEL")]
    pub log_level: Option<LogLevel>,
    /// Format of the log. Default: text
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Log without colours, also on a terminal
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub raw_logs: Option<bool>,
    /// Address and port to serve metrics on, for Prometheus, at /metrics. Default: none
    #[arg(long, value_name = "ADDRESS")]
    pub metrics_addr: Option<String>,

    /// Use TLS on TCP sockets; --tls=false permits TCP without it, which makes everyone who can reach the
    /// socket root on this machine
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub tls: Option<bool>,
    /// Use TLS on TCP sockets, and serve only clients whose certificate the CA has signed
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub tlsverify: Option<bool>,
    /// Certificates of the CA that signs clients. Default: ~/.docker/ca.pem
    #[arg(long, value_name = "FILE")]
    pub tlscacert: Option<PathBuf>,
    /// Certificate of the daemon. Default: ~/.docker/cert.pem
    #[arg(long, value_name = "FILE")]
    pub tlscert: Option<PathBuf>,
    /// Key of the daemon's certificate. Default: ~/.docker/key.pem
    #[arg(long, value_name = "FILE")]
    pub tlskey: Option<PathBuf>,

    /// Mirror of docker.io to try first. May be given several times
    #[arg(long, value_name = "URL")]
    pub registry_mirror: Vec<String>,
    /// Registry, or network of registries, to use without TLS or with certificates that are not checked.
    /// May be given several times
    #[arg(long, value_name = "HOST")]
    pub insecure_registry: Vec<String>,
    /// Layers of one pull to fetch side by side. Default: 3
    #[arg(long, value_name = "N")]
    pub max_concurrent_downloads: Option<usize>,
    /// Layers of one push to send side by side. Default: 5
    #[arg(long, value_name = "N")]
    pub max_concurrent_uploads: Option<usize>,
    /// How often a transfer that makes no progress is begun. Default: 5
    #[arg(long, value_name = "N")]
    pub max_download_attempts: Option<u32>,
    /// Proxy for what goes out over HTTP. Default: HTTP_PROXY of the environment
    #[arg(long, value_name = "URL")]
    pub http_proxy: Option<String>,
    /// Proxy for what goes out over HTTPS. Default: HTTPS_PROXY of the environment
    #[arg(long, value_name = "URL")]
    pub https_proxy: Option<String>,
    /// Hosts and addresses that are reached without a proxy, separated by commas. Default: NO_PROXY of the environment
    #[arg(long, value_name = "HOSTS")]
    pub no_proxy: Option<String>,

    /// Bridge of the default network. Default: dhow0
    #[arg(short = 'b', long, value_name = "NAME")]
    pub bridge: Option<String>,
    /// Address of the bridge with its prefix length, such as 172.17.0.1/16
    #[arg(long, value_name = "CIDR")]
    pub bip: Option<String>,
    /// Part of the bridge's subnet to take containers' addresses from
    #[arg(long, value_name = "CIDR")]
    pub fixed_cidr: Option<String>,
    /// Give containers on the default network IPv6 addresses too. Default: false
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub ipv6: Option<bool>,
    /// IPv6 address of the default bridge, with its prefix length
    #[arg(long, value_name = "CIDR")]
    pub bip6: Option<String>,
    /// IPv6 subnet of the default network, or the part of it to take containers' addresses from
    #[arg(long = "fixed-cidr-v6", value_name = "CIDR")]
    pub fixed_cidr_v6: Option<String>,
    /// Addresses to cut networks from: base=CIDR,size=PREFIX. May be given several times
    #[arg(long, value_name = "POOL")]
    pub default_address_pool: Vec<String>,
    /// MTU of the default network. Default: 1500
    #[arg(long, value_name = "BYTES")]
    pub mtu: Option<u32>,
    /// Address of the host that ports are published on by default. Default: 0.0.0.0
    #[arg(long, value_name = "IP")]
    pub ip: Option<IpAddr>,
    /// Switch IP forwarding on. Default: true
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub ip_forward: Option<bool>,
    /// Masquerade what containers send out. Default: true
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub ip_masq: Option<bool>,
    /// Make rules of the firewall. It is always so; false is refused
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub iptables: Option<bool>,
    /// Let containers of the default network reach each other. Default: true
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub icc: Option<bool>,
    /// Let containers of the default network find each other by name, as those of other networks do. Default: false
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub bridge_names: Option<bool>,
    /// Let published ports be reached from elsewhere at the containers' own addresses too. Default: false
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub allow_direct_routing: Option<bool>,
    /// Let packets with this mark reach containers: MARK[/MASK]
    #[arg(long, value_name = "MARK")]
    pub bridge_accept_fwmark: Option<String>,
    /// Let the host's own firewall decide over published ports, by its rules for the host's input. Default: false
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub host_firewall: Option<bool>,
    /// Option for networks whose makers don't say otherwise: DRIVER=KEY=VALUE. May be given several times
    #[arg(long, value_name = "OPTION")]
    pub default_network_opt: Vec<String>,
    /// DNS server of containers. May be given several times
    #[arg(long, value_name = "IP")]
    pub dns: Vec<String>,
    /// DNS search domain of containers. May be given several times
    #[arg(long, value_name = "DOMAIN")]
    pub dns_search: Vec<String>,
    /// Resolver option of containers. May be given several times
    #[arg(long, value_name = "OPTION")]
    pub dns_opt: Vec<String>,

    /// Resource limit of containers: NAME=SOFT[:HARD]. May be given several times
    #[arg(long, value_name = "ULIMIT")]
    pub default_ulimit: Vec<String>,
    /// Size of /dev/shm of containers. Default: 64m
    #[arg(long, value_name = "BYTES")]
    pub default_shm_size: Option<String>,
    /// IPC namespace of containers: private or shareable. Default: private
    #[arg(long, value_name = "MODE")]
    pub default_ipc_mode: Option<String>,
    /// Cgroup namespace of containers: private or host. Default: private, with cgroup v1 host
    #[arg(long, value_name = "MODE")]
    pub default_cgroupns_mode: Option<String>,
    /// Seconds that containers have between a stop's signal and their end. Default: 10
    #[arg(long, value_name = "SECONDS")]
    pub default_stop_timeout: Option<i64>,
    /// Runtime of containers: runc, which is Dhow's own
    #[arg(long, value_name = "NAME")]
    pub default_runtime: Option<String>,
    /// Parent cgroup of containers. Default: /dhow
    #[arg(long, value_name = "PATH")]
    pub cgroup_parent: Option<String>,
    /// Option of the runtime: native.cgroupdriver=cgroupfs. May be given several times
    #[arg(long, value_name = "OPTION")]
    pub exec_opt: Vec<String>,
    /// Run an init in containers, which forwards signals and reaps processes. Default: false
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub init: Option<bool>,
    /// Keep containers from gaining privileges. Default: false
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub no_new_privileges: Option<bool>,
    /// Seccomp profile of containers: builtin, unconfined, or a file. Default: builtin
    #[arg(long, value_name = "PROFILE")]
    pub seccomp_profile: Option<String>,
    /// Directory of specifications of devices (CDI). May be given several times. Default: /etc/cdi, /var/run/cdi
    #[arg(long, value_name = "DIRECTORY")]
    pub cdi_spec_dir: Vec<String>,
    /// Log driver of containers: json-file, local, syslog, journald or none. Default: json-file
    #[arg(long, value_name = "DRIVER")]
    pub log_driver: Option<String>,
    /// Option of the log driver: KEY=VALUE. May be given several times
    #[arg(long, value_name = "OPTION")]
    pub log_opt: Vec<String>,
    /// Label of the daemon: KEY=VALUE. May be given several times
    #[arg(long, value_name = "LABEL")]
    pub label: Vec<String>,
    /// Feature to switch on or off: NAME=BOOL. May be given several times
    #[arg(long, value_name = "FEATURE")]
    pub feature: Vec<String>,
    /// Say that this is an experimental daemon, which has no other effect. Default: false
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub experimental: Option<bool>,
    /// Keep containers running while no daemon does. It is always so
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub live_restore: Option<bool>,
    /// Seconds to wait for requests in progress at the end; for ever where it is negative. Default: 15
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true)]
    pub shutdown_timeout: Option<i64>,
    /// The daemon's oom_score_adj. Default: as it is
    #[arg(long, value_name = "SCORE", allow_hyphen_values = true)]
    pub oom_score_adjust: Option<i32>,
}

/// The command line, with the flags that are taken without effect.
pub fn command() -> Command {
    not_here::augment(Flags::command())
}
