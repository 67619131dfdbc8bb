//! A container's use of its host: one sample, from its cgroup and its network interfaces.

use std::collections::BTreeMap;

use dhow_api::{
    BlkioStatEntry, BlkioStats, CpuStats, CpuUsage, MemoryStats, NetworkStats, PidsStats, Stats,
};

use dhow_runtime::cgroup::Cgroup;

use super::HostFacts;

/// Nanoseconds in a tick of /proc/stat (`USER_HZ` is 100).
const TICK: u64 = 10_000_000;

/// One sample of a container whose process is `pid`, into what is known of it already. Blocks.
pub fn sample(stats: &mut Stats, cgroup: &Cgroup, host: &HostFacts, pid: u32, own_network: bool) {
    let v2 = host.cgroup_version == 2;
    stats.read = dhow_api::time::rfc3339_nano(dhow_api::time::now());
    stats.cpu_stats = cpu(cgroup, v2, host.cpus);
    stats.memory_stats = memory_use(cgroup, v2, host.memory);
    stats.pids_stats = pids(cgroup);
    stats.blkio_stats = block_io(cgroup, v2);
    if own_network {
        stats.networks = interfaces(pid);
    }
}

/// A file of the group in the hierarchy that has the controller; "" is version 2's own.
fn read(cgroup: &Cgroup, controller: &str, file: &str) -> Option<String> {
    std::fs::read_to_string(cgroup.directory_of(controller)?.join(file)).ok()
}

fn number(cgroup: &Cgroup, controller: &str, file: &str) -> u64 {
    read(cgroup, controller, file)
        .and_then(|t| t.trim().parse().ok())
        .unwrap_or(0)
}

/// A file of `name value` lines.
fn table(cgroup: &Cgroup, controller: &str, file: &str) -> BTreeMap<String, u64> {
    read(cgroup, controller, file)
        .unwrap_or_default()
        .lines()
        .filter_map(|l| {
            let (name, value) = l.split_once(' ')?;
            Some((name.to_owned(), value.trim().parse().ok()?))
        })
        .collect()
}

fn cpu(cgroup: &Cgroup, v2: bool, cpus: u32) -> CpuStats {
    let mut stats = CpuStats {
        system_cpu_usage: system_usage(),
        online_cpus: cpus,
        ..CpuStats::default()
    };
    let throttle;
    if v2 {
        let t = table(cgroup, "", "cpu.stat");
        let micros = |name: &str| t.get(name).copied().unwrap_or(0) * 1000;
        stats.cpu_usage = CpuUsage {
            total_usage: micros("usage_usec"),
            usage_in_usermode: micros("user_usec"),
            usage_in_kernelmode: micros("system_usec"),
            ..CpuUsage::default()
        };
        throttle = t;
    } else {
        let t = table(cgroup, "cpuacct", "cpuacct.stat");
        let ticks = |name: &str| t.get(name).copied().unwrap_or(0) * TICK;
        let each: Vec<u64> = read(cgroup, "cpuacct", "cpuacct.usage_percpu")
            .unwrap_or_default()
            .split_whitespace()
            .filter_map(|n| n.parse().ok())
            .take(cpus as usize)
            .collect();
        stats.cpu_usage = CpuUsage {
            total_usage: number(cgroup, "cpuacct", "cpuacct.usage"),
            usage_in_usermode: ticks("user"),
            usage_in_kernelmode: ticks("system"),
            percpu_usage: each,
        };
        throttle = table(cgroup, "cpu", "cpu.stat");
    }
    let of = |name: &str| throttle.get(name).copied().unwrap_or(0);
    stats.throttling_data.periods = of("nr_periods");
    stats.throttling_data.throttled_periods = of("nr_throttled");
    stats.throttling_data.throttled_time = match throttle.get("throttled_usec") {
        Some(micros) => micros * 1000,
        None => of("throttled_time"),
    };
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

fn memory_use(cgroup: &Cgroup, v2: bool, host: u64) -> MemoryStats {
    let bounded = |limit: u64| match limit {
        0 => host,
        limit => limit.min(host),
    };
    if v2 {
        return MemoryStats {
            usage: number(cgroup, "", "memory.current"),
            limit: bounded(number(cgroup, "", "memory.max")),
            stats: table(cgroup, "", "memory.stat"),
            failcnt: table(cgroup, "", "memory.events")
                .get("oom")
                .copied()
                .unwrap_or(0),
            ..MemoryStats::default()
        };
    }
    MemoryStats {
        usage: number(cgroup, "memory", "memory.usage_in_bytes"),
        max_usage: number(cgroup, "memory", "memory.max_usage_in_bytes"),
        limit: bounded(number(cgroup, "memory", "memory.limit_in_bytes")),
        failcnt: number(cgroup, "memory", "memory.failcnt"),
        stats: table(cgroup, "memory", "memory.stat"),
    }
}

fn pids(cgroup: &Cgroup) -> PidsStats {
    PidsStats {
        current: number(cgroup, "pids", "pids.current"),
        limit: match read(cgroup, "pids", "pids.max").as_deref().map(str::trim) {
            Some("max") => u64::MAX,
            Some(text) => text.parse().unwrap_or(0),
            None => 0,
        },
    }
}

fn block_io(cgroup: &Cgroup, v2: bool) -> BlkioStats {
    let mut bytes = Vec::new();
    let mut operations = Vec::new();
    if v2 {
        // `8:0 rbytes=1 wbytes=2 rios=3 wios=4`
        for line in read(cgroup, "", "io.stat").unwrap_or_default().lines() {
            let mut words = line.split(' ');
            let Some((major, minor)) = words.next().and_then(device) else {
                continue;
            };
            for (key, value) in words.filter_map(|w| w.split_once('=')) {
                let Ok(value) = value.parse() else { continue };
                let entry = |op: &str| BlkioStatEntry {
                    major,
                    minor,
                    op: op.into(),
                    value,
                };
                match key {
                    "rbytes" => bytes.push(entry("read")),
                    "wbytes" => bytes.push(entry("write")),
                    "rios" => operations.push(entry("read")),
                    "wios" => operations.push(entry("write")),
                    _ => {}
                }
            }
        }
    } else {
        let table = |file: &str| -> Vec<BlkioStatEntry> {
            let text = read(cgroup, "blkio", file).unwrap_or_default();
            text.lines()
                .filter_map(|l| {
                    let mut words = l.split(' ');
                    let (major, minor) = device(words.next()?)?;
                    let op = words.next()?.to_owned();
                    let value = words.next()?.parse().ok()?;
                    Some(BlkioStatEntry {
                        major,
                        minor,
                        op,
                        value,
                    })
                })
                .collect()
        };
        bytes = table("blkio.throttle.io_service_bytes");
        operations = table("blkio.throttle.io_serviced");
    }
    let some = |v: Vec<BlkioStatEntry>| Some(v).filter(|v| !v.is_empty());
    BlkioStats {
        io_service_bytes_recursive: some(bytes),
        io_serviced_recursive: some(operations),
        ..BlkioStats::default()
    }
}

fn device(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
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
