//! Capabilities by number, as the kernel has them, and by name (capabilities(7)).

use std::io;
use std::str::FromStr;

use oci_spec::runtime::Capability;

/// All, in the order of their numbers in the kernel's include/uapi/linux/capability.h.
pub const ALL: [Capability; 41] = [
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

/// The capability of a number.
pub fn of_number(number: u32) -> Option<Capability> {
    ALL.get(usize::try_from(number).ok()?).copied()
}

/// A capability's number.
pub fn number(capability: Capability) -> Option<u32> {
    let at = ALL.iter().position(|known| *known == capability)?;
    u32::try_from(at).ok()
}

/// A capability by its name, `CAP_` in front or not, in any case.
pub fn of_name(name: &str) -> Option<Capability> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    Capability::from_str(bare)
        .ok()
        .filter(|capability| ALL.contains(capability))
}

/// A set as the kernel writes it: a bit for each number.
pub fn mask<'a>(set: impl IntoIterator<Item = &'a Capability>) -> u64 {
    set.into_iter()
        .filter_map(|capability| number(*capability))
        .fold(0, |mask, number| mask | 1 << number)
}

/// The capabilities in a mask, by number; bits of capabilities that are not known are left out.
pub fn of_mask(mask: u64) -> Vec<Capability> {
    (0..u64::BITS)
        .filter(|number| mask >> number & 1 == 1)
        .filter_map(of_number)
        .collect()
}

/// The calling process's bounding set: what it, and whatever it starts, can have at most.
pub fn bounding_set() -> io::Result<u64> {
    bounding_set_in(&std::fs::read_to_string("/proc/self/status")?)
        .ok_or_else(|| io::Error::other("/proc/self/status has no CapBnd"))
}

/// From the text of a /proc/PID/status.
fn bounding_set_in(status: &str) -> Option<u64> {
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("CapBnd:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_kernels() {
        for (capability, expected) in [
            (Capability::Chown, 0),
            (Capability::SysAdmin, 21),
            (Capability::SysResource, 24),
            (Capability::Mknod, 27),
            (Capability::CheckpointRestore, 40),
        ] {
            assert_eq!(number(capability), Some(expected));
            assert_eq!(of_number(expected), Some(capability));
        }
        assert_eq!(of_number(41), None);
    }

    #[test]
    fn a_mask_and_its_set_mean_the_same() {
        let set = [Capability::Chown, Capability::SysAdmin];
        assert_eq!(mask(&set), 1 | 1 << 21);
        assert_eq!(of_mask(1 << 21 | 1 | 1 << 63), set);
        assert_eq!(of_mask((1 << 41) - 1), ALL);
        assert_eq!(mask(&ALL), (1 << 41) - 1);
    }

    #[test]
    fn names_are_taken_as_docker_takes_them() {
        for name in ["NET_ADMIN", "cap_net_admin", "Net_Admin"] {
            assert_eq!(of_name(name), Some(Capability::NetAdmin), "{name}");
        }
        assert_eq!(of_name("FLY"), None);
        assert_eq!(of_name("CAP_CAP_CHOWN"), None);
    }

    #[test]
    fn the_bounding_set_is_read() {
        let status = "CapEff:\t0000000000000001\nCapBnd:\t00000000a80425fb\n";
        assert_eq!(bounding_set_in(status), Some(0xa804_25fb));
        assert_eq!(bounding_set_in("Name:\tx\n"), None);
        bounding_set().unwrap();
    }
}
