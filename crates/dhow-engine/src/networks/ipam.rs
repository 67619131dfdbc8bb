//! The addresses of a network: what a client asks for, checked, and what is left open, chosen.

use std::net::IpAddr;

use dhow_api::{Ipam, IpamConfig};
use dhow_net::IpNet;

use super::Networks;
use super::options::has_no_gateway;
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
    let mut given: Vec<IpamConfig> = ipam.config.into_iter().filter(said).collect();
    for config in &given {
        if record.ipv6 || !config.subnet.contains(':') {
            check(config)?;
        }
    }
    // What is said of a family that the network has not is of no effect, as in Docker.
    given.retain(|config| record.ipv6 || !config.subnet.contains(':'));
    given.sort_by_key(|config| config.subnet.contains(':'));
    record.ipam = given;
    Ok(())
}

/// Whether a bridge can have what is asked for.
pub fn check_bridge(record: &StoredNetwork) -> Result<()> {
    for (ipv6, family) in [(false, "IPv4"), (true, "IPv6")] {
        let of = |config: &&IpamConfig| config.subnet.contains(':') == ipv6;
        if record.ipam.iter().filter(of).count() > 1 {
            return Err(EngineError::invalid(format!(
                "a bridge network has one {family} subnet: several were given"
            )));
        }
    }
    Ok(())
}

impl Networks {
    /// Chooses what the client has left open: subnets and gateways. Nothing that the host has a way to is chosen.
    pub(super) async fn settle_subnets(&self, record: &mut StoredNetwork) -> Result<()> {
        let mut settled = Vec::with_capacity(2);
        for ipv6 in [false, true] {
            if ipv6 && !record.ipv6 {
                continue;
            }
            let config = record.ipam_of(ipv6).cloned().unwrap_or_default();
            let without_gateway = config.gateway.is_empty() && has_no_gateway(record, ipv6);
            let mut config = self.settle(config, ipv6).await?;
            if without_gateway {
                config.gateway.clear();
            }
            settled.push(config);
        }
        record.ipam = settled;
        Ok(())
    }

    pub(super) async fn settle(&self, mut config: IpamConfig, ipv6: bool) -> Result<IpamConfig> {
        let others: Vec<IpNet> = {
            let made = self.made();
            let made = made.values().flat_map(|made| made.subnets());
            let own = &self.inner.bridge;
            let own6 = own.ipv6.map(|own| IpNet::V6(own.trunc()));
            made.chain([IpNet::V4(own.subnet)]).chain(own6).collect()
        };
        let subnet = match config.subnet.as_str() {
            "" => {
                let mut busy = self.inner.net.reachable().await?;
                busy.extend(others);
                dhow_net::free_subnet(&self.inner.config.pools, ipv6, &busy)?
            }
            text => {
                let subnet: IpNet = text
                    .parse()
                    .map_err(|_| EngineError::invalid(format!("invalid subnet {text}")))?;
                if others.iter().any(|other| overlap(&subnet, other)) {
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
            let taken = |ip: &IpAddr| {
                let same = |aux: &String| aux.parse() == Ok(*ip);
                config.auxiliary_addresses.values().any(same)
            };
            // A network's own address is nobody's, also where the family has no broadcast.
            let mut hosts = subnet.hosts().filter(|ip| *ip != subnet.network());
            let first = hosts.find(|ip| !taken(ip)).ok_or_else(|| {
                EngineError::invalid(format!("subnet {subnet} has no address for a gateway"))
            })?;
            config.gateway = first.to_string();
        }
        Ok(config)
    }
}

pub fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
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
    let net = |what: &str, text: &str| -> Result<IpNet> {
        let invalid = || {
            bad(format!(
                "invalid {what} {text}: invalid CIDR block notation"
            ))
        };
        let net: IpNet = text.parse().map_err(|_| invalid())?;
        match net.trunc() == net {
            true => Ok(net),
            false => Err(bad(format!(
                "invalid {what} {net}: it should be {}",
                net.trunc()
            ))),
        }
    };
    let subnet = net("subnet", &config.subnet)?;
    if subnet.prefix_len() > subnet.max_prefix_len() - 2 {
        return Err(bad(format!(
            "invalid subnet {subnet}: it has no room for a gateway and a container"
        )));
    }
    if !config.ip_range.is_empty() {
        let range = net("ip-range", &config.ip_range)?;
        if !subnet.contains(&range) {
            return Err(bad(format!(
                "invalid ip-range {range}: parent subnet {subnet} doesn't contain ip-range"
            )));
        }
    }
    let address = |what: &str, text: &str| {
        let ip: IpAddr = text
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
        check(&of("fd00:1::/64", "fd00:1::100/120", "fd00:1::9")).unwrap();
        for (bad, why) in [
            (of("10.1.0.1/16", "", ""), "it should be 10.1.0.0/16"),
            (of("10.1.0.0", "", ""), "invalid CIDR block notation"),
            (of("10.1.0.0/31", "", ""), "no room"),
            (of("fd00:1::/127", "", ""), "no room"),
            (of("fd00:1::5/64", "", ""), "it should be fd00:1::/64"),
            (
                of("fd00:1::/64", "", "10.1.0.1"),
                "doesn't contain this address",
            ),
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
