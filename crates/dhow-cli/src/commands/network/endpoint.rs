//! `network connect` and `network disconnect`.

use std::collections::BTreeMap;

use dhow_api::{EndpointIpamConfig, EndpointSettings};

use crate::commands::container::spec::networks::{check_link, driver_option};
use crate::error::{Result, message};
use crate::flags::{Args, Flag, Kind};
use crate::session::Session;

pub const CONNECT: &[Flag] = &[
    Flag::new(
        "alias",
        Kind::Strings,
        "Further name of the container in the network",
    ),
    Flag::new(
        "driver-opt",
        Kind::Strings,
        "Set an option of the endpoint's driver",
    ),
    Flag::new(
        "gw-priority",
        Kind::Int,
        "Priority of the network as the one with the default gateway; the highest wins",
    ),
    Flag::new("ip", Kind::String, "IPv4 address (such as 172.30.100.104)"),
    Flag::new("ip6", Kind::String, "IPv6 address (such as 2001:db8::33)"),
    Flag::new("link", Kind::List, "Add a link to another container").checked(check_link),
    Flag::new(
        "link-local-ip",
        Kind::Strings,
        "Link-local address of the container",
    ),
];

pub const DISCONNECT: &[Flag] = &[Flag::new(
    "force",
    Kind::Bool,
    "Also a container that is not found any more",
)
.short('f')];

pub async fn connect(session: &Session, args: &Args) -> Result<()> {
    let endpoint = endpoint(args).map_err(message)?;
    let client = session.client().await?;
    let [network, container] = &args.rest[..] else {
        return Ok(());
    };
    Ok(client.network_connect(network, container, endpoint).await?)
}

fn endpoint(args: &Args) -> std::result::Result<EndpointSettings, String> {
    let mut options = BTreeMap::new();
    for text in args.parts("driver-opt") {
        let (name, value) =
            driver_option(&text).ok_or("invalid key/value pair format in driver options")?;
        options.insert(name, value);
    }
    Ok(EndpointSettings {
        ipam_config: Some(EndpointIpamConfig {
            ipv4_address: args.string("ip"),
            ipv6_address: args.string("ip6"),
            link_local_ips: args.parts("link-local-ip"),
        }),
        links: args.some_strings("link"),
        aliases: Some(args.parts("alias")),
        driver_opts: Some(options),
        gw_priority: args.int("gw-priority").unwrap_or(0),
        ..EndpointSettings::default()
    })
}

pub async fn disconnect(session: &Session, args: &Args) -> Result<()> {
    let client = session.client().await?;
    let [network, container] = &args.rest[..] else {
        return Ok(());
    };
    let force = args.is_set("force");
    Ok(client.network_disconnect(network, container, force).await?)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::flags::{parse, parser};

    fn from(line: &str) -> std::result::Result<EndpointSettings, String> {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let flags = || CONNECT.iter().copied();
        endpoint(&parse(parser("connect", flags(), false), flags(), &words)?)
    }

    #[test]
    fn flags_become_an_endpoint() {
        let settings = from(
            "--alias a,b --alias c --driver-opt x=1,y=2=3 --gw-priority -7 --ip 10.0.0.2 --ip6 fd00::2 --link db:d --link-local-ip 169.254.1.1,169.254.1.2 net web",
        )
        .unwrap();
        assert_eq!(
            settings.aliases,
            Some(vec!["a".into(), "b".into(), "c".into()])
        );
        let options = settings.driver_opts.unwrap();
        assert_eq!((options["x"].as_str(), options["y"].as_str()), ("1", "2=3"));
        assert_eq!(settings.gw_priority, -7);
        assert_eq!(settings.links, Some(vec!["db:d".into()]));
        let ipam = settings.ipam_config.unwrap();
        assert_eq!(ipam.ipv4_address, "10.0.0.2");
        assert_eq!(ipam.ipv6_address, "fd00::2");
        assert_eq!(ipam.link_local_ips, ["169.254.1.1", "169.254.1.2"]);
    }

    #[test]
    fn what_is_no_option_and_no_link_is_refused() {
        for (line, why) in [
            (
                "--driver-opt x net web",
                "invalid key/value pair format in driver options",
            ),
            (
                "--driver-opt =x net web",
                "invalid key/value pair format in driver options",
            ),
            (
                "--link a:b:c net web",
                "invalid argument \"a:b:c\" for \"--link\" flag: bad format for links: a:b:c",
            ),
            (
                "--gw-priority x net web",
                "invalid argument \"x\" for \"--gw-priority\" flag: strconv.ParseInt: parsing \"x\": invalid syntax",
            ),
        ] {
            assert_eq!(from(line).unwrap_err(), why);
        }
    }
}
