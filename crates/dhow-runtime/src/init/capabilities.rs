//! Capability sets, capabilities(7).

use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::{Reporter, failed};
use crate::protocol::StartError;

/// In the order of their numbers in include/uapi/linux/capability.h.
const NUMBERED: [Capability; 41] = [
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

fn bits(set: Option<&Capabilities>) -> u64 {
    let Some(set) = set else { return 0 };
    NUMBERED
        .iter()
        .enumerate()
        .filter(|(_, capability)| set.contains(capability))
        .fold(0, |bits, (number, _)| bits | 1 << number)
}

/// The sets a process is to have, as far as this one has them to give.
pub(crate) struct Sets {
    bounding: u64,
    effective: u64,
    permitted: u64,
    inheritable: u64,
    ambient: u64,
}

impl Sets {
    /// Reads the sets; capabilities that the daemon itself lacks are left out, with a warning.
    pub fn new(asked: Option<&LinuxCapabilities>, reporter: &Reporter) -> Result<Self, StartError> {
        let Some(asked) = asked else {
            return Ok(Self {
                bounding: 0,
                effective: 0,
                permitted: 0,
                inheritable: 0,
                ambient: 0,
            });
        };
        let own = rustix::thread::capabilities(None)
            .map_err(failed("reading the daemon's capabilities"))?
            .permitted
            .bits();
        let permitted = bits(asked.permitted().as_ref());
        let lacking = permitted & !own;
        if lacking != 0 {
            let names: Vec<String> = NUMBERED
                .iter()
                .enumerate()
                .filter(|(number, _)| lacking >> number & 1 == 1)
                .map(|(_, capability)| format!("CAP_{capability}"))
                .collect();
            reporter.warn(format!(
                "the daemon itself does not have {}, so the container can't",
                names.join(", ")
            ));
        }
        Ok(Self {
            bounding: bits(asked.bounding().as_ref()),
            effective: bits(asked.effective().as_ref()) & own,
            permitted: permitted & own,
            inheritable: bits(asked.inheritable().as_ref()) & own,
            ambient: bits(asked.ambient().as_ref()) & own,
        })
    }

    /// Takes everything else out of the bounding set. Needs CAP_SETPCAP, so it comes before [`Sets::apply`].
    pub fn bound(&self) -> Result<(), StartError> {
        for number in 0..64u32 {
            if self.bounding >> number & 1 == 1 {
                continue;
            }
            // SAFETY: prctl with integers.
            if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number as libc::c_ulong, 0, 0, 0) } == -1
            {
                let error = std::io::Error::last_os_error();
                // Past the last capability that this kernel has.
                if error.raw_os_error() == Some(libc::EINVAL) {
                    break;
                }
                return Err(failed("dropping capabilities")(error));
            }
        }
        Ok(())
    }

    pub fn apply(&self) -> Result<(), StartError> {
        let set = CapabilitySet::from_bits_retain;
        let sets = CapabilitySets {
            effective: set(self.effective),
            permitted: set(self.permitted),
            inheritable: set(self.inheritable),
        };
        rustix::thread::set_capabilities(None, sets).map_err(failed("setting the capabilities"))?;
        rustix::thread::clear_ambient_capability_set()
            .map_err(failed("clearing the ambient capabilities"))?;
        for number in 0..64 {
            if self.ambient >> number & 1 == 1 {
                rustix::thread::configure_capability_in_ambient_set(set(1 << number), true)
                    .map_err(failed("raising the ambient capabilities"))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_kernels() {
        let bit = |capability: Capability| bits(Some(&Capabilities::from([capability])));
        assert_eq!(bit(Capability::Chown), 1);
        assert_eq!(bit(Capability::SysAdmin), 1 << 21);
        assert_eq!(bit(Capability::SysResource), 1 << 24);
        assert_eq!(bit(Capability::Mknod), 1 << 27);
        assert_eq!(bit(Capability::CheckpointRestore), 1 << 40);
        assert_eq!(bits(None), 0);
    }
}
