//! Limits on version 2 (the kernel's Documentation/admin-guide/cgroup-v2.rst), converted from the
//! specification's version 1 terms as other runtimes do.

use std::io;

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources};

use super::weight::{cpu_weight, io_weight};
use super::{Cgroup, device_filter, write};

pub(super) fn apply(
    group: &Cgroup,
    resources: &LinuxResources,
    warnings: &mut Vec<String>,
    fresh: bool,
) -> io::Result<()> {
    if fresh
        && let Some(rules) = resources.devices()
        && let Some(directory) = group.clone_into()
    {
        device_filter::attach(directory, rules)?;
    }
    let mut limits = Limits { group, warnings };
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
        limits.set("pids.max", Some(max))?;
    }
    if let Some(io) = resources.block_io() {
        limits.block_io(io)?;
    }
    for huge in resources.hugepage_limits().iter().flatten() {
        limits.set(
            &format!("hugetlb.{}.max", huge.page_size()),
            Some(huge.limit()),
        )?;
    }
    let unified = resources.unified().iter().flatten();
    for (file, value) in unified {
        if file.contains('/') {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("unified resource {file:?} must be a file name"),
            ));
        }
        limits.set(file, Some(value))?;
    }
    Ok(())
}

/// Version 1 wrote "no limit" as -1.
fn limit_or_max(value: i64) -> String {
    if value < 0 {
        "max".to_owned()
    } else {
        value.to_string()
    }
}

struct Limits<'a> {
    group: &'a Cgroup,
    warnings: &'a mut Vec<String>,
}

impl Limits<'_> {
    fn set(&mut self, file: &str, value: Option<impl ToString>) -> io::Result<()> {
        let (Some(value), Some(directory)) = (value, self.group.directories().next()) else {
            return Ok(());
        };
        let path = directory.join(file);
        if !path.exists() {
            self.warnings.push(format!(
                "Your kernel does not support {file} or the cgroup controller is not available. Limitation discarded."
            ));
            return Ok(());
        }
        write(&path, &value.to_string())
    }

    fn memory(&mut self, memory: &LinuxMemory) -> io::Result<()> {
        let swap = match (memory.swap().filter(|s| *s != 0), memory.limit()) {
            (Some(with_swap), _) if with_swap < 0 => Some("max".to_owned()),
            // Version 1 counts memory and swap together, version 2 swap alone.
            (Some(with_swap), Some(limit)) if limit >= 0 => {
                Some((with_swap - limit).max(0).to_string())
            }
            _ => None,
        };
        self.set("memory.swap.max", swap)?;
        self.set(
            "memory.max",
            memory.limit().filter(|l| *l != 0).map(limit_or_max),
        )?;
        self.set(
            "memory.low",
            memory.reservation().filter(|r| *r != 0).map(limit_or_max),
        )
    }

    fn cpu(&mut self, cpu: &LinuxCpu) -> io::Result<()> {
        let weight = cpu.shares().map(cpu_weight).filter(|w| *w != 0);
        self.set("cpu.weight", weight)?;
        let quota = cpu.quota().filter(|q| *q != 0);
        let period = cpu.period().filter(|p| *p != 0);
        if quota.is_some() || period.is_some() {
            let quota = match quota {
                Some(q) if q > 0 => q.to_string(),
                _ => "max".to_owned(),
            };
            self.set(
                "cpu.max",
                Some(format!("{quota} {}", period.unwrap_or(100_000))),
            )?;
        }
        let named = |s: &Option<String>| s.clone().filter(|s| !s.is_empty());
        self.set("cpuset.cpus", named(cpu.cpus()))?;
        self.set("cpuset.mems", named(cpu.mems()))
    }

    fn block_io(&mut self, io: &LinuxBlockIo) -> io::Result<()> {
        if let Some(weight) = io.weight().filter(|w| *w != 0) {
            self.set("io.weight", Some(format!("default {}", io_weight(weight))))?;
        }
        for device in io.weight_device().iter().flatten() {
            let weight = io_weight(device.weight().unwrap_or(0));
            let line = format!("{}:{} {weight}", device.major(), device.minor());
            self.set("io.weight", Some(line))?;
        }
        let throttles = [
            ("rbps", io.throttle_read_bps_device()),
            ("wbps", io.throttle_write_bps_device()),
            ("riops", io.throttle_read_iops_device()),
            ("wiops", io.throttle_write_iops_device()),
        ];
        for (key, devices) in throttles {
            for d in devices.iter().flatten() {
                let line = format!("{}:{} {key}={}", d.major(), d.minor(), d.rate());
                self.set("io.max", Some(line))?;
            }
        }
        Ok(())
    }
}
