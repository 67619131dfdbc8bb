//! `--network` and the flags about the container's place in it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use dhow_api::{EndpointIpamConfig, EndpointSettings, NetworkingConfig};

use super::mounts::fields;
use crate::error::Refusal;
use crate::flags::Args;

/// The network mode, and the endpoints if there is something to say about them.
pub fn read(args: &Args) -> Result<(String, Option<NetworkingConfig>), Refusal> {
    let mut endpoints: BTreeMap<String, Option<EndpointSettings>> = BTreeMap::new();
    let mut mode = None;
    for text in args.list("network") {
        let (name, settings) = endpoint(text)?;
        if endpoints.contains_key(&name) {
            return Err(format!("network {name:?} is specified multiple times"));
        }
        mode.get_or_insert_with(|| name.clone());
        endpoints.insert(name, Some(settings));
    }
    let mode = mode.unwrap_or_else(|| "default".to_owned());
    let own = from_flags(args)?;
    if own != EndpointSettings::default() {
        match endpoints.get_mut(&mode) {
            Some(Some(settings)) if *settings != EndpointSettings::default() => {
                return Err(
                    "conflicting options: cannot specify an option of the endpoint both within --network and on its own"
                        .to_owned(),
                );
            }
            _ => {
                endpoints.insert(mode.clone(), Some(own));
            }
        }
    }
    let says_something = endpoints.len() > 1
        || endpoints
            .values()
            .flatten()
            .any(|settings| *settings != EndpointSettings::default());
    let config = says_something.then_some(NetworkingConfig {
        endpoints_config: endpoints,
    });
    Ok((mode, config))
}

fn ipam(settings: &mut EndpointSettings) -> &mut EndpointIpamConfig {
    settings.ipam_config.get_or_insert_default()
}

fn set_ip(settings: &mut EndpointSettings, ip: &str) -> Result<(), Refusal> {
    ip.parse::<Ipv4Addr>()
        .map_err(|_| format!("invalid IPv4 address: {ip}"))?;
    ipam(settings).ipv4_address = ip.to_owned();
    Ok(())
}

fn set_ip6(settings: &mut EndpointSettings, ip: &str) -> Result<(), Refusal> {
    ip.parse::<Ipv6Addr>()
        .map_err(|_| format!("invalid IPv6 address: {ip}"))?;
    ipam(settings).ipv6_address = ip.to_owned();
    Ok(())
}

fn set_mac(settings: &mut EndpointSettings, mac: &str) -> Result<(), Refusal> {
    let groups: Vec<&str> = mac.split([':', '-']).collect();
    let valid = groups.len() == 6
        && groups
            .iter()
            .all(|group| group.len() == 2 && group.bytes().all(|b| b.is_ascii_hexdigit()));
    if !valid {
        return Err(format!("{mac} is not a valid mac address"));
    }
    settings.mac_address = mac.to_owned();
    Ok(())
}

fn from_flags(args: &Args) -> Result<EndpointSettings, Refusal> {
    let mut settings = EndpointSettings::default();
    if let Some(ip) = args.nonempty("ip") {
        set_ip(&mut settings, ip)?;
    }
    if let Some(ip) = args.nonempty("ip6") {
        set_ip6(&mut settings, ip)?;
    }
    if let Some(mac) = args.nonempty("mac-address") {
        set_mac(&mut settings, mac)?;
    }
    let locals = args.strings("link-local-ip");
    if !locals.is_empty() {
        ipam(&mut settings).link_local_ips = locals;
    }
    settings.aliases = args.some_strings("network-alias");
    settings.links = args.some_strings("link");
    Ok(settings)
}

/// A name, or `name=net,alias=a,ip=...`.
pub fn endpoint(text: &str) -> Result<(String, EndpointSettings), Refusal> {
    let mut settings = EndpointSettings::default();
    if !text.contains('=') {
        return Ok((text.to_owned(), settings));
    }
    let mut name = String::new();
    for field in fields(text)? {
        let Some((key, value)) = field.split_once('=') else {
            return Err(format!("invalid field {field}"));
        };
        match key.trim().to_ascii_lowercase().as_str() {
            "name" => name = value.to_owned(),
            "alias" => settings
                .aliases
                .get_or_insert_default()
                .push(value.to_owned()),
            "ip" => set_ip(&mut settings, value)?,
            "ip6" => set_ip6(&mut settings, value)?,
            "mac-address" => set_mac(&mut settings, value)?,
            "link-local-ip" => ipam(&mut settings).link_local_ips.push(value.to_owned()),
            "driver-opt" => {
                let (option, value) = value
                    .split_once('=')
                    .ok_or_else(|| "invalid key value pair format in driver options".to_owned())?;
                settings
                    .driver_opts
                    .get_or_insert_default()
                    .insert(option.to_owned(), value.to_owned());
            }
            "gw-priority" => {
                settings.gw_priority = value
                    .parse()
                    .map_err(|_| format!("invalid gw-priority ({value})"))?;
            }
            key => return Err(format!("invalid field key {key}")),
        }
    }
    if name.is_empty() {
        return Err("network name/id is not specified".to_owned());
    }
    Ok((name, settings))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_names_or_fields() {
        assert_eq!(endpoint("none").unwrap().0, "none");
        let (name, settings) =
            endpoint("name=net,alias=a,alias=b,ip=10.0.0.2,mac-address=92:d0:c6:0a:29:33").unwrap();
        assert_eq!(name, "net");
        assert_eq!(settings.aliases, Some(vec!["a".into(), "b".into()]));
        assert_eq!(settings.ipam_config.unwrap().ipv4_address, "10.0.0.2");
        for bad in [
            "alias=a",
            "name=x,foo=1",
            "name=x,ip=300.1.1.1",
            "name=x,mac-address=zz",
        ] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
    }
}
