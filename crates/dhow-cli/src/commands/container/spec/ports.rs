//! Published and exposed ports: `[[ip:]port[-port]:]port[-port][/protocol]` (docker/go-connections).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use dhow_api::{Empty, PortBinding, PortMap};

use crate::error::Refusal;

/// Ports by `port/protocol`: the exposed ones, and where they are published.
#[derive(Debug, Default, PartialEq)]
pub struct Ports {
    pub exposed: BTreeMap<String, Empty>,
    pub bindings: PortMap,
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (start, end) = text.split_once('-').unwrap_or((text, text));
    let number = |part: &str| {
        let digits = part.bytes().all(|b| b.is_ascii_digit());
        part.parse::<u16>().ok().filter(|_| digits)
    };
    let (start, end) = (number(start)?, number(end)?);
    (start <= end).then_some((start, end))
}

/// Splits the protocol off, which is TCP where there is none.
fn protocol(text: &str) -> (&str, String) {
    match text.split_once('/') {
        Some((port, "")) => (port, "tcp".to_owned()),
        Some((port, protocol)) => (port, protocol.to_ascii_lowercase()),
        None => (text, "tcp".to_owned()),
    }
}

fn known(protocol: &str) -> bool {
    matches!(protocol, "tcp" | "udp" | "sctp")
}

/// `target=80,published=8080,protocol=tcp` in the short notation.
fn short_form(text: &str) -> Result<String, Refusal> {
    if !text.contains('=') {
        return Ok(text.to_owned());
    }
    let (mut published, mut target, mut protocol) = ("", "", "tcp");
    for option in text.split(',') {
        match option.split_once('=') {
            Some(("published", value)) => published = value,
            Some(("target", value)) => target = value,
            Some(("protocol", value)) => protocol = value,
            Some((name, _)) if !name.is_empty() => {}
            _ => {
                return Err(format!(
                    "invalid publish opts format (should be name=value but got '{option}')"
                ));
            }
        }
    }
    Ok(format!("{published}:{target}/{protocol}"))
}

impl Ports {
    pub fn publish(&mut self, text: &str) -> Result<(), Refusal> {
        let spec = short_form(text)?;
        let mut parts: Vec<&str> = spec.rsplitn(3, ':').collect();
        parts.reverse();
        let (ip, host, container) = match parts[..] {
            [ip, host, container] => (ip, host, container),
            [host, container] => ("", host, container),
            _ => ("", "", spec.as_str()),
        };
        let (container, protocol) = protocol(container);
        let ip = match ip.strip_prefix('[') {
            Some(inner) => inner
                .strip_suffix(']')
                .ok_or_else(|| format!("invalid IP address: {ip}"))?,
            None => ip,
        };
        if !ip.is_empty() && ip.parse::<IpAddr>().is_err() {
            return Err(format!("invalid IP address: {ip}"));
        }
        if container.is_empty() {
            return Err(format!("no port specified: {spec}<empty>"));
        }
        let (start, end) =
            range(container).ok_or_else(|| format!("invalid containerPort: {container}"))?;
        let hosts = match host {
            "" => None,
            host => Some(range(host).ok_or_else(|| format!("invalid hostPort: {host}"))?),
        };
        if let Some((host_start, host_end)) = hosts
            && end - start != host_end - host_start
            && start != end
        {
            return Err(format!(
                "invalid ranges specified for container and host Ports: {container} and {host}"
            ));
        }
        if !known(&protocol) {
            return Err(format!("invalid proto: {protocol}"));
        }
        for offset in 0..=end - start {
            let host_port = match hosts {
                None => String::new(),
                // A range for one port leaves the choice to the daemon.
                Some((host_start, host_end)) if start == end && host_start != host_end => {
                    format!("{host_start}-{host_end}")
                }
                Some((host_start, _)) => (host_start + offset).to_string(),
            };
            let port = format!("{}/{protocol}", start + offset);
            self.exposed.insert(port.clone(), Empty {});
            self.bindings
                .entry(port)
                .or_default()
                .get_or_insert_default()
                .push(PortBinding {
                    host_ip: ip.to_owned(),
                    host_port,
                });
        }
        Ok(())
    }

    pub fn expose(&mut self, text: &str) -> Result<(), Refusal> {
        if text.contains(':') {
            return Err(format!("invalid port format for --expose: {text}"));
        }
        let (port, protocol) = protocol(text);
        let (start, end) = range(port).ok_or_else(|| {
            format!("invalid range format for --expose: {text}, error: invalid port range {port:?}")
        })?;
        if !known(&protocol) {
            return Err(format!("invalid proto: {protocol}"));
        }
        for port in start..=end {
            self.exposed.insert(format!("{port}/{protocol}"), Empty {});
        }
        Ok(())
    }
}

/// What is to be published no more, added to `removals`: `8080`, `8080:80/udp`, `127.0.0.1:8080`, `:80` for all of a port of the
/// container's. A host port alone is named by its protocol.
pub fn unpublish(removals: &mut PortMap, text: &str) -> Result<(), Refusal> {
    let spec = short_form(text)?;
    let (rest, protocol) = protocol(&spec);
    if !known(&protocol) {
        return Err(format!("invalid proto: {protocol}"));
    }
    let is_address = |text: &str| text.parse::<IpAddr>().is_ok();
    let (ip, ports) = match rest.strip_prefix('[') {
        Some(inner) => inner
            .split_once("]:")
            .ok_or_else(|| format!("invalid IP address: {rest}"))?,
        None => match rest.rsplit_once(':') {
            // One of IPv6 without brackets has both ports behind it.
            Some((ip, port)) if ip.parse::<Ipv4Addr>().is_ok() => (ip, port),
            _ => match rest.rmatch_indices(':').nth(1) {
                Some((at, _)) => (&rest[..at], &rest[at + 1..]),
                None => ("", rest),
            },
        },
    };
    if !ip.is_empty() && !is_address(ip) {
        return Err(format!("invalid IP address: {ip}"));
    }
    let (host, container) = match ports.split_once(':') {
        Some((host, container)) => (host, Some(container)),
        None => (ports, None),
    };
    let hosts = match host {
        "" => None,
        host => Some(range(host).ok_or_else(|| format!("invalid hostPort: {host}"))?),
    };
    let containers = match container {
        Some(text) => Some(range(text).ok_or_else(|| format!("invalid containerPort: {text}"))?),
        None => None,
    };
    let mut remove = |key: String, host_port: String| {
        let of_port = removals.entry(key).or_default();
        of_port.get_or_insert_default().push(PortBinding {
            host_ip: ip.to_owned(),
            host_port,
        });
    };
    match (hosts, containers) {
        (None, None) => return Err(format!("no port specified: {spec}<empty>")),
        (Some(_), None) => remove(protocol, host.to_owned()),
        (_, Some((start, end))) if start == end => {
            remove(format!("{start}/{protocol}"), host.to_owned());
        }
        (None, Some((start, end))) => {
            for port in start..=end {
                remove(format!("{port}/{protocol}"), String::new());
            }
        }
        (Some((host_start, host_end)), Some((start, end))) => {
            if end - start != host_end - host_start {
                let container = container.unwrap_or_default();
                return Err(format!(
                    "invalid ranges specified for container and host Ports: {container} and {host}"
                ));
            }
            for offset in 0..=end - start {
                let key = format!("{}/{protocol}", start + offset);
                remove(key, (host_start + offset).to_string());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn publish(text: &str) -> Result<String, Refusal> {
        let mut ports = Ports::default();
        ports.publish(text)?;
        let shown: Vec<String> = ports
            .bindings
            .iter()
            .flat_map(|(port, bindings)| {
                bindings
                    .iter()
                    .flatten()
                    .map(move |b| format!("{}|{}|{port}", b.host_ip, b.host_port))
            })
            .collect();
        assert_eq!(ports.exposed.len(), ports.bindings.len());
        Ok(shown.join(" "))
    }

    #[test]
    fn specifications_are_read() {
        for (text, expected) in [
            ("80", "||80/tcp"),
            ("8080:80", "|8080|80/tcp"),
            ("8080:80/udp", "|8080|80/udp"),
            ("127.0.0.1:8080:80", "127.0.0.1|8080|80/tcp"),
            ("127.0.0.1::80", "127.0.0.1||80/tcp"),
            ("[::1]:8080:80/TCP", "::1|8080|80/tcp"),
            ("::1:8080:80", "::1|8080|80/tcp"),
            ("8000-8001:80-81", "|8000|80/tcp |8001|81/tcp"),
            ("8000-8010:80", "|8000-8010|80/tcp"),
            ("80-81/udp", "||80/udp ||81/udp"),
            ("target=80,published=8080", "|8080|80/tcp"),
            (
                "published=8080,target=80,protocol=udp,mode=host",
                "|8080|80/udp",
            ),
        ] {
            assert_eq!(publish(text).as_deref(), Ok(expected), "{text}");
        }
        for (text, why) in [
            ("99999:1", "invalid hostPort: 99999"),
            ("1:99999", "invalid containerPort: 99999"),
            ("", "no port specified: <empty>"),
            ("80:", "no port specified: 80:<empty>"),
            ("a:1:2", "invalid IP address: a"),
            ("[::1:1:2", "invalid IP address: [::1"),
            ("1/x", "invalid proto: x"),
            ("2-1:2-1", "invalid containerPort: 2-1"),
            ("+1", "invalid containerPort: +1"),
            (
                "1-3:1-2",
                "invalid ranges specified for container and host Ports: 1-2 and 1-3",
            ),
            (
                "target=80,x",
                "invalid publish opts format (should be name=value but got 'x')",
            ),
        ] {
            assert_eq!(publish(text), Err(why.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_removed_is_named_by_what_is_known_of_it() {
        let unpublish = |text: &str| {
            let mut removals = PortMap::new();
            unpublish(&mut removals, text)?;
            let shown: Vec<String> = removals
                .iter()
                .flat_map(|(port, all)| {
                    all.iter()
                        .flatten()
                        .map(move |b| format!("{}|{}|{port}", b.host_ip, b.host_port))
                })
                .collect();
            Ok::<_, Refusal>(shown.join(" "))
        };
        for (text, expected) in [
            ("8080", "|8080|tcp"),
            ("8080/UDP", "|8080|udp"),
            ("8000-8010", "|8000-8010|tcp"),
            ("8080:80", "|8080|80/tcp"),
            ("127.0.0.1:8080", "127.0.0.1|8080|tcp"),
            ("127.0.0.1:8080:80/udp", "127.0.0.1|8080|80/udp"),
            ("[::]:8080", "::|8080|tcp"),
            ("[::]:8080:80", "::|8080|80/tcp"),
            ("::1:8080:80", "::1|8080|80/tcp"),
            (":80", "||80/tcp"),
            ("127.0.0.1::80", "127.0.0.1||80/tcp"),
            (":80-81/udp", "||80/udp ||81/udp"),
            ("8000-8001:80-81", "|8000|80/tcp |8001|81/tcp"),
            ("8000-8010:80", "|8000-8010|80/tcp"),
            ("target=80,published=8080", "|8080|80/tcp"),
        ] {
            assert_eq!(unpublish(text).as_deref(), Ok(expected), "{text}");
        }
        for (text, why) in [
            ("", "no port specified: <empty>"),
            ("8080:", "invalid containerPort: "),
            ("99999", "invalid hostPort: 99999"),
            ("1:99999", "invalid containerPort: 99999"),
            ("a:1:2", "invalid IP address: a"),
            ("[::1", "invalid IP address: [::1"),
            ("1/x", "invalid proto: x"),
            (
                "1-3:1-2",
                "invalid ranges specified for container and host Ports: 1-2 and 1-3",
            ),
        ] {
            assert_eq!(unpublish(text), Err(why.to_owned()), "{text}");
        }
    }

    #[test]
    fn exposed_ports_have_ranges() {
        let mut ports = Ports::default();
        ports.expose("53/udp").unwrap();
        ports.expose("80-82").unwrap();
        let names: Vec<&str> = ports.exposed.keys().map(String::as_str).collect();
        assert_eq!(names, ["53/udp", "80/tcp", "81/tcp", "82/tcp"]);
        assert!(ports.expose("1:2").is_err());
        assert!(ports.expose("2-1").is_err());
    }

    proptest! {
        #[test]
        fn nothing_that_is_typed_panics(text in "[0-9a-z:/.\\[\\]=,-]{0,20}") {
            let _ = publish(&text);
            let _ = unpublish(&mut PortMap::new(), &text);
            let _ = Ports::default().expose(&text);
        }
    }
}
