//! `HostConfig.SecurityOpt`: seccomp, AppArmor, no-new-privileges, and which paths are masked or can be written to
//! (moby `daemon/daemon_unix.go`).

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
    writable_cgroups: Option<bool>,
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
            "writable-cgroups" => {
                security.writable_cgroups = Some(true);
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
            // Of SELinux, which does nothing here.
            "label" => {}
            // Without a value it is the default again.
            "apparmor" => {
                security.apparmor = Some(value.to_owned()).filter(|value| !value.is_empty());
            }
            "seccomp" => {
                security.seccomp = match value {
                    "" => Seccomp::Default,
                    "unconfined" => Seccomp::Unconfined,
                    "builtin" => Seccomp::Builtin,
                    profile => Seccomp::Profile(Box::new(Profile::parse(profile)?)),
                }
            }
            "no-new-privileges" => {
                security.no_new_privileges = Some(switch(value).ok_or_else(invalid)?);
            }
            "writable-cgroups" => {
                security.writable_cgroups = Some(switch(value).ok_or_else(invalid)?);
            }
            _ => return Err(invalid()),
        }
    }
    Ok(security)
}

/// As Go's strconv.ParseBool.
fn switch(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
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

    /// Whether the control groups' filesystem can be written to.
    pub fn writable_cgroups(&self, privileged: bool) -> bool {
        self.writable_cgroups.unwrap_or(privileged)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn of(options: &[&str]) -> Result<Security> {
        let options = options.iter().map(|o| o.to_string()).collect();
        parse(&HostConfig {
            security_opt: Some(options),
            ..HostConfig::default()
        })
    }

    #[test]
    fn switches_are_read_as_go_does() {
        for (text, on) in [
            ("true", true),
            ("T", true),
            ("1", true),
            ("False", false),
            ("f", false),
        ] {
            let security = of(&[
                &format!("no-new-privileges={text}"),
                &format!("writable-cgroups:{text}"),
            ]);
            let security = security.unwrap();
            assert_eq!(security.no_new_privileges, Some(on), "{text}");
            assert_eq!(security.writable_cgroups(!on), on, "{text}");
        }
        assert!(of(&["writable-cgroups"]).unwrap().writable_cgroups(false));
        assert!(of(&[]).unwrap().writable_cgroups(true));
        for bad in [
            "no-new-privileges=yes",
            "writable-cgroups=",
            "writable-cgroups=TrUe",
            "x=y",
        ] {
            let refused = of(&[bad]).unwrap_err().to_string();
            assert_eq!(refused, format!("invalid --security-opt 2: {bad:?}"));
        }
        let refused = of(&["writable"]).unwrap_err().to_string();
        assert_eq!(refused, "invalid --security-opt 1: \"writable\"");
    }

    #[test]
    fn what_has_no_value_is_the_default_again() {
        let security = of(&[
            "apparmor=unconfined",
            "apparmor=",
            "seccomp=unconfined",
            "seccomp=",
        ]);
        let security = security.unwrap();
        assert_eq!(security.apparmor, None);
        assert!(matches!(security.seccomp, Seccomp::Default));
        of(&["label=disable", "label:type:x", "disable"]).unwrap();
    }
}
