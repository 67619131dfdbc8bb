//! Where a daemon listens, as `-H` and `DOCKER_HOST` write it.

use std::fmt;
use std::path::PathBuf;

use crate::ssh::SshHost;

/// The address of a daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    Unix(PathBuf),
    /// `host:port`, and the path in front of all others (mostly empty).
    Tcp {
        address: String,
        base: String,
    },
    Ssh(SshHost),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    #[error("unable to parse docker host `{0}`")]
    Malformed(String),
    #[error(
        "the protocol of the host {0:?} is not supported: use unix://PATH, tcp://ADDRESS:PORT or ssh://[USER@]MACHINE"
    )]
    Protocol(String),
    #[error("ssh host connection is not valid: invalid SSH URL: {0}")]
    Ssh(String),
}

/// The port of a TCP host that names none: 2375, and 2376 with TLS.
const PORT: u16 = 2375;
const TLS_PORT: u16 = 2376;

impl Host {
    /// Reads `unix:///path`, `tcp://host:port`, `http(s)://host:port`, `ssh://user@host`, a path, or
    /// `host:port`.
    pub fn parse(text: &str, tls: bool) -> Result<Host, HostError> {
        let malformed = || HostError::Malformed(text.to_owned());
        let (protocol, rest) = match text.split_once("://") {
            Some((protocol, rest)) => (protocol, rest),
            None if text.starts_with('/') => ("unix", text),
            None if !text.is_empty() => ("tcp", text),
            None => return Err(malformed()),
        };
        match protocol {
            "unix" if rest.is_empty() => Err(malformed()),
            "unix" => Ok(Host::Unix(PathBuf::from(rest))),
            "tcp" | "http" | "https" => {
                let (authority, base) = match rest.find('/') {
                    Some(at) => rest.split_at(at),
                    None => (rest, ""),
                };
                let tls = tls || protocol == "https";
                let address = with_port(authority, if tls { TLS_PORT } else { PORT })
                    .ok_or_else(malformed)?;
                Ok(Host::Tcp {
                    address,
                    base: base.trim_end_matches('/').to_owned(),
                })
            }
            "ssh" => SshHost::parse(rest).map(Host::Ssh),
            _ => Err(HostError::Protocol(text.to_owned())),
        }
    }
}

/// Adds the default port where there is none; an empty host is this machine.
fn with_port(authority: &str, port: u16) -> Option<String> {
    if authority.is_empty() || authority.contains(['@', ' ', '?', '#']) {
        return None;
    }
    let after_bracket = authority.rfind(']').map_or(0, |at| at + 1);
    let (host, number) = match authority[after_bracket..].rfind(':') {
        Some(at) => {
            let at = after_bracket + at;
            (&authority[..at], authority[at + 1..].parse().ok()?)
        }
        None => (authority, port),
    };
    // An IPv6 address has brackets around it, or its last group would pass for the port.
    if host.contains(':') && !host.starts_with('[') {
        return None;
    }
    let host = if host.is_empty() { "localhost" } else { host };
    Some(format!("{host}:{number}"))
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Unix(path) => write!(f, "unix://{}", path.display()),
            Host::Tcp { address, base } => write!(f, "tcp://{address}{base}"),
            Host::Ssh(host) => host.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(address: &str, base: &str) -> Host {
        Host::Tcp {
            address: address.into(),
            base: base.into(),
        }
    }

    #[test]
    fn hosts_are_read_in_every_form() {
        for (text, tls, host) in [
            (
                "unix:///run/x.sock",
                false,
                Host::Unix("/run/x.sock".into()),
            ),
            ("/run/x.sock", false, Host::Unix("/run/x.sock".into())),
            ("tcp://1.2.3.4:5", false, tcp("1.2.3.4:5", "")),
            ("tcp://1.2.3.4", false, tcp("1.2.3.4:2375", "")),
            ("tcp://1.2.3.4", true, tcp("1.2.3.4:2376", "")),
            ("https://box", false, tcp("box:2376", "")),
            ("tcp://[::1]:5/base/", false, tcp("[::1]:5", "/base")),
            ("tcp://[::1]", false, tcp("[::1]:2375", "")),
            ("tcp://:5", false, tcp("localhost:5", "")),
            ("localhost:2375", false, tcp("localhost:2375", "")),
        ] {
            assert_eq!(Host::parse(text, tls).as_ref(), Ok(&host), "{text}");
        }
        for bad in [
            "",
            "unix://",
            "tcp://",
            "tcp://::1:5",
            "tcp://a:b",
            "tcp://a:99999",
            "tcp://me@box:1",
        ] {
            assert!(Host::parse(bad, false).is_err(), "{bad}");
        }
        assert_eq!(
            Host::parse("npipe://box", false),
            Err(HostError::Protocol("npipe://box".into()))
        );
        assert!(matches!(
            Host::parse("ssh://me@box", true),
            Ok(Host::Ssh(_))
        ));
    }
}
