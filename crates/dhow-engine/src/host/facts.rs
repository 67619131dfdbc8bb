//! What the machine has to give: read once when the daemon starts.

use std::path::Path;

use dhow_runtime::{apparmor, capabilities};
use oci_spec::runtime::Capability;

#[derive(Clone, Debug)]
pub struct HostFacts {
    /// What this process can give, in the kernel's order.
    pub capabilities: Vec<Capability>,
    /// 1 (also in its hybrid layout) or 2.
    pub cgroup_version: u8,
    pub apparmor: bool,
    pub cpus: u32,
    /// Bytes.
    pub memory: u64,
    pub swap_limit: bool,
}

impl HostFacts {
    pub fn detect() -> std::io::Result<HostFacts> {
        let meminfo = std::fs::read_to_string("/proc/meminfo")?;
        let memory = meminfo
            .lines()
            .find_map(|l| l.strip_prefix("MemTotal:"))
            .and_then(|l| l.trim().strip_suffix("kB"))
            .and_then(|kb| kb.trim().parse::<u64>().ok())
            .unwrap_or(0)
            * 1024;
        let v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        Ok(HostFacts {
            capabilities: capabilities::of_mask(capabilities::bounding_set()?),
            cgroup_version: if v2 { 2 } else { 1 },
            apparmor: apparmor::is_enabled(),
            cpus: online_cpus(),
            memory,
            swap_limit: v2
                || Path::new("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").exists(),
        })
    }
}

fn online_cpus() -> u32 {
    std::fs::read_to_string("/sys/devices/system/cpu/online")
        .ok()
        .and_then(|text| parse_list(text.trim()))
        .map(|list| list.len() as u32)
        .filter(|&n| n > 0)
        .or_else(|| {
            std::thread::available_parallelism()
                .ok()
                .map(|n| n.get() as u32)
        })
        .unwrap_or(1)
}

/// A list of numbers in the kernel's form, `0-3,7` (cpuset(7), "List format"); `None` for anything else.
pub fn parse_list(text: &str) -> Option<Vec<u32>> {
    let mut all = Vec::new();
    for part in text.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((a, b)) => (a.parse::<u32>().ok()?, b.parse::<u32>().ok()?),
            None => {
                let n = part.parse::<u32>().ok()?;
                (n, n)
            }
        };
        if last < first || last > 8192 {
            return None;
        }
        all.extend(first..=last);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        assert_eq!(parse_list("0-2,5").unwrap(), [0, 1, 2, 5]);
        for bad in ["", "a", "2-1", "1,", "0-99999"] {
            assert!(parse_list(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn this_machine_has_something() {
        let facts = HostFacts::detect().unwrap();
        assert!(facts.cpus > 0 && facts.memory > 0);
    }
}
