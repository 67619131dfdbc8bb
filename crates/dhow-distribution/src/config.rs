//! How registries are reached: mirrors, exceptions from TLS, time limits.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{DistributionError, Result};

/// Makes a connection to a registry in this process.
pub type EmbeddedConnector = Arc<dyn Fn() -> tokio::io::DuplexStream + Send + Sync>;

/// A registry in this process that stands in for docker.io where that can't be reached.
#[derive(Clone)]
pub struct Embedded(pub EmbeddedConnector);

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Embedded")
    }
}

#[derive(Clone, Debug)]
pub struct Config {
    /// URLs that are asked before docker.io; `http://` is allowed, for it is written out.
    pub mirrors: Vec<String>,
    /// `host`, `host:port` or `address/bits`: may do without TLS, and its certificate is not verified.
    pub insecure_registries: Vec<String>,
    pub proxies: Proxies,
    pub embedded: Option<Embedded>,
    /// Has a directory per `host[:port]` with `*.crt` of further authorities, and `*.cert` with `*.key`
    /// to present.
    pub certs_dir: PathBuf,
    pub user_agent: String,
    /// Per pull.
    pub max_concurrent_downloads: usize,
    /// Per push.
    pub max_concurrent_uploads: usize,
    /// How often a transfer that makes no progress is begun.
    pub max_attempts: u32,
    /// From the look-up of a registry's name to the end of the TLS handshake.
    pub connect_timeout: Duration,
    /// Longest silence within a transfer.
    pub idle_timeout: Duration,
    /// How long a registry may take to begin an answer.
    pub answer_timeout: Duration,
    /// The same, for the answer to what was sent.
    pub commit_timeout: Duration,
}

/// Proxies that are used instead of those that the environment names.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    pub http: Option<String>,
    pub https: Option<String>,
    /// Hosts that are reached without one, separated by commas.
    pub no: Option<String>,
}

/// A far registry over a bad line needs a few of its round trips, each of which may be repeated after 1, 2 and 4 s.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// A line that was out for less than this goes on where it was: TCP tries again at least as often.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Registries that fetch what they don't have from another begin their answer only then; gateways give up on
/// them after 60 s, too.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// At the end of an upload a registry hashes it, or copies it within its bucket: of 100 GB that takes minutes.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(15 * 60);

impl Default for Config {
    fn default() -> Self {
        Config {
            mirrors: Vec::new(),
            insecure_registries: Vec::new(),
            proxies: Proxies::default(),
            embedded: None,
            certs_dir: PathBuf::from("/etc/docker/certs.d"),
            user_agent: concat!("dhow/", env!("CARGO_PKG_VERSION")).to_owned(),
            max_concurrent_downloads: 3,
            max_concurrent_uploads: 5,
            max_attempts: 5,
            connect_timeout: CONNECT_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            answer_timeout: ANSWER_TIMEOUT,
            commit_timeout: COMMIT_TIMEOUT,
        }
    }
}

/// The registries that may do without TLS: this machine, and those that are configured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Insecure {
    hosts: Vec<String>,
    networks: Vec<(IpAddr, u8)>,
}

impl Insecure {
    pub fn parse(entries: &[String]) -> Result<Insecure> {
        let mut insecure = Insecure::default();
        for entry in entries {
            let bad = || {
                DistributionError::Invalid(format!(
                    "insecure registry {entry} is not valid: give host[:port] or address/bits"
                ))
            };
            if entry.contains("://") {
                return Err(DistributionError::Invalid(format!(
                    "insecure registry {entry} should not contain '://'"
                )));
            }
            match entry.split_once('/') {
                Some((address, bits)) => {
                    let address: IpAddr = address.parse().map_err(|_| bad())?;
                    let bits: u8 = bits.parse().map_err(|_| bad())?;
                    let most = if address.is_ipv4() { 32 } else { 128 };
                    if bits > most {
                        return Err(bad());
                    }
                    insecure.networks.push((address, bits));
                }
                None if entry.is_empty() => return Err(bad()),
                None => insecure.hosts.push(entry.to_lowercase()),
            }
        }
        Ok(insecure)
    }

    /// Whether this `host[:port]` is one.
    pub fn contains(&self, authority: &str) -> bool {
        let authority = authority.to_lowercase();
        let host = host_of(&authority);
        if self.hosts.iter().any(|h| *h == authority || *h == host) {
            return true;
        }
        if is_loopback(&authority) {
            return true;
        }
        let Ok(address) = host.parse::<IpAddr>() else {
            return false;
        };
        self.networks
            .iter()
            .any(|(network, bits)| in_network(address, *network, *bits))
    }
}

/// The host of a `host[:port]`, without the brackets of an IPv6 address.
pub(crate) fn host_of(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    authority
        .rsplit_once(':')
        .map_or(authority, |(host, _)| host)
}

pub(crate) fn is_loopback(authority: &str) -> bool {
    let host = host_of(authority);
    host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn in_network(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let bits = u32::from(bits);
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            a.to_bits() & mask == n.to_bits() & mask
        }
        (IpAddr::V6(a), IpAddr::V6(n)) => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            a.to_bits() & mask == n.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine_and_for_what_is_listed() {
        let insecure = Insecure::parse(&["10.0.0.0/8".into(), "reg.test:5000".into()]).unwrap();
        for yes in [
            "127.0.0.1:5000",
            "127.9.9.9",
            "localhost:80",
            "[::1]:5000",
            "10.1.2.3:1",
            "REG.test:5000",
        ] {
            assert!(insecure.contains(yes), "{yes}");
        }
        for no in [
            "11.0.0.1",
            "reg.test",
            "reg.test:5001",
            "localhost.evil.test",
            "registry-1.docker.io",
        ] {
            assert!(!insecure.contains(no), "{no}");
        }
        for bad in ["http://x", "1.2.3.4/33", "x/8", ""] {
            assert!(Insecure::parse(&[bad.into()]).is_err(), "{bad}");
        }
        assert!(
            Insecure::parse(&["0.0.0.0/0".into()])
                .unwrap()
                .contains("11.0.0.1")
        );
    }
}
