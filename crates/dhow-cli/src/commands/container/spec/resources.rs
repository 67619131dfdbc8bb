//! Limits, restart policy, health check, log options.

use dhow_api::{HealthConfig, IPC_SYSCTLS, LogConfig, Resources, RestartPolicy, Ulimit};

use super::devices;
use crate::environment;
use crate::error::Refusal;
use crate::flags::Args;
use crate::format::units;

/// The resources of `run` and `create`.
pub fn read(args: &Args) -> Result<Resources, Refusal> {
    if let Some(swappiness) = args.int("memory-swappiness")
        && swappiness != -1
        && !(0..=100).contains(&swappiness)
    {
        return Err(format!(
            "invalid value: {swappiness}. Valid memory swappiness range is 0-100"
        ));
    }
    let (device_list, mut requests) = devices::read(&args.list("device"))?;
    if let Some(gpus) = args.nonempty("gpus") {
        requests.push(devices::gpus(gpus)?);
    }
    let ulimits: Vec<Ulimit> = args
        .list("ulimit")
        .into_iter()
        .map(ulimit)
        .collect::<Result<_, _>>()?;
    Ok(Resources {
        cgroup_parent: args.string("cgroup-parent"),
        blkio_weight_device: devices::weights(&args.list("blkio-weight-device"))?,
        blkio_device_read_bps: devices::throttles(&args.list("device-read-bps"), true)?,
        blkio_device_write_bps: devices::throttles(&args.list("device-write-bps"), true)?,
        blkio_device_read_iops: devices::throttles(&args.list("device-read-iops"), false)?,
        blkio_device_write_iops: devices::throttles(&args.list("device-write-iops"), false)?,
        devices: device_list,
        device_cgroup_rules: args.some_strings("device-cgroup-rule"),
        device_requests: Some(requests).filter(|list| !list.is_empty()),
        memory_swappiness: args.int("memory-swappiness"),
        oom_kill_disable: args
            .was_given("oom-kill-disable")
            .then(|| args.is_set("oom-kill-disable")),
        ulimits: Some(ulimits).filter(|list| !list.is_empty()),
        ..limits(args)?
    })
}

/// What the flags of [`LIMITS`](super::flags::LIMITS) say, with zero for those that were not given.
pub fn limits(args: &Args) -> Result<Resources, Refusal> {
    let nano_cpus = match args.nonempty("cpus") {
        Some(cpus) => units::parse_nano_cpus(cpus)?,
        None => 0,
    };
    let weight = args.int("blkio-weight").unwrap_or(0);
    let blkio_weight = u16::try_from(weight)
        .map_err(|_| format!("the block I/O weight {weight} is out of range"))?;
    Ok(Resources {
        blkio_weight,
        cpu_period: args.int("cpu-period").unwrap_or(0),
        cpu_quota: args.int("cpu-quota").unwrap_or(0),
        cpu_realtime_period: args.int("cpu-rt-period").unwrap_or(0),
        cpu_realtime_runtime: args.int("cpu-rt-runtime").unwrap_or(0),
        cpu_shares: args.int("cpu-shares").unwrap_or(0),
        nano_cpus,
        cpuset_cpus: args.string("cpuset-cpus"),
        cpuset_mems: args.string("cpuset-mems"),
        memory: args.bytes("memory").unwrap_or(0),
        memory_reservation: args.bytes("memory-reservation").unwrap_or(0),
        memory_swap: args.bytes("memory-swap").unwrap_or(0),
        pids_limit: args.int("pids-limit"),
        ..Resources::default()
    })
}

/// The names of getrlimit(2), as Docker spells them.
const ULIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// `name=soft[:hard]`, -1 for no limit.
pub fn ulimit(text: &str) -> Result<Ulimit, Refusal> {
    let (name, limits) = text
        .split_once('=')
        .ok_or_else(|| format!("invalid ulimit argument: {text}"))?;
    if !ULIMITS.contains(&name) {
        return Err(format!("invalid ulimit type: {name}"));
    }
    let number = |part: &str| {
        part.parse::<i64>()
            .map_err(|_| format!("strconv.ParseInt: parsing {part:?}: invalid syntax"))
    };
    let (soft, hard) = match limits.split_once(':') {
        Some((_, hard)) if hard.contains(':') => {
            return Err(format!(
                "too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`"
            ));
        }
        Some((soft, hard)) => (number(soft)?, number(hard)?),
        None => (number(limits)?, number(limits)?),
    };
    if hard != -1 && (soft == -1 || soft > hard) {
        return Err(match soft {
            -1 => format!(
                "ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: {hard}"
            ),
            _ => format!(
                "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
            ),
        });
    }
    Ok(Ulimit {
        name: name.to_owned(),
        hard,
        soft,
    })
}

pub fn restart_policy(text: &str) -> Result<RestartPolicy, Refusal> {
    let (name, count) = match text.split_once(':') {
        Some(("", _)) => {
            return Err(
                "invalid restart policy format: no policy provided before colon".to_owned(),
            );
        }
        Some((name, count)) => {
            let count = count.parse().map_err(|_| {
                "invalid restart policy format: maximum retry count must be an integer".to_owned()
            })?;
            (name, count)
        }
        None => (text, 0),
    };
    Ok(RestartPolicy {
        name: name.to_owned(),
        maximum_retry_count: count,
    })
}

pub fn health(args: &Args) -> Result<Option<HealthConfig>, Refusal> {
    let names = [
        "health-cmd",
        "health-interval",
        "health-timeout",
        "health-start-period",
        "health-start-interval",
        "health-retries",
        "health-restart",
    ];
    let any = names.iter().any(|name| args.nonempty(name).is_some());
    if args.is_set("no-healthcheck") {
        if any {
            return Err("--no-healthcheck conflicts with --health-* options".to_owned());
        }
        return Ok(Some(HealthConfig {
            test: vec!["NONE".to_owned()],
            ..HealthConfig::default()
        }));
    }
    if !any {
        return Ok(None);
    }
    let retries = args.int("health-retries").unwrap_or(0);
    if retries < 0 {
        return Err("--health-retries cannot be negative".to_owned());
    }
    let restart = args.int("health-restart").unwrap_or(0);
    if restart < 0 {
        return Err("--health-restart cannot be negative".to_owned());
    }
    let test = match args.nonempty("health-cmd") {
        Some(command) => vec!["CMD-SHELL".to_owned(), command.to_owned()],
        None => Vec::new(),
    };
    Ok(Some(HealthConfig {
        test,
        interval: args.duration("health-interval").unwrap_or(0),
        timeout: args.duration("health-timeout").unwrap_or(0),
        start_period: args.duration("health-start-period").unwrap_or(0),
        start_interval: args.duration("health-start-interval").unwrap_or(0),
        retries,
        restart,
    }))
}

pub fn log_config(args: &Args) -> Result<LogConfig, Refusal> {
    let kind = args.string("log-driver");
    let config = environment::pairs(&args.list("log-opt"));
    if kind == "none" && !config.is_empty() {
        return Err("invalid logging opts for driver none".to_owned());
    }
    Ok(LogConfig { kind, config })
}

/// Whether `name=value` sets a parameter that a container may set.
pub fn check_sysctl(text: &str) -> Result<(), Refusal> {
    let allowed = text.split_once('=').is_some_and(|(name, _)| {
        IPC_SYSCTLS.contains(&name) || name.starts_with("net.") || name.starts_with("fs.mqueue.")
    });
    match allowed {
        true => Ok(()),
        false => Err(format!("sysctl '{text}' is not allowed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read() {
        let show = |text| ulimit(text).map(|u| (u.soft, u.hard));
        assert_eq!(show("nofile=1:2"), Ok((1, 2)));
        assert_eq!(show("nofile=5"), Ok((5, 5)));
        assert_eq!(show("core=-1"), Ok((-1, -1)));
        assert_eq!(show("core=5:-1"), Ok((5, -1)));
        for (bad, why) in [
            ("nofile", "invalid ulimit argument: nofile"),
            ("nope=1", "invalid ulimit type: nope"),
            (
                "nofile=2:1",
                "ulimit soft limit must be less than or equal to hard limit: 2 > 1",
            ),
            (
                "nofile=1:2:3",
                "too many limit value arguments - 1:2:3, can only have up to two, `soft[:hard]`",
            ),
            (
                "nofile=x",
                "strconv.ParseInt: parsing \"x\": invalid syntax",
            ),
        ] {
            assert_eq!(show(bad), Err(why.to_owned()));
        }
    }

    #[test]
    fn restart_policies_are_read() {
        assert_eq!(
            restart_policy("on-failure:3").unwrap().maximum_retry_count,
            3
        );
        assert_eq!(restart_policy("always").unwrap().name, "always");
        assert!(restart_policy(":3").is_err() && restart_policy("x:y").is_err());
    }
}
