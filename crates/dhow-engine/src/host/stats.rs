//! A container's use of its host: one sample, from its cgroup and its network interfaces, as Docker shows it.

use std::collections::BTreeMap;

use dhow_api::{
    BlkioStatEntry, BlkioStats, CpuStats, CpuUsage, MemoryStats, NetworkStats, PidsStats, Stats,
};
use dhow_runtime::cgroup::Cgroup;
use dhow_runtime::cgroup::usage::{self, BlockIo, PidsLimit};

use super::HostFacts;

/// Nanoseconds in a tick of /proc/stat (`USER_HZ` is 100).
const TICK: u64 = 10_000_000;

/// One sample of a container whose process is `pid`, into what is known of it already. Blocks.
pub fn sample(stats: &mut Stats, cgroup: &Cgroup, host: &HostFacts, pid: u32, own_network: bool) {
    stats.read = dhow_api::time::rfc3339_nano(dhow_api::time::now());
    let used = cgroup.usage();
    stats.cpu_stats = cpu(used.cpu, host.cpus);
    stats.memory_stats = memory(used.memory, host.memory);
    stats.pids_stats = PidsStats {
        current: used.pids.current,
        limit: match used.pids.limit {
            PidsLimit::Unknown => 0,
            PidsLimit::None => u64::MAX,
            PidsLimit::Of(limit) => limit,
        },
    };
    stats.blkio_stats = BlkioStats {
        io_service_bytes_recursive: entries(used.block_io.bytes),
        io_serviced_recursive: entries(used.block_io.operations),
        ..BlkioStats::default()
    };
    if own_network {
        stats.networks = interfaces(pid);
    }
}

fn cpu(used: usage::CpuUsage, cpus: u32) -> CpuStats {
    let mut stats = CpuStats {
        cpu_usage: CpuUsage {
            total_usage: used.total,
            usage_in_usermode: used.user,
            usage_in_kernelmode: used.system,
            percpu_usage: used.per_cpu.into_iter().take(cpus as usize).collect(),
        },
        system_cpu_usage: system_usage(),
        online_cpus: cpus,
        ..CpuStats::default()
    };
    stats.throttling_data.periods = used.periods;
    stats.throttling_data.throttled_periods = used.throttled_periods;
    stats.throttling_data.throttled_time = used.throttled_time;
    stats
}

/// All time of all CPUs since the start, in nanoseconds (proc_stat(5)).
fn system_usage() -> u64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let Some(line) = text.lines().find_map(|l| l.strip_prefix("cpu ")) else {
        return 0;
    };
    // Guests' time is counted in user and nice already.
    line.split_whitespace()
        .take(8)
        .filter_map(|n| n.parse::<u64>().ok())
        .sum::<u64>()
        * TICK
}

fn memory(used: usage::MemoryUsage, host: u64) -> MemoryStats {
    MemoryStats {
        usage: used.usage,
        max_usage: used.max_usage,
        limit: match used.limit {
            None | Some(0) => host,
            Some(limit) => limit.min(host),
        },
        failcnt: used.limit_hits,
        stats: used.details,
    }
}

fn entries(used: Vec<BlockIo>) -> Option<Vec<BlkioStatEntry>> {
    let entries: Vec<_> = used
        .into_iter()
        .map(|one| BlkioStatEntry {
            major: one.major,
            minor: one.minor,
            op: one.operation,
            value: one.value,
        })
        .collect();
    Some(entries).filter(|e| !e.is_empty())
}

/// The interfaces of the process's namespace, without its loopback.
fn interfaces(pid: u32) -> BTreeMap<String, NetworkStats> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let (name, numbers) = line.split_once(':')?;
            let name = name.trim();
            let n: Vec<u64> = numbers
                .split_whitespace()
                .map_while(|w| w.parse().ok())
                .collect();
            if name == "lo" || n.len() < 12 {
                return None;
            }
            Some((
                name.to_owned(),
                NetworkStats {
                    rx_bytes: n[0],
                    rx_packets: n[1],
                    rx_errors: n[2],
                    rx_dropped: n[3],
                    tx_bytes: n[8],
                    tx_packets: n[9],
                    tx_errors: n[10],
                    tx_dropped: n[11],
                },
            ))
        })
        .collect()
}
