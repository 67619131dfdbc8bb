//! The daemon's configuration: the command line and the configuration file, checked and made one.
//!
//! The file has Docker's keys. A key that is not known, one that is there twice, and one that is also
//! given as a flag are errors that name it: a setting that silently loses is worse than no daemon.

mod file;
mod merge;
pub mod not_here;
mod values;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::FromArgMatches;
use dhow_api::Ulimit;
use dhow_engine::DefaultOptions;
use dhow_net::Mark;
use serde::Deserialize;

use file::FileConfig;
pub use file::KEYS;
pub use values::masked;

use crate::flags::{Flags, command};
use crate::listen::Host;

/// Where the file is looked for.
pub const DEFAULT_FILE: &str = "/etc/dhow/daemon.json";
/// Where the API is served.
pub const DEFAULT_HOST: &str = "unix:///run/dhow.sock";

/// Why there is no configuration: a file that can't be read, or a setting that can't be.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(transparent)]
    Usage(#[from] clap::Error),
    #[error("unable to configure the Dhow daemon with file {path}: {reason}")]
    File { path: PathBuf, reason: String },
    #[error("{0}")]
    Invalid(String),
}

/// From which severity on the daemon logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Debug,
    #[default]
    Info,
    Warn,
    Error,
    Fatal,
    /// Docker knows these, too: the nearest is meant.
    Panic,
    Trace,
}

/// Lines for people, or JSON objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Addresses to cut networks from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AddressPool {
    pub base: String,
    pub size: u8,
}

/// How TCP is protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Nobody said: TCP is refused.
    Undecided,
    /// Expressly without.
    Off,
    On {
        certificate: PathBuf,
        key: PathBuf,
        /// With `--tlsverify`.
        client_ca: Option<PathBuf>,
    },
}

/// The configuration, complete and checked.
#[derive(Clone, Debug)]
pub struct Config {
    pub hosts: Vec<Host>,
    pub group: Option<String>,
    pub data_root: PathBuf,
    pub exec_root: PathBuf,
    pub pidfile: Option<PathBuf>,
    /// The file that was read, and is read again on SIGHUP.
    pub file: Option<PathBuf>,
    pub log_level: LogLevel,
    pub log_format: LogFormat,
    pub debug: bool,
    pub tls: Tls,
    pub registry_mirrors: Vec<String>,
    pub insecure_registries: Vec<String>,
    pub max_concurrent_downloads: usize,
    pub max_concurrent_uploads: usize,
    pub bridge: Option<String>,
    pub bip: Option<String>,
    pub fixed_cidr: Option<String>,
    pub ipv6: bool,
    pub bip6: Option<String>,
    pub fixed_cidr_v6: Option<String>,
    pub default_address_pools: Vec<AddressPool>,
    pub mtu: Option<u32>,
    pub ip: Option<IpAddr>,
    pub ip_forward: bool,
    pub ip_masq: bool,
    pub icc: bool,
    pub bridge_names: bool,
    pub allow_direct_routing: bool,
    pub bridge_accept_fwmark: Option<Mark>,
    /// The host's own firewall decides over published ports.
    pub host_firewall: bool,
    pub default_network_opts: DefaultOptions,
    pub dns: Vec<String>,
    pub dns_search: Vec<String>,
    pub dns_opts: Vec<String>,
    pub default_ulimits: Vec<Ulimit>,
    pub log_driver: String,
    pub log_opts: BTreeMap<String, String>,
    pub labels: Vec<String>,
    pub shutdown_timeout: i64,
    pub oom_score_adjust: Option<i32>,
    /// The log has no colours, also on a terminal.
    pub raw_logs: bool,
    /// `HOST:PORT`; no host is every address.
    pub metrics_addr: Option<String>,
    pub max_download_attempts: u32,
    pub proxies: Proxies,
    pub default_shm_size: i64,
    pub default_ipc_mode: String,
    pub default_cgroupns_mode: Option<String>,
    pub default_stop_timeout: i64,
    pub default_runtime: String,
    pub cgroup_parent: String,
    pub init: bool,
    pub no_new_privileges: bool,
    pub seccomp: Seccomp,
    /// Where devices are described; none where that is switched off.
    pub cdi_spec_dirs: Option<Vec<PathBuf>>,
    pub features: BTreeMap<String, bool>,
    pub experimental: bool,
    /// What is to be said of settings that are taken without effect.
    pub said: Vec<String>,
}

/// The proxies to registries; what is not said is the environment's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    pub http: Option<String>,
    pub https: Option<String>,
    pub no: Option<String>,
}

/// The seccomp profile of containers that say nothing of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Seccomp {
    #[default]
    Builtin,
    Unconfined,
    /// Its file, and what was in it.
    Profile(PathBuf, String),
}

/// What the program was called as. A daemon that is called as Docker's finds its settings and its socket where Docker's
/// has them, so that its unit starts it unchanged; what it keeps stays its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Called {
    #[default]
    Dhow,
    Dockerd,
}

impl Called {
    fn file(self) -> &'static Path {
        Path::new(match self {
            Called::Dhow => DEFAULT_FILE,
            Called::Dockerd => "/etc/docker/daemon.json",
        })
    }

    fn host(self) -> &'static str {
        match self {
            Called::Dhow => DEFAULT_HOST,
            Called::Dockerd => "unix:///var/run/docker.sock",
        }
    }
}

impl Config {
    /// As [`Config::load_as`], for a program that is called by its own name.
    pub fn load<I>(arguments: I) -> Result<(Config, bool), ConfigError>
    where
        I: IntoIterator<Item = std::ffi::OsString>,
    {
        Config::load_as(Called::Dhow, arguments)
    }

    /// Reads a command line, without the program's name, and the file. Also tells whether that was all that
    /// was asked for (`--validate`).
    pub fn load_as<I>(called: Called, arguments: I) -> Result<(Config, bool), ConfigError>
    where
        I: IntoIterator<Item = std::ffi::OsString>,
    {
        let program = std::ffi::OsString::from("dhow daemon");
        let matches = command().try_get_matches_from(std::iter::once(program).chain(arguments))?;
        let flags = Flags::from_arg_matches(&matches)?;
        let path = flags.config_file.clone();
        let (file, read_from) = match &path {
            Some(path) => (file::read(path, &matches)?, Some(path.clone())),
            None if called.file().exists() => {
                let path = called.file();
                (file::read(path, &matches)?, Some(path.to_owned()))
            }
            None => (FileConfig::default(), None),
        };
        let validate = flags.validate;
        let said = not_here::of_flags(&matches).map_err(ConfigError::Invalid)?;
        let mut file = file;
        file.said.splice(0..0, said);
        merge::merge(called, flags, file, read_from).map(|config| (config, validate))
    }
}
