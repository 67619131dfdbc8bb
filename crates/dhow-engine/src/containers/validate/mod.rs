//! What is refused at creation: every setting is checked before anything is made, with Docker's texts.

mod networks;
mod paths;
mod resources;
mod sysctls;
mod text;

use dhow_api::{ContainerConfig, HostConfig};

use super::definition::parse_restart_policy;
use super::logging::LogSettings;
use super::restart::RestartPolicy;
use super::spec;
use crate::error::{EngineError, Result};
use crate::host::HostFacts;
use crate::networks::ports;

pub use networks::check as check_network;
pub use resources::check as check_resources;
pub use text::check_text;

fn refuse<T>(message: impl Into<String>) -> Result<T> {
    Err(EngineError::Invalid(message.into()))
}

/// Checks a definition after it was merged with its image.
pub fn check(config: &ContainerConfig, host: &HostConfig, facts: &HostFacts) -> Result<()> {
    text::check(config, host)?;
    check_config(config)?;
    networks::check(config, host)?;
    networks::check_namespaces(config, host)?;
    LogSettings::check(&host.log_config)?;
    paths::check(config, host)?;
    let policy = parse_restart_policy(&host.restart_policy, host.auto_remove)?;
    if config.healthcheck.as_ref().is_some_and(|h| h.restart > 0) && policy == RestartPolicy::No {
        return refuse(
            "a container that is to be restarted by its health check needs a restart policy",
        );
    }
    check_resources(&host.resources, facts)?;
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        return refuse(format!(
            "Invalid value {}, range for oom score adj is [-1000, 1000]",
            host.oom_score_adj
        ));
    }
    if host.shm_size < 0 {
        return refuse("SHM size can not be less than 0");
    }
    if !matches!(host.isolation.as_str(), "" | "default") {
        return refuse(format!("invalid isolation '{}' on linux", host.isolation));
    }
    if !matches!(host.runtime.as_str(), "" | "runc" | "dhow") {
        return refuse(format!("unknown or invalid runtime name: {}", host.runtime));
    }
    if !host.storage_opt.is_empty() {
        return refuse("--storage-opt is not supported by this storage driver");
    }
    if host.umask.is_some_and(|u| u > 0o777) {
        return refuse("invalid umask: must be between 0 and 0777");
    }
    // These fail on what can't be understood; what they return is of no interest yet.
    spec::caps::effective(
        &facts.capabilities,
        false,
        host.cap_add.as_deref().unwrap_or_default(),
        host.cap_drop.as_deref().unwrap_or_default(),
    )?;
    spec::security::parse(host)?;
    spec::process::rlimits(host.resources.ulimits.as_deref().unwrap_or_default())?;
    for device in host.resources.devices.iter().flatten() {
        spec::devices::check_access(&device.cgroup_permissions)?;
    }
    for rule in host.resources.device_cgroup_rules.iter().flatten() {
        spec::devices::parse_rule(rule)?;
    }
    for (name, value) in &host.sysctls {
        sysctls::check(name, value, host)?;
    }
    Ok(())
}

fn check_config(config: &ContainerConfig) -> Result<()> {
    for variable in config.env.iter().flatten() {
        if variable.is_empty() || variable.starts_with('=') {
            return refuse(format!("invalid environment variable: {variable}"));
        }
    }
    check_working_dir(&config.working_dir)?;
    if !config.stop_signal.is_empty() {
        super::signal::parse(&config.stop_signal)?;
    }
    if config.hostname.len() > 64 || config.hostname.contains(char::is_whitespace) {
        return refuse(format!("invalid hostname: {}", config.hostname));
    }
    if config.domainname.len() > 64 {
        return refuse(format!("invalid domain name: {}", config.domainname));
    }
    for port in config.exposed_ports.keys() {
        ports::parse_port(port)?;
    }
    if let Some(health) = &config.healthcheck {
        check_health(health)?;
    }
    Ok(())
}

/// The working directory of a container, or of an exec.
pub fn check_working_dir(directory: &str) -> Result<()> {
    if !directory.is_empty() && !directory.starts_with('/') {
        return refuse(format!(
            "the working directory '{directory}' is invalid, it needs to be an absolute path"
        ));
    }
    paths::check_length(directory)
}

fn check_health(health: &dhow_api::HealthConfig) -> Result<()> {
    const LEAST: i64 = 1_000_000;
    match health.test.first().map(String::as_str) {
        None | Some("" | "NONE" | "CMD" | "CMD-SHELL") => {}
        Some(other) => return refuse(format!("unknown health check type: {other}")),
    }
    for (name, value) in [
        ("Interval", health.interval),
        ("Timeout", health.timeout),
        ("StartPeriod", health.start_period),
        ("StartInterval", health.start_interval),
    ] {
        if value != 0 && value < LEAST {
            return refuse(format!("{name} in Healthcheck cannot be less than 1ms"));
        }
    }
    if health.retries < 0 {
        return refuse("Retries in Healthcheck cannot be negative");
    }
    if health.restart < 0 {
        return refuse("Restart in Healthcheck cannot be negative");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> HostFacts {
        HostFacts {
            capabilities: dhow_runtime::capabilities::of_mask(u64::MAX),
            cgroup_version: 2,
            apparmor: false,
            cpus: 2,
            memory: 1 << 30,
            swap_limit: true,
        }
    }

    fn host(json: &str) -> Result<()> {
        let host: HostConfig = serde_json::from_str(json).unwrap();
        check(&ContainerConfig::default(), &host, &facts())
    }

    #[test]
    fn bad_settings_are_refused_in_dockers_words() {
        for (json, text) in [
            (r#"{"Memory":1024}"#, "Minimum memory limit allowed is 6MB"),
            (
                r#"{"NanoCpus":3000000000}"#,
                "range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available",
            ),
            (
                r#"{"CpusetCpus":"0-9"}"#,
                "Requested CPUs are not available - requested 0-9, available: 0-1",
            ),
            (
                r#"{"RestartPolicy":{"Name":"sometimes"}}"#,
                "invalid restart policy: unknown policy 'sometimes'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
            ),
            (
                r#"{"RestartPolicy":{"Name":"always"},"AutoRemove":true}"#,
                "can't create 'AutoRemove' container with restart policy",
            ),
            (
                r#"{"RestartPolicy":{"Name":"always","MaximumRetryCount":1}}"#,
                "invalid restart policy: maximum retry count can only be used with 'on-failure'",
            ),
            (
                r#"{"LogConfig":{"Type":"fluent"}}"#,
                "logger: no log driver named 'fluent' is registered",
            ),
            (
                r#"{"LogConfig":{"Type":"json-file","Config":{"colour":"red"}}}"#,
                "unknown log opt 'colour' for json-file log driver",
            ),
            (r#"{"PidMode":"x"}"#, "invalid PID mode: x"),
            (
                r#"{"NetworkMode":"container:x","PortBindings":{"80/tcp":[{"HostPort":"1"}]}}"#,
                "conflicting options: port publishing and the container type network mode",
            ),
            (
                r#"{"PortBindings":{"x/tcp":[]}}"#,
                "invalid port specification: \"x/tcp\"",
            ),
            (
                r#"{"ExtraHosts":["nohost"]}"#,
                "bad format for add-host: \"nohost\"",
            ),
            (
                r#"{"Sysctls":{"kernel.panic":"1"}}"#,
                "sysctl \"kernel.panic\" is not in a separate kernel namespace",
            ),
            (r#"{"Ulimits":[{"Name":"x"}]}"#, "invalid ulimit type: x"),
            (
                r#"{"CapAdd":["FLY"]}"#,
                "invalid CapAdd: unknown capability: \"FLY\"",
            ),
            (
                r#"{"SecurityOpt":["x=y"]}"#,
                "invalid --security-opt 2: \"x=y\"",
            ),
            (
                r#"{"OomScoreAdj":2000}"#,
                "Invalid value 2000, range for oom score adj is [-1000, 1000]",
            ),
        ] {
            assert_eq!(host(json).unwrap_err().to_string(), text, "{json}");
        }
    }

    #[test]
    fn good_settings_pass() {
        for json in [
            "{}",
            r#"{"Memory":6291456,"MemorySwap":-1,"NanoCpus":1500000000,"PidsLimit":100,"CpusetCpus":"0,1"}"#,
            r#"{"LogConfig":{"Type":"json-file","Config":{"max-size":"10m","max-file":"3"}}}"#,
            r#"{"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":3}}"#,
            r#"{"Sysctls":{"net.core.somaxconn":"1024"},"ExtraHosts":["a:1.2.3.4","b:host-gateway","c:::1"]}"#,
        ] {
            host(json).unwrap();
        }
    }
}
