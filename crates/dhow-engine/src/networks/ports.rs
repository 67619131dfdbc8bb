//! Which ports of a container are exposed and which are published: `ExposedPorts`, `PortBindings` and
//! `PublishAllPorts`, parsed and turned into requests to the network and into what inspect and list show.

use std::collections::BTreeMap;
use std::net::IpAddr;

use dhow_api::{ContainerConfig, HostConfig, PortMap, PortSummary};
use dhow_net::{PortRequest, Protocol};

use super::PublishedPort;
use crate::error::{EngineError, Result};

/// `80`, `80/tcp`: the port and its protocol.
pub fn parse_port(text: &str) -> Result<(u16, Protocol)> {
    let invalid = || EngineError::invalid(format!("invalid port specification: \"{text}\""));
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let number = number
        .parse::<u16>()
        .ok()
        .filter(|&n| n > 0)
        .ok_or_else(invalid)?;
    Ok((number, Protocol::from_name(protocol).ok_or_else(invalid)?))
}

/// `""` is no address in particular.
pub fn parse_host_ip(text: &str) -> Result<Option<IpAddr>> {
    if text.is_empty() {
        return Ok(None);
    }
    let ip = text.trim_matches(['[', ']']).parse();
    let ip = ip.map_err(|_| EngineError::invalid(format!("invalid IP address: {text}")))?;
    Ok(Some(ip))
}

/// `""`, `8080` or `8080-8090`.
pub fn parse_host_ports(text: &str) -> Result<Option<(u16, u16)>> {
    if text.is_empty() {
        return Ok(None);
    }
    let invalid = || EngineError::invalid(format!("invalid port specification: \"{text}\""));
    let number = |t: &str| t.parse::<u16>().map_err(|_| invalid());
    let (first, last) = match text.split_once('-') {
        Some((a, b)) => (number(a)?, number(b)?),
        None => (number(text)?, number(text)?),
    };
    if last < first {
        return Err(invalid());
    }
    // 0 asks for any port.
    Ok((first != 0).then_some((first, last)))
}

/// What is to be published, in order of port.
pub fn requests(config: &ContainerConfig, host: &HostConfig) -> Result<Vec<PortRequest>> {
    let mut requests = Vec::new();
    let bindings = host.port_bindings.iter().flatten();
    for (port, hosts) in bindings {
        let (container_port, protocol) = parse_port(port)?;
        for host in hosts.iter().flatten() {
            requests.push(PortRequest {
                protocol,
                container_port,
                host_ip: parse_host_ip(&host.host_ip)?,
                host_ports: parse_host_ports(&host.host_port)?,
            });
        }
    }
    if host.publish_all_ports {
        for port in config.exposed_ports.keys() {
            let (container_port, protocol) = parse_port(port)?;
            if !requests
                .iter()
                .any(|r| r.container_port == container_port && r.protocol == protocol)
            {
                requests.push(PortRequest {
                    protocol,
                    container_port,
                    host_ip: None,
                    host_ports: None,
                });
            }
        }
    }
    requests.sort_by_key(|r| (r.container_port, r.protocol));
    Ok(requests)
}

/// `NetworkSettings.Ports`: every exposed port, with the bindings that it has.
pub fn port_map(config: &ContainerConfig, published: &[PublishedPort]) -> PortMap {
    let mut map: PortMap = BTreeMap::new();
    for port in config.exposed_ports.keys() {
        if let Ok((number, protocol)) = parse_port(port) {
            map.insert(format!("{number}/{}", protocol.name()), None);
        }
    }
    for p in published {
        map.entry(format!("{}/{}", p.container_port, p.protocol))
            .or_default()
            .get_or_insert_with(Vec::new)
            .push(dhow_api::PortBinding {
                host_ip: p.host_ip.to_string(),
                // None where the container's own address is the way.
                host_port: match p.host_port {
                    0 => String::new(),
                    port => port.to_string(),
                },
            });
    }
    map
}

/// The ports of a line of the list.
pub fn summary(config: &ContainerConfig, published: &[PublishedPort]) -> Vec<PortSummary> {
    // What is reached at the container's own address alone is shown as what is exposed.
    let mut ports: Vec<PortSummary> = published
        .iter()
        .filter(|p| p.host_port != 0)
        .map(|p| PortSummary {
            ip: p.host_ip.to_string(),
            private_port: p.container_port,
            public_port: p.host_port,
            protocol: p.protocol.clone(),
        })
        .collect();
    for port in config.exposed_ports.keys() {
        if let Ok((number, protocol)) = parse_port(port)
            && !ports
                .iter()
                .any(|p| p.private_port == number && p.protocol == protocol.name())
        {
            ports.push(PortSummary {
                private_port: number,
                protocol: protocol.name().to_owned(),
                ..PortSummary::default()
            });
        }
    }
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifications() {
        assert_eq!(parse_port("80").unwrap(), (80, Protocol::Tcp));
        assert_eq!(parse_port("53/UDP").unwrap(), (53, Protocol::Udp));
        for bad in ["", "0", "x", "80/xyz", "70000", "80/"] {
            assert!(parse_port(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_host_ports("").unwrap(), None);
        assert_eq!(parse_host_ports("0").unwrap(), None);
        assert_eq!(parse_host_ports("8000-8010").unwrap(), Some((8000, 8010)));
        for bad in ["-", "9-8", "x", "70000"] {
            assert!(parse_host_ports(bad).is_err(), "{bad}");
        }
    }
}
