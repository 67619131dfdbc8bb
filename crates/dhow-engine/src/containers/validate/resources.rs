//! The limits of a container, at its creation and at each update.

use dhow_api::Resources;

use super::refuse;
use crate::error::{EngineError, Result};
use crate::host::{HostFacts, parse_list};

const MIN_MEMORY: i64 = 6 << 20;

/// PID_MAX_LIMIT of the kernel's include/linux/threads.h, the most that `pids.max` takes.
const MOST_PIDS: i64 = 4 << 20;

/// Checks them against each other and against what the host has.
pub fn check(r: &Resources, facts: &HostFacts) -> Result<()> {
    if r.memory != 0 && r.memory < MIN_MEMORY {
        return refuse("Minimum memory limit allowed is 6MB");
    }
    if r.memory > 0 && r.memory_swap > 0 && r.memory_swap < r.memory {
        return refuse("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if r.memory == 0 && r.memory_swap > 0 {
        return refuse(
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        );
    }
    if let Some(swappiness) = r.memory_swappiness
        && !(-1..=100).contains(&swappiness)
    {
        return refuse(format!(
            "Invalid value: {swappiness}, valid memory swappiness range is 0-100"
        ));
    }
    if r.memory_reservation != 0 && r.memory_reservation < MIN_MEMORY {
        return refuse("Minimum memory reservation allowed is 6MB");
    }
    if r.memory > 0 && r.memory_reservation > r.memory {
        return refuse(
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        );
    }
    if r.nano_cpus != 0 {
        if r.cpu_period > 0 {
            return refuse("Conflicting options: Nano CPUs and CPU Period cannot both be set");
        }
        if r.cpu_quota > 0 {
            return refuse("Conflicting options: Nano CPUs and CPU Quota cannot both be set");
        }
        if r.nano_cpus < 10_000_000 || r.nano_cpus > i64::from(facts.cpus) * 1_000_000_000 {
            return refuse(format!(
                "range of CPUs is from 0.01 to {n}.00, as there are only {n} CPUs available",
                n = facts.cpus
            ));
        }
    }
    if r.cpu_shares < 0 {
        return refuse(format!(
            "invalid CPU shares ({}): value must be a positive integer",
            r.cpu_shares
        ));
    }
    if r.cpu_period != 0 && !(1_000..=1_000_000).contains(&r.cpu_period) {
        return refuse(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        );
    }
    if r.cpu_quota > 0 && r.cpu_quota < 1_000 {
        return refuse("CPU cfs quota can not be less than 1ms (i.e. 1000)");
    }
    if !r.cpuset_cpus.is_empty() {
        let wanted = parse_list(&r.cpuset_cpus).ok_or_else(|| {
            EngineError::invalid(format!("Invalid value {} for cpuset cpus", r.cpuset_cpus))
        })?;
        if wanted.iter().any(|&c| c >= facts.cpus) {
            return refuse(format!(
                "Requested CPUs are not available - requested {}, available: 0-{}",
                r.cpuset_cpus,
                facts.cpus - 1
            ));
        }
    }
    if !r.cpuset_mems.is_empty() && parse_list(&r.cpuset_mems).is_none() {
        return refuse(format!("Invalid value {} for cpuset mems", r.cpuset_mems));
    }
    if r.blkio_weight != 0 && !(10..=1000).contains(&r.blkio_weight) {
        return refuse("Range of blkio weight is from 10 to 1000");
    }
    if r.pids_limit.is_some_and(|limit| limit > MOST_PIDS) {
        return refuse(format!(
            "invalid PIDs limit {}: the kernel has at most {MOST_PIDS} processes; use -1 for no limit",
            r.pids_limit.unwrap_or_default()
        ));
    }
    Ok(())
}
