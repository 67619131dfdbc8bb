//! A container as the daemon shows it: list, inspect, wait, top, prune.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::wire::{is_default, wire};
use crate::{ContainerConfig, Descriptor, DriverData, EndpointSettings, HostConfig, PortMap};

wire! {
    /// A line of `GET /containers/json`.
    #[serde(rename_all = "PascalCase")]
    pub struct ContainerSummary {
        pub id: String,
        /// Each with a leading slash.
        pub names: Vec<String>,
        pub image: String,
        #[serde(rename = "ImageID")]
        pub image_id: String,
        #[serde(skip_serializing_if = "is_default")]
        pub image_manifest_descriptor: Option<Descriptor>,
        pub command: String,
        /// Seconds since the epoch.
        pub created: i64,
        pub ports: Vec<PortSummary>,
        #[serde(skip_serializing_if = "is_default")]
        pub size_rw: i64,
        #[serde(skip_serializing_if = "is_default")]
        pub size_root_fs: i64,
        pub labels: BTreeMap<String, String>,
        /// `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`.
        pub state: String,
        /// For people, such as `Up 5 minutes`.
        pub status: String,
        pub host_config: SummaryHostConfig,
        /// From 1.52.
        #[serde(skip_serializing_if = "is_default")]
        pub health: Option<HealthSummary>,
        pub network_settings: SummaryNetworkSettings,
        pub mounts: Vec<MountPoint>,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct SummaryHostConfig {
        #[serde(skip_serializing_if = "is_default")]
        pub network_mode: String,
        #[serde(skip_serializing_if = "is_default")]
        pub annotations: BTreeMap<String, String>,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct SummaryNetworkSettings {
        /// Boxed, as a map makes room for eleven at once, and most containers of a long list have one.
        pub networks: BTreeMap<String, Box<EndpointSettings>>,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct PortSummary {
        #[serde(rename = "IP", skip_serializing_if = "is_default")]
        pub ip: String,
        pub private_port: u16,
        #[serde(skip_serializing_if = "is_default")]
        pub public_port: u16,
        #[serde(rename = "Type")]
        pub protocol: String,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct HealthSummary {
        pub status: String,
        pub failing_streak: i64,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct MountPoint {
        #[serde(rename = "Type", skip_serializing_if = "is_default")]
        pub kind: String,
        #[serde(skip_serializing_if = "is_default")]
        pub name: String,
        pub source: String,
        pub destination: String,
        #[serde(skip_serializing_if = "is_default")]
        pub driver: String,
        pub mode: String,
        #[serde(rename = "RW")]
        pub rw: bool,
        pub propagation: String,
    }

    /// `GET /containers/{id}/json`.
    #[serde(rename_all = "PascalCase")]
    pub struct ContainerInspect {
        pub id: String,
        pub created: String,
        pub path: String,
        pub args: Vec<String>,
        pub state: ContainerState,
        /// The image's id.
        pub image: String,
        pub resolv_conf_path: String,
        pub hostname_path: String,
        pub hosts_path: String,
        pub log_path: String,
        /// With a leading slash.
        pub name: String,
        pub restart_count: i64,
        pub driver: String,
        pub platform: String,
        pub mount_label: String,
        pub process_label: String,
        pub app_armor_profile: String,
        #[serde(rename = "ExecIDs")]
        pub exec_ids: Option<Vec<String>>,
        pub host_config: HostConfig,
        #[serde(skip_serializing_if = "is_default")]
        pub graph_driver: Option<DriverData>,
        /// From 1.52, what replaces the graph driver.
        #[serde(skip_serializing_if = "is_default")]
        pub storage: Option<Value>,
        #[serde(skip_serializing_if = "is_default")]
        pub size_rw: Option<i64>,
        #[serde(skip_serializing_if = "is_default")]
        pub size_root_fs: Option<i64>,
        pub mounts: Vec<MountPoint>,
        pub config: ContainerConfig,
        pub network_settings: NetworkSettings,
        #[serde(skip_serializing_if = "is_default")]
        pub image_manifest_descriptor: Option<Descriptor>,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct ContainerState {
        pub status: String,
        pub running: bool,
        pub paused: bool,
        pub restarting: bool,
        #[serde(rename = "OOMKilled")]
        pub oom_killed: bool,
        pub dead: bool,
        pub pid: i64,
        pub exit_code: i64,
        pub error: String,
        pub started_at: String,
        pub finished_at: String,
        /// Absent without a health check: clients tell by that.
        #[serde(skip_serializing_if = "is_default")]
        pub health: Option<Health>,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct Health {
        pub status: String,
        pub failing_streak: i64,
        pub log: Option<Vec<HealthcheckResult>>,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct HealthcheckResult {
        pub start: String,
        pub end: String,
        pub exit_code: i64,
        pub output: String,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct NetworkSettings {
        #[serde(rename = "SandboxID")]
        pub sandbox_id: String,
        pub sandbox_key: String,
        /// An exposed port that is not published has no bindings: null.
        pub ports: PortMap,
        pub networks: BTreeMap<String, EndpointSettings>,
    }

    /// The answer to a wait.
    #[serde(rename_all = "PascalCase")]
    pub struct WaitResponse {
        #[serde(skip_serializing_if = "is_default")]
        pub error: Option<WaitExitError>,
        pub status_code: i64,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct WaitExitError {
        #[serde(skip_serializing_if = "is_default")]
        pub message: String,
    }

    /// A path of `GET /containers/{id}/changes`.
    #[serde(rename_all = "PascalCase")]
    pub struct ContainerChange {
        pub path: String,
        /// 0 is modified, 1 added, 2 deleted.
        pub kind: u8,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct TopResponse {
        pub processes: Vec<Vec<String>>,
        pub titles: Vec<String>,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct ContainerPruneReport {
        /// Null when nothing was.
        pub containers_deleted: Option<Vec<String>>,
        pub space_reclaimed: u64,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct FilesystemChange {
        /// 0 modified, 1 added, 2 deleted.
        pub kind: u8,
        pub path: String,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_collections_are_shown_as_docker_shows_them() {
        let summary = serde_json::to_value(ContainerSummary::default()).unwrap();
        assert_eq!(
            summary["NetworkSettings"]["Networks"],
            serde_json::json!({})
        );
        assert_eq!(summary["Ports"], serde_json::json!([]));
        assert_eq!(summary["Labels"], serde_json::json!({}));
        assert_eq!(summary["Mounts"], serde_json::json!([]));
        assert!(summary.get("Health").is_none());
        let inspect = serde_json::to_value(ContainerInspect::default()).unwrap();
        assert!(inspect["State"].get("Health").is_none());
        assert!(inspect["ExecIDs"].is_null());
        assert!(inspect["Config"]["Volumes"].is_null());
        assert_eq!(
            inspect["NetworkSettings"]["Networks"],
            serde_json::json!({})
        );
    }
}
