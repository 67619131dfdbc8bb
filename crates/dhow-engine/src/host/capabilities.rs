//! Which capabilities this host has to give (capabilities(7)).

use oci_spec::runtime::Capability;

/// In the order of their numbers in the kernel (`include/uapi/linux/capability.h`).
const BY_NUMBER: [Capability; 41] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::DacReadSearch,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setpcap,
    Capability::LinuxImmutable,
    Capability::NetBindService,
    Capability::NetBroadcast,
    Capability::NetAdmin,
    Capability::NetRaw,
    Capability::IpcLock,
    Capability::IpcOwner,
    Capability::SysModule,
    Capability::SysRawio,
    Capability::SysChroot,
    Capability::SysPtrace,
    Capability::SysPacct,
    Capability::SysAdmin,
    Capability::SysBoot,
    Capability::SysNice,
    Capability::SysResource,
    Capability::SysTime,
    Capability::SysTtyConfig,
    Capability::Mknod,
    Capability::Lease,
    Capability::AuditWrite,
    Capability::AuditControl,
    Capability::Setfcap,
    Capability::MacOverride,
    Capability::MacAdmin,
    Capability::Syslog,
    Capability::WakeAlarm,
    Capability::BlockSuspend,
    Capability::AuditRead,
    Capability::Perfmon,
    Capability::Bpf,
    Capability::CheckpointRestore,
];

/// What the host has to give: the daemon's bounding set, in the kernel's order.
#[derive(Clone, Debug)]
pub struct HostCapabilities(Vec<Capability>);

impl HostCapabilities {
    /// Reads this process's bounding set.
    pub fn detect() -> std::io::Result<HostCapabilities> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let mask = status
            .lines()
            .find_map(|l| l.strip_prefix("CapBnd:"))
            .and_then(|m| u64::from_str_radix(m.trim(), 16).ok())
            .ok_or_else(|| std::io::Error::other("/proc/self/status has no CapBnd"))?;
        Ok(HostCapabilities::from_mask(mask))
    }

    /// All of them.
    pub fn all(&self) -> &[Capability] {
        &self.0
    }

    pub fn from_mask(mask: u64) -> HostCapabilities {
        HostCapabilities(
            BY_NUMBER
                .iter()
                .enumerate()
                .filter(|(n, _)| mask & (1 << n) != 0)
                .map(|(_, c)| *c)
                .collect(),
        )
    }
}

/// Whether it is one that the kernel has a number for.
pub fn known_capability(capability: &Capability) -> bool {
    BY_NUMBER.contains(capability)
}
