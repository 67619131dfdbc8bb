//! A seccomp profile of the user's own, in the format of Docker's `default.json`: rules that depend on the
//! architecture, the kernel and the capabilities, resolved to the OCI form (moby `profiles/seccomp`).

use oci_spec::runtime::{
    Arch, Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag,
    LinuxSyscall,
};
use serde::Deserialize;

use crate::error::{EngineError, Result};

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    default_action: LinuxSeccompAction,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Option<Vec<Arch>>,
    #[serde(default)]
    arch_map: Option<Vec<ArchMap>>,
    #[serde(default)]
    flags: Option<Vec<LinuxSeccompFilterFlag>>,
    #[serde(default)]
    syscalls: Option<Vec<Rule>>,
    #[serde(default)]
    listener_path: Option<std::path::PathBuf>,
    #[serde(default)]
    listener_metadata: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: Arch,
    #[serde(default)]
    sub_architectures: Option<Vec<Arch>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    names: Option<Vec<String>>,
    action: LinuxSeccompAction,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<LinuxSeccompArg>>,
    #[serde(default)]
    includes: Option<Condition>,
    #[serde(default)]
    excludes: Option<Condition>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    #[serde(default)]
    caps: Option<Vec<String>>,
    #[serde(default)]
    arches: Option<Vec<String>>,
    #[serde(default)]
    min_kernel: Option<String>,
}

impl Profile {
    pub fn parse(text: &str) -> Result<Profile> {
        let profile: Profile = serde_json::from_str(text)
            .map_err(|e| EngineError::invalid(format!("decoding seccomp profile failed: {e}")))?;
        let has = |list: &Option<Vec<_>>| list.as_ref().is_some_and(|l| !l.is_empty());
        if has(&profile.architectures) && profile.arch_map.as_ref().is_some_and(|l| !l.is_empty()) {
            return Err(EngineError::invalid(
                "both 'architectures' and 'archMap' are specified in the seccomp profile, use either 'architectures' or 'archMap'",
            ));
        }
        for rule in profile.syscalls.iter().flatten() {
            let many = rule.names.as_ref().is_some_and(|n| !n.is_empty());
            if many && rule.name.as_ref().is_some_and(|n| !n.is_empty()) {
                return Err(EngineError::invalid(
                    "both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'",
                ));
            }
        }
        Ok(profile)
    }

    /// The filter for a process with these capabilities, on this machine.
    pub fn resolve(&self, capabilities: &[Capability]) -> LinuxSeccomp {
        let (native, go_name) = native_arch();
        let held: Vec<String> = capabilities.iter().map(|c| format!("CAP_{c}")).collect();
        let holds = |cap: &String| held.contains(&cap.to_ascii_uppercase());
        let is_native = |arch: &String| arch == go_name;
        let mut filter = LinuxSeccomp::default();
        filter.set_default_action(self.default_action);
        filter.set_default_errno_ret(self.default_errno_ret);
        filter.set_flags(self.flags.clone());
        filter.set_listener_path(self.listener_path.clone());
        filter.set_listener_metadata(self.listener_metadata.clone());
        let mapped = self
            .arch_map
            .iter()
            .flatten()
            .find(|m| m.architecture == native)
            .map(|m| {
                let mut all = vec![m.architecture];
                all.extend(m.sub_architectures.iter().flatten());
                all
            });
        filter.set_architectures(
            self.architectures
                .clone()
                .filter(|a| !a.is_empty())
                .or(mapped),
        );
        let rules = self
            .syscalls
            .iter()
            .flatten()
            .filter(|rule| {
                rule.excludes.as_ref().is_none_or(|not| {
                    !not.arches.iter().flatten().any(is_native)
                        && !not.caps.iter().flatten().any(holds)
                        && !not.min_kernel.as_deref().is_some_and(kernel_is_at_least)
                }) && rule.includes.as_ref().is_none_or(|only| {
                    let arches = only.arches.as_ref().filter(|a| !a.is_empty());
                    arches.is_none_or(|a| a.iter().any(is_native))
                        && only.caps.iter().flatten().all(holds)
                        && only.min_kernel.as_deref().is_none_or(kernel_is_at_least)
                })
            })
            .filter_map(|rule| {
                let mut names = rule.names.clone().unwrap_or_default();
                names.extend(rule.name.clone().filter(|n| !n.is_empty()));
                if names.is_empty() {
                    return None;
                }
                let mut syscall = LinuxSyscall::default();
                syscall.set_names(names);
                syscall.set_action(rule.action);
                syscall.set_errno_ret(rule.errno_ret);
                syscall.set_args(rule.args.clone().filter(|a| !a.is_empty()));
                Some(syscall)
            })
            .collect();
        filter.set_syscalls(Some(rules));
        filter
    }
}

/// This machine's architecture, and Go's name of it, which profiles use.
fn native_arch() -> (Arch, &'static str) {
    if cfg!(target_arch = "aarch64") {
        (Arch::ScmpArchAarch64, "arm64")
    } else {
        (Arch::ScmpArchX86_64, "amd64")
    }
}

/// Whether this kernel is `major.minor` or newer.
fn kernel_is_at_least(wanted: &str) -> bool {
    let parse = |text: &str| -> Option<(u32, u32)> {
        let mut parts = text.split(|c: char| !c.is_ascii_digit());
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    };
    let uname = rustix::system::uname();
    match (parse(&uname.release().to_string_lossy()), parse(wanted)) {
        (Some(has), Some(wanted)) => has >= wanted,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = r#"{
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
        "archMap": [{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]},
                    {"architecture":"SCMP_ARCH_AARCH64","subArchitectures":null}],
        "syscalls": [
            {"names":["read","write"],"action":"SCMP_ACT_ALLOW"},
            {"name":"mount","action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN"]}},
            {"names":["ptrace"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"4.8"}},
            {"names":["old"],"action":"SCMP_ACT_ALLOW","excludes":{"minKernel":"4.8"}},
            {"names":["s390"],"action":"SCMP_ACT_ALLOW","includes":{"arches":["s390"]}}
        ]}"#;

    fn names(capabilities: &[Capability]) -> Vec<String> {
        let filter = Profile::parse(PROFILE).unwrap().resolve(capabilities);
        let rules = filter.syscalls().clone().unwrap();
        rules.iter().flat_map(|r| r.names().clone()).collect()
    }

    #[test]
    fn rules_depend_on_capabilities_kernel_and_architecture() {
        assert_eq!(names(&[]), ["read", "write", "ptrace"]);
        assert_eq!(
            names(&[Capability::SysAdmin]),
            ["read", "write", "mount", "ptrace"]
        );
    }

    #[test]
    fn a_broken_profile_is_refused() {
        assert!(Profile::parse("{}").is_err());
        assert!(Profile::parse("not json").is_err());
    }
}
