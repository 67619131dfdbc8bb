//! `network create`.

use dhow_api::{ConfigReference, Ipam, NetworkCreateRequest};

use super::ipam;
use crate::error::{Result, message};
use crate::flags::{Args, Flag, Kind};
use crate::session::Session;
use crate::{environment, stdio};

pub const CREATE: &[Flag] = &[
    Flag::new(
        "attachable",
        Kind::Bool,
        "Let containers be connected by hand (swarms)",
    ),
    Flag::new(
        "aux-address",
        Kind::Map,
        "Address that is never given to a container (name=address)",
    ),
    Flag::new(
        "config-from",
        Kind::String,
        "Network whose configuration this one has",
    ),
    Flag::new(
        "config-only",
        Kind::Bool,
        "Make no network, but a configuration for others",
    ),
    Flag::new(
        "driver",
        Kind::String,
        "Driver of the network (bridge, macvlan, ipvlan)",
    )
    .short('d')
    .default("bridge"),
    Flag::new(
        "gateway",
        Kind::Strings,
        "IPv4 or IPv6 address of a subnet's gateway",
    ),
    Flag::new("ingress", Kind::Bool, "Make a swarm's routing mesh"),
    Flag::new("internal", Kind::Bool, "Keep it apart from other networks"),
    Flag::new(
        "ip-range",
        Kind::Strings,
        "Part of a subnet that containers' addresses are taken from",
    ),
    Flag::new(
        "ipam-driver",
        Kind::String,
        "Driver that hands out addresses",
    )
    .default("default"),
    Flag::new("ipam-opt", Kind::Map, "Set an option of that driver"),
    Flag::new("ipv4", Kind::Bool, "Give containers IPv4 addresses").default("true"),
    Flag::new("ipv6", Kind::Bool, "Give containers IPv6 addresses"),
    Flag::new("label", Kind::List, "Set a label")
        .checked(|text| environment::read_labels(&[], &[text]).map(drop)),
    Flag::new("opt", Kind::Map, "Set an option of the driver").short('o'),
    Flag::new("scope", Kind::String, "Scope of the network"),
    Flag::new(
        "subnet",
        Kind::Strings,
        "Subnet of the network, in CIDR notation",
    ),
];

pub async fn run(session: &Session, args: &Args) -> Result<()> {
    let request = request(args).map_err(message)?;
    let client = session.client().await?;
    let created = client.network_create(&request).await?;
    if !created.warning.is_empty() {
        eprintln!("WARNING: {}", created.warning);
    }
    Ok(stdio::println(&created.id)?)
}

fn request(args: &Args) -> std::result::Result<NetworkCreateRequest, String> {
    let config = ipam::configs(ipam::Asked {
        subnets: args.parts("subnet"),
        ranges: args.parts("ip-range"),
        gateways: args.parts("gateway"),
        auxiliary: environment::pairs(&args.list("aux-address")),
    })?;
    // Only if it was said: each daemon has a default of its own.
    let said = |flag: &str| args.was_given(flag).then(|| args.is_set(flag));
    Ok(NetworkCreateRequest {
        name: args.rest[0].clone(),
        check_duplicate: true,
        driver: args.text("driver").unwrap_or("bridge").to_owned(),
        scope: args.string("scope"),
        enable_ipv4: said("ipv4"),
        enable_ipv6: said("ipv6"),
        ipam: Some(Ipam {
            driver: args.text("ipam-driver").unwrap_or("default").to_owned(),
            options: Some(environment::pairs(&args.list("ipam-opt"))),
            config,
        }),
        internal: args.is_set("internal"),
        attachable: args.is_set("attachable"),
        ingress: args.is_set("ingress"),
        config_only: args.is_set("config-only"),
        config_from: args.nonempty("config-from").map(|network| ConfigReference {
            network: network.to_owned(),
        }),
        options: Some(environment::pairs(&args.list("opt"))),
        labels: Some(environment::read_labels(&[], &args.list("label"))?),
    })
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::flags::{parse, parser};

    fn json(line: &str) -> serde_json::Value {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let flags = || CREATE.iter().copied();
        let args = parse(parser("create", flags(), false), flags(), &words).unwrap();
        serde_json::to_value(request(&args).unwrap()).unwrap()
    }

    #[test]
    fn what_was_not_said_is_left_to_the_daemon() {
        let request = json("front");
        assert_eq!(request["Name"], "front");
        assert_eq!(request["Driver"], "bridge");
        assert_eq!(request["IPAM"]["Driver"], "default");
        for left in ["EnableIPv4", "EnableIPv6"] {
            assert!(request.get(left).is_none(), "{left}");
        }
        assert!(request["ConfigFrom"].is_null());
    }

    #[test]
    fn flags_become_a_request() {
        let request = json(
            "-d macvlan --internal --attachable --ingress --config-only --config-from base --scope global --ipv4=false --ipv6 -o parent=eth0 --opt a=b=c --label x --label y=1 --subnet 10.1.0.0/16,10.2.0.0/16 --subnet fd00::/64 --gateway 10.2.0.1 --ip-range 10.1.8.0/24 --aux-address router=10.1.0.9 --ipam-driver other --ipam-opt k=v front",
        );
        assert_eq!(
            request,
            serde_json::json!({
                "Name": "front",
                "CheckDuplicate": true,
                "Driver": "macvlan",
                "Scope": "global",
                "EnableIPv4": false,
                "EnableIPv6": true,
                "IPAM": {
                    "Driver": "other",
                    "Options": {"k": "v"},
                    "Config": [
                        {"Subnet": "10.1.0.0/16", "IPRange": "10.1.8.0/24", "AuxiliaryAddresses": {"router": "10.1.0.9"}},
                        {"Subnet": "10.2.0.0/16", "Gateway": "10.2.0.1"},
                        {"Subnet": "fd00::/64"},
                    ],
                },
                "Internal": true,
                "Attachable": true,
                "Ingress": true,
                "ConfigOnly": true,
                "ConfigFrom": {"Network": "base"},
                "Options": {"parent": "eth0", "a": "b=c"},
                "Labels": {"x": "", "y": "1"},
            })
        );
    }
}
