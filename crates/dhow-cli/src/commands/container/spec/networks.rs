//! `--network` and the flags about the container's place in it.
//!
//! `--network` may be given several times, and then each is an endpoint. What the flags of their own say (`--ip`,
//! `--network-alias` and the like) is of the first, as it was when there was only one.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::IntErrorKind;

use dhow_api::{EndpointIpamConfig, EndpointSettings, NetworkingConfig};

use crate::csv::fields;
use crate::error::Refusal;
use crate::flags::Args;

/// The mode where no network is named.
const DEFAULT: &str = "default";

/// One `--network`.
#[derive(Debug, Default, PartialEq)]
struct Attachment {
    target: String,
    settings: EndpointSettings,
}

/// The network mode, and the endpoints if there is something to say about them.
pub fn read(args: &Args) -> Result<(String, Option<NetworkingConfig>), Refusal> {
    if let Some(mac) = args.nonempty("mac-address") {
        check_mac(mac)?;
    }
    let named = args.list("network");
    let mut attachments: Vec<Attachment> = named
        .iter()
        .map(|text| attachment(text))
        .collect::<Result<_, _>>()?;
    if attachments.is_empty() {
        attachments.push(Attachment {
            target: DEFAULT.to_owned(),
            ..Attachment::default()
        });
    }
    add_flags(&mut attachments[0], args)?;
    let mode = attachments[0].target.clone();
    let alone = attachments.len() == 1;
    let (own, given) = attachments
        .iter()
        .map(|attachment| is_user_defined(&attachment.target))
        .fold((false, false), |(own, given), is_own| {
            (own || is_own, given || !is_own)
        });
    let mut endpoints = BTreeMap::new();
    for attachment in attachments {
        check_attachment(&attachment)?;
        let Attachment { target, settings } = attachment;
        if endpoints.contains_key(&target) {
            return Err(format!("network {target:?} is specified multiple times"));
        }
        endpoints.insert(target, Some(settings));
    }
    if own && given {
        return Err(
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes"
                .to_owned(),
        );
    }
    // The mode says it all.
    let bare = alone && endpoints.values().flatten().all(is_bare);
    let config = (!bare).then_some(NetworkingConfig {
        endpoints_config: endpoints,
    });
    Ok((mode, config))
}

fn is_bare(settings: &EndpointSettings) -> bool {
    *settings == EndpointSettings::default()
}

/// Whether this is a network that somebody made, and not one of those that are always there.
fn is_user_defined(mode: &str) -> bool {
    !matches!(mode, DEFAULT | "bridge" | "host" | "none") && !mode.starts_with("container:")
}

fn ipam(settings: &mut EndpointSettings) -> &mut EndpointIpamConfig {
    settings.ipam_config.get_or_insert_default()
}

/// Adds what the flags of their own say, unless `--network` says the same.
fn add_flags(attachment: &mut Attachment, args: &Args) -> Result<(), Refusal> {
    let both = |flag: &str, field: &str| {
        Err(format!(
            "conflicting options: cannot specify both --{flag} and per-network {field}"
        ))
    };
    let settings = &mut attachment.settings;
    let given = settings.ipam_config.clone().unwrap_or_default();
    if let Some(aliases) = args.some_strings("network-alias") {
        if settings.aliases.is_some() {
            return both("network-alias", "alias");
        }
        settings.aliases = Some(aliases);
    }
    if let Some(ip) = args.nonempty("ip") {
        if !given.ipv4_address.is_empty() {
            return both("ip", "IPv4 address");
        }
        ipam(settings).ipv4_address = ip.to_owned();
    }
    if let Some(ip) = args.nonempty("ip6") {
        if !given.ipv6_address.is_empty() {
            return both("ip6", "IPv6 address");
        }
        ipam(settings).ipv6_address = ip.to_owned();
    }
    if let Some(mac) = args.nonempty("mac-address") {
        if !settings.mac_address.is_empty() {
            return both("mac-address", "MAC address");
        }
        settings.mac_address = mac.to_owned();
    }
    if let Some(locals) = args.some_strings("link-local-ip") {
        if !given.link_local_ips.is_empty() {
            return both("link-local-ip", "link-local IP addresses");
        }
        ipam(settings).link_local_ips = locals;
    }
    // On the default bridge links are the container's.
    if is_user_defined(&attachment.target) {
        settings.links = args.some_strings("link");
    }
    Ok(())
}

/// Checks what can't be said of this network, and the addresses: before an image is pulled for nothing.
fn check_attachment(attachment: &Attachment) -> Result<(), Refusal> {
    let Attachment { target, settings } = attachment;
    if target.trim().is_empty() {
        return Err("no name set for network".to_owned());
    }
    if !is_user_defined(target) && settings.aliases.is_some() {
        return Err(
            "network-scoped aliases are only supported for user-defined networks".to_owned(),
        );
    }
    if !settings.mac_address.is_empty() {
        check_mac(&settings.mac_address)?;
    }
    let Some(ipam) = &settings.ipam_config else {
        return Ok(());
    };
    let (ip, ip6) = (&ipam.ipv4_address, &ipam.ipv6_address);
    if !ip.is_empty() && ip.parse::<Ipv4Addr>().is_err() {
        return Err(format!("invalid IPv4 address: {ip}"));
    }
    if !ip6.is_empty() && ip6.parse::<Ipv6Addr>().is_err() {
        return Err(format!("invalid IPv6 address: {ip6}"));
    }
    Ok(())
}

/// Six, eight or twenty bytes in hexadecimal, as Go reads them: `00:00:5e:00:53:01`, with dashes, or `0000.5e00.5301`.
fn check_mac(mac: &str) -> Result<(), Refusal> {
    let bare = mac.trim();
    let (separator, width) = match bare.as_bytes().get(2) {
        Some(b':') => (':', 2),
        Some(b'-') => ('-', 2),
        _ => ('.', 4),
    };
    let groups: Vec<&str> = bare.split(separator).collect();
    let valid = matches!(groups.len() * width / 2, 6 | 8 | 20)
        && groups
            .iter()
            .all(|group| group.len() == width && group.bytes().all(|b| b.is_ascii_hexdigit()));
    match valid {
        true => Ok(()),
        false => Err(format!("{mac} is not a valid mac address")),
    }
}

/// Whether this is a link: `container` or `container:alias`.
pub fn check_link(text: &str) -> Result<(), Refusal> {
    match text.matches(':').count() {
        _ if text.is_empty() => Err("empty string specified for links".to_owned()),
        0 | 1 => Ok(()),
        _ => Err(format!("bad format for links: {text}")),
    }
}

/// Whether this is a value of `--network`.
pub fn check(text: &str) -> Result<(), Refusal> {
    attachment(text).map(drop)
}

/// Whether there are fields in it: something before and something behind an equals sign.
fn has_fields(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices('=')
        .any(|(at, _)| text[..at].ends_with(is_word) && text[at + 1..].starts_with(is_word))
}

/// A name, or `name=net,alias=a,ip=...`.
fn attachment(text: &str) -> Result<Attachment, Refusal> {
    let mut attachment = Attachment::default();
    if !has_fields(text) {
        attachment.target = text.to_owned();
        return Ok(attachment);
    }
    for field in fields(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) if !key.is_empty() => (key.trim(), value.trim()),
            _ => return Err(format!("invalid field {field}")),
        };
        let settings = &mut attachment.settings;
        let value = value.to_owned();
        match key.to_ascii_lowercase().as_str() {
            "name" => attachment.target = value,
            "alias" => settings.aliases.get_or_insert_default().push(value),
            "ip" => ipam(settings).ipv4_address = value,
            "ip6" => ipam(settings).ipv6_address = value,
            "mac-address" => settings.mac_address = value,
            "link-local-ip" => ipam(settings).link_local_ips.push(value),
            "driver-opt" => {
                let (name, value) = driver_option(&value)
                    .ok_or("invalid key value pair format in driver options")?;
                settings
                    .driver_opts
                    .get_or_insert_default()
                    .insert(name, value);
            }
            "gw-priority" => settings.gw_priority = priority(&value)?,
            key => return Err(format!("invalid field key {key}")),
        }
    }
    if attachment.target.is_empty() {
        return Err("network name/id is not specified".to_owned());
    }
    Ok(attachment)
}

/// An option of an endpoint's driver, `name=value`.
pub fn driver_option(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    let name = name.trim();
    (!name.is_empty()).then(|| (name.to_owned(), value.trim().to_owned()))
}

fn priority(text: &str) -> Result<i64, Refusal> {
    text.parse().map_err(|error: std::num::ParseIntError| {
        let why = match error.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("invalid gw-priority ({text}): {why}")
    })
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::super::flags::CONTAINER;
    use super::*;
    use crate::flags::{parse, parser};

    fn from(line: &str) -> Result<(String, Option<NetworkingConfig>), Refusal> {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let flags = || CONTAINER.iter().copied();
        read(&parse(parser("run", flags(), true), flags(), &words)?)
    }

    fn endpoints(line: &str) -> BTreeMap<String, Option<EndpointSettings>> {
        let (_, config) = from(line).unwrap();
        config.unwrap().endpoints_config
    }

    #[test]
    fn a_name_alone_is_the_mode() {
        for (line, mode) in [
            ("", "default"),
            ("--network none", "none"),
            ("--net host", "host"),
            ("--network container:web", "container:web"),
            ("--network x=", "x="),
            ("--network name=front", "front"),
            ("--link web", "default"),
        ] {
            assert_eq!(from(line), Ok((mode.to_owned(), None)), "{line}");
        }
    }

    #[test]
    fn fields_make_an_endpoint() {
        let all = endpoints(
            "--network NAME=Net,alias=a,alias=b,ip=10.0.0.2,ip6=fd00::2,mac-address=92:d0:c6:0a:29:33,link-local-ip=169.254.1.1,driver-opt=x.y=1=2,gw-priority=-3",
        );
        let net = all["Net"].clone().unwrap();
        assert_eq!(net.aliases, Some(vec!["a".into(), "b".into()]));
        let ipam = net.ipam_config.unwrap();
        assert_eq!(ipam.ipv4_address, "10.0.0.2");
        assert_eq!(ipam.ipv6_address, "fd00::2");
        assert_eq!(ipam.link_local_ips, ["169.254.1.1"]);
        assert_eq!(net.mac_address, "92:d0:c6:0a:29:33");
        assert_eq!(net.driver_opts.unwrap()["x.y"], "1=2");
        assert_eq!(net.gw_priority, -3);
    }

    #[test]
    fn flags_of_their_own_are_of_the_first() {
        let line = "--network a --network name=b,alias=x --ip 10.0.0.2 --net-alias one --network-alias two --link db:d --link-local-ip 169.254.1.1 --mac-address 0000.5e00.5301";
        let all = endpoints(line);
        assert_eq!(from(line).unwrap().0, "a");
        let a = all["a"].clone().unwrap();
        assert_eq!(a.aliases, Some(vec!["one".into(), "two".into()]));
        assert_eq!(a.links, Some(vec!["db:d".into()]));
        assert_eq!(a.mac_address, "0000.5e00.5301");
        assert_eq!(a.ipam_config.unwrap().link_local_ips, ["169.254.1.1"]);
        let b = all["b"].clone().unwrap();
        assert_eq!(b.aliases, Some(vec!["x".into()]));
        assert_eq!(b.links, None);
        // Several need no fields to be said.
        assert!(all.values().all(Option::is_some));
        assert_eq!(endpoints("--network a --network b").len(), 2);
        // The default network's are said under its own name.
        assert!(endpoints("--ip 10.0.0.2").contains_key("default"));
    }

    #[test]
    fn contradictions_are_refused_in_dockers_words() {
        let conflict = |what: &str| format!("conflicting options: cannot specify both {what}");
        for (line, why) in [
            (
                "--network name=x,alias=a --network-alias b",
                conflict("--network-alias and per-network alias"),
            ),
            (
                "--network name=x,ip=10.0.0.1 --ip 10.0.0.2",
                conflict("--ip and per-network IPv4 address"),
            ),
            (
                "--network name=x,ip6=fd00::1 --ip6 fd00::2",
                conflict("--ip6 and per-network IPv6 address"),
            ),
            (
                "--network name=x,mac-address=92:d0:c6:0a:29:33 --mac-address 92:d0:c6:0a:29:34",
                conflict("--mac-address and per-network MAC address"),
            ),
            (
                "--network name=x,link-local-ip=169.254.1.1 --link-local-ip 169.254.1.2",
                conflict("--link-local-ip and per-network link-local IP addresses"),
            ),
            (
                "--network x --network x",
                "network \"x\" is specified multiple times".to_owned(),
            ),
            (
                "--network x --network host",
                "conflicting options: cannot attach both user-defined and non-user-defined network-modes"
                    .to_owned(),
            ),
            (
                "--network-alias x",
                "network-scoped aliases are only supported for user-defined networks".to_owned(),
            ),
            ("--network=", "no name set for network".to_owned()),
            (
                "--mac-address zz",
                "zz is not a valid mac address".to_owned(),
            ),
            (
                "--network name=x,mac-address=0:0:0:0:0:0",
                "0:0:0:0:0:0 is not a valid mac address".to_owned(),
            ),
            (
                "--network name=x,ip=300.1.1.1",
                "invalid IPv4 address: 300.1.1.1".to_owned(),
            ),
        ] {
            assert_eq!(from(line), Err(why), "{line}");
        }
        for (value, why) in [
            ("alias=a", "network name/id is not specified"),
            ("name=x,foo=1", "invalid field key foo"),
            ("name=x,foo", "invalid field foo"),
            (
                "name=x,driver-opt=a",
                "invalid key value pair format in driver options",
            ),
            (
                "name=x,gw-priority=a",
                "invalid gw-priority (a): invalid syntax",
            ),
            (
                "name=x,gw-priority=99999999999999999999",
                "invalid gw-priority (99999999999999999999): value out of range",
            ),
        ] {
            let why = format!("invalid argument {value:?} for \"--network\" flag: {why}");
            assert_eq!(from(&format!("--network {value}")), Err(why));
        }
        for (value, why) in [
            ("a:b:c", "bad format for links: a:b:c"),
            ("", "empty string specified for links"),
        ] {
            let why = format!("invalid argument {value:?} for \"--link\" flag: {why}");
            assert_eq!(from(&format!("--link={value}")), Err(why));
        }
    }
}
