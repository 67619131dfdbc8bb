//! The engine and its parts, as the configuration says.

use std::net::IpAddr;

use dhow_engine::{ContainerDefaults, DnsConfig, Engine, EngineConfig, LogDefaults};
use dhow_net::{AddressPool, Ipv4Net, NetConfig};
use dhow_runtime::Spawner;

use crate::config::{Config, ConfigError, Seccomp};
use crate::daemon::DaemonError;
use crate::{hello, info};

/// Opens the engine as the configuration wants it: with its recovery, before anything is served.
pub async fn open_engine(config: &Config, spawner: Spawner) -> Result<Engine, DaemonError> {
    let engine_config = EngineConfig {
        net: net_config(config)?,
        dns: DnsConfig {
            servers: config.dns.clone(),
            search: config.dns_search.clone(),
            options: config.dns_opts.clone(),
        },
        log: LogDefaults {
            driver: config.log_driver.clone(),
            options: config.log_opts.clone(),
        },
        defaults: defaults(config),
        distribution: distribution(config),
        labels: config.labels.clone(),
        debug: config.debug,
        ..EngineConfig::new(&config.data_root, &config.exec_root)
    };
    let (engine, report) = Engine::open(engine_config, spawner).await?;
    tracing::info!(
        version = info::VERSION,
        data_root = %config.data_root.display(),
        containers = report.containers,
        reconnected = report.reconnected,
        ended = report.ended,
        lost = report.lost,
        unstarted = report.unstarted,
        removed = report.removed,
        trashed = report.trashed,
        "engine open"
    );
    Ok(engine)
}

fn net_config(config: &Config) -> Result<NetConfig, DaemonError> {
    let defaults = NetConfig::default();
    let invalid = |key: &str, value: &str, expected: &str| {
        DaemonError::Config(ConfigError::Invalid(format!(
            "invalid {key} {value:?}: expected {expected}"
        )))
    };
    let subnet = |key: &str, value: &Option<String>| match value {
        None => Ok(None),
        Some(text) => text.parse::<Ipv4Net>().map(Some).map_err(|_| {
            invalid(
                key,
                text,
                "an IPv4 address with its prefix length, such as 172.17.0.1/16",
            )
        }),
    };
    let bridge = config
        .bridge
        .clone()
        .unwrap_or_else(|| defaults.bridge.clone());
    if bridge.is_empty() || bridge == "none" || bridge.len() > 15 {
        return Err(invalid(
            "bridge",
            &bridge,
            "the name of a network link, of at most 15 characters",
        ));
    }
    let pools = config
        .default_address_pools
        .iter()
        .map(|pool| match pool.base.parse::<Ipv4Net>() {
            Ok(base) if pool.size >= base.prefix_len() && pool.size <= 30 => Ok(AddressPool {
                base,
                size: pool.size,
            }),
            _ => Err(invalid(
                "default-address-pools",
                &format!("{} of size {}", pool.base, pool.size),
                "an IPv4 network, and a longer prefix of at most 30 as the size",
            )),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let publish_ip = match config.ip {
        None => defaults.publish_ip,
        Some(IpAddr::V4(ip)) => ip,
        Some(ip) => return Err(invalid("ip", &ip.to_string(), "an IPv4 address")),
    };
    Ok(NetConfig {
        // Daemons with bridges of their own can share a network namespace.
        table: if bridge == defaults.bridge {
            defaults.table
        } else {
            format!("{}_{bridge}", defaults.table)
        },
        bridge,
        bridge_ip: subnet("bip", &config.bip)?,
        fixed_cidr: subnet("fixed-cidr", &config.fixed_cidr)?,
        pools: if pools.is_empty() {
            defaults.pools
        } else {
            pools
        },
        // Docker takes zero as the default.
        mtu: config.mtu.filter(|mtu| *mtu > 0).unwrap_or(defaults.mtu),
        ip_forward: config.ip_forward,
        masquerade: config.ip_masq,
        icc: config.icc,
        publish_ip,
        ..NetConfig::default()
    })
}

/// The registries' client.
pub fn distribution(config: &Config) -> dhow_distribution::Config {
    dhow_distribution::Config {
        mirrors: config.registry_mirrors.clone(),
        insecure_registries: config.insecure_registries.clone(),
        embedded: Some(hello::embedded()),
        user_agent: format!("dhow/{} (linux; {})", info::VERSION, std::env::consts::ARCH),
        max_concurrent_downloads: config.max_concurrent_downloads,
        max_concurrent_uploads: config.max_concurrent_uploads,
        max_attempts: config.max_download_attempts,
        proxies: dhow_distribution::Proxies {
            http: config.proxies.http.clone(),
            https: config.proxies.https.clone(),
            no: config.proxies.no.clone(),
        },
        ..dhow_distribution::Config::default()
    }
}

/// What containers have that say nothing of their own.
pub fn defaults(config: &Config) -> ContainerDefaults {
    ContainerDefaults {
        ulimits: config.default_ulimits.clone(),
        stop_timeout: config.default_stop_timeout,
        shm_size: config.default_shm_size,
        ipc_mode: config.default_ipc_mode.clone(),
        cgroupns_mode: config.default_cgroupns_mode.clone(),
        cgroup_parent: config.cgroup_parent.clone(),
        init: config.init,
        no_new_privileges: config.no_new_privileges,
        device_dirs: config.cdi_spec_dirs.clone(),
        seccomp: match &config.seccomp {
            Seccomp::Builtin => None,
            Seccomp::Unconfined => Some("unconfined".to_owned()),
            Seccomp::Profile(_, profile) => Some(profile.clone()),
        },
    }
}
