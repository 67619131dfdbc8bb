//! The process itself: what it executes, as whom, with which limits.

use std::collections::HashSet;

use dhow_api::Ulimit;
use dhow_runtime::apparmor;
use oci_spec::runtime::{
    Capability, LinuxCapabilities, LinuxCapabilitiesBuilder, PosixRlimit, PosixRlimitBuilder,
    PosixRlimitType, Process, User, UserBuilder,
};

use super::security::Security;
use super::{SpecInput, built, env};
use crate::containers::user::ResolvedUser;
use crate::error::{EngineError, Result};
use crate::host::HostFacts;

pub fn init(
    input: &SpecInput<'_>,
    capabilities: &[Capability],
    security: &Security,
) -> Result<Process> {
    let definition = input.definition;
    let (config, host) = (&definition.config, &definition.host_config);
    let mut variables = env::of_container(
        &config.hostname,
        config.tty,
        config.env.as_deref().unwrap_or_default(),
    );
    env::add_home(&mut variables, &input.user.home);
    let mut process = Process::default();
    process.set_terminal(Some(config.tty));
    process.set_user(user(input.user, host.umask)?);
    process.set_args(Some(definition.command()));
    process.set_env(Some(variables));
    process.set_cwd(match config.working_dir.as_str() {
        "" => "/".into(),
        dir => dir.into(),
    });
    process.set_capabilities(Some(capability_sets(capabilities, input.user)?));
    process.set_rlimits(
        Some(rlimits(
            host.resources.ulimits.as_deref().unwrap_or_default(),
        )?)
        .filter(|r| !r.is_empty()),
    );
    process.set_no_new_privileges(Some(security.no_new_privileges()));
    process.set_apparmor_profile(apparmor_profile(input.host, security, host.privileged));
    process.set_oom_score_adj(i32::try_from(host.oom_score_adj).ok());
    Ok(process)
}

const UNCONFINED: &str = "unconfined";

/// Whether a container is to have the profile that the daemon loads.
pub fn has_default_profile(facts: &HostFacts, security: &Security, privileged: bool) -> bool {
    facts.apparmor
        && match &security.apparmor {
            Some(profile) => profile == apparmor::DEFAULT_PROFILE,
            None => !privileged,
        }
}

/// The AppArmor profile of a container's processes, its own and those of execs, if they have one.
pub fn apparmor_profile(
    facts: &HostFacts,
    security: &Security,
    privileged: bool,
) -> Option<String> {
    if !facts.apparmor {
        return None;
    }
    match security.apparmor.as_deref() {
        // Also where the daemon itself is confined.
        Some(profile) => Some(profile.to_owned()),
        None if privileged => Some(UNCONFINED.to_owned()),
        None => Some(apparmor::DEFAULT_PROFILE.to_owned())
            .filter(|profile| apparmor::is_loaded(profile)),
    }
}

pub fn user(user: &ResolvedUser, umask: Option<u32>) -> Result<User> {
    let mut made = built(UserBuilder::default().uid(user.uid).gid(user.gid).build())?;
    made.set_additional_gids(Some(user.groups.clone()).filter(|g| !g.is_empty()));
    made.set_umask(umask);
    Ok(made)
}

/// A user other than root starts with nothing but the bounding set (capabilities(7), "Transformation of
/// capabilities during execve()").
pub fn capability_sets(all: &[Capability], user: &ResolvedUser) -> Result<LinuxCapabilities> {
    let all: HashSet<Capability> = all.iter().copied().collect();
    let held = if user.uid == 0 {
        all.clone()
    } else {
        HashSet::new()
    };
    built(
        LinuxCapabilitiesBuilder::default()
            .bounding(all)
            .effective(held.clone())
            .permitted(held)
            .inheritable(HashSet::new())
            .ambient(HashSet::new())
            .build(),
    )
}

pub fn rlimits(ulimits: &[Ulimit]) -> Result<Vec<PosixRlimit>> {
    ulimits
        .iter()
        .map(|u| {
            let kind = rlimit_kind(&u.name)
                .ok_or_else(|| EngineError::invalid(format!("invalid ulimit type: {}", u.name)))?;
            if u.soft < -1 || u.hard < -1 {
                return Err(EngineError::invalid(format!(
                    "invalid ulimit {}: soft limit {}, hard limit {}; -1 means without limit",
                    u.name, u.soft, u.hard
                )));
            }
            if u.hard != -1 && (u.soft == -1 || u.soft > u.hard) {
                return Err(EngineError::invalid(format!(
                    "ulimit soft limit must be less than or equal to hard limit: soft limit {} , hard limit {}",
                    u.soft, u.hard
                )));
            }
            // -1 becomes RLIM_INFINITY.
            built(
                PosixRlimitBuilder::default()
                    .typ(kind)
                    .hard(u.hard as u64)
                    .soft(u.soft as u64)
                    .build(),
            )
        })
        .collect()
}

fn rlimit_kind(name: &str) -> Option<PosixRlimitType> {
    use PosixRlimitType as R;
    Some(match name {
        "core" => R::RlimitCore,
        "cpu" => R::RlimitCpu,
        "data" => R::RlimitData,
        "fsize" => R::RlimitFsize,
        "locks" => R::RlimitLocks,
        "memlock" => R::RlimitMemlock,
        "msgqueue" => R::RlimitMsgqueue,
        "nice" => R::RlimitNice,
        "nofile" => R::RlimitNofile,
        "nproc" => R::RlimitNproc,
        "rss" => R::RlimitRss,
        "rtprio" => R::RlimitRtprio,
        "rttime" => R::RlimitRttime,
        "sigpending" => R::RlimitSigpending,
        "stack" => R::RlimitStack,
        _ => return None,
    })
}
