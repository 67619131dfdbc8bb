//! What `/version` and `/info` say.

use std::collections::BTreeMap;

use dhow_api::{
    AddressPool, ApiVersion, ComponentVersion, DeviceInfo, FirewallInfo, IndexInfo, PlatformInfo,
    PluginsInfo, RegistryConfig, RuntimeInfo, SwarmInfo, SystemInfo, Version,
};

use crate::config::{Seccomp, masked};
use crate::routes::AppState;

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit it was built from, where that was known.
pub const COMMIT: &str = match option_env!("DHOW_GIT_COMMIT") {
    Some(commit) => commit,
    None => "",
};
/// When it was built, where that was said.
pub const BUILD_TIME: &str = match option_env!("DHOW_BUILD_TIME") {
    Some(time) => time,
    None => "",
};

/// The architecture by Go's name, which is the API's.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

pub fn version(experimental: bool) -> Version {
    let kernel = rustix::system::uname();
    let kernel = kernel.release().to_string_lossy().into_owned();
    let details = BTreeMap::from([
        ("ApiVersion".to_owned(), ApiVersion::MAX.to_string()),
        ("MinAPIVersion".to_owned(), ApiVersion::MIN.to_string()),
        ("Arch".to_owned(), architecture().to_owned()),
        ("Os".to_owned(), "linux".to_owned()),
        ("KernelVersion".to_owned(), kernel.clone()),
        ("GitCommit".to_owned(), COMMIT.to_owned()),
        ("BuildTime".to_owned(), BUILD_TIME.to_owned()),
        ("Experimental".to_owned(), experimental.to_string()),
    ]);
    Version {
        platform: PlatformInfo {
            name: "Dhow".to_owned(),
        },
        version: VERSION.to_owned(),
        api_version: ApiVersion::MAX.to_string(),
        min_api_version: ApiVersion::MIN.to_string(),
        os: "linux".to_owned(),
        arch: architecture().to_owned(),
        components: vec![ComponentVersion {
            name: "Engine".to_owned(),
            version: VERSION.to_owned(),
            details,
        }],
        git_commit: COMMIT.to_owned(),
        experimental,
        kernel_version: kernel,
        build_time: BUILD_TIME.to_owned(),
        ..Version::default()
    }
}

pub fn info(state: &AppState) -> SystemInfo {
    let engine = state.engine.info();
    let settings = state.settings.current();
    let config = &settings.config;
    let kernel = rustix::system::uname();
    let v1 = engine.cgroup_version == 1;
    let mut security = vec![];
    if engine.apparmor {
        security.push("name=apparmor".to_owned());
    }
    security.push(match &config.seccomp {
        Seccomp::Builtin => "name=seccomp,profile=builtin".to_owned(),
        Seccomp::Unconfined => "name=seccomp,profile=unconfined".to_owned(),
        Seccomp::Profile(path, _) => format!("name=seccomp,profile={}", path.display()),
    });
    if config.no_new_privileges {
        security.push("name=no-new-privileges".to_owned());
    }
    if !v1 {
        security.push("name=cgroupns".to_owned());
    }
    let mut warnings = Vec::new();
    if !engine.swap_limit {
        warnings.push("WARNING: No swap limit support".to_owned());
    }
    warnings.extend(crate::capacity::warnings(engine.running));
    SystemInfo {
        id: engine.id,
        containers: engine.containers,
        containers_running: engine.running,
        containers_paused: engine.paused,
        containers_stopped: engine.stopped,
        images: engine.images,
        driver: "overlay2".to_owned(),
        driver_status: [
            (
                "Backing Filesystem",
                backing_filesystem(&config.data_root).as_str(),
            ),
            ("Supports d_type", "true"),
            ("Native Overlay Diff", "true"),
        ]
        .map(|(name, value)| [name.to_owned(), value.to_owned()])
        .into(),
        plugins: PluginsInfo {
            volume: Some(vec!["local".to_owned()]),
            network: Some(
                ["bridge", "host", "ipvlan", "macvlan", "null"]
                    .map(str::to_owned)
                    .into(),
            ),
            authorization: None,
            log: Some(dhow_engine::logging::DRIVERS.map(str::to_owned).into()),
        },
        memory_limit: true,
        swap_limit: engine.swap_limit,
        cpu_cfs_period: true,
        cpu_cfs_quota: true,
        cpu_shares: true,
        cpu_set: true,
        pids_limit: true,
        ipv4_forwarding: read("/proc/sys/net/ipv4/ip_forward") == "1",
        debug: config.debug,
        n_fd: std::fs::read_dir("/proc/self/fd").map_or(0, |fds| count(fds.count())),
        oom_kill_disable: v1,
        n_goroutines: std::fs::read_dir("/proc/self/task").map_or(0, |t| count(t.count())),
        system_time: dhow_api::time::rfc3339_nano(dhow_api::time::now()),
        logging_driver: config.log_driver.clone(),
        cgroup_driver: "cgroupfs".to_owned(),
        cgroup_version: engine.cgroup_version.to_string(),
        n_events_listener: i64::try_from(engine.event_listeners).unwrap_or(i64::MAX),
        kernel_version: kernel.release().to_string_lossy().into_owned(),
        operating_system: os_release("PRETTY_NAME"),
        os_version: os_release("VERSION_ID"),
        os_type: "linux".to_owned(),
        architecture: kernel.machine().to_string_lossy().into_owned(),
        index_server_address: "https://index.docker.io/v1/".to_owned(),
        registry_config: registry_config(config),
        n_cpu: i64::from(engine.cpus),
        mem_total: i64::try_from(engine.memory).unwrap_or(i64::MAX),
        docker_root_dir: config.data_root.display().to_string(),
        http_proxy: proxy(&config.proxies.http, "HTTP_PROXY"),
        https_proxy: proxy(&config.proxies.https, "HTTPS_PROXY"),
        no_proxy: proxy(&config.proxies.no, "NO_PROXY"),
        name: kernel.nodename().to_string_lossy().into_owned(),
        labels: config.labels.clone(),
        server_version: VERSION.to_owned(),
        runtimes: BTreeMap::from([(
            "dhow".to_owned(),
            RuntimeInfo {
                path: "dhow".to_owned(),
                ..RuntimeInfo::default()
            },
        )]),
        default_runtime: "dhow".to_owned(),
        experimental_build: config.experimental,
        swarm: SwarmInfo {
            local_node_state: "inactive".to_owned(),
            ..SwarmInfo::default()
        },
        live_restore_enabled: true,
        init_binary: "dhow".to_owned(),
        security_options: security,
        default_address_pools: config
            .default_address_pools
            .iter()
            .map(|pool| AddressPool {
                base: pool.base.clone(),
                size: pool.size,
            })
            .collect(),
        firewall_backend: Some(FirewallInfo {
            driver: "nftables".to_owned(),
            info: Vec::new(),
        }),
        cdi_spec_dirs: config
            .cdi_spec_dirs
            .iter()
            .flatten()
            .map(|dir| dir.display().to_string())
            .collect(),
        warnings: Some(warnings).filter(|w| !w.is_empty()),
        ..SystemInfo::default()
    }
}

/// What vendors describe on this machine; of files that can't be read it is said why.
pub async fn add_devices(state: &AppState, info: &mut SystemInfo) {
    let settings = state.settings.current();
    let Some(dirs) = settings.config.cdi_spec_dirs.clone() else {
        return;
    };
    let warnings = info.warnings.get_or_insert_default();
    if dirs.is_empty() {
        warnings.push(
            "CDI cache initialization failed: no CDI specification directories specified"
                .to_owned(),
        );
    } else if let Ok(devices) =
        tokio::task::spawn_blocking(move || dhow_engine::Devices::read(&dirs)).await
    {
        let found = devices.names().map(|name| DeviceInfo {
            source: "cdi".to_owned(),
            id: name.to_owned(),
        });
        info.discovered_devices = found.collect();
        warnings.extend(devices.errors.iter().map(|(path, why)| {
            format!(
                "CDI: Error associated with spec file {}: {why}",
                path.display()
            )
        }));
    }
    if warnings.is_empty() {
        info.warnings = None;
    }
}

fn registry_config(config: &crate::config::Config) -> RegistryConfig {
    let index = |name: &str, official: bool, secure: bool, mirrors: &[String]| {
        let info = IndexInfo {
            name: name.to_owned(),
            mirrors: mirrors.to_vec(),
            secure,
            official,
        };
        (name.to_owned(), info)
    };
    let (networks, names): (Vec<&String>, Vec<&String>) = config
        .insecure_registries
        .iter()
        .partition(|r| r.contains('/'));
    let mut index_configs: BTreeMap<String, IndexInfo> = names
        .into_iter()
        .map(|name| index(name, false, false, &[]))
        .collect();
    index_configs.extend([index("docker.io", true, true, &config.registry_mirrors)]);
    let mut insecure_registry_cidrs: Vec<String> = networks.into_iter().cloned().collect();
    // Loopback is never asked for a certificate.
    insecure_registry_cidrs.extend(["::1/128", "127.0.0.0/8"].map(str::to_owned));
    RegistryConfig {
        insecure_registry_cidrs,
        index_configs,
        mirrors: Some(config.registry_mirrors.clone()),
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path)
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

/// A proxy as it is set, or as the environment has it; nobody is told a password.
fn proxy(set: &Option<String>, name: &str) -> String {
    let text = set.clone().or_else(|| {
        std::env::var(name)
            .or_else(|_| std::env::var(name.to_lowercase()))
            .ok()
    });
    masked(&text.unwrap_or_default())
}

pub fn os_release(key: &str) -> String {
    read("/etc/os-release")
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .map(|value| value.trim_matches('"').to_owned())
        .unwrap_or_else(|| "Linux".to_owned())
}

/// The file system under the data-root, by the kernel's name (statfs(2)).
fn backing_filesystem(data_root: &std::path::Path) -> String {
    let magic = rustix::fs::statfs(data_root).map_or(0, |found| found.f_type);
    let name = match u32::try_from(magic).unwrap_or(0) {
        0xef53 => "extfs",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x0102_1994 => "tmpfs",
        0x794c_7630 => "overlayfs",
        0x2fc1_2fc1 => "zfs",
        0xf2f5_2010 => "f2fs",
        _ => "unknown",
    };
    name.to_owned()
}
