//! The addresses of a network: what a client asks for, checked, and what is left open, chosen.

use std::net::Ipv4Addr;

use dhow_api::{Ipam, IpamConfig};
use dhow_net::Ipv4Net;

use super::Networks;
use super::records::StoredNetwork;
use crate::error::{EngineError, Result};

/// Takes over what was asked for.
pub fn read(ipam: Ipam, record: &mut StoredNetwork) -> Result<()> {
    if !matches!(ipam.driver.as_str(), "" | "default") {
        return Err(EngineError::NoSuchPath(format!(
            "could not find plugin {0} in v1 plugin registry: plugin \"{0}\" not found",
            ipam.driver
        )));
    }
    record.ipam_options = ipam.options;
    // Clients send one that says nothing.
    let said = |c: &IpamConfig| *c != IpamConfig::default();
    record.ipam = ipam.config.into_iter().filter(said).collect();
    if record.ipam.len() > 1 {
        return Err(EngineError::invalid(
            "a bridge network has one IPv4 subnet: several were given",
        ));
    }
    if let Some(config) = record.ipam.first() {
        check(config)?;
    }
    Ok(())
}

impl Networks {
    /// Chooses what the client has left open: subnet and gateway. Nothing that the host has a way to is chosen.
    pub(super) async fn settle_subnet(&self, record: &mut StoredNetwork) -> Result<()> {
        let mut config = record.ipam.pop().unwrap_or_default();
        let others: Vec<Ipv4Net> = {
            let made = self.made();
            let made = made.values().filter_map(|made| made.subnet());
            made.chain([self.inner.net.bridge().subnet]).collect()
        };
        let overlaps = |a: &Ipv4Net, b: &Ipv4Net| a.contains(b) || b.contains(a);
        let subnet = match config.subnet.as_str() {
            "" => {
                let reached = self.inner.net.reachable().await?;
                let busy = |subnet: &Ipv4Net| {
                    others.iter().any(|o| overlaps(subnet, o))
                        || reached
                            .iter()
                            .any(|r| r.prefix_len() > 1 && overlaps(subnet, r))
                };
                let pools = &self.inner.config.pools;
                let free = pools.iter().flat_map(|pool| pool.subnets());
                free.into_iter()
                    .find(|subnet| !busy(subnet))
                    .ok_or(dhow_net::Error::NoFreeSubnet)?
            }
            text => {
                let subnet: Ipv4Net = text
                    .parse()
                    .map_err(|_| EngineError::invalid(format!("invalid subnet {text}")))?;
                if others.iter().any(|o| overlaps(&subnet, o)) {
                    return Err(EngineError::NotPermitted(
                        "invalid pool request: Pool overlaps with other one on this address space"
                            .to_owned(),
                    ));
                }
                subnet
            }
        };
        config.subnet = subnet.to_string();
        if config.gateway.is_empty() {
            let taken = |ip: &Ipv4Addr| {
                let ip = ip.to_string();
                config.auxiliary_addresses.values().any(|aux| *aux == ip)
            };
            let first = subnet.hosts().find(|ip| !taken(ip));
            let first = first.ok_or_else(|| {
                EngineError::invalid(format!("subnet {subnet} has no address for a gateway"))
            })?;
            config.gateway = first.to_string();
        }
        record.ipam = vec![config];
        Ok(())
    }
}

/// In Docker's words.
fn check(config: &IpamConfig) -> Result<()> {
    let bad = |why: String| EngineError::invalid(format!("invalid network config:\n{why}"));
    if config.subnet.is_empty() {
        if config.ip_range.is_empty()
            && config.gateway.is_empty()
            && config.auxiliary_addresses.is_empty()
        {
            return Ok(());
        }
        return Err(bad(
            "invalid subnet : a range, a gateway or an auxiliary address needs one".to_owned(),
        ));
    }
    if config.subnet.contains(':') {
        return Err(EngineError::Unsupported(
            "networks with IPv6 are not supported yet".to_owned(),
        ));
    }
    let subnet: Ipv4Net = config.subnet.parse().map_err(|_| {
        bad(format!(
            "invalid subnet {}: invalid CIDR block notation",
            config.subnet
        ))
    })?;
    if subnet.trunc() != subnet {
        return Err(bad(format!(
            "invalid subnet {subnet}: it should be {}",
            subnet.trunc()
        )));
    }
    if subnet.prefix_len() > 30 {
        return Err(bad(format!(
            "invalid subnet {subnet}: it has no room for a gateway and a container"
        )));
    }
    if !config.ip_range.is_empty() {
        let range: Ipv4Net = config.ip_range.parse().map_err(|_| {
            bad(format!(
                "invalid ip-range {}: invalid CIDR block notation",
                config.ip_range
            ))
        })?;
        if range.trunc() != range {
            return Err(bad(format!(
                "invalid ip-range {range}: it should be {}",
                range.trunc()
            )));
        }
        if !subnet.contains(&range) {
            return Err(bad(format!(
                "invalid ip-range {range}: parent subnet {subnet} doesn't contain ip-range"
            )));
        }
    }
    let address = |what: &str, text: &str| {
        let ip: Ipv4Addr = text
            .parse()
            .map_err(|_| bad(format!("invalid {what} {text}: invalid address")))?;
        match subnet.contains(&ip) {
            true => Ok(()),
            false => Err(bad(format!(
                "invalid {what} {text}: parent subnet {subnet} doesn't contain this address"
            ))),
        }
    };
    if !config.gateway.is_empty() {
        address("gateway", &config.gateway)?;
    }
    for text in config.auxiliary_addresses.values() {
        address("auxiliary address", text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_fits_together() {
        let of = |subnet: &str, range: &str, gateway: &str| IpamConfig {
            subnet: subnet.to_owned(),
            ip_range: range.to_owned(),
            gateway: gateway.to_owned(),
            ..IpamConfig::default()
        };
        check(&of("10.1.0.0/16", "10.1.2.0/24", "10.1.0.9")).unwrap();
        for (bad, why) in [
            (of("10.1.0.1/16", "", ""), "it should be 10.1.0.0/16"),
            (of("10.1.0.0", "", ""), "invalid CIDR block notation"),
            (of("10.1.0.0/31", "", ""), "no room"),
            (
                of("10.1.0.0/16", "10.2.0.0/24", ""),
                "doesn't contain ip-range",
            ),
            (
                of("10.1.0.0/16", "10.1.2.3/24", ""),
                "it should be 10.1.2.0/24",
            ),
            (
                of("10.1.0.0/16", "", "10.2.0.1"),
                "doesn't contain this address",
            ),
            (of("", "", "10.2.0.1"), "invalid subnet"),
        ] {
            let said = check(&bad).unwrap_err().to_string();
            assert!(said.contains(why), "{said}");
        }
    }
}
