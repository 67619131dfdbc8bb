//! The engine and its parts, as the configuration says.

use std::net::IpAddr;

use dhow_engine::{ContainerDefaults, DnsConfig, Engine, EngineConfig, LogDefaults};
use dhow_net::{AddressPool, IpNet, Ipv4Net, Ipv6Config, Ipv6Net, NetConfig};
use dhow_runtime::Spawner;

use crate::config::{Config, ConfigError, Seccomp};
use crate::daemon::DaemonError;
use crate::{capacity, hello, info};

/// Opens the engine as the configuration wants it: with its recovery, before anything is served.
pub async fn open_engine(config: &Config, spawner: Spawner) -> Result<Engine, DaemonError> {
    let engine_config = EngineConfig {
        net: net_config(config)?,
        dns: DnsConfig {
            servers: config.dns.clone(),
            search: config.dns_search.clone(),
            options: config.dns_opts.clone(),
            on_bridge: config.bridge_names,
        },
        network_options: config.default_network_opts.clone(),
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
    // Lossless: a usize has 64 bits on all processors that there is a build for.
    for warning in capacity::warnings(report.reconnected as u64) {
        tracing::warn!("{warning}");
    }
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
        .map(|pool| match pool.base.parse::<IpNet>() {
            Ok(base) if (base.prefix_len()..=base.max_prefix_len() - 2).contains(&pool.size) => {
                Ok(AddressPool {
                    base,
                    size: pool.size,
                })
            }
            _ => Err(invalid(
                "default-address-pools",
                &format!("{} of size {}", pool.base, pool.size),
                "a network, and a longer prefix as the size: at most 30, of IPv6 126",
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
        ipv6: ipv6(config)?,
        // Those of a family that are given are all of that family.
        pools: match pools.iter().any(|pool| matches!(pool.base, IpNet::V4(_))) {
            true => pools,
            false => [defaults.pools, pools].concat(),
        },
        // Docker takes zero as the default.
        mtu: config.mtu.filter(|mtu| *mtu > 0).unwrap_or(defaults.mtu),
        ip_forward: config.ip_forward,
        masquerade: config.ip_masq,
        icc: config.icc,
        direct_routing: config.allow_direct_routing,
        accept_mark: config.bridge_accept_fwmark,
        host_firewall: config.host_firewall,
        publish_ip,
        ..NetConfig::default()
    })
}

/// What the default network has of IPv6. As in Docker `fixed-cidr-v6` alone is the subnet.
fn ipv6(config: &Config) -> Result<Option<Ipv6Config>, DaemonError> {
    let net = |key: &str, value: &Option<String>| {
        let parse = |text: &String| {
            text.parse::<Ipv6Net>().map_err(|_| {
                DaemonError::Config(ConfigError::Invalid(format!(
                    "invalid {key} {text:?}: expected an IPv6 network with its prefix length, such as fd00:1::/64"
                )))
            })
        };
        value.as_ref().map(parse).transpose()
    };
    let (bip6, range) = (
        net("bip6", &config.bip6)?,
        net("fixed-cidr-v6", &config.fixed_cidr_v6)?,
    );
    if !config.ipv6 {
        return Ok(None);
    }
    let first = |subnet: Ipv6Net| {
        let first = std::net::Ipv6Addr::from(u128::from(subnet.network()) + 1);
        Ipv6Net::new_assert(first, subnet.prefix_len())
    };
    Ok(Some(Ipv6Config {
        address: bip6.or(range.map(first)),
        range,
        masquerade: config.ip_masq,
        ..Ipv6Config::default()
    }))
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
