//! What is refused at creation: every setting is checked before anything is made, with Docker's texts.

use std::net::IpAddr;

use dhow_api::{ContainerConfig, HostConfig, Resources};

use super::definition::parse_restart_policy;
use super::spec;
use crate::error::{EngineError, Result};
use crate::host::{HostFacts, parse_list};
use crate::networks::{NetworkMode, ports};

const MIN_MEMORY: i64 = 6 << 20;

fn refuse<T>(message: impl Into<String>) -> Result<T> {
    Err(EngineError::Invalid(message.into()))
}

/// Checks a definition after it was merged with its image.
pub fn check(config: &ContainerConfig, host: &HostConfig, facts: &HostFacts) -> Result<()> {
    check_config(config)?;
    check_network(host)?;
    check_namespaces(config, host)?;
    check_logging(host)?;
    parse_restart_policy(&host.restart_policy, host.auto_remove)?;
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
    if host.links.iter().flatten().next().is_some() {
        return refuse("links are not supported: put the containers on a network of their own");
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
    for rule in host.resources.device_cgroup_rules.iter().flatten() {
        spec::devices::parse_rule(rule)?;
    }
    for name in host.sysctls.keys() {
        check_sysctl(name, host)?;
    }
    Ok(())
}

fn check_config(config: &ContainerConfig) -> Result<()> {
    for variable in config.env.iter().flatten() {
        if variable.is_empty() || variable.starts_with('=') {
            return refuse(format!("invalid environment variable: {variable}"));
        }
        if variable.contains('\0') {
            return refuse("invalid environment variable: it contains a null byte");
        }
    }
    if !config.working_dir.is_empty() && !config.working_dir.starts_with('/') {
        return refuse(format!(
            "the working directory '{}' is invalid, it needs to be an absolute path",
            config.working_dir
        ));
    }
    if !config.stop_signal.is_empty() {
        super::signal::parse(&config.stop_signal)?;
    }
    if config.hostname.len() > 64 || config.hostname.contains(char::is_whitespace) {
        return refuse(format!("invalid hostname: {}", config.hostname));
    }
    for port in config.exposed_ports.keys() {
        ports::parse_port(port)?;
    }
    if let Some(health) = &config.healthcheck {
        check_health(health)?;
    }
    Ok(())
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
    Ok(())
}

fn check_network(host: &HostConfig) -> Result<()> {
    let mode = NetworkMode::parse(&host.network_mode);
    let publishes = host
        .port_bindings
        .iter()
        .flatten()
        .any(|(_, b)| b.is_some())
        || host.publish_all_ports;
    if let NetworkMode::Container(name) = &mode {
        if name.is_empty() {
            return refuse("invalid container format container:<name|id>");
        }
        let dns = [&host.dns, &host.dns_options, &host.dns_search];
        if dns.iter().any(|d| d.iter().flatten().next().is_some()) {
            return refuse("conflicting options: dns and the network mode");
        }
        if host.extra_hosts.iter().flatten().next().is_some() {
            return refuse("conflicting options: custom host-to-IP mapping and the network mode");
        }
        if publishes {
            return refuse(
                "conflicting options: port publishing and the container type network mode",
            );
        }
    }
    for (port, hosts) in host.port_bindings.iter().flatten() {
        ports::parse_port(port)?;
        for binding in hosts.iter().flatten() {
            if !binding.host_ip.is_empty()
                && binding
                    .host_ip
                    .trim_matches(['[', ']'])
                    .parse::<IpAddr>()
                    .is_err()
            {
                return refuse(format!("invalid IP address: {}", binding.host_ip));
            }
        }
    }
    for server in host.dns.iter().flatten() {
        if server.parse::<IpAddr>().is_err() {
            return refuse(format!("bad nameserver address: {server}"));
        }
    }
    for entry in host.extra_hosts.iter().flatten() {
        match entry.split_once([':', '=']) {
            Some((name, ip))
                if !name.is_empty()
                    && (ip == "host-gateway"
                        || ip.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()) => {}
            Some((_, ip)) => return refuse(format!("invalid IP address in add-host: \"{ip}\"")),
            None => return refuse(format!("bad format for add-host: \"{entry}\"")),
        }
    }
    Ok(())
}

fn check_namespaces(config: &ContainerConfig, host: &HostConfig) -> Result<()> {
    let is_container = |mode: &str| {
        mode.strip_prefix("container:")
            .is_some_and(|n| !n.is_empty())
    };
    if !matches!(host.pid_mode.as_str(), "" | "host" | "private") && !is_container(&host.pid_mode) {
        return refuse(format!("invalid PID mode: {}", host.pid_mode));
    }
    match host.ipc_mode.as_str() {
        "" | "none" | "private" | "host" | "shareable" => {}
        mode if is_container(mode) => {
            return Err(EngineError::Unsupported(format!(
                "IPC mode {mode} is not supported: use private, shareable or host"
            )));
        }
        mode => return refuse(format!("invalid IPC mode: {mode}")),
    }
    if !matches!(host.uts_mode.as_str(), "" | "host") {
        return refuse(format!("invalid UTS mode: {}", host.uts_mode));
    }
    if host.uts_mode == "host" && !config.hostname.is_empty() {
        return refuse("conflicting options: hostname and the UTS mode");
    }
    if !matches!(host.cgroupns_mode.as_str(), "" | "host" | "private") {
        return refuse(format!(
            "invalid cgroup namespace mode: {}",
            host.cgroupns_mode
        ));
    }
    match host.userns_mode.as_str() {
        "" | "host" => Ok(()),
        mode => refuse(format!("invalid user namespace mode: {mode}")),
    }
}

/// The options of the json-file driver.
const JSON_FILE_OPTIONS: [&str; 7] = [
    "max-size",
    "max-file",
    "compress",
    "labels",
    "labels-regex",
    "env",
    "env-regex",
];

fn check_logging(host: &HostConfig) -> Result<()> {
    match host.log_config.kind.as_str() {
        "" | "json-file" => {
            log_limits(&host.log_config)?;
            for name in host.log_config.config.keys() {
                if !JSON_FILE_OPTIONS.contains(&name.as_str())
                    && !matches!(name.as_str(), "tag" | "mode" | "max-buffer-size")
                {
                    return refuse(format!("unknown log opt '{name}' for json-file log driver"));
                }
            }
            Ok(())
        }
        "none" => Ok(()),
        other => refuse(format!(
            "logger: no log driver named '{other}' is registered"
        )),
    }
}

/// `max-size` in bytes and `max-file` of the json-file driver.
pub fn log_limits(config: &dhow_api::LogConfig) -> Result<(Option<u64>, u32)> {
    let size =
        match config.config.get("max-size").map(String::as_str) {
            None | Some("" | "-1") => None,
            Some(text) => Some(parse_size(text).filter(|&n| n > 0).ok_or_else(|| {
                EngineError::invalid(format!("invalid value for max-size: {text}"))
            })?),
        };
    let files = match config.config.get("max-file").map(String::as_str) {
        None | Some("") => 1,
        Some(text) => text
            .parse::<u32>()
            .ok()
            .filter(|&n| n > 0)
            .ok_or_else(|| EngineError::invalid("max-file cannot be less than 1"))?,
    };
    Ok((size, files))
}

/// `10m`, `1g`, `512kb`, `100`: binary multiples.
fn parse_size(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match lower[digits.len()..]
        .trim_end_matches("ib")
        .trim_end_matches('b')
    {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        "t" => 1 << 40,
        _ => return None,
    };
    digits.trim().parse::<u64>().ok()?.checked_mul(factor)
}

pub fn check_resources(r: &Resources, facts: &HostFacts) -> Result<()> {
    if r.memory != 0 && r.memory < MIN_MEMORY {
        return refuse("Minimum memory limit allowed is 6MB");
    }
    if r.memory > 0 && r.memory_swap > 0 && r.memory_swap < r.memory {
        return refuse("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if r.memory == 0 && r.memory_swap > 0 {
        return refuse(
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        );
    }
    if let Some(swappiness) = r.memory_swappiness
        && !(-1..=100).contains(&swappiness)
    {
        return refuse(format!(
            "Invalid value: {swappiness}, valid memory swappiness range is 0-100"
        ));
    }
    if r.memory_reservation != 0 && r.memory_reservation < MIN_MEMORY {
        return refuse("Minimum memory reservation allowed is 6MB");
    }
    if r.memory > 0 && r.memory_reservation > r.memory {
        return refuse(
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        );
    }
    if r.nano_cpus != 0 {
        if r.cpu_period > 0 {
            return refuse("Conflicting options: Nano CPUs and CPU Period cannot both be set");
        }
        if r.cpu_quota > 0 {
            return refuse("Conflicting options: Nano CPUs and CPU Quota cannot both be set");
        }
        if r.nano_cpus < 10_000_000 || r.nano_cpus > i64::from(facts.cpus) * 1_000_000_000 {
            return refuse(format!(
                "range of CPUs is from 0.01 to {n}.00, as there are only {n} CPUs available",
                n = facts.cpus
            ));
        }
    }
    if r.cpu_shares < 0 {
        return refuse(format!(
            "invalid CPU shares ({}): value must be a positive integer",
            r.cpu_shares
        ));
    }
    if r.cpu_period != 0 && !(1_000..=1_000_000).contains(&r.cpu_period) {
        return refuse(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        );
    }
    if r.cpu_quota > 0 && r.cpu_quota < 1_000 {
        return refuse("CPU cfs quota can not be less than 1ms (i.e. 1000)");
    }
    if !r.cpuset_cpus.is_empty() {
        let wanted = parse_list(&r.cpuset_cpus).ok_or_else(|| {
            EngineError::invalid(format!("Invalid value {} for cpuset cpus", r.cpuset_cpus))
        })?;
        if wanted.iter().any(|&c| c >= facts.cpus) {
            return refuse(format!(
                "Requested CPUs are not available - requested {}, available: 0-{}",
                r.cpuset_cpus,
                facts.cpus - 1
            ));
        }
    }
    if !r.cpuset_mems.is_empty() && parse_list(&r.cpuset_mems).is_none() {
        return refuse(format!("Invalid value {} for cpuset mems", r.cpuset_mems));
    }
    if r.blkio_weight != 0 && !(10..=1000).contains(&r.blkio_weight) {
        return refuse("Range of blkio weight is from 10 to 1000");
    }
    if r.device_requests.iter().flatten().next().is_some() {
        return refuse("could not select device driver \"\" with capabilities: [[gpu]]");
    }
    Ok(())
}

/// Only what belongs to the container's own namespaces can be set.
fn check_sysctl(name: &str, host: &HostConfig) -> Result<()> {
    let ipc = name.starts_with("fs.mqueue.")
        || matches!(
            name,
            "kernel.msgmax"
                | "kernel.msgmnb"
                | "kernel.msgmni"
                | "kernel.sem"
                | "kernel.shmall"
                | "kernel.shmmax"
                | "kernel.shmmni"
                | "kernel.shm_rmid_forced"
        );
    let net = name.starts_with("net.");
    let uts = matches!(name, "kernel.domainname" | "kernel.hostname");
    if ipc && host.ipc_mode == "host" {
        return refuse(format!("sysctl '{name}' not allowed in host ipc namespace"));
    }
    if net && host.network_mode == "host" {
        return refuse(format!(
            "sysctl '{name}' not allowed in host network namespace"
        ));
    }
    if uts && host.uts_mode == "host" {
        return refuse(format!("sysctl '{name}' not allowed in host uts namespace"));
    }
    if ipc || net || uts {
        Ok(())
    } else {
        refuse(format!(
            "sysctl \"{name}\" is not in a separate kernel namespace"
        ))
    }
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

    #[test]
    fn log_sizes() {
        assert_eq!(parse_size("10m"), Some(10 << 20));
        assert_eq!(parse_size("1GiB"), Some(1 << 30));
        assert_eq!(parse_size("7"), Some(7));
        assert_eq!(parse_size("x"), None);
    }
}
