//! The configuration file: a JSON object with Docker's keys, each known, there once, and not also given as a flag.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use clap::parser::ValueSource;
use dhow_engine::DefaultOptions;
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::{Map, Value};

use super::not_here::{self, NOT_HERE};
use super::{AddressPool, ConfigError, LogFormat, LogLevel, values};

/// The keys of the file with the flag of the same meaning, where there is one.
pub const KEYS: [(&str, &str); 64] = [
    ("hosts", "host"),
    ("group", "group"),
    ("data-root", "data_root"),
    ("exec-root", "exec_root"),
    ("pidfile", "pidfile"),
    ("debug", "debug"),
    ("log-level", "log_level"),
    ("log-format", "log_format"),
    ("raw-logs", "raw_logs"),
    ("metrics-addr", "metrics_addr"),
    ("tls", "tls"),
    ("tlsverify", "tlsverify"),
    ("tlscacert", "tlscacert"),
    ("tlscert", "tlscert"),
    ("tlskey", "tlskey"),
    ("registry-mirrors", "registry_mirror"),
    ("insecure-registries", "insecure_registry"),
    ("max-concurrent-downloads", "max_concurrent_downloads"),
    ("max-concurrent-uploads", "max_concurrent_uploads"),
    ("max-download-attempts", "max_download_attempts"),
    ("http-proxy", "http_proxy"),
    ("https-proxy", "https_proxy"),
    ("no-proxy", "no_proxy"),
    ("bridge", "bridge"),
    ("bip", "bip"),
    ("fixed-cidr", "fixed_cidr"),
    ("ipv6", "ipv6"),
    ("bip6", "bip6"),
    ("fixed-cidr-v6", "fixed_cidr_v6"),
    ("default-address-pools", "default_address_pool"),
    ("mtu", "mtu"),
    ("ip", "ip"),
    ("ip-forward", "ip_forward"),
    ("ip-masq", "ip_masq"),
    ("iptables", "iptables"),
    ("icc", "icc"),
    ("bridge-names", "bridge_names"),
    ("allow-direct-routing", "allow_direct_routing"),
    ("bridge-accept-fwmark", "bridge_accept_fwmark"),
    ("host-firewall", "host_firewall"),
    ("default-network-opts", "default_network_opt"),
    ("dns", "dns"),
    ("dns-search", "dns_search"),
    ("dns-opts", "dns_opt"),
    ("default-ulimits", "default_ulimit"),
    ("default-shm-size", "default_shm_size"),
    ("default-ipc-mode", "default_ipc_mode"),
    ("default-cgroupns-mode", "default_cgroupns_mode"),
    ("default-stop-timeout", "default_stop_timeout"),
    ("default-runtime", "default_runtime"),
    ("cgroup-parent", "cgroup_parent"),
    ("exec-opts", "exec_opt"),
    ("init", "init"),
    ("no-new-privileges", "no_new_privileges"),
    ("seccomp-profile", "seccomp_profile"),
    ("log-driver", "log_driver"),
    ("log-opts", "log_opt"),
    ("labels", "label"),
    ("cdi-spec-dirs", "cdi_spec_dir"),
    ("features", "feature"),
    ("experimental", "experimental"),
    ("live-restore", "live_restore"),
    ("shutdown-timeout", "shutdown_timeout"),
    ("oom-score-adjust", "oom_score_adjust"),
];

/// The file's values.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(super) struct FileConfig {
    pub hosts: Vec<String>,
    pub group: Option<String>,
    pub data_root: Option<PathBuf>,
    pub exec_root: Option<PathBuf>,
    pub pidfile: Option<PathBuf>,
    pub debug: Option<bool>,
    pub log_level: Option<LogLevel>,
    pub log_format: Option<LogFormat>,
    pub tls: Option<bool>,
    pub tlsverify: Option<bool>,
    pub tlscacert: Option<PathBuf>,
    pub tlscert: Option<PathBuf>,
    pub tlskey: Option<PathBuf>,
    pub registry_mirrors: Vec<String>,
    pub insecure_registries: Vec<String>,
    pub max_concurrent_downloads: Option<usize>,
    pub max_concurrent_uploads: Option<usize>,
    pub bridge: Option<String>,
    pub bip: Option<String>,
    pub fixed_cidr: Option<String>,
    pub ipv6: Option<bool>,
    pub bip6: Option<String>,
    pub fixed_cidr_v6: Option<String>,
    pub default_address_pools: Vec<AddressPool>,
    pub mtu: Option<u32>,
    pub ip: Option<IpAddr>,
    pub ip_forward: Option<bool>,
    pub ip_masq: Option<bool>,
    pub icc: Option<bool>,
    pub bridge_names: Option<bool>,
    pub allow_direct_routing: Option<bool>,
    pub bridge_accept_fwmark: Option<String>,
    pub host_firewall: Option<bool>,
    pub default_network_opts: DefaultOptions,
    pub dns: Vec<String>,
    pub dns_search: Vec<String>,
    pub dns_opts: Vec<String>,
    pub default_ulimits: BTreeMap<String, FileUlimit>,
    pub log_driver: Option<String>,
    pub log_opts: BTreeMap<String, String>,
    pub labels: Vec<String>,
    pub live_restore: Option<bool>,
    pub shutdown_timeout: Option<i64>,
    pub iptables: Option<bool>,
    pub oom_score_adjust: Option<i32>,
    pub raw_logs: Option<bool>,
    pub metrics_addr: Option<String>,
    pub max_download_attempts: Option<u32>,
    pub http_proxy: Option<String>,
    pub https_proxy: Option<String>,
    pub no_proxy: Option<String>,
    pub default_shm_size: Option<Size>,
    pub default_ipc_mode: Option<String>,
    pub default_cgroupns_mode: Option<String>,
    pub default_stop_timeout: Option<i64>,
    pub default_runtime: Option<String>,
    pub cgroup_parent: Option<String>,
    pub exec_opts: Vec<String>,
    pub init: Option<bool>,
    pub no_new_privileges: Option<bool>,
    pub seccomp_profile: Option<String>,
    pub cdi_spec_dirs: Option<Vec<String>>,
    pub features: BTreeMap<String, bool>,
    pub experimental: Option<bool>,
    /// Of what is taken without effect.
    #[serde(skip)]
    pub said: Vec<String>,
}

/// A number of bytes, also as Docker writes them: `64m`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Size {
    Bytes(i64),
    Text(String),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct FileUlimit {
    #[serde(default)]
    pub soft: Option<i64>,
    pub hard: i64,
}

/// Reads the file. Conflicts with the command line are errors.
pub(super) fn read(path: &Path, matches: &ArgMatches) -> Result<FileConfig, ConfigError> {
    let error = |reason: String| ConfigError::File {
        path: path.to_owned(),
        reason,
    };
    let text = std::fs::read_to_string(path).map_err(|e| error(e.to_string()))?;
    let text = text.trim_start_matches('\u{feff}');
    if text.trim().is_empty() {
        return Ok(FileConfig::default());
    }
    let Directives(directives) =
        serde_json::from_str(text).map_err(|e| error(format!("invalid JSON: {e}")))?;
    let directives = flat(directives);
    let unknown: Vec<&str> = directives
        .iter()
        .map(|(key, _)| key.as_str())
        .filter(|key| {
            !KEYS.iter().any(|(known, _)| known == key)
                && !NOT_HERE.iter().any(|setting| setting.key == *key)
        })
        .collect();
    if !unknown.is_empty() {
        return Err(error(format!(
            "the following directives don't match any configuration option: {}",
            unknown.join(", ")
        )));
    }
    let mut twice: Vec<&str> = Vec::new();
    for (i, (key, _)) in directives.iter().enumerate() {
        if directives[..i].iter().any(|(earlier, _)| earlier == key)
            && !twice.contains(&key.as_str())
        {
            twice.push(key);
        }
    }
    if !twice.is_empty() {
        return Err(error(format!(
            "the following directives are specified more than once: {}",
            twice.join(", ")
        )));
    }
    let not_here = NOT_HERE
        .iter()
        // Those of both places are put together.
        .filter(|setting| setting.key != "runtimes")
        .map(|setting| (setting.key, setting.flag));
    let conflicts: Vec<String> = KEYS
        .into_iter()
        .chain(not_here)
        .filter(|(_, flag)| {
            !flag.is_empty() && matches.value_source(flag) == Some(ValueSource::CommandLine)
        })
        .filter_map(|(key, flag)| {
            let (_, value) = directives.iter().find(|(k, _)| k == key)?;
            let (flag, file) = (flag_text(matches, flag), GoValue(value).to_string());
            let (flag, file) = match key {
                "http-proxy" | "https-proxy" => (values::masked(&flag), values::masked(&file)),
                _ => (flag, file),
            };
            Some(format!("{key}: (from flag: {flag}, from file: {file})"))
        })
        .collect();
    if !conflicts.is_empty() {
        return Err(error(format!(
            "the following directives are specified both as a flag and in the configuration file: {}",
            conflicts.join(", ")
        )));
    }
    let mut values: Map<String, Value> = directives
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .collect();
    let said = not_here::of_file(&mut values).map_err(error)?;
    let mut config = serde_path(values).map_err(error)?;
    config.said = said;
    Ok(config)
}

/// The proxies may be in an object of their own.
fn flat(directives: Vec<(String, Value)>) -> Vec<(String, Value)> {
    let mut flat = Vec::new();
    for (key, value) in directives {
        match value {
            Value::Object(entries) if key == "proxies" => flat.extend(entries),
            value => flat.push((key, value)),
        }
    }
    flat
}

/// Converts one key at a time, so that an error can name it.
fn serde_path(values: Map<String, Value>) -> Result<FileConfig, String> {
    for (key, value) in &values {
        let one = Map::from_iter([(key.clone(), value.clone())]);
        if let Err(e) = serde_json::from_value::<FileConfig>(Value::Object(one)) {
            return Err(format!("{key}: {e}"));
        }
    }
    serde_json::from_value(Value::Object(values)).map_err(|e| e.to_string())
}

fn flag_text(matches: &ArgMatches, flag: &str) -> String {
    let values: Vec<String> = matches
        .get_raw(flag)
        .into_iter()
        .flatten()
        .map(|v| v.to_string_lossy().into_owned())
        .collect();
    match values.as_slice() {
        [] => "true".to_owned(),
        [one] => one.clone(),
        many => format!("[{}]", many.join(" ")),
    }
}

/// A value as Go's `%v` prints it, as it is in Docker's messages.
struct GoValue<'a>(&'a Value);

impl fmt::Display for GoValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::String(text) => f.write_str(text),
            Value::Array(items) => {
                f.write_str("[")?;
                for (i, item) in items.iter().enumerate() {
                    let space = if i == 0 { "" } else { " " };
                    write!(f, "{space}{}", GoValue(item))?;
                }
                f.write_str("]")
            }
            other => write!(f, "{other}"),
        }
    }
}

/// The file's object, with every key as often as it is there.
struct Directives(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Directives {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Directives, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Directives;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of directives")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Directives, A::Error> {
                let mut all = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    all.push(entry);
                }
                Ok(Directives(all))
            }
        }
        deserializer.deserialize_map(All)
    }
}
