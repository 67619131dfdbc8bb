//! The daemon about itself: `/version`, `/info`, `/system/df`, and its errors.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::wire::{is_default, wire};
use crate::{ContainerSummary, ImageSummary, Volume};

wire! {
    /// `POST /build/prune`.
    #[serde(rename_all = "PascalCase")]
    pub struct BuildPruneReport {
        pub caches_deleted: Option<Vec<String>>,
        /// Bytes.
        pub space_reclaimed: u64,
    }

    /// The body of every answer that is not a success.
    pub struct ErrorResponse {
        pub message: String,
    }

    /// `GET /version`.
    #[serde(rename_all = "PascalCase")]
    pub struct Version {
        pub platform: PlatformInfo,
        pub version: String,
        pub api_version: String,
        #[serde(rename = "MinAPIVersion")]
        pub min_api_version: String,
        pub os: String,
        pub arch: String,
        pub components: Vec<ComponentVersion>,
        #[serde(skip_serializing_if = "is_default")]
        pub git_commit: String,
        /// There is none; clients look it up without asking whether it is there.
        pub go_version: String,
        #[serde(skip_serializing_if = "is_default")]
        pub kernel_version: String,
        #[serde(skip_serializing_if = "is_default")]
        pub experimental: bool,
        #[serde(skip_serializing_if = "is_default")]
        pub build_time: String,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct PlatformInfo {
        pub name: String,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct ComponentVersion {
        pub name: String,
        pub version: String,
        #[serde(skip_serializing_if = "is_default")]
        pub details: BTreeMap<String, String>,
    }

    /// `GET /info`.
    #[serde(rename_all = "PascalCase")]
    pub struct SystemInfo {
        #[serde(rename = "ID")]
        pub id: String,
        pub containers: u64,
        pub containers_running: u64,
        pub containers_paused: u64,
        pub containers_stopped: u64,
        pub images: u64,
        pub driver: String,
        pub driver_status: Vec<[String; 2]>,
        pub plugins: PluginsInfo,
        pub memory_limit: bool,
        pub swap_limit: bool,
        pub cpu_cfs_period: bool,
        pub cpu_cfs_quota: bool,
        #[serde(rename = "CPUShares")]
        pub cpu_shares: bool,
        #[serde(rename = "CPUSet")]
        pub cpu_set: bool,
        pub pids_limit: bool,
        #[serde(rename = "IPv4Forwarding")]
        pub ipv4_forwarding: bool,
        pub debug: bool,
        #[serde(rename = "NFd")]
        pub n_fd: i64,
        pub oom_kill_disable: bool,
        pub n_goroutines: i64,
        pub system_time: String,
        pub logging_driver: String,
        pub cgroup_driver: String,
        #[serde(skip_serializing_if = "is_default")]
        pub cgroup_version: String,
        pub n_events_listener: i64,
        pub kernel_version: String,
        pub operating_system: String,
        #[serde(rename = "OSVersion")]
        pub os_version: String,
        #[serde(rename = "OSType")]
        pub os_type: String,
        pub architecture: String,
        pub index_server_address: String,
        pub registry_config: RegistryConfig,
        #[serde(rename = "NCPU")]
        pub n_cpu: i64,
        pub mem_total: i64,
        pub generic_resources: Option<Vec<Value>>,
        pub docker_root_dir: String,
        pub http_proxy: String,
        pub https_proxy: String,
        pub no_proxy: String,
        pub name: String,
        pub labels: Vec<String>,
        pub experimental_build: bool,
        pub server_version: String,
        pub runtimes: BTreeMap<String, RuntimeInfo>,
        pub default_runtime: String,
        pub swarm: SwarmInfo,
        pub live_restore_enabled: bool,
        pub isolation: String,
        pub init_binary: String,
        pub containerd_commit: Commit,
        pub runc_commit: Commit,
        pub init_commit: Commit,
        pub security_options: Vec<String>,
        #[serde(skip_serializing_if = "is_default")]
        pub product_license: String,
        #[serde(skip_serializing_if = "is_default")]
        pub default_address_pools: Vec<AddressPool>,
        #[serde(skip_serializing_if = "is_default")]
        pub firewall_backend: Option<FirewallInfo>,
        #[serde(rename = "CDISpecDirs")]
        pub cdi_spec_dirs: Vec<String>,
        #[serde(skip_serializing_if = "is_default")]
        pub discovered_devices: Vec<DeviceInfo>,
        pub warnings: Option<Vec<String>>,
    }

    /// A device that containers can ask for by its name.
    #[serde(rename_all = "PascalCase")]
    pub struct DeviceInfo {
        pub source: String,
        #[serde(rename = "ID")]
        pub id: String,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct PluginsInfo {
        pub volume: Option<Vec<String>>,
        pub network: Option<Vec<String>>,
        pub authorization: Option<Vec<String>>,
        pub log: Option<Vec<String>>,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct RegistryConfig {
        #[serde(rename = "InsecureRegistryCIDRs")]
        pub insecure_registry_cidrs: Vec<String>,
        pub index_configs: BTreeMap<String, IndexInfo>,
        pub mirrors: Option<Vec<String>>,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct IndexInfo {
        pub name: String,
        pub mirrors: Vec<String>,
        pub secure: bool,
        pub official: bool,
    }

    #[serde(rename_all = "camelCase")]
    pub struct RuntimeInfo {
        #[serde(skip_serializing_if = "is_default")]
        pub path: String,
        #[serde(skip_serializing_if = "is_default")]
        pub runtime_args: Vec<String>,
        #[serde(skip_serializing_if = "is_default")]
        pub runtime_type: String,
        #[serde(skip_serializing_if = "is_default")]
        pub status: BTreeMap<String, String>,
    }

    /// Swarm's part of `/info`; this daemon is never in one.
    #[serde(rename_all = "PascalCase")]
    pub struct SwarmInfo {
        #[serde(rename = "NodeID")]
        pub node_id: String,
        pub node_addr: String,
        pub local_node_state: String,
        pub control_available: bool,
        pub error: String,
        pub remote_managers: Option<Vec<Value>>,
    }

    pub struct Commit {
        #[serde(rename = "ID")]
        pub id: String,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct AddressPool {
        pub base: String,
        pub size: u8,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct FirewallInfo {
        pub driver: String,
        #[serde(skip_serializing_if = "is_default")]
        pub info: Vec<[String; 2]>,
    }

    /// `GET /system/df`: what all versions before 1.52 show, and the newer fields, which 1.52 shows beside them
    /// unless it is asked to be verbose. A kind of object that was not asked for is omitted.
    #[serde(rename_all = "PascalCase")]
    pub struct DiskUsage {
        #[serde(skip_serializing_if = "is_default")]
        pub layers_size: i64,
        #[serde(skip_serializing_if = "is_default")]
        pub images: Option<Vec<ImageSummary>>,
        #[serde(skip_serializing_if = "is_default")]
        pub containers: Option<Vec<ContainerSummary>>,
        #[serde(skip_serializing_if = "is_default")]
        pub volumes: Option<Vec<Volume>>,
        #[serde(skip_serializing_if = "is_default")]
        pub build_cache: Option<Vec<Value>>,
        #[serde(skip_serializing_if = "is_default")]
        pub image_usage: Option<ObjectUsage<ImageSummary>>,
        #[serde(skip_serializing_if = "is_default")]
        pub container_usage: Option<ObjectUsage<ContainerSummary>>,
        #[serde(skip_serializing_if = "is_default")]
        pub volume_usage: Option<ObjectUsage<Volume>>,
        #[serde(skip_serializing_if = "is_default")]
        pub build_cache_usage: Option<ObjectUsage<Value>>,
    }
}

/// What the objects of a kind take up together.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ObjectUsage<T> {
    /// How many are in use.
    #[serde(skip_serializing_if = "is_default")]
    pub active_count: i64,
    /// Each of them, where that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<T>,
    /// Bytes of those that are not.
    #[serde(skip_serializing_if = "is_default")]
    pub reclaimable: i64,
    #[serde(skip_serializing_if = "is_default")]
    pub total_count: i64,
    /// Bytes.
    #[serde(skip_serializing_if = "is_default")]
    pub total_size: i64,
}
