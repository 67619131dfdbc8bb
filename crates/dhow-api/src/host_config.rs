//! The part of a container's definition that depends on its host, and the resources that
//! `POST /containers/{id}/update` can change.

use std::collections::BTreeMap;

use crate::PortMap;
use crate::wire::{composed, is_default, nullable, wire, words};

/// The kernel parameters that an ipc namespace has of its own, beside those below `fs.mqueue.` (ipc_namespaces(7)).
pub const IPC_SYSCTLS: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// A container's settings on its host. Lists keep null apart from empty: inspect shows what came.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "PascalCase", default, remote = "Self")]
pub struct HostConfig {
    #[serde(deserialize_with = "nullable")]
    pub binds: Option<Vec<String>>,
    #[serde(rename = "ContainerIDFile", deserialize_with = "nullable")]
    pub container_id_file: String,
    #[serde(deserialize_with = "nullable")]
    pub log_config: LogConfig,
    #[serde(deserialize_with = "nullable")]
    pub network_mode: String,
    #[serde(deserialize_with = "nullable")]
    pub port_bindings: Option<PortMap>,
    #[serde(deserialize_with = "nullable")]
    pub restart_policy: RestartPolicy,
    #[serde(deserialize_with = "nullable")]
    pub auto_remove: bool,
    #[serde(deserialize_with = "nullable")]
    pub volume_driver: String,
    #[serde(deserialize_with = "nullable")]
    pub volumes_from: Option<Vec<String>>,
    /// Height and width of the terminal at its start.
    #[serde(deserialize_with = "nullable")]
    pub console_size: [u32; 2],
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub annotations: BTreeMap<String, String>,
    #[serde(deserialize_with = "words")]
    pub cap_add: Option<Vec<String>>,
    #[serde(deserialize_with = "words")]
    pub cap_drop: Option<Vec<String>>,
    #[serde(deserialize_with = "nullable")]
    pub cgroupns_mode: String,
    #[serde(deserialize_with = "nullable")]
    pub dns: Option<Vec<String>>,
    #[serde(deserialize_with = "nullable")]
    pub dns_options: Option<Vec<String>>,
    #[serde(deserialize_with = "nullable")]
    pub dns_search: Option<Vec<String>>,
    #[serde(deserialize_with = "nullable")]
    pub extra_hosts: Option<Vec<String>>,
    #[serde(deserialize_with = "nullable")]
    pub group_add: Option<Vec<String>>,
    #[serde(deserialize_with = "nullable")]
    pub ipc_mode: String,
    #[serde(deserialize_with = "nullable")]
    pub cgroup: String,
    #[serde(deserialize_with = "nullable")]
    pub links: Option<Vec<String>>,
    #[serde(deserialize_with = "nullable")]
    pub oom_score_adj: i64,
    #[serde(deserialize_with = "nullable")]
    pub pid_mode: String,
    #[serde(deserialize_with = "nullable")]
    pub privileged: bool,
    #[serde(deserialize_with = "nullable")]
    pub publish_all_ports: bool,
    #[serde(deserialize_with = "nullable")]
    pub readonly_rootfs: bool,
    #[serde(deserialize_with = "nullable")]
    pub security_opt: Option<Vec<String>>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub storage_opt: BTreeMap<String, String>,
    /// Paths in the container and their mount options.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub tmpfs: BTreeMap<String, String>,
    #[serde(rename = "UTSMode", deserialize_with = "nullable")]
    pub uts_mode: String,
    #[serde(deserialize_with = "nullable")]
    pub userns_mode: String,
    /// Bytes; zero means the default of 64 MiB.
    #[serde(deserialize_with = "nullable")]
    pub shm_size: i64,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub sysctls: BTreeMap<String, String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub runtime: String,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub umask: Option<u32>,
    #[serde(deserialize_with = "nullable")]
    pub isolation: String,
    #[serde(flatten, skip_deserializing)]
    pub resources: Resources,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub mounts: Vec<Mount>,
    /// In a request `None` means the defaults.
    #[serde(deserialize_with = "nullable")]
    pub masked_paths: Option<Vec<String>>,
    #[serde(deserialize_with = "nullable")]
    pub readonly_paths: Option<Vec<String>>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub init: Option<bool>,
}

wire! {
    #[serde(rename_all = "PascalCase")]
    pub struct LogConfig {
        #[serde(rename = "Type")]
        pub kind: String,
        pub config: BTreeMap<String, String>,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct RestartPolicy {
        /// Empty, `no`, `always`, `on-failure` or `unless-stopped`.
        pub name: String,
        pub maximum_retry_count: i64,
    }

    /// What limits a container's use of its host. Zero and `None` mean no limit in a creation, and no
    /// change in an update.
    #[serde(rename_all = "PascalCase")]
    pub struct Resources {
        pub cpu_shares: i64,
        /// Bytes.
        pub memory: i64,
        /// Billionths of a CPU.
        pub nano_cpus: i64,
        pub cgroup_parent: String,
        pub blkio_weight: u16,
        pub blkio_weight_device: Option<Vec<WeightDevice>>,
        pub blkio_device_read_bps: Option<Vec<ThrottleDevice>>,
        pub blkio_device_write_bps: Option<Vec<ThrottleDevice>>,
        #[serde(rename = "BlkioDeviceReadIOps")]
        pub blkio_device_read_iops: Option<Vec<ThrottleDevice>>,
        #[serde(rename = "BlkioDeviceWriteIOps")]
        pub blkio_device_write_iops: Option<Vec<ThrottleDevice>>,
        /// Microseconds.
        pub cpu_period: i64,
        /// Microseconds in every period.
        pub cpu_quota: i64,
        pub cpu_realtime_period: i64,
        pub cpu_realtime_runtime: i64,
        pub cpuset_cpus: String,
        pub cpuset_mems: String,
        pub devices: Option<Vec<DeviceMapping>>,
        pub device_cgroup_rules: Option<Vec<String>>,
        pub device_requests: Option<Vec<DeviceRequest>>,
        /// Bytes.
        pub memory_reservation: i64,
        /// Memory and swap together, in bytes; -1 means without limit.
        pub memory_swap: i64,
        pub memory_swappiness: Option<i64>,
        pub oom_kill_disable: Option<bool>,
        /// Zero and less mean without limit.
        pub pids_limit: Option<i64>,
        pub ulimits: Option<Vec<Ulimit>>,
        pub cpu_count: i64,
        pub cpu_percent: i64,
        #[serde(rename = "IOMaximumIOps")]
        pub io_maximum_iops: u64,
        #[serde(rename = "IOMaximumBandwidth")]
        pub io_maximum_bandwidth: u64,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct WeightDevice {
        pub path: String,
        pub weight: u16,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct ThrottleDevice {
        pub path: String,
        pub rate: u64,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct DeviceMapping {
        pub path_on_host: String,
        pub path_in_container: String,
        /// Some of `rwm`.
        pub cgroup_permissions: String,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct DeviceRequest {
        pub driver: String,
        pub count: i64,
        #[serde(rename = "DeviceIDs")]
        pub device_ids: Option<Vec<String>>,
        pub capabilities: Option<Vec<Vec<String>>>,
        pub options: Option<BTreeMap<String, String>>,
    }

    /// A resource limit; -1 means without limit.
    #[serde(rename_all = "PascalCase")]
    pub struct Ulimit {
        pub name: String,
        pub hard: i64,
        pub soft: i64,
    }

    /// A mount in the long form of `--mount`.
    #[serde(rename_all = "PascalCase")]
    pub struct Mount {
        /// `bind`, `volume`, `tmpfs` or `image`.
        #[serde(rename = "Type", skip_serializing_if = "is_default")]
        pub kind: String,
        #[serde(skip_serializing_if = "is_default")]
        pub source: String,
        #[serde(skip_serializing_if = "is_default")]
        pub target: String,
        #[serde(skip_serializing_if = "is_default")]
        pub read_only: bool,
        #[serde(skip_serializing_if = "is_default")]
        pub consistency: String,
        #[serde(skip_serializing_if = "is_default")]
        pub bind_options: Option<BindOptions>,
        #[serde(skip_serializing_if = "is_default")]
        pub volume_options: Option<VolumeOptions>,
        #[serde(skip_serializing_if = "is_default")]
        pub image_options: Option<ImageOptions>,
        #[serde(skip_serializing_if = "is_default")]
        pub tmpfs_options: Option<TmpfsOptions>,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct BindOptions {
        #[serde(skip_serializing_if = "is_default")]
        pub propagation: String,
        #[serde(skip_serializing_if = "is_default")]
        pub non_recursive: bool,
        #[serde(skip_serializing_if = "is_default")]
        pub create_mountpoint: bool,
        #[serde(skip_serializing_if = "is_default")]
        pub read_only_non_recursive: bool,
        #[serde(skip_serializing_if = "is_default")]
        pub read_only_force_recursive: bool,
        /// Dhow's own: whose the files of the source's owner are in the container.
        #[serde(rename = "UID", skip_serializing_if = "is_default")]
        pub uid: Option<u32>,
        #[serde(rename = "GID", skip_serializing_if = "is_default")]
        pub gid: Option<u32>,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct VolumeOptions {
        #[serde(skip_serializing_if = "is_default")]
        pub no_copy: bool,
        #[serde(skip_serializing_if = "is_default")]
        pub labels: BTreeMap<String, String>,
        #[serde(skip_serializing_if = "is_default")]
        pub subpath: String,
        #[serde(skip_serializing_if = "is_default")]
        pub driver_config: Option<VolumeDriver>,
        /// As of [`BindOptions`].
        #[serde(rename = "UID", skip_serializing_if = "is_default")]
        pub uid: Option<u32>,
        #[serde(rename = "GID", skip_serializing_if = "is_default")]
        pub gid: Option<u32>,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct VolumeDriver {
        #[serde(skip_serializing_if = "is_default")]
        pub name: String,
        #[serde(skip_serializing_if = "is_default")]
        pub options: BTreeMap<String, String>,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct ImageOptions {
        #[serde(skip_serializing_if = "is_default")]
        pub subpath: String,
    }

    #[serde(rename_all = "PascalCase")]
    pub struct TmpfsOptions {
        #[serde(skip_serializing_if = "is_default")]
        pub size_bytes: i64,
        #[serde(skip_serializing_if = "is_default")]
        pub mode: u32,
        #[serde(skip_serializing_if = "is_default")]
        pub options: Vec<Vec<String>>,
    }

    /// The answer to an update.
    #[serde(rename_all = "PascalCase")]
    pub struct ContainerUpdateResponse {
        pub warnings: Option<Vec<String>>,
    }
}

/// The body of `POST /containers/{id}/update`.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "PascalCase", default, remote = "Self")]
pub struct ContainerUpdateRequest {
    #[serde(flatten, skip_deserializing)]
    pub resources: Resources,
    #[serde(deserialize_with = "nullable")]
    pub restart_policy: RestartPolicy,
    /// Ports to publish. Dhow's own: Docker's engine passes over it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish_add: Option<PortMap>,
    /// Ports to publish no more. A protocol alone, as `tcp`, stands for every port of it, and a port without bindings for all of
    /// its bindings. Dhow's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish_remove: Option<PortMap>,
}

composed!(HostConfig: resources);
composed!(ContainerUpdateRequest: resources);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_keep_null_apart_from_empty() {
        let sent = r#"{"Binds":null,"Dns":[],"PortBindings":{"80/tcp":null},"Memory":1024,"Tmpfs":null,"Ulimits":[{"Name":"nofile","Hard":-1,"Soft":5}]}"#;
        let host: HostConfig = serde_json::from_str(sent).unwrap();
        assert_eq!(host.binds, None);
        assert_eq!(host.dns, Some(vec![]));
        assert_eq!(host.port_bindings.as_ref().unwrap()["80/tcp"], None);
        assert_eq!(host.resources.memory, 1024);
        let shown = serde_json::to_value(&host).unwrap();
        assert!(shown["Binds"].is_null());
        assert_eq!(shown["Dns"], serde_json::json!([]));
        assert_eq!(shown["Memory"], 1024);
        assert!(shown.get("Tmpfs").is_none());
        let again: HostConfig = serde_json::from_value(shown).unwrap();
        assert_eq!(again, host);
    }

    #[test]
    fn every_field_of_docker_28s_host_config_is_shown() {
        let shown = serde_json::to_value(HostConfig::default()).unwrap();
        let mut names: Vec<&str> = shown
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        names.sort_unstable();
        let expected = "AutoRemove Binds BlkioDeviceReadBps BlkioDeviceReadIOps BlkioDeviceWriteBps BlkioDeviceWriteIOps \
             BlkioWeight BlkioWeightDevice CapAdd CapDrop Cgroup CgroupParent CgroupnsMode ConsoleSize \
             ContainerIDFile CpuCount CpuPercent CpuPeriod CpuQuota CpuRealtimePeriod CpuRealtimeRuntime \
             CpuShares CpusetCpus CpusetMems DeviceCgroupRules DeviceRequests Devices Dns DnsOptions DnsSearch \
             ExtraHosts GroupAdd IOMaximumBandwidth IOMaximumIOps IpcMode Isolation Links LogConfig MaskedPaths \
             Memory MemoryReservation MemorySwap MemorySwappiness NanoCpus NetworkMode OomKillDisable OomScoreAdj \
             PidMode PidsLimit PortBindings Privileged PublishAllPorts ReadonlyPaths ReadonlyRootfs RestartPolicy \
             SecurityOpt ShmSize UTSMode Ulimits UsernsMode VolumeDriver VolumesFrom";
        assert_eq!(names.join(" "), expected);
    }
}
