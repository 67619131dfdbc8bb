//! Limits on version 1 (the kernel's Documentation/admin-guide/cgroup-v1).

use std::io;
use std::path::PathBuf;

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources, LinuxThrottleDevice};

use super::{Cgroup, devices, write};

pub(super) fn apply(
    group: &Cgroup,
    resources: &LinuxResources,
    warnings: &mut Vec<String>,
    fresh: bool,
) -> io::Result<()> {
    let mut limits = Limits { group, warnings };
    if fresh && let Some(rules) = resources.devices() {
        match group.directory_of("devices") {
            Some(directory) => devices::write_rules(&directory, rules)?,
            None => limits.lacking("device rules"),
        }
    }
    if let Some(memory) = resources.memory() {
        limits.memory(memory)?;
    }
    if let Some(cpu) = resources.cpu() {
        limits.cpu(cpu)?;
    }
    if let Some(pids) = resources.pids() {
        let max = if pids.limit() > 0 {
            pids.limit().to_string()
        } else {
            "max".to_owned()
        };
        limits.set("pids", "pids.max", Some(max))?;
    }
    if let Some(io) = resources.block_io() {
        limits.block_io(io)?;
    }
    for huge in resources.hugepage_limits().iter().flatten() {
        let file = format!("hugetlb.{}.limit_in_bytes", huge.page_size());
        limits.set("hugetlb", &file, Some(huge.limit()))?;
    }
    Ok(())
}

struct Limits<'a> {
    group: &'a Cgroup,
    warnings: &'a mut Vec<String>,
}

impl Limits<'_> {
    fn lacking(&mut self, what: &str) {
        self.warnings.push(format!(
            "Your kernel does not support {what} or the cgroup is not mounted. Limitation discarded."
        ));
    }

    fn file(&self, controller: &str, file: &str) -> Option<PathBuf> {
        Some(self.group.directory_of(controller)?.join(file)).filter(|f| f.exists())
    }

    fn set(
        &mut self,
        controller: &str,
        file: &str,
        value: Option<impl ToString>,
    ) -> io::Result<()> {
        let Some(value) = value else { return Ok(()) };
        match self.file(controller, file) {
            Some(file) => write(&file, &value.to_string()),
            None => {
                self.lacking(file);
                Ok(())
            }
        }
    }

    /// The limit of memory and that of memory with swap may not cross: which goes first depends on the way.
    fn memory(&mut self, memory: &LinuxMemory) -> io::Result<()> {
        const LIMIT: &str = "memory.limit_in_bytes";
        const WITH_SWAP: &str = "memory.memsw.limit_in_bytes";
        let (limit, with_swap) = (memory.limit(), memory.swap());
        match (limit, with_swap.filter(|s| *s != 0)) {
            (Some(limit), Some(swap)) if self.file("memory", WITH_SWAP).is_some() => {
                if self.set("memory", LIMIT, Some(limit)).is_err() {
                    self.set("memory", WITH_SWAP, Some(swap))?;
                    self.set("memory", LIMIT, Some(limit))?;
                } else {
                    self.set("memory", WITH_SWAP, Some(swap))?;
                }
            }
            (limit, swap) => {
                self.set("memory", LIMIT, limit)?;
                self.set("memory", WITH_SWAP, swap)?;
            }
        }
        self.set("memory", "memory.soft_limit_in_bytes", memory.reservation())?;
        self.set(
            "memory",
            "memory.kmem.tcp.limit_in_bytes",
            memory.kernel_tcp(),
        )?;
        self.set(
            "memory",
            "memory.swappiness",
            memory.swappiness().filter(|s| *s <= 100),
        )?;
        let disable = memory.disable_oom_killer().filter(|d| *d).map(u8::from);
        self.set("memory", "memory.oom_control", disable)
    }

    fn cpu(&mut self, cpu: &LinuxCpu) -> io::Result<()> {
        self.set("cpu", "cpu.shares", cpu.shares().filter(|s| *s != 0))?;
        self.set("cpu", "cpu.cfs_period_us", cpu.period().filter(|p| *p != 0))?;
        self.set("cpu", "cpu.cfs_quota_us", cpu.quota().filter(|q| *q != 0))?;
        self.set(
            "cpu",
            "cpu.rt_period_us",
            cpu.realtime_period().filter(|p| *p != 0),
        )?;
        self.set(
            "cpu",
            "cpu.rt_runtime_us",
            cpu.realtime_runtime().filter(|r| *r != 0),
        )?;
        let named = |s: &Option<String>| s.clone().filter(|s| !s.is_empty());
        self.set("cpuset", "cpuset.cpus", named(cpu.cpus()))?;
        self.set("cpuset", "cpuset.mems", named(cpu.mems()))
    }

    fn block_io(&mut self, io: &LinuxBlockIo) -> io::Result<()> {
        if let Some(weight) = io.weight().filter(|w| *w != 0) {
            // The scheduler decides which of the two there is.
            let file = if self.file("blkio", "blkio.weight").is_some() {
                "blkio.weight"
            } else {
                "blkio.bfq.weight"
            };
            self.set("blkio", file, Some(weight))?;
        }
        for device in io.weight_device().iter().flatten() {
            let weight = device.weight().unwrap_or(0);
            let line = format!("{}:{} {weight}", device.major(), device.minor());
            self.set("blkio", "blkio.weight_device", Some(line))?;
        }
        let throttles = [
            (
                "blkio.throttle.read_bps_device",
                io.throttle_read_bps_device(),
            ),
            (
                "blkio.throttle.write_bps_device",
                io.throttle_write_bps_device(),
            ),
            (
                "blkio.throttle.read_iops_device",
                io.throttle_read_iops_device(),
            ),
            (
                "blkio.throttle.write_iops_device",
                io.throttle_write_iops_device(),
            ),
        ];
        for (file, devices) in throttles {
            for device in devices.iter().flatten() {
                self.set("blkio", file, Some(throttle(device)))?;
            }
        }
        Ok(())
    }
}

fn throttle(device: &LinuxThrottleDevice) -> String {
    format!("{}:{} {}", device.major(), device.minor(), device.rate())
}
