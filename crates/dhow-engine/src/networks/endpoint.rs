//! A container's endpoint as it is kept: its address, and what is published of it.

use std::net::IpAddr;

use dhow_net::{Ipv6Place, LiveEndpoint, MacAddr, PortBinding, Protocol};
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{EngineError, Result};

/// A container's address and what is published of it, as long as it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointRecord {
    pub id: String,
    /// The network's key.
    #[serde(default = "default_network")]
    pub network: String,
    /// The number in the name of the container's link, `eth0`.
    #[serde(default)]
    pub link: u32,
    /// What it is called, where somebody has chosen that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen_link: Option<String>,
    pub ip: std::net::Ipv4Addr,
    pub prefix: u8,
    /// Not every network has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<std::net::Ipv4Addr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Ipv6Record>,
    /// Empty where it is not the link's alone.
    pub mac: String,
    /// The host's end of the container's link, if it has one.
    pub host_link: String,
    pub ports: Vec<PublishedPort>,
}

/// The IPv6 part of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipv6Record {
    pub ip: std::net::Ipv6Addr,
    pub prefix: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<std::net::Ipv6Addr>,
}

impl From<Ipv6Place> for Ipv6Record {
    fn from(place: Ipv6Place) -> Self {
        Ipv6Record {
            ip: place.ip,
            prefix: place.prefix,
            gateway: place.gateway,
        }
    }
}

fn default_network() -> String {
    super::BRIDGE.to_owned()
}

/// The endpoints of a life. It once had one at most.
pub fn one_or_several<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Vec<EndpointRecord>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Stored {
        Several(Vec<EndpointRecord>),
        One(Option<Box<EndpointRecord>>),
    }
    Ok(match Stored::deserialize(deserializer)? {
        Stored::Several(endpoints) => endpoints,
        Stored::One(endpoint) => endpoint.into_iter().map(|e| *e).collect(),
    })
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort {
    pub protocol: String,
    pub container_port: u16,
    pub host_ip: IpAddr,
    pub host_port: u16,
}

impl EndpointRecord {
    /// What its link is called in the container.
    pub fn link_name(&self) -> String {
        let chosen = self.chosen_link.clone();
        chosen.unwrap_or_else(|| format!("eth{}", self.link))
    }

    /// As the network takes it over from an earlier daemon; `name` is the container's.
    pub fn live(&self, name: &str) -> LiveEndpoint {
        LiveEndpoint {
            id: self.id.clone(),
            name: name.to_owned(),
            ip: self.ip,
            ipv6: self.ipv6.map(|six| six.ip),
            mac: parse_mac(&self.mac).ok(),
            host_link: self.host_link.clone(),
            bindings: self.bindings(),
        }
    }

    /// IPv4's first.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let ipv6 = self.ipv6.map(|six| IpAddr::V6(six.ip));
        std::iter::once(IpAddr::V4(self.ip)).chain(ipv6)
    }

    pub fn bindings(&self) -> Vec<PortBinding> {
        self.ports
            .iter()
            .filter_map(PublishedPort::binding)
            .collect()
    }
}

impl PublishedPort {
    pub fn new(b: &PortBinding) -> PublishedPort {
        PublishedPort {
            protocol: b.protocol.name().to_owned(),
            container_port: b.container_port,
            host_ip: b.host_ip,
            host_port: b.host_port,
        }
    }

    pub fn binding(&self) -> Option<PortBinding> {
        Some(PortBinding {
            protocol: Protocol::from_name(&self.protocol)?,
            container_port: self.container_port,
            host_ip: self.host_ip,
            host_port: self.host_port,
        })
    }
}

pub fn parse_mac(text: &str) -> Result<MacAddr> {
    text.parse::<MacAddr>()
        .map_err(|e| EngineError::invalid(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Life {
        #[serde(default, alias = "endpoint", deserialize_with = "one_or_several")]
        endpoints: Vec<EndpointRecord>,
    }

    #[test]
    fn endpoints_of_every_earlier_time_are_read() {
        let read = |text: &str| serde_json::from_str::<Life>(text).unwrap().endpoints;
        let one = r#"{"id":"e","ip":"172.17.0.2","prefix":16,"gateway":"172.17.0.1","mac":"02:42:ac:11:00:02",
            "host_link":"veth0000001","ports":[]}"#;
        assert!(read("{}").is_empty());
        assert!(read(r#"{"endpoint":null}"#).is_empty());
        let endpoints = read(&format!("{{\"endpoint\":{one}}}"));
        assert_eq!(endpoints.len(), 1);
        assert_eq!(endpoints[0].network, super::super::BRIDGE);
        let now = serde_json::to_string(&endpoints).unwrap();
        assert_eq!(read(&format!("{{\"endpoints\":{now}}}")), endpoints);
    }
}
