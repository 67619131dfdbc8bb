//! A container's use of its host: `GET /containers/{id}/stats`.

use std::collections::BTreeMap;

use crate::wire::{is_default, wire};

wire! {
    pub struct Stats {
        #[serde(skip_serializing_if = "is_default")]
        pub id: String,
        #[serde(skip_serializing_if = "is_default")]
        pub name: String,
        #[serde(skip_serializing_if = "is_default")]
        pub os_type: String,
        pub read: String,
        pub cpu_stats: CpuStats,
        pub memory_stats: MemoryStats,
        #[serde(skip_serializing_if = "is_default")]
        pub networks: BTreeMap<String, NetworkStats>,
        pub pids_stats: PidsStats,
        pub blkio_stats: BlkioStats,
        pub num_procs: u32,
        pub storage_stats: crate::Empty,
        pub preread: String,
        pub precpu_stats: CpuStats,
    }

    /// Times are nanoseconds.
    pub struct CpuStats {
        pub cpu_usage: CpuUsage,
        #[serde(skip_serializing_if = "is_default")]
        pub system_cpu_usage: u64,
        #[serde(skip_serializing_if = "is_default")]
        pub online_cpus: u32,
        pub throttling_data: ThrottlingData,
    }

    pub struct CpuUsage {
        pub total_usage: u64,
        #[serde(skip_serializing_if = "is_default")]
        pub percpu_usage: Vec<u64>,
        pub usage_in_kernelmode: u64,
        pub usage_in_usermode: u64,
    }

    pub struct ThrottlingData {
        pub periods: u64,
        pub throttled_periods: u64,
        pub throttled_time: u64,
    }

    pub struct MemoryStats {
        #[serde(skip_serializing_if = "is_default")]
        pub usage: u64,
        #[serde(skip_serializing_if = "is_default")]
        pub max_usage: u64,
        #[serde(skip_serializing_if = "is_default")]
        pub stats: BTreeMap<String, u64>,
        #[serde(skip_serializing_if = "is_default")]
        pub failcnt: u64,
        #[serde(skip_serializing_if = "is_default")]
        pub limit: u64,
    }

    pub struct NetworkStats {
        pub rx_bytes: u64,
        pub rx_packets: u64,
        pub rx_errors: u64,
        pub rx_dropped: u64,
        pub tx_bytes: u64,
        pub tx_packets: u64,
        pub tx_errors: u64,
        pub tx_dropped: u64,
    }

    pub struct PidsStats {
        #[serde(skip_serializing_if = "is_default")]
        pub current: u64,
        #[serde(skip_serializing_if = "is_default")]
        pub limit: u64,
    }

    pub struct BlkioStats {
        pub io_service_bytes_recursive: Option<Vec<BlkioStatEntry>>,
        pub io_serviced_recursive: Option<Vec<BlkioStatEntry>>,
        pub io_queue_recursive: Option<Vec<BlkioStatEntry>>,
        pub io_service_time_recursive: Option<Vec<BlkioStatEntry>>,
        pub io_wait_time_recursive: Option<Vec<BlkioStatEntry>>,
        pub io_merged_recursive: Option<Vec<BlkioStatEntry>>,
        pub io_time_recursive: Option<Vec<BlkioStatEntry>>,
        pub sectors_recursive: Option<Vec<BlkioStatEntry>>,
    }

    pub struct BlkioStatEntry {
        pub major: u64,
        pub minor: u64,
        pub op: String,
        pub value: u64,
    }
}
