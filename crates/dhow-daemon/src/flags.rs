//! The daemon's command line. Flags and keys are Docker's, where Docker has them.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Parser;

use crate::config::{LogFormat, LogLevel};

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
    #[arg(short = 'D', long)]
    pub debug: bool,
    /// Least level to log. Default: info
    #[arg(short = 'l', long, value_name = "LEVEL")]
    pub log_level: Option<LogLevel>,
    /// Format of the log. Default: text
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,

    /// Use TLS on TCP sockets; --tls=false permits TCP without it, which makes everyone who can reach the
    /// socket root on this machine
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub tls: Option<bool>,
    /// Use TLS on TCP sockets, and serve only clients whose certificate the CA has signed
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
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

    /// Bridge of the default network. Default: dhow0
    #[arg(short = 'b', long, value_name = "NAME")]
    pub bridge: Option<String>,
    /// Address of the bridge with its prefix length, such as 172.17.0.1/16
    #[arg(long, value_name = "CIDR")]
    pub bip: Option<String>,
    /// Part of the bridge's subnet to take containers' addresses from
    #[arg(long, value_name = "CIDR")]
    pub fixed_cidr: Option<String>,
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
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub ip_forward: Option<bool>,
    /// Masquerade what containers send out. Default: true
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub ip_masq: Option<bool>,
    /// Let containers of the default network reach each other. Default: true
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub icc: Option<bool>,
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
    /// Log driver of containers: json-file or none. Default: json-file
    #[arg(long, value_name = "DRIVER")]
    pub log_driver: Option<String>,
    /// Option of the log driver: KEY=VALUE. May be given several times
    #[arg(long, value_name = "OPTION")]
    pub log_opt: Vec<String>,
    /// Label of the daemon: KEY=VALUE. May be given several times
    #[arg(long, value_name = "LABEL")]
    pub label: Vec<String>,
    /// Keep containers running while no daemon does. It is always so; false is refused
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub live_restore: Option<bool>,
    /// Seconds to wait for requests in progress at the end. Default: 15
    #[arg(long, value_name = "SECONDS")]
    pub shutdown_timeout: Option<u64>,
}
