//! Values of flags that have a form of their own.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

use dhow_api::Ulimit;
use dhow_net::Mark;

use super::{AddressPool, ConfigError, Seccomp};

/// `NAME=SOFT[:HARD]`.
pub(super) fn ulimit(text: &str) -> Result<Ulimit, ConfigError> {
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
pub(super) fn address_pool(text: &str) -> Result<AddressPool, ConfigError> {
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

/// `DRIVER=KEY=VALUE`.
pub(super) fn network_option(text: &str) -> Result<(String, String, String), ConfigError> {
    let parse = || {
        let (driver, option) = text.split_once('=')?;
        let (key, value) = option.split_once('=')?;
        let all = (driver.to_owned(), key.to_owned(), value.to_owned());
        (!driver.is_empty() && !key.is_empty()).then_some(all)
    };
    parse().ok_or_else(|| {
        ConfigError::Invalid(format!(
            "invalid default network option {text:?}: expected DRIVER=KEY=VALUE"
        ))
    })
}

/// `MARK[/MASK]`, each a number, also a hexadecimal, octal or binary one as Go and C write it.
pub(super) fn mark(text: &str) -> Result<Mark, ConfigError> {
    let number = |text: &str| {
        let lower = text.to_ascii_lowercase();
        let radixes = [("0x", 16), ("0b", 2), ("0o", 8), ("0", 8)];
        let prefixed = radixes.into_iter().find_map(|(prefix, radix)| {
            let digits = lower.strip_prefix(prefix)?;
            (!digits.is_empty()).then_some((digits.to_owned(), radix))
        });
        let (digits, radix) = prefixed.unwrap_or((lower, 10));
        let plain = digits.chars().all(|c| c.is_ascii_alphanumeric());
        u32::from_str_radix(&digits, radix).ok().filter(|_| plain)
    };
    let (value, mask) = text.split_once('/').unwrap_or((text, "0xffffffff"));
    match (number(value), number(mask)) {
        (Some(value), Some(mask)) => Ok(Mark { value, mask }),
        _ => Err(ConfigError::Invalid(format!(
            "invalid firewall mark {text:?}: expected MARK or MARK/MASK, numbers of 32 bits"
        ))),
    }
}

/// `NAME`, or `NAME=true` and `NAME=false`.
pub(super) fn feature(text: &str) -> Result<(String, bool), ConfigError> {
    let (name, on) = text.split_once('=').unwrap_or((text, "true"));
    match (name, on.parse()) {
        ("", _) | (_, Err(_)) => Err(ConfigError::Invalid(format!(
            "invalid feature {text:?}: expected NAME or NAME=true|false"
        ))),
        (name, Ok(on)) => Ok((name.to_owned(), on)),
    }
}

/// Where devices are described, without the directories that can't be read, and what is to be said of those. One without
/// a name switches the devices off but leaves the feature on, as in Docker.
pub(super) fn cdi_spec_dirs(
    flags: Vec<String>,
    file: Option<Vec<String>>,
    features: &BTreeMap<String, bool>,
) -> (Option<Vec<PathBuf>>, Vec<String>) {
    if features.get("cdi") == Some(&false) {
        return (None, Vec::new());
    }
    let defaults = || dhow_engine::DEVICE_DIRS.map(str::to_owned).to_vec();
    let dirs = match flags.is_empty() {
        true => file.unwrap_or_else(defaults),
        false => flags,
    };
    let mut said = Vec::new();
    let mut kept = Vec::new();
    for dir in dirs.into_iter().filter(|dir| !dir.is_empty()) {
        match std::fs::read_dir(&dir) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => said.push(format!(
                "CDI spec directory {dir} cannot be accessed, skipping: {e}"
            )),
            _ => kept.push(PathBuf::from(dir)),
        }
    }
    (Some(kept), said)
}

/// What is to be said of an option of the runtime. Control groups are managed without systemd.
pub(super) fn exec_opt(text: &str) -> Result<Option<String>, ConfigError> {
    let invalid = |reason: String| {
        Err(ConfigError::Invalid(format!(
            "invalid exec-opt ({text}): {reason}"
        )))
    };
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    match (name.trim().to_ascii_lowercase().as_str(), value.trim()) {
        ("", _) | (_, "") => invalid("must be formatted 'opt=value'".to_owned()),
        ("native.cgroupdriver", "cgroupfs") => Ok(None),
        ("native.cgroupdriver", "systemd") => Ok(Some(format!(
            "{text} has no effect: control groups are made without systemd"
        ))),
        ("native.cgroupdriver", other) => {
            invalid(format!("native.cgroupdriver option {other} not supported"))
        }
        ("isolation", _) => invalid("option 'isolation' is only supported on windows".to_owned()),
        (other, _) => invalid(format!("unknown option: '{other}'")),
    }
}

pub(super) fn ipc_mode(mode: String) -> Result<String, ConfigError> {
    match mode.as_str() {
        "" => Ok("private".to_owned()),
        "private" | "shareable" => Ok(mode),
        "host" | "none" => Err(ConfigError::Invalid(format!(
            "IPC mode \"{mode}\" is not supported as default value; use \"shareable\" or \"private\""
        ))),
        _ => Err(ConfigError::Invalid(format!(
            "default IPC mode setting ({mode}) is invalid; use \"shareable\" or \"private\""
        ))),
    }
}

pub(super) fn cgroupns_mode(mode: Option<String>) -> Result<Option<String>, ConfigError> {
    match mode.as_deref() {
        None | Some("") => Ok(None),
        Some("host" | "private") => Ok(mode),
        Some(other) => Err(ConfigError::Invalid(format!(
            "invalid default cgroup namespace ({other}): use \"host\" or \"private\""
        ))),
    }
}

/// A size in bytes, or with a unit of 1024: `64m`, `64MiB`, `1.5g`.
pub(super) fn size(name: &str, text: &str) -> Result<i64, ConfigError> {
    let invalid = || ConfigError::Invalid(format!("invalid {name}: invalid size: '{text}'"));
    let lower = text.trim().to_ascii_lowercase();
    let end = lower
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(lower.len());
    let (number, unit) = lower.split_at(end);
    let shift = match unit.trim() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
        _ => return Err(invalid()),
    };
    let number: f64 = number.parse().map_err(|_| invalid())?;
    let bytes = number
        * f64::from(1u32 << (shift % 30))
        * if shift >= 30 {
            f64::from(1u32 << 30)
        } else {
            1.0
        };
    // Beyond 2^53 it is not exact, and no machine has that.
    if bytes >= 9.0e15 {
        return Err(invalid());
    }
    Ok(bytes as i64)
}

/// `builtin`, `unconfined`, or a file with a profile, which is read now.
pub(super) fn seccomp(profile: Option<String>) -> Result<Seccomp, ConfigError> {
    let path = match profile.as_deref() {
        None | Some("" | "builtin") => return Ok(Seccomp::Builtin),
        Some("unconfined") => return Ok(Seccomp::Unconfined),
        Some(path) => PathBuf::from(path),
    };
    let invalid = |reason: String| {
        ConfigError::Invalid(format!(
            "opening seccomp profile ({}) failed: {reason}",
            path.display()
        ))
    };
    let text = std::fs::read_to_string(&path).map_err(|e| invalid(e.to_string()))?;
    dhow_engine::check_seccomp_profile(&text).map_err(|e| invalid(e.to_string()))?;
    Ok(Seccomp::Profile(path, text))
}

/// `HOST:PORT` to serve metrics on. No host is every address.
pub(super) fn metrics_address(text: &str) -> Result<String, ConfigError> {
    let address = text.strip_prefix("tcp://").unwrap_or(text);
    let known = address.rsplit_once(':').is_some_and(|(host, port)| {
        let inside = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let host = match inside {
            Some(inside) => inside.parse::<Ipv6Addr>().is_ok(),
            None => host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')),
        };
        host && port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok()
    });
    match known {
        true => Ok(address.to_owned()),
        false => Err(ConfigError::Invalid(format!(
            "invalid metrics-addr {text:?}: expected ADDRESS:PORT"
        ))),
    }
}

/// The address of a name server.
pub(super) fn name_server(text: &str) -> Result<String, ConfigError> {
    let address = text.trim();
    match address.parse::<IpAddr>() {
        Ok(_) => Ok(address.to_owned()),
        Err(_) => Err(ConfigError::Invalid(format!("{text} is not an ip address"))),
    }
}

/// A domain name, or a dot for none at all.
pub(super) fn check_search_domain(text: &str) -> Result<(), ConfigError> {
    let domain = text.trim_matches(' ').trim_end_matches('.');
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if text.trim_matches(' ') == "." || domain.len() <= 255 && domain.split('.').all(label) {
        Ok(())
    } else {
        Err(ConfigError::Invalid(format!(
            "{text} is not a valid domain"
        )))
    }
}

/// A URL without the password that may be in it.
pub fn masked(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://xxxxx:xxxxx{}", &rest[at..]),
        None => url.to_owned(),
    }
}
