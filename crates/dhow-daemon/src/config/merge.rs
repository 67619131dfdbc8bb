//! Makes one configuration of the command line, the file and the defaults, and checks it.

use std::path::PathBuf;

use dhow_api::Ulimit;

use super::{Config, ConfigError, DEFAULT_HOST, FileConfig, LogLevel, Tls, values};
use crate::flags::Flags;
use crate::listen::Host;

pub(super) fn merge(
    flags: Flags,
    file: FileConfig,
    path: Option<PathBuf>,
) -> Result<Config, ConfigError> {
    let invalid = ConfigError::Invalid;
    if flags.live_restore.or(file.live_restore) == Some(false) {
        return Err(invalid(
            "live-restore can't be switched off: containers never depend on the daemon".to_owned(),
        ));
    }
    if file.iptables == Some(false) {
        return Err(invalid(
            "iptables can't be switched off: publish no ports and set ip-masq to false instead"
                .to_owned(),
        ));
    }
    let tls = tls(&flags, &file);
    let hosts = [flags.host, file.hosts].concat();
    let hosts = if hosts.is_empty() {
        vec![DEFAULT_HOST.to_owned()]
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
    let debug = flags.debug || file.debug == Some(true);
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
    let mut log_opts = file.log_opts;
    for text in &flags.log_opt {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| invalid(format!("invalid log option {text:?}: expected KEY=VALUE")))?;
        log_opts.insert(key.to_owned(), value.to_owned());
    }
    let labels = [flags.label, file.labels].concat();
    if let Some(bad) = labels
        .iter()
        .find(|label| label.split_once('=').is_none_or(|(k, _)| k.is_empty()))
    {
        return Err(invalid(format!(
            "invalid label {bad:?}: expected KEY=VALUE"
        )));
    }
    let at_least_one = |name: &str, value: Option<usize>, default: usize| match value {
        Some(0) => Err(invalid(format!("{name} must be at least 1"))),
        Some(n) => Ok(n),
        None => Ok(default),
    };
    Ok(Config {
        hosts,
        group: flags.group.or(file.group),
        data_root: flags
            .data_root
            .or(file.data_root)
            .unwrap_or_else(|| "/var/lib/dhow".into()),
        exec_root: flags
            .exec_root
            .or(file.exec_root)
            .unwrap_or_else(|| "/run/dhow".into()),
        pidfile: flags.pidfile.or(file.pidfile),
        file: path,
        log_level: if debug { LogLevel::Debug } else { log_level },
        log_format: flags.log_format.or(file.log_format).unwrap_or_default(),
        debug,
        tls,
        registry_mirrors: [flags.registry_mirror, file.registry_mirrors].concat(),
        insecure_registries: [flags.insecure_registry, file.insecure_registries].concat(),
        max_concurrent_downloads: at_least_one(
            "max-concurrent-downloads",
            flags
                .max_concurrent_downloads
                .or(file.max_concurrent_downloads),
            3,
        )?,
        max_concurrent_uploads: at_least_one(
            "max-concurrent-uploads",
            flags.max_concurrent_uploads.or(file.max_concurrent_uploads),
            5,
        )?,
        bridge: flags.bridge.or(file.bridge),
        bip: flags.bip.or(file.bip),
        fixed_cidr: flags.fixed_cidr.or(file.fixed_cidr),
        default_address_pools,
        mtu: flags.mtu.or(file.mtu),
        ip: flags.ip.or(file.ip),
        ip_forward: flags.ip_forward.or(file.ip_forward).unwrap_or(true),
        ip_masq: flags.ip_masq.or(file.ip_masq).unwrap_or(true),
        icc: flags.icc.or(file.icc).unwrap_or(true),
        dns: [flags.dns, file.dns].concat(),
        dns_search: [flags.dns_search, file.dns_search].concat(),
        dns_opts: [flags.dns_opt, file.dns_opts].concat(),
        default_ulimits,
        log_driver: flags
            .log_driver
            .or(file.log_driver)
            .unwrap_or_else(|| "json-file".to_owned()),
        log_opts,
        labels,
        shutdown_timeout: flags
            .shutdown_timeout
            .or(file.shutdown_timeout)
            .unwrap_or(15),
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
