//! A network that a container is to be on, and what it asks for there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use dhow_api::{EndpointIpamConfig, EndpointSettings};
use dhow_net::{IpNet, Ipv4Net, Ipv6Net, LinkSwitch, LinkWishes, MacAddr};

use super::doors::Entering;
use super::endpoint::parse_mac;
use super::made::Made;
use super::{BRIDGE, Networks, lan};
use crate::error::{EngineError, Result};

/// Options of an endpoint, as Docker names them.
const LINK_NAME: &str = "com.docker.network.endpoint.ifname";
const LINK_SETTINGS: &str = "com.docker.network.endpoint.sysctls";

/// A network that a container is to be on. It is not removed meanwhile.
pub(super) struct Target {
    pub key: String,
    pub name: String,
    pub settings: EndpointSettings,
    /// `None` is the default network.
    pub made: Option<Arc<Made>>,
    _entering: Option<Entering>,
}

impl Target {
    pub fn internal(&self) -> bool {
        self.made
            .as_ref()
            .is_some_and(|m| lan::is_internal(&m.record))
    }

    /// Its containers are on a wire of the host's, and have no ports on the host.
    pub fn is_lan(&self) -> bool {
        self.made.as_ref().is_some_and(|m| lan::is_lan(&m.record))
    }

    /// Its containers' default route leads to their link.
    pub fn routes_by_link(&self) -> bool {
        self.made
            .as_ref()
            .is_some_and(|m| lan::routes_by_link(&m.record))
    }

    pub fn mac(&self) -> Result<Option<MacAddr>> {
        match self.settings.mac_address.as_str() {
            "" => Ok(None),
            text => parse_mac(text).map(Some),
        }
    }

    /// The addresses that were asked for.
    pub fn ips(&self) -> Result<(Option<Ipv4Addr>, Option<Ipv6Addr>)> {
        let config = self.settings.ipam_config.as_ref();
        let asked = |field: fn(&EndpointIpamConfig) -> &String| {
            config.map(|c| field(c).as_str()).filter(|t| !t.is_empty())
        };
        Ok((
            self.ip(asked(|c| &c.ipv4_address), "IPv4")?,
            self.ip(asked(|c| &c.ipv6_address), "IPv6")?,
        ))
    }

    /// The name that its link was asked to have.
    pub fn link_name(&self) -> Result<Option<String>> {
        let options = self.settings.driver_opts.as_ref();
        let Some(name) = options.and_then(|o| o.get(LINK_NAME)) else {
            return Ok(None);
        };
        // What the kernel takes (dev_valid_name), and no more than can be part of a setting's path.
        let fine = (1..=15).contains(&name.len())
            && !matches!(name.as_str(), "lo" | "." | ".." | "all" | "default")
            && name
                .bytes()
                .all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b':' | b'%'));
        match fine {
            true => Ok(Some(name.clone())),
            false => Err(self.refuse(&format!("invalid interface name: {name:?}"))),
        }
    }

    /// What its link is to have beyond its addresses on the network.
    pub fn link_wishes(&self) -> Result<LinkWishes> {
        let config = self.settings.ipam_config.as_ref();
        let texts = config.map_or(&[][..], |c| c.link_local_ips.as_slice());
        let addresses = texts.iter().map(|text| self.link_local(text));
        let options = self.settings.driver_opts.as_ref();
        let settings = options.and_then(|o| o.get(LINK_SETTINGS));
        let switches = settings.iter().flat_map(|text| text.split(','));
        Ok(LinkWishes {
            addresses: addresses.collect::<Result<_>>()?,
            switches: switches
                .map(|text| self.switch(text))
                .collect::<Result<_>>()?,
        })
    }

    /// An address of the link's alone, with the prefix of link-local ones (RFC 3927, RFC 4291).
    fn link_local(&self, text: &str) -> Result<IpNet> {
        match text.parse() {
            Ok(IpAddr::V4(ip)) if !ip.is_unspecified() => {
                Ok(IpNet::V4(Ipv4Net::new_assert(ip, 16)))
            }
            Ok(IpAddr::V6(ip)) if !ip.is_unspecified() => {
                Ok(IpNet::V6(Ipv6Net::new_assert(ip, 64)))
            }
            _ => Err(self.refuse(&format!("invalid link-local IP address: {text}"))),
        }
    }

    /// A setting of the link's: `net.ipv4.conf.IFNAME.log_martians=1`.
    fn switch(&self, text: &str) -> Result<LinkSwitch> {
        let clean = |part: &str| {
            let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
            (!part.is_empty() && part.bytes().all(fine)).then(|| part.to_owned())
        };
        let read = || {
            let (path, value) = text.split_once('=')?;
            let mut parts = path.splitn(5, '.');
            let mut next = || parts.next();
            let (net, family, group, link, name) = (next()?, next()?, next()?, next()?, next()?);
            // Docker's client writes it in lower case.
            let fine = net == "net"
                && matches!(family, "ipv4" | "ipv6" | "mpls")
                && matches!(link, "IFNAME" | "ifname");
            fine.then_some(LinkSwitch {
                family: family.to_owned(),
                group: clean(group)?,
                name: clean(name)?,
                value: value.to_owned(),
            })
        };
        read().ok_or_else(|| {
            self.refuse(&format!(
                "unrecognised network interface sysctl '{text}'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'"
            ))
        })
    }

    fn refuse(&self, why: &str) -> EngineError {
        EngineError::invalid(format!(
            "invalid config for network {}: invalid endpoint settings:\n{why}",
            self.name
        ))
    }

    fn ip<A: FromStr + Into<IpAddr> + Copy>(
        &self,
        text: Option<&str>,
        family: &str,
    ) -> Result<Option<A>> {
        let Some(text) = text else {
            return Ok(None);
        };
        let ip: A = text
            .parse()
            .map_err(|_| self.refuse(&format!("invalid {family} address: {text}")))?;
        let subnets = self.made.as_ref().map(|made| made.subnets());
        if subnets.is_some_and(|all| !all.iter().any(|subnet| subnet.contains(&ip.into()))) {
            return Err(self.refuse(&format!("no configured subnet contains IP address {text}")));
        }
        Ok(Some(ip))
    }
}

impl Networks {
    /// A network that a container is to be on, by name or id.
    pub(super) fn target(&self, name: &str, settings: &EndpointSettings) -> Result<Target> {
        let found = match self.predefined(name) {
            Some(BRIDGE) => None,
            Some(name) => {
                return Err(EngineError::NotPermitted(format!(
                    "container cannot be connected to {name} network: it shares no namespace, and has none of another's"
                )));
            }
            None => Some(self.find_made(name)?),
        };
        let key = found.as_ref().map_or(BRIDGE, |m| m.record.id.as_str());
        let entering = match &found {
            None => None,
            Some(made) => Some(self.inner.doors.enter(made)?),
        };
        if let Some(made) = &found
            && made.record.config_only
        {
            return Err(EngineError::NotPermitted(format!(
                "cannot connect to network {}: it is a configuration network",
                made.record.name
            )));
        }
        Ok(Target {
            key: key.to_owned(),
            name: found
                .as_ref()
                .map_or(BRIDGE, |m| m.record.name.as_str())
                .to_owned(),
            settings: settings.clone(),
            made: found,
            _entering: entering,
        })
    }
}
