//! The limits of a container's cgroup, from `HostConfig.Resources`.

use std::os::unix::fs::{FileTypeExt, MetadataExt};

use dhow_api::{Resources, ThrottleDevice};
use oci_spec::runtime::{
    LinuxBlockIo, LinuxBlockIoBuilder, LinuxCpu, LinuxMemory, LinuxPids, LinuxResources,
    LinuxThrottleDevice, LinuxThrottleDeviceBuilder, LinuxWeightDevice, LinuxWeightDeviceBuilder,
};

use super::built;
use crate::error::{EngineError, Result};

/// The period that `NanoCpus` is measured in, microseconds.
const PERIOD: u64 = 100_000;

fn positive<T: TryFrom<i64>>(value: i64) -> Option<T> {
    (value > 0).then(|| T::try_from(value).ok()).flatten()
}

/// All limits but the device rules.
pub fn limits(r: &Resources, cgroup_version: u8) -> Result<LinuxResources> {
    let mut resources = LinuxResources::default();
    resources.set_devices(None);

    let mut memory = LinuxMemory::default();
    memory.set_limit(positive(r.memory));
    memory.set_reservation(positive(r.memory_reservation));
    memory.set_swap(match (r.memory_swap, r.memory) {
        // As much swap as memory, unless told otherwise.
        (0, m) if m > 0 => Some(m.saturating_mul(2)),
        (0, _) => None,
        (s, _) => Some(s),
    });
    memory.set_swappiness(r.memory_swappiness.and_then(|s| u64::try_from(s).ok()));
    if cgroup_version == 1 && r.oom_kill_disable == Some(true) {
        memory.set_disable_oom_killer(Some(true));
    }
    resources.set_memory((memory != LinuxMemory::default()).then_some(memory));

    let mut cpu = LinuxCpu::default();
    cpu.set_shares(positive(r.cpu_shares));
    if r.nano_cpus > 0 {
        cpu.set_period(Some(PERIOD));
        cpu.set_quota(Some(
            r.nano_cpus.saturating_mul(PERIOD as i64) / 1_000_000_000,
        ));
    } else {
        cpu.set_period(positive(r.cpu_period));
        cpu.set_quota((r.cpu_quota != 0).then_some(r.cpu_quota));
    }
    cpu.set_realtime_period(positive(r.cpu_realtime_period));
    cpu.set_realtime_runtime(positive(r.cpu_realtime_runtime));
    cpu.set_cpus(Some(r.cpuset_cpus.clone()).filter(|c| !c.is_empty()));
    cpu.set_mems(Some(r.cpuset_mems.clone()).filter(|c| !c.is_empty()));
    resources.set_cpu((cpu != LinuxCpu::default()).then_some(cpu));

    if let Some(limit) = r.pids_limit.filter(|&l| l != 0) {
        let mut pids = LinuxPids::default();
        pids.set_limit(if limit < 0 { -1 } else { limit });
        resources.set_pids(Some(pids));
    }
    resources.set_block_io(block_io(r)?);
    Ok(resources)
}

fn block_io(r: &Resources) -> Result<Option<LinuxBlockIo>> {
    let weights: Vec<LinuxWeightDevice> = r
        .blkio_weight_device
        .iter()
        .flatten()
        .map(|d| {
            let (major, minor) = device(&d.path)?;
            built(
                LinuxWeightDeviceBuilder::default()
                    .major(major)
                    .minor(minor)
                    .weight(d.weight)
                    .build(),
            )
        })
        .collect::<Result<_>>()?;
    let io = built(LinuxBlockIoBuilder::default().build())?;
    let mut io = io;
    io.set_weight((r.blkio_weight > 0).then_some(r.blkio_weight));
    let some = |v: Vec<_>| (!v.is_empty()).then_some(v);
    io.set_weight_device((!weights.is_empty()).then_some(weights));
    io.set_throttle_read_bps_device(some(throttles(&r.blkio_device_read_bps)?));
    io.set_throttle_write_bps_device(some(throttles(&r.blkio_device_write_bps)?));
    io.set_throttle_read_iops_device(some(throttles(&r.blkio_device_read_iops)?));
    io.set_throttle_write_iops_device(some(throttles(&r.blkio_device_write_iops)?));
    Ok((io != LinuxBlockIo::default()).then_some(io))
}

fn throttles(devices: &Option<Vec<ThrottleDevice>>) -> Result<Vec<LinuxThrottleDevice>> {
    devices
        .iter()
        .flatten()
        .map(|d| {
            let (major, minor) = device(&d.path)?;
            built(
                LinuxThrottleDeviceBuilder::default()
                    .major(major)
                    .minor(minor)
                    .rate(d.rate)
                    .build(),
            )
        })
        .collect()
}

fn device(path: &str) -> Result<(i64, i64)> {
    let meta = std::fs::metadata(path)
        .map_err(|e| EngineError::invalid(format!("block device {path}: {e}")))?;
    if !meta.file_type().is_block_device() {
        return Err(EngineError::invalid(format!(
            "{path} is not a block device"
        )));
    }
    Ok((
        i64::from(rustix::fs::major(meta.rdev())),
        i64::from(rustix::fs::minor(meta.rdev())),
    ))
}
