//! The capability sets of a process that is about to run its program.

use oci_spec::runtime::{Capabilities, LinuxCapabilities};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::{Reporter, failed};
use crate::capabilities;
use crate::protocol::StartError;

fn bits(set: Option<&Capabilities>) -> u64 {
    capabilities::mask(set.into_iter().flatten())
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
            let names: Vec<String> = capabilities::of_mask(lacking)
                .iter()
                .map(|capability| format!("CAP_{capability}"))
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
