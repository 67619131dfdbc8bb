//! The daemon's configuration: the command line and the configuration file, checked and made one.
//!
//! The file has Docker's keys. A key that is not known, one that is there twice, and one that is also
//! given as a flag are errors that name it: a setting that silently loses is worse than no daemon.

mod file;
mod merge;
mod values;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::{CommandFactory, FromArgMatches};
use dhow_api::Ulimit;
use serde::Deserialize;

use file::FileConfig;
pub use file::KEYS;

use crate::flags::Flags;
use crate::listen::Host;

/// Where the file is looked for.
pub const DEFAULT_FILE: &str = "/etc/dhow/daemon.json";
/// Where the API is served.
pub const DEFAULT_HOST: &str = "unix:///run/dhow.sock";

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(transparent)]
    Usage(#[from] clap::Error),
    #[error("unable to configure the Dhow daemon with file {path}: {reason}")]
    File { path: PathBuf, reason: String },
    #[error("{0}")]
    Invalid(String),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Debug,
    #[default]
    Info,
    Warn,
    Error,
    Fatal,
}

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
    pub default_address_pools: Vec<AddressPool>,
    pub mtu: Option<u32>,
    pub ip: Option<IpAddr>,
    pub ip_forward: bool,
    pub ip_masq: bool,
    pub icc: bool,
    pub dns: Vec<String>,
    pub dns_search: Vec<String>,
    pub dns_opts: Vec<String>,
    pub default_ulimits: Vec<Ulimit>,
    pub log_driver: String,
    pub log_opts: BTreeMap<String, String>,
    pub labels: Vec<String>,
    pub shutdown_timeout: u64,
}

impl Config {
    /// Reads a command line, without the program's name, and the file. Also tells whether that was all that
    /// was asked for (`--validate`).
    pub fn load<I>(arguments: I) -> Result<(Config, bool), ConfigError>
    where
        I: IntoIterator<Item = std::ffi::OsString>,
    {
        let program = std::ffi::OsString::from("dhow daemon");
        let matches =
            Flags::command().try_get_matches_from(std::iter::once(program).chain(arguments))?;
        let flags = Flags::from_arg_matches(&matches)?;
        let path = flags.config_file.clone();
        let (file, read_from) = match &path {
            Some(path) => (file::read(path, &matches)?, Some(path.clone())),
            None if Path::new(DEFAULT_FILE).exists() => {
                let path = Path::new(DEFAULT_FILE);
                (file::read(path, &matches)?, Some(path.to_owned()))
            }
            None => (FileConfig::default(), None),
        };
        let validate = flags.validate;
        merge::merge(flags, file, read_from).map(|config| (config, validate))
    }
}
