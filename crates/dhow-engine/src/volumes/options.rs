//! The options of the local driver: `type`, `device` and `o` of a filesystem that is mounted when a container uses
//! the volume, and `size`. Refused in Docker's words.

use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs};

use dhow_runtime::filesystem::Filesystem;

use crate::error::{EngineError, Result};

const NAMES: [&str; 4] = ["type", "o", "device", "size"];

/// What an option can't be without.
const NEEDED: [(&str, &[&str]); 3] = [
    ("device", &["type"]),
    ("type", &["device"]),
    ("o", &["device", "type"]),
];

/// Filesystems whose server's address the kernel wants as a number.
const REMOTE: [&str; 4] = ["nfs", "nfs4", "cifs", "smb3"];

/// Whether a volume can have these options.
pub fn check(name: &str, options: &BTreeMap<String, String>) -> Result<()> {
    let refused = |why: String| EngineError::invalid(format!("create {name}: {why}"));
    if let Some(unknown) = options.keys().find(|key| !NAMES.contains(&key.as_str())) {
        return Err(refused(format!("invalid option: {unknown:?}")));
    }
    let text = |key: &str| options.get(key).map_or("", String::as_str);
    if matches!(text("type"), "cifs" | "smb3") && has_port(text("device")) {
        return Err(refused(
            "port not allowed in CIFS device URL, include 'port' in 'o='".into(),
        ));
    }
    if let Some(size) = options.get("size") {
        match read_size(size) {
            None => return Err(refused(format!("invalid size: '{size}'"))),
            Some(0) => {}
            // The kernel's limits are of projects (quotactl(2)), which the data-root's filesystem has to keep.
            Some(_) => {
                return Err(refused(
                    "quota size requested but no quota support".to_owned(),
                ));
            }
        }
    }
    for (option, needed) in NEEDED {
        if let Some(missing) = needed.iter().find(|key| !options.contains_key(**key))
            && options.contains_key(option)
        {
            return Err(refused(format!("missing required option: {missing:?}")));
        }
    }
    if options.contains_key("device") && text("device").is_empty() && !text("type").is_empty() {
        return Err(refused("missing device in volume options".to_owned()));
    }
    Ok(())
}

/// The filesystem that is to be mounted, if the options name one.
pub fn filesystem(options: &BTreeMap<String, String>) -> Option<Filesystem> {
    let text = |key: &str| options.get(key).cloned().unwrap_or_default();
    let wanted = Filesystem {
        source: text("device"),
        kind: text("type"),
        options: text("o"),
    };
    (!wanted.source.is_empty() || !wanted.kind.is_empty()).then_some(wanted)
}

/// Puts addresses in the place of a server's names, which may have others by the next mount. Blocks while it asks.
pub fn resolve(mut wanted: Filesystem) -> std::io::Result<Filesystem> {
    if !REMOTE.contains(&wanted.kind.as_str()) {
        return Ok(wanted);
    }
    let named = |host: &str| !host.is_empty() && host.parse::<IpAddr>().is_err();
    let address = wanted
        .options
        .split(',')
        .find_map(|option| option.strip_prefix("addr="))
        .map(str::to_owned);
    match address {
        Some(host) if named(&host) => {
            let found = look_up(&host)?.to_string();
            let all = wanted.options.split(',').map(|option| match option {
                option if option.strip_prefix("addr=") == Some(&host) => format!("addr={found}"),
                option => option.to_owned(),
            });
            wanted.options = all.collect::<Vec<_>>().join(",");
        }
        _ if matches!(wanted.kind.as_str(), "cifs" | "smb3") => {
            let host = server(&wanted.source).map(str::to_owned);
            if let Some(host) = host.filter(|host| named(host)) {
                let found = match look_up(&host)? {
                    IpAddr::V6(address) => format!("[{address}]"),
                    address => address.to_string(),
                };
                wanted.source = wanted.source.replacen(&host, &found, 1);
            }
        }
        _ => {}
    }
    Ok(wanted)
}

fn look_up(host: &str) -> std::io::Result<IpAddr> {
    let failed = |why: String| {
        std::io::Error::other(format!(
            "error resolving passed in network volume address: lookup {host}: {why}"
        ))
    };
    let found: Vec<IpAddr> = (host, 0)
        .to_socket_addrs()
        .map_err(|e| failed(e.to_string()))?
        .map(|address| address.ip())
        .collect();
    let first = found.iter().find(|ip| ip.is_ipv4()).or(found.first());
    first
        .copied()
        .ok_or_else(|| failed("no such host".to_owned()))
}

/// `host[:port]` of `//host/share`.
fn authority(device: &str) -> Option<&str> {
    let rest = device.strip_prefix("//")?;
    let end = rest.find('/').unwrap_or(rest.len());
    let authority = &rest[..end];
    Some(authority.rsplit_once('@').map_or(authority, |(_, it)| it))
}

fn server(device: &str) -> Option<&str> {
    let authority = authority(device)?;
    match authority.strip_prefix('[') {
        Some(literal) => literal.split(']').next(),
        None => authority.split(':').next(),
    }
}

fn has_port(device: &str) -> bool {
    authority(device)
        .map(|it| it.rsplit_once(']').map_or(it, |(_, port)| port))
        .is_some_and(|it| it.contains(':'))
}

/// Bytes, of a number with or without a unit.
fn read_size(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let number = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match lower[number.len()..]
        .trim_end_matches('b')
        .trim_end_matches('i')
    {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        "t" => 1 << 40,
        "p" => 1 << 50,
        _ => return None,
    };
    let number: f64 = number.trim().parse().ok().filter(|n| *n >= 0.0)?;
    Some((number * factor as f64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> BTreeMap<String, String> {
        text.split_whitespace()
            .map(|option| option.split_once('=').unwrap_or((option, "")))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn what_is_refused() {
        for (given, why) in [
            ("colour=red", "invalid option: \"colour\""),
            ("type=tmpfs", "missing required option: \"device\""),
            ("device=/a", "missing required option: \"type\""),
            ("o=bind device=/a", "missing required option: \"type\""),
            ("o=bind type=none", "missing required option: \"device\""),
            ("size=10m", "quota size requested but no quota support"),
            ("size=much", "invalid size: 'much'"),
            (
                "type=cifs device=//host:445/share",
                "port not allowed in CIFS device URL, include 'port' in 'o='",
            ),
            ("type=nfs device=", "missing device in volume options"),
        ] {
            let refused = check("v", &options(given)).unwrap_err();
            assert_eq!(refused.to_string(), format!("create v: {why}"), "{given}");
        }
        for good in [
            "",
            "size=0",
            "type=none device=/a o=bind",
            "type=tmpfs device=tmpfs o=size=100m,uid=1000",
            "type=cifs device=//host/share",
        ] {
            check("v", &options(good)).unwrap();
        }
        assert_eq!(filesystem(&options("size=0")), None);
        assert!(filesystem(&options("type=none device=/a")).is_some());
    }

    #[test]
    fn names_of_servers_become_addresses() {
        let resolved = |kind: &str, source: &str, options: &str| {
            let wanted = Filesystem {
                source: source.into(),
                kind: kind.into(),
                options: options.into(),
            };
            resolve(wanted).map(|done| (done.source, done.options))
        };
        let (source, options) = resolved("nfs", ":/x", "vers=4,addr=localhost,ro").unwrap();
        assert_eq!(
            (source.as_str(), options.as_str()),
            (":/x", "vers=4,addr=127.0.0.1,ro")
        );
        let (source, _) = resolved("cifs", "//localhost/share", "user=me").unwrap();
        assert_eq!(source, "//127.0.0.1/share");
        for (kind, source, options) in [
            ("nfs", ":/x", "addr=10.0.0.1"),
            ("nfs", ":/x", "addr=fe80::1"),
            ("cifs", "//[::1]/share", ""),
            ("tmpfs", "tmpfs", "addr=localhost"),
        ] {
            let same = (source.to_owned(), options.to_owned());
            assert_eq!(resolved(kind, source, options).unwrap(), same);
        }
        let failed = resolved("nfs", ":/x", "addr=no-such-host.invalid").unwrap_err();
        assert!(
            failed
                .to_string()
                .starts_with("error resolving passed in network volume address: lookup no-such"),
            "{failed}"
        );
    }
}
