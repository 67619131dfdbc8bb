//! Makes one configuration of the command line, the file and the defaults, and checks it.

use std::path::PathBuf;

use dhow_api::Ulimit;

use super::file::Size;
use super::{Called, Config, ConfigError, FileConfig, LogLevel, Proxies, Tls, values};
use crate::flags::Flags;
use crate::listen::{self, Host};

pub(super) fn merge(
    called: Called,
    flags: Flags,
    file: FileConfig,
    path: Option<PathBuf>,
) -> Result<Config, ConfigError> {
    let invalid = ConfigError::Invalid;
    let mut said = file.said.clone();
    if flags.live_restore.or(file.live_restore) == Some(false) {
        said.push("live-restore=false has no effect: containers never depend on the daemon".into());
    }
    if flags.iptables.or(file.iptables) == Some(false) {
        return Err(invalid(
            "iptables can't be switched off: publish no ports and set ip-masq to false instead"
                .to_owned(),
        ));
    }
    let tls = tls(&flags, &file);
    let hosts = [flags.host, file.hosts].concat();
    let hosts = if hosts.is_empty() {
        vec![called.host().to_owned()]
    } else {
        hosts
    };
    let hosts: Vec<Host> = hosts
        .iter()
        .map(|host| host.parse::<Host>().map_err(|e| invalid(e.to_string())))
        .collect::<Result<_, _>>()?;
    if let Some(host) = hosts.iter().find(|h| matches!(h, Host::Tcp(..)))
        && tls == Tls::Undecided
    {
        return Err(invalid(format!(
            "refusing to listen on {host} without TLS: whoever can connect is root on this machine. Give \
             --tlsverify with certificates, or --tls=false if that is what you want"
        )));
    }
    let debug = flags.debug.or(file.debug) == Some(true);
    let log_level = flags.log_level.or(file.log_level).unwrap_or_default();
    let mut default_ulimits: Vec<Ulimit> = file
        .default_ulimits
        .into_iter()
        .map(|(name, limit)| Ulimit {
            name,
            hard: limit.hard,
            soft: limit.soft.unwrap_or(limit.hard),
        })
        .collect();
    for text in &flags.default_ulimit {
        default_ulimits.push(values::ulimit(text)?);
    }
    let mut default_address_pools = file.default_address_pools;
    for text in &flags.default_address_pool {
        default_address_pools.push(values::address_pool(text)?);
    }
    let mut default_network_opts = file.default_network_opts;
    for text in &flags.default_network_opt {
        let (driver, key, value) = values::network_option(text)?;
        let of_driver = default_network_opts.entry(driver).or_default();
        of_driver.insert(key, value);
    }
    let mark = flags.bridge_accept_fwmark.or(file.bridge_accept_fwmark);
    let mark = mark.filter(|text| !text.is_empty());
    let bridge_accept_fwmark = mark.map(|text| values::mark(&text)).transpose()?;
    let mut log_opts = file.log_opts;
    for text in &flags.log_opt {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| invalid(format!("invalid log option {text:?}: expected KEY=VALUE")))?;
        log_opts.insert(key.to_owned(), value.to_owned());
    }
    let log_driver = flags
        .log_driver
        .or(file.log_driver)
        .unwrap_or_else(|| "json-file".to_owned());
    dhow_engine::logging::check_defaults(&log_driver, &log_opts)
        .map_err(|e| invalid(format!("failed to set log opts: {e}")))?;
    let labels = [flags.label, file.labels].concat();
    if let Some(bad) = labels
        .iter()
        .find(|label| label.split_once('=').is_none_or(|(k, _)| k.is_empty()))
    {
        return Err(invalid(format!(
            "invalid label {bad:?}: expected KEY=VALUE"
        )));
    }
    // Docker takes zero as the default.
    let or_default = |value: Option<usize>, default| value.filter(|n| *n > 0).unwrap_or(default);
    let mut features = file.features.clone();
    for text in &flags.feature {
        let (name, on) = values::feature(text)?;
        features.insert(name, on);
    }
    let (cdi_spec_dirs, unread) =
        values::cdi_spec_dirs(flags.cdi_spec_dir, file.cdi_spec_dirs, &features);
    said.extend(unread);
    for option in flags.exec_opt.iter().chain(&file.exec_opts) {
        said.extend(values::exec_opt(option)?);
    }
    let default_runtime = flags.default_runtime.or(file.default_runtime);
    let default_runtime = default_runtime.filter(|name| !name.is_empty());
    if let Some(other) = &default_runtime
        && !matches!(other.as_str(), "runc" | "dhow" | "io.containerd.runc.v2")
    {
        return Err(invalid(format!(
            "specified default runtime {other:?} does not exist: Dhow runs containers itself, which it calls \"runc\", as Docker does"
        )));
    }
    let default_ipc_mode = flags.default_ipc_mode.or(file.default_ipc_mode);
    let default_ipc_mode = values::ipc_mode(default_ipc_mode.unwrap_or_default())?;
    let default_cgroupns_mode = flags.default_cgroupns_mode.or(file.default_cgroupns_mode);
    let default_cgroupns_mode = values::cgroupns_mode(default_cgroupns_mode)?;
    let default_shm_size = match (&flags.default_shm_size, &file.default_shm_size) {
        (Some(text), _) | (None, Some(Size::Text(text))) => values::size("default-shm-size", text)?,
        (None, Some(Size::Bytes(bytes))) => *bytes,
        (None, None) => 0,
    };
    let default_stop_timeout = flags.default_stop_timeout.or(file.default_stop_timeout);
    if let Some(seconds) = default_stop_timeout.filter(|seconds| *seconds < 0) {
        return Err(invalid(format!("invalid default stop timeout: {seconds}")));
    }
    let text = |flag: Option<String>, key: Option<String>| flag.or(key).filter(|t| !t.is_empty());
    let seccomp = values::seccomp(flags.seccomp_profile.or(file.seccomp_profile))?;
    for host in flags.dns_search.iter().chain(&file.dns_search) {
        values::check_search_domain(host)?;
    }
    let metrics_addr = text(flags.metrics_addr, file.metrics_addr);
    let metrics_addr = metrics_addr.map(|address| values::metrics_address(&address));
    let metrics_addr = metrics_addr.transpose()?;
    let dns = [flags.dns, file.dns].concat();
    let dns = dns.iter().map(|server| values::name_server(server));
    let dns = dns.collect::<Result<_, _>>()?;
    Ok(Config {
        said,
        raw_logs: flags.raw_logs.or(file.raw_logs).unwrap_or(false),
        metrics_addr,
        max_download_attempts: flags
            .max_download_attempts
            .or(file.max_download_attempts)
            .filter(|attempts| *attempts > 0)
            .unwrap_or(5),
        proxies: Proxies {
            http: text(flags.http_proxy, file.http_proxy),
            https: text(flags.https_proxy, file.https_proxy),
            no: text(flags.no_proxy, file.no_proxy),
        },
        default_shm_size: if default_shm_size > 0 {
            default_shm_size
        } else {
            64 << 20
        },
        default_ipc_mode,
        default_cgroupns_mode,
        default_stop_timeout: default_stop_timeout.unwrap_or(10),
        default_runtime: default_runtime.unwrap_or_else(|| "runc".to_owned()),
        cgroup_parent: text(flags.cgroup_parent, file.cgroup_parent).unwrap_or_default(),
        init: flags.init.or(file.init).unwrap_or(false),
        no_new_privileges: flags
            .no_new_privileges
            .or(file.no_new_privileges)
            .unwrap_or(false),
        seccomp,
        cdi_spec_dirs,
        features,
        experimental: flags.experimental.or(file.experimental).unwrap_or(false),
        hosts,
        group: flags.group.or(file.group).or_else(|| {
            let own = called == Called::Dockerd && listen::has_group("docker");
            own.then(|| "docker".to_owned())
        }),
        data_root: flags
            .data_root
            .or(file.data_root)
            .unwrap_or_else(|| "/var/lib/dhow".into()),
        exec_root: flags
            .exec_root
            .or(file.exec_root)
            .unwrap_or_else(|| "/run/dhow".into()),
        pidfile: flags
            .pidfile
            .or(file.pidfile)
            .or_else(|| (called == Called::Dockerd).then(|| "/var/run/docker.pid".into())),
        file: path,
        log_level: if debug { LogLevel::Debug } else { log_level },
        log_format: flags.log_format.or(file.log_format).unwrap_or_default(),
        debug,
        tls,
        registry_mirrors: [flags.registry_mirror, file.registry_mirrors].concat(),
        insecure_registries: [flags.insecure_registry, file.insecure_registries].concat(),
        max_concurrent_downloads: or_default(
            flags
                .max_concurrent_downloads
                .or(file.max_concurrent_downloads),
            3,
        ),
        max_concurrent_uploads: or_default(
            flags.max_concurrent_uploads.or(file.max_concurrent_uploads),
            5,
        ),
        bridge: flags.bridge.or(file.bridge),
        bip: flags.bip.or(file.bip),
        fixed_cidr: flags.fixed_cidr.or(file.fixed_cidr),
        ipv6: flags.ipv6.or(file.ipv6).unwrap_or(false),
        bip6: flags.bip6.or(file.bip6),
        fixed_cidr_v6: flags.fixed_cidr_v6.or(file.fixed_cidr_v6),
        default_address_pools,
        mtu: flags.mtu.or(file.mtu),
        ip: flags.ip.or(file.ip),
        ip_forward: flags.ip_forward.or(file.ip_forward).unwrap_or(true),
        ip_masq: flags.ip_masq.or(file.ip_masq).unwrap_or(true),
        icc: flags.icc.or(file.icc).unwrap_or(true),
        bridge_names: flags.bridge_names.or(file.bridge_names).unwrap_or(false),
        allow_direct_routing: flags
            .allow_direct_routing
            .or(file.allow_direct_routing)
            .unwrap_or(false),
        bridge_accept_fwmark,
        host_firewall: flags.host_firewall.or(file.host_firewall).unwrap_or(false),
        default_network_opts,
        dns,
        dns_search: [flags.dns_search, file.dns_search].concat(),
        dns_opts: [flags.dns_opt, file.dns_opts].concat(),
        default_ulimits,
        log_driver,
        log_opts,
        labels,
        shutdown_timeout: flags
            .shutdown_timeout
            .or(file.shutdown_timeout)
            .unwrap_or(15),
        oom_score_adjust: flags.oom_score_adjust.or(file.oom_score_adjust),
    })
}

fn tls(flags: &Flags, file: &FileConfig) -> Tls {
    let verify = flags.tlsverify.or(file.tlsverify) == Some(true);
    match flags.tls.or(file.tls) {
        Some(false) if !verify => return Tls::Off,
        None if !verify => return Tls::Undecided,
        _ => {}
    }
    let home = std::env::var_os("DOCKER_CERT_PATH").map_or_else(
        || {
            let home = std::env::var_os("HOME").unwrap_or_else(|| "/root".into());
            PathBuf::from(home).join(".docker")
        },
        PathBuf::from,
    );
    let file_or = |flag: &Option<PathBuf>, key: &Option<PathBuf>, name: &str| {
        flag.clone()
            .or_else(|| key.clone())
            .unwrap_or_else(|| home.join(name))
    };
    Tls::On {
        certificate: file_or(&flags.tlscert, &file.tlscert, "cert.pem"),
        key: file_or(&flags.tlskey, &file.tlskey, "key.pem"),
        client_ca: verify.then(|| file_or(&flags.tlscacert, &file.tlscacert, "ca.pem")),
    }
}
