//! The options of a bridge network, by the names that Docker's driver has for them: each is taken and done, or refused by name.
//! What has another name is somebody else's, and kept.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

use dhow_net::{GatewayMode, NetConfig};

use super::records::StoredNetwork;
use crate::config::DefaultOptions;
use crate::error::{EngineError, Result};

const MODE: &str = "com.docker.network.bridge.gateway_mode_ipv4";
const MODE6: &str = "com.docker.network.bridge.gateway_mode_ipv6";
const INHIBIT: &str = "com.docker.network.bridge.inhibit_ipv4";
const TRUSTED: &str = "com.docker.network.bridge.trusted_host_interfaces";
const SOURCE: &str = "com.docker.network.host_ipv4";
const SOURCE6: &str = "com.docker.network.host_ipv6";
const DEFAULT_BRIDGE: &str = "com.docker.network.bridge.default_bridge";
const PREFIX: &str = "com.docker.network.container_iface_prefix";
const IPV4: &str = "com.docker.network.enable_ipv4";
const IPV6: &str = "com.docker.network.enable_ipv6";

type Options = BTreeMap<String, String>;

fn failed(name: &str, text: &str, why: &str) -> EngineError {
    EngineError::invalid(format!("failed to parse {name} value: {text} ({why})"))
}

pub fn flag(options: &Options, name: &str, default: bool) -> Result<bool> {
    match options.get(name).map(|text| text.to_lowercase()).as_deref() {
        None => Ok(default),
        Some("1" | "t" | "true") => Ok(true),
        Some("0" | "f" | "false") => Ok(false),
        Some(text) => {
            let why = format!("strconv.ParseBool: parsing {text:?}: invalid syntax");
            Err(failed(name, text, &why))
        }
    }
}

fn said<'a>(options: &'a Options, name: &str) -> Option<&'a str> {
    let text = options.get(name).map(String::as_str);
    text.filter(|text| !text.is_empty())
}

fn address<A: FromStr>(options: &Options, name: &str) -> Result<Option<A>> {
    let parse = |text: &str| text.parse().map_err(|_| failed(name, text, "nil ip"));
    said(options, name).map(parse).transpose()
}

fn mode(options: &Options, name: &str) -> Result<GatewayMode> {
    match said(options, name) {
        None | Some("nat") => Ok(GatewayMode::Nat),
        Some("nat-unprotected") => Ok(GatewayMode::Unprotected),
        Some("routed") => Ok(GatewayMode::Routed),
        Some("isolated") => Ok(GatewayMode::Isolated),
        Some(text) => Err(failed(name, text, &format!("unknown gateway mode {text}"))),
    }
}

/// The modes of IPv4 and of IPv6. What can't be read was refused when the network was made.
pub fn modes(record: &StoredNetwork) -> [GatewayMode; 2] {
    [MODE, MODE6].map(|name| mode(&record.options, name).unwrap_or_default())
}

/// Whether nobody has the gateway's address of a family: no container has a way by it, nor has the bridge the address.
pub fn has_no_gateway(record: &StoredNetwork, ipv6: bool) -> bool {
    let inhibited = || flag(&record.options, INHIBIT, false).unwrap_or(false);
    let isolated = modes(record)[usize::from(ipv6)] == GatewayMode::Isolated;
    isolated || (!ipv6 && record.internal && inhibited())
}

/// Whether containers have IPv6 addresses. What the request says is stronger than the option, which would look wrong.
pub fn families(
    options: &mut Options,
    ipv4: Option<bool>,
    ipv6: Option<bool>,
) -> Result<(bool, bool)> {
    let mut of = |name, asked: Option<bool>, default| match asked {
        Some(asked) => {
            options.remove(name);
            Ok(asked)
        }
        None => flag(options, name, default),
    };
    Ok((of(IPV4, ipv4, true)?, of(IPV6, ipv6, false)?))
}

/// Options of a network that is made, with those that its driver has by default.
pub fn with_defaults(defaults: &DefaultOptions, driver: &str, options: Options) -> Options {
    let mut all = defaults.get(driver).cloned().unwrap_or_default();
    all.extend(options);
    all
}

/// Puts into effect what is said of ways in and out.
pub fn apply(record: &StoredNetwork, config: &mut NetConfig) -> Result<()> {
    let options = &record.options;
    config.mode = mode(options, MODE)?;
    let mode6 = mode(options, MODE6)?;
    if [config.mode, mode6].contains(&GatewayMode::Isolated) && !record.internal {
        return Err(EngineError::invalid(
            "gateway mode 'isolated' can only be used for an internal network",
        ));
    }
    config.no_address = flag(options, INHIBIT, false)?;
    config.source = address(options, SOURCE)?;
    let source6 = address(options, SOURCE6)?;
    if let Some(six) = &mut config.ipv6 {
        six.mode = mode6;
        six.source = source6;
    }
    let trusted = said(options, TRUSTED).unwrap_or_default().split(':');
    config.trusted = trusted
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    // What the kernel takes (dev_valid_name).
    if let Some(name) = config.trusted.iter().find(|name| name.len() > 15) {
        return Err(failed(
            TRUSTED,
            name,
            "a link's name has at most 15 characters",
        ));
    }
    Ok(())
}

/// Refuses what there is not, when a network is made: networks that were made before it was known by name stay.
pub fn check(options: &Options) -> Result<()> {
    if flag(options, DEFAULT_BRIDGE, false)? {
        return Err(EngineError::Unsupported(format!(
            "{DEFAULT_BRIDGE} is not supported: the default network is the daemon's own"
        )));
    }
    if said(options, PREFIX).is_some_and(|prefix| prefix != "eth") {
        return Err(EngineError::Unsupported(format!(
            "{PREFIX} is not supported: containers' links are called eth0, eth1 and so on"
        )));
    }
    Ok(())
}

/// The host's address that ports are published on where nobody says otherwise.
pub fn host_binding(record: &StoredNetwork) -> Result<Option<IpAddr>> {
    const HOST_BINDING: &str = "com.docker.network.bridge.host_binding_ipv4";
    let ip = address::<std::net::Ipv4Addr>(&record.options, HOST_BINDING)?;
    Ok(ip.map(IpAddr::V4))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(internal: bool, options: &[(&str, &str)]) -> StoredNetwork {
        let owned = options.iter();
        StoredNetwork {
            internal,
            options: owned
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            ..StoredNetwork::default()
        }
    }

    fn applied(internal: bool, options: &[(&str, &str)]) -> Result<NetConfig> {
        let record = record(internal, options);
        check(&record.options)?;
        let mut config = NetConfig::default();
        apply(&record, &mut config).map(|()| config)
    }

    #[test]
    fn what_is_taken() {
        let config = applied(
            false,
            &[
                (MODE, "routed"),
                (SOURCE, "192.0.2.9"),
                (TRUSTED, "eth1:wg0"),
                (INHIBIT, "1"),
                ("org.example.other", "x"),
            ],
        );
        let config = config.unwrap();
        assert_eq!(config.mode, GatewayMode::Routed);
        assert_eq!(config.source, "192.0.2.9".parse().ok());
        assert_eq!(config.trusted, ["eth1", "wg0"]);
        assert!(config.no_address);
        let isolated = record(true, &[(MODE, "isolated")]);
        assert!(has_no_gateway(&isolated, false) && !has_no_gateway(&isolated, true));
        let inhibited = [(INHIBIT, "true")];
        assert!(has_no_gateway(&record(true, &inhibited), false));
        assert!(!has_no_gateway(&record(false, &inhibited), false));
    }

    #[test]
    fn what_is_refused() {
        for (options, why) in [
            ((MODE, "bridged"), "(unknown gateway mode bridged)"),
            ((MODE6, "isolated"), "only be used for an internal network"),
            ((SOURCE, "fd00::1"), "host_ipv4 value: fd00::1 (nil ip)"),
            ((SOURCE6, "192.0.2.1"), "(nil ip)"),
            ((INHIBIT, "maybe"), "parsing \"maybe\": invalid syntax"),
            ((TRUSTED, "a-name-that-is-too-long"), "at most 15"),
            ((PREFIX, "net"), "container_iface_prefix is not supported"),
            ((DEFAULT_BRIDGE, "true"), "default_bridge is not supported"),
        ] {
            let said = applied(false, &[options]).unwrap_err().to_string();
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn families_by_option_and_by_request() {
        let mut options = record(false, &[(IPV6, "true")]).options;
        assert_eq!(families(&mut options, None, None).unwrap(), (true, true));
        let said = families(&mut options, None, Some(false)).unwrap();
        assert_eq!(said, (true, false));
        assert!(options.is_empty());
    }
}
