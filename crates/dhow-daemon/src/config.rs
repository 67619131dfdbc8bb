//! The daemon's configuration: the command line and the configuration file, checked and made one.
//!
//! The file has Docker's keys. A key that is not known, one that is there twice, and one that is also
//! given as a flag are errors that name it: a setting that silently loses is worse than no daemon.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches};
use dhow_api::Ulimit;
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::flags::Flags;
use crate::listen::Host;

/// Where the file is looked for.
pub const DEFAULT_FILE: &str = "/etc/dhow/daemon.json";
/// Where the API is served.
pub const DEFAULT_HOST: &str = "unix:///run/dhow.sock";

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(transparent)]
    Usage(#[from] clap::Error),
    #[error("unable to configure the Dhow daemon with file {path}: {reason}")]
    File { path: PathBuf, reason: String },
    #[error("{0}")]
    Invalid(String),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Debug,
    #[default]
    Info,
    Warn,
    Error,
    Fatal,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Addresses to cut networks from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AddressPool {
    pub base: String,
    pub size: u8,
}

/// How TCP is protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Nobody said: TCP is refused.
    Undecided,
    /// Expressly without.
    Off,
    On {
        certificate: PathBuf,
        key: PathBuf,
        /// With `--tlsverify`.
        client_ca: Option<PathBuf>,
    },
}

/// The configuration, complete and checked.
#[derive(Clone, Debug)]
pub struct Config {
    pub hosts: Vec<Host>,
    pub group: Option<String>,
    pub data_root: PathBuf,
    pub exec_root: PathBuf,
    pub pidfile: Option<PathBuf>,
    /// The file that was read, and is read again on SIGHUP.
    pub file: Option<PathBuf>,
    pub log_level: LogLevel,
    pub log_format: LogFormat,
    pub debug: bool,
    pub tls: Tls,
    pub registry_mirrors: Vec<String>,
    pub insecure_registries: Vec<String>,
    pub max_concurrent_downloads: usize,
    pub max_concurrent_uploads: usize,
    pub bridge: Option<String>,
    pub bip: Option<String>,
    pub fixed_cidr: Option<String>,
    pub default_address_pools: Vec<AddressPool>,
    pub mtu: Option<u32>,
    pub ip: Option<IpAddr>,
    pub ip_forward: bool,
    pub ip_masq: bool,
    pub icc: bool,
    pub dns: Vec<String>,
    pub dns_search: Vec<String>,
    pub dns_opts: Vec<String>,
    pub default_ulimits: Vec<Ulimit>,
    pub log_driver: String,
    pub log_opts: BTreeMap<String, String>,
    pub labels: Vec<String>,
    pub shutdown_timeout: u64,
}

/// The keys of the file with the flag of the same meaning.
pub const KEYS: [(&str, &str); 36] = [
    ("hosts", "host"),
    ("group", "group"),
    ("data-root", "data_root"),
    ("exec-root", "exec_root"),
    ("pidfile", "pidfile"),
    ("debug", "debug"),
    ("log-level", "log_level"),
    ("log-format", "log_format"),
    ("tls", "tls"),
    ("tlsverify", "tlsverify"),
    ("tlscacert", "tlscacert"),
    ("tlscert", "tlscert"),
    ("tlskey", "tlskey"),
    ("registry-mirrors", "registry_mirror"),
    ("insecure-registries", "insecure_registry"),
    ("max-concurrent-downloads", "max_concurrent_downloads"),
    ("max-concurrent-uploads", "max_concurrent_uploads"),
    ("bridge", "bridge"),
    ("bip", "bip"),
    ("fixed-cidr", "fixed_cidr"),
    ("default-address-pools", "default_address_pool"),
    ("mtu", "mtu"),
    ("ip", "ip"),
    ("ip-forward", "ip_forward"),
    ("ip-masq", "ip_masq"),
    ("icc", "icc"),
    ("dns", "dns"),
    ("dns-search", "dns_search"),
    ("dns-opts", "dns_opt"),
    ("default-ulimits", "default_ulimit"),
    ("log-driver", "log_driver"),
    ("log-opts", "log_opt"),
    ("labels", "label"),
    ("live-restore", "live_restore"),
    ("shutdown-timeout", "shutdown_timeout"),
    ("iptables", ""),
];

/// The file's values.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct FileConfig {
    hosts: Vec<String>,
    group: Option<String>,
    data_root: Option<PathBuf>,
    exec_root: Option<PathBuf>,
    pidfile: Option<PathBuf>,
    debug: Option<bool>,
    log_level: Option<LogLevel>,
    log_format: Option<LogFormat>,
    tls: Option<bool>,
    tlsverify: Option<bool>,
    tlscacert: Option<PathBuf>,
    tlscert: Option<PathBuf>,
    tlskey: Option<PathBuf>,
    registry_mirrors: Vec<String>,
    insecure_registries: Vec<String>,
    max_concurrent_downloads: Option<usize>,
    max_concurrent_uploads: Option<usize>,
    bridge: Option<String>,
    bip: Option<String>,
    fixed_cidr: Option<String>,
    default_address_pools: Vec<AddressPool>,
    mtu: Option<u32>,
    ip: Option<IpAddr>,
    ip_forward: Option<bool>,
    ip_masq: Option<bool>,
    icc: Option<bool>,
    dns: Vec<String>,
    dns_search: Vec<String>,
    dns_opts: Vec<String>,
    default_ulimits: BTreeMap<String, FileUlimit>,
    log_driver: Option<String>,
    log_opts: BTreeMap<String, String>,
    labels: Vec<String>,
    live_restore: Option<bool>,
    shutdown_timeout: Option<u64>,
    iptables: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FileUlimit {
    #[serde(default)]
    soft: Option<i64>,
    hard: i64,
}

impl Config {
    /// Reads a command line, without the program's name, and the file. Also tells whether that was all that
    /// was asked for (`--validate`).
    pub fn load<I>(arguments: I) -> Result<(Config, bool), ConfigError>
    where
        I: IntoIterator<Item = std::ffi::OsString>,
    {
        let program = std::ffi::OsString::from("dhow daemon");
        let matches =
            Flags::command().try_get_matches_from(std::iter::once(program).chain(arguments))?;
        let flags = Flags::from_arg_matches(&matches)?;
        let path = flags.config_file.clone();
        let (file, read_from) = match &path {
            Some(path) => (read_file(path, &matches)?, Some(path.clone())),
            None if Path::new(DEFAULT_FILE).exists() => {
                let path = Path::new(DEFAULT_FILE);
                (read_file(path, &matches)?, Some(path.to_owned()))
            }
            None => (FileConfig::default(), None),
        };
        let validate = flags.validate;
        merge(flags, file, read_from).map(|config| (config, validate))
    }
}

/// Reads the file. Conflicts with the command line are errors.
fn read_file(path: &Path, matches: &ArgMatches) -> Result<FileConfig, ConfigError> {
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
    let unknown: Vec<&str> = directives
        .iter()
        .map(|(key, _)| key.as_str())
        .filter(|key| !KEYS.iter().any(|(known, _)| known == key))
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
    let conflicts: Vec<String> = KEYS
        .iter()
        .filter(|(_, flag)| {
            !flag.is_empty() && matches.value_source(flag) == Some(ValueSource::CommandLine)
        })
        .filter_map(|(key, flag)| {
            let (_, value) = directives.iter().find(|(k, _)| k == key)?;
            Some(format!(
                "{key}: (from flag: {}, from file: {})",
                flag_text(matches, flag),
                GoValue(value)
            ))
        })
        .collect();
    if !conflicts.is_empty() {
        return Err(error(format!(
            "the following directives are specified both as a flag and in the configuration file: {}",
            conflicts.join(", ")
        )));
    }
    let values: Map<String, Value> = directives
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .collect();
    serde_path(values).map_err(error)
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

fn merge(flags: Flags, file: FileConfig, path: Option<PathBuf>) -> Result<Config, ConfigError> {
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
        default_ulimits.push(ulimit(text)?);
    }
    let mut default_address_pools = file.default_address_pools;
    for text in &flags.default_address_pool {
        default_address_pools.push(address_pool(text)?);
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

/// `NAME=SOFT[:HARD]`.
fn ulimit(text: &str) -> Result<Ulimit, ConfigError> {
    let parse = || {
        let (name, limits) = text.split_once('=')?;
        let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
        Some(Ulimit {
            name: name.to_owned(),
            soft: soft.parse().ok()?,
            hard: hard.parse().ok()?,
        })
    };
    parse().ok_or_else(|| {
        ConfigError::Invalid(format!(
            "invalid ulimit {text:?}: expected NAME=SOFT[:HARD]"
        ))
    })
}

/// `base=CIDR,size=PREFIX`.
fn address_pool(text: &str) -> Result<AddressPool, ConfigError> {
    let value = |name: &str| {
        text.split(',')
            .find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
    };
    match (value("base"), value("size").map(str::parse)) {
        (Some(base), Some(Ok(size))) => Ok(AddressPool {
            base: base.to_owned(),
            size,
        }),
        _ => Err(ConfigError::Invalid(format!(
            "invalid address pool {text:?}: expected base=CIDR,size=PREFIX"
        ))),
    }
}
