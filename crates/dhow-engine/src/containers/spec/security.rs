//! `HostConfig.SecurityOpt`: seccomp, AppArmor, no-new-privileges, and which paths are masked.

use dhow_api::HostConfig;
use oci_spec::runtime::{Capability, LinuxSeccomp};

use super::seccomp_profile::Profile;
use crate::config::ContainerDefaults;
use crate::error::{EngineError, Result};

/// What the options say, parsed.
#[derive(Debug, Default)]
pub struct Security {
    seccomp: Seccomp,
    /// `None` for the default.
    pub apparmor: Option<String>,
    no_new_privileges: Option<bool>,
    unmasked: bool,
}

#[derive(Debug, Default)]
enum Seccomp {
    #[default]
    Default,
    /// Asked for by name.
    Builtin,
    Unconfined,
    Profile(Box<Profile>),
    /// The daemon's, which does not hold for privileged containers.
    Daemons(Box<Profile>),
    DaemonsUnconfined,
}

const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Docker's own lists, as `docker inspect` shows them.
pub fn default_masked_paths() -> Vec<String> {
    MASKED.map(str::to_owned).to_vec()
}

pub fn default_readonly_paths() -> Vec<String> {
    READ_ONLY.map(str::to_owned).to_vec()
}

pub fn parse(host: &HostConfig) -> Result<Security> {
    let mut security = Security::default();
    for option in host.security_opt.iter().flatten() {
        let invalid = || EngineError::invalid(format!("invalid --security-opt 2: \"{option}\""));
        match option.as_str() {
            "no-new-privileges" => {
                security.no_new_privileges = Some(true);
                continue;
            }
            "disable" => continue,
            "systempaths=unconfined" => {
                security.unmasked = true;
                continue;
            }
            _ => {}
        }
        // Clients before 1.23 separate with a colon.
        let (key, value) = option
            .split_once('=')
            .or_else(|| option.split_once(':'))
            .ok_or_else(|| {
                EngineError::invalid(format!("invalid --security-opt 1: \"{option}\""))
            })?;
        match key {
            "label" => {}
            "apparmor" => security.apparmor = Some(value.to_owned()),
            "seccomp" => {
                security.seccomp = match value {
                    "unconfined" => Seccomp::Unconfined,
                    "builtin" | "default" => Seccomp::Builtin,
                    profile => Seccomp::Profile(Box::new(Profile::parse(profile)?)),
                }
            }
            "no-new-privileges" => {
                security.no_new_privileges = match value {
                    "true" | "1" => Some(true),
                    "false" | "0" => Some(false),
                    _ => return Err(invalid()),
                }
            }
            "writable-cgroups" => {}
            _ => return Err(invalid()),
        }
    }
    Ok(security)
}

/// Refuses a profile that could not be used.
pub fn check_profile(profile: &str) -> Result<()> {
    Profile::parse(profile).map(drop)
}

impl Security {
    /// What the options leave open, by the daemon's defaults.
    pub fn or_default(mut self, defaults: &ContainerDefaults) -> Result<Security> {
        self.no_new_privileges
            .get_or_insert(defaults.no_new_privileges);
        if let (Seccomp::Default, Some(profile)) = (&self.seccomp, &defaults.seccomp) {
            self.seccomp = match profile.as_str() {
                "unconfined" => Seccomp::DaemonsUnconfined,
                profile => Seccomp::Daemons(Box::new(Profile::parse(profile)?)),
            };
        }
        Ok(self)
    }

    pub fn no_new_privileges(&self) -> bool {
        self.no_new_privileges.unwrap_or(false)
    }

    pub fn seccomp(
        &self,
        privileged: bool,
        capabilities: &[Capability],
    ) -> Result<Option<LinuxSeccomp>> {
        match &self.seccomp {
            Seccomp::Unconfined | Seccomp::DaemonsUnconfined => Ok(None),
            Seccomp::Default | Seccomp::Builtin | Seccomp::Daemons(_) if privileged => Ok(None),
            Seccomp::Default | Seccomp::Builtin => Ok(Some(
                dhow_runtime::seccomp::default_profile(&capabilities.iter().copied().collect()),
            )),
            Seccomp::Profile(profile) | Seccomp::Daemons(profile) => {
                Ok(Some(profile.resolve(capabilities)))
            }
        }
    }

    pub fn masked_paths(&self, host: &HostConfig) -> Option<Vec<String>> {
        match &host.masked_paths {
            Some(paths) => Some(paths.clone()),
            None if self.is_unmasked(host) => None,
            None => Some(default_masked_paths()),
        }
    }

    pub fn readonly_paths(&self, host: &HostConfig) -> Option<Vec<String>> {
        match &host.readonly_paths {
            Some(paths) => Some(paths.clone()),
            None if self.is_unmasked(host) => None,
            None => Some(default_readonly_paths()),
        }
    }

    fn is_unmasked(&self, host: &HostConfig) -> bool {
        host.privileged || self.unmasked
    }
}
