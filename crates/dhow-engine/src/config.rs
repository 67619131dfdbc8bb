//! How an engine is set up.

use std::collections::BTreeMap;
use std::path::PathBuf;

use dhow_net::NetConfig;

/// Options for networks whose makers don't say otherwise, by driver.
pub type DefaultOptions = BTreeMap<String, BTreeMap<String, String>>;

/// What the daemon's configuration says of the engine.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Everything that outlives a reboot.
    pub data_root: PathBuf,
    /// Sockets and pid files.
    pub exec_root: PathBuf,
    pub net: NetConfig,
    pub dns: DnsConfig,
    /// Options for networks whose makers don't say otherwise.
    pub network_options: DefaultOptions,
    pub log: LogDefaults,
    pub defaults: ContainerDefaults,
    /// The registry's client: mirrors, insecure registries, what is embedded.
    pub distribution: dhow_distribution::Config,
    /// The daemon's own labels, `key=value`.
    pub labels: Vec<String>,
    /// Turns on what only helps to find faults.
    pub debug: bool,
}

/// What holds for a container that says nothing of its own. It can change while the engine runs; a container keeps what
/// it was made with, except for what is said here to count at its start or stop.
#[derive(Clone, Debug)]
pub struct ContainerDefaults {
    /// Limits, by name.
    pub ulimits: Vec<dhow_api::Ulimit>,
    /// The seconds between a stop's signal and its SIGKILL. Counts at the stop.
    pub stop_timeout: i64,
    /// Bytes.
    pub shm_size: i64,
    /// `private` or `shareable`.
    pub ipc_mode: String,
    /// `private` or `host`; by the cgroup version where nothing is said.
    pub cgroupns_mode: Option<String>,
    pub cgroup_parent: String,
    /// Whether there is an init. Counts at the start.
    pub init: bool,
    /// Counts at the start.
    pub no_new_privileges: bool,
    /// `unconfined`, or a profile as JSON; none is the built-in one. Counts at the start.
    pub seccomp: Option<String>,
    /// Where vendors describe devices; none where that is switched off. Counts at the start.
    pub device_dirs: Option<Vec<PathBuf>>,
}

impl Default for ContainerDefaults {
    fn default() -> Self {
        ContainerDefaults {
            ulimits: Vec::new(),
            stop_timeout: 10,
            shm_size: 64 << 20,
            ipc_mode: "private".to_owned(),
            cgroupns_mode: None,
            cgroup_parent: String::new(),
            init: false,
            no_new_privileges: false,
            seccomp: None,
            device_dirs: Some(crate::host::cdi::DEFAULT_DIRS.map(PathBuf::from).to_vec()),
        }
    }
}

/// `resolv.conf` where a container says nothing of its own.
#[derive(Clone, Debug, Default)]
pub struct DnsConfig {
    pub servers: Vec<String>,
    pub search: Vec<String>,
    pub options: Vec<String>,
    /// Whether containers on the default network find each other by name, as on networks that clients make.
    pub on_bridge: bool,
}

/// The log of a container that says nothing of its own.
#[derive(Clone, Debug)]
pub struct LogDefaults {
    /// One of [`crate::containers::logging::DRIVERS`].
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
            network_options: DefaultOptions::new(),
            log: LogDefaults::default(),
            defaults: ContainerDefaults::default(),
            distribution: dhow_distribution::Config::default(),
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
