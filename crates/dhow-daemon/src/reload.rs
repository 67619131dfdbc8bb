//! Reading the configuration file again, on SIGHUP: what Docker changes in a running daemon is changed, all of it or, if
//! the file is bad, nothing. Settings that the file no longer has are the default's or the command line's again.

use std::collections::BTreeMap;
use std::ffi::OsString;

use dhow_distribution::Client;
use dhow_engine::Engine;

use crate::config::{Called, Config};
use crate::logging::LevelHandle;
use crate::settings::Settings;
use crate::setup;

/// Reads the command line and the file again.
pub async fn reload(
    called: Called,
    arguments: &[OsString],
    settings: &Settings,
    engine: &Engine,
    level: &LevelHandle,
) {
    let arguments = arguments.to_vec();
    let loaded = tokio::task::spawn_blocking(move || Config::load_as(called, arguments)).await;
    let read = match loaded {
        Ok(Ok((config, _))) => config,
        Ok(Err(e)) => return tracing::error!("the configuration is not changed: {e}"),
        Err(e) => return tracing::error!("the configuration is not changed: {e}"),
    };
    let old = settings.current();
    for line in &read.said {
        tracing::info!("{line}");
    }
    let waits = waiting(&old.config, &read);
    let config = merged(&old.config, read);
    let distribution = match Client::new(setup::distribution(&config)) {
        Ok(distribution) => distribution,
        Err(e) => return tracing::error!("the configuration is not changed: {e}"),
    };
    level.set(config.log_level);
    engine.set_container_defaults(setup::defaults(&config));
    let attributes = attributes(&config);
    settings.replace(config, distribution);
    tracing::info!("configuration read again");
    if !waits.is_empty() {
        tracing::warn!(
            settings = waits.join(", "),
            "these changed, too, and count from the daemon's next start on"
        );
    }
    let attributes: Vec<(&str, String)> = attributes.into_iter().collect();
    engine.events().publish_of_daemon("reload", &attributes);
}

/// The old configuration with those of the new one that can change.
fn merged(old: &Config, new: Config) -> Config {
    Config {
        debug: new.debug,
        log_level: new.log_level,
        labels: new.labels,
        registry_mirrors: new.registry_mirrors,
        insecure_registries: new.insecure_registries,
        max_concurrent_downloads: new.max_concurrent_downloads,
        max_concurrent_uploads: new.max_concurrent_uploads,
        max_download_attempts: new.max_download_attempts,
        proxies: new.proxies,
        shutdown_timeout: new.shutdown_timeout,
        default_stop_timeout: new.default_stop_timeout,
        default_shm_size: new.default_shm_size,
        default_ipc_mode: new.default_ipc_mode,
        default_cgroupns_mode: new.default_cgroupns_mode,
        default_runtime: new.default_runtime,
        features: new.features,
        ..old.clone()
    }
}

/// Which of the others changed.
fn waiting(old: &Config, new: &Config) -> Vec<&'static str> {
    [
        ("hosts", old.hosts != new.hosts),
        ("group", old.group != new.group),
        ("data-root", old.data_root != new.data_root),
        ("exec-root", old.exec_root != new.exec_root),
        ("pidfile", old.pidfile != new.pidfile),
        ("log-format", old.log_format != new.log_format),
        ("raw-logs", old.raw_logs != new.raw_logs),
        ("metrics-addr", old.metrics_addr != new.metrics_addr),
        ("tls", old.tls != new.tls),
        ("bridge", old.bridge != new.bridge),
        ("bip", old.bip != new.bip),
        ("fixed-cidr", old.fixed_cidr != new.fixed_cidr),
        ("ipv6", old.ipv6 != new.ipv6),
        ("bip6", old.bip6 != new.bip6),
        ("fixed-cidr-v6", old.fixed_cidr_v6 != new.fixed_cidr_v6),
        (
            "default-address-pools",
            old.default_address_pools != new.default_address_pools,
        ),
        ("mtu", old.mtu != new.mtu),
        ("ip", old.ip != new.ip),
        ("ip-forward", old.ip_forward != new.ip_forward),
        ("ip-masq", old.ip_masq != new.ip_masq),
        ("icc", old.icc != new.icc),
        ("bridge-names", old.bridge_names != new.bridge_names),
        (
            "allow-direct-routing",
            old.allow_direct_routing != new.allow_direct_routing,
        ),
        (
            "bridge-accept-fwmark",
            old.bridge_accept_fwmark != new.bridge_accept_fwmark,
        ),
        ("host-firewall", old.host_firewall != new.host_firewall),
        (
            "default-network-opts",
            old.default_network_opts != new.default_network_opts,
        ),
        ("dns", old.dns != new.dns),
        ("dns-search", old.dns_search != new.dns_search),
        ("dns-opts", old.dns_opts != new.dns_opts),
        (
            "default-ulimits",
            old.default_ulimits != new.default_ulimits,
        ),
        ("cgroup-parent", old.cgroup_parent != new.cgroup_parent),
        ("init", old.init != new.init),
        (
            "no-new-privileges",
            old.no_new_privileges != new.no_new_privileges,
        ),
        ("seccomp-profile", old.seccomp != new.seccomp),
        ("log-driver", old.log_driver != new.log_driver),
        ("log-opts", old.log_opts != new.log_opts),
        ("experimental", old.experimental != new.experimental),
        ("cdi-spec-dirs", old.cdi_spec_dirs != new.cdi_spec_dirs),
    ]
    .into_iter()
    .filter_map(|(key, changed)| changed.then_some(key))
    .collect()
}

/// What the event says: all that can change, as it is now, written as Docker writes it.
fn attributes(config: &Config) -> BTreeMap<&'static str, String> {
    let list = |items: &[String]| serde_json::to_string(items).unwrap_or_default();
    let features: Vec<String> = config
        .features
        .iter()
        .map(|(name, on)| format!("{name}:{on}"))
        .collect();
    BTreeMap::from([
        ("debug", config.debug.to_string()),
        (
            "default-cgroupns-mode",
            config.default_cgroupns_mode.clone().unwrap_or_default(),
        ),
        ("default-ipc-mode", config.default_ipc_mode.clone()),
        ("default-runtime", config.default_runtime.clone()),
        ("default-shm-size", config.default_shm_size.to_string()),
        (
            "default-stop-timeout",
            config.default_stop_timeout.to_string(),
        ),
        ("features", format!("map[{}]", features.join(" "))),
        ("insecure-registries", list(&config.insecure_registries)),
        ("labels", list(&config.labels)),
        ("live-restore", "true".to_owned()),
        (
            "max-concurrent-downloads",
            config.max_concurrent_downloads.to_string(),
        ),
        (
            "max-concurrent-uploads",
            config.max_concurrent_uploads.to_string(),
        ),
        (
            "max-download-attempts",
            config.max_download_attempts.to_string(),
        ),
        ("registry-mirrors", list(&config.registry_mirrors)),
        ("runtimes", "runc:dhow".to_owned()),
        ("shutdown-timeout", config.shutdown_timeout.to_string()),
    ])
}
