//! Networks of the drivers macvlan and ipvlan: what is asked for, checked and settled; their parents, which several can share;
//! and their removal.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use dhow_api::IpamConfig;
use dhow_net::{
    EndpointRequest, IpNet, Ipv4Net, Ipv6Net, IpvlanFlag, IpvlanMode, LanConfig, LanKind,
    LanSubnet, MacvlanMode, MadeParent, Network, Parent,
};

use super::made::Made;
use super::records::{self, StoredNetwork};
use super::target::Target;
use super::{Networks, overlap};
use crate::error::{EngineError, Result};

const MACVLAN: &str = "macvlan";
const IPVLAN: &str = "ipvlan";
const PARENT: &str = "parent";
const MACVLAN_MODE: &str = "macvlan_mode";
const IPVLAN_MODE: &str = "ipvlan_mode";
const IPVLAN_FLAG: &str = "ipvlan_flag";

/// What a link's name can have (IFNAMSIZ).
const NAME_BYTES: usize = 15;
/// Tags of VLANs (IEEE 802.1Q).
const TAGS: std::ops::RangeInclusive<u16> = 1..=4094;

/// Whether the driver is one of these.
pub fn is_lan(record: &StoredNetwork) -> bool {
    matches!(record.driver.as_str(), MACVLAN | IPVLAN)
}

/// Whether its containers have no way out: one without a parent leads nowhere.
pub fn is_internal(record: &StoredNetwork) -> bool {
    record.internal || is_lan(record) && asked_parent(record).is_none()
}

/// Whether its containers' default route leads to their link.
pub fn routes_by_link(record: &StoredNetwork) -> bool {
    is_lan(record) && kind(record).is_ok_and(LanKind::routes_by_link)
}

fn option<'a>(record: &'a StoredNetwork, name: &str) -> Option<&'a str> {
    let text = record.options.get(name).map(String::as_str);
    text.filter(|text| !text.is_empty())
}

fn asked_parent(record: &StoredNetwork) -> Option<&str> {
    option(record, PARENT)
}

/// The parent's name: where none was asked for, that of a link that the network has for itself.
fn parent_name(record: &StoredNetwork) -> String {
    let own = match record.driver.as_str() {
        MACVLAN => "dm",
        _ => "di",
    };
    match asked_parent(record) {
        Some(name) => name.to_owned(),
        // A network's id is 64 digits.
        None => format!("{own}-{}", &record.id[..12]),
    }
}

/// The one of `all` that an option names.
fn chosen<T: Copy + Default>(
    record: &StoredNetwork,
    name: &str,
    all: &[T],
    text: fn(T) -> &'static str,
    refused: impl FnOnce(&str) -> String,
) -> Result<T> {
    let Some(asked) = option(record, name) else {
        return Ok(T::default());
    };
    let found = all.iter().find(|one| text(**one) == asked);
    found
        .copied()
        .ok_or_else(|| EngineError::invalid(refused(asked)))
}

fn kind(record: &StoredNetwork) -> Result<LanKind> {
    if record.driver == MACVLAN {
        let all = &MacvlanMode::ALL;
        let mode = chosen(record, MACVLAN_MODE, all, MacvlanMode::name, |asked| {
            format!(
                "requested macvlan mode '{asked}' is not valid, 'bridge' mode is the macvlan driver default"
            )
        })?;
        return Ok(LanKind::Macvlan(mode));
    }
    let all = &IpvlanMode::ALL;
    let mode = chosen(record, IPVLAN_MODE, all, IpvlanMode::name, |asked| {
        format!(
            "requested ipvlan mode '{asked}' is not valid, 'l2' mode is the ipvlan driver default"
        )
    })?;
    let all = &IpvlanFlag::ALL;
    let flag = chosen(record, IPVLAN_FLAG, all, IpvlanFlag::name, |asked| {
        format!(
            "requested ipvlan flag '{asked}' is not valid, 'bridge' is the ipvlan driver default"
        )
    })?;
    Ok(LanKind::Ipvlan(mode, flag))
}

/// How a VLAN of this name is made: `eth0.10` has the tag 10 on `eth0`.
fn vlan(name: &str) -> Result<MadeParent> {
    let Some((on, tag)) = name.split_once('.') else {
        return Err(EngineError::invalid(format!(
            "invalid subinterface vlan name {name}, example formatting is eth0.10: there is no link {name} on the host"
        )));
    };
    if on.is_empty() || tag.contains('.') {
        return Err(EngineError::invalid(format!(
            "required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10, instead received {name}"
        )));
    }
    let id: u32 = tag.parse().map_err(|_| {
        EngineError::invalid(format!(
            "unable to parse a valid vlan id from: {tag} (ex. eth0.10 for vlan 10)"
        ))
    })?;
    match u16::try_from(id).ok().filter(|id| TAGS.contains(id)) {
        Some(id) => Ok(MadeParent::Vlan {
            on: on.to_owned(),
            id,
        }),
        None => Err(EngineError::invalid(format!(
            "vlan id must be between 1-4094, received: {id}"
        ))),
    }
}

/// A network's settings, once its addresses are settled.
pub fn config(record: &StoredNetwork) -> Result<LanConfig> {
    let made = match (asked_parent(record), record.parent_was_made) {
        (None, _) => Some(MadeParent::Dummy),
        (Some(name), true) => Some(vlan(name)?),
        (Some(_), false) => None,
    };
    let subnets = |ipv6: bool| {
        let of = move |config: &&IpamConfig| config.subnet.contains(':') == ipv6;
        record.ipam.iter().filter(of)
    };
    Ok(LanConfig {
        kind: kind(record)?,
        parent: Parent {
            name: parent_name(record),
            made,
        },
        internal: is_internal(record),
        subnets: subnets(false)
            .map(subnet::<Ipv4Net, Ipv4Addr>)
            .collect::<Result<_>>()?,
        subnets6: subnets(true)
            .filter(|_| record.ipv6)
            .map(subnet::<Ipv6Net, Ipv6Addr>)
            .collect::<Result<_>>()?,
    })
}

fn subnet<N: FromStr, A: FromStr>(config: &IpamConfig) -> Result<LanSubnet<N, A>> {
    fn read<T: FromStr>(what: &str, text: &str) -> Result<T> {
        text.parse()
            .map_err(|_| EngineError::invalid(format!("invalid {what}: {text}")))
    }
    fn given<T: FromStr>(what: &str, text: &str) -> Result<Option<T>> {
        match text {
            "" => Ok(None),
            text => read(what, text).map(Some),
        }
    }
    Ok(LanSubnet {
        net: read("subnet", &config.subnet)?,
        range: given("ip-range", &config.ip_range)?,
        gateway: given("gateway", &config.gateway)?,
        reserved: config
            .auxiliary_addresses
            .values()
            .map(|text| read("auxiliary address", text))
            .collect::<Result<_>>()?,
    })
}

impl Networks {
    /// Makes such a network of a record without addresses. The caller has the turn.
    pub(super) async fn create_lan(&self, mut record: StoredNetwork) -> Result<Arc<Made>> {
        let kind = kind(&record)?;
        let parent = parent_name(&record);
        if parent == "lo" {
            return Err(EngineError::invalid(format!(
                "loopback interface is not a valid {} parent link",
                record.driver
            )));
        }
        let fine = |c: char| !c.is_control() && !c.is_whitespace() && c != '/';
        if parent.len() > NAME_BYTES || !parent.chars().all(fine) {
            return Err(EngineError::invalid(format!(
                "invalid parent {parent:?}: a link's name has at most {NAME_BYTES} bytes, without '/' or white space"
            )));
        }
        self.check_parent(&record, kind, &parent)?;
        if asked_parent(&record).is_some() {
            let there = self.inner.net.addresses_of(parent.clone()).await?;
            record.parent_was_made = match there {
                // Of networks that share what was made, the last removes it.
                Some(_) => self.others_on(&record, &parent).any_made,
                None => {
                    vlan(&parent)?;
                    true
                }
            };
        }
        self.settle_lan(&mut record).await?;
        let config = config(&record)?;
        // What a crash leaves is a record whose parent the next daemon makes.
        records::put(&self.inner.store, &record).await?;
        match self.inner.net.add_lan(config).await {
            Ok(net) => Ok(Arc::new(Made::new(record, Some(net)))),
            Err(e) => {
                records::delete(&self.inner.store, &record.id).await?;
                Err(e.into())
            }
        }
    }

    /// Whether other networks leave a parent to this one.
    fn check_parent(&self, record: &StoredNetwork, kind: LanKind, parent: &str) -> Result<()> {
        let others = self.others_on(record, parent);
        let passthru = |kind| kind == LanKind::Macvlan(MacvlanMode::Passthru);
        for (other, its_kind) in &others.all {
            let refused = match (kind, its_kind) {
                (LanKind::Ipvlan(..), LanKind::Ipvlan(..)) => format!(
                    "network di-{} is already using parent interface {parent}",
                    &other.record.id[..12]
                ),
                (LanKind::Macvlan(_), LanKind::Macvlan(_)) if passthru(kind) => format!(
                    "cannot use mode passthru, macvlan network {} is already using parent interface {parent}",
                    other.record.id
                ),
                (LanKind::Macvlan(_), LanKind::Macvlan(_)) if passthru(*its_kind) => format!(
                    "macvlan network {} is already using parent interface {parent} in mode passthru",
                    other.record.id
                ),
                _ => continue,
            };
            return Err(EngineError::NotPermitted(refused));
        }
        Ok(())
    }

    fn others_on(&self, record: &StoredNetwork, parent: &str) -> OthersOn {
        let made = self.made();
        let all = made.values().filter(|made| {
            let other = &made.record;
            is_lan(other) && !other.config_only && other.id != record.id && {
                parent_name(other) == parent
            }
        });
        let all: Vec<(Arc<Made>, LanKind)> = all
            .filter_map(|made| Some((made.clone(), kind(&made.record).ok()?)))
            .collect();
        OthersOn {
            any_made: all.iter().any(|(made, _)| made.record.parent_was_made),
            all,
        }
    }

    /// Chooses subnets where the client gave none. A gateway is on the wire: nobody can choose one but the client.
    async fn settle_lan(&self, record: &mut StoredNetwork) -> Result<()> {
        let mut settled: Vec<IpamConfig> = Vec::new();
        for ipv6 in [false, true] {
            if ipv6 && !record.ipv6 {
                continue;
            }
            let of = |config: &&IpamConfig| config.subnet.contains(':') == ipv6;
            let mut asked: Vec<IpamConfig> = record.ipam.iter().filter(of).cloned().collect();
            if asked.is_empty() {
                asked.push(IpamConfig::default());
            }
            for config in asked {
                let config = match config.subnet.is_empty() {
                    true => IpamConfig {
                        gateway: String::new(),
                        ..self.settle(config, ipv6).await?
                    },
                    false => IpamConfig {
                        subnet: subnet::<IpNet, IpAddr>(&config)?.net.to_string(),
                        ..config
                    },
                };
                let overlaps = settled.iter().any(|one| overlap_of(one, &config));
                if overlaps || !self.is_free(&config) {
                    return Err(EngineError::NotPermitted(
                        "invalid pool request: Pool overlaps with other one on this address space"
                            .to_owned(),
                    ));
                }
                settled.push(config);
            }
        }
        record.ipam = settled;
        Ok(())
    }

    /// Whether no other network has addresses of a subnet, but for one that has another range of it.
    fn is_free(&self, config: &IpamConfig) -> bool {
        let own = &self.inner.bridge;
        let own6 = own.ipv6.map(|own| IpNet::V6(own.trunc()));
        let Ok(subnet) = config.subnet.parse::<IpNet>() else {
            return true;
        };
        let of_default = [IpNet::V4(own.subnet)].into_iter().chain(own6);
        if of_default.into_iter().any(|one| overlap(&one, &subnet)) {
            return false;
        }
        let made = self.made();
        let mut others = made.values().filter(|made| !made.record.config_only);
        !others.any(|made| {
            let shares = |one: &IpamConfig| is_lan(&made.record) && share(one, config);
            let mut all = made.record.ipam.iter();
            all.any(|one| overlap_of(one, config) && !shares(one))
        })
    }

    /// Refuses addresses that were asked for and are another network's, of those that share a subnet with this one.
    pub(super) fn check_shared(&self, target: &Target, request: &EndpointRequest) -> Result<()> {
        let asked = request.ip.map(IpAddr::V4).into_iter();
        let asked: Vec<IpAddr> = asked.chain(request.ipv6.map(IpAddr::V6)).collect();
        if asked.is_empty() || !target.is_lan() {
            return Ok(());
        }
        let made = self.made();
        for other in made.values().filter(|made| made.record.id != target.key) {
            if !is_lan(&other.record) || other.record.config_only {
                continue;
            }
            let ranges = || {
                let all = other.record.ipam.iter();
                all.filter_map(|one| one.ip_range.parse::<IpNet>().ok())
            };
            for ip in &asked {
                let taken = self.inner.members.name_of(&other.record.id, *ip);
                if taken.is_some() || ranges().any(|range| range.contains(ip)) {
                    return Err(dhow_net::Error::AddressInUse(*ip).into());
                }
            }
        }
        Ok(())
    }

    /// Such a network of an earlier daemon's.
    pub(super) async fn open_lan(
        net: &Network,
        record: &StoredNetwork,
        live: &[dhow_net::LiveEndpoint],
    ) -> Result<Network> {
        Ok(net.take_over_lan(config(record)?, live).await?)
    }

    /// Removes what was made on the host for such a network, unless others have it too.
    pub(super) async fn remove_lan(&self, made: &Made, net: &Network) -> Result<()> {
        let parent = parent_name(&made.record);
        let last = self.others_on(&made.record, &parent).all.is_empty();
        Ok(net.remove(last).await?)
    }

    /// Whether a network, by its key, is one whose containers have no ports on the host.
    pub(super) fn is_lan(&self, key: &str) -> bool {
        let made = self.made();
        made.get(key).is_some_and(|made| is_lan(&made.record))
    }
}

fn nets(a: &str, b: &str) -> Option<(IpNet, IpNet)> {
    Some((a.parse().ok()?, b.parse().ok()?))
}

fn overlap_of(a: &IpamConfig, b: &IpamConfig) -> bool {
    nets(&a.subnet, &b.subnet).is_some_and(|(a, b)| overlap(&a, &b))
}

/// Whether two networks have different parts of one subnet.
fn share(a: &IpamConfig, b: &IpamConfig) -> bool {
    let same = nets(&a.subnet, &b.subnet).is_some_and(|(a, b)| a == b);
    same && nets(&a.ip_range, &b.ip_range).is_some_and(|(a, b)| !overlap(&a, &b))
}

/// Other networks that have the same parent.
struct OthersOn {
    all: Vec<(Arc<Made>, LanKind)>,
    /// Whether the parent was made for one of them.
    any_made: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(driver: &str, options: &[(&str, &str)]) -> StoredNetwork {
        let options = options.iter().map(|(k, v)| (k.to_string(), v.to_string()));
        StoredNetwork {
            id: "0123456789abcdef".repeat(4),
            driver: driver.to_owned(),
            options: options.collect(),
            ipam: vec![IpamConfig {
                subnet: "10.1.0.0/24".to_owned(),
                ..IpamConfig::default()
            }],
            ..StoredNetwork::default()
        }
    }

    #[test]
    fn options_say_what_is_made() {
        let of = |driver, options: &[(&str, &str)]| config(&record(driver, options)).unwrap();
        let own = of("macvlan", &[]);
        assert_eq!(own.kind, LanKind::Macvlan(MacvlanMode::Bridge));
        assert_eq!(own.parent.name, "dm-0123456789ab");
        assert_eq!(own.parent.made, Some(MadeParent::Dummy));
        assert!(own.internal);
        let ipvlan = of(
            "ipvlan",
            &[
                ("parent", "eth0"),
                ("ipvlan_mode", "l3s"),
                ("ipvlan_flag", "vepa"),
            ],
        );
        let kind = LanKind::Ipvlan(IpvlanMode::L3s, IpvlanFlag::Vepa);
        assert_eq!(ipvlan.kind, kind);
        assert_eq!(
            (ipvlan.parent.name.as_str(), ipvlan.parent.made),
            ("eth0", None)
        );
        assert!(!ipvlan.internal);
        for (driver, option, said) in [
            (
                "macvlan",
                "macvlan_mode",
                "requested macvlan mode 'l2' is not valid",
            ),
            (
                "ipvlan",
                "ipvlan_flag",
                "requested ipvlan flag 'l2' is not valid",
            ),
        ] {
            let refused = config(&record(driver, &[(option, "l2")])).unwrap_err();
            assert!(refused.to_string().contains(said), "{refused}");
        }
    }

    #[test]
    fn names_of_vlans() {
        let on = "eth0".to_owned();
        assert_eq!(vlan("eth0.10").unwrap(), MadeParent::Vlan { on, id: 10 });
        for (name, said) in [
            ("eth0", "invalid subinterface vlan name eth0"),
            ("eth0.1.2", "name.vlan_id"),
            (".7", "name.vlan_id"),
            ("eth0.x", "unable to parse a valid vlan id from: x"),
            ("eth0.0", "vlan id must be between 1-4094, received: 0"),
            (
                "eth0.4095",
                "vlan id must be between 1-4094, received: 4095",
            ),
            ("eth0.70000", "vlan id must be between 1-4094"),
        ] {
            let refused = vlan(name).unwrap_err().to_string();
            assert!(refused.contains(said), "{refused}");
        }
    }
}
