//! EXPOSE: ports and ranges of them, each with a protocol.

use std::fmt;
use std::net::IpAddr;

use crate::problem::Problem;
use crate::text::quoted;

/// Ports of a protocol, the last included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ports {
    pub first: u16,
    pub last: u16,
    pub protocol: Protocol,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        })
    }
}

impl Ports {
    /// Each as an image's configuration has it: `80/tcp`.
    pub fn each(self) -> impl Iterator<Item = String> {
        (self.first..=self.last).map(move |port| format!("{port}/{}", self.protocol))
    }
}

/// One word of EXPOSE, and what of it should not be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exposed {
    pub ports: Ports,
    /// The protocol has capitals.
    pub capitals: bool,
    /// An address or a port of the host is named, for which EXPOSE has no use.
    pub published: bool,
}

/// `[[address:]host-port:]port[-last][/protocol]`.
pub fn parse(word: &str) -> Result<Exposed, Problem> {
    let refused = |message: String| Err(Problem::Arguments(message));
    let (host, port) = word.rsplit_once(':').unwrap_or(("", word));
    let (address, host_port) = host.rsplit_once(':').unwrap_or(("", host));
    let (port, protocol) = port.split_once('/').unwrap_or((port, ""));
    if port.is_empty() {
        return refused(format!("invalid port: {}: no port specified", quoted(word)));
    }
    let lower = match protocol.to_lowercase().as_str() {
        "" | "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => {
            let word = quoted(word);
            return refused(format!("invalid port: {word}: invalid proto: {protocol}"));
        }
    };
    let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']'));
    if !address.is_empty() && bare.unwrap_or(address).parse::<IpAddr>().is_err() {
        return refused(format!("invalid IP address: {address}"));
    }
    let Some((first, last)) = range(port) else {
        return refused(format!("invalid containerPort: {port}"));
    };
    if !host_port.is_empty() {
        let Some((host_first, host_last)) = range(host_port) else {
            return refused(format!("invalid hostPort: {host_port}"));
        };
        if first != last && last - first != host_last - host_first {
            return refused(format!(
                "invalid ranges specified for container and host Ports: {port} and {host_port}"
            ));
        }
    }
    Ok(Exposed {
        ports: Ports {
            first,
            last,
            protocol: lower,
        },
        capitals: protocol != protocol.to_lowercase(),
        published: !(address.is_empty() && host_port.is_empty()),
    })
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(word: &str) -> Result<Vec<String>, String> {
        let exposed = parse(word).map_err(|e| e.to_string())?;
        Ok(exposed.ports.each().collect())
    }

    #[test]
    fn ports_are_read() {
        for (word, ports) in [
            ("80", vec!["80/tcp"]),
            ("53/UDP", vec!["53/udp"]),
            ("80/", vec!["80/tcp"]),
            ("1-3/sctp", vec!["1/sctp", "2/sctp", "3/sctp"]),
            ("8080:80", vec!["80/tcp"]),
            ("[::1]:8080-8081:80", vec!["80/tcp"]),
            ("127.0.0.1::80", vec!["80/tcp"]),
            ("65535", vec!["65535/tcp"]),
        ] {
            assert_eq!(read(word).unwrap(), ports, "{word}");
        }
        assert!(parse("80/TCP").unwrap().capitals);
        assert!(!parse("80/tcp").unwrap().published);
        assert!(parse("1:2").unwrap().published);
    }

    #[test]
    fn others_are_refused() {
        for (word, message) in [
            ("x", "invalid containerPort: x"),
            ("65536", "invalid containerPort: 65536"),
            ("3-1", "invalid containerPort: 3-1"),
            ("80/icmp", "invalid port: \"80/icmp\": invalid proto: icmp"),
            ("/tcp", "invalid port: \"/tcp\": no port specified"),
            ("x:80", "invalid hostPort: x"),
            ("a:1:80", "invalid IP address: a"),
            (
                "1-2:1-3",
                "invalid ranges specified for container and host Ports: 1-3 and 1-2",
            ),
        ] {
            assert_eq!(read(word).unwrap_err(), message, "{word}");
        }
    }
}
