//! How an engine is set up.

use std::path::PathBuf;

use dhow_net::NetConfig;

/// What the daemon's configuration says of the engine.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Everything that outlives a reboot.
    pub data_root: PathBuf,
    /// Sockets and pid files.
    pub exec_root: PathBuf,
    pub net: NetConfig,
    pub dns: DnsConfig,
    pub log: LogDefaults,
    /// Limits of containers that do not set their own of the same name.
    pub ulimits: Vec<dhow_api::Ulimit>,
    /// The registry's client: mirrors, insecure registries, what is embedded.
    pub distribution: dhow_distribution::Config,
    /// The seconds between a stop's signal and its SIGKILL.
    pub stop_timeout: i64,
    /// The daemon's own labels, `key=value`.
    pub labels: Vec<String>,
    /// Turns on what only helps to find faults.
    pub debug: bool,
}

/// `resolv.conf` where a container says nothing of its own.
#[derive(Clone, Debug, Default)]
pub struct DnsConfig {
    pub servers: Vec<String>,
    pub search: Vec<String>,
    pub options: Vec<String>,
}

/// The log of a container that says nothing of its own.
#[derive(Clone, Debug)]
pub struct LogDefaults {
    /// `json-file` or `none`.
    pub driver: String,
    pub options: std::collections::BTreeMap<String, String>,
}

impl Default for LogDefaults {
    fn default() -> Self {
        LogDefaults {
            driver: "json-file".to_owned(),
            options: Default::default(),
        }
    }
}

impl EngineConfig {
    /// The defaults, in the given places.
    pub fn new(data_root: impl Into<PathBuf>, exec_root: impl Into<PathBuf>) -> EngineConfig {
        EngineConfig {
            data_root: data_root.into(),
            exec_root: exec_root.into(),
            net: NetConfig::default(),
            dns: DnsConfig::default(),
            log: LogDefaults::default(),
            ulimits: Vec::new(),
            distribution: dhow_distribution::Config::default(),
            stop_timeout: 10,
            labels: Vec::new(),
            debug: false,
        }
    }

    pub fn containers_dir(&self) -> PathBuf {
        self.data_root.join("containers")
    }

    pub fn volumes_dir(&self) -> PathBuf {
        self.data_root.join("volumes")
    }

    pub fn events_dir(&self) -> PathBuf {
        self.data_root.join("events")
    }

    /// Where directories go that are to be deleted, out of everyone's sight.
    pub fn trash_dir(&self) -> PathBuf {
        self.data_root.join("trash")
    }
}
