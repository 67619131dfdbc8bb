//! Which range, gateway and auxiliary addresses belong to which subnet: the flags say them apart, the API wants them
//! together. The first that fits is not taken, but each: subnets do not overlap, so that there is only one.

use std::collections::BTreeMap;
use std::net::IpAddr;

use dhow_api::IpamConfig;
use ipnet::IpNet;

use crate::error::Refusal;

/// What the flags say, as they were given.
pub struct Asked {
    pub subnets: Vec<String>,
    pub ranges: Vec<String>,
    pub gateways: Vec<String>,
    pub auxiliary: BTreeMap<String, String>,
}

/// The subnets, each with what belongs to it, in their order.
pub fn configs(asked: Asked) -> Result<Vec<IpamConfig>, Refusal> {
    let most = asked.ranges.len().max(asked.gateways.len());
    if asked.subnets.len() < most {
        return Err("every ip-range or gateway must have a corresponding subnet".to_owned());
    }
    let mut configs: Vec<IpamConfig> = Vec::new();
    for subnet in asked.subnets {
        for earlier in &configs {
            if contains(&subnet, &earlier.subnet)? || contains(&earlier.subnet, &subnet)? {
                return Err("multiple overlapping subnet configuration is not supported".to_owned());
            }
        }
        configs.push(IpamConfig {
            subnet,
            ..IpamConfig::default()
        });
    }
    for range in asked.ranges {
        let mut found = false;
        network(&range)?;
        for config in &mut configs {
            if !contains(&config.subnet, &range)? {
                continue;
            }
            if !config.ip_range.is_empty() {
                return Err(format!(
                    "cannot configure multiple ranges ({range}, {}) on the same subnet ({})",
                    config.ip_range, config.subnet
                ));
            }
            config.ip_range = range.clone();
            found = true;
        }
        if !found {
            return Err(format!("no matching subnet for range {range}"));
        }
    }
    for gateway in asked.gateways {
        let mut found = false;
        for config in &mut configs {
            if !contains(&config.subnet, &gateway)? {
                continue;
            }
            if !config.gateway.is_empty() {
                return Err(format!(
                    "cannot configure multiple gateways ({gateway}, {}) for the same subnet ({})",
                    config.gateway, config.subnet
                ));
            }
            config.gateway = gateway.clone();
            found = true;
        }
        if !found {
            return Err(format!("no matching subnet for gateway {gateway}"));
        }
    }
    for (name, address) in asked.auxiliary {
        let mut found = false;
        for config in &mut configs {
            if contains(&config.subnet, &address)? {
                let addresses = &mut config.auxiliary_addresses;
                addresses.insert(name.clone(), address.clone());
                found = true;
            }
        }
        if !found {
            return Err(format!("no matching subnet for aux-address {address}"));
        }
    }
    Ok(configs)
}

/// An address and the network that it is in, from `address/prefix`.
fn network(text: &str) -> Result<IpNet, Refusal> {
    text.parse()
        .map_err(|_| format!("invalid CIDR address: {text}"))
}

/// Whether an address, or the one before a slash, is in a subnet. What is no address is in none.
fn contains(subnet: &str, other: &str) -> Result<bool, Refusal> {
    let subnet = network(subnet).map_err(|reason| format!("invalid subnet: {reason}"))?;
    let address: Option<IpAddr> = match other.contains('/') {
        true => Some(network(other)?.addr()),
        false => other.parse().ok(),
    };
    // An IPv4 address may be written as an IPv6 one.
    Ok(address.is_some_and(|address| subnet.contains(&address.to_canonical())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(
        subnets: &[&str],
        ranges: &[&str],
        gateways: &[&str],
        auxiliary: &[(&str, &str)],
    ) -> Asked {
        let strings = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Asked {
            subnets: strings(subnets),
            ranges: strings(ranges),
            gateways: strings(gateways),
            auxiliary: auxiliary
                .iter()
                .map(|(name, address)| ((*name).to_owned(), (*address).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn all_finds_its_subnet() {
        let configs = configs(asked(
            &["fd00:1::/64", "10.1.0.0/16", "10.2.0.9/16"],
            &["10.2.128.0/17", "fd00:1::8000/113"],
            &["10.1.0.1", "fd00:1::1", "::ffff:10.2.0.1"],
            &[("a", "10.1.0.2"), ("b", "10.2.0.2"), ("c", "10.1.0.3")],
        ))
        .unwrap();
        let shown: Vec<String> = configs
            .iter()
            .map(|c| {
                let auxiliary: Vec<String> = c
                    .auxiliary_addresses
                    .iter()
                    .map(|(name, address)| format!("{name}={address}"))
                    .collect();
                format!(
                    "{} {} {} {}",
                    c.subnet,
                    c.ip_range,
                    c.gateway,
                    auxiliary.join(",")
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                "fd00:1::/64 fd00:1::8000/113 fd00:1::1 ",
                "10.1.0.0/16  10.1.0.1 a=10.1.0.2,c=10.1.0.3",
                "10.2.0.9/16 10.2.128.0/17 ::ffff:10.2.0.1 b=10.2.0.2",
            ]
        );
        assert!(
            super::configs(asked(&[], &[], &[], &[]))
                .unwrap()
                .is_empty()
        );
        // What only the daemon need look at.
        assert_eq!(
            super::configs(asked(&["x"], &[], &[], &[])).unwrap().len(),
            1
        );
    }

    #[test]
    fn what_does_not_fit_is_said_in_dockers_words() {
        let net = "10.1.0.0/16";
        let two: &[&str] = &["10.1.0.0/16", "10.2.0.0/16"];
        for (asked, why) in [
            (
                asked(&[], &["10.1.0.0/24"], &[], &[]),
                "every ip-range or gateway must have a corresponding subnet",
            ),
            (
                asked(&[net], &[], &["10.1.0.1", "10.1.0.2"], &[]),
                "every ip-range or gateway must have a corresponding subnet",
            ),
            (
                asked(&[net, "10.1.2.0/24"], &[], &[], &[]),
                "multiple overlapping subnet configuration is not supported",
            ),
            (
                asked(&[net, net], &[], &[], &[]),
                "multiple overlapping subnet configuration is not supported",
            ),
            (
                asked(&[net, "x"], &[], &[], &[]),
                "invalid subnet: invalid CIDR address: x",
            ),
            (
                asked(&["10.1.0.0"], &[], &["10.1.0.1"], &[]),
                "invalid subnet: invalid CIDR address: 10.1.0.0",
            ),
            (
                asked(&[net], &["10.1.0.0"], &[], &[]),
                "invalid CIDR address: 10.1.0.0",
            ),
            (
                asked(&[net], &["10.2.0.0/24"], &[], &[]),
                "no matching subnet for range 10.2.0.0/24",
            ),
            (
                asked(two, &["10.1.1.0/24", "10.1.2.0/24"], &[], &[]),
                "cannot configure multiple ranges (10.1.2.0/24, 10.1.1.0/24) on the same subnet (10.1.0.0/16)",
            ),
            (
                asked(&[net], &[], &["fd00::1"], &[]),
                "no matching subnet for gateway fd00::1",
            ),
            (
                asked(&[net], &[], &["nonsense"], &[]),
                "no matching subnet for gateway nonsense",
            ),
            (
                asked(two, &[], &["10.1.0.1", "10.1.0.2"], &[]),
                "cannot configure multiple gateways (10.1.0.2, 10.1.0.1) for the same subnet (10.1.0.0/16)",
            ),
            (
                asked(&[net], &[], &[], &[("a", "10.2.0.1")]),
                "no matching subnet for aux-address 10.2.0.1",
            ),
            (
                asked(&[], &[], &[], &[("a", "")]),
                "no matching subnet for aux-address ",
            ),
        ] {
            assert_eq!(configs(asked).unwrap_err(), why);
        }
    }
}
